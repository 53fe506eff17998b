//! The jobs that have not ended, by the time at which somebody should have said how they did.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use proto::{Event, Job, JobId, State};

/// Most jobs kept, some 40 bytes each: twice what a pool's queue holds.
const MOST_OPEN: usize = 200_000;

/// Every job that the history told of and that has no end there yet. What it says is to be looked up before anything
/// is done about it: an `accepted` may be said after the end.
#[derive(Debug, Default)]
pub(crate) struct OpenJobs(Mutex<BTreeMap<JobId, Open>>);

#[derive(Debug, Clone, Copy)]
struct Open {
    deadline: Timestamp,
    /// Waits for a time or an approval, which takes as long as it takes.
    held: bool,
}

impl OpenJobs {
    /// Takes in the next event of the history.
    pub(crate) fn take_in(&self, event: &Event) {
        let (id, state) = (event.job_id(), event.state());
        let mut open = self.open();
        if state.is_end() {
            open.remove(&id);
            return;
        }
        if let Some(job) = event.job() {
            open.entry(id).or_insert_with(|| Open::of(job));
        }
        if let Some(known) = open.get_mut(&id) {
            known.note(state);
        }
        if open.len() > MOST_OPEN {
            open.pop_last();
        }
    }

    /// Forgets a job.
    pub(crate) fn forget(&self, id: JobId) {
        self.open().remove(&id);
    }

    /// The jobs whose deadline passed longer ago than `after`, oldest first, at most `most`.
    pub(crate) fn overdue(&self, now: Timestamp, after: Duration, most: usize) -> Vec<JobId> {
        let Ok(latest) = now.checked_sub(after) else { return Vec::new() };
        let open = self.open();
        let overdue = open.iter().filter(|(_, open)| !open.held && open.deadline < latest);
        overdue.map(|(id, _)| *id).take(most).collect()
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<JobId, Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn of(job: &Job) -> Open {
        Open { deadline: job.deadline, held: !job.gates.is_open() }
    }

    fn note(&mut self, state: State) {
        match state {
            State::Held => self.held = true,
            State::Started => self.held = false,
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{mint::Mint, view::samples};

    const TEN_MINUTES: Duration = Duration::from_secs(600);

    #[test]
    fn a_job_is_overdue_once_its_deadline_is_long_past_and_until_it_ends() {
        let ids = Mint::default().mint(Timestamp::now(), 3);
        let jobs: Vec<Job> = ids.into_iter().map(|id| samples::job(id, "web")).collect();
        let open = OpenJobs::default();
        let say = |job: &Job, state| open.take_in(&Event::of(job, state, 1, 0));
        jobs.iter().for_each(|job| say(job, State::Accepted));
        say(&jobs[1], State::Held);
        say(&jobs[2], State::Started);
        say(&jobs[2], State::Retrying);
        let deadline = jobs[0].deadline;
        let overdue = |at, most| open.overdue(at, TEN_MINUTES, most);
        assert_eq!(overdue(deadline + TEN_MINUTES, 9), []);
        let late = deadline + TEN_MINUTES + Duration::from_millis(1);
        assert_eq!(overdue(late, 9), [jobs[0].id, jobs[2].id], "what is held is not overdue");
        assert_eq!(overdue(late, 1), [jobs[0].id]);
        say(&jobs[1], State::Started);
        say(&jobs[0], State::Superseded);
        assert_eq!(overdue(late, 9), [jobs[1].id, jobs[2].id]);
        open.forget(jobs[1].id);
        // What comes after an end that was forgotten tells of nobody new.
        say(&jobs[0], State::Retrying);
        assert_eq!(overdue(late, 9), [jobs[2].id]);
    }

    #[test]
    fn it_stays_within_its_bound() {
        let open = OpenJobs::default();
        let mut job = samples::job(JobId::mint(Timestamp::now(), None), "web");
        for _ in 0..MOST_OPEN + 10 {
            open.take_in(&Event::of(&job, State::Accepted, 0, 0));
            job.id = job.id.successor();
        }
        assert_eq!(open.open().len(), MOST_OPEN);
    }
}
