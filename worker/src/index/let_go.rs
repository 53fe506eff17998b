//! Images that are held, as far as the history tells: whatever became of what their target remembered of them.

use std::collections::HashMap;

use proto::{Digest, Event, Job, JobId, Operation, State, TargetName, reason};
use queue::Position;

use super::{book::Book, record::Record};

/// Where in the history an image of a target was let go of last.
#[derive(Debug, Default)]
pub(super) struct LetGo {
    last: HashMap<(TargetName, Digest), Position>,
}

impl LetGo {
    /// Notes that `job` let go of an image, where `event` says so.
    pub(super) fn read(&mut self, job: &Job, event: &Event, position: Position) {
        let Operation::Release { image: Some(_) } = job.operation else { return };
        let image = event.data.image.as_ref().and_then(|change| change.to.as_ref());
        let digest = image.and_then(|image| image.digest()).filter(|_| event.state() == State::Succeeded);
        let Some(digest) = digest else { return };
        let last = self.last.entry((job.target.clone(), digest.clone())).or_insert(position);
        *last = position.max(*last);
    }

    fn since(&self, record: &Record, digest: &Digest) -> bool {
        let last = self.last.get(&(record.job.target.clone(), digest.clone()));
        last.is_some_and(|last| record.held_at.is_none_or(|held| *last > held))
    }
}

impl Book {
    /// Of several that are held for one image, the one that stands for the others.
    pub(super) fn held_for(&self, job: &Job, digest: &Digest) -> Option<JobId> {
        let is_same = |other: &Job| {
            // On another service of the target, the same digest is another wish.
            job.slots.iter().all(|slot| other.slots.iter().any(|held| held.covers(slot)))
        };
        self.first_held(job, is_same, |record| record.held_digest() == Some(digest))
    }

    /// Of several that are held with one text, the one that stands for the others.
    pub(super) fn same_text_held(&self, job: &Job) -> Option<JobId> {
        let is_same = |other: &Job| other.operation == job.operation;
        self.first_held(job, is_same, |record| {
            record.held.as_ref().is_some_and(|why| why.code == reason::BAD_IMAGE)
        })
    }

    /// Of those that are held for the same on one target, the one that was wished first stands for the others: whoever is
    /// held gives way to none that is newer, or they might all give way to each other.
    fn first_held(
        &self,
        job: &Job,
        is_same: impl Fn(&Job) -> bool,
        is_held: impl Fn(&Record) -> bool,
    ) -> Option<JobId> {
        let waits = |record: &Record| record.end.is_none() && is_held(record);
        let is_one = |id: JobId, record: &Record| {
            id != job.id && record.job.target == job.target && is_same(&record.job) && waits(record)
        };
        let held = self.jobs.iter().filter(|(id, record)| is_one(**id, record)).map(|(id, _)| *id);
        let first = held.min()?;
        let gives_way = first < job.id || !self.jobs.get(&job.id).is_some_and(waits);
        gives_way.then_some(first)
    }

    /// Whether `job`, or one that it gives way to, was said to be held for the image, and nobody has let go of that since.
    pub(super) fn keeps(&self, job: &Job, digest: &Digest) -> bool {
        let stays = |id: JobId| {
            let held = self.jobs.get(&id).filter(|it| it.end.is_none() && it.held_digest() == Some(digest));
            held.is_some_and(|record| !self.let_go.since(record, digest))
        };
        stays(job.id) || self.held_for(job, digest).is_some_and(stays)
    }
}

#[cfg(test)]
mod tests {
    use proto::{ImageChange, Reason};

    use super::*;
    use crate::testing::job;

    fn image(n: u8) -> proto::ImageRef {
        format!("a:1@sha256:{}", format!("{n:02x}").repeat(32)).parse().unwrap()
    }

    fn say(book: &mut Book, job: &Job, state: State, position: u64) {
        let mut event = Event::of(job, state, 1, position);
        event.data.image = Some(ImageChange { from: None, to: Some(image(1)) });
        event.data.reason = (state == State::Held).then(|| Reason::new(reason::BAD_IMAGE, "bad"));
        book.read(&event, Position(position));
    }

    #[test]
    fn an_image_stays_held_until_somebody_lets_go_of_it() {
        let (held, newer, mut release) = (job(1, "a:1"), job(2, "a:1"), job(3, "a:1"));
        release.operation = Operation::Release { image: Some("a:1".parse().unwrap()) };
        release.slots = release.operation.slots();
        let (it, another) = (image(1), image(2));
        let (it, another) = (it.digest().unwrap(), another.digest().unwrap());
        let mut book = Book::new(proto::Timestamp::UNIX_EPOCH);
        say(&mut book, &release, State::Accepted, 1);
        say(&mut book, &release, State::Succeeded, 2);
        say(&mut book, &held, State::Accepted, 3);
        assert!(!book.keeps(&held, it));
        say(&mut book, &held, State::Held, 4);
        for job in [&held, &newer] {
            assert!(book.keeps(job, it), "a release before it was held says nothing");
            assert!(!book.keeps(job, another));
        }
        let mut again = job(4, "a:1");
        (again.operation, again.slots) = (release.operation.clone(), release.slots.clone());
        say(&mut book, &again, State::Accepted, 5);
        say(&mut book, &again, State::Failed, 6);
        assert!(book.keeps(&held, it), "one that failed let go of nothing");
        let mut other = Job { target: "other".parse().unwrap(), ..job(5, "a:1") };
        (other.operation, other.slots) = (release.operation.clone(), release.slots.clone());
        say(&mut book, &other, State::Accepted, 7);
        say(&mut book, &other, State::Succeeded, 8);
        assert!(book.keeps(&held, it), "of another target");
        let mut last = job(6, "a:1");
        (last.operation, last.slots) = (release.operation.clone(), release.slots.clone());
        say(&mut book, &last, State::Accepted, 9);
        say(&mut book, &last, State::Succeeded, 10);
        assert!(!book.keeps(&held, it) && !book.keeps(&newer, it));
    }
}
