//! Removing a stack: services, networks, configs and secrets, and waiting until nothing of it is left. Volumes stay.
//!
//! The docker command does it once. What it leaves is removed piece by piece afterwards: run again, it would take away
//! what somebody deployed under that name meanwhile.

use std::time::Duration;

use async_trait::async_trait;
use proto::{ImageRef, JobId, Reason, Tasks, Timestamp, reason};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use super::{
    super::{SwarmStack, lifecycle::last_job, service::Service, stop::keep},
    command::Run,
    left::Left,
    removing::Removing,
};
use crate::{
    steps::{Step, reached},
    target::{End, Found, Outcome, Progress, Standing, TargetError, Wanted},
};

const ATTEMPTED: &str = "remove the stack";
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A network cannot be removed while tasks are on it: what is left is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(3);
/// What is in use for so long after the last task went is used by something else.
const IN_USE_FOR: Duration = Duration::from_secs(15);
/// What the command says, in upper or lower case, where some of it is still in use.
const STILL_IN_USE: &str = "failed to remove some resources";

/// A stack that is to be removed.
struct FoundRemoval {
    stack: SwarmStack,
    services: Vec<Service>,
    begun: Vec<Removing>,
    force: bool,
}

/// What keeps the rest of a stack from going.
#[derive(Default)]
struct InUse {
    since: Option<Instant>,
    words: Vec<String>,
}

impl SwarmStack {
    pub(in crate::target::swarm) async fn read_to_remove(
        &self,
        force: bool,
    ) -> Result<Box<dyn Found>, TargetError> {
        let begun = self.swarm.removals(&self.name).await?;
        let services = self.services().await?;
        Ok(Box::new(FoundRemoval { stack: self.clone(), services, begun, force }))
    }

    /// Waits until nothing is left, not even the containers.
    pub(in crate::target::swarm) async fn watch_removal(
        &self,
        wanted: &Wanted,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let id = wanted.job.id;
        let begun = self.swarm.removals(&self.name).await?;
        let since = begun.iter().find(|begun| begun.by == id).and_then(|begun| begun.since);
        let mut output: Vec<String> = Vec::new();
        let (mut again_at, mut in_use) = (Instant::now() + AGAIN_AFTER, InUse::default());
        loop {
            let services = self.services().await?;
            if let Some(end) = taken_over(&services, id, since) {
                self.swarm.forget_removals(&self.name).await?;
                return Ok(Outcome { output, ..Outcome::of(end) });
            }
            // Where the command did not come to them, or its worker died before it ran.
            for service in &services {
                self.swarm.client.remove_service(&service.id).await?;
            }
            let left = Left::of(&self.swarm, &self.name).await?;
            let line = left.told();
            if output.last() != Some(&line) {
                keep(&mut output, &line);
                let tasks = Tasks { running: left.tasks as u64, wanted: 0 };
                // Nobody waits for progress: where the reader lags, a step is left out.
                let _ = progress.try_send(Progress { tasks, line });
            }
            if left.is_gone() {
                return self.gone(output).await;
            }
            if left.tasks == 0 && Instant::now() >= again_at {
                in_use.note(&left, self.remove_what_is_left(&left).await?);
                again_at = Instant::now() + AGAIN_AFTER;
            }
            if in_use.is_for_good() {
                self.swarm.forget_removals(&self.name).await?;
                let end = End::Failed(in_use.told(&left));
                return Ok(Outcome { output, ..Outcome::of(end) });
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// The deadline has passed: what is left by now, and who uses it.
    pub(in crate::target::swarm) async fn removal_out_of_time(
        &self,
        reason: Reason,
    ) -> Result<Outcome, TargetError> {
        let left = Left::of(&self.swarm, &self.name).await?;
        if left.is_gone() {
            return self.gone(vec![left.told()]).await;
        }
        self.swarm.forget_removals(&self.name).await?;
        let text = format!("{}; {}", reason.text, left.told());
        let output = vec![left.told()];
        Ok(Outcome { output, ..Outcome::failed(Reason { text, ..reason }) })
    }

    async fn gone(&self, output: Vec<String>) -> Result<Outcome, TargetError> {
        self.swarm.forget(&self.name).await?;
        self.swarm.forget_removals(&self.name).await?;
        let tasks = Some(Tasks { running: 0, wanted: 0 });
        Ok(Outcome { tasks, output, ..Outcome::of(End::Converged) })
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
            system: self.swarm.client.system().to_owned(),
            attempted: ATTEMPTED,
            why: format!(
                "the stack `{}` was deployed by something else; say `--force` (`\"force\": true`) to remove it all the \
                 same",
                self.name
            ),
        })
    }

    async fn remove(&self) -> Result<(), TargetError> {
        let run = Run {
            system: self.swarm.client.system(),
            attempted: ATTEMPTED,
            arguments: ["stack", "rm", self.name.as_str()].map(Into::into).to_vec(),
            input: None,
            registries: (&self.swarm.registries, Default::default()),
            stand_in: None,
        };
        match self.swarm.command.run(run).await {
            Err(TargetError::Refused { answer, .. }) if answer.to_lowercase().contains(STILL_IN_USE) => {
                Ok(())
            }
            done => done,
        }
    }

    /// Each by its id: nothing else of that name is touched. The engine's words on what is in use.
    async fn remove_what_is_left(&self, left: &Left) -> Result<Vec<String>, TargetError> {
        let client = &self.swarm.client;
        let mut words = Vec::new();
        for other in &left.others {
            words.extend(client.remove_unused(other.kind, &other.id).await?);
        }
        Ok(words)
    }
}

/// Services that are there again are somebody's who wished for them: a newer job's, or another tool's that deployed
/// them `since` the removal began. What an older job of ours wrote too late is not.
fn taken_over(services: &[Service], id: JobId, since: Option<Timestamp>) -> Option<End> {
    if let Some(by) = services.iter().filter_map(last_job).max().filter(|job| *job > id) {
        let text = "a newer job deployed the stack again";
        return Some(End::Superseded { by: Some(by), reason: Reason::new(reason::NEWER_WISH, text) });
    }
    let is_anothers = |service: &&Service| {
        let made = service.created_at().parse::<Timestamp>().ok();
        last_job(service).is_none() && made.zip(since).is_some_and(|(made, since)| made > since)
    };
    let anothers = services.iter().find(is_anothers)?;
    let text = format!("somebody else deployed the stack again: `{}` is there anew", anothers.name());
    Some(End::Superseded { by: None, reason: Reason::new(reason::CHANGED_ELSEWHERE, text) })
}

#[async_trait]
impl Found for FoundRemoval {
    /// Nothing that a newer job made is removed. What was begun is watched: the command is not run twice.
    fn standing(&self, id: JobId) -> Standing {
        let newest = self.services.iter().filter_map(last_job).max();
        match newest.filter(|job| *job > id) {
            Some(newer) => Standing::Newer(newer),
            None if self.begun.iter().any(|begun| begun.by == id) => Standing::Applied,
            None => Standing::Open,
        }
    }

    fn image(&self) -> Option<ImageRef> {
        None
    }

    fn before(&self) -> Option<ImageRef> {
        None
    }

    async fn would_take(&self, _: &Wanted) -> Result<(), TargetError> {
        self.stack.refuse_to_remove_anothers(&self.services, self.force).await
    }

    async fn apply(self: Box<Self>, wanted: &Wanted) -> Result<(), TargetError> {
        let FoundRemoval { stack, services, force, .. } = *self;
        stack.refuse_to_remove_anothers(&services, force).await?;
        stack.swarm.note_removal(&stack.name, wanted.job.id).await?;
        reached(Step::Announced);
        let removed = stack.remove().await;
        if let Err(TargetError::Refused { .. }) = removed {
            // The job ends so, and what is noted of it would tell of a removal that is under way.
            stack.swarm.forget_removals(&stack.name).await?;
        }
        removed
    }
}

impl InUse {
    fn note(&mut self, left: &Left, words: Vec<String>) {
        let is_so = left.only_others() && !words.is_empty();
        self.since = is_so.then(|| self.since.unwrap_or_else(Instant::now));
        self.words = words;
    }

    fn is_for_good(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() >= IN_USE_FOR)
    }

    fn told(&self, left: &Left) -> Reason {
        let text = format!("all services are removed; {}: {}", left.told(), self.words.join("; "));
        Reason::new(reason::REFUSED, text)
            .hint("take it off what uses it (`docker service update`, `docker network disconnect`), then remove the stack again")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(created_at: &str, job: Option<JobId>) -> Service {
        let labels = job.map_or(json!({}), |job| json!({"longshore.stack": job.to_string()}));
        let raw = json!({
            "ID": "x", "Version": {"Index": 1}, "CreatedAt": created_at,
            "Spec": {"Name": "gone_web", "Labels": labels},
        });
        Service::from_raw(raw).unwrap()
    }

    #[test]
    fn what_another_tool_deploys_after_the_removal_began_is_left_to_it() {
        let since: Timestamp = "2026-01-01T10:00:00.5Z".parse().unwrap();
        let (before, after) = ("2026-01-01T10:00:00.1Z", "2026-01-01T10:00:00.900000001Z");
        let old = JobId::mint(Timestamp::from_second(1_700_000_000).unwrap(), None);
        let id = old.successor();
        let end = |service: Service, since| taken_over(&[service], id, since);
        let Some(End::Superseded { by: None, reason }) = end(service(after, None), Some(since)) else {
            panic!("it would be removed");
        };
        assert_eq!(reason.code, reason::CHANGED_ELSEWHERE);
        assert!(reason.text.contains("`gone_web`"), "{reason:?}");
        assert_eq!(end(service(before, None), Some(since)), None, "the command had not come to it");
        assert_eq!(end(service(after, Some(old)), Some(since)), None, "an older job wrote it too late");
        let newer = Some(id.successor());
        assert!(
            matches!(end(service(after, newer), Some(since)), Some(End::Superseded { by, .. }) if by == newer)
        );
        assert_eq!(end(service(after, None), None), None);
    }
}
