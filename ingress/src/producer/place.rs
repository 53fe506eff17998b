//! Where people paste what, at each producer.

use crate::source::Kind;

/// Where a producer can give the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyPlace {
    /// The last part of the path.
    Path,
    /// `?key=`.
    Query,
    /// `X-Longshore-Key`.
    Header,
    /// `Authorization: Bearer`, where a producer has one field for the whole header.
    Bearer,
}

impl KeyPlace {
    pub(super) fn of(kind: Kind) -> KeyPlace {
        match kind {
            Kind::Portainer => KeyPlace::Path,
            Kind::AliyunAcr | Kind::Dockerhub | Kind::Quay | Kind::Jenkins | Kind::GoogleAr => {
                KeyPlace::Query
            }
            Kind::Github | Kind::Gitlab | Kind::Gitea | Kind::Jfrog | Kind::Nexus => KeyPlace::Query,
            Kind::Drone | Kind::Woodpecker => KeyPlace::Query,
            Kind::Harbor | Kind::Distribution => KeyPlace::Bearer,
            Kind::Plain | Kind::Keel | Kind::Cloudevents | Kind::Cdevents | Kind::Diun => KeyPlace::Header,
            Kind::AzureAcr | Kind::AwsEcr | Kind::TencentTcr | Kind::HuaweiSwr => KeyPlace::Header,
        }
    }
}

/// Where in the producer's own settings it goes; `header`: there is one to paste.
pub(super) fn where_to(kind: Kind, header: bool) -> &'static str {
    match kind {
        Kind::Plain if !header => "in the CI's last step: curl -d '{\"image\":\"repo:tag\"}' URL",
        Kind::Plain => "in the CI's last step: curl -H 'HEADER' -d '{\"image\":\"repo:tag\"}' URL",
        Kind::AliyunAcr => "Repositories, the repository, Triggers, Create: the URL (HTTPS on port 443 only)",
        Kind::Dockerhub => "the repository, Webhooks: the URL",
        Kind::Harbor => {
            "the project, Webhooks: the URL as Endpoint, the header's text as Auth Header, event Artifact pushed"
        }
        Kind::Distribution => {
            "the registry's config.yml, notifications.endpoints: the URL as url, the header under headers"
        }
        Kind::Github => {
            "Settings, Webhooks: the URL as Payload URL, application/json, the secret as Secret; event Packages, or \
             Releases, Workflow runs, Branch or tag creation where the source has an `image`"
        }
        Kind::Gitlab => {
            "Settings, Webhooks: the URL, the secret as Secret token (or as signing token, where it begins with \
             whsec_); Tag push, Pipeline or Releases"
        }
        Kind::Gitea => {
            "Settings, Webhooks, Gitea or Forgejo: the URL as Target URL, the secret as Secret; Package"
        }
        Kind::Quay => "Repository settings, Events, Push to Repository, Webhook POST: the URL",
        Kind::Diun => {
            "diun.yml, notif.webhook: the URL as endpoint, POST as method, the header under headers"
        }
        Kind::Portainer => "where the URL of Portainer's webhook stood: this one; ?tag=v2 may follow",
        Kind::Keel => "where the URL of Keel's native webhook stood: this one, with the header",
        Kind::Cloudevents => "the sender's sink: the URL, with the header",
        Kind::Cdevents => "the sender's sink: the URL, with the header",
        Kind::Jenkins => {
            "the job, Job Notifications, Add Endpoint: format JSON, protocol HTTP, event Job Finalized, the URL"
        }
        Kind::Drone => "the server's DRONE_WEBHOOK_ENDPOINT: the URL; DRONE_WEBHOOK_SECRET: the secret",
        Kind::Woodpecker => {
            "the step with the webhook plugin: the URL under urls, the secret as signature-secret"
        }
        Kind::AzureAcr => "az acr webhook create --actions push --uri 'URL' --headers 'HEADER=TEXT'",
        Kind::AwsEcr => {
            "EventBridge: a connection with an API key (name and text of the header), an API destination with the \
             URL, a rule for ECR Image Action"
        }
        Kind::GoogleAr => "Pub/Sub, topic gcr, a push subscription: the URL as endpoint",
        Kind::Jfrog => "Administration, Webhooks: the URL, the secret as Secret token; Docker tag was pushed",
        Kind::Nexus => {
            "System, Capabilities, Webhook: Repository: the URL, the secret as Secret Key, event type component"
        }
        Kind::TencentTcr => "the instance, Triggers: the URL, the header under Header; pushes",
        Kind::HuaweiSwr => "the organization, Triggers: the URL, the header; pushes",
    }
}
