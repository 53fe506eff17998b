//! Releasing what a target holds: an image that was rolled back there once is tried again.

use std::time::Duration;

use jiff::Timestamp;
use proto::{
    Cause, CauseKind, ChainId, Gates, ImageRef, Job, JobId, Operation, State, TargetName,
    ask::{Answer, Question, TargetNow},
    reason,
};

use crate::{
    ingress::Ingress,
    refusal::Refusal,
    timeline::{self, Timeline},
    view::Held,
};

/// How long the new job may take where its target is not declared here.
const DEADLINE: Duration = Duration::from_secs(60 * 60);

/// How long a worker may take to tell what is on hold. It looks for somewhat less.
const TOLD_WITHIN: Duration = Duration::from_secs(6);

impl Ingress {
    /// Makes a job that releases what was held on `target` last: the target itself, an image that was put on hold, or
    /// one that was rolled back. The last is deployed, the very content that was rolled back, and a job that is held for
    /// it ends once that was carried out. What was put on hold longer ago than the view reaches is what the target
    /// itself remembers; nothing is deployed for that.
    pub(crate) async fn release(&self, target: &TargetName, by: String) -> Result<Job, Refusal> {
        self.know_all().await?;
        let deadline = self.known.targets().get(target).map_or(DEADLINE, |target| target.deadline);
        if !self.view.held_on(target).is_empty() {
            return self.release_what_is_known(target, deadline, by).await;
        }
        // Others need not wait while a worker looks.
        let image = match held_there(self.ask_what_stands(target).await?) {
            Some(remembered) => remembered,
            None => return Err(Refusal::NothingHeld(target.clone())),
        };
        let _turn = self.letters.turn().await;
        if let Some(Held::UnderWay(job)) = self.view.held_on(target).into_iter().next() {
            return Ok(job);
        }
        let operation = Operation::Release { image };
        Ok(self.intake.add(|id, now| made_for(target, operation, (id, now, deadline), by)).await?)
    }

    /// The same of what the view knows of.
    async fn release_what_is_known(
        &self,
        target: &TargetName,
        deadline: Duration,
        by: String,
    ) -> Result<Job, Refusal> {
        let _turn = self.letters.turn().await;
        for held in self.view.held_on(target) {
            let (job, wish) = match held {
                Held::UnderWay(job) => return Ok(job),
                Held::Target(hold) => return self.let_go(&hold, None, deadline, by).await,
                Held::Image(hold) => match self.image_told(hold.id).await? {
                    Some(image) => return self.let_go(&hold, Some(image), deadline, by).await,
                    None => continue,
                },
                Held::Waits(job) => match self.wish_told(job.id).await? {
                    Some(wish) => (job, wish),
                    None => continue,
                },
                // What replaced it since is what counts.
                Held::RolledBack(job) => match self.wish_told(job.id).await? {
                    Some(wish) if self.is_last(&job) => (job, wish),
                    Some(_) | None => break,
                },
            };
            if let Some(under_way) = self.released_before(&job) {
                return Ok(under_way);
            }
            self.not_called_off(job.id)?;
            return Ok(self.intake.add(|id, now| released(&job, wish, (id, now, deadline), by)).await?);
        }
        Err(Refusal::NothingHeld(target.clone()))
    }

    /// How the target stands now, as a worker tells it.
    async fn ask_what_stands(&self, target: &TargetName) -> Result<TargetNow, Refusal> {
        let not_told = || Refusal::NotTold(target.clone());
        if !self.queue.is_available() {
            return Err(not_told());
        }
        let question = Question::Target { target: target.clone() }.encode();
        let answer = match self.queue.ask(target.pool(), question.into(), TOLD_WITHIN).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::info!(%target, error = &error as &dyn std::error::Error, "a worker was asked in vain");
                return Err(not_told());
            }
        };
        match Answer::decode(&answer) {
            Ok(Answer::Target(now)) => Ok(*now),
            Ok(
                Answer::Plan(_)
                | Answer::PortainerListing { .. }
                | Answer::PortainerStacks { .. }
                | Answer::UnknownTarget
                | Answer::Failed { .. }
                | Answer::UnknownQuestion,
            )
            | Err(_) => Err(not_told()),
        }
    }

    async fn let_go(
        &self,
        hold: &Job,
        image: Option<ImageRef>,
        deadline: Duration,
        by: String,
    ) -> Result<Job, Refusal> {
        let operation = Operation::Release { image };
        Ok(self.intake.add(|id, now| made_of(hold, operation, (id, now, deadline), by)).await?)
    }

    /// Whether nothing else was carried out for the same thing since, but what releases it.
    fn is_last(&self, job: &Job) -> bool {
        self.released_before(job).is_some() || self.view.newer_rival(job).is_none()
    }

    /// What is wished anew when `id` is released: its text as it was typed, or the image that was told of it.
    async fn wish_told(&self, id: JobId) -> Result<Option<Operation>, Refusal> {
        let Some(found) = timeline::of(&self.queue, &self.view, id).await? else { return Ok(None) };
        if let Operation::DeployStack(_) = found.job.operation {
            return Ok(Some(found.job.operation));
        }
        let image = image_in(&found);
        Ok(image.map(|image| Operation::SetImage { image, service: service_of(&found.job.operation) }))
    }

    /// The image of which the history tells why `id` is held, was rolled back, or put it on hold.
    async fn image_told(&self, id: JobId) -> Result<Option<ImageRef>, Refusal> {
        Ok(timeline::of(&self.queue, &self.view, id).await?.as_ref().and_then(image_in))
    }

    /// The job that stands for a held one, where it has not ended.
    fn released_before(&self, held: &Job) -> Option<Job> {
        let by = self.view.replayed().get(&held.id).copied()?;
        let (job, state) = self.view.get(by)?;
        (!state.is_end()).then_some(job)
    }
}

/// What a target remembers to be on hold, if anything: itself, or else the image that was noted last.
fn held_there(now: TargetNow) -> Option<Option<ImageRef>> {
    match now.on_hold {
        Some(_) => Some(None),
        None => now.held_images.into_iter().next().map(|held| Some(held.image)),
    }
}

/// The image of the last event that tells of one: why it is held, or how it ended.
fn image_in(found: &Timeline) -> Option<ImageRef> {
    let told = found.events.iter().rev().map(|(_, event)| event).find(|event| {
        let why = event.data.reason.as_ref().map(|reason| reason.code.as_ref());
        event.state().is_end() || event.state() == State::Held && why == Some(reason::BAD_IMAGE)
    });
    told.and_then(|event| event.data.image.as_ref()?.to.clone())
}

/// The held job once more, for what it was held for.
fn released(
    held: &Job,
    operation: Operation,
    (id, now, deadline): (JobId, Timestamp, Duration),
    by: String,
) -> Job {
    let gates = held.gates.clone();
    Job { replays: Some(held.id), gates, ..made_of(held, operation, (id, now, deadline), by) }
}

/// The one service of its target that an operation is for.
fn service_of(operation: &Operation) -> Option<String> {
    match operation {
        Operation::SetImage { service, .. } | Operation::Rollback { service, .. } => service.clone(),
        Operation::DeployStack(_)
        | Operation::RemoveStack { .. }
        | Operation::Start
        | Operation::Stop
        | Operation::Restart
        | Operation::Redeploy
        | Operation::DeployGit(_)
        | Operation::Migrate { .. }
        | Operation::PruneImages { .. }
        | Operation::Hold { .. }
        | Operation::Release { .. }
        | Operation::Cancel { .. } => None,
    }
}

/// A job of its own that lets go of what `held` tells of.
fn made_of(
    held: &Job,
    operation: Operation,
    (id, now, deadline): (JobId, Timestamp, Duration),
    by: String,
) -> Job {
    let job = Job {
        id,
        slots: operation.slots(),
        operation,
        cause: Cause { kind: CauseKind::Release, by: Some(by), delivery: None, ..held.cause.clone() },
        accepted_at: now,
        not_before: None,
        gates: Gates::default(),
        replays: None,
        ..held.clone()
    };
    job.lasting(deadline)
}

/// A job of its own that lets go of what its target alone remembers.
fn made_for(
    target: &TargetName,
    operation: Operation,
    (id, now, deadline): (JobId, Timestamp, Duration),
    by: String,
) -> Job {
    let job = Job {
        version: Job::VERSION,
        id,
        chain: ChainId::of(id),
        target: target.clone(),
        slots: operation.slots(),
        operation,
        cause: Cause { kind: CauseKind::Release, source: None, by: Some(by), delivery: None },
        accepted_at: now,
        not_before: None,
        deadline: now,
        gates: Gates::default(),
        replays: None,
        traceparent: None,
    };
    job.lasting(deadline)
}
