//! One service of a fake engine: its spec, its version, its tasks, and how far its update is.

use proto::Timestamp;
use serde_json::{Value, json};

use super::BAD;

/// Replicas of every service.
pub(super) const SLOTS: u64 = 2;

/// The only node.
pub(super) const NODE: &str = "fake-node";

/// Tasks that are told of beside those of the current spec.
const FORMER_TASKS: usize = 4;

pub(super) struct Service {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) index: u64,
    pub(super) spec: Value,
    /// What it was made with, which ran well.
    pub(super) first_image: String,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) former_spec: Option<Value>,
    pub(super) update: Option<Update>,
    pub(super) tasks: Vec<Task>,
    /// Which rollout is under way; an earlier one goes on no more.
    pub(super) rollout: u64,
}

/// `UpdateStatus`.
pub(super) struct Update {
    pub(super) state: &'static str,
    pub(super) message: String,
    pub(super) started_at: Timestamp,
    pub(super) completed_at: Option<Timestamp>,
}

pub(super) struct Task {
    pub(super) id: String,
    pub(super) slot: u64,
    pub(super) image: String,
    pub(super) rollout: u64,
    pub(super) desired: &'static str,
    pub(super) state: &'static str,
    pub(super) error: &'static str,
    pub(super) created_at: Timestamp,
    pub(super) at: Timestamp,
}

impl Service {
    pub(super) fn image(&self) -> String {
        image_of(&self.spec).to_owned()
    }

    pub(super) fn label(&self, name: &str) -> Option<String> {
        self.spec["Labels"][name].as_str().map(str::to_owned)
    }

    /// Whether its tasks come up: the tag says it.
    pub(super) fn is_good(&self) -> bool {
        let image = image_of(&self.spec);
        image == self.first_image || !image.split('@').next().unwrap_or_default().ends_with(BAD)
    }

    /// Replaces the task of a slot by one of the current spec.
    pub(super) fn replace(&mut self, slot: u64, (desired, state): (&'static str, &'static str)) {
        let now = Timestamp::now();
        let (image, rollout) = (self.image(), self.rollout);
        for task in self.tasks.iter_mut().filter(|task| task.slot == slot && task.desired != "shutdown") {
            task.shut_down(now);
        }
        let id = format!("{}t{rollout}s{slot}", self.id);
        let error = if state == "rejected" { "No such image" } else { "" };
        self.tasks.push(Task { id, slot, image, rollout, desired, state, error, created_at: now, at: now });
        let former = self.tasks.iter().filter(|task| task.desired == "shutdown").count();
        let mut too_many = former.saturating_sub(FORMER_TASKS);
        self.tasks.retain(|task| {
            let goes = too_many > 0 && task.desired == "shutdown";
            too_many -= usize::from(goes);
            !goes
        });
    }

    /// Whether all tasks run what the spec says.
    pub(super) fn is_converged(&self) -> bool {
        let current = self.tasks.iter().filter(|task| self.is_current(task) && task.state == "running");
        current.count() as u64 == SLOTS
    }

    pub(super) fn is_current(&self, task: &Task) -> bool {
        task.rollout == self.rollout
    }

    pub(super) fn to_json(&self) -> Value {
        let mut told = json!({
            "ID": self.id,
            "Version": {"Index": self.index},
            "CreatedAt": self.created_at.to_string(),
            "UpdatedAt": self.updated_at.to_string(),
            "Spec": self.spec,
            "Endpoint": {"Spec": {}},
        });
        if let Some(former) = &self.former_spec {
            told["PreviousSpec"] = former.clone();
        }
        if let Some(update) = &self.update {
            told["UpdateStatus"] = json!({
                "State": update.state,
                "StartedAt": update.started_at.to_string(),
                "Message": update.message,
            });
            if let Some(at) = update.completed_at {
                told["UpdateStatus"]["CompletedAt"] = json!(at.to_string());
            }
        }
        told
    }
}

impl Task {
    fn shut_down(&mut self, now: Timestamp) {
        self.desired = "shutdown";
        if self.state == "running" {
            (self.state, self.at) = ("shutdown", now);
        }
    }

    pub(super) fn to_json(&self, service: &str) -> Value {
        let mut status = json!({
            "Timestamp": self.at.to_string(),
            "State": self.state,
            "Message": self.state,
            "ContainerStatus": {"ContainerID": self.container(), "PID": 1, "ExitCode": 0},
        });
        if !self.error.is_empty() {
            status["Err"] = json!(self.error);
        }
        json!({
            "ID": self.id,
            "Version": {"Index": 1},
            "CreatedAt": self.created_at.to_string(),
            "UpdatedAt": self.at.to_string(),
            "Spec": {"ContainerSpec": {"Image": self.image}},
            "ServiceID": service,
            "Slot": self.slot,
            "NodeID": NODE,
            "Status": status,
            "DesiredState": self.desired,
        })
    }

    pub(super) fn container(&self) -> String {
        format!("c{}", self.id)
    }
}

pub(super) fn image_of(spec: &Value) -> &str {
    spec["TaskTemplate"]["ContainerSpec"]["Image"].as_str().unwrap_or_default()
}
