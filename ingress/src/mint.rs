//! Ids above every id seen.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use proto::{Event, JobId};

/// Mints the ids of new jobs: each above every id this process has seen or minted.
///
/// It must have seen the history, or with the broker away the spool, before it mints; [`crate::Ingress::is_ready`] is the gate.
#[derive(Debug, Default)]
pub(crate) struct Mint {
    highest: Mutex<Option<JobId>>,
}

impl Mint {
    /// Takes notice of the ids in an event.
    pub(crate) fn see(&self, event: &Event) {
        self.see_id(event.data.by.into_iter().fold(event.job_id(), JobId::max));
    }

    /// Takes notice of an id.
    pub(crate) fn see_id(&self, seen: JobId) {
        let mut highest = self.highest.lock().unwrap_or_else(PoisonError::into_inner);
        *highest = (*highest).max(Some(seen));
    }

    /// The id of a job accepted at `now`.
    pub(crate) fn one(&self, now: Timestamp) -> JobId {
        let mut highest = self.highest.lock().unwrap_or_else(PoisonError::into_inner);
        let id = JobId::mint(now, *highest);
        *highest = Some(id);
        id
    }

    /// `count` ids in ascending order, all accepted at `now`.
    pub(crate) fn mint(&self, now: Timestamp, count: usize) -> Vec<JobId> {
        (0..count).map(|_| self.one(now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proto::State;

    use super::*;
    use crate::view::samples;

    #[test]
    fn ids_go_up_whatever_the_clock_and_the_history_say() {
        let mint = Mint::default();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let first = mint.mint(now, 2);
        assert!(first[0] < first[1]);
        let earlier = mint.mint(now - jiff::SignedDuration::from_hours(1), 1);
        assert!(earlier[0] > first[1]);
        let ahead = JobId::mint(now + jiff::SignedDuration::from_hours(9), None);
        mint.see(&Event::of(&samples::job(ahead, "web"), State::Accepted, 0, 0));
        assert!(mint.mint(now, 1)[0] > ahead);
        mint.see(&Event::of(&samples::job(first[0], "web"), State::Accepted, 0, 0));
        assert!(mint.mint(now, 1)[0] > ahead);
    }

    #[test]
    fn the_id_that_took_a_jobs_place_counts_too() {
        let mint = Mint::default();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let by = JobId::mint(now + jiff::SignedDuration::from_hours(1), None);
        let mut event = Event::of(&samples::job(JobId::mint(now, None), "web"), State::Superseded, 1, 0);
        event.data.by = Some(by);
        mint.see(&event);
        assert!(mint.mint(now, 1)[0] > by);
    }
}
