//! What the history says: the newest runnable wish for every slot of every target, and who has ended.

mod book;
mod brought;
mod let_go;
mod on_hold;
mod record;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use proto::{
    Digest, EventId, ImageChange, ImageRef, Job, JobId, PutOnHold, Reason, State, TargetName, Timestamp,
};
use queue::{Entry, Recorded};
use tokio::sync::watch;

use self::{book::Book, record::Record};

/// How far back the history is read at the start: the longest deadline, and the delay of events.
pub(crate) const WINDOW: Duration = Duration::from_secs(25 * 3600);

/// How long after its job died an image that was seen in a registry is told of again.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(3600);

/// The worker's picture of the history. Reading the same entry twice changes nothing.
#[derive(Debug)]
pub(crate) struct Index {
    book: Mutex<Book>,
    changed: watch::Sender<()>,
}

/// Attempts that were begun and never answered for: their workers crashed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Crashes {
    /// Other jobs were under way in the same worker: any of them may be to blame.
    pub(crate) in_company: usize,
    /// The worker did nothing else: the job is to blame.
    pub(crate) alone: usize,
}

impl Index {
    /// An index of the history from `since` on, still to be read.
    pub(crate) fn new(since: Timestamp) -> Index {
        Index { book: Mutex::new(Book::new(since)), changed: watch::Sender::new(()) }
    }

    /// Reads one entry of the history.
    pub(crate) fn read(&self, recorded: &Recorded) {
        if let Entry::Event(event) = &recorded.entry {
            self.book().read(event, recorded.position);
            self.changed.send_replace(());
        }
    }

    /// Whether all that was said of a target from `time` on has been read.
    pub(crate) fn reaches_back_to(&self, target: &TargetName, time: Timestamp) -> bool {
        self.book().reaches_back_to(target, time)
    }

    /// Notes that all that was said of a target from `since` on was read.
    pub(crate) fn reached_back(&self, target: &TargetName, since: Timestamp) {
        self.book().reached_back(target, since);
    }

    /// How `job` ended, if it did.
    pub(crate) fn end_of(&self, job: JobId) -> Option<State> {
        self.book().job(job)?.end.map(|(state, _)| state)
    }

    /// When it was said that `job` is dead, if it is.
    pub(crate) fn died_at(&self, job: JobId) -> Option<Timestamp> {
        self.book().job(job)?.end.filter(|(state, _)| *state == State::Dead).map(|(_, at)| at)
    }

    /// Whether `job` is dead and its letter was written for certain.
    pub(crate) fn is_laid_aside(&self, job: JobId) -> bool {
        self.book().job(job).is_some_and(|record| record.laid_aside)
    }

    /// Whether the job's `accepted`, or a later event that carries it whole, was read.
    pub(crate) fn knows(&self, job: JobId) -> bool {
        self.book().job(job).is_some()
    }

    /// Whether some worker began with `job`.
    pub(crate) fn has_started(&self, job: JobId) -> bool {
        self.book().job(job).is_some_and(|record| record.started)
    }

    /// Whether some worker began with `job`, and nobody said since that it is held.
    pub(crate) fn is_under_way(&self, job: JobId) -> bool {
        self.book().job(job).is_some_and(|record| record.under_way)
    }

    /// What an attempt at `job` noted for the ones after it.
    pub(crate) fn memo_of(&self, job: JobId) -> Option<String> {
        self.book().job(job)?.memo.clone()
    }

    /// Whether it was said last of `job` that it is held for this reason.
    pub(crate) fn is_held(&self, job: JobId, why: &Reason) -> bool {
        self.book()
            .job(job)
            .is_some_and(|record| record.is_said_to_be_held() && record.held.as_deref() == Some(why))
    }

    /// Whether it was said last of `job` that it is held: not that it comes again.
    pub(crate) fn is_said_to_be_held(&self, job: JobId) -> bool {
        self.book().job(job).is_some_and(Record::is_said_to_be_held)
    }

    /// Why `job` is held, where it is and has not begun since.
    pub(crate) fn why_held(&self, job: JobId) -> Option<Reason> {
        self.book().job(job)?.held.as_deref().cloned()
    }

    /// Whether it was said last of `job` that it is held for a reason of this code.
    pub(crate) fn is_held_for(&self, job: JobId, code: &str) -> bool {
        let book = self.book();
        book.job(job).and_then(|record| record.held.as_deref()).is_some_and(|why| why.code == code)
    }

    /// The latest deadline with which it was said that `job` was started.
    pub(crate) fn deadline_said(&self, job: JobId) -> Option<Timestamp> {
        self.book().job(job)?.deadline_said
    }

    /// Whether the newest job that a look at a registry made of a tag for `target` could not be carried out, and that
    /// was said [`TOLD_AGAIN_AFTER`] ago.
    pub(crate) fn died_long_ago(&self, target: &TargetName, image: &ImageRef) -> bool {
        let last = self.book().last_seen(target, image);
        let again = |at: Timestamp| at.checked_add(TOLD_AGAIN_AFTER).unwrap_or(Timestamp::MAX);
        last.is_some_and(|(state, at)| state == State::Dead && again(at) < Timestamp::now())
    }

    /// The job that was made of a held one when that was approved or released, unless it has ended.
    pub(crate) fn stands_for(&self, held: JobId) -> Option<JobId> {
        self.book().stands_for(held)
    }

    /// What `job` was to change, where it is held for its image.
    pub(crate) fn held_image(&self, job: JobId) -> Option<ImageChange> {
        self.book().job(job)?.held_image.clone()
    }

    /// The image that `job` waits with, by its content, once the history told of it.
    pub(crate) fn image_seen(&self, job: JobId) -> Option<ImageRef> {
        self.book().image_seen(job).cloned()
    }

    /// A newer job that brings the same tag to the same target as `job`.
    pub(crate) fn pushed_again(&self, job: &Job) -> Option<JobId> {
        self.book().pushed_again(job)
    }

    /// Whether a job for the target is at work, or about to be: what it brings and replaces is not known yet.
    pub(crate) fn is_at_work(&self, target: &TargetName) -> bool {
        self.book().is_at_work(target)
    }

    /// Whether a job for the target is under way, or waits, or the last that was to bring the image could not be carried
    /// out: it is told of again later.
    pub(crate) fn is_awaited(&self, target: &TargetName, image: &ImageRef) -> bool {
        let book = self.book();
        let died = || book.last_seen(target, image).is_some_and(|(state, _)| state == State::Dead);
        book.has_open(target) || died()
    }

    /// Another job for the target of `job` that is held for that very image, and has not ended.
    pub(crate) fn held_for(&self, job: &Job, digest: &Digest) -> Option<JobId> {
        self.book().held_for(job, digest)
    }

    /// Whether it was said that `job`, or another one that stands for it, is held for that very image, and nobody has let
    /// go of it since.
    pub(crate) fn keeps(&self, job: &Job, digest: &Digest) -> bool {
        self.book().keeps(job, digest)
    }

    /// The images that were rolled back on a target, or put on hold by name, which nobody released since, and none of
    /// which ran well there since.
    pub(crate) fn on_hold(&self, target: &TargetName) -> Vec<PutOnHold> {
        self.book().on_hold.on(target)
    }

    /// The job that put a whole target on hold, where nobody released it since.
    pub(crate) fn target_on_hold(&self, target: &TargetName) -> Option<JobId> {
        self.book().on_hold.of_target(target)
    }

    /// What ran on a target before that which stands there, where the last job that brought one there tells.
    pub(crate) fn ran_before(&self, target: &TargetName, stands: &ImageRef) -> Option<ImageRef> {
        self.book().brought.before(target, stands).cloned()
    }

    /// The targets on which the history knows of anything that is on hold.
    pub(crate) fn on_hold_anywhere(&self) -> BTreeSet<TargetName> {
        self.book().on_hold.anywhere()
    }

    /// Another job for the target of `job` that is held with that very text for an image, and has not ended.
    pub(crate) fn same_text_held(&self, job: &Job) -> Option<JobId> {
        self.book().same_text_held(job)
    }

    /// The attempts at `job` that were cut off by a crash; asked for under the target's lock, when no attempt
    /// is under way. `lives` tells of which `started` the worker still lives.
    pub(crate) fn crashes(&self, job: JobId, lives: impl Fn(EventId) -> bool) -> Crashes {
        let book = self.book();
        let unanswered = book.job(job).map_or(&[][..], |record| &record.unanswered);
        let crashed = || unanswered.iter().filter(|(started, _)| !lives(*started));
        let alone = crashed().filter(|(_, alone)| *alone).count();
        Crashes { in_company: crashed().count() - alone, alone }
    }

    /// The newest wish that overwrites everything `job` does, if it is newer than `job`.
    pub(crate) fn newer_than(&self, job: &Job) -> Option<JobId> {
        self.book().newer(job, |_| true)
    }

    /// Like [`Index::newer_than`], but only wishes that wait at the target's lock.
    pub(crate) fn newer_waiting(&self, job: &Job) -> Option<JobId> {
        self.book().newer(job, |record| record.is_some_and(|record| record.waits && record.end.is_none()))
    }

    /// A wish for a higher version than `job`'s that is older and waits at the target's lock; none for a job that
    /// may bring a lower one.
    pub(crate) fn higher_waiting(&self, job: &Job) -> Option<JobId> {
        if job.gates.upward { self.book().higher_waiting(job) } else { None }
    }

    /// Whether it was said last of `job` that it waits at the target's lock.
    pub(crate) fn waits(&self, job: JobId) -> bool {
        self.book().job(job).is_some_and(|record| record.waits && record.end.is_none())
    }

    /// Whether it was said last of `job` that it waits for this reason, since `since`.
    pub(crate) fn waits_for(&self, job: JobId, why: &Reason, since: Timestamp) -> bool {
        let book = self.book();
        let said = book.job(job).and_then(|record| record.waits_for.as_ref());
        said.is_some_and(|(reason, at)| **reason == *why && *at >= since)
    }

    /// Like [`Index::newer_than`], but only wishes that ended.
    pub(crate) fn newer_ended(&self, job: &Job) -> Option<JobId> {
        // One that is forgotten ended long ago.
        self.book().newer(job, |record| record.is_none_or(|record| record.end.is_some()))
    }

    /// Like [`Index::newer_than`], but only wishes that were carried out, well or not.
    pub(crate) fn newer_carried_out(&self, job: &Job) -> Option<JobId> {
        self.book().newer_carried_out(job)
    }

    /// The newest job that succeeded where `job` writes: what should stand there when `job` came too late.
    pub(crate) fn succeeded(&self, job: &Job) -> Option<Arc<Job>> {
        self.book().succeeded(job)
    }

    /// What is to stand where `job` wrote after something newer had ended, and the newer job by which: the newest that
    /// succeeded. One that is older than `job` stood there only if something newer was carried out and did not hold; a
    /// newer one that gave way to others before it began has left nothing to bring back.
    pub(crate) fn stands_instead_of(&self, job: &Job) -> Option<(Arc<Job>, JobId)> {
        let book = self.book();
        let best = book.succeeded(job)?;
        let by = if best.id > job.id { best.id } else { book.newer_carried_out(job)? };
        Some((best, by))
    }

    /// The jobs of its target that ended well after `job` was begun, the newest of each slot; oldest first.
    pub(crate) fn succeeded_since_begun(&self, job: &Job) -> Vec<Arc<Job>> {
        self.book().succeeded_since_begun(job)
    }

    /// A job that waits for its gates and was never begun, unless what was made of it, or a newer one, was carried out.
    pub(crate) fn held_and_untouched(&self, job: JobId) -> Option<Arc<Job>> {
        self.book().held_and_untouched(job)
    }

    /// The job that called `job` off.
    pub(crate) fn cancelled_by(&self, job: JobId) -> Option<JobId> {
        self.book().cancelled_by(job)
    }

    /// Tells of every change from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
