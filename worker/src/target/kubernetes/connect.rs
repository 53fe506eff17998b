//! What a person needs to know before the first deploy: what is there, and what these credentials may do.

use proto::TargetName;
use serde_json::json;

use super::{Kubernetes, KubernetesSettings, KubernetesWorkload, kind::WorkloadKind};
use crate::target::{TargetError, findings::Findings, wire::Call};

impl Kubernetes {
    /// Asks for everything that deploys will need. Nothing is changed.
    pub(crate) async fn connect(
        &self,
        settings: &KubernetesSettings,
        workloads: &[(&TargetName, KubernetesWorkload)],
    ) -> Findings {
        let door = settings.door();
        let mut told = door.map(|door| Findings::at(&door.base, door.trust.insecure)).unwrap_or_default();
        match self.version().await {
            Ok(version) => told.found.push(format!("Kubernetes {version}")),
            Err(error) => {
                told.lacks(None, &error);
                return told;
            }
        }
        for (target, workload) in workloads {
            match workload.describe().await {
                Ok(line) => told.found.push(line),
                Err(error) => {
                    told.lacks(Some(target), &error);
                    if let Some(why) = workload.namespace_is_missing().await {
                        told.missing.push(why);
                    }
                }
            }
            told.missing.extend(workload.not_allowed().await);
        }
        told
    }

    async fn version(&self) -> Result<String, TargetError> {
        let call = Call::read("tell its version", "page that tells the version");
        let told = self.client.get("/version", call).await?;
        Ok(told["gitVersion"].as_str().unwrap_or("of an unknown version").to_owned())
    }
}

impl KubernetesWorkload {
    pub(in crate::target) async fn describe(&self) -> Result<String, TargetError> {
        let workload = self.workload().await?;
        if let Some(name) = &self.container
            && workload.container(name).is_none()
        {
            let named: Vec<String> = workload.containers().map(|it| format!("`{}`", it.name)).collect();
            return Err(TargetError::NoPart {
                system: self.system().to_owned(),
                what: format!("container `{name}` in the {}, which has {}", self.place, named.join(", ")),
            });
        }
        let images: Vec<String> = workload
            .containers()
            .map(|container| format!("{} ({})", container.name, container.image))
            .collect();
        let mut line = format!("{}: {}", self.place, images.join(", "));
        if let Some(tasks) = workload.tasks() {
            line = format!("{line}, {} of {} pods run", tasks.running, tasks.wanted);
        }
        if workload.is_paused() {
            line.push_str("; its rollouts are paused");
        }
        if !workload.replaces_pods() {
            line.push_str("; its pods are replaced only by hand (OnDelete), so no image can be set in it");
        }
        if let Some(autoscaler) = self.autoscaler().await? {
            let name = autoscaler["metadata"]["name"].as_str().unwrap_or_default();
            line = format!("{line}; the autoscaler `{name}` decides how many");
        }
        Ok(line)
    }

    async fn namespace_is_missing(&self) -> Option<String> {
        let namespace = &self.place.namespace;
        let call = Call::read("show the namespace", "namespace");
        let asked = self.kubernetes.client.get(&format!("/api/v1/namespaces/{namespace}"), call).await;
        matches!(asked, Err(TargetError::NotFound { .. }))
            .then(|| format!("{} has no namespace `{namespace}`", self.system()))
    }

    /// What these credentials may not do of what deploys need.
    pub(in crate::target) async fn not_allowed(&self) -> Vec<String> {
        let (group, plural) = (self.place.kind.group(), self.place.kind.plural());
        let nothing = "so it cannot be deployed";
        let mut asked = vec![("get", group, plural, nothing), ("patch", group, plural, nothing)];
        if self.place.kind != WorkloadKind::CronJob {
            asked.push(("list", "", "pods", "so nothing is told of why pods do not run"));
        }
        match self.place.kind {
            WorkloadKind::Deployment => {
                asked.push((
                    "list",
                    "apps",
                    "replicasets",
                    "so pods of old and new templates are told apart by their image alone",
                ));
            }
            WorkloadKind::DaemonSet => {
                asked.push((
                    "list",
                    "apps",
                    "controllerrevisions",
                    "so pods of old and new templates are told apart by their image alone",
                ));
            }
            WorkloadKind::StatefulSet => {
                asked.push((
                    "delete",
                    "",
                    "pods",
                    "so a broken pod has to be deleted by hand before the stateful set goes on",
                ));
            }
            WorkloadKind::CronJob => {}
        }
        let mut missing = Vec::new();
        for (verb, group, resource, so) in asked {
            if !self.may(verb, group, resource).await.unwrap_or(true) {
                let namespace = &self.place.namespace;
                missing.push(format!(
                    "the credentials may not {verb} {resource} in the namespace `{namespace}`, {so}"
                ));
            }
        }
        missing
    }

    async fn may(&self, verb: &str, group: &str, resource: &str) -> Result<bool, TargetError> {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {
                "namespace": self.place.namespace, "verb": verb, "group": group, "resource": resource,
            }},
        });
        let call = Call::read("tell what the credentials may do", "review");
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let told = self.kubernetes.client.post(path, &review, call).await?;
        Ok(told.pointer("/status/allowed").and_then(serde_json::Value::as_bool).unwrap_or_default())
    }
}
