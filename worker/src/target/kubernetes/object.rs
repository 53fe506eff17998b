//! A workload as the API server tells it, read leniently.

use proto::{ImageRef, Tasks};
use serde_json::Value;

use super::kind::WorkloadKind;

/// A workload at one moment.
#[derive(Debug, Clone)]
pub(super) struct Workload {
    pub(super) kind: WorkloadKind,
    pub(super) raw: Value,
}

/// One container of the template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Container<'a> {
    pub(super) name: &'a str,
    pub(super) image: &'a str,
    /// Whether it runs before the others.
    pub(super) is_init: bool,
}

impl Workload {
    pub(super) fn new(kind: WorkloadKind, raw: Value) -> Workload {
        Workload { kind, raw }
    }

    pub(super) fn number(&self, pointer: &str) -> Option<u64> {
        self.raw.pointer(pointer)?.as_u64()
    }

    fn text(&self, pointer: &str) -> Option<&str> {
        self.raw.pointer(pointer)?.as_str()
    }

    /// Grows with every change of what is wished.
    pub(super) fn generation(&self) -> u64 {
        self.number("/metadata/generation").unwrap_or_default()
    }

    /// The generation that the status tells of.
    pub(super) fn observed(&self) -> u64 {
        self.number("/status/observedGeneration").unwrap_or_default()
    }

    pub(super) fn version(&self) -> Option<&str> {
        self.text("/metadata/resourceVersion")
    }

    pub(super) fn uid(&self) -> Option<&str> {
        self.text("/metadata/uid")
    }

    pub(super) fn annotation(&self, name: &str) -> Option<&str> {
        self.raw["metadata"]["annotations"][name].as_str()
    }

    pub(super) fn template(&self) -> &Value {
        self.raw.pointer(self.kind.template()).unwrap_or(&Value::Null)
    }

    /// Those that stay first, then those that run before them.
    pub(super) fn containers(&self) -> impl Iterator<Item = Container<'_>> {
        let of = |list: &'static str, is_init| {
            let all = self.template()["spec"][list].as_array().into_iter().flatten();
            all.map(move |container| Container {
                name: container["name"].as_str().unwrap_or_default(),
                image: container["image"].as_str().unwrap_or_default(),
                is_init,
            })
        };
        of("containers", false).chain(of("initContainers", true))
    }

    pub(super) fn container(&self, name: &str) -> Option<Container<'_>> {
        self.containers().find(|container| container.name == name)
    }

    pub(super) fn image(&self, container: &str) -> Option<ImageRef> {
        self.container(container)?.image.parse().ok()
    }

    /// Whether the template names that very image.
    pub(super) fn names(&self, container: &str, image: &ImageRef) -> bool {
        self.image(container).is_some_and(|named| named == *image)
    }

    /// Whether the template names that image, or what cannot be anything else: the same content under another name, or
    /// the same name with its content. That is what something in the cluster may make of a name on its way.
    pub(super) fn runs(&self, container: &str, image: &ImageRef) -> bool {
        let Some(named) = self.image(container) else { return false };
        let same_name = named.repository() == image.repository() && named.tag() == image.tag();
        match (named.digest(), image.digest()) {
            (Some(stands), Some(wanted)) => stands == wanted,
            (Some(_), None) | (None, None) => same_name,
            (None, Some(_)) => false,
        }
    }

    /// How many pods it is to have; none where it has some only from time to time.
    pub(super) fn wished(&self) -> Option<u64> {
        match self.kind {
            WorkloadKind::Deployment | WorkloadKind::StatefulSet => {
                Some(self.number("/spec/replicas").unwrap_or(1))
            }
            WorkloadKind::DaemonSet => {
                Some(self.number("/status/desiredNumberScheduled").unwrap_or_default())
            }
            WorkloadKind::CronJob => None,
        }
    }

    /// Whether it is meant to run anything.
    pub(super) fn is_running(&self) -> bool {
        match self.kind {
            WorkloadKind::Deployment | WorkloadKind::StatefulSet => self.wished() != Some(0),
            WorkloadKind::DaemonSet => true,
            WorkloadKind::CronJob => self.raw["spec"]["suspend"] != true,
        }
    }

    /// How many pods of the newest template can be used, and how many are to be.
    pub(super) fn tasks(&self) -> Option<Tasks> {
        let wanted = self.wished()?;
        let status = |field: &str| self.number(&format!("/status/{field}")).unwrap_or_default();
        let running = match self.kind {
            // Old pods are counted among the available ones; those of the new template come last to be so.
            WorkloadKind::Deployment => {
                let old = status("replicas").saturating_sub(status("updatedReplicas"));
                status("availableReplicas").saturating_sub(old).min(status("updatedReplicas"))
            }
            WorkloadKind::StatefulSet => status("updatedReplicas").min(status("readyReplicas")),
            WorkloadKind::DaemonSet => status("updatedNumberScheduled").min(status("numberAvailable")),
            WorkloadKind::CronJob => 0,
        };
        Some(Tasks { running: running.min(wanted), wanted })
    }

    /// Whether a controller replaces pods by itself when the template changes.
    pub(super) fn replaces_pods(&self) -> bool {
        match self.kind {
            WorkloadKind::Deployment | WorkloadKind::CronJob => true,
            WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => {
                self.text("/spec/updateStrategy/type").is_none_or(|kind| kind == "RollingUpdate")
            }
        }
    }

    pub(super) fn is_paused(&self) -> bool {
        self.raw["spec"]["paused"] == true
    }

    /// Whether a rollout comes to a pod of this stateful set at all: those below its partition are kept as they are.
    pub(super) fn is_to_replace(&self, pod: &str) -> bool {
        let first = self.number("/spec/ordinals/start").unwrap_or_default();
        let ordinal: Option<u64> = pod.rsplit_once('-').and_then(|(_, ordinal)| ordinal.parse().ok());
        ordinal.is_some_and(|ordinal| ordinal.saturating_sub(first) >= self.partition())
    }

    /// So many pods of a stateful set are left as they are.
    pub(super) fn partition(&self) -> u64 {
        self.number("/spec/updateStrategy/rollingUpdate/partition").unwrap_or_default()
    }

    /// A condition of the status.
    pub(super) fn condition(&self, kind: &str) -> Option<&Value> {
        self.raw.pointer("/status/conditions")?.as_array()?.iter().find(|condition| condition["type"] == kind)
    }

    /// When a deployment's controller gave its rollout up, where it did.
    pub(super) fn given_up(&self) -> Option<&str> {
        let progressing = self.condition("Progressing")?;
        let is_given_up = progressing["reason"] == "ProgressDeadlineExceeded";
        progressing["lastTransitionTime"].as_str().filter(|_| is_given_up)
    }

    /// The selector of its pods, as a list takes it; none where it is more than labels can say.
    pub(super) fn selector(&self) -> Option<String> {
        let labels = self.raw.pointer("/spec/selector/matchLabels")?.as_object()?;
        let pairs = labels.iter().map(|(name, value)| Some(format!("{name}={}", value.as_str()?)));
        let pairs = pairs.collect::<Option<Vec<String>>>()?;
        (!pairs.is_empty()).then(|| pairs.join(","))
    }
}

#[cfg(test)]
pub(super) mod samples {
    use serde_json::json;

    use super::*;

    /// A workload with the container `web`.
    pub(in super::super) fn workload(kind: WorkloadKind, spec: &Value, status: &Value) -> Workload {
        let mut raw = json!({
            "kind": kind.api_kind(),
            "metadata": {"name": "web", "namespace": "shop", "generation": 2, "resourceVersion": "7", "annotations": {}},
            "spec": spec, "status": status,
        });
        let pod = json!({"spec": {"containers": [{"name": "web", "image": "acme/web:1"}],
                                  "initContainers": [{"name": "migrate", "image": "acme/migrate:1"}]}});
        match kind {
            WorkloadKind::CronJob => raw["spec"]["jobTemplate"] = json!({"spec": {"template": pod}}),
            WorkloadKind::Deployment | WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => {
                raw["spec"]["template"] = pod;
            }
        }
        Workload::new(kind, raw)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{samples::workload, *};

    /// Deleted, such a pod would come again as it was.
    #[test]
    fn a_pod_below_the_partition_is_not_to_be_replaced() {
        for (start, partition, replaced) in
            [(0, 0, [true, true]), (0, 2, [false, true]), (5, 2, [false, false])]
        {
            let spec = json!({
                "ordinals": {"start": start},
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}},
            });
            let workload = workload(WorkloadKind::StatefulSet, &spec, &json!({}));
            assert_eq!(["web-1", "web-2"].map(|pod| workload.is_to_replace(pod)), replaced, "{spec}");
            assert!(!workload.is_to_replace("web"));
        }
    }
}
