//! When a job that could not be carried out comes again.

use std::time::Duration;

use proto::Timestamp;

/// Pauses before the second, third, … attempt; the last one is kept from then on.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(120), Duration::from_secs(600)];

/// Most attempts that count. With the pauses above they fill about 95 minutes.
pub(crate) const MOST_ATTEMPTS: u32 = 12;

/// Part of a pause that jitter may take off, so that the jobs of one outage do not come back in one burst. Never
/// adds: a broker keeps one waiting place for each of the pauses, and what is a little longer than one waits in the next.
const JITTER: f64 = 0.2;

/// Why no attempt follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoMore {
    /// As many as may count have been made.
    Attempts,
    /// The job's deadline would have passed by then.
    Deadline,
}

/// The pause after `attempt` failed (counted from 1). `asked` is the pause that the system itself asked for, which is
/// kept where it is the longer one; `chance` lies in 0..1; `left` is the time until the job's deadline.
pub(crate) fn pause_after(
    attempt: u32,
    asked: Option<Duration>,
    chance: f64,
    left: Duration,
) -> Result<Duration, NoMore> {
    let step = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX).min(PAUSES.len() - 1);
    // `clamp` leaves what is no number as it is.
    let chance = if chance.is_nan() { 0.0 } else { chance.clamp(0.0, 1.0) };
    let pause = PAUSES[step].mul_f64(1.0 - JITTER * chance);
    if_it_may(attempt, pause.max(asked.unwrap_or_default()), left)
}

/// `pause` itself, unless `attempt` was the last or the deadline comes first.
pub(crate) fn if_it_may(attempt: u32, pause: Duration, left: Duration) -> Result<Duration, NoMore> {
    if attempt >= MOST_ATTEMPTS {
        return Err(NoMore::Attempts);
    }
    if pause >= left {
        return Err(NoMore::Deadline);
    }
    Ok(pause)
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

    fn rung(attempt: u32) -> Duration {
        PAUSES[(attempt.max(1) as usize - 1).min(PAUSES.len() - 1)]
    }

    /// Whatever may come in: attempts and pauses far beyond what is meant, chances that are no number.
    fn anything() -> impl Strategy<Value = (u32, Option<Duration>, f64, Duration)> {
        let attempt = prop_oneof![4 => 0..=MOST_ATTEMPTS + 2, 1 => any::<u32>()];
        let seconds = prop_oneof![4 => 0..5000u64, 1 => any::<u64>()];
        let span = (seconds, 0..1_000_000_000u32).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos));
        let chance = prop_oneof![4 => 0.0..1.0, 1 => any::<f64>()];
        (attempt, proptest::option::of(span.clone()), chance, span)
    }

    #[test]
    fn pauses_grow_and_end_with_the_last_attempt() {
        let pauses: Vec<_> = (1..=5).map(|n| pause_after(n, None, 0.0, HOUR).unwrap().as_secs()).collect();
        assert_eq!(pauses, [5, 30, 120, 600, 600]);
        assert_eq!(pause_after(MOST_ATTEMPTS, None, 0.0, HOUR), Err(NoMore::Attempts));
    }

    #[test]
    fn a_pause_that_the_system_asks_for_is_kept() {
        assert_eq!(pause_after(1, Some(HOUR / 2), 0.0, HOUR), Ok(HOUR / 2));
        assert_eq!(pause_after(1, Some(Duration::MAX), 0.0, HOUR), Err(NoMore::Deadline));
    }

    #[test]
    fn a_job_that_fails_for_ever_has_all_its_attempts_within_the_longest_deadline() {
        let mut left = Duration::from_secs(24 * 3600);
        let mut attempt = 1;
        while let Ok(pause) = pause_after(attempt, None, 0.0, left) {
            (left, attempt) = (left - pause, attempt + 1);
        }
        assert_eq!((attempt, pause_after(attempt, None, 0.0, left)), (MOST_ATTEMPTS, Err(NoMore::Attempts)));
    }

    #[test]
    fn a_held_job_is_looked_at_often_and_never_late() {
        let pause = |left| pause_while_held(Duration::from_secs(left)).as_secs();
        assert_eq!([0, 3, 5, 29, 30, 599, 600, 604_800].map(pause), [0, 3, 5, 5, 30, 120, 600, 600]);
    }

    proptest! {
        #[test]
        fn every_pause_is_of_its_rung_or_what_was_asked_and_ends_before_the_deadline(
            (attempt, asked, chance, left) in anything(),
        ) {
            match pause_after(attempt, asked, chance, left) {
                Ok(pause) => {
                    prop_assert!(attempt < MOST_ATTEMPTS);
                    prop_assert!(pause < left);
                    prop_assert!(pause >= rung(attempt).mul_f64(1.0 - JITTER), "{pause:?}");
                    prop_assert!(asked.is_none_or(|asked| pause >= asked), "{pause:?} undercuts {asked:?}");
                    prop_assert!(pause <= rung(attempt).max(asked.unwrap_or_default()), "{pause:?}");
                }
                Err(NoMore::Attempts) => prop_assert!(attempt >= MOST_ATTEMPTS),
                Err(NoMore::Deadline) => {
                    prop_assert!(attempt < MOST_ATTEMPTS);
                    prop_assert!(rung(attempt).max(asked.unwrap_or_default()) >= left);
                }
            }
        }

        #[test]
        fn the_time_left_never_underflows(seconds in -10_000_000_000i64..10_000_000_000) {
            let left = left_until(Timestamp::from_second(seconds).unwrap());
            prop_assert_eq!(left.is_zero(), seconds <= Timestamp::now().as_second());
        }
    }
}
