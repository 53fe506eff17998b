//! Ids above every id seen.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use proto::{Event, JobId};

/// Mints the ids of new jobs: each above every id this process has seen or minted.
///
/// It must have seen the history, or with the broker away the spool, before it mints; [`crate::Ingress::is_ready`] is the gate.
#[derive(Debug, Default)]
pub(crate) struct Mint {
    highest: Mutex<Option<JobId>>,
    /// How far this machine's clock is known to be behind the broker's.
    behind: Mutex<Duration>,
}

impl Mint {
    /// The time by which jobs are dated: the broker's, where this machine's clock is far behind that. Workers with a
    /// right clock would take what it dates for late.
    pub(crate) fn now(&self) -> Timestamp {
        let behind = *self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Timestamp::now();
        now.checked_add(behind).unwrap_or(now)
    }

    /// Takes notice of how far this machine's clock is behind.
    pub(crate) fn set_behind(&self, behind: Duration) {
        *self.behind.lock().unwrap_or_else(PoisonError::into_inner) = behind;
    }

    /// Takes notice of the ids in an event.
    pub(crate) fn see(&self, event: &Event) {
        self.see_id(event.data.by.into_iter().fold(event.job_id(), JobId::max));
    }

    /// Takes notice of an id.
    pub(crate) fn see_id(&self, seen: JobId) {
        if !seen.leaves_room() {
            tracing::warn!(id = %seen, "no later id can be ordered after this one: it is passed over");
            return;
        }
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
    use jiff::SignedDuration;
    use proto::State;

    use super::*;
    use crate::view::samples;

    #[test]
    fn ids_go_up_whatever_the_clock_and_the_history_say() {
        let mint = Mint::default();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let first = mint.mint(now, 2);
        assert!(first[0] < first[1]);
        let earlier = mint.mint(now - SignedDuration::from_hours(1), 1);
        assert!(earlier[0] > first[1]);
        let ahead = JobId::mint(now + SignedDuration::from_hours(9), None);
        mint.see(&Event::of(&samples::job(ahead, "web"), State::Accepted, 0, 0));
        assert!(mint.mint(now, 1)[0] > ahead);
        mint.see(&Event::of(&samples::job(first[0], "web"), State::Accepted, 0, 0));
        assert!(mint.mint(now, 1)[0] > ahead);
    }

    #[test]
    fn what_a_clock_that_is_behind_dates_is_dated_by_the_brokers() {
        let (mint, before) = (Mint::default(), Timestamp::now());
        assert!(mint.now().duration_since(before) < SignedDuration::from_hours(1));
        mint.set_behind(Duration::from_secs(2 * 3600));
        assert!(mint.now().duration_since(before) >= SignedDuration::from_hours(2));
    }

    #[test]
    fn an_id_at_the_end_of_time_does_not_drag_ours_beyond_it() {
        let mint = Mint::default();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let forged = |before: SignedDuration| JobId::mint(JobId::END_OF_TIME - before, None);
        mint.see_id(forged(SignedDuration::from_millis(1)));
        let next = mint.mint(now, 1)[0];
        assert_eq!(next.time(), now);
        assert_eq!(next.to_string().parse(), Ok(next));
        // Whatever else can be read as an id, the next one is above it, and can be read too.
        let late = forged(SignedDuration::from_hours(12));
        assert_eq!(late.to_string().parse(), Ok(late));
        mint.see_id(late);
        let next = mint.mint(now, 1)[0];
        assert!(next > late);
        assert_eq!(next.to_string().parse(), Ok(next));
    }

    #[test]
    fn two_replicas_whose_clocks_differ_order_wishes_as_they_were_made() {
        let (right, behind) = (Mint::default(), Mint::default());
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let mut last = None;
        for n in 0..100 {
            let (mint, other, clock) = match n % 2 {
                0 => (&right, &behind, now),
                _ => (&behind, &right, now - SignedDuration::from_secs(30)),
            };
            let id = mint.mint(clock + SignedDuration::from_millis(n), 1)[0];
            assert!(Some(id) > last, "{n}");
            other.see(&Event::of(&samples::job(id, "web"), State::Accepted, 0, 0));
            last = Some(id);
        }
    }

    #[test]
    fn the_id_that_took_a_jobs_place_counts_too() {
        let mint = Mint::default();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let by = JobId::mint(now + SignedDuration::from_hours(1), None);
        let mut event = Event::of(&samples::job(JobId::mint(now, None), "web"), State::Superseded, 1, 0);
        event.data.by = Some(by);
        mint.see(&event);
        assert!(mint.mint(now, 1)[0] > by);
    }
}
