//! What became of the last jobs, kept in memory and fed by the history.

mod course;
mod gauge;
mod holds;
mod kin;
mod news;
mod repeat;
mod row;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, VecDeque, hash_map::RandomState},
    hash::BuildHasher,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use proto::{Cause, CauseKind, Event, ImageRef, Job, JobId, Reason, State, TargetName};
use queue::{Entry, Position, Recorded};
use tokio::sync::broadcast;

use crate::{access::principal::Principal, timeline::LongReadings};

pub(crate) use course::Course;
use gauge::Gauge;
pub(crate) use holds::Held;
pub(crate) use repeat::Content;
use row::Row;

/// How many jobs are kept; older ones are sought in the history.
pub(crate) const MOST_JOBS: usize = 10_000;

/// How many bytes of compose texts are kept with them.
pub(crate) const MOST_TEXT: usize = 32 << 20;

/// How many held jobs stay when others are forgotten that are newer.
const MOST_HELD: usize = 1_000;

/// How many ends of unknown jobs are kept for an `accepted` that comes later; most never get one, being of jobs
/// that were forgotten.
const MOST_ENDS: usize = 1_000;

/// How many events a listener may be behind before it must read the history again.
const FEED_LENGTH: usize = 1_024;

/// Something just said: from the history with its place, or live only.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) position: Option<Position>,
    pub(crate) event: Arc<Event>,
}

/// The last jobs, and a feed of what is said of any.
pub(crate) struct View {
    jobs: Mutex<Jobs>,
    feed: broadcast::Sender<Said>,
    long_readings: LongReadings,
}

/// The jobs of a view.
struct Jobs {
    rows: BTreeMap<JobId, Row>,
    /// Jobs by a hash of who sent them and how the sender calls the delivery; the rows tell for certain.
    by_delivery: HashMap<u64, Vec<JobId>>,
    /// The newest job of each push without a name, by a hash of what it told.
    by_content: HashMap<u64, JobId>,
    hasher: RandomState,
    /// First ends of jobs that have no row, oldest said first.
    ends: VecDeque<(JobId, Position, State)>,
    head: Option<Position>,
    /// The newest job that was kept no longer.
    forgotten: Option<JobId>,
    most: usize,
    /// Bytes of the texts in the rows.
    text: usize,
    gauge: Gauge,
}

/// Which jobs of the view are wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) target: Option<TargetName>,
    /// Any of these; none means all.
    pub(crate) states: Vec<State>,
    /// Older than this.
    pub(crate) before: Option<JobId>,
    /// Of targets that they may look at.
    pub(crate) seen_by: Option<Principal>,
}

/// Where to look for a job's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Not before this entry.
    From(Position),
    /// The history has nothing of it yet.
    Nowhere,
}

impl View {
    pub(crate) fn new() -> View {
        View::keeping(MOST_JOBS)
    }

    pub(crate) fn keeping(most: usize) -> View {
        let jobs = Jobs {
            rows: BTreeMap::new(),
            by_delivery: HashMap::new(),
            by_content: HashMap::new(),
            hasher: RandomState::new(),
            ends: VecDeque::new(),
            head: None,
            forgotten: None,
            most,
            text: 0,
            gauge: Gauge::default(),
        };
        View {
            jobs: Mutex::new(jobs),
            feed: broadcast::channel(FEED_LENGTH).0,
            long_readings: LongReadings::default(),
        }
    }

    /// What is being read of jobs that are not kept.
    pub(crate) fn long_readings(&self) -> &LongReadings {
        &self.long_readings
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in the next entry of the history, then passes it on: whoever hears of an event finds it here.
    pub(crate) fn take_in(&self, recorded: &Recorded) {
        let position = recorded.position;
        let mut jobs = self.jobs();
        jobs.head = Some(position);
        jobs.gauge.read(recorded);
        if let Entry::Event(event) = &recorded.entry {
            jobs.take_in(position, event);
            drop(jobs);
            // Whoever begins to listen now looks at the head after that, and finds the event there.
            if self.feed.receiver_count() == 0 {
                return;
            }
            // Fails only where the last listener has just gone.
            let _ = self.feed.send(Said { position: Some(position), event: Arc::from(event.clone()) });
        }
    }

    /// Passes on what is said live only while the job is under way, as far as the history has told: the two
    /// ways are not in step, and progress before the start or after the end would only confuse.
    pub(crate) fn pass_on(&self, event: Event) {
        let state = self.jobs().rows.get(&event.job_id()).map(Row::state);
        if state == Some(State::Started) {
            let _ = self.feed.send(Said { position: None, event: Arc::new(event) });
        }
    }

    /// Enters a job that was held before the history was followed: what waits is listed however old it is. `first` is
    /// where the history begins to tell of it.
    pub(crate) fn remember(&self, first: Position, held: &Event) {
        let mut jobs = self.jobs();
        if !jobs.rows.contains_key(&held.job_id()) {
            jobs.take_in(first, held);
        }
    }

    /// Enters a job that was published, before the history tells of it.
    pub(crate) fn enter(&self, job: &Job) {
        self.jobs().enter(job);
    }

    /// Everything said from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Said> {
        self.feed.subscribe()
    }

    /// The last entry of the history that was taken in.
    pub(crate) fn head(&self) -> Option<Position> {
        self.jobs().head
    }

    /// A job and its state, while it is kept.
    pub(crate) fn get(&self, id: JobId) -> Option<(Job, State)> {
        self.jobs().rows.get(&id).map(|row| (row.job(id), row.state()))
    }

    /// The state of a job, while it is kept.
    pub(crate) fn state(&self, id: JobId) -> Option<State> {
        self.jobs().rows.get(&id).map(Row::state)
    }

    /// Why a job is held, while it is.
    pub(crate) fn why_held(&self, id: JobId) -> Option<Reason> {
        self.jobs().rows.get(&id)?.why_held().cloned()
    }

    /// The image that a job waits with, by its content, as far as a worker told of it.
    pub(crate) fn awaited_image(&self, id: JobId) -> Option<ImageRef> {
        self.jobs().rows.get(&id)?.awaited().cloned()
    }

    /// The image that a job brought which names none, as far as its end told.
    pub(crate) fn brought(&self, id: JobId) -> Option<ImageRef> {
        self.jobs().rows.get(&id)?.brought().cloned()
    }

    /// Where the history tells of a job, while it is kept.
    pub(crate) fn place(&self, id: JobId) -> Option<Place> {
        self.jobs().rows.get(&id).map(|row| row.first().map_or(Place::Nowhere, Place::From))
    }

    /// The newest jobs that `filter` lets through, newest first, at most `limit`, and whether there are more.
    pub(crate) fn page(&self, filter: &Filter, limit: usize) -> (Vec<(Job, State)>, bool) {
        let jobs = self.jobs();
        let older: Box<dyn Iterator<Item = _>> = match filter.before {
            Some(before) => Box::new(jobs.rows.range(..before).rev()),
            None => Box::new(jobs.rows.iter().rev()),
        };
        let wanted = |row: &Row| {
            filter.target.as_ref().is_none_or(|target| row.target() == target)
                && filter.seen_by.as_ref().is_none_or(|principal| principal.may_see(row.target()))
                && (filter.states.is_empty() || filter.states.contains(&row.state()))
        };
        let mut found = older.filter(|(_, row)| wanted(row));
        let page = found.by_ref().take(limit).map(|(id, row)| (row.job(*id), row.state())).collect();
        let more = found.next().is_some();
        (page, more)
    }

    /// The jobs that came of an earlier sending of this delivery, oldest first.
    pub(crate) fn of_delivery(&self, cause: &Cause) -> Vec<Job> {
        let jobs = self.jobs();
        let Some(hash) = jobs.delivery_hash(cause) else { return Vec::new() };
        let same = jobs.by_delivery.get(&hash).into_iter().flatten();
        let rows = same.filter_map(|id| jobs.rows.get(id).map(|row| row.job(*id)));
        rows.filter(|job| is_same_delivery(&job.cause, cause)).collect()
    }
}

impl Jobs {
    fn take_in(&mut self, position: Position, event: &Event) {
        if let Some(job) = event.job() {
            self.insert(job);
        }
        if let Some(row) = self.rows.get_mut(&event.job_id()) {
            let had_ended = row.state().is_end();
            row.take_in(position, event);
            if !had_ended && row.state().is_end() {
                self.gauge.ended(row.state());
            }
        } else if event.state().is_end() {
            self.keep_end(event.job_id(), position, event.state());
        }
        self.forget_what_is_too_much();
    }

    fn keep_end(&mut self, id: JobId, position: Position, state: State) {
        if self.ends.iter().any(|(known, ..)| *known == id) {
            return;
        }
        self.ends.push_back((id, position, state));
        self.gauge.ended(state);
        if self.ends.len() > MOST_ENDS {
            self.ends.pop_front();
        }
    }

    fn kept_end(&mut self, id: JobId) -> Option<(Position, State)> {
        let place = self.ends.iter().position(|(known, ..)| *known == id)?;
        self.ends.remove(place).map(|(_, position, state)| (position, state))
    }

    fn enter(&mut self, job: &Job) {
        self.insert(job);
        self.forget_what_is_too_much();
    }

    fn insert(&mut self, job: &Job) {
        if self.rows.contains_key(&job.id) {
            return;
        }
        let mut row = Row::of(job);
        if let Some(end) = self.kept_end(job.id) {
            row.ended_before(end);
        }
        self.text += row.weight();
        self.rows.insert(job.id, row);
        self.note_content(job.id);
        if let Some(hash) = self.delivery_hash(&job.cause) {
            self.by_delivery.entry(hash).or_default().push(job.id);
        }
    }

    fn forget_what_is_too_much(&mut self) {
        while self.rows.len() > self.most || self.text > MOST_TEXT {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        // What waits stays, unless there is too much of it to look through.
        let mut oldest = self.rows.iter().take(MOST_HELD).map(|(id, row)| (*id, row.state()));
        let moved_on = oldest.find(|(_, state)| *state != State::Held).map(|(id, _)| id);
        let Some(id) = moved_on.or_else(|| self.rows.keys().next().copied()) else { return };
        let Some(row) = self.rows.remove(&id) else { return };
        self.text -= row.weight();
        self.forgotten = self.forgotten.max(Some(id));
        self.forget_content(id, &row);
        let Some(hash) = self.delivery_hash(row.cause()) else { return };
        if let Some(same) = self.by_delivery.get_mut(&hash) {
            same.retain(|known| *known != id);
            if same.is_empty() {
                self.by_delivery.remove(&hash);
            }
        }
    }

    fn delivery_hash(&self, cause: &Cause) -> Option<u64> {
        let delivery = cause.delivery.as_ref()?;
        Some(self.hasher.hash_one((sender_kind(cause.kind) as u8, &cause.source, &cause.by, delivery)))
    }
}

/// Whether both causes are the same delivery of the same sender; what has no name is never the same.
fn is_same_delivery(one: &Cause, other: &Cause) -> bool {
    one.delivery.is_some() && as_named(one) == as_named(other)
}

/// A cause as far as it tells deliveries apart. With which program somebody asks does not: what one sends again with another,
/// or through a proxy that puts its own name on it, is asked for once.
pub(crate) fn as_named(cause: &Cause) -> Cause {
    Cause { kind: sender_kind(cause.kind), ..cause.clone() }
}

fn sender_kind(kind: CauseKind) -> CauseKind {
    match kind {
        CauseKind::Api | CauseKind::Cli => CauseKind::Api,
        CauseKind::Hook
        | CauseKind::Amqp
        | CauseKind::Poll
        | CauseKind::Replay
        | CauseKind::Approve
        | CauseKind::Release => kind,
    }
}
