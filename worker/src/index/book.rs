//! The pages of the index: plain bookkeeping, one entry at a time, in any order and as often as need be.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use proto::{CauseKind, Event, ImageRef, Job, JobId, Operation, Slot, State, TargetName, Timestamp, reason};
use queue::Position;

use super::{
    brought::Brought,
    let_go::LetGo,
    on_hold::OnHold,
    record::{Record, code},
};

/// Jobs that ended longer ago than this are forgotten; their messages are long settled.
const FORGET_AFTER: Duration = Duration::from_secs(26 * 3600);

/// How often the ended are swept out, in the history's own time.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

#[derive(Debug)]
pub(super) struct Book {
    pub(super) jobs: HashMap<JobId, Record>,
    slots: HashMap<TargetName, HashMap<Slot, Wishes>>,
    /// Jobs that were called off, and by which.
    cancelled: HashMap<JobId, JobId>,
    pub(super) let_go: LetGo,
    pub(super) on_hold: OnHold,
    pub(super) brought: Brought,
    /// Everything said from this time on has been read, and not forgotten.
    since: Timestamp,
    /// The same of single targets, whose history was read further back.
    since_of: HashMap<TargetName, Timestamp>,
    swept_at: Option<Timestamp>,
}

/// The wishes for one slot of one target.
#[derive(Debug, Default)]
struct Wishes {
    /// Those that may run or have run, from the newest that ended on. Cancelled and rejected ones are taken
    /// out: they never touch the target, so they supersede nobody.
    runnable: BTreeSet<JobId>,
    /// The newest that succeeded: what should stand on the target, whatever an older writer did to it.
    succeeded: Option<Arc<Job>>,
    /// The newest that was carried out, well or not.
    carried_out: Option<JobId>,
}

impl Book {
    pub(super) fn new(since: Timestamp) -> Book {
        Book {
            jobs: HashMap::new(),
            slots: HashMap::new(),
            cancelled: HashMap::new(),
            let_go: LetGo::default(),
            on_hold: OnHold::default(),
            brought: Brought::default(),
            since,
            since_of: HashMap::new(),
            swept_at: None,
        }
    }

    pub(super) fn reaches_back_to(&self, target: &TargetName, time: Timestamp) -> bool {
        self.since <= time || self.since_of.get(target).is_some_and(|since| *since <= time)
    }

    pub(super) fn reached_back(&mut self, target: &TargetName, since: Timestamp) {
        let known = self.since_of.entry(target.clone()).or_insert(since);
        *known = since.min(*known);
    }

    /// Whether a job for the target is at work, or about to be: one that is held is not.
    pub(super) fn is_at_work(&self, target: &TargetName) -> bool {
        let is_it = |record: &Record| record.under_way || record.held.is_none();
        let mut open = self.jobs.values().filter(|record| record.end.is_none());
        open.any(|record| record.job.target == *target && is_it(record))
    }

    /// Whether a job for the target has not ended.
    pub(super) fn has_open(&self, target: &TargetName) -> bool {
        self.jobs.values().any(|record| record.job.target == *target && record.end.is_none())
    }

    pub(super) fn job(&self, id: JobId) -> Option<&Record> {
        self.jobs.get(&id)
    }

    pub(super) fn read(&mut self, event: &Event, position: Position) {
        if let Some(job) = event.job() {
            self.meet(job, event.state());
        }
        let Some(record) = self.jobs.get_mut(&event.job_id()) else { return };
        record.read(event, position);
        self.let_go.read(&record.job, event, position);
        if !event.state().is_end() || record.ended == Some(position) {
            self.on_hold.read(&record.job, event, position);
            self.brought.read(&record.job, event, position);
        }
        if matches!(
            code(event),
            Some(reason::BAD_IMAGE | reason::ON_HOLD | reason::HELD_ALREADY | reason::WINDOW)
        ) {
            self.withdraw(event.job_id());
        }
        if event.state().is_end() {
            self.settle(event.job_id());
            self.sweep(event.time);
        }
    }

    /// A job without gates is runnable from its `accepted` on, one with gates from its `started`: a held wish
    /// supersedes nobody.
    fn meet(&mut self, job: &Job, state: State) {
        let record = self.jobs.entry(job.id).or_insert_with(|| Record::of(job));
        let runnable = state == State::Started || state == State::Accepted && !job.is_gated();
        if !runnable || record.end.is_some() {
            return;
        }
        if let Operation::Cancel { job: other } = job.operation {
            self.cancelled.insert(other, job.id);
            return;
        }
        let slots = self.slots.entry(job.target.clone()).or_default();
        for slot in &job.slots {
            slots.entry(slot.clone()).or_default().runnable.insert(job.id);
        }
    }

    /// A wish that never touched the target leaves; one that did makes the older ones needless to keep.
    fn settle(&mut self, id: JobId) {
        let Some(Record { job, end: Some((end, _)), .. }) = self.jobs.get(&id) else { return };
        let Some(slots) = self.slots.get_mut(&job.target) else { return };
        for slot in &job.slots {
            let Some(wishes) = slots.get_mut(slot) else { continue };
            if matches!(end, State::Cancelled | State::Rejected) {
                wishes.runnable.remove(&id);
            } else if wishes.runnable.contains(&id) {
                wishes.runnable = wishes.runnable.split_off(&id);
            }
            if matches!(end, State::Succeeded | State::RolledBack | State::Failed) {
                wishes.carried_out = wishes.carried_out.max(Some(id));
            }
            if *end == State::Succeeded && wishes.succeeded.as_ref().is_none_or(|former| former.id < id) {
                wishes.succeeded = Some(Arc::clone(job));
            }
        }
        if let Some(record) = self.jobs.get_mut(&id) {
            record.lighten();
        }
    }

    /// A wish that is held supersedes nobody, nor does one that gave way to it.
    fn withdraw(&mut self, id: JobId) {
        let Some(Record { job, .. }) = self.jobs.get(&id) else { return };
        let Some(slots) = self.slots.get_mut(&job.target) else { return };
        for slot in &job.slots {
            if let Some(wishes) = slots.get_mut(slot) {
                wishes.runnable.remove(&id);
            }
        }
    }

    /// How the newest job ended that a look at a registry made of a tag, and when; none while it has not.
    pub(super) fn last_seen(&self, target: &TargetName, image: &ImageRef) -> Option<(State, Timestamp)> {
        let is_one = |record: &Record| {
            let brings = record.job.operation.image();
            record.job.cause.kind == CauseKind::Poll
                && record.job.target == *target
                && brings.is_some_and(|brings| brings.by_tag() == image.by_tag())
        };
        let seen = self.jobs.iter().filter(|(_, record)| is_one(record));
        seen.max_by_key(|(id, _)| **id).and_then(|(_, record)| record.end)
    }

    pub(super) fn stands_for(&self, held: JobId) -> Option<JobId> {
        let mut made = self.jobs.iter().filter(|(_, record)| record.job.replays == Some(held));
        made.find(|(_, record)| record.end.is_none()).map(|(id, _)| *id)
    }

    pub(super) fn held_and_untouched(&self, id: JobId) -> Option<Arc<Job>> {
        let Record { job, started, held, end, .. } = self.jobs.get(&id)?;
        let waits = held.is_some() && !started && end.is_none();
        let has_heir = || self.stands_for(id).is_some() || self.newer_carried_out(job).is_some();
        (waits && !has_heir()).then(|| Arc::clone(job))
    }

    /// The image of a job that waits, by the content that its tag was found to point to.
    pub(super) fn image_seen(&self, id: JobId) -> Option<&ImageRef> {
        self.jobs.get(&id).filter(|record| record.seen_at.is_some())?.job.operation.image()
    }

    /// The newest job that brings the same tag to the same target as `job`, where it is newer than that: the tag was
    /// pushed again.
    pub(super) fn pushed_again(&self, job: &Job) -> Option<JobId> {
        let image = job.operation.image()?.by_tag();
        let brings_it = |record: &Record| {
            let other = record.job.operation.image();
            record.job.target == job.target && other.is_some_and(|other| other.by_tag() == image)
        };
        let newer = self.jobs.iter().filter(|(id, record)| **id > job.id && brings_it(record));
        newer.map(|(id, _)| *id).max()
    }

    pub(super) fn cancelled_by(&self, id: JobId) -> Option<JobId> {
        self.cancelled.get(&id).copied().or_else(|| self.called_off_while_held(id))
    }

    /// The cancel of the held job that `id` was let go as, where that was asked for before. Two ingresses may take both
    /// without knowing of each other, and who called it off is told that it worked.
    fn called_off_while_held(&self, id: JobId) -> Option<JobId> {
        let job = &self.jobs.get(&id)?.job;
        let lets_go = matches!(job.cause.kind, CauseKind::Approve | CauseKind::Release);
        let cancel = *self.cancelled.get(&job.replays.filter(|_| lets_go)?)?;
        let end = self.jobs.get(&cancel).and_then(|record| record.end);
        let came_to_nothing = end.is_some_and(|(end, _)| end != State::Succeeded);
        (cancel < id && !came_to_nothing).then_some(cancel)
    }

    /// The newest wish that overwrites everything `job` does and `counts`, if it is newer than `job`.
    pub(super) fn newer(&self, job: &Job, counts: impl Fn(Option<&Record>) -> bool) -> Option<JobId> {
        let slots = self.slots.get(&job.target)?;
        let newest_in = |wishes: &Wishes| {
            let mut above = wishes.runnable.range(job.id.successor()..).rev();
            let may = |id: &&JobId| !self.is_called_off(**id) && !self.waits_below(**id, job);
            above.find(|id| may(id) && counts(self.jobs.get(id))).copied()
        };
        let newest = |slot: &Slot| covering(slots, slot).filter_map(newest_in).max();
        // Only what is overwritten everywhere is superseded; the newest of the overwriters is named.
        job.slots.iter().map(newest).collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// Whether a job will never touch its target, though that was not said yet: it was called off before it began.
    fn is_called_off(&self, id: JobId) -> bool {
        self.cancelled_by(id).is_some() && self.jobs.get(&id).is_some_and(|record| !record.started)
    }

    /// Whether a job is for a lower version than `job`, and must not take its place: it is rejected once `job` has
    /// run, and only where that did not hold it runs itself. Its end tells which.
    fn waits_below(&self, id: JobId, job: &Job) -> bool {
        self.jobs.get(&id).is_some_and(|record| record.end.is_none() && record.job.is_below(job))
    }

    /// A wish for a higher version than `job`'s that is older and waits at the target's lock.
    pub(super) fn higher_waiting(&self, job: &Job) -> Option<JobId> {
        let slots = self.slots.get(&job.target)?;
        let before =
            job.slots.iter().filter_map(|slot| slots.get(slot)).flat_map(|it| it.runnable.range(..job.id));
        let waits = |record: &Record| record.waits && record.end.is_none() && job.is_below(&record.job);
        before.copied().find(|id| self.jobs.get(id).is_some_and(waits))
    }

    /// The newest wish that was carried out and overwrote everything `job` does, if it is newer than `job`.
    pub(super) fn newer_carried_out(&self, job: &Job) -> Option<JobId> {
        let slots = self.slots.get(&job.target)?;
        let newest = |slot: &Slot| {
            covering(slots, slot).filter_map(|wishes| wishes.carried_out.filter(|id| *id > job.id)).max()
        };
        job.slots.iter().map(newest).collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// The newest job that succeeded where `job` writes.
    pub(super) fn succeeded(&self, job: &Job) -> Option<Arc<Job>> {
        let slots = self.slots.get(&job.target)?;
        let all = job.slots.iter().filter_map(|slot| slots.get(slot)?.succeeded.as_ref());
        all.max_by_key(|job| job.id).cloned()
    }

    /// The jobs of its target that ended well after `job` was begun, the newest of each slot; oldest first. What ended
    /// before that, `job` has read as it stood. The history's own order tells, and no clock.
    pub(super) fn succeeded_since_begun(&self, job: &Job) -> Vec<Arc<Job>> {
        let Some(began) = self.jobs.get(&job.id).and_then(|record| record.began) else { return Vec::new() };
        let slots = self.slots.get(&job.target).into_iter().flatten();
        let ended_since = |other: &&Arc<Job>| {
            let record = self.jobs.get(&other.id);
            other.id != job.id && record.and_then(|record| record.ended).is_some_and(|ended| ended > began)
        };
        let succeeded = slots.filter_map(|(_, wishes)| wishes.succeeded.as_ref()).filter(ended_since);
        let mut all: Vec<Arc<Job>> = succeeded.cloned().collect();
        all.sort_by_key(|job| job.id);
        all.dedup_by_key(|job| job.id);
        all
    }

    /// The newest wish of a slot stays for ever: it is one entry for each slot there is.
    fn sweep(&mut self, now: Timestamp) {
        // An event may be dated by a clock that runs far ahead: it must not sweep what is fresh.
        let now = now.min(Timestamp::now());
        if self.swept_at.is_some_and(|swept_at| now < swept_at + SWEEP_EVERY) {
            return;
        }
        self.swept_at = Some(now);
        self.since = self.since.max(now - FORGET_AFTER);
        self.since_of.clear();
        self.jobs.retain(|_, record| record.end.is_none_or(|(_, at)| at > now - FORGET_AFTER));
        let jobs = &self.jobs;
        self.on_hold.forget_before(now - FORGET_AFTER);
        self.cancelled.retain(|_, by| jobs.contains_key(by));
    }
}

/// The wishes that overwrite `slot`: some overwrite more than that.
fn covering<'a>(slots: &'a HashMap<Slot, Wishes>, slot: &Slot) -> impl Iterator<Item = &'a Wishes> {
    slots.iter().filter(move |(known, _)| known.covers(slot)).map(|(_, wishes)| wishes)
}
