//! The sections of the configuration that an ingress reads, as people type them.

mod access;
mod backfill;
mod forge;
mod limits;

use std::collections::BTreeMap;

use config::{Secret, Span};
use proto::Follow;
use schemars::JsonSchema;
use serde::Deserialize;

pub use access::{
    AccessSection, IssuerKind, IssuerSection, Patterns, PublisherSection, RegistrationSection, RuleSection,
};
pub use backfill::{BackfillSection, GithubSource};
pub use forge::GiteaSource;
pub use limits::{LimitsSection, RateSection};

/// What a source of the kind `plain` may say.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlainSource {
    /// The key a sender must know: in the URL (`?key=…`, `/hooks/<source>/<key>`), as `X-Longshore-Key`, or as a
    /// bearer token. Several lines are several keys, any of which will do.
    pub key: Option<Secret>,
    /// The whole `Authorization` header a sender must send. Several lines are several, any of which will do.
    pub authorization: Option<Secret>,
    /// What the sender signs its messages with. Several lines are several secrets, any of which will do.
    pub secret: Option<Secret>,
    /// Takes requests without any secret.
    #[serde(default)]
    pub open: bool,
    /// Takes requests from the machine itself only.
    #[serde(default)]
    pub loopback_only: bool,
}

/// What a source of a registry's kind may say.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegistrySource {
    /// The key a sender must know: in the URL (`?key=…`, `/hooks/<source>/<key>`), as `X-Longshore-Key`, or as a
    /// bearer token. Several lines are several keys, any of which will do.
    pub key: Option<Secret>,
    /// The whole `Authorization` header a sender must send. Several lines are several, any of which will do.
    pub authorization: Option<Secret>,
    /// Takes requests without any secret.
    #[serde(default)]
    pub open: bool,
    /// Takes requests from the machine itself only.
    #[serde(default)]
    pub loopback_only: bool,
    /// The registry's host, with its port where it has one, instead of the one in the body.
    pub registry: Option<String>,
}

/// What a source of a kind that can sign may say.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedSource {
    /// The key a sender must know: in the URL (`?key=…`, `/hooks/<source>/<key>`), as `X-Longshore-Key`, or as a
    /// bearer token. Several lines are several keys, any of which will do.
    pub key: Option<Secret>,
    /// The whole `Authorization` header a sender must send. Several lines are several, any of which will do.
    pub authorization: Option<Secret>,
    /// What the sender signs its messages with. Several lines are several secrets, any of which will do.
    pub secret: Option<Secret>,
    /// Takes requests without any secret.
    #[serde(default)]
    pub open: bool,
    /// Takes requests from the machine itself only.
    #[serde(default)]
    pub loopback_only: bool,
    /// The registry's host, with its port where it has one, instead of the one in the body.
    pub registry: Option<String>,
}

/// What a source may say whose events name no image and whose messages can be signed.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedBuildSource {
    /// The key a sender must know: in the URL (`?key=…`, `/hooks/<source>/<key>`), as `X-Longshore-Key`, or as a
    /// bearer token. Several lines are several keys, any of which will do.
    pub key: Option<Secret>,
    /// The whole `Authorization` header a sender must send. Several lines are several, any of which will do.
    pub authorization: Option<Secret>,
    /// What the sender signs its messages with. Several lines are several secrets, any of which will do.
    pub secret: Option<Secret>,
    /// Takes requests without any secret.
    #[serde(default)]
    pub open: bool,
    /// Takes requests from the machine itself only.
    #[serde(default)]
    pub loopback_only: bool,
    /// The image that belongs to an event which names none, as in `ghcr.io/{owner}/{repo}:{tag}`.
    pub image: Option<String>,
    /// The branches whose events count: one with globs, or several. All of them by default.
    pub branches: Option<Names>,
    /// What may have started a pipeline or build, by the name that its producer gives it: what a stranger cannot do
    /// by default.
    pub events: Option<Names>,
}

/// What a source may say whose events name no image.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BuildSource {
    /// The key a sender must know: in the URL (`?key=…`, `/hooks/<source>/<key>`), as `X-Longshore-Key`, or as a
    /// bearer token. Several lines are several keys, any of which will do.
    pub key: Option<Secret>,
    /// The whole `Authorization` header a sender must send. Several lines are several, any of which will do.
    pub authorization: Option<Secret>,
    /// Takes requests without any secret.
    #[serde(default)]
    pub open: bool,
    /// Takes requests from the machine itself only.
    #[serde(default)]
    pub loopback_only: bool,
    /// The image that belongs to an event which names none, as in `ghcr.io/{owner}/{repo}:{tag}`.
    pub image: Option<String>,
    /// The branches whose events count: one with globs, or several. All of them by default.
    pub branches: Option<Names>,
}

/// What a source of the kind `poll` may say.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PollSource {
    /// How often workers look: `10m` by default, from `1s` to `24h`.
    #[serde(default)]
    pub every: Option<Span>,
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
    Jfrog(SignedSource),
    /// Sonatype Nexus.
    Nexus(SignedSource),
    /// Tencent Container Registry.
    TencentTcr(RegistrySource),
    /// Huawei Software Repository for Container.
    HuaweiSwr(RegistrySource),
    /// No hook: workers look at the registries for the tags that targets follow.
    Poll(PollSource),
}

/// What an ingress reads of an entry of `targets`; the other keys are the workers'.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct TargetSection {
    /// The system it runs on, one of `systems`.
    pub at: String,
    /// The pushed images it takes: one, or several.
    #[serde(default)]
    pub follow: Option<Follows>,
    /// How long a job for it may take, from when it may run: `1h` by default, `24h` at most.
    #[serde(default)]
    pub deadline: Option<Span>,
    /// Somebody has to approve each deploy: `false` by default.
    #[serde(default)]
    pub approve: Option<bool>,
    /// The windows in which it may be deployed, by their names under `windows`.
    #[serde(default)]
    pub window: Option<Names>,
    /// How long after it was seen an image may be deployed at the earliest, at most `6d`.
    #[serde(default)]
    pub min_age: Option<Span>,
    /// How long a job waits for its window or an approval before it is given up: `7d` by default, `28d` at most.
    #[serde(default)]
    pub hold_for: Option<Span>,
}

/// One text, separated by commas where it says several things, or a list.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Names {
    /// One, or several with commas.
    One(String),
    /// Several.
    Several(Vec<String>),
}

/// An entry of `windows`: one part, or several that are one window.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(untagged)]
pub enum WindowSection {
    /// One part.
    One(PeriodSection),
    /// Several.
    Several(Vec<PeriodSection>),
}

/// A part of a window: hours of some days of the week, or days of the calendar.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PeriodSection {
    /// The days on which the hours begin, as in `mon-fri` or `sat,sun`; every day by default. Not beside dates.
    pub days: Option<Names>,
    /// A time of day (`20:00`), or the first day (`2026-12-20`); whole days without it.
    pub from: Option<String>,
    /// A time of day, of the next day where it is not after `from`; or the last day.
    pub to: Option<String>,
    /// The time zone by its IANA name, as in `Europe/Berlin`.
    pub zone: String,
    /// Nothing is deployed in it; else nothing outside.
    pub freeze: Option<bool>,
}

/// One follow or several.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Follows {
    /// One.
    One(Follow),
    /// Several, any of which takes the image.
    Several(Vec<Follow>),
}

/// The section `ingress`: how an ingress works.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IngressSection {
    /// How long after its deadline a job whose end nobody has told is given up: `10m` by default.
    pub overdue_after: Option<Span>,
    /// How long the same push is taken for a repetition where its sender gives it no name: `30s` by default, `0s` for
    /// never, `10m` at most.
    pub repeats_within: Option<Span>,
}

/// All sections an ingress reads, for the schema of the file.
#[derive(Debug, Clone, JsonSchema)]
pub struct Sections {
    /// Where the HTTP server listens: an address and a port, `127.0.0.1:8080` by default.
    pub listen: Option<String>,
    /// Where hooks alone are taken, for what comes from the internet: an address and a port; nowhere by default.
    pub hooks_listen: Option<String>,
    /// The URL under which others reach this server; printed in links.
    pub public_url: Option<String>,
    /// Who pushes images, by the name in the hook's path.
    pub sources: Option<BTreeMap<String, SourceSection>>,
    /// What is deployed, and the images it follows.
    pub targets: Option<BTreeMap<String, TargetSection>>,
    /// When targets may be deployed, by the names that they use.
    pub windows: Option<BTreeMap<String, WindowSection>>,
    /// Who may call the API.
    pub access: Option<AccessSection>,
    /// How an ingress works.
    pub ingress: Option<IngressSection>,
    /// How much callers may ask for.
    pub limits: Option<LimitsSection>,
}
