//! All services of a fake engine, and what changes them: writes, and the rollouts that follow.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use proto::Timestamp;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::service::{SLOTS, Service, Update};
use super::{Engine, Record, Write};

/// Events that are told again to whoever asks from a point in the past.
const EVENTS_REMEMBERED: usize = 4096;

/// An update has no status for so long.
const NOT_YET_BEGUN: Duration = Duration::from_millis(30);

/// How an engine says that a write was meant for another version.
const OUT_OF_SEQUENCE: &str = "rpc error: code = Unknown desc = update out of sequence";

const LEADERLESS: &str = "rpc error: code = Unknown desc = The swarm does not have a leader.";

#[derive(Default)]
pub(super) struct Services {
    by_name: BTreeMap<String, Service>,
    /// One for all, as a swarm's log has.
    index: u64,
    past: VecDeque<(Timestamp, Arc<Value>)>,
    /// The service whose writes are refused.
    pub(super) refused: Option<String>,
    /// How often all tags of the registry were pushed again.
    pub(super) pushes: u64,
    pub(super) record: Record,
}

/// A rollout that was begun.
pub(super) struct Begun {
    service: String,
    rollout: u64,
    is_good: bool,
}

/// A write that was not carried out: status and words.
pub(super) type Refusal = (u16, String);

impl Services {
    pub(super) fn add(&mut self, name: &str, image: &str) {
        self.add_labelled(name, image, json!({}));
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.by_name.remove(name);
    }

    pub(super) fn add_labelled(&mut self, name: &str, image: &str, labels: Value) {
        self.index += 1;
        let now = Timestamp::now();
        let spec = json!({
            "Name": name,
            "Labels": labels,
            "TaskTemplate": {
                "ContainerSpec": {"Image": image, "Healthcheck": {"Test": ["CMD", "true"]}},
                "ForceUpdate": 0,
            },
            "Mode": {"Replicated": {"Replicas": SLOTS}},
            "UpdateConfig": {"Parallelism": 1, "FailureAction": "pause", "Monitor": 300_000_000},
        });
        let mut service = Service {
            id: format!("id{}", self.index),
            name: name.to_owned(),
            index: self.index,
            spec,
            first_image: image.to_owned(),
            created_at: now,
            updated_at: now,
            former_spec: None,
            update: None,
            tasks: Vec::new(),
            rollout: 0,
        };
        (1..=SLOTS).for_each(|slot| service.replace(slot, ("running", "running")));
        self.by_name.insert(name.to_owned(), service);
    }

    /// The service of that name or id.
    pub(super) fn find(&self, name: &str) -> Option<&Service> {
        self.by_name.get(name).or_else(|| self.all().find(|service| service.id == name))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Service> {
        self.by_name.values()
    }

    /// What was told since then, of a service or of all.
    pub(super) fn past_of(&self, id: &str, since: Timestamp) -> Vec<Arc<Value>> {
        let told = self.past.iter().filter(|(at, event)| *at >= since && (id.is_empty() || is_of(event, id)));
        told.map(|(_, event)| Arc::clone(event)).collect()
    }

    /// Writes a spec on the condition that the service has that version still.
    fn write(
        &mut self,
        id: &str,
        version: u64,
        (spec, with_key): (Value, bool),
    ) -> Result<(String, Option<Begun>), Refusal> {
        let index = self.index + 1;
        let service = self.by_name.values_mut().find(|service| service.id == id);
        let service = service.ok_or_else(|| (404, format!("service {id} not found")))?;
        if self.refused.as_ref() == Some(&service.name) {
            return Err((500, LEADERLESS.to_owned()));
        }
        if service.index != version {
            self.record.out_of_sequence += 1;
            return Err((500, OUT_OF_SEQUENCE.to_owned()));
        }
        let is_rollout = service.spec["TaskTemplate"] != spec["TaskTemplate"];
        let now = Timestamp::now();
        service.former_spec = Some(std::mem::replace(&mut service.spec, spec));
        // Whatever is written clears the status, also in the midst of a rollout.
        (service.update, service.index, service.updated_at) = (None, index, now);
        self.record.writes.push(Write {
            service: service.name.clone(),
            image: service.image(),
            job: service.label("longshore.job"),
            trying: service.label("longshore.trying"),
            version,
            with_key,
            at: now,
        });
        let begun = is_rollout.then(|| {
            service.rollout += 1;
            Begun { service: service.name.clone(), rollout: service.rollout, is_good: service.is_good() }
        });
        let name = service.name.clone();
        self.index = index;
        Ok((name, begun))
    }

    /// Goes a step on with a rollout, unless another has begun; then its version is a new one.
    fn go_on(&mut self, begun: &Begun, step: impl FnOnce(&mut Service)) -> bool {
        let Some(service) = self.by_name.get_mut(&begun.service) else { return false };
        if service.rollout != begun.rollout {
            return false;
        }
        step(service);
        true
    }

    /// Gives a service a new version, and tells it.
    fn touch(&mut self, name: &str) -> Option<Arc<Value>> {
        let service = self.by_name.get_mut(name)?;
        self.index += 1;
        let now = Timestamp::now();
        (service.index, service.updated_at) = (self.index, now);
        self.tell(name)
    }

    /// What is told of a service as it stands.
    fn tell(&mut self, name: &str) -> Option<Arc<Value>> {
        let service = self.by_name.get(name)?;
        let now = Timestamp::now();
        let mut attributes = json!({"name": service.name});
        if let Some(update) = &service.update {
            attributes["updatestate.new"] = json!(update.state);
        }
        let event = Arc::new(json!({
            "Type": "service",
            "Action": "update",
            "Actor": {"ID": service.id, "Attributes": attributes},
            "scope": "swarm",
            "time": now.as_second(),
            "timeNano": i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX),
        }));
        self.past.push_back((now, Arc::clone(&event)));
        if self.past.len() > EVENTS_REMEMBERED {
            self.past.pop_front();
        }
        Some(event)
    }

    fn note_that_it_runs(&mut self, name: &str) {
        let Some(service) = self.by_name.get(name).filter(|service| service.is_converged()) else { return };
        let ran = super::Ran { service: name.to_owned(), image: service.image(), from: Timestamp::now() };
        self.record.ran.push(ran);
    }
}

pub(super) fn is_of(event: &Value, id: &str) -> bool {
    let (actor, name) = (&event["Actor"]["ID"], &event["Actor"]["Attributes"]["name"]);
    actor == id || name == id
}

impl Engine {
    /// Carries out a write, and begins the rollout that it asks for.
    pub(super) fn write(
        self: &Arc<Self>,
        id: &str,
        version: u64,
        written: (Value, bool),
    ) -> Result<(), Refusal> {
        let (event, begun) = {
            let mut services = self.services();
            let (name, begun) = services.write(id, version, written)?;
            (services.tell(&name), begun)
        };
        self.tell(event);
        if let Some(begun) = begun {
            let engine = Arc::clone(self);
            tokio::spawn(async move { engine.roll_out(begun).await });
        }
        Ok(())
    }

    /// From one task to the next; the last part of the time is that in which an engine watches them.
    async fn roll_out(&self, begun: Begun) {
        sleep(NOT_YET_BEGUN).await;
        self.set_update(&begun, ("updating", "update in progress"));
        for slot in 1..=SLOTS {
            sleep(self.rollout * 3 / 10).await;
            if !begun.is_good {
                self.step(&begun, |service| service.replace(slot, ("ready", "rejected")));
                let why = "update paused due to failure or early termination of task";
                return self.set_update(&begun, ("paused", why));
            }
            self.step(&begun, |service| service.replace(slot, ("running", "running")));
        }
        sleep(self.rollout * 4 / 10).await;
        self.set_update(&begun, ("completed", "update completed"));
    }

    /// A task changes: no news of the service itself.
    fn step(&self, begun: &Begun, step: impl FnOnce(&mut Service)) {
        let mut services = self.services();
        if services.go_on(begun, step) {
            services.note_that_it_runs(&begun.service);
        }
    }

    fn set_update(&self, begun: &Begun, (state, message): (&'static str, &str)) {
        let now = Timestamp::now();
        let event = {
            let mut services = self.services();
            let goes_on = services.go_on(begun, |service| {
                let started_at = service.update.as_ref().map_or(now, |update| update.started_at);
                let completed_at = (state != "updating").then_some(now);
                let message = message.to_owned();
                service.update = Some(Update { state, message, started_at, completed_at });
            });
            if goes_on { services.touch(&begun.service) } else { None }
        };
        self.tell(event);
    }

    fn tell(&self, event: Option<Arc<Value>>) {
        if let Some(event) = event {
            // Nobody need listen.
            let _ = self.events.send(event);
        }
    }
}
