//! Tasks of a swarm that are no more: those that came down by themselves, and those that gave way to others.

use std::time::Duration;

use proto::Timestamp;
use serde_json::{Value, json};

use super::super::{BAD, CRASHING, MISSING};
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

/// The tasks of a spec that gave way to another.
pub(super) struct Past {
    generation: u64,
    image: String,
    made_at: Timestamp,
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

    /// A container of a task that is no more.
    pub(in super::super) fn container(&self, id: &str) -> Option<Value> {
        let shown = |image: &str, started_at: Timestamp, ended_at: Timestamp| {
            let (started_at, ended_at) = (started_at.to_string(), ended_at.to_string());
            json!({
                "Id": id,
                "Config": {"Image": image},
                "State": {"Status": "exited", "Running": false, "StartedAt": started_at, "FinishedAt": ended_at},
            })
        };
        self.services.values().find_map(|service| {
            let fallen = service.fallen.iter().find(|fallen| fallen.container == id);
            let past = || service.past.iter().find(|past| id.starts_with(&service.container_of(past)));
            fallen
                .map(|it| shown(&it.image, it.started_at, it.ended_at))
                .or_else(|| past().map(|it| shown(&it.image, it.made_at, it.ended_at)))
        })
    }
}

impl Service {
    /// What it runs gives way to another spec.
    pub(super) fn pass(&mut self) {
        let (generation, made_at, ended_at) = (self.generation, self.begun_at, Timestamp::now());
        // By now it is called the one before.
        self.past.push(Past { generation, image: self.former.clone(), made_at, ended_at });
    }

    pub(super) fn past_task(&self, past: &Past, (slot, runs_still): (u64, bool)) -> Value {
        let failure = fails_with(&past.image);
        let (told, at) = match &failure {
            Some((state, error)) => (("shutdown", *state, error.as_str()), past.ended_at),
            None if runs_still => (("running", "running", ""), past.made_at),
            None => (("shutdown", "shutdown", ""), past.ended_at),
        };
        let mut task = self.task(slot, (past.generation, &past.image), told);
        task["CreatedAt"] = json!(past.made_at.to_string());
        task["Status"]["Timestamp"] = json!(at.to_string());
        if failure.as_ref().is_none_or(|(state, _)| *state == "failed") {
            let container = format!("{}{slot}", self.container_of(past));
            task["Status"]["ContainerStatus"] = json!({"ContainerID": container});
        }
        task
    }

    fn container_of(&self, past: &Past) -> String {
        format!("{}g{}s", self.id, past.generation)
    }

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

/// State and error of the tasks of an image that does not run.
pub(super) fn fails_with(image: &str) -> Option<(&'static str, String)> {
    let name = name_of(image);
    if name.ends_with(CRASHING) {
        return Some(("failed", "task: non-zero exit (1)".to_owned()));
    }
    let is_rejected = name.ends_with(BAD) || name.ends_with(MISSING);
    is_rejected.then(|| ("rejected", format!("No such image: {image}")))
}

/// An image less its digest.
pub(super) fn name_of(image: &str) -> &str {
    image.split('@').next().unwrap_or_default()
}
