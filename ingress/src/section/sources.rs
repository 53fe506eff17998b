//! The section `sources`: what each kind may say, of one stock of keys.

use config::{Secret, Span};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{BackfillSection, Names};

/// Writes a section for each list of keys; what a key is stands here once, for whichever kinds have it.
macro_rules! sections {
    ($($(#[doc = $about:literal])* $name:ident { $($key:ident),* })*) => {
        $(sections! { @next [$(#[doc = $about])*] $name {} $($key)* })*
    };
    (@next [$($about:tt)*] $name:ident {$($said:tt)*}) => {
        $($about)*
        #[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($said)* }
    };
    (@next $about:tt $name:ident {$($said:tt)*} key $($rest:ident)*) => {
        sections! { @next $about $name {$($said)*
            /// The key a sender must know: in the URL (`?key=…`, `/hooks/<source>/<key>`), as `X-Longshore-Key`, or as a
            /// bearer token. Several lines are several keys, any of which will do.
            pub key: Option<Secret>,
        } $($rest)* }
    };
    (@next $about:tt $name:ident {$($said:tt)*} authorization $($rest:ident)*) => {
        sections! { @next $about $name {$($said)*
            /// The whole `Authorization` header a sender must send. Several lines are several, any of which will do.
            pub authorization: Option<Secret>,
        } $($rest)* }
    };
    (@next $about:tt $name:ident {$($said:tt)*} secret $($rest:ident)*) => {
        sections! { @next $about $name {$($said)*
            /// What the sender signs its messages with. Several lines are several secrets, any of which will do.
            pub secret: Option<Secret>,
        } $($rest)* }
    };
    (@next $about:tt $name:ident {$($said:tt)*} open $($rest:ident)*) => {
        sections! { @next $about $name {$($said)*
            /// Takes requests without any secret.
            #[serde(default)]
            pub open: bool,
        } $($rest)* }
    };
    (@next $about:tt $name:ident {$($said:tt)*} loopback_only $($rest:ident)*) => {
        sections! { @next $about $name {$($said)*
            /// Takes requests from the machine itself only.
            #[serde(default)]
            pub loopback_only: bool,
        } $($rest)* }
    };
    (@next $about:tt $name:ident {$($said:tt)*} registry $($rest:ident)*) => {
        sections! { @next $about $name {$($said)*
            /// The registry's host, with its port where it has one, instead of the one in the body.
            pub registry: Option<String>,
        } $($rest)* }
    };
    (@next $about:tt $name:ident {$($said:tt)*} image $($rest:ident)*) => {
        sections! { @next $about $name {$($said)*
            /// The image that belongs to an event which names none, as in `ghcr.io/{owner}/{repo}:{tag}`.
            pub image: Option<String>,
        } $($rest)* }
    };
    (@next $about:tt $name:ident {$($said:tt)*} branches $($rest:ident)*) => {
        sections! { @next $about $name {$($said)*
            /// The branches whose events count: one with globs, or several. All of them by default.
            pub branches: Option<Names>,
        } $($rest)* }
    };
    (@next $about:tt $name:ident {$($said:tt)*} workflows $($rest:ident)*) => {
        sections! { @next $about $name {$($said)*
            /// The workflows whose runs count, by name or file: one with globs, or several. All of them by default.
            pub workflows: Option<Names>,
        } $($rest)* }
    };
    (@next $about:tt $name:ident {$($said:tt)*} events $($rest:ident)*) => {
        sections! { @next $about $name {$($said)*
            /// What may have started a run, pipeline or build, by the name that its producer gives it: what a stranger cannot
            /// do by default, which is `push`, `create`, `release`, `schedule`, `workflow_dispatch` and `repository_dispatch`
            /// of a GitHub, a Gitea or a Forgejo.
            pub events: Option<Names>,
        } $($rest)* }
    };
    (@next $about:tt $name:ident {$($said:tt)*} prereleases $($rest:ident)*) => {
        sections! { @next $about $name {$($said)*
            /// Takes releases that are marked as pre-releases too.
            #[serde(default)]
            pub prereleases: bool,
        } $($rest)* }
    };
    (@next $about:tt $name:ident {$($said:tt)*} backfill $($rest:ident)*) => {
        sections! { @next $about $name {$($said)*
            /// How deliveries are fetched that GitHub could not hand over; they are not without it.
            pub backfill: Option<BackfillSection>,
        } $($rest)* }
    };
    (@next $about:tt $name:ident {$($said:tt)*} repositories $($rest:ident)*) => {
        sections! { @next $about $name {$($said)*
            /// The repositories of the registry whose events count: one with globs, or several, as in `docker-hosted`. All of
            /// them by default, and with them whatever anybody pulls through one that stands for another registry.
            pub repositories: Option<Names>,
        } $($rest)* }
    };
    (@next $about:tt $name:ident {$($said:tt)*} every $($rest:ident)*) => {
        sections! { @next $about $name {$($said)*
            /// How often workers look: `10m` by default, from `1s` to `24h`.
            pub every: Option<Span>,
        } $($rest)* }
    };
}

sections! {
    /// What a source of the kind `plain` may say.
    PlainSource { key, authorization, secret, open, loopback_only }
    /// What a source of a registry's kind may say.
    RegistrySource { key, authorization, open, loopback_only, registry }
    /// What a source of a kind that can sign may say.
    SignedSource { key, authorization, secret, open, loopback_only, registry }
    /// What a source may say of a registry that has several repositories, some of which pull through.
    RepositoriesSource { key, authorization, secret, open, loopback_only, registry, repositories }
    /// What a source may say whose events name no image and whose messages can be signed.
    SignedBuildSource { key, authorization, secret, open, loopback_only, image, branches, events }
    /// What a source may say whose events name no image.
    BuildSource { key, authorization, open, loopback_only, image, branches }
    /// What a source of the kind `gitea` may say.
    GiteaSource {
        key, authorization, secret, open, loopback_only, registry, image, branches, workflows, events, prereleases
    }
    /// What a source of the kind `github` may say.
    GithubSource {
        key, authorization, secret, open, loopback_only, registry, image, branches, workflows, events, prereleases,
        backfill
    }
    /// What a source of the kind `poll` may say.
    PollSource { every }
}

/// An entry of `sources`: `POST /hooks/<name>` takes what this producer sends.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(tag = "kind", rename_all = "kebab-case")]
pub enum SourceSection {
    /// `{"image":"repo:tag"}`, and `"service"` where one of several is meant.
    Plain(PlainSource),
    /// Alibaba Cloud Container Registry.
    AliyunAcr(RegistrySource),
    /// Docker Hub.
    Dockerhub(RegistrySource),
    /// Harbor.
    Harbor(RegistrySource),
    /// The notifications of a distribution registry.
    Distribution(RegistrySource),
    /// GitHub: its container registry, releases, tags and workflow runs.
    Github(GithubSource),
    /// GitLab: releases, tags and pipelines.
    Gitlab(SignedBuildSource),
    /// Gitea and Forgejo: their container registry, releases, tags and action runs.
    Gitea(GiteaSource),
    /// Quay.
    Quay(RegistrySource),
    /// Diun.
    Diun(RegistrySource),
    /// A bare POST with `?tag=`, as to a webhook of Portainer.
    Portainer(BuildSource),
    /// What Keel's native webhook takes.
    Keel(SignedSource),
    /// CloudEvents that tell of pushed images.
    Cloudevents(SignedSource),
    /// CDEvents that tell of published images.
    Cdevents(SignedSource),
    /// The Notification plugin of Jenkins.
    Jenkins(BuildSource),
    /// Drone: its global webhook and its webhook plugin.
    Drone(SignedBuildSource),
    /// The webhook plugin of Woodpecker.
    Woodpecker(SignedBuildSource),
    /// Azure Container Registry, and Event Grid.
    AzureAcr(RegistrySource),
    /// Amazon Elastic Container Registry through EventBridge.
    AwsEcr(RegistrySource),
    /// Google Artifact Registry through Pub/Sub.
    GoogleAr(RegistrySource),
    /// JFrog Artifactory.
    Jfrog(RepositoriesSource),
    /// Sonatype Nexus.
    Nexus(RepositoriesSource),
    /// Tencent Container Registry.
    TencentTcr(RegistrySource),
    /// Huawei Software Repository for Container.
    HuaweiSwr(RegistrySource),
    /// No hook: workers look at the registries for the tags that targets follow.
    Poll(PollSource),
}
