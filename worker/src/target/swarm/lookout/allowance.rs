//! How often an engine may be asked for a list.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// What was saved up while nobody asked: an end is told at once where it is not one of many.
const MOST_SAVED: f64 = 3.0;

/// So many a second in the long run, a few at once after a pause.
pub(super) struct Allowance {
    /// Lists that may be asked for at once; less than nothing where one is waited for.
    saved: f64,
    at: Instant,
}

impl Allowance {
    pub(super) fn new(now: Instant) -> Allowance {
        Allowance { saved: MOST_SAVED, at: now }
    }

    /// Waits until one more is allowed, of which there is one `every` so long.
    pub(super) async fn take(&mut self, every: Duration) {
        let due = self.spend(Instant::now(), every);
        sleep_until(due).await;
    }

    /// When the next one is allowed; it counts as taken.
    fn spend(&mut self, now: Instant, every: Duration) -> Instant {
        let earned = now.duration_since(self.at).div_duration_f64(every);
        // No more than one is waited for at a time, whatever became of those who waited before.
        self.saved = ((self.saved + earned).min(MOST_SAVED) - 1.0).max(-1.0);
        self.at = now;
        now + every.mul_f64((-self.saved).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many milliseconds each is allowed when it is asked for at `asked`, one a second.
    fn allowed(asked: &[u64]) -> Vec<u128> {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        let second = Duration::from_secs(1);
        let due = asked.iter().map(|at| allowance.spend(start + Duration::from_millis(*at), second));
        due.map(|due| due.duration_since(start).as_millis()).collect()
    }

    #[test]
    fn a_few_at_once_then_one_a_second() {
        assert_eq!(allowed(&[0, 0, 0, 0]), [0, 0, 0, 1000]);
    }

    #[test]
    fn who_asks_more_seldom_than_it_is_allowed_saves_some_for_the_end() {
        assert_eq!(
            allowed(&[0, 0, 0, 1250, 2500, 3750, 5000, 5000]),
            [0, 0, 0, 1250, 2500, 3750, 5000, 5000]
        );
    }

    #[test]
    fn who_waits_for_nothing_but_time_has_two_for_the_end() {
        let asked = [0, 0, 0, 300, 2300, 4300, 5000, 5050];
        assert_eq!(allowed(&asked), [0, 0, 0, 1000, 2300, 4300, 5000, 5050]);
    }

    #[test]
    fn a_pause_saves_no_more_than_a_few() {
        assert_eq!(allowed(&[60_000; 4]), [60_000, 60_000, 60_000, 61_000]);
    }
}
