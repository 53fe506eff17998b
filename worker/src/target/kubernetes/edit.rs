//! What a write changes on a workload: nothing but that, and only if nobody else changed it since it was read.

use proto::{ImageRef, Timestamp};
use serde_json::{Map, Value, json};

use super::{kind::WorkloadKind, object::Workload};

/// The annotation of a template by which `kubectl rollout restart` replaces all pods.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// A change of a workload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Edit {
    /// The image of a container.
    pub(super) image: Option<(String, ImageRef)>,
    /// When all pods are to be replaced, whatever else changes.
    pub(super) restarted_at: Option<Timestamp>,
    pub(super) replicas: Option<u64>,
    pub(super) suspend: Option<bool>,
    /// The workload's own; none: taken away.
    pub(super) annotations: Vec<(String, Option<String>)>,
}

impl Edit {
    /// The strategic-merge patch. Its resource version is a condition.
    pub(super) fn patch(&self, workload: &Workload) -> Value {
        let mut patch = json!({"metadata": {"resourceVersion": workload.version()}});
        let annotations: Map<String, Value> =
            self.annotations.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        if !annotations.is_empty() {
            patch["metadata"]["annotations"] = Value::Object(annotations);
        }
        let mut template = Map::new();
        if let Some((name, image)) = &self.image {
            let list = list_of(workload, name);
            let text = written_as(workload, name, image);
            template.insert("spec".to_owned(), json!({list: [{"name": name, "image": text}]}));
        }
        if let Some(at) = self.restarted_at {
            template.insert("metadata".to_owned(), json!({"annotations": {RESTARTED_AT: at.to_string()}}));
        }
        let mut spec = Map::new();
        if !template.is_empty() {
            match workload.kind {
                WorkloadKind::CronJob => {
                    spec.insert("jobTemplate".to_owned(), json!({"spec": {"template": template}}));
                }
                WorkloadKind::Deployment | WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => {
                    spec.insert("template".to_owned(), Value::Object(template));
                }
            }
        }
        if let Some(replicas) = self.replicas {
            spec.insert("replicas".to_owned(), json!(replicas));
        }
        if let Some(suspend) = self.suspend {
            spec.insert("suspend".to_owned(), json!(suspend));
        }
        if !spec.is_empty() {
            patch["spec"] = Value::Object(spec);
        }
        patch
    }

    /// The whole object as it would be then: for plans, and where only whole objects can be written.
    pub(super) fn applied(&self, workload: &Workload) -> Value {
        let mut object = workload.raw.clone();
        merge_by_name(&mut object, &self.patch(workload));
        object
    }
}

/// As it is to stand in the template: where images are written with the host of Docker Hub, this one is too.
fn written_as(workload: &Workload, container: &str, image: &ImageRef) -> String {
    let stands = workload.container(container).map(|container| container.image).unwrap_or_default();
    if stands.starts_with("docker.io/") {
        return image.to_string();
    }
    let tag = image.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
    let digest = image.digest().map(|digest| format!("@{digest}")).unwrap_or_default();
    format!("{}{tag}{digest}", image.repository().familiar())
}

fn list_of(workload: &Workload, container: &str) -> &'static str {
    match workload.container(container) {
        Some(container) if container.is_init => "initContainers",
        Some(_) | None => "containers",
    }
}

/// As an API server merges what [`Edit::patch`] makes: lists hold containers, by their names.
pub(in crate::target) fn merge_by_name(to: &mut Value, patch: &Value) {
    match (to, patch) {
        (Value::Object(to), Value::Object(patch)) => {
            for (name, wished) in patch {
                if wished.is_null() {
                    to.remove(name);
                } else {
                    merge_by_name(to.entry(name).or_insert(Value::Null), wished);
                }
            }
        }
        (Value::Array(to), Value::Array(patch)) => {
            for wished in patch {
                if let Some(known) = to.iter_mut().find(|known| known["name"] == wished["name"]) {
                    merge_by_name(known, wished);
                }
            }
        }
        (to @ Value::Null, Value::Object(_)) => {
            *to = json!({});
            merge_by_name(to, patch);
        }
        (to, patch) => to.clone_from(patch),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::object::samples::workload, *};

    fn image(text: &str) -> ImageRef {
        text.parse().unwrap()
    }

    #[test]
    fn a_patch_holds_nothing_but_the_change_and_its_condition() {
        let deployment = workload(WorkloadKind::Deployment, &json!({"replicas": 3}), &json!({}));
        let annotations =
            vec![("longshore.job/web".to_owned(), Some("1".to_owned())), ("gone".to_owned(), None)];
        let edit = Edit { image: Some(("web".into(), image("acme/web:2"))), annotations, ..Edit::default() };
        let expected = json!({
            "metadata": {"resourceVersion": "7", "annotations": {"longshore.job/web": "1", "gone": null}},
            "spec": {"template": {"spec": {"containers": [{"name": "web", "image": "acme/web:2"}]}}},
        });
        assert_eq!(edit.patch(&deployment), expected);
        let mut after = deployment.raw.clone();
        after["metadata"]["annotations"]["longshore.job/web"] = json!("1");
        after["spec"]["template"]["spec"]["containers"][0]["image"] = json!("acme/web:2");
        assert_eq!(edit.applied(&deployment), after);
    }

    #[test]
    fn init_containers_and_the_pods_of_cron_jobs_are_found() {
        let cron = workload(WorkloadKind::CronJob, &json!({}), &json!({}));
        let edit = Edit {
            image: Some(("migrate".into(), image("acme/migrate:2"))),
            suspend: Some(true),
            ..Edit::default()
        };
        let pod = json!({"spec": {"initContainers": [{"name": "migrate", "image": "acme/migrate:2"}]}});
        let expected = json!({"jobTemplate": {"spec": {"template": pod}}, "suspend": true});
        assert_eq!(edit.patch(&cron)["spec"], expected);
    }

    #[test]
    fn the_host_of_docker_hub_is_written_where_it_was() {
        let mut deployment = workload(WorkloadKind::Deployment, &json!({}), &json!({}));
        let digest = format!("sha256:{}", "a".repeat(64));
        let pinned = image(&format!("docker.io/acme/web:2@{digest}"));
        assert_eq!(written_as(&deployment, "web", &pinned), format!("acme/web:2@{digest}"));
        deployment.raw["spec"]["template"]["spec"]["containers"][0]["image"] = json!("docker.io/acme/web:1");
        assert_eq!(written_as(&deployment, "web", &image("acme/web:2")), "docker.io/acme/web:2");
    }
}
