//! A Docker engine that manages a swarm, as it is seen through Portainer. Rollouts go on by the clock, whenever
//! somebody looks.

mod gone;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use proto::Timestamp;
use serde_json::{Value, json};

use self::gone::{Fallen, Past, fails_with, name_of};
use super::file::FileService;
use super::{HANGING, MISSING};

const SLOTS: u64 = 2;
const LONGEST_NAME: usize = 63;
const NODE: &str = "fake-node";

#[derive(Default)]
pub(super) struct SwarmEngine {
    services: BTreeMap<String, Service>,
    leaving: Vec<Leaving>,
    /// One for all, as a swarm's log has.
    index: u64,
    /// What tags point to that were pushed anew.
    pub(super) registry: BTreeMap<String, String>,
}

/// What is left of a stack whose services are gone: tasks that are told to end, and its network.
struct Leaving {
    stack: String,
    tasks: Vec<Value>,
    since: Instant,
}

struct Service {
    id: String,
    index: u64,
    /// The label that the docker command compares texts by.
    text: String,
    image: String,
    former: String,
    /// The image of the spec before the last write, whatever that changed.
    previous: String,
    force: u64,
    rolls_back: bool,
    /// Which spec its tasks are of.
    generation: u64,
    begun: Instant,
    begun_at: Timestamp,
    /// When it was written last.
    updated_at: Timestamp,
    update: Update,
    /// Tasks that came down.
    fallen: Vec<Fallen>,
    /// What it ran before, the newest last.
    past: Vec<Past>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Update {
    /// None, or wiped by a write that came in between: then the engine no longer watches over it.
    None,
    Rolls,
    Completed,
    Paused,
    WentBack,
}

/// What a registry says of an image: a digest that its name alone decides.
pub(super) fn digest_of(image: &str) -> String {
    let part = |part: u8| {
        let mut hasher = DefaultHasher::new();
        (image, part).hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    };
    format!("sha256:{}", (0..4).map(part).collect::<String>())
}

impl SwarmEngine {
    /// The digest that a tag points to; none where no registry has it.
    pub(super) fn look_up(&self, image: &str) -> Option<String> {
        let (name, digest) =
            image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
        if name.ends_with(MISSING) {
            return None;
        }
        // As engines do: both the short and the long name are one.
        let long = if name.split('/').next().is_some_and(|host| host.contains(['.', ':'])) {
            name.to_owned()
        } else {
            format!("docker.io/{name}")
        };
        let known = self.registry.get(name).or_else(|| self.registry.get(&long)).cloned();
        Some(digest.map(str::to_owned).or(known).unwrap_or_else(|| digest_of(&long)))
    }

    /// `docker stack deploy`: returns once the specs are taken, whatever becomes of them. A write to a service clears
    /// what is known of its update, also where nothing changes. What is pruned goes first, and a service that is refused
    /// ends it midway; so does somebody who meddles.
    pub(super) fn deploy(
        &mut self,
        stack: &str,
        services: &[FileService],
        (prune, pull): (bool, bool),
        meddled: bool,
    ) -> Result<(), String> {
        let names: BTreeSet<String> =
            services.iter().map(|service| format!("{stack}_{}", service.name)).collect();
        if prune {
            let prefix = format!("{stack}_");
            self.services.retain(|name, _| !name.starts_with(&prefix) || names.contains(name));
        }
        for service in services {
            let name = format!("{stack}_{}", service.name);
            if name.len() > LONGEST_NAME {
                return Err(format!(
                    "failed to create service {name}: Error response from daemon: rpc error: code = InvalidArgument \
                     desc = name must be {LONGEST_NAME} characters or fewer"
                ));
            }
            // Those before it are written already (moby/moby#39891).
            if meddled && services.last() == Some(service) {
                return Err(format!(
                    "failed to update service {name}: Error response from daemon: rpc error: code = Unknown desc = \
                     update out of sequence"
                ));
            }
            self.index += 1;
            let index = self.index;
            let pinned = match (service.image.contains('@'), pull, self.look_up(&service.image)) {
                (false, true, Some(digest)) => format!("{}@{digest}", service.image),
                (true | false, _, _) => service.image.clone(),
            };
            let (now, at) = (Instant::now(), Timestamp::now());
            let known = self.services.entry(name.clone()).or_insert_with(|| Service {
                id: format!("id{index}"),
                index,
                text: service.image.clone(),
                image: pinned.clone(),
                former: String::new(),
                previous: String::new(),
                force: 0,
                rolls_back: service.rolls_back,
                generation: 1,
                begun: now - Duration::from_secs(3600),
                begun_at: at,
                updated_at: at,
                update: Update::None,
                fallen: Vec::new(),
                past: Vec::new(),
            });
            if known.index != index {
                known.previous.clone_from(&known.image);
                known.updated_at = at;
            }
            known.index = index;
            known.rolls_back = service.rolls_back;
            // `--resolve-image=never` with the same text keeps what was pinned before.
            let kept = !pull && known.text == service.image;
            known.text.clone_from(&service.image);
            if kept || known.image == pinned {
                known.update = Update::None;
                continue;
            }
            known.former = std::mem::replace(&mut known.image, pinned);
            known.pass();
            known.begin();
        }
        Ok(())
    }

    /// The services are gone at once, their tasks and the network are not.
    pub(super) fn remove(&mut self, stack: &str) {
        let prefix = format!("{stack}_");
        let going = self.services.iter().filter(|(name, _)| name.starts_with(&prefix));
        let tasks: Vec<Value> = going.flat_map(|(_, service)| service.ending()).collect();
        if !tasks.is_empty() {
            self.leaving.push(Leaving { stack: stack.to_owned(), tasks, since: Instant::now() });
        }
        self.services.retain(|name, _| !name.starts_with(&prefix));
    }

    pub(super) fn has(&self, stack: &str) -> bool {
        let prefix = format!("{stack}_");
        self.services.keys().any(|name| name.starts_with(&prefix))
    }

    /// Whether something is left of what was removed.
    pub(super) fn is_leaving(&self, stack: &str) -> bool {
        self.leaving.iter().any(|leaving| leaving.stack == stack)
    }

    /// Whether a rollout of one of the stack's services is under way.
    pub(super) fn rolls(&self, stack: &str) -> bool {
        let prefix = format!("{stack}_");
        let mut of_it = self.services.iter().filter(|(name, _)| name.starts_with(&prefix));
        of_it.any(|(_, service)| service.update == Update::Rolls)
    }

    pub(super) fn image(&self, name: &str) -> String {
        self.services.get(name).map(|service| service.image.clone()).unwrap_or_default()
    }

    /// Goes on with every rollout.
    pub(super) fn go_on(&mut self, rollout: Duration) {
        self.leaving.retain(|leaving| leaving.since.elapsed() < rollout);
        for service in self.services.values_mut().filter(|service| service.update == Update::Rolls) {
            let gone = service.begun.elapsed();
            if service.is_bad() && gone >= rollout / 2 {
                service.update = if service.rolls_back { Update::WentBack } else { Update::Paused };
                if service.rolls_back {
                    std::mem::swap(&mut service.image, &mut service.former);
                    service.pass();
                    service.previous.clear();
                    service.generation += 1;
                }
                self.index += 1;
                service.index = self.index;
            } else if !service.is_bad() && !service.hangs() && gone >= rollout {
                service.update = Update::Completed;
                self.index += 1;
                service.index = self.index;
            }
        }
    }

    pub(super) fn services(&self, labels: &[String]) -> Value {
        let stack = labels.iter().find_map(|label| label.strip_prefix("com.docker.stack.namespace="));
        let is_of = |name: &&String| stack.is_none_or(|stack| name.starts_with(&format!("{stack}_")));
        self.services
            .iter()
            .filter(|(name, _)| is_of(name))
            .map(|(name, service)| service.to_json(name))
            .collect()
    }

    pub(super) fn tasks(&self, ids: &[String], only_current: bool, rollout: Duration) -> Value {
        let asked = self.services.iter().filter(|(_, service)| ids.is_empty() || ids.contains(&service.id));
        asked.flat_map(|(_, service)| service.tasks(only_current, rollout)).collect()
    }

    /// The tasks of a whole stack, those of services that are gone among them.
    pub(super) fn tasks_of(&self, labels: &[String], rollout: Duration) -> Value {
        let stack = labels.iter().find_map(|label| label.strip_prefix("com.docker.stack.namespace="));
        let prefix = format!("{}_", stack.unwrap_or_default());
        let there = self.services.iter().filter(|(name, _)| name.starts_with(&prefix));
        let there = there.flat_map(|(_, service)| service.tasks(false, rollout));
        let leaving = self.leaving.iter().filter(|leaving| Some(leaving.stack.as_str()) == stack);
        there.chain(leaving.flat_map(|leaving| leaving.tasks.clone())).collect()
    }

    /// A write of a spec, on the condition that the service has that version still.
    pub(super) fn write(&mut self, id: &str, version: u64, spec: &Value) -> Result<(), (u16, &'static str)> {
        let service = self.services.values_mut().find(|service| service.id == id);
        let service = service.ok_or((404, "service not found"))?;
        if service.index != version {
            return Err((500, "rpc error: code = Unknown desc = update out of sequence"));
        }
        self.index += 1;
        service.index = self.index;
        let force = spec.pointer("/TaskTemplate/ForceUpdate").and_then(Value::as_u64).unwrap_or_default();
        if force != service.force {
            service.force = force;
            service.former.clone_from(&service.image);
            service.begin();
        }
        Ok(())
    }
}

impl Service {
    fn begin(&mut self) {
        self.generation += 1;
        self.begun = Instant::now();
        self.begun_at = Timestamp::now();
        self.update = Update::Rolls;
    }

    fn hangs(&self) -> bool {
        name_of(&self.image).ends_with(HANGING)
    }

    fn is_bad(&self) -> bool {
        self.fails_with().is_some()
    }

    /// State and error of the tasks of an image that does not run.
    fn fails_with(&self) -> Option<(&'static str, String)> {
        fails_with(&self.image)
    }

    fn to_json(&self, name: &str) -> Value {
        let stack = name.split('_').next().unwrap_or_default();
        let mut told = json!({
            "ID": self.id,
            "Version": {"Index": self.index},
            "CreatedAt": self.begun_at.to_string(),
            "UpdatedAt": self.updated_at.to_string(),
            "Spec": {
                "Name": name,
                "Labels": {"com.docker.stack.namespace": stack, "com.docker.stack.image": self.text},
                "TaskTemplate": {"ContainerSpec": {"Image": self.image}, "ForceUpdate": self.force},
                "Mode": {"Replicated": {"Replicas": SLOTS}},
                "UpdateConfig": {"Monitor": 300_000_000, "FailureAction": if self.rolls_back { "rollback" } else { "pause" }},
            },
        });
        if !self.previous.is_empty() {
            told["PreviousSpec"] = told["Spec"].clone();
            told["PreviousSpec"]["TaskTemplate"]["ContainerSpec"]["Image"] = json!(self.previous);
        }
        let state = match self.update {
            Update::None => return told,
            Update::Rolls => "updating",
            Update::Completed => "completed",
            Update::Paused => "paused",
            Update::WentBack => "rollback_completed",
        };
        told["UpdateStatus"] = json!({"State": state, "StartedAt": self.begun_at.to_string(), "Message": format!("update {state}")});
        if matches!(self.update, Update::Completed | Update::WentBack) {
            told["UpdateStatus"]["CompletedAt"] = json!(Timestamp::now().to_string());
        }
        told
    }

    fn tasks(&self, only_current: bool, rollout: Duration) -> Vec<Value> {
        let gone = self.begun.elapsed();
        let mut tasks = Vec::new();
        for slot in 1..=SLOTS {
            // One after the other; what went back runs as before.
            let due = match self.update {
                Update::Completed | Update::WentBack => true,
                Update::None | Update::Rolls | Update::Paused => {
                    u64::try_from(gone.as_millis()).unwrap_or(u64::MAX) * SLOTS
                        >= slot * u64::try_from(rollout.as_millis()).unwrap_or(0)
                }
            };
            let due = due && !self.hangs();
            if self.hangs() && slot == 1 {
                let told = ("running", "preparing", "");
                tasks.push(self.task(slot, (self.generation, &self.image), told));
            }
            let failure = self.fails_with();
            let is_bad = failure.is_some();
            if due || is_bad {
                let (desired, state, error) = match &failure {
                    Some((state, error)) => ("ready", *state, error.as_str()),
                    None => ("running", "running", ""),
                };
                tasks.push(self.task(slot, (self.generation, &self.image), (desired, state, error)));
            }
            if let Some(past) = self.past.last().filter(|_| !only_current) {
                tasks.push(self.past_task(past, (slot, !due || is_bad)));
            }
        }
        for past in self.past.iter().rev().skip(1).filter(|_| !only_current) {
            tasks.extend((1..=SLOTS).map(|slot| self.past_task(past, (slot, false))));
        }
        let fallen = self.fallen.iter().filter(|it| !only_current || it.generation == self.generation);
        tasks.extend(fallen.map(|fallen| self.fallen_task(fallen)));
        tasks
    }

    fn ending(&self) -> Vec<Value> {
        let told = ("remove", "running", "");
        (1..=SLOTS).map(|slot| self.task(slot, (self.generation, &self.image), told)).collect()
    }

    fn task(
        &self,
        slot: u64,
        (generation, image): (u64, &str),
        (desired, state, error): (&str, &str, &str),
    ) -> Value {
        let mut told = json!({
            "ID": format!("{}t{generation}s{slot}", self.id),
            "CreatedAt": self.begun_at.to_string(),
            "UpdatedAt": self.begun_at.to_string(),
            "Spec": {"ContainerSpec": {"Image": image}},
            "ServiceID": self.id,
            "Slot": slot,
            "NodeID": NODE,
            "Status": {"Timestamp": self.begun_at.to_string(), "State": state, "Message": state},
            "DesiredState": desired,
        });
        if !error.is_empty() {
            told["Status"]["Err"] = json!(error);
        }
        told
    }
}

pub(super) fn nodes() -> Value {
    json!([{"ID": NODE, "Description": {"Hostname": NODE}, "Status": {"State": "ready"}}])
}
