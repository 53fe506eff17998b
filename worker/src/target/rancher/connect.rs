//! What a person needs to know before the first deploy: what is there, and what this key may do.

use std::collections::BTreeSet;

use proto::Timestamp;
use serde_json::{Value, json};

use super::{Rancher, name::WorkloadName, session::Request};
use crate::{
    target::{
        Target, TargetError,
        kubernetes::client::Client,
        portainer::Connected,
        wire::Call,
    },
    verdict::chain,
};

impl Rancher {
    /// Asks for everything that deploys will need. Nothing is changed.
    pub(crate) async fn connect(&self, targets: &[(&WorkloadName, &dyn Target)]) -> Connected {
        let mut told = Connected::default();
        match self.version().await {
            Ok(version) => told.found.push(version),
            Err(error) => {
                told.missing.push(chain(&error));
                return told;
            }
        }
        match self.session.key_state().await {
            Ok(key) => {
                let name = self.session.key();
                let warning = key.warning(name, Timestamp::now());
                let told_of_it = key.told(name);
                told.found.push(match warning {
                    Some(warning) => format!("{told_of_it} ({}): {}", warning.text, warning.hint),
                    None => told_of_it,
                });
            }
            Err(error) => {
                told.missing.push(chain(&error));
                return told;
            }
        }
        let mut clusters = BTreeSet::new();
        for (name, target) in targets {
            let client = self.behind(name);
            if clusters.insert(&name.cluster) {
                self.tell_of_cluster(name, &client, &mut told).await;
            }
            self.tell_of_namespace(name, &client, &mut told).await;
            match target.look().await {
                Ok(now) => {
                    let images: Vec<String> = now.images.iter().map(proto::ImageRef::familiar).collect();
                    let pods = now.tasks.map(|tasks| format!(", {} of {} pods run", tasks.running, tasks.wanted));
                    told.found.push(format!(
                        "workload `{name}`: {}{}",
                        images.join(", "),
                        pods.unwrap_or_default()
                    ));
                    tell_of_rights(name, &client, &mut told).await;
                }
                Err(error) => told.missing.push(format!("workload `{name}`: {}", chain(&error))),
            }
        }
        told
    }

    /// Keys for one cluster may ask nothing of Rancher itself.
    async fn version(&self) -> Result<String, TargetError> {
        let call = Call::read("tell its version", "page that tells the version");
        match self.session.ask(Request::get("/v3/settings/server-version"), call).await {
            Ok(setting) => Ok(format!("Rancher {}", setting["value"].as_str().unwrap_or_default())),
            Err(TargetError::CredentialsRefused { answer, .. }) if answer.contains("single cluster") => {
                let told = self.session.ask(Request::get("/rancherversion"), call).await.unwrap_or_default();
                Ok(match told["Version"].as_str() {
                    Some(version) => format!("Rancher {version}"),
                    None => "a Rancher that tells this key nothing of itself".to_owned(),
                })
            }
            Err(error) => Err(error),
        }
    }

    async fn tell_of_cluster(&self, name: &WorkloadName, client: &Client, told: &mut Connected) {
        let id = match self.session.cluster(&name.cluster).await {
            Ok(id) => id,
            Err(error) => return told.missing.push(chain(&error)),
        };
        let called = if id == name.cluster.as_str() {
            format!("cluster `{id}`")
        } else {
            format!("cluster `{}` ({id})", name.cluster.as_str())
        };
        let call = Call::read("tell the version of Kubernetes", "version of Kubernetes");
        match client.get("/version", call).await {
            Ok(version) => {
                let version = version["gitVersion"].as_str().unwrap_or_default().to_owned();
                told.found.push(format!("{called}: Kubernetes {version}"));
            }
            Err(TargetError::CredentialsRefused { answer, .. }) => told.found.push(format!(
                "{called}: Kubernetes' own API is closed to this key ({answer}); workloads that are named with their \
                 project can be changed all the same, but why one fails cannot be told"
            )),
            Err(error) => told.missing.push(format!("{called}: {}", chain(&error))),
        }
    }

    /// A project that is not the namespace's own is a mistake that shows only where Rancher's own links are used.
    async fn tell_of_namespace(&self, name: &WorkloadName, client: &Client, told: &mut Connected) {
        let Some(project) = &name.project else { return };
        let call = Call::read("show the namespace", "such namespace");
        let path = format!("/api/v1/namespaces/{}", name.namespace);
        // Whoever may not see it may yet change what is in it.
        let Ok(namespace) = client.get(&path, call).await else { return };
        let noted = namespace["metadata"]["annotations"]["field.cattle.io/projectId"].as_str();
        let stands = noted.map(|noted| noted.split_once(':').map_or(noted, |(_, project)| project));
        match stands {
            Some(stands) if stands == project => {}
            Some(stands) => told.missing.push(format!(
                "workload `{name}`: the namespace `{}` is in the project `{stands}`, not in `{project}`",
                name.namespace
            )),
            None => told.missing.push(format!(
                "workload `{name}`: the namespace `{}` is in no project; move it to one in Rancher, or name the \
                 workload without a project",
                name.namespace
            )),
        }
    }
}

/// What the key's user may do there, by Kubernetes' own word.
async fn tell_of_rights(name: &WorkloadName, client: &Client, told: &mut Connected) {
    let resource = format!("{}s", name.kind.as_str());
    let group = if resource == "cronjobs" { "batch" } else { "apps" };
    let place = format!("in the namespace `{}`", name.namespace);
    for (verb, group, resource, lack) in [
        ("patch", group, resource.as_str(), "make the key's user a member of the project"),
        ("list", "", "pods", "without, why a rollout fails cannot be told"),
    ] {
        match may(client, &name.namespace, (verb, group, resource)).await {
            Ok(true) => told.found.push(format!("may {verb} {resource} {place}")),
            Ok(false) => told.missing.push(format!("the key may not {verb} {resource} {place}: {lack}")),
            // It is told with the cluster already, or it will be by the first deploy.
            Err(error) => tracing::debug!(error = chain(&error), "cannot ask what the key may do"),
        }
    }
}

async fn may(
    client: &Client,
    namespace: &str,
    (verb, group, resource): (&str, &str, &str),
) -> Result<bool, TargetError> {
    let call = Call::read("tell what the key may do", "review of rights");
    let attributes = json!({"namespace": namespace, "verb": verb, "group": group, "resource": resource});
    let body = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let reviewed: Value = client.post(path, &body, call).await?;
    Ok(reviewed["status"]["allowed"] == true)
}
