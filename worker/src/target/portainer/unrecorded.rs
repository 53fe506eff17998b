//! What runs under a stack's name though Portainer has no record of it: started by hand, or left by a create that failed.

use serde_json::{Value, json};

use super::{
    PortainerStack,
    answer::Call,
    objects::{Environment, StackKind, normalized},
};
use crate::target::TargetError;

impl PortainerStack {
    /// All of it, by the names of the services. A target that is named by a number has none: without its record nobody
    /// knows what it is called.
    pub(super) async fn unrecorded(&self, environment: &Environment) -> Result<Vec<String>, TargetError> {
        if self.name.trim_start_matches('#').parse::<u64>().is_ok() {
            return Ok(Vec::new());
        }
        let name = normalized(&self.name);
        let mut names = self.runs_as((environment.id, StackKind::Compose, &name)).await?;
        if self.swarm_of(environment.id).await?.is_some() {
            names.extend(self.runs_as((environment.id, StackKind::Swarm, &name)).await?);
        }
        Ok(names)
    }

    /// The services that run under this name on a swarm, or by Compose, as they are called there.
    pub(super) async fn runs_as(
        &self,
        (environment, kind, name): (u64, StackKind, &str),
    ) -> Result<Vec<String>, TargetError> {
        let (path, of_service) = match kind {
            StackKind::Compose => ("containers/json", "/Labels/com.docker.compose.service"),
            StackKind::Swarm | StackKind::Kubernetes => ("services", "/Spec/Name"),
        };
        let filters = json!({"label": [format!("{}={name}", kind.label())]});
        let call = Call::read("show what runs", path);
        let listed = self.portainer.client.docker(environment, (path, Some(filters)), call).await?;
        let named = |one: &Value| Some(format!("`{}`", one.pointer(of_service)?.as_str()?));
        let mut names: Vec<String> = listed.as_array().into_iter().flatten().filter_map(named).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }
}
