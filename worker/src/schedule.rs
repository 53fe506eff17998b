//! When a job that could not be carried out comes again.

use std::time::Duration;

use proto::Timestamp;

/// Pauses before the second, third, … attempt; the last one is kept from then on.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(120), Duration::from_secs(600)];

/// Most attempts that count. With the pauses above they fill about 95 minutes.
pub(crate) const MOST_ATTEMPTS: u32 = 12;

/// Part of a pause that jitter may add, so that the jobs of one outage do not come back in one burst.
const JITTER: f64 = 0.2;

/// The pause after `attempt` failed (counted from 1); `None` after the last, or when the job's deadline would
/// have passed by then. `asked` is the pause that the system itself asked for; `chance` lies in 0..1.
pub(crate) fn pause_after(
    attempt: u32,
    asked: Option<Duration>,
    chance: f64,
    left: Duration,
) -> Option<Duration> {
    if attempt >= MOST_ATTEMPTS {
        return None;
    }
    let step = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX).min(PAUSES.len() - 1);
    let pause = PAUSES[step].mul_f64(1.0 + JITTER * chance.clamp(0.0, 1.0)).max(asked.unwrap_or_default());
    (pause < left).then_some(pause)
}

/// The pause before a job is looked at again that may not run for `left`: the longest that does not overshoot.
pub(crate) fn pause_while_held(left: Duration) -> Duration {
    PAUSES.into_iter().rev().find(|pause| *pause <= left).unwrap_or(left)
}

/// The time left until `deadline`, zero once it has passed.
pub(crate) fn left_until(deadline: Timestamp) -> Duration {
    Duration::try_from(deadline.duration_since(Timestamp::now())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn pauses_grow_and_end_with_the_last_attempt() {
        let pauses: Vec<_> = (1..=5).map(|n| pause_after(n, None, 0.0, HOUR).unwrap().as_secs()).collect();
        assert_eq!(pauses, [5, 30, 120, 600, 600]);
        assert_eq!(pause_after(MOST_ATTEMPTS, None, 0.0, HOUR), None);
    }

    #[test]
    fn a_pause_that_the_system_asks_for_is_kept() {
        assert_eq!(pause_after(1, Some(HOUR / 2), 0.0, HOUR), Some(HOUR / 2));
    }

    #[test]
    fn a_held_job_is_looked_at_often_and_never_late() {
        let pause = |left| pause_while_held(Duration::from_secs(left)).as_secs();
        assert_eq!([0, 3, 5, 29, 30, 599, 600, 604_800].map(pause), [0, 3, 5, 5, 30, 120, 600, 600]);
    }

    proptest! {
        #[test]
        fn every_pause_is_bounded_and_ends_before_the_deadline(
            attempt in 0u32..100, chance in 0.0..1.0f64, left in 0u64..5000, asked in proptest::option::of(0u64..900),
        ) {
            let left = Duration::from_secs(left);
            if let Some(pause) = pause_after(attempt, asked.map(Duration::from_secs), chance, left) {
                prop_assert!(attempt < MOST_ATTEMPTS);
                prop_assert!(pause < left);
                prop_assert!(pause >= PAUSES[0]);
                prop_assert!(pause <= Duration::from_secs(900).max(PAUSES[3].mul_f64(1.0 + JITTER)));
            }
        }
    }
}
