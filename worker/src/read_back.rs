//! Reading the history of a target further back than the worker did at its start: for a job that was held longer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use proto::{Event, Job, Operation, Reason, TargetName, Timestamp, reason};
use queue::{Chronicle, Entry, Position, Queue, Recorded, Since};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    conclusion::Conclusion,
    execute::{Executor, SEEN_WITHIN, Step},
    index::Index,
    verdict::chain,
};

/// How much earlier than a job's id its `accepted` may stand in the history: ids run ahead of clocks, and the
/// clocks of brokers and ingresses differ.
const MARGIN: Duration = Duration::from_secs(600);

/// How long an attempt waits for the reading, and after which pause the next one does. A week of a busy fleet takes
/// minutes.
const WAITED_FOR: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// How long the history may be silent before it is opened again, and the pause before that.
const SILENT_FOR: Duration = Duration::from_secs(30);
const REOPEN_AFTER: Duration = Duration::from_secs(1);

/// The readings that are under way, one for each target: they go on while the jobs that need them are put off.
#[derive(Default)]
pub(crate) struct ReadBacks {
    under_way: Mutex<HashMap<TargetName, Reading>>,
}

/// Whether it is done, and the task that goes on until then.
type Reading = (watch::Receiver<bool>, AbortOnDropHandle<()>);

impl Executor {
    /// Whether the history was read back to where `job` was accepted. While a job is held it is enough to know it:
    /// what was carried out since then is not forgotten.
    pub(crate) fn has_read_back(&self, job: &Job) -> bool {
        self.index.reaches_back_to(&job.target, accepted_at(job))
            || job.hold(Timestamp::now()).is_some() && self.index.knows(job.id)
    }

    /// A job older than what the worker has read is decided only after the history was read from its time on.
    pub(crate) async fn read_back(&self, job: &Job) -> Step<()> {
        if self.has_read_back(job) {
            return Ok(());
        }
        let past = || PastOf {
            target: job.target.clone(),
            since: accepted_at(job).checked_sub(MARGIN).unwrap_or(Timestamp::MIN),
            queue: Arc::clone(&self.queue),
            chronicle: Arc::clone(&self.chronicle),
            index: Arc::clone(&self.index),
        };
        let mut done = self.read_backs.begin(&job.target, past);
        let _ = timeout(WAITED_FOR, done.wait_for(|done| *done)).await;
        if self.has_read_back(job) {
            return Ok(());
        }
        let text = "what was said since it was accepted is still being read";
        // What was told of it last still holds: nothing new is known of it.
        let reason = Reason::new(reason::INTERRUPTED, text);
        Err(Conclusion::Held { after: LOOK_AGAIN, reason, image: None, told: true })
    }
}

impl ReadBacks {
    /// Tells when the reading of a target that is under way is done; where none is, `past` begins one.
    fn begin(&self, target: &TargetName, past: impl FnOnce() -> PastOf) -> watch::Receiver<bool> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.retain(|_, (done, _)| !*done.borrow() && done.has_changed().is_ok());
        if let Some((done, _)) = under_way.get(target) {
            return done.clone();
        }
        let (tell, done) = watch::channel(false);
        let reading = tokio::spawn(past().read(tell));
        under_way.insert(target.clone(), (done.clone(), AbortOnDropHandle::new(reading)));
        done
    }
}

/// What was said of a target from a time on, to be read.
struct PastOf {
    target: TargetName,
    since: Timestamp,
    queue: Arc<dyn Queue>,
    chronicle: Arc<Chronicle>,
    index: Arc<Index>,
}

impl PastOf {
    /// Reads all of it, however long that takes, going on where it was cut off.
    async fn read(self, done: watch::Sender<bool>) {
        tracing::info!(target = %self.target, since = %self.since, "reading the history further back, for a job that was held");
        let (mut from, mut entries) = (Since::Time(self.since), Vec::new());
        while let Err(why) = self.read_on(&mut from, &mut entries).await {
            tracing::warn!(target = %self.target, why, "the history of a target cannot be read to its end yet, going on");
            sleep(REOPEN_AFTER).await;
        }
        self.take_in(entries);
        done.send_replace(true);
    }

    async fn read_on(&self, from: &mut Since, entries: &mut Vec<Recorded>) -> Result<(), String> {
        let until = self.chronicle.catch_up(SEEN_WITHIN).await.map_err(|error| chain(&error))?;
        if matches!(*from, Since::After(Position(last)) if last >= until.0) {
            // It was deleted and made again, and counts from the beginning.
            *from = Since::Time(self.since);
            entries.clear();
        }
        let mut history = self.queue.history(*from).await.map_err(|error| chain(&error))?;
        loop {
            let next = timeout(SILENT_FOR, history.next()).await;
            let next = next.map_err(|_| format!("nothing was read for {SILENT_FOR:?}"))?;
            let recorded = next.map_err(|error| chain(&error))?;
            if recorded.position >= until {
                return Ok(());
            }
            if matches!(*from, Since::After(last) if recorded.position <= last) {
                continue;
            }
            *from = Since::After(recorded.position);
            if matches!(&recorded.entry, Entry::Event(event) if concerns(event, &self.target)) {
                entries.push(recorded);
            }
        }
    }

    /// All of it or nothing: half a life, read again, would look like a crash. And nothing of a life whose later part is
    /// known already: what came of its earlier part would not be read again.
    fn take_in(&self, entries: Vec<Recorded>) {
        let is_new = |recorded: &Recorded| matches!(&recorded.entry, Entry::Event(event) if !self.index.knows(event.job_id()));
        let unknown: Vec<Recorded> = entries.into_iter().filter(is_new).collect();
        unknown.iter().for_each(|recorded| self.index.read(recorded));
        self.index.reached_back(&self.target, self.since);
    }
}

/// When a job was accepted, as far as it can be told: its id's time runs ahead where a clock did.
fn accepted_at(job: &Job) -> Timestamp {
    job.id.time().min(job.accepted_at)
}

/// Whether an event is of the target, or of a job that calls another off, wherever that one's target is.
fn concerns(event: &Event, target: &TargetName) -> bool {
    event.subject == *target
        || event.job().is_some_and(|job| matches!(job.operation, Operation::Cancel { .. }))
}

#[cfg(test)]
mod tests {
    use proto::State;
    use queue::contract::slow::SlowHistory;
    use uuid::Uuid;

    use super::*;
    use crate::testing::job;

    const CUT_AFTER: u64 = 4_000;

    #[tokio::test(start_paused = true)]
    async fn what_takes_long_to_be_read_is_read_once_while_its_job_is_put_off() {
        let (held, newer) = (job(1, "a:1"), job(2, "a:2"));
        let said = [(&held, State::Accepted), (&newer, State::Accepted), (&newer, State::Succeeded)];
        let said = said.map(|(job, state)| Entry::Event(Box::new(Event::of(job, state, 1, 0))));
        let others = || (0..5_000).map(|_| Entry::Marker(Uuid::now_v7()));
        let entries = others().chain(said).chain(others());
        let queue: SlowHistory = SlowHistory::new(entries, Duration::from_millis(10), CUT_AFTER);
        let shared: Arc<dyn Queue> = Arc::new(queue.clone());
        let chronicle = Chronicle::follow(Arc::clone(&shared), Since::Clock(Timestamp::now()), |_| {});
        let (chronicle, index) = (Arc::new(chronicle), Arc::new(Index::new(Timestamp::now())));
        let (read_backs, since) = (ReadBacks::default(), accepted_at(&held) - MARGIN);
        let mut looks = 0;
        while !index.reaches_back_to(&held.target, since) {
            looks += 1;
            let mut done = read_backs.begin(&held.target, || PastOf {
                target: held.target.clone(),
                since,
                queue: Arc::clone(&shared),
                chronicle: Arc::clone(&chronicle),
                index: Arc::clone(&index),
            });
            if timeout(WAITED_FOR, done.wait_for(|done| *done)).await.is_err() {
                assert!(!index.knows(held.id), "all of it or nothing");
                sleep(LOOK_AGAIN).await;
            }
        }
        assert!(looks > 2, "{looks}");
        assert_eq!((index.knows(held.id), index.newer_carried_out(&held)), (true, Some(newer.id)));
        let from_a_time = queue.opened().into_iter().filter(|since| matches!(since, Since::Time(_))).count();
        assert_eq!(from_a_time, 1, "it began anew: {:?}", queue.opened());
    }
}
