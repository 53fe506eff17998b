//! Images that were rolled back, or put on hold by name, and targets on hold, as far as the history tells. A target
//! remembers them itself; whoever deploys there with another tool wipes that, and has released nothing.

use std::collections::{BTreeSet, HashMap};

use proto::{CauseKind, Digest, Event, Job, JobId, Operation, PutOnHold, State, TargetName, Timestamp};
use queue::Position;

/// Of each target, what was put on hold there last, and freed last. In any order, and as often as need be.
#[derive(Debug, Default)]
pub(super) struct OnHold {
    put: HashMap<(TargetName, Digest), Put>,
    /// Without a digest: all of the target.
    freed: HashMap<(TargetName, Option<Digest>), (Position, Timestamp)>,
    /// What was said last of each target as a whole: the job that put it on hold, none where it was let go.
    targets: HashMap<TargetName, (Position, Option<JobId>)>,
}

#[derive(Debug)]
struct Put {
    noted: Vec<PutOnHold>,
    position: Position,
    at: Timestamp,
}

impl OnHold {
    /// Notes what `event` says of `job`: the first of its ends, or anything before.
    pub(super) fn read(&mut self, job: &Job, event: &Event, position: Position) {
        for noted in put_on_hold(job, event) {
            self.put(&job.target, noted, (position, event.time));
        }
        if let Some(freed) = freed(job, event) {
            let last = self.freed.entry((job.target.clone(), freed)).or_insert((position, event.time));
            *last = (position, event.time).max(*last);
        }
        if let Some(by) = said_of_target(job, event) {
            let said = (position, by);
            let last = self.targets.entry(job.target.clone()).or_insert(said);
            *last = said.max(*last);
        }
    }

    /// The job that put a whole target on hold, while it is.
    pub(super) fn of_target(&self, target: &TargetName) -> Option<JobId> {
        self.targets.get(target)?.1
    }

    /// The images that are on hold on a target.
    pub(super) fn on(&self, target: &TargetName) -> Vec<PutOnHold> {
        let of_it = self.put.iter().filter(|((of, _), _)| of == target);
        let held = of_it.filter(|((_, digest), put)| !self.is_freed((target, digest), put.position));
        held.flat_map(|(_, put)| put.noted.clone()).collect()
    }

    /// The targets on which anything is on hold.
    pub(super) fn anywhere(&self) -> BTreeSet<TargetName> {
        let wholly = self.targets.iter().filter(|(_, (_, by))| by.is_some()).map(|(target, _)| target);
        let in_part =
            self.put.iter().filter(|((target, digest), put)| !self.is_freed((target, digest), put.position));
        wholly.chain(in_part.map(|((target, _), _)| target)).cloned().collect()
    }

    /// What is on hold as a whole is so until somebody releases it, and is one entry for each target: it stays for ever.
    pub(super) fn forget_before(&mut self, time: Timestamp) {
        self.put.retain(|_, put| put.at >= time);
        self.freed.retain(|_, (_, at)| *at >= time);
    }

    fn put(&mut self, target: &TargetName, noted: PutOnHold, (position, at): (Position, Timestamp)) {
        let Some(digest) = noted.image.digest().cloned() else { return };
        let fresh = || Put { noted: Vec::new(), position, at };
        let put = self.put.entry((target.clone(), digest)).or_insert_with(fresh);
        (put.position, put.at) = (put.position.max(position), put.at.max(at));
        if !put.noted.contains(&noted) {
            put.noted.push(noted);
        }
    }

    fn is_freed(&self, (target, digest): (&TargetName, &Digest), put: Position) -> bool {
        let of = |digest: Option<Digest>| self.freed.get(&(target.clone(), digest));
        let last = of(Some(digest.clone())).max(of(None));
        last.is_some_and(|(position, _)| *position > put)
    }
}

fn put_on_hold(job: &Job, event: &Event) -> Vec<PutOnHold> {
    let by_name = matches!(job.operation, Operation::Hold { image: Some(_) });
    match event.data.image.as_ref().and_then(|change| change.to.clone()) {
        Some(image) if by_name && event.state() == State::Succeeded => vec![PutOnHold { image, part: None }],
        Some(_) | None => event.data.put_on_hold.clone(),
    }
}

/// What an event says of its whole target: that it is on hold, or is not any more.
fn said_of_target(job: &Job, event: &Event) -> Option<Option<JobId>> {
    if event.state() != State::Succeeded {
        return None;
    }
    let is_hold = matches!(job.operation, Operation::Hold { image: None });
    let is_let_go =
        matches!(job.operation, Operation::Release { image: None } | Operation::RemoveStack { .. });
    (is_hold || is_let_go).then(|| is_hold.then_some(job.id))
}

/// What an event frees: one image; or all of the target, where it names none.
fn freed(job: &Job, event: &Event) -> Option<Option<Digest>> {
    let succeeded = event.state() == State::Succeeded;
    if matches!(job.operation, Operation::Hold { .. }) {
        return None;
    }
    // Somebody wished for it though he knew.
    if job.cause.kind == CauseKind::Release && event.state() == State::Started {
        return Some(job.operation.image().and_then(|image| image.digest()).cloned());
    }
    if !succeeded {
        return None;
    }
    if matches!(job.operation, Operation::RemoveStack { .. }) {
        return Some(None);
    }
    // It was released by name, or runs there well by now.
    let brought = event.data.image.as_ref().and_then(|change| change.to.as_ref());
    Some(Some(brought?.digest()?.clone()))
}

#[cfg(test)]
mod tests {
    use proto::{ImageChange, ImageRef};

    use super::*;
    use crate::{index::book::Book, testing::job};

    fn image(n: u8) -> ImageRef {
        format!("a:1@sha256:{}", format!("{n:02x}").repeat(32)).parse().unwrap()
    }

    /// A job of which an end says that these parts went back from the image, or that it runs.
    fn end(book: &mut Book, job: &Job, state: State, (parts, position): (&[Option<&str>], u64)) {
        for (state, position) in [(State::Accepted, position), (State::Started, position + 1)] {
            book.read(&Event::of(job, state, 1, position), Position(position));
        }
        let mut event = Event::of(job, state, 1, 0);
        event.data.image = Some(ImageChange { from: None, to: Some(image(1)) });
        let noted = |part: &Option<&str>| PutOnHold { image: image(1), part: part.map(str::to_owned) };
        event.data.put_on_hold = parts.iter().map(noted).collect();
        book.read(&event, Position(position + 2));
    }

    fn of(operation: Operation, n: i64) -> Job {
        Job { slots: operation.slots(), operation, ..job(n, "a:1") }
    }

    fn book() -> Book {
        Book::new(Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn what_went_back_stays_on_hold_until_it_is_released_or_runs_well() {
        let release = of(Operation::Release { image: Some("a:1".parse().unwrap()) }, 3);
        let mut anew = job(3, &image(1).to_string());
        anew.cause.kind = CauseKind::Release;
        let removal = of(Operation::RemoveStack { force: false }, 3);
        let name = job(1, "a:1").target;
        for (what, freeing, state) in [
            ("its release", &release, State::Succeeded),
            ("a deploy of what was released", &anew, State::Superseded),
            ("that it runs", &job(3, "a:1"), State::Succeeded),
            ("its removal", &removal, State::Succeeded),
        ] {
            let mut book = book();
            end(&mut book, freeing, state, (&[], 1));
            end(&mut book, &job(1, "a:1"), State::RolledBack, (&[None], 11));
            assert_eq!(book.on_hold.on(&name).len(), 1, "{what} came before");
            let freeing = Job { id: freeing.id.successor(), ..freeing.clone() };
            end(&mut book, &freeing, state, (&[], 21));
            assert_eq!(book.on_hold.on(&name), [], "{what}");
            end(&mut book, &job(9, "a:1"), State::RolledBack, (&[None], 31));
            assert_eq!(book.on_hold.on(&name).len(), 1, "it went back once more");
        }
        let mut book = book();
        end(&mut book, &job(1, "a:1"), State::RolledBack, (&[], 1));
        assert_eq!(book.on_hold.on(&name), [], "nothing was known against it");
        end(&mut book, &job(2, "a:1"), State::RolledBack, (&[Some("web"), Some("jobs")], 11));
        assert_eq!(book.on_hold.on(&name).len(), 2);
        end(&mut book, &release, State::Failed, (&[], 21));
        assert_eq!(book.on_hold.on(&name).len(), 2, "that freed nothing");
        assert_eq!(book.on_hold.on(&"other".parse().unwrap()), []);
    }

    #[test]
    fn a_target_is_on_hold_until_it_is_released_or_removed() {
        let hold = of(Operation::Hold { image: None }, 1);
        let (name, by) = (&hold.target, Some(hold.id));
        let frees = [Operation::Release { image: None }, Operation::RemoveStack { force: false }];
        for (freeing, state, on_hold) in [
            (&frees[0], State::Succeeded, None),
            (&frees[1], State::Succeeded, None),
            (&frees[0], State::Failed, by),
            (&Operation::Release { image: Some("a:1".parse().unwrap()) }, State::Succeeded, by),
            (&Operation::Redeploy, State::Succeeded, by),
        ] {
            let mut book = book();
            let freeing = of(freeing.clone(), 2);
            end(&mut book, &freeing, state, (&[], 1));
            end(&mut book, &hold, State::Succeeded, (&[], 11));
            assert_eq!(book.on_hold.of_target(name), by, "what came before frees nothing");
            end(&mut book, &Job { id: freeing.id.successor(), ..freeing.clone() }, state, (&[], 21));
            assert_eq!(book.on_hold.of_target(name), on_hold, "{freeing:?}");
        }
        let mut book = book();
        end(&mut book, &hold, State::Failed, (&[], 1));
        assert_eq!(book.on_hold.of_target(name), None, "it was never put on hold");
    }

    #[test]
    fn a_target_stays_on_hold_however_long_ago_that_was() {
        let (mut book, hold) = (book(), of(Operation::Hold { image: None }, 1));
        end(&mut book, &hold, State::Succeeded, (&[], 1));
        end(&mut book, &job(1, "a:1"), State::RolledBack, (&[None], 11));
        assert_eq!(book.on_hold.anywhere(), BTreeSet::from([hold.target.clone()]));
        // Days later, by the history's own time.
        book.on_hold.forget_before(Timestamp::MAX);
        assert_eq!(book.on_hold.of_target(&hold.target), Some(hold.id));
        assert_eq!(book.on_hold.on(&hold.target), [], "of an image the target is reminded in time");
        assert_eq!(book.on_hold.anywhere(), BTreeSet::from([hold.target.clone()]));
        end(&mut book, &of(Operation::Release { image: None }, 2), State::Succeeded, (&[], 21));
        assert_eq!((book.on_hold.of_target(&hold.target), book.on_hold.anywhere().len()), (None, 0));
    }

    #[test]
    fn what_is_put_on_hold_by_name_is_told_by_the_image_that_was_found() {
        let (mut book, hold) = (book(), of(Operation::Hold { image: Some("a:1".parse().unwrap()) }, 1));
        end(&mut book, &hold, State::Succeeded, (&[], 1));
        assert_eq!(book.on_hold.on(&hold.target), [PutOnHold { image: image(1), part: None }]);
    }
}
