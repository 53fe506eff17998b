//! What runs under a stack's name though Portainer has no record of it: started by hand, or left by a create that failed.

use serde_json::{Value, json};

use super::{
    PortainerStack,
    answer::Call,
    objects::{Environment, StackKind, normalized},
};
use crate::target::TargetError;

impl PortainerStack {
    /// Its services and containers, by their names. A target that is named by a number has none: without its record nobody
    /// knows what it is called.
    pub(super) async fn unrecorded(&self, environment: &Environment) -> Result<Vec<String>, TargetError> {
        if self.name.trim_start_matches('#').parse::<u64>().is_ok() {
            return Ok(Vec::new());
        }
        let containers = self.labelled(environment, "containers/json", StackKind::Compose).await?;
        let name_of = |container: &Value| {
            container["Names"][0].as_str().map(|name| name.trim_start_matches('/').to_owned())
        };
        let mut names: Vec<String> = containers.iter().filter_map(name_of).collect();
        if self.swarm_of(environment.id).await?.is_some() {
            let services = self.labelled(environment, "services", StackKind::Swarm).await?;
            names.extend(
                services.iter().filter_map(|service| service["Spec"]["Name"].as_str().map(str::to_owned)),
            );
        }
        names.sort();
        Ok(names)
    }

    async fn labelled(
        &self,
        environment: &Environment,
        path: &str,
        kind: StackKind,
    ) -> Result<Vec<Value>, TargetError> {
        let filters = json!({"label": [format!("{}={}", kind.label(), normalized(&self.name))]});
        let call = Call::read("show what runs", path);
        let listed = self.portainer.client.docker(environment.id, (path, Some(filters)), call).await?;
        Ok(listed.as_array().cloned().unwrap_or_default())
    }
}
