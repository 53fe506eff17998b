//! Removing a stack: services, networks, configs and secrets, and waiting until nothing of it is left. Volumes stay.

use std::time::Duration;

use async_trait::async_trait;
use proto::{ImageRef, JobId, Reason, Tasks, reason};
use serde_json::Value;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use super::{
    super::{
        SwarmStack,
        lifecycle::last_job,
        service::Service,
        stop::{keep, not_counted},
    },
    command::Run,
};
use crate::target::{End, Found, Outcome, Progress, Standing, TargetError, Wanted};

const ATTEMPTED: &str = "remove the stack";
/// What the docker command marks everything of a stack with.
const NAMESPACE: &str = "com.docker.stack.namespace";
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A network cannot be removed while tasks are on it: the command is run again.
const AGAIN_AFTER: Duration = Duration::from_secs(3);
/// What the command says, in upper or lower case, where some of it is still in use.
const STILL_IN_USE: &str = "failed to remove some resources";
/// A task in any other state has no container that may still run.
const ALIVE: [&str; 9] =
    ["new", "pending", "assigned", "accepted", "preparing", "ready", "starting", "running", "allocated"];

/// A stack that is to be removed.
struct FoundRemoval {
    stack: SwarmStack,
    services: Vec<Service>,
    force: bool,
}

/// How much of a stack there still is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Left {
    services: usize,
    tasks: usize,
    /// Of those, what may still run on nodes that do not answer.
    unreachable: usize,
    /// Networks, configs and secrets.
    others: usize,
}

impl SwarmStack {
    pub(in crate::target::swarm) async fn read_to_remove(
        &self,
        force: bool,
    ) -> Result<Box<dyn Found>, TargetError> {
        let services = self.services().await?;
        Ok(Box::new(FoundRemoval { stack: self.clone(), services, force }))
    }

    /// Waits until nothing is left, not even the containers.
    pub(in crate::target::swarm) async fn watch_removal(
        &self,
        wanted: &Wanted,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let mut output: Vec<String> = Vec::new();
        let mut again_at = Instant::now() + AGAIN_AFTER;
        loop {
            if let Some(end) = self.taken_over(wanted.job.id).await? {
                return Ok(Outcome { output, ..Outcome::of(end) });
            }
            let left = self.left().await?;
            let line = left.told();
            if output.last() != Some(&line) {
                keep(&mut output, &line);
                let tasks = Tasks { running: left.tasks as u64, wanted: 0 };
                // Nobody waits for progress: where the reader lags, a step is left out.
                let _ = progress.try_send(Progress { tasks, line });
            }
            if left.is_gone() {
                self.swarm.forget(&self.name).await?;
                let tasks = Some(Tasks { running: 0, wanted: 0 });
                return Ok(Outcome { tasks, output, ..Outcome::of(End::Converged) });
            }
            if left.tasks == 0 && Instant::now() >= again_at {
                self.remove().await?;
                again_at = Instant::now() + AGAIN_AFTER;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    pub(super) async fn refuse_to_remove_anothers(
        &self,
        services: &[Service],
        force: bool,
    ) -> Result<(), TargetError> {
        if force || self.is_ours(&services.iter().collect::<Vec<_>>()).await? {
            return Ok(());
        }
        Err(TargetError::Declined {
            attempted: ATTEMPTED,
            why: format!(
                "the stack `{}` was deployed by something else; say `--force` (`\"force\": true`) to remove it all the \
                 same",
                self.name
            ),
        })
    }

    /// Services that are there again are somebody's who wished for them.
    async fn taken_over(&self, id: JobId) -> Result<Option<End>, TargetError> {
        let services = self.services().await?;
        let newest = services.iter().filter_map(last_job).max().filter(|job| *job > id);
        let text = "a newer job deployed the stack again";
        Ok(newest.map(|by| End::Superseded { by: Some(by), reason: Reason::new(reason::NEWER_WISH, text) }))
    }

    async fn left(&self) -> Result<Left, TargetError> {
        let (client, label) = (&self.swarm.client, format!("{NAMESPACE}={}", self.name));
        let is_alive = |task: &&Value| {
            task.pointer("/Status/State").and_then(Value::as_str).is_some_and(|state| ALIVE.contains(&state))
        };
        let mut left = Left { services: client.labelled("services", &label).await?.len(), ..Left::default() };
        let nodes = self.swarm.lookout.nodes().await?;
        let tasks = client.labelled("tasks", &label).await?;
        for task in tasks.iter().filter(is_alive) {
            match task["NodeID"].as_str().is_some_and(|node| nodes.is_node_down(node)) {
                true => left.unreachable += 1,
                false => left.tasks += 1,
            }
        }
        for kind in ["networks", "configs", "secrets"] {
            left.others += client.labelled(kind, &label).await?.len();
        }
        Ok(left)
    }

    async fn remove(&self) -> Result<(), TargetError> {
        let run = Run {
            system: self.swarm.client.system(),
            attempted: ATTEMPTED,
            arguments: ["stack", "rm", self.name.as_str()].map(Into::into).to_vec(),
            input: None,
            registries: (&self.swarm.registries, Default::default()),
        };
        match self.swarm.command.run(run).await {
            Err(TargetError::Refused { answer, .. }) if answer.to_lowercase().contains(STILL_IN_USE) => {
                Ok(())
            }
            done => done,
        }
    }
}

#[async_trait]
impl Found for FoundRemoval {
    /// Nothing that a newer job made is removed.
    fn standing(&self, id: JobId) -> Standing {
        let newest = self.services.iter().filter_map(last_job).max();
        newest.filter(|job| *job > id).map_or(Standing::Open, Standing::Newer)
    }

    fn image(&self) -> Option<ImageRef> {
        None
    }

    fn before(&self) -> Option<ImageRef> {
        None
    }

    async fn apply(self: Box<Self>, _: &Wanted) -> Result<(), TargetError> {
        let FoundRemoval { stack, services, force } = *self;
        stack.refuse_to_remove_anothers(&services, force).await?;
        stack.remove().await
    }
}

impl Left {
    /// What runs on nodes that are down is no reason to wait: it stops when they come back.
    fn is_gone(&self) -> bool {
        Left { unreachable: 0, ..self.clone() } == Left::default()
    }

    fn told(&self) -> String {
        let count = |count: usize, one: &str, many: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {many}")),
        };
        let parts: Vec<String> = [
            count(self.services, "service", "services"),
            count(self.tasks, "task", "tasks"),
            count(self.others, "network, config or secret", "networks, configs and secrets"),
        ]
        .into_iter()
        .flatten()
        .collect();
        let told = match parts.is_empty() {
            true => "nothing of the stack is left".to_owned(),
            false => format!("still there: {}", parts.join(", ")),
        };
        match not_counted(self.unreachable) {
            Some(more) => format!("{told}; {more}"),
            None => told,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told() {
        assert_eq!(Left::default().told(), "nothing of the stack is left");
        let left = Left { services: 0, tasks: 2, unreachable: 0, others: 1 };
        assert_eq!(left.told(), "still there: 2 tasks, 1 network, config or secret");
        assert!(!left.is_gone());
        let away = Left { unreachable: 1, ..Left::default() };
        assert!(away.is_gone());
        assert_eq!(
            away.told(),
            "nothing of the stack is left; 1 task is on a node that is down, and goes when that comes back"
        );
    }
}
