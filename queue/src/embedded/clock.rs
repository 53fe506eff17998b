//! The time by which jobs come back: never backwards, whatever is done to the machine's clock.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Microseconds since 1970.
pub(super) type Micros = u64;

/// The machine's clock as long as it goes forward; where it is set back, time goes on from where it was.
///
/// A job due in five seconds must not wait an hour because somebody mended the time zone, and a machine that
/// boots in 1970 must not hold its jobs once the right time is known.
#[derive(Debug)]
pub(super) struct Clock {
    anchor: Mutex<(Instant, Micros)>,
}

impl Clock {
    /// A clock that shows `at_least` or later: the last time the directory has seen.
    pub(super) fn starting_at(at_least: Micros) -> Clock {
        Clock { anchor: Mutex::new((Instant::now(), at_least.max(machine_time()))) }
    }

    /// The time now; never before a time told earlier.
    pub(super) fn now(&self) -> Micros {
        self.now_beside(machine_time())
    }

    fn now_beside(&self, machine: Micros) -> Micros {
        let mut anchor = self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, shown) = *anchor;
        let now = shown.saturating_add(micros(since.elapsed()));
        if machine > now {
            *anchor = (Instant::now(), machine);
        }
        now.max(machine)
    }
}

/// How much faster than time itself [`Age`] may run.
const CATCHES_UP: u32 = 25;

/// The time by which things grow old, and are dropped in the end. It follows the machine's clock at most so many times
/// faster than time runs: a clock that is a year ahead for an hour, or for as long as it takes to notice, must not cost
/// what is kept for a month.
#[derive(Debug)]
pub(super) struct Age {
    shown: Mutex<(Instant, Micros)>,
}

impl Age {
    /// Goes on from `shown`, the last time that was written; from the machine's where nothing was.
    pub(super) fn starting_at(shown: Option<Micros>) -> Age {
        Age { shown: Mutex::new((Instant::now(), shown.unwrap_or_else(machine_time))) }
    }

    /// The time now; never before one told earlier.
    pub(super) fn now(&self) -> Micros {
        self.now_beside(machine_time())
    }

    fn now_beside(&self, machine: Micros) -> Micros {
        let mut last = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, shown) = *last;
        let furthest = shown.saturating_add(micros(since.elapsed() * CATCHES_UP));
        let now = machine.clamp(shown, furthest);
        *last = (Instant::now(), now);
        now
    }
}

/// A span in whole microseconds, rounded up: nothing may come back too early.
pub(super) fn micros(span: Duration) -> Micros {
    u64::try_from(span.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX)
}

fn machine_time() -> Micros {
    SystemTime::now().duration_since(UNIX_EPOCH).map(micros).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Micros = 3_600_000_000;

    #[test]
    fn a_machine_clock_set_back_does_not_stop_the_time() {
        let start = machine_time() + HOUR;
        let clock = Clock::starting_at(start);
        let first = clock.now_beside(start - HOUR);
        assert!(first >= start && first < start + HOUR);
        std::thread::sleep(Duration::from_millis(2));
        assert!(clock.now_beside(start - HOUR) > first);
    }

    #[test]
    fn a_machine_clock_set_forward_is_followed() {
        let clock = Clock::starting_at(0);
        let ahead = machine_time() + HOUR;
        assert_eq!(clock.now_beside(ahead), ahead);
        assert!(clock.now_beside(ahead - HOUR) >= ahead);
    }

    #[test]
    fn nothing_grows_old_by_a_clock_that_is_ahead() {
        let right = machine_time();
        let age = Age::starting_at(Some(right));
        assert!(age.now_beside(right + 1000 * HOUR) < right + HOUR);
        let shown = age.now();
        assert!(age.now_beside(right - HOUR) >= shown, "nor younger by one that is behind");
    }

    #[test]
    fn what_was_missed_while_it_did_not_run_is_caught_up() {
        let age = Age::starting_at(Some(machine_time() - 200_000));
        std::thread::sleep(Duration::from_millis(20));
        let (aged, now) = (age.now(), machine_time());
        assert!(now - aged < 50_000, "{} µs behind", now - aged);
    }
}
