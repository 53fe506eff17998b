//! The loop of one pool: takes jobs, has each attempted on a task of its own, says what became of it, settles.

use std::{sync::Arc, time::Duration};

use proto::{Event, Job, PoolName, Reason, State, Timestamp, reason};
use queue::{Complaints, Deliveries, Delivery, Queue, QueueError, Settlement};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Stop,
    attend::{attend, lost, lost_the_queue, panicked},
    conclusion::{Attempt, Conclusion},
    execute::{Executor, SEEN_WITHIN},
    steps::{Step, reached},
    verdict::chain,
};

/// How long a worker waits to hear that a job was accepted before it says so itself.
const ACCEPTED_WITHIN: Duration = Duration::from_secs(1);

/// Pause before a job that could not be concluded goes back: at once, it would spin.
const PAUSE_BEFORE_RETURN: Duration = Duration::from_secs(5);

/// Pause before the queue is asked again after it failed.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Pause before a queue is asked again whose disk failed: as a rule it is full, and somebody makes room.
const PAUSE_FOR_ROOM: Duration = Duration::from_secs(5);

/// Pause before a pool is opened again that somebody has to mend first.
const PAUSE_UNTIL_MENDED: Duration = Duration::from_secs(30);

/// After how long it is said again of a job that it waits: less than ingresses wait before they take its message for lost.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(10 * 60);

/// Serves `pool` until it is left, as when the worker stops; returns once every job is settled or released. Each job
/// is carried out under the configuration that is the one when it comes.
pub(crate) async fn serve(
    executors: watch::Receiver<Arc<Executor>>,
    pool: PoolName,
    (stop, leave): (Stop, CancellationToken),
) {
    let queue = Arc::clone(&executors.borrow().queue);
    let mut places = Places::new(&executors);
    let running = TaskTracker::new();
    while let Some(mut deliveries) = take(&*queue, &pool, places.at_once, &leave).await {
        let permits = Arc::clone(&places.permits);
        loop {
            let taken = tokio::select! {
                taken = next(&mut *deliveries, &permits) => taken,
                () = places.others_are_meant() => None,
                () = leave.cancelled() => None,
            };
            let Some((permit, delivery)) = taken else { break };
            let executor = Arc::clone(&executors.borrow());
            let attempt = handle(executor, delivery, stop.clone());
            running.spawn(async move {
                attempt.await;
                drop(permit);
            });
        }
        // What was taken ahead goes back when this is dropped; what runs is waited for below.
        drop(deliveries);
        tokio::select! {
            () = places.change() => {}
            () = leave.cancelled() => break,
        }
    }
    running.close();
    running.wait().await;
}

/// How many jobs of the pool are carried out at once.
struct Places {
    executors: watch::Receiver<Arc<Executor>>,
    at_once: u16,
    permits: Arc<Semaphore>,
}

impl Places {
    fn new(executors: &watch::Receiver<Arc<Executor>>) -> Places {
        let at_once = executors.borrow().limits.at_once;
        Places { executors: executors.clone(), at_once, permits: Arc::new(Semaphore::new(at_once.into())) }
    }

    /// Returns once another configuration has another number.
    async fn others_are_meant(&mut self) {
        let (at_once, executors) = (self.at_once, &mut self.executors);
        if executors.wait_for(|executor| executor.limits.at_once != at_once).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Makes it as many as are meant. Where they are fewer, waits until as many jobs have ended.
    async fn change(&mut self) {
        let meant = self.executors.borrow().limits.at_once;
        if let Some(more) = meant.checked_sub(self.at_once) {
            self.permits.add_permits(more.into());
        } else if let Ok(less) = self.permits.acquire_many((self.at_once - meant).into()).await {
            less.forget();
        }
        self.at_once = meant;
    }
}

fn pause_after(error: &QueueError) -> Duration {
    if matches!(error, QueueError::Storage { .. }) {
        PAUSE_FOR_ROOM
    } else if error.is_passing() {
        PAUSE_AFTER_FAILURE
    } else {
        PAUSE_UNTIL_MENDED
    }
}

/// Opens the pool, and tries again until it can be opened; `None` once it is to be left.
async fn take(
    queue: &dyn Queue,
    pool: &PoolName,
    at_once: u16,
    leave: &CancellationToken,
) -> Option<Box<dyn Deliveries>> {
    let mut pause;
    let mut complaints = Complaints::default();
    loop {
        let taken = tokio::select! {
            taken = queue.take(pool, at_once) => taken,
            () = leave.cancelled() => return None,
        };
        match taken {
            Ok(deliveries) => return Some(deliveries),
            Err(error) => {
                say_nothing_is_taken(pool, &error, &mut complaints);
                pause = pause_after(&error);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = leave.cancelled() => return None,
        }
    }
}

/// Says why nothing is taken, each cause once and every few minutes again: what somebody has to mend is an error.
fn say_nothing_is_taken(pool: &PoolName, error: &QueueError, complaints: &mut Complaints) {
    let why = chain(error);
    if !complaints.is_due(&why, Instant::now()) {
        tracing::debug!(%pool, error = why, "still no jobs can be taken");
    } else if error.is_passing() {
        tracing::warn!(%pool, error = why, "cannot take jobs, trying again");
    } else {
        tracing::error!(%pool, error = why, "cannot take jobs: nothing of this pool is carried out here until that is mended");
    }
}

/// The next job with a place to carry it out; `None` when the pool must be opened again.
async fn next(
    deliveries: &mut dyn Deliveries,
    permits: &Arc<Semaphore>,
) -> Option<(OwnedSemaphorePermit, Delivery)> {
    let permit = Arc::clone(permits).acquire_owned().await.ok()?;
    match deliveries.next().await {
        Ok(delivery) => Some((permit, delivery)),
        Err(error) => {
            tracing::warn!(error = chain(&error), "lost the queue, opening it again");
            tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
            None
        }
    }
}

/// One delivery from its arrival to its settlement.
async fn handle(executor: Arc<Executor>, delivery: Delivery, stop: Stop) {
    let mut job = match Job::decode(delivery.body()) {
        Ok(job) => job,
        Err(undecodable) => return executor.unread.set_aside(delivery, &undecodable).await,
    };
    reached(Step::Decoded);
    hear_accepted(&executor, &job).await;
    job.deadline = executor.deadline_of(&job);
    let attempt = Arc::new(Attempt::new(job, delivery.attempt(), delivery.came_back()));
    let running = {
        let (executor, attempt) = (Arc::clone(&executor), Arc::clone(&attempt));
        tokio::spawn(async move { executor.carry_out(&attempt).await })
    };
    let conclusion = attend(&executor, (running, &attempt), &delivery, &stop).await;
    let conclusion = conclusion.unwrap_or_else(|failure| panicked(&attempt, &failure));
    conclude(&executor, &attempt, delivery, conclusion, &stop).await;
}

/// Waits until it is heard that the job was accepted: an ingress says so only after it published the job, and
/// nothing should be said of a job before. One that died in between leaves a job nobody has heard of; then the
/// worker says it. The event's name is the same whoever says it.
async fn hear_accepted(executor: &Executor, job: &Job) {
    if !executor.has_read_back(job) {
        // It is older than what was read: that it was accepted is read when it is looked at.
        return;
    }
    let mut changes = executor.index.changes();
    let heard = async {
        while !executor.index.knows(job.id) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    };
    if tokio::time::timeout(ACCEPTED_WITHIN, heard).await.is_err() {
        // Not heard either way: the job is carried out all the same, its `started` carries it whole.
        let _ = executor.chronicle.say(&Event::of(job, State::Accepted, 0, 0), ACCEPTED_WITHIN).await;
    }
}

/// Says what became of the attempt, then settles. What cannot be said is left unsettled and comes again.
async fn conclude(
    executor: &Arc<Executor>,
    attempt: &Arc<Attempt>,
    delivery: Delivery,
    conclusion: Conclusion,
    stop: &Stop,
) {
    // Somebody else may have carried it out meanwhile, and a newer one after it: what this attempt learnt is old.
    let conclusion = if delivery.is_ours() { conclusion } else { Conclusion::Left(lost_the_queue()) };
    if matches!(conclusion, Conclusion::Held { told: false, .. }) {
        reached(Step::HeldBack);
    }
    let said = say(executor, attempt, &conclusion).await;
    reached(Step::Said);
    attempt.release().await;
    reached(Step::Unlocked);
    let job = &attempt.job;
    let has_letter = executor.has_letter(job.id, &conclusion).await;
    let settlement = has_letter.map(|has_letter| settlement(conclusion, has_letter));
    let left = match (said, settlement) {
        (Ok(()), Ok(Some(settlement))) => {
            let settlement = match executor.guard(job).or(attempt.guard.get().copied()) {
                Some(after) if settlement == Settlement::Ack => Settlement::Snooze { after },
                Some(_) | None => settlement,
            };
            let settled = delivery.settle(settlement).await;
            reached(Step::Settled);
            let Err(error) = settled else { return };
            tracing::warn!(job = %job.id, error = chain(&error), "could not be settled, the job comes again");
            return tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
        }
        (Ok(()), Ok(None)) => Reason::new(reason::INTERRUPTED, "it could not go on"),
        (Ok(()), Err(error)) => Reason::new(reason::INTERRUPTED, chain(&error)),
        (Err(reason), _) => reason,
    };
    tracing::warn!(job = %job.id, target = %job.target, why = left.text, "left, it comes again");
    executor.answer_later(attempt, left);
    // It comes again at once when it is dropped: not before whatever hinders it had time to pass.
    tokio::select! {
        () = tokio::time::sleep(PAUSE_BEFORE_RETURN) => {}
        () = lost(&delivery) => {}
        () = stop.asked.cancelled() => {}
    }
}

/// Says what became of the attempt, if there is something to say, and waits to see it said.
async fn say(executor: &Executor, attempt: &Attempt, conclusion: &Conclusion) -> Result<(), Reason> {
    let job = &attempt.job;
    let event = match conclusion {
        Conclusion::End(telling) => (**telling).clone().event(attempt),
        Conclusion::Again { counted: false, reason, .. } if is_told(executor, attempt, reason) => {
            tracing::debug!(job = %job.id, why = reason.text, "it still waits");
            return Ok(());
        }
        Conclusion::Again { counted, reason, after } => {
            let mut event = attempt.retrying(*counted, reason.clone());
            event.data.again_at = event.time.checked_add(*after).ok();
            event
        }
        Conclusion::Release(reason) => attempt.retrying(false, reason.clone()),
        Conclusion::Held { reason, image, told: false, .. } => {
            attempt.held_back(reason.clone(), image.clone())
        }
        Conclusion::Held { told: true, .. } | Conclusion::Guarded { .. } | Conclusion::Copy(_) => {
            return Ok(());
        }
        Conclusion::Left(reason) => return Err(reason.clone()),
    };
    log(job, &event);
    let said = executor.chronicle.say(&event, SEEN_WITHIN).await;
    said.map(drop).map_err(|error| Reason::new(reason::INTERRUPTED, chain(&error)))
}

/// Whether it is known of a job that it waits, and why: who waits for long is looked at every few seconds, and says it
/// once, and again now and then: of whom nothing is heard for long the message is taken for lost. Only of an attempt that
/// did not begin: what was begun has to be answered for.
fn is_told(executor: &Executor, attempt: &Attempt, reason: &Reason) -> bool {
    let since = Timestamp::now().saturating_sub(TOLD_AGAIN_AFTER).unwrap_or(Timestamp::UNIX_EPOCH);
    attempt.started.get().is_none() && executor.index.waits_for(attempt.job.id, reason, since)
}

/// How the delivery ends; none when it is left as it is. `has_letter`: a letter of the job was written before.
fn settlement(conclusion: Conclusion, has_letter: bool) -> Option<Settlement> {
    match conclusion {
        Conclusion::End(telling) if telling.state == State::Dead => {
            let reason =
                telling.reason.unwrap_or_else(|| Reason::new(reason::INTERNAL, "no reason was given"));
            Some(match telling.uncounted {
                0 => Settlement::Dead { reason },
                uncounted => Settlement::DeadAfter { uncounted, reason },
            })
        }
        // Said before, but perhaps not written: its letter must not be lost. Two of one job are harmless.
        Conclusion::Copy(State::Dead) if !has_letter => {
            let text = "its worker died before the letter was written; its event `dead` tells why";
            Some(Settlement::Dead { reason: Reason::new(reason::INTERRUPTED, text) })
        }
        Conclusion::End(_) | Conclusion::Copy(_) => Some(Settlement::Ack),
        Conclusion::Again { after, counted: true, .. } => Some(Settlement::Retry { after }),
        Conclusion::Again { after, counted: false, .. }
        | Conclusion::Held { after, .. }
        | Conclusion::Guarded { after } => Some(Settlement::Snooze { after }),
        Conclusion::Release(_) => Some(Settlement::Release),
        Conclusion::Left(_) => None,
    }
}

fn log(job: &Job, event: &Event) {
    let why = event.data.reason.as_ref().map_or("", |reason| reason.text.as_str());
    tracing::info!(job = %job.id, target = %job.target, state = %event.state(), attempt = event.data.attempt, why);
}
