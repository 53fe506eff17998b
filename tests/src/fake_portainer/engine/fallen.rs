//! Tasks of a swarm that came down and were made anew.

use std::time::Duration;

use proto::Timestamp;
use serde_json::{Value, json};

use super::{Service, SwarmEngine};

/// A task that came down.
pub(super) struct Fallen {
    pub(super) generation: u64,
    image: String,
    container: String,
    made_at: Timestamp,
    started_at: Timestamp,
    ended_at: Timestamp,
}

impl SwarmEngine {
    /// A task of a service came down this very moment, and runs again: it had been there for so long, and had run for the
    /// last part of that.
    pub(in super::super) fn fall(&mut self, name: &str, (there_for, ran_for): (Duration, Duration)) {
        let Some(service) = self.services.get_mut(name) else { return };
        let ended_at = Timestamp::now();
        let before = |span: Duration| ended_at.checked_sub(span).unwrap_or(ended_at);
        service.fallen.push(Fallen {
            generation: service.generation,
            image: service.image.clone(),
            container: format!("{}c{}", service.id, service.fallen.len()),
            made_at: before(there_for),
            started_at: before(ran_for),
            ended_at,
        });
    }

    /// A container of a task that came down.
    pub(in super::super) fn container(&self, id: &str) -> Option<Value> {
        let mut fallen = self.services.values().flat_map(|service| &service.fallen);
        let fallen = fallen.find(|fallen| fallen.container == id)?;
        let (started_at, ended_at) = (fallen.started_at.to_string(), fallen.ended_at.to_string());
        Some(json!({
            "Id": id,
            "Config": {"Image": fallen.image},
            "State": {"Status": "exited", "Running": false, "ExitCode": 1, "StartedAt": started_at, "FinishedAt": ended_at},
        }))
    }
}

impl Service {
    pub(super) fn fallen_task(&self, fallen: &Fallen) -> Value {
        let told = ("shutdown", "failed", "task: non-zero exit (1)");
        let mut task = self.task(1, (fallen.generation, &fallen.image), told);
        task["ID"] = json!(format!("t{}", fallen.container));
        task["CreatedAt"] = json!(fallen.made_at.to_string());
        task["Status"]["Timestamp"] = json!(fallen.ended_at.to_string());
        task["Status"]["ContainerStatus"] = json!({"ContainerID": fallen.container, "ExitCode": 1});
        task
    }
}
