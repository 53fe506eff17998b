//! Calls about what stands beside services: configs, secrets, networks and tasks, by their labels.

use serde_json::{Value, json};

use super::{Client, send};
use crate::target::{
    TargetError,
    swarm::answer::{Call, Failure, cut},
};

impl Client {
    /// The objects of a kind (`configs`, `secrets`, `networks`, `tasks`, `services`) that have a label, as the engine
    /// tells them.
    pub(in crate::target::swarm) async fn labelled(
        &self,
        kind: &'static str,
        label: &str,
    ) -> Result<Vec<Value>, TargetError> {
        let call =
            Call { system: &self.system, attempted: "list what a stack has", writes: false, what: kind };
        let filters = json!({"label": [label]}).to_string();
        let listed = self.list(&[kind], &filters).await?.map_err(|failure| failure.of(call))?;
        match listed {
            Value::Array(objects) => Ok(objects),
            Value::Null => Ok(Vec::new()),
            other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
                Err(Failure::Nonsense(other.to_string()).of(call))
            }
        }
    }

    /// Whether there is an object of a kind (`configs`, `secrets`, `networks`) by that name.
    pub(in crate::target::swarm) async fn is_there(
        &self,
        kind: &'static str,
        name: &str,
    ) -> Result<bool, TargetError> {
        let call =
            Call { system: &self.system, attempted: "look at what a stack uses", writes: false, what: kind };
        match self.get(&[kind, name], None).await? {
            Ok(_) => Ok(true),
            Err(Failure::Answered { status: 404, .. }) => Ok(false),
            Err(failure) => Err(failure.of(call)),
        }
    }

    /// Makes a config object; one of that name that is there already is as good.
    pub(in crate::target::swarm) async fn create_config(&self, config: &Value) -> Result<(), TargetError> {
        let call = Call { system: &self.system, attempted: "keep the text", writes: true, what: "configs" };
        let mut session = self.session().await?;
        let url = session.url(&["configs", "create"]).map_err(|failure| failure.of(call))?;
        let answer = send(session.http.post(url).json(config)).await;
        let answer = session.note(answer);
        match answer {
            Ok(_) | Err(Failure::Answered { status: 409, .. }) => Ok(()),
            Err(failure) => Err(failure.of(call)),
        }
    }

    /// Removes a config object; one that is gone is as good.
    pub(in crate::target::swarm) async fn remove_config(&self, id: &str) -> Result<(), TargetError> {
        let call =
            Call { system: &self.system, attempted: "let go of a text", writes: true, what: "configs" };
        self.remove(&["configs", id], call).await
    }

    /// Removes a service; one that is gone is as good.
    pub(in crate::target::swarm) async fn remove_service(&self, id: &str) -> Result<(), TargetError> {
        let call =
            Call { system: &self.system, attempted: "remove the service", writes: true, what: "services" };
        self.remove(&["services", id], call).await
    }

    /// Removes a config, secret or network; one that is gone is as good. The engine's words where it is in use.
    pub(in crate::target::swarm) async fn remove_unused(
        &self,
        kind: &'static str,
        id: &str,
    ) -> Result<Option<String>, TargetError> {
        let call = Call { system: &self.system, attempted: "remove the stack", writes: true, what: kind };
        let mut session = self.session().await?;
        let url = session.url(&[kind, id]).map_err(|failure| failure.of(call))?;
        let answer = send(session.http.delete(url)).await;
        match session.note(answer) {
            Ok(_) | Err(Failure::Answered { status: 404, .. }) => Ok(None),
            Err(Failure::Nonsense(nothing)) if nothing.is_empty() => Ok(None),
            // Of a network it says so with 403, of the others with 400.
            Err(Failure::Answered { message, .. }) if is_in_use(&message) => Ok(Some(cut(message))),
            Err(failure) => Err(failure.of(call)),
        }
    }

    async fn remove(&self, path: &[&str], call: Call<'_>) -> Result<(), TargetError> {
        let mut session = self.session().await?;
        let url = session.url(path).map_err(|failure| failure.of(call))?;
        let answer = send(session.http.delete(url)).await;
        let answer = session.note(answer);
        match answer {
            Ok(_) | Err(Failure::Answered { status: 404, .. }) => Ok(()),
            // It has nothing to say where it did it.
            Err(Failure::Nonsense(nothing)) if nothing.is_empty() => Ok(()),
            Err(failure) => Err(failure.of(call)),
        }
    }
}

/// Whether an engine does not remove something since something else uses it.
fn is_in_use(message: &str) -> bool {
    message.contains("in use") || message.contains("active endpoints")
}
