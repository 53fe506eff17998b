//! The jobs that have not ended, by the time at which somebody should have said how they did.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use proto::{Event, Hold, Job, JobId, State, reason};
use queue::Position;

use super::word::Word;

/// Most jobs kept, some 60 bytes each: twice what a pool's queue holds.
const MOST_OPEN: usize = 200_000;

/// Every job that the history told of and that has no end there yet. What it says is to be looked up before anything
/// is done about it: an `accepted` may be said after the end.
#[derive(Debug, Default)]
pub(crate) struct OpenJobs(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    jobs: BTreeMap<JobId, Open>,
    /// The history from before it was followed has been taken in.
    knows_the_past: bool,
    /// Some had no room, and have not been read again since.
    left_out: bool,
}

/// A job without an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Open {
    /// Where the history tells of it first.
    pub(super) first: Position,
    /// When it should have ended.
    pub(super) due: Timestamp,
    /// The same, once nothing but its own words holds it.
    own_due: Timestamp,
    word: Word,
}

impl OpenJobs {
    /// Takes in the next event of the history.
    pub(crate) fn take_in(&self, position: Position, event: &Event) {
        self.book().take_in(position, event);
    }

    /// Whether a job has no end yet, as far as is known.
    pub(super) fn has(&self, id: JobId) -> bool {
        self.book().jobs.contains_key(&id)
    }

    /// Where the history begins to tell of a job without an end.
    pub(super) fn first_of(&self, id: JobId) -> Option<Position> {
        self.book().jobs.get(&id).map(|open| open.first)
    }

    /// Forgets a job.
    pub(super) fn forget(&self, id: JobId) {
        self.book().jobs.remove(&id);
    }

    /// Lets a job be due at another time.
    pub(super) fn put_off(&self, id: JobId, due: Timestamp) {
        if let Some(open) = self.book().jobs.get_mut(&id) {
            open.due = due;
        }
    }

    /// The jobs that were due longer ago than `after` and the places where the history begins to tell of them,
    /// in that order, at most `most`.
    pub(super) fn overdue(&self, now: Timestamp, after: Duration, most: usize) -> Vec<(JobId, Position)> {
        let book = self.book();
        let overdue = book.jobs.iter().filter(|(_, open)| open.is_overdue(now, after));
        let mut overdue: Vec<_> = overdue.map(|(id, open)| (*id, open.first)).take(most).collect();
        overdue.sort_unstable_by_key(|(_, first)| *first);
        overdue
    }

    /// The jobs that wait for a worker and of which nothing was heard for longer than `after`, twice as long for each time
    /// they were published once more; and the places where the history begins to tell of them, in that order, at most `most`.
    pub(super) fn unheard(&self, now: Timestamp, after: Duration, most: usize) -> Vec<(JobId, Position)> {
        let book = self.book();
        let unheard = book.jobs.iter().filter(|(_, open)| open.is_unheard(now, after));
        let mut unheard: Vec<_> = unheard.map(|(id, open)| (*id, open.first)).take(most).collect();
        unheard.sort_unstable_by_key(|(_, first)| *first);
        unheard
    }

    /// Whether it is one of [`OpenJobs::unheard`] still.
    pub(super) fn is_unheard(&self, id: JobId, now: Timestamp, after: Duration) -> bool {
        self.book().jobs.get(&id).is_some_and(|open| open.is_unheard(now, after))
    }

    /// Takes this for a word of the job: nothing is done about it for a while.
    pub(super) fn let_rest(&self, id: JobId, now: Timestamp) {
        if let Some(open) = self.book().jobs.get_mut(&id) {
            open.word.heard_at(now);
        }
    }

    /// Whether there may be jobs that it does not know, and has room for. From now on they count as known.
    pub(super) fn asks_for_the_past(&self) -> bool {
        let mut book = self.book();
        let asks = !book.knows_the_past || book.left_out && book.jobs.len() <= MOST_OPEN / 2;
        if asks {
            (book.knows_the_past, book.left_out) = (true, false);
        }
        asks
    }

    /// The past could not be read.
    pub(super) fn ask_again(&self) {
        self.book().knows_the_past = false;
    }

    /// Takes in what another has read of the past. What has ended since is found out when it is looked up.
    pub(super) fn add(&self, past: OpenJobs) {
        let past = past.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut book = self.book();
        for (id, open) in past.jobs {
            book.enter(id, open);
        }
        if past.left_out {
            book.leave_out();
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn take_in(&mut self, position: Position, event: &Event) {
        let id = event.job_id();
        if event.state().is_end() {
            self.jobs.remove(&id);
        } else if let Some(open) = self.jobs.get_mut(&id) {
            open.note(event);
        } else if let Some(job) = event.job() {
            let mut open = Open::of(position, job);
            open.note(event);
            self.enter(id, open);
        }
    }

    fn enter(&mut self, id: JobId, open: Open) {
        let is_full = self.jobs.len() >= MOST_OPEN;
        match self.jobs.entry(id) {
            Entry::Occupied(_) => {}
            Entry::Vacant(_) if is_full => self.leave_out(),
            Entry::Vacant(room) => _ = room.insert(open),
        }
    }

    fn leave_out(&mut self) {
        if !mem::replace(&mut self.left_out, true) {
            tracing::warn!(
                "{MOST_OPEN} jobs have not ended: the ends of further ones are watched once half of them have"
            );
        }
    }
}

impl Open {
    pub(super) fn of(first: Position, job: &Job) -> Open {
        let due = match job.hold(job.accepted_at) {
            Some(Hold::ForApproval(until)) => until,
            Some(Hold::Until(at)) => job.deadline.max(at),
            Some(hold @ Hold::ForWindow { .. }) => job.deadline.max(hold.ends()),
            None => job.deadline,
        };
        Open { first, due, own_due: due, word: Word::of(job) }
    }

    /// Takes in what is said next.
    pub(super) fn note(&mut self, event: &Event) {
        self.word.note(event);
        match event.state() {
            State::Held => self.due = event.job().map_or(self.due, |job| self.due_when_held(job, event)),
            State::Started => {
                // Its deadline counts anew from each opening of its window.
                self.own_due = event.job().map_or(self.own_due, |job| self.own_due.max(job.deadline));
                self.due = self.own_due;
            }
            State::Accepted | State::Progress | State::Retrying => {}
            State::Succeeded
            | State::RolledBack
            | State::Failed
            | State::Dead
            | State::Superseded
            | State::Rejected
            | State::Cancelled => {}
        }
    }

    /// What holds a job by its own words ends with its time or its approval. Anything else is known to workers
    /// alone, and ends when the longest hold does.
    fn due_when_held(&self, job: &Job, event: &Event) -> Timestamp {
        let code = event.data.reason.as_ref().map(|reason| reason.code.as_ref());
        if matches!(code, Some(reason::NOT_BEFORE | reason::NEEDS_APPROVAL)) {
            return self.own_due;
        }
        let longest = job.accepted_at.checked_add(Job::LONGEST_HOLD).unwrap_or(Timestamp::MAX);
        self.own_due.max(job.gates.hold_until.unwrap_or(longest))
    }

    /// Whether it waits for a worker, and nothing was heard of it for so long.
    fn is_unheard(&self, now: Timestamp, after: Duration) -> bool {
        self.due > now && self.word.is_long_ago(now, after)
    }

    /// Whether it was due longer ago than `after`.
    pub(super) fn is_overdue(&self, now: Timestamp, after: Duration) -> bool {
        now.checked_sub(after).is_ok_and(|latest| self.due < latest)
    }
}

#[cfg(test)]
mod tests {
    use proto::{Gates, Reason};

    use super::*;
    use crate::{mint::Mint, view::samples};

    const TEN_MINUTES: Duration = Duration::from_secs(600);
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn held(job: &Job, why: &'static str) -> Event {
        let mut event = Event::of(job, State::Held, 0, 1);
        event.data.reason = Some(Reason::new(why, "it waits"));
        event
    }

    #[test]
    fn a_job_is_overdue_once_its_deadline_is_long_past_and_until_it_ends() {
        let ids = Mint::default().mint(Timestamp::now(), 3);
        let jobs: Vec<Job> = ids.into_iter().map(|id| samples::job(id, "web")).collect();
        let open = OpenJobs::default();
        let say = |place, job: &Job, state| open.take_in(Position(place), &Event::of(job, state, 1, 0));
        for (job, place) in jobs.iter().zip([7, 3, 5]) {
            say(place, job, State::Accepted);
        }
        say(8, &jobs[2], State::Started);
        say(9, &jobs[2], State::Retrying);
        let deadline = jobs[0].deadline;
        let overdue = |at, most| open.overdue(at, TEN_MINUTES, most);
        assert_eq!(overdue(deadline + TEN_MINUTES, 9), []);
        let late = deadline + TEN_MINUTES + Duration::from_millis(1);
        let all = [(jobs[1].id, Position(3)), (jobs[2].id, Position(5)), (jobs[0].id, Position(7))];
        assert_eq!(overdue(late, 9), all, "in the order in which the history tells of them");
        assert_eq!(overdue(late, 1), [all[2]]);
        say(10, &jobs[0], State::Superseded);
        open.put_off(jobs[2].id, late);
        assert_eq!(overdue(late, 9), [all[0]]);
        assert_eq!(overdue(late + TEN_MINUTES * 2, 9), [all[0], all[1]]);
        open.forget(jobs[1].id);
        // What comes after an end that was forgotten tells of nobody new.
        say(11, &jobs[0], State::Retrying);
        assert_eq!(overdue(late + TEN_MINUTES * 2, 9), [all[1]]);
    }

    #[test]
    fn what_is_held_is_due_when_the_hold_is_over() {
        let plain = samples::job(JobId::mint(Timestamp::now(), None), "web");
        let accepted = plain.accepted_at;
        let at = accepted + DAY;
        let later = Job { not_before: Some(at), deadline: at + TEN_MINUTES, ..plain.clone() };
        let gates = |hold_until| Gates { approve: true, hold_until, ..Gates::default() };
        let approve = |hold_until| Job { gates: gates(hold_until), ..plain.clone() };
        let week = accepted + DAY * 7;
        let table = [
            (&later, reason::NOT_BEFORE, later.deadline),
            (&approve(None), reason::NEEDS_APPROVAL, week),
            (&approve(Some(at)), reason::NEEDS_APPROVAL, at),
            (&plain, "on-hold", week),
            (&later, "on-hold", week),
        ];
        for (job, why, due) in table {
            let mut open = Open::of(Position(1), job);
            open.note(&Event::of(job, State::Accepted, 0, 0));
            open.note(&held(job, why));
            assert_eq!(open.due, due, "{why} {:?} {:?}", job.not_before, job.gates);
            open.note(&Event::of(job, State::Retrying, 1, 0));
            assert_eq!(open.due, due, "{why}");
            open.note(&Event::of(job, State::Started, 1, 0));
            assert_eq!(open.due, Open::of(Position(1), job).due, "{why}");
        }
    }

    #[test]
    fn who_had_no_room_is_asked_for_once_there_is_room() {
        let open = OpenJobs::default();
        assert!(open.asks_for_the_past() && !open.asks_for_the_past());
        open.ask_again();
        assert!(open.asks_for_the_past());
        let mut job = samples::job(JobId::mint(Timestamp::now(), None), "web");
        let first = job.id;
        for _ in 0..MOST_OPEN + 10 {
            open.take_in(Position(1), &Event::of(&job, State::Accepted, 0, 0));
            job.id = job.id.successor();
        }
        assert_eq!(open.book().jobs.len(), MOST_OPEN);
        assert!(!open.asks_for_the_past(), "there is no room yet");
        job.id = first;
        for _ in 0..MOST_OPEN / 2 {
            open.forget(job.id);
            job.id = job.id.successor();
        }
        assert!(open.asks_for_the_past() && !open.asks_for_the_past());
    }

    #[test]
    fn what_was_read_of_the_past_comes_beside_what_is_known() {
        let ids = Mint::default().mint(Timestamp::now(), 2);
        let jobs: Vec<Job> = ids.into_iter().map(|id| samples::job(id, "web")).collect();
        let (open, past) = (OpenJobs::default(), OpenJobs::default());
        let accepted = |job: &Job| Event::of(job, State::Accepted, 0, 0);
        past.take_in(Position(1), &accepted(&jobs[0]));
        past.take_in(Position(2), &accepted(&jobs[1]));
        open.take_in(Position(2), &accepted(&jobs[1]));
        open.take_in(Position(3), &held(&jobs[1], "on-hold"));
        let known = open.book().jobs[&jobs[1].id];
        open.add(past);
        let book = open.book();
        assert_eq!((book.jobs.len(), book.jobs[&jobs[1].id]), (2, known));
        let first = book.jobs[&jobs[0].id];
        assert_eq!((first.first, first.due), (Position(1), Open::of(Position(1), &jobs[0]).due));
    }
}
