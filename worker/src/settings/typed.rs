//! A target as it is typed, whatever kind of system it is on.

use config::Span;
use schemars::JsonSchema;
use serde::{Deserialize, de::IgnoredAny};

use super::described::{Names, OneOrMany};
use crate::target::{kubernetes::WorkloadKind, rehearsal::RehearsedEnd};

/// `targets.<name>`: a target as it is typed, the keys of all kinds side by side.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["at"]))]
pub struct TypedTarget {
    /// The system that runs it.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(super) at: Option<String>,
    /// The images it takes: `repo:tag-glob`, or `{image, tags}`, or a list of them.
    #[serde(default)]
    #[schemars(with = "Option<OneOrMany>")]
    #[allow(dead_code, reason = "read beside it, with the line of each rule")]
    pub(super) follow: IgnoredAny,
    /// How long a job may take from when it may run; 1 h by default, 24 h at most.
    #[serde(default)]
    #[schemars(with = "Option<Span>")]
    #[allow(dead_code, reason = "the ingress reads it: named here so that it is known")]
    pub(super) deadline: IgnoredAny,
    /// Somebody has to approve each deploy; `false` by default.
    #[serde(default)]
    #[schemars(with = "Option<bool>")]
    #[allow(dead_code, reason = "the ingress reads it: named here so that it is known")]
    pub(super) approve: IgnoredAny,
    /// The windows in which it may be deployed, by their names under `windows`: one, or several with commas or as a
    /// list.
    #[serde(default)]
    #[schemars(with = "Option<Names>")]
    #[allow(dead_code, reason = "the ingress reads it: named here so that it is known")]
    pub(super) window: IgnoredAny,
    /// How long after it was seen an image may be deployed at the earliest, at most `6d`.
    #[serde(default)]
    #[schemars(with = "Option<Span>")]
    #[allow(dead_code, reason = "the ingress reads it: named here so that it is known")]
    pub(super) min_age: IgnoredAny,
    /// How long a job waits for its window or an approval before it is given up: `7d` by default, `28d` at most.
    #[serde(default)]
    #[schemars(with = "Option<Span>")]
    #[allow(dead_code, reason = "the ingress reads it: named here so that it is known")]
    pub(super) hold_for: IgnoredAny,
    /// How long new tasks have to stay up: on Swarm and Portainer as long as the service's own monitor by default, on
    /// Kubernetes 10 s, or `minReadySeconds` where that is longer.
    #[serde(default)]
    pub(super) stable: Option<Span>,
    /// Swarm, Portainer and Kubernetes: go back to the image that ran well before where a new one does not; `false` by default.
    #[serde(default)]
    pub(super) rollback: Option<bool>,
    /// Swarm: the service's name, or the service's name in its stack written out (`blog_web`). Beside `stack`: how
    /// the stack calls it (`web`).
    #[serde(default)]
    pub(super) service: Option<String>,
    /// Swarm and Portainer: the stack's name. Without `service` the target is every service of the stack; on Portainer
    /// it always is, and jobs name the service.
    #[serde(default)]
    pub(super) stack: Option<String>,
    /// Kubernetes: the workload in one word, `namespace/deployment/name`, in place of the three keys below. Rancher: the
    /// same beside `cluster`; or with it in one word, `c-xxxxx:p-xxxxx/deployment:namespace:name`; or the address that a
    /// script puts to.
    #[serde(default)]
    pub(super) workload: Option<String>,
    /// Rancher: the cluster, by its id or its name, and the project's id after a colon where it is known.
    #[serde(default)]
    pub(super) cluster: Option<String>,
    /// Kubernetes and Rancher: the workload's namespace.
    #[serde(default)]
    pub(super) namespace: Option<String>,
    /// Kubernetes and Rancher: what the workload is.
    #[serde(default)]
    pub(super) kind: Option<WorkloadKind>,
    /// Kubernetes and Rancher: the workload's name.
    #[serde(default)]
    pub(super) name: Option<String>,
    /// Kubernetes and Rancher: the container whose image is set, one that runs before the others too; it may be left out
    /// where the pod has only one, or only one that runs the job's repository.
    #[serde(default)]
    pub(super) container: Option<String>,
    /// Rehearsal: how long a rollout takes.
    #[serde(default)]
    pub(super) takes: Option<Span>,
    /// Rehearsal: what every rollout comes to.
    #[serde(default)]
    pub(super) ends: Option<RehearsedEnd>,
    /// Rehearsal: how long it dawdles between deciding and writing.
    #[serde(default)]
    pub(super) dawdles: Option<Span>,
    /// Rehearsal: writes whatever stands there by now, as systems do that have no conditional write.
    #[serde(default)]
    pub(super) blind: Option<bool>,
}

/// A text that may be missing, but not be left blank.
fn given<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    String::deserialize(from).map(Some)
}
