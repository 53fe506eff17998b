//! A message of each producer, as it is documented or was recorded. The tests read the same files.

use crate::source::Kind;

/// Stands where a producer gives every message a name of its own.
pub(super) const FRESH: &str = "{fresh}";

/// A message that a producer sends.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Its name among those of the kind.
    pub name: &'static str,
    pub(super) kind: Kind,
    pub(super) headers: &'static [(&'static str, &'static str)],
    pub(super) body: &'static str,
}

macro_rules! samples {
    ($($kind:ident $name:literal $file:literal [$($header:literal: $value:literal),*];)*) => {
        &[
            Sample {
                name: "image",
                kind: Kind::Plain,
                headers: &[("content-type", "application/json")],
                body: r#"{"image":"acme/web:1.42.0"}"#,
            },
            // A bare POST: the tag stands in the URL.
            Sample { name: "bare", kind: Kind::Portainer, headers: &[], body: "" },
            $(Sample {
                name: $name,
                kind: Kind::$kind,
                headers: &[$(($header, $value)),*],
                body: include_str!(concat!("../../tests/payloads/", $file)),
            },)*
        ]
    };
}

/// Every sample; of each kind, the first is the one that is sent unless another is asked for.
pub(super) const SAMPLES: &[Sample] = samples! {
    AliyunAcr "push" "aliyun-acr-push.json" ["content-type": "application/json"];
    AliyunAcr "eventbridge" "aliyun-acr-ee-eventbridge-push.json" ["content-type": "application/cloudevents+json"];
    Dockerhub "push" "dockerhub-push.json" ["content-type": "application/json"];
    Harbor "push" "harbor-v2-push-tag.json" ["content-type": "application/json"];
    Distribution "push" "distribution-push.json" ["content-type": "application/vnd.docker.distribution.events.v2+json"];
    Github "package" "ghcr-package-published.json" ["content-type": "application/json", "x-github-event": "package", "x-github-delivery": "{fresh}"];
    Github "release" "github-release-published.json" ["content-type": "application/json", "x-github-event": "release", "x-github-delivery": "{fresh}"];
    Github "workflow-run" "github-workflow_run-completed.json" ["content-type": "application/json", "x-github-event": "workflow_run", "x-github-delivery": "{fresh}"];
    Github "tag" "github-create-tag.json" ["content-type": "application/json", "x-github-event": "create", "x-github-delivery": "{fresh}"];
    Github "ping" "github-ping.json" ["content-type": "application/json", "x-github-event": "ping", "x-github-delivery": "{fresh}"];
    Gitlab "pipeline" "gitlab-pipeline-success-tag.json" ["content-type": "application/json", "x-gitlab-event": "Pipeline Hook", "x-gitlab-event-uuid": "{fresh}", "idempotency-key": "{uuid}"];
    Gitlab "tag" "gitlab-tag_push.json" ["content-type": "application/json", "x-gitlab-event": "Tag Push Hook", "x-gitlab-event-uuid": "{fresh}", "idempotency-key": "{uuid}"];
    Gitlab "release" "gitlab-release-create.json" ["content-type": "application/json", "x-gitlab-event": "Release Hook", "x-gitlab-event-uuid": "{fresh}", "idempotency-key": "{uuid}"];
    Gitea "package" "gitea-package-created.json" ["content-type": "application/json", "x-gitea-delivery": "{fresh}", "x-gitea-event-type": "package", "x-github-delivery": "{uuid}"];
    Gitea "release" "gitea-release-published.json" ["content-type": "application/json", "x-gitea-delivery": "{fresh}", "x-gitea-event": "release", "x-gitea-event-type": "release", "x-github-delivery": "{uuid}", "x-github-event": "release"];
    Gitea "tag" "gitea-create-tag.json" ["content-type": "application/json", "x-gitea-delivery": "{fresh}", "x-gitea-event": "create", "x-gitea-event-type": "create", "x-github-delivery": "{uuid}", "x-github-event": "create"];
    Gitea "action-run" "forgejo-action_run_success.json" ["content-type": "application/json", "x-gitea-delivery": "{fresh}", "x-gitea-event": "action_run_success", "x-gitea-event-type": "action_run_success", "x-github-delivery": "{uuid}", "x-github-event": "action_run_success", "x-forgejo-delivery": "{uuid}", "x-forgejo-event": "action_run_success"];
    Gitea "workflow-run" "gitea-workflow_run-completed.json" ["content-type": "application/json", "x-gitea-delivery": "{fresh}", "x-gitea-event": "workflow_run", "x-gitea-event-type": "workflow_run", "x-github-delivery": "{uuid}", "x-github-event": "workflow_run"];
    Quay "push" "quay-repo_push.json" ["content-type": "application/json"];
    Quay "test" "quay-test-notification.json" ["content-type": "application/json"];
    Diun "update" "diun-webhook.json" ["content-type": "application/json"];
    Keel "push" "keel-native.json" ["content-type": "application/json"];
    Cloudevents "structured" "cloudevents-structured.json" ["content-type": "application/cloudevents+json; charset=utf-8"];
    Cloudevents "binary" "cloudevents-binary.json" ["content-type": "application/json; charset=utf-8", "ce-specversion": "1.0", "ce-type": "container.image.push", "ce-source": "https://registry.example.com", "ce-subject": "myapp/backend:v2.0.0", "ce-id": "{fresh}", "ce-time": "2025-11-27T10:05:00Z"];
    Cdevents "published" "cdevents-artifact-published-oci.json" ["content-type": "application/json", "ce-type": "dev.cdevents.artifact.published.0.3.0", "ce-id": "{fresh}", "ce-source": "/event/source/123", "ce-specversion": "1.0"];
    Jenkins "finalized" "jenkins-finalized-success.json" ["content-type": "application/json;charset=UTF-8"];
    Drone "build" "drone-global-build-success.json" ["content-type": "application/json", "x-drone-event": "build"];
    Drone "plugin" "drone-plugin-webhook.json" ["content-type": "application/json"];
    Woodpecker "plugin" "woodpecker-plugin-webhook.json" ["content-type": "application/json"];
    AzureAcr "push" "azure-acr-push.json" ["content-type": "application/json"];
    AzureAcr "ping" "azure-acr-ping.json" ["content-type": "application/json"];
    AzureAcr "event-grid" "azure-eventgrid-image-pushed.json" ["content-type": "application/json", "aeg-event-type": "Notification"];
    AwsEcr "push" "aws-ecr-push.json" ["content-type": "application/json"];
    GoogleAr "push" "google-ar-pubsub-insert-tag.json" ["content-type": "application/json"];
    Jfrog "push" "jfrog-docker-pushed-local.json" ["content-type": "application/json"];
    Nexus "component" "nexus-component-created.json" ["content-type": "application/json", "x-nexus-webhook-id": "rm:repository:component", "x-nexus-webhook-delivery": "{fresh}"];
    TencentTcr "push" "tencent-tcr-push.json" ["content-type": "application/json"];
    HuaweiSwr "push" "huawei-swr-ee-push.json" ["content-type": "application/json"];
};
