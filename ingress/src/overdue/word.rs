//! What was heard last of a job that has not ended.

use std::time::Duration;

use jiff::Timestamp;
use proto::{Event, Job, State, reason};

/// How often the time doubles after which a job is published once more.
const MOST_DOUBLINGS: u32 = 16;

/// The last word that was heard of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word {
    /// When it was said, or when the job could run, whichever is later.
    at: Timestamp,
    /// By that word it is in a queue: in nobody's hands, and held by nothing.
    waits: bool,
    /// How often its message was taken for lost.
    resent: u32,
}

impl Word {
    /// Of a job of which nothing was said yet but that it is there.
    pub(super) fn of(job: &Job) -> Word {
        Word { at: job.may_run_from(), waits: true, resent: 0 }
    }

    /// Takes in what is said next.
    pub(super) fn note(&mut self, event: &Event) {
        self.at = self.at.max(event.time);
        match event.state() {
            State::Accepted => {}
            State::Retrying => {
                self.waits = true;
                self.at = self.at.max(event.data.again_at.unwrap_or(event.time));
                let code = event.data.reason.as_ref().map(|reason| reason.code.as_ref());
                self.resent += u32::from(code == Some(reason::UNHEARD));
            }
            // Whoever began it watches it, or lost it with its connection: then its message comes again.
            State::Started
            | State::Progress
            | State::Held
            | State::Succeeded
            | State::RolledBack
            | State::Failed
            | State::Dead
            | State::Superseded
            | State::Rejected
            | State::Cancelled => self.waits = false,
        }
    }

    /// Takes this time for that of the last word.
    pub(super) fn heard_at(&mut self, now: Timestamp) {
        self.at = now;
    }

    /// Whether it waits by its last word, and that was said longer ago than `after`, doubled for each time the message was
    /// taken for lost.
    pub(super) fn is_long_ago(&self, now: Timestamp, after: Duration) -> bool {
        let patience = after.saturating_mul(1 << self.resent.min(MOST_DOUBLINGS));
        self.waits && now.checked_sub(patience).is_ok_and(|latest| self.at < latest)
    }
}

#[cfg(test)]
mod tests {
    use proto::{JobId, Reason};
    use queue::Position;

    use super::super::book::OpenJobs;
    use super::*;
    use crate::view::samples;

    #[test]
    fn a_job_is_unheard_of_while_it_waits_and_nobody_says_anything() {
        let job = samples::job(JobId::mint(Timestamp::now(), None), "web");
        let (id, begin, minute) = (job.id, job.may_run_from(), Duration::from_secs(60));
        let open = OpenJobs::default();
        let say = |state, why: Option<&'static str>, time| {
            let mut event = Event::of(&job, state, 1, rand::random());
            event.time = time;
            event.data.reason = why.map(|why| Reason::new(why, ""));
            open.take_in(Position(3), &event);
        };
        let unheard = |now| open.unheard(now, minute, 9) == [(id, Position(3))];
        say(State::Accepted, None, begin);
        assert!(!unheard(begin + minute) && unheard(begin + minute * 2));
        say(State::Retrying, Some(reason::BUSY), begin + minute);
        assert!(!unheard(begin + minute * 2) && unheard(begin + minute * 3));
        // Each time it takes twice as long.
        say(State::Retrying, Some(reason::UNHEARD), begin + minute * 3);
        assert!(!unheard(begin + minute * 5) && unheard(begin + minute * 6));
        open.let_rest(id, begin + minute * 6);
        assert!(!unheard(begin + minute * 8) && open.is_unheard(id, begin + minute * 9, minute));
        for state in [State::Started, State::Held] {
            say(state, None, begin + minute * 9);
            assert!(!unheard(begin + minute * 12), "{state}");
        }
        say(State::Retrying, Some(reason::INTERRUPTED), begin + minute * 12);
        assert!(unheard(begin + minute * 15));
        let mut later = Event::of(&job, State::Retrying, 2, rand::random());
        later.time = begin + minute * 12;
        later.data.again_at = Some(begin + minute * 40);
        open.take_in(Position(4), &later);
        assert!(!unheard(begin + minute * 42) && unheard(begin + minute * 43));
        // Past the longest that it may be held it is to be ended.
        assert!(!unheard(begin + Job::LONGEST_HOLD + minute));
    }
}
