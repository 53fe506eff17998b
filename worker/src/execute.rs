//! One attempt at a job, as named steps. The order is always: effect, event, settle.

use std::{convert::Infallible, sync::Arc, time::Duration};

use proto::{CauseKind, ImageChange, ImageRef, Job, Operation, Reason, State, reason};
use queue::{Chronicle, Lock, Queue};
use tokio::sync::mpsc;

use crate::{
    answers::Answers,
    conclusion::{Attempt, Conclusion, Telling, fresh, tell},
    exchange::Prepared,
    fleet::Fleet,
    index::{Crashes, Index},
    neighbours::with_lines,
    quarantine::Quarantine,
    read_back::ReadBacks,
    redaction::Redaction,
    schedule::left_until,
    settings::Limits,
    steps::{Step as At, reached},
    target::{End, Found, Outcome, Progress, Standing, Target, TargetError, Wanted},
    unread::Unread,
    verdict::{chain, conclude_error},
};

/// Pause before a busy target is tried again.
pub(crate) const BUSY_PAUSE: Duration = Duration::from_secs(2);

/// An event that is not seen in the history for this long does not count as said.
pub(crate) const SEEN_WITHIN: Duration = Duration::from_secs(10);

/// How often a target that changes under our hands is read again within one attempt.
const MOST_DECISIONS: usize = 10;

/// How long a target may take to go back after the deadline passed.
pub(crate) const GIVEN_UP_WITHIN: Duration = Duration::from_secs(300);

/// All that an attempt needs, under one configuration.
pub(crate) struct Executor {
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) chronicle: Arc<Chronicle>,
    pub(crate) index: Arc<Index>,
    pub(crate) fleet: Fleet,
    pub(crate) limits: Limits,
    pub(crate) quarantine: Arc<Quarantine>,
    pub(crate) answers: Arc<Answers>,
    pub(crate) unread: Arc<Unread>,
    pub(crate) read_backs: Arc<ReadBacks>,
    pub(crate) redaction: Redaction,
}

/// A step either yields what the next one needs, or concludes the attempt.
pub(crate) type Step<T> = Result<T, Conclusion>;

impl Executor {
    /// Carries out what comes from `queue` under a configuration.
    pub(crate) fn new(
        (queue, chronicle, index): (Arc<dyn Queue>, Chronicle, Arc<Index>),
        Prepared { fleet, limits, redaction, .. }: Prepared,
    ) -> Executor {
        Executor {
            queue,
            chronicle: Arc::new(chronicle),
            index,
            fleet,
            limits,
            quarantine: Arc::default(),
            answers: Arc::default(),
            unread: Arc::default(),
            read_backs: Arc::default(),
            redaction,
        }
    }

    /// The same worker under another configuration: what it has read, owes and holds back is shared.
    pub(crate) fn under(&self, Prepared { fleet, limits, redaction, .. }: Prepared) -> Executor {
        Executor {
            queue: Arc::clone(&self.queue),
            chronicle: Arc::clone(&self.chronicle),
            index: Arc::clone(&self.index),
            fleet,
            limits,
            quarantine: Arc::clone(&self.quarantine),
            answers: Arc::clone(&self.answers),
            unread: Arc::clone(&self.unread),
            read_backs: Arc::clone(&self.read_backs),
            redaction,
        }
    }

    /// Carries out one attempt.
    pub(crate) async fn carry_out(&self, attempt: &Attempt) -> Conclusion {
        let conclusion = self.steps(attempt).await.unwrap_or_else(|conclusion| conclusion);
        self.redaction.conclusion(conclusion)
    }

    async fn steps(&self, attempt: &Attempt) -> Step<Conclusion> {
        let job = &attempt.job;
        self.read_back(job).await?;
        if let Some(after) = self.guard(job) {
            // Asked once for each attempt.
            let _ = attempt.guard.set(after);
        }
        if let Some(state) = self.index.end_of(job.id) {
            return self.look_after(attempt, state).await;
        }
        // Not said to be held since: it may have been cut off in the midst of a write.
        if self.index.is_under_way(job.id) {
            attempt.note_touched();
        }
        let admitted = self.admitted(attempt).await;
        if let (true, Err(Conclusion::End(_))) = (attempt.came_back, &admitted)
            && let Some(state) = self.said_by_others(job).await?
        {
            return self.look_after(attempt, state).await;
        }
        let target = admitted?;
        reached(At::Admitted);
        let _room = self.room(job)?;
        let lock = self.lock(job, &*target).await?;
        reached(At::Locked);
        let company = self.quarantine.enter(job, self.crashes(job).await?).await?;
        let alone = company.is_alone();
        attempt.hold((lock, Some(company)));
        self.say_started(attempt, alone).await?;
        reached(At::Started);
        self.admit_again(job)?;
        let applied = Box::pin(self.apply(attempt, job, &*target, |found| self.decide(job, found)));
        let applied = self.with_memo((attempt, alone), applied);
        let (wanted, change) = match self.with_asides(attempt, applied).await {
            Ok(applied) => applied,
            Err(conclusion) => return self.end_half_way(attempt, &*target, conclusion).await,
        };
        self.undo_if_late(attempt, &*target).await?;
        let told = self.put_neighbours_back(attempt, &*target).await?;
        Ok(with_lines(self.watch(attempt, &wanted, &*target, change).await, told))
    }

    async fn lock(&self, job: &Job, target: &dyn Target) -> Step<Lock> {
        match self.queue.lock(&job.target).await {
            Ok(Some(lock)) => Ok(lock),
            Ok(None) => {
                self.not_held_in_its_turn(job, target).await?;
                self.held_while_nobody_can_tell(job)?;
                self.could_be_written(job, target).await?;
                let text = format!("another job is at work on `{}`", job.target);
                let reason = Reason::new(reason::BUSY, text);
                Err(Conclusion::Again { after: BUSY_PAUSE, counted: false, reason })
            }
            Err(error) => Err(left(&error)),
        }
    }

    /// How often workers crashed at the job. That is held against it only once all that was said of it was read: a
    /// former holder of the lock may have answered for its attempt, or ended the job, a moment ago.
    async fn crashes(&self, job: &Job) -> Step<Crashes> {
        let count = || self.index.crashes(job.id, |started| self.answers.owes(started));
        if count() == Crashes::default() {
            return Ok(count());
        }
        self.chronicle.catch_up(SEEN_WITHIN).await.map_err(|error| left(&error))?;
        self.admit_again(job)?;
        Ok(count())
    }

    /// Says `started` and waits to see it: then every end said before it has been read as well.
    async fn say_started(&self, attempt: &Attempt, alone: bool) -> Step<()> {
        let mut event = attempt.event(State::Started, fresh());
        event.data.alone = alone;
        // Noted before it is said: it may be in the history even where nobody saw it come back.
        let _ = attempt.started.set(event.id);
        self.chronicle.say(&event, SEEN_WITHIN).await.map(drop).map_err(|error| Conclusion::Again {
            after: BUSY_PAUSE,
            counted: false,
            reason: Reason::new(reason::INTERRUPTED, chain(&error)),
        })
    }

    /// Reads the target and writes it where `decide` says so. When somebody changes it between the two, reads and
    /// decides again, never writes blindly.
    ///
    /// The image is looked up only when it is to be written, and then the target is read afresh: what a former
    /// worker applied is watched as it stands, wherever its tag points to by now.
    pub(crate) async fn apply(
        &self,
        attempt: &Attempt,
        job: &Job,
        target: &dyn Target,
        decide: impl Fn(&dyn Found) -> Step<Course> + Sync,
    ) -> Step<(Wanted, ImageChange)> {
        let failed = |error: TargetError| conclude_error(attempt, &error);
        let wished = self.wished_image(job).map(|image| target.pulled_as(&image));
        let mut resolved: Option<(ImageRef, ImageRef)> = None;
        for _ in 0..MOST_DECISIONS {
            let mut found = target.read(job).await.map_err(|error| self.unreadable(attempt, &error))?;
            found.heed(&self.index.on_hold(&job.target));
            reached(At::Read);
            if !target.refuses_stale_writes(&job.operation) {
                self.hear_all(attempt).await?;
            }
            let course = decide(&*found)?;
            let wished = match &wished {
                Some(image) => Some(image.clone()),
                None => self.meant(&*found, job).map_err(failed)?,
            };
            if let Course::Watch = course {
                let same = |image: &ImageRef| wished.as_ref().is_some_and(|it| it.by_tag() == image.by_tag());
                let stands = || found.tried(job.id).or_else(|| found.image()).filter(same);
                let image = wished.as_ref().map(|it| stands().unwrap_or(it.clone()));
                let change = ImageChange { from: found.before(), to: image.clone() };
                return Ok((Wanted { job: job.clone(), image }, change));
            }
            let image = match (wished, &resolved) {
                (Some(wished), Some((of, image))) if *of == wished => Some(image.clone()),
                (Some(wished), _) => {
                    let image = target.resolve(&wished).await.map_err(failed)?;
                    reached(At::Resolved);
                    resolved = Some((wished, image));
                    continue;
                }
                (None, _) => None,
            };
            let change =
                ImageChange { from: found.image().filter(|_| replaces_image(job)), to: image.clone() };
            self.not_on_hold(job, &*found, &change)?;
            if job.id == attempt.job.id {
                self.no_text_on_hold(job, &*found).await.map_err(failed)??;
            }
            let wanted = Wanted { job: job.clone(), image };
            match attempt.write(found.apply(&wanted)).await {
                Ok(()) => {
                    attempt.note_touched();
                    reached(At::Applied);
                    return Ok((wanted, change));
                }
                // What was written may have been written over.
                Err(TargetError::Conflict) => attempt.note_touched(),
                Err(error) => return Err(failed(error)),
            }
        }
        Err(failed(TargetError::Conflict))
    }

    fn decide(&self, job: &Job, found: &dyn Found) -> Step<Course> {
        match found.standing(job.id) {
            Standing::Newer(newer) => {
                let reason =
                    Reason::new(reason::NEWER_WISH, format!("the newer job {newer} was applied before"));
                Err(Telling::new(State::Superseded).reason(reason).by(Some(newer)).conclude())
            }
            Standing::RolledBack => Err(end(
                State::RolledBack,
                Reason::new(reason::ROLLED_BACK, "the target went back to what it ran before"),
            )),
            Standing::Applied => Ok(Course::Watch),
            Standing::Open => {
                self.may_write(job, found)?;
                Ok(Course::Apply)
            }
        }
    }

    /// Watches until the end is known, the deadline passes, or a newer wish takes over.
    pub(crate) async fn watch(
        &self,
        attempt: &Attempt,
        wanted: &Wanted,
        target: &dyn Target,
        change: ImageChange,
    ) -> Conclusion {
        attempt.note_watching();
        let (progress, told) = mpsc::channel(8);
        let ended = async {
            tokio::select! {
                ended = target.watch(wanted, &progress) => Some(ended),
                newer = self.taken_over(&wanted.job) => Some(Ok(newer)),
                () = tokio::time::sleep(left_until(wanted.job.deadline)) => None,
            }
        };
        let ended = async {
            match ended.await {
                Some(ended) => ended,
                None => give_up(wanted, target, &progress).await,
            }
        };
        let ended = tokio::select! {
            ended = ended => ended,
            never = self.tell_progress(attempt, told) => match never {},
        };
        reached(At::Watched);
        match ended {
            Ok(outcome) => tell(outcome, change).conclude(),
            Err(error) => conclude_error(attempt, &error),
        }
    }

    /// Says how far it is, as long as there is something to say. Best effort: nothing hangs on it.
    pub(crate) async fn tell_progress(
        &self,
        attempt: &Attempt,
        mut told: mpsc::Receiver<Progress>,
    ) -> Infallible {
        while let Some(progress) = told.recv().await {
            let mut event = attempt.event(State::Progress, fresh());
            event.data.tasks = Some(progress.tasks);
            event.data.output = vec![self.redaction.text(&progress.line)];
            if let Err(error) = self.queue.emit(&event).await {
                tracing::debug!(job = %attempt.job.id, error = chain(&error), "progress not said");
            }
        }
        // The watch holds the other end: it ends first.
        std::future::pending().await
    }

    /// A newer wish that waits takes over once this rollout had its time: a burst costs two or three rollouts.
    async fn taken_over(&self, job: &Job) -> Outcome {
        let mut changes = self.index.changes();
        tokio::time::sleep(self.limits.takeover_after).await;
        loop {
            if let Some(newer) = self.index.newer_waiting(job) {
                let text = format!("the newer job {newer} takes over the rollout");
                let reason = Reason::new(reason::NEWER_WISH, text);
                let end = End::Superseded { by: Some(newer), reason };
                return Outcome::of(end);
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// What is to be done with a target that was read.
pub(crate) enum Course {
    Apply,
    Watch,
}

/// The image to look up: a push deploys what its tag points to when it is carried out, whoever else names a digest
/// means that digest.
pub(crate) fn wished_image(job: &Job) -> Option<ImageRef> {
    let image = job.operation.image()?;
    match job.cause.kind {
        // What had to wait for its age is the image that was seen then, not one that was pushed since.
        CauseKind::Hook | CauseKind::Poll if job.not_before.is_none() => Some(image.by_tag()),
        CauseKind::Hook
        | CauseKind::Poll
        | CauseKind::Api
        | CauseKind::Cli
        | CauseKind::Amqp
        | CauseKind::Replay
        | CauseKind::Approve
        | CauseKind::Release => Some(image.clone()),
    }
}

/// Whether the image that a job tells of is to stand in the place of the one that runs: not where it is put on hold.
fn replaces_image(job: &Job) -> bool {
    !matches!(job.operation, Operation::Hold { .. } | Operation::Release { .. })
}

/// What the target makes of it that the deadline passed.
async fn give_up(
    wanted: &Wanted,
    target: &dyn Target,
    progress: &mpsc::Sender<Progress>,
) -> Result<Outcome, TargetError> {
    let given_up = target.give_up(wanted, deadline_passed(), progress);
    tokio::time::timeout(GIVEN_UP_WITHIN, given_up)
        .await
        .unwrap_or_else(|_| Ok(Outcome::failed(deadline_passed())))
}

fn deadline_passed() -> Reason {
    Reason::new(reason::DEADLINE, "its deadline passed before the rollout came to an end")
        .hint("look at the target's tasks: something keeps them from starting or from staying up")
}

pub(crate) fn end(state: State, reason: Reason) -> Conclusion {
    Telling::new(state).reason(reason).conclude()
}

/// Without the queue, nothing can be decided or said.
pub(crate) fn left(error: &(dyn std::error::Error + 'static)) -> Conclusion {
    Conclusion::Left(Reason::new(reason::INTERRUPTED, chain(error)))
}
