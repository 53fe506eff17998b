//! What the history says: the newest runnable wish for every slot of every target, and who has ended.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use proto::{Event, Job, JobId, Slot, State, TargetName, Timestamp, reason};
use queue::{Entry, Recorded};
use tokio::sync::watch;

/// How far back the history is read at the start: the longest deadline, and the delay of events.
pub(crate) const WINDOW: Duration = Duration::from_secs(25 * 3600);

/// Jobs that ended longer ago than this are forgotten; their messages are long settled.
const FORGET_AFTER: Duration = Duration::from_secs(26 * 3600);

/// The worker's picture of the history. Reading the same entry twice changes nothing.
#[derive(Debug)]
pub(crate) struct Index {
    book: Mutex<Book>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct Book {
    jobs: HashMap<JobId, Record>,
    /// Wishes that may run or have run, for each slot. Cancelled and rejected ones are taken out: they never
    /// touch the target, so they supersede nobody.
    wishes: HashMap<TargetName, HashMap<Slot, BTreeSet<JobId>>>,
    /// Everything said from this time on has been read, and not forgotten.
    since: Timestamp,
    forgotten_until: Option<Timestamp>,
}

#[derive(Debug, Clone)]
struct Record {
    target: TargetName,
    slots: Vec<Slot>,
    started: bool,
    /// Waits at the lock of its target.
    waits: bool,
    end: Option<(State, Timestamp)>,
}

impl Index {
    /// An index of the history from `since` on, still to be read.
    pub(crate) fn new(since: Timestamp) -> Index {
        let book = Book { jobs: HashMap::new(), wishes: HashMap::new(), since, forgotten_until: None };
        Index { book: Mutex::new(book), changed: watch::Sender::new(()) }
    }

    /// Whether all that can have been said since `job` was accepted has been read.
    pub(crate) fn reaches_back_to(&self, job: JobId) -> bool {
        self.book().since <= job.time()
    }

    /// Notes that the history was read from `since` on.
    pub(crate) fn reached_back(&self, since: Timestamp) {
        let mut book = self.book();
        book.since = book.since.min(since);
    }

    /// Reads one entry of the history.
    pub(crate) fn read(&self, recorded: &Recorded) {
        if let Entry::Event(event) = &recorded.entry {
            self.book().read(event);
            self.changed.send_replace(());
        }
    }

    /// How `job` ended, if it did.
    pub(crate) fn end_of(&self, job: JobId) -> Option<State> {
        self.book().jobs.get(&job)?.end.map(|(state, _)| state)
    }

    /// Whether some worker began with `job`.
    pub(crate) fn has_started(&self, job: JobId) -> bool {
        self.book().jobs.get(&job).is_some_and(|record| record.started)
    }

    /// The newest wish that overwrites everything `job` does, if it is newer than `job`.
    pub(crate) fn newer_than(&self, job: &Job) -> Option<JobId> {
        self.book().newer(job, |_| true)
    }

    /// Like [`Index::newer_than`], but only wishes that wait at the target's lock.
    pub(crate) fn newer_waiting(&self, job: &Job) -> Option<JobId> {
        self.book().newer(job, |record| record.is_some_and(|record| record.waits && record.end.is_none()))
    }

    /// Tells of every change from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn read(&mut self, event: &Event) {
        if let Some(job) = event.job() {
            self.meet(job, event.state());
        }
        let Some(record) = self.jobs.get_mut(&event.job_id()) else { return };
        let state = event.state();
        if state.is_end() {
            // The first end in the history counts; later ones are void.
            record.end.get_or_insert((state, event.time));
            let record = record.clone();
            self.settle_wish(event.job_id(), &record);
            self.forget(event.time);
        } else if state == State::Started {
            record.started = true;
            record.waits = false;
        } else if state == State::Retrying {
            record.waits = event.data.reason.as_ref().is_some_and(|reason| reason.code == reason::BUSY);
        }
    }

    /// A job without gates is runnable from its `accepted` on, one with gates from its `started`.
    fn meet(&mut self, job: &Job, state: State) {
        let record = self.jobs.entry(job.id).or_insert_with(|| Record {
            target: job.target.clone(),
            slots: job.slots.clone(),
            started: false,
            waits: false,
            end: None,
        });
        let runnable = state == State::Started || state == State::Accepted && job.gates.is_open();
        if !runnable || record.end.is_some() {
            return;
        }
        let slots = self.wishes.entry(job.target.clone()).or_default();
        for slot in &job.slots {
            slots.entry(slot.clone()).or_default().insert(job.id);
        }
    }

    /// A wish that never touched the target leaves; one that did makes the older ones needless to keep.
    fn settle_wish(&mut self, id: JobId, record: &Record) {
        let Some(slots) = self.wishes.get_mut(&record.target) else { return };
        for slot in &record.slots {
            let Some(wishes) = slots.get_mut(slot) else { continue };
            match record.end {
                Some((State::Cancelled | State::Rejected, _)) => {
                    wishes.remove(&id);
                }
                _ if wishes.contains(&id) => *wishes = wishes.split_off(&id),
                _ => {}
            }
        }
    }

    fn newer(&self, job: &Job, counts: impl Fn(Option<&Record>) -> bool) -> Option<JobId> {
        let slots = self.wishes.get(&job.target)?;
        let newest = |slot: &Slot| {
            let mut above = slots.get(slot)?.range(job.id.successor()..).rev();
            above.find(|id| counts(self.jobs.get(id))).copied()
        };
        // Only what is overwritten everywhere is superseded; the newest of the overwriters is named.
        job.slots.iter().map(newest).collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// Sweeps once an hour of history, so that reading a long one costs little. The newest wish of a slot
    /// stays for ever: it is one entry for each slot there is.
    fn forget(&mut self, now: Timestamp) {
        let hour = Duration::from_secs(3600);
        if self.forgotten_until.is_some_and(|until| now < until + hour) {
            return;
        }
        self.forgotten_until = Some(now);
        self.since = self.since.max(now - FORGET_AFTER);
        self.jobs.retain(|_, record| record.end.is_none_or(|(_, at)| at + FORGET_AFTER > now));
    }
}

#[cfg(test)]
mod tests {
    use proto::{Cause, CauseKind, ChainId, Gates, Operation, Reason};
    use queue::Position;

    use super::*;

    fn job(ms: i64, image: &str) -> Job {
        let id = JobId::mint(Timestamp::from_millisecond(1_000_000 + ms).unwrap(), None);
        let operation = Operation::SetImage { image: image.parse().unwrap(), service: None };
        Job {
            version: Job::VERSION,
            id,
            chain: ChainId::of(id),
            target: "web".parse().unwrap(),
            slots: operation.slots(),
            operation,
            cause: Cause { kind: CauseKind::Api, source: None, by: None, delivery: None },
            accepted_at: Timestamp::now(),
            not_before: None,
            deadline: Timestamp::now() + WINDOW,
            gates: Gates::default(),
            replays: None,
            traceparent: None,
        }
    }

    fn index(events: &[(&Job, State)]) -> Index {
        let index = Index::new(Timestamp::UNIX_EPOCH);
        for (job, state) in events {
            tell(&index, job, *state, None);
        }
        index
    }

    fn tell(index: &Index, job: &Job, state: State, reason: Option<Reason>) {
        let mut event = Event::of(job, state, 1, 0);
        event.data.reason = reason;
        index.read(&Recorded { position: Position(0), entry: Entry::Event(Box::new(event)) });
    }

    #[test]
    fn the_newest_wish_of_a_slot_is_known_from_its_accepted_on() {
        let (old, new, other) = (job(1, "a:1"), job(2, "a:2"), job(3, "b:1"));
        let index = index(&[(&new, State::Accepted), (&old, State::Accepted), (&other, State::Accepted)]);
        assert_eq!(index.newer_than(&old), Some(new.id));
        assert_eq!(index.newer_than(&new), None);
    }

    #[test]
    fn a_wish_whose_accepted_was_lost_is_known_from_its_started() {
        let (old, new) = (job(1, "a:1"), job(2, "a:2"));
        assert_eq!(index(&[(&new, State::Started)]).newer_than(&old), Some(new.id));
    }

    #[test]
    fn a_cancelled_or_rejected_wish_supersedes_nobody() {
        let (old, new) = (job(1, "a:1"), job(2, "a:2"));
        for end in [State::Cancelled, State::Rejected] {
            let index = index(&[(&old, State::Accepted), (&new, State::Accepted), (&new, end)]);
            assert_eq!(index.newer_than(&old), None);
        }
        let index = index(&[(&old, State::Accepted), (&new, State::Accepted), (&new, State::Failed)]);
        assert_eq!(index.newer_than(&old), Some(new.id));
    }

    #[test]
    fn the_first_end_counts() {
        let job = job(1, "a:1");
        let index = index(&[(&job, State::Started), (&job, State::Succeeded), (&job, State::Failed)]);
        assert_eq!(index.end_of(job.id), Some(State::Succeeded));
    }

    #[test]
    fn who_waits_at_the_lock_is_known_until_it_starts() {
        let (old, new) = (job(1, "a:1"), job(2, "a:2"));
        let index = index(&[(&old, State::Started), (&new, State::Accepted)]);
        assert_eq!(index.newer_waiting(&old), None);
        tell(&index, &new, State::Retrying, Some(Reason::new(reason::BUSY, "busy")));
        assert_eq!(index.newer_waiting(&old), Some(new.id));
        tell(&index, &new, State::Started, None);
        assert_eq!(index.newer_waiting(&old), None);
    }

    #[test]
    fn reading_twice_changes_nothing() {
        let (old, new) = (job(1, "a:1"), job(2, "a:2"));
        let twice = [(&old, State::Accepted), (&new, State::Accepted), (&new, State::Cancelled)];
        let index = index(&[twice, twice].concat());
        assert_eq!(index.newer_than(&old), None);
        assert_eq!(index.end_of(new.id), Some(State::Cancelled));
    }
}
