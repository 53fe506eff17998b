//! The kinds of sources, by the names they have in the configuration.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Message, Reading, Rules, Unreadable, aliyun_acr, aws_ecr, azure_acr, cdevents, cloudevents, distribution,
    diun, dockerhub, drone, gitea, github, gitlab, google_ar, harbor, jenkins, jfrog, keel, nexus, plain,
    portainer, quay, woodpecker,
};
use crate::authenticate::Scheme;

macro_rules! sources {
    ($($(#[doc = $doc:literal])* $kind:ident $name:literal;)*) => {
        /// The `kind` of a source.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
        #[serde(rename_all = "kebab-case")]
        pub enum Kind { $($(#[doc = $doc])* #[serde(rename = $name)] $kind),* }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Kind] = &[$(Kind::$kind),*];

            /// Its name in the configuration.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Kind::$kind => $name),* }
            }
        }
    };
}

sources! {
    /// `{"image":"repo:tag"}`, and `"service"` where one of several is meant; or `{"name","tag"}`.
    Plain "plain";
    /// Alibaba Cloud Container Registry, personal and enterprise, its triggers and its EventBridge.
    AliyunAcr "aliyun-acr";
    /// Docker Hub.
    Dockerhub "dockerhub";
    /// Harbor, of the first and the second version, in its own form and as CloudEvents.
    Harbor "harbor";
    /// The notifications of a distribution registry, and of those that copy their shape.
    Distribution "distribution";
    /// GitHub: its container registry, and releases, tags and workflow runs.
    Github "github";
    /// GitLab: releases, tags and pipelines.
    Gitlab "gitlab";
    /// Gitea and Forgejo: their container registry, and releases, tags and action runs.
    Gitea "gitea";
    /// Quay.
    Quay "quay";
    /// Diun, which looks at registries and tells of what is new.
    Diun "diun";
    /// A bare POST with `?tag=`, as to a webhook of Portainer.
    Portainer "portainer";
    /// What Keel's native webhook takes: `{"name","tag"}`.
    Keel "keel";
    /// CloudEvents over HTTP that tell of pushed images, one or a batch.
    Cloudevents "cloudevents";
    /// CDEvents that tell of published images.
    Cdevents "cdevents";
    /// The Notification plugin of Jenkins.
    Jenkins "jenkins";
    /// Drone: its global webhook and its webhook plugin.
    Drone "drone";
    /// The webhook plugin of Woodpecker.
    Woodpecker "woodpecker";
    /// Azure Container Registry: its webhooks, and Event Grid.
    AzureAcr "azure-acr";
    /// Amazon Elastic Container Registry through EventBridge.
    AwsEcr "aws-ecr";
    /// Google Artifact Registry through Pub/Sub.
    GoogleAr "google-ar";
    /// JFrog Artifactory.
    Jfrog "jfrog";
    /// Sonatype Nexus.
    Nexus "nexus";
    /// Tencent Container Registry.
    TencentTcr "tencent-tcr";
    /// Huawei Software Repository for Container.
    HuaweiSwr "huawei-swr";
}

impl Kind {
    /// The kind of this name; none when there is none.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// What a message of this kind says.
    pub(super) fn read(self, message: &Message<'_>, rules: &Rules) -> Result<Reading, Unreadable> {
        match self {
            Kind::Plain => plain::read(message, rules),
            Kind::AliyunAcr => aliyun_acr::read(message, rules),
            Kind::Dockerhub => dockerhub::read(message, rules),
            // The two clouds run a registry that grew out of Harbor, and send what it sends.
            Kind::Harbor | Kind::TencentTcr | Kind::HuaweiSwr => harbor::read(message, rules),
            Kind::Distribution => distribution::read(message, rules),
            Kind::Github => github::read(message, rules),
            Kind::Gitlab => gitlab::read(message, rules),
            Kind::Gitea => gitea::read(message, rules),
            Kind::Quay => quay::read(message, rules),
            Kind::Diun => diun::read(message, rules),
            Kind::Portainer => portainer::read(message, rules),
            Kind::Keel => keel::read(message, rules),
            Kind::Cloudevents => cloudevents::read(message, rules),
            Kind::Cdevents => cdevents::read(message, rules),
            Kind::Jenkins => jenkins::read(message, rules),
            Kind::Drone => drone::read(message, rules),
            Kind::Woodpecker => woodpecker::read(message, rules),
            Kind::AzureAcr => azure_acr::read(message, rules),
            Kind::AwsEcr => aws_ecr::read(message, rules),
            Kind::GoogleAr => google_ar::read(message, rules),
            Kind::Jfrog => jfrog::read(message, rules),
            Kind::Nexus => nexus::read(message, rules),
        }
    }

    /// How its senders sign; none for those that cannot.
    pub(crate) fn scheme(self) -> Option<Scheme> {
        match self {
            Kind::Plain | Kind::Cloudevents | Kind::Cdevents | Kind::Keel => Some(Scheme::Generic),
            Kind::Github => Some(Scheme::Github),
            Kind::Gitlab => Some(Scheme::Gitlab),
            Kind::Gitea => Some(Scheme::Gitea),
            Kind::Drone | Kind::Woodpecker => Some(Scheme::Drone),
            Kind::Jfrog => Some(Scheme::Jfrog),
            Kind::Nexus => Some(Scheme::Nexus),
            Kind::AliyunAcr | Kind::Dockerhub | Kind::Harbor | Kind::Distribution | Kind::Quay => None,
            Kind::Diun | Kind::Portainer | Kind::Jenkins | Kind::AzureAcr | Kind::AwsEcr => None,
            Kind::GoogleAr | Kind::TencentTcr | Kind::HuaweiSwr => None,
        }
    }

    /// Whether it tells of events that name no image, for which a source has an `image`.
    pub(crate) fn takes_template(self) -> bool {
        match self {
            Kind::Github | Kind::Gitlab | Kind::Gitea | Kind::Portainer => true,
            Kind::Jenkins | Kind::Drone | Kind::Woodpecker => true,
            Kind::Plain | Kind::Cloudevents | Kind::Cdevents | Kind::Keel | Kind::Quay | Kind::Diun => false,
            Kind::AliyunAcr | Kind::Dockerhub | Kind::Harbor | Kind::Distribution | Kind::AzureAcr => false,
            Kind::AwsEcr | Kind::GoogleAr | Kind::Jfrog | Kind::Nexus => false,
            Kind::TencentTcr | Kind::HuaweiSwr => false,
        }
    }

    /// Whether none of its events names an image.
    pub(crate) fn needs_template(self) -> bool {
        // These two have a registry too.
        self.takes_template() && !matches!(self, Kind::Github | Kind::Gitea)
    }

    /// Whether none of its events says its registry.
    pub(crate) fn needs_registry(self) -> bool {
        self == Kind::Nexus
    }

    /// Whether it tells of what somebody pulled through it as of what was pushed, without saying so.
    pub(crate) fn hides_what_is_pulled(self) -> bool {
        self == Kind::Nexus
    }

    /// Whether its events carry parameters of people's own naming.
    pub(crate) fn has_parameters(self) -> bool {
        matches!(self, Kind::Jenkins | Kind::Gitlab | Kind::Drone)
    }

    /// Whether its senders may come with GET, and a body.
    pub(crate) fn takes_get(self) -> bool {
        self == Kind::Diun
    }

    /// Whether its senders ask with OPTIONS for leave to send.
    pub(crate) fn takes_options(self) -> bool {
        matches!(self, Kind::Cloudevents | Kind::Cdevents | Kind::AzureAcr | Kind::AwsEcr | Kind::Harbor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_known_by_its_name() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of_name(kind.name()), Some(*kind));
            let read: Kind = serde_json::from_value(kind.name().into()).unwrap();
            assert_eq!(read, *kind);
        }
        assert_eq!(Kind::of_name("poll"), None);
    }
}
