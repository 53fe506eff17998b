//! Calls of single operations: lists of tasks, the services of a stack, what the engine is called, the removal of
//! images.

use std::{collections::HashMap, time::Duration};

use bollard::{models::Task, query_parameters::ListTasksOptionsBuilder};
use proto::Timestamp;
use serde_json::{Value, json};

use super::{Client, in_time, is_a_name, send};
use crate::target::{
    TargetError,
    swarm::{
        answer::{Call, Failure, cut},
        lookout::Which,
        service::Service,
    },
};

/// What the docker CLI marks the services of a stack with.
const STACK: &str = "com.docker.stack.namespace";
/// The hidden filter that the docker CLI uses: only tasks made from the current spec.
const UP_TO_DATE: (&str, &str) = ("_up-to-date", "true");
/// Removing gigabytes of layers takes its time.
const PRUNE_WITHIN: Duration = Duration::from_secs(600);

impl Client {
    /// The services of a stack, by name.
    ///
    /// # Errors
    /// [`TargetError::NotFound`] when there is no such stack: one without services is none.
    pub(in crate::target::swarm) async fn services_of(
        &self,
        stack: &str,
    ) -> Result<Vec<Service>, TargetError> {
        let what = format!("stack `{stack}`");
        let missing = || TargetError::NotFound { system: self.system.clone(), what: what.clone() };
        if !is_a_name(stack) {
            return Err(missing());
        }
        let call = Call { system: &self.system, attempted: "list the services", writes: false, what: &what };
        let filters = json!({"label": [format!("{STACK}={stack}")]}).to_string();
        let raw = self.list(&["services"], &filters).await?.map_err(|failure| failure.of(call))?;
        let listed: Option<Vec<Service>> =
            raw.as_array().and_then(|all| all.iter().cloned().map(Service::from_raw).collect());
        let mut services = listed
            .ok_or_else(|| Failure::Nonsense("a service without id, version or spec".into()).of(call))?;
        services.sort_by(|one, other| one.name().cmp(other.name()));
        if services.is_empty() { Err(missing()) } else { Ok(services) }
    }

    /// The tasks of these services, or of all where none is named.
    ///
    /// # Errors
    /// [`TargetError::NotFound`] when one of them is gone.
    pub(in crate::target::swarm) async fn tasks(
        &self,
        services: &[String],
        which: Which,
    ) -> Result<Vec<Task>, TargetError> {
        let call = Call { system: &self.system, attempted: "list the tasks", writes: false, what: "tasks" };
        let mut filters: HashMap<&str, Vec<&str>> = HashMap::new();
        if !services.is_empty() {
            filters.insert("service", services.iter().map(String::as_str).collect());
        }
        match which {
            Which::Current => filters.insert(UP_TO_DATE.0, vec![UP_TO_DATE.1]),
            Which::All => None,
        };
        let options = ListTasksOptionsBuilder::default().filters(&filters).build();
        let mut session = self.session().await?;
        let tasks = in_time(session.docker.list_tasks(Some(options))).await;
        session.note(tasks).map_err(|failure| failure.of(call))
    }

    /// The name of the node whose engine is spoken to.
    pub(in crate::target::swarm) async fn engine(&self) -> Result<String, TargetError> {
        let call = Call { system: &self.system, attempted: "tell its name", writes: false, what: "info" };
        let info = self.get(&["info"], None).await?.map_err(|failure| failure.of(call))?;
        let name = info["Name"].as_str().map(str::to_owned);
        name.ok_or_else(|| Failure::Nonsense(cut(info.to_string())).of(call))
    }

    /// Which swarm it manages: the same whichever of its managers is asked, and by whatever address.
    pub(in crate::target::swarm) async fn cluster(&self) -> Result<String, TargetError> {
        let call = Call { system: &self.system, attempted: "tell its swarm", writes: false, what: "info" };
        let info = self.get(&["info"], None).await?.map_err(|failure| failure.of(call))?;
        let cluster = info.pointer("/Swarm/Cluster/ID").and_then(Value::as_str);
        let cluster = cluster.filter(|id| !id.is_empty()).map(str::to_owned);
        cluster.ok_or_else(|| Failure::Nonsense(cut(info["Swarm"].to_string())).of(call))
    }

    /// What the image of a container of that engine is called by digest: `repository@sha256:…`, as far as is known there.
    pub(in crate::target::swarm) async fn digests_of(&self, container: &str) -> Vec<String> {
        let Some(found) = self.container(container).await else { return Vec::new() };
        let Some(image) = found["Image"].as_str() else { return Vec::new() };
        let Ok(Ok(image)) = self.get(&["images", image, "json"], None).await else { return Vec::new() };
        let known = image["RepoDigests"].as_array().into_iter().flatten();
        known.filter_map(|it| it.as_str().map(str::to_owned)).collect()
    }

    /// What the engine tells of a container of its own; none where it has none of that name.
    pub(in crate::target::swarm) async fn container(&self, container: &str) -> Option<Value> {
        self.get(&["containers", container, "json"], None).await.ok()?.ok()
    }

    /// What the engine's clock says, where it can be told.
    pub(in crate::target::swarm) async fn time(&self) -> Option<Timestamp> {
        let info = self.get(&["info"], None).await.ok()?.ok()?;
        info["SystemTime"].as_str()?.parse().ok()
    }

    /// Removes the images that pass `filters` and that no container uses; what was removed, as the engine tells it.
    pub(in crate::target::swarm) async fn prune_images(&self, filters: &Value) -> Result<Value, TargetError> {
        let call =
            Call { system: &self.system, attempted: "remove unused images", writes: true, what: "images" };
        let mut session = self.session().await?;
        let url = session.url(&["images", "prune"]).map_err(|failure| failure.of(call))?;
        let filters = filters.to_string();
        let request = session.http.post(url).query(&[("filters", filters)]).timeout(PRUNE_WITHIN);
        let answer = session.note(send(request).await);
        answer.map_err(|failure| match failure {
            Failure::Answered { status: 409, .. } => TargetError::Busy { system: self.system.clone() },
            Failure::NotConnected(_)
            | Failure::Broken(_)
            | Failure::TimedOut
            | Failure::Answered { .. }
            | Failure::Nonsense(_) => failure.of(call),
        })
    }

    pub(super) async fn list(
        &self,
        path: &[&str],
        filters: &str,
    ) -> Result<Result<Value, Failure>, TargetError> {
        let mut session = self.session().await?;
        let answer = match session.url(path) {
            Ok(url) => send(session.http.get(url).query(&[("filters", filters)])).await,
            Err(failure) => Err(failure),
        };
        Ok(session.note(answer))
    }
}
