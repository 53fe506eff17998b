//! What a person needs to know before the first deploy: what is there, and what this key may do.

use std::collections::BTreeSet;

use super::{Rancher, answer::OF_ONE_CLUSTER, name::RancherWorkload, session::Request};
use crate::{
    target::{
        TargetError,
        findings::Findings,
        kubernetes::{KubernetesWorkload, client::Client},
        wire::Call,
    },
    verdict::chain,
};
use proto::{TargetName, Timestamp};

impl Rancher {
    /// Asks for everything that deploys will need. Nothing is changed.
    pub(crate) async fn connect(
        &self,
        targets: &[(&TargetName, &RancherWorkload, KubernetesWorkload)],
    ) -> Findings {
        let mut told = self.session.findings();
        match self.version().await {
            Ok(version) => told.found.push(version),
            Err(error) => {
                told.lacks(None, &error);
                return told;
            }
        }
        match self.session.key_state().await {
            Ok(key) => {
                let name = self.session.key();
                let warning = key.warning(name, Timestamp::now());
                let told_of_it = key.told(name);
                told.found.push(match warning {
                    Some(warning) => {
                        format!("asked with the key `{name}`; {}: {}", warning.text, warning.hint)
                    }
                    None => told_of_it,
                });
            }
            Err(error) => {
                told.lacks(None, &error);
                return told;
            }
        }
        let mut clusters = BTreeSet::new();
        for (of, name, target) in targets {
            let client = self.behind(name);
            if clusters.insert(&name.cluster) {
                self.tell_of_cluster((of, name), &client, &mut told).await;
            }
            self.tell_of_namespace(name, &client, &mut told).await;
            match target.describe().await {
                Ok(line) => {
                    told.found.push(line);
                    told.missing.extend(target.not_allowed().await);
                }
                Err(error) => told.lacks(Some(of), &error),
            }
        }
        told
    }

    /// Keys for one cluster may ask nothing of Rancher itself.
    async fn version(&self) -> Result<String, TargetError> {
        let call = Call::read("tell its version", "page that tells the version");
        match self.session.ask(Request::get("/v3/settings/server-version"), call).await {
            Ok(setting) => Ok(format!("Rancher {}", setting["value"].as_str().unwrap_or_default())),
            Err(TargetError::CredentialsRefused { answer, .. }) if answer.starts_with(OF_ONE_CLUSTER) => {
                let told = self.session.ask(Request::get("/rancherversion"), call).await.unwrap_or_default();
                Ok(match told["Version"].as_str() {
                    Some(version) => format!("Rancher {version}"),
                    None => "a Rancher that tells this key nothing of itself".to_owned(),
                })
            }
            Err(error) => Err(error),
        }
    }

    async fn tell_of_cluster(
        &self,
        (of, name): (&TargetName, &RancherWorkload),
        client: &Client,
        told: &mut Findings,
    ) {
        let id = match self.session.cluster(&name.cluster).await {
            Ok(id) => id,
            Err(error) => return told.lacks(Some(of), &error),
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
    async fn tell_of_namespace(&self, name: &RancherWorkload, client: &Client, told: &mut Findings) {
        let Some(project) = &name.project else { return };
        let call = Call::read("show the namespace", "such namespace");
        let path = format!("/api/v1/namespaces/{}", name.workload.namespace);
        // Whoever may not see it may yet change what is in it.
        let Ok(namespace) = client.get(&path, call).await else { return };
        let noted = namespace["metadata"]["annotations"]["field.cattle.io/projectId"].as_str();
        let stands = noted.map(|noted| noted.split_once(':').map_or(noted, |(_, project)| project));
        match stands {
            Some(stands) if stands == project => {}
            Some(stands) => told.missing.push(format!(
                "workload `{name}`: the namespace `{}` is in the project `{stands}`, not in `{project}`",
                name.workload.namespace
            )),
            None => told.missing.push(format!(
                "workload `{name}`: the namespace `{}` is in no project; move it to one in Rancher, or name the \
                 workload without a project",
                name.workload.namespace
            )),
        }
    }
}
