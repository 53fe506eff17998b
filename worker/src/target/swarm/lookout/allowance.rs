//! How often an engine may be asked for a list.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// One list a second.
const EVERY: Duration = Duration::from_secs(1);
/// What was saved up while nobody asked: an end is told at once where it is not one of many.
const MOST_SAVED: u32 = 3;

/// One a second in the long run, a few at once after a pause.
pub(super) struct Allowance {
    /// When all that can be saved will have been.
    full_at: Instant,
}

impl Allowance {
    pub(super) fn new(now: Instant) -> Allowance {
        Allowance { full_at: now }
    }

    /// Waits until one more is allowed.
    pub(super) async fn take(&mut self) {
        let due = self.spend(Instant::now());
        sleep_until(due).await;
    }

    /// When the next one is allowed; it counts as taken.
    fn spend(&mut self, now: Instant) -> Instant {
        self.full_at = self.full_at.max(now) + EVERY;
        // The one that empties what was saved is allowed at once, the next must wait for it to fill.
        self.full_at.checked_sub(EVERY * MOST_SAVED).map_or(now, |due| due.max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many milliseconds each is allowed when it is asked for at `asked`.
    fn allowed(asked: &[u64]) -> Vec<u128> {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        let due = asked.iter().map(|at| allowance.spend(start + Duration::from_millis(*at)));
        due.map(|due| due.duration_since(start).as_millis()).collect()
    }

    #[test]
    fn a_few_at_once_then_one_a_second() {
        assert_eq!(allowed(&[0, 0, 0, 0, 0]), [0, 0, 0, 1000, 2000]);
    }

    #[test]
    fn who_asks_once_a_second_is_never_kept_waiting() {
        assert_eq!(allowed(&[0, 1000, 2000, 3000, 3000, 3100]), [0, 1000, 2000, 3000, 3000, 3100]);
    }

    #[test]
    fn a_pause_saves_no_more_than_a_few() {
        assert_eq!(allowed(&[60_000, 60_000, 60_000, 60_000]), [60_000, 60_000, 60_000, 61_000]);
    }
}
