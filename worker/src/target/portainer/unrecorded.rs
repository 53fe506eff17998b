//! What runs under a stack's name though Portainer has no record of it: started by hand, or left by a create that failed.

use serde_json::{Value, json};

use super::{
    PortainerStack,
    answer::{Call, Failure},
    objects::{Environment, StackKind, normalized},
};
use crate::target::TargetError;

/// The names of the services that run without a record.
#[derive(Default)]
pub(super) struct Unrecorded {
    pub(super) by_compose: Vec<String>,
    pub(super) on_swarm: Vec<String>,
}

impl Unrecorded {
    pub(super) fn all(&self) -> Vec<&str> {
        self.by_compose.iter().chain(&self.on_swarm).map(String::as_str).collect()
    }
}

impl PortainerStack {
    /// All of it. A target that is named by a number has none: without its record nobody knows what it is called.
    pub(super) async fn unrecorded(&self, environment: &Environment) -> Result<Unrecorded, TargetError> {
        if self.name.trim_start_matches('#').parse::<u64>().is_ok() {
            return Ok(Unrecorded::default());
        }
        let name = normalized(&self.name);
        let by_compose = self.runs_as((environment.id, StackKind::Compose, &name)).await?;
        let on_swarm = match self.swarm_of(environment.id).await? {
            Some(_) => self.runs_as((environment.id, StackKind::Swarm, &name)).await?,
            None => Vec::new(),
        };
        Ok(Unrecorded { by_compose, on_swarm })
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

    /// What is said of a create that was refused and left something: on a swarm it stands in the way of the next one.
    /// Nothing ran under the name before it.
    pub(super) async fn left_by_create(&self, (environment, kind): (u64, StackKind)) -> Option<String> {
        // Not to know it is no harm: the next deploy finds it.
        let left = self.runs_as((environment, kind, &normalized(&self.name))).await.unwrap_or_default();
        if left.is_empty() {
            return None;
        }
        let mend = match kind {
            StackKind::Compose => "deploy the stack again with `--adopt`, or remove them where they run",
            StackKind::Swarm | StackKind::Kubernetes => REMOVES,
        };
        Some(format!("; {} of it run, and Portainer has no stack of them: {mend}", left.join(", ")))
    }
}

/// What takes services of a swarm away that run without a stack.
pub(super) const REMOVES: &str = "`longshore stack remove --force` takes them away";

/// What Portainer says to who may not remove what it has no stack of. It does not mean the login.
pub(super) fn is_for_administrators(failure: &Failure) -> bool {
    matches!(failure, Failure::Answered(answer) if matches!(answer.status.as_u16(), 401 | 403))
}
