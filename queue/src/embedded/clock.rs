//! The time by which jobs come back, which never goes backwards, and the dates of what is said: whatever is done to the
//! machine's clock.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
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
    machine: Machine,
    anchor: Mutex<(Instant, Micros)>,
}

impl Clock {
    /// A clock that shows `at_least` or later: the last time the directory has seen.
    pub(super) fn starting_at(at_least: Micros, machine: Machine) -> Clock {
        let shown = at_least.max(machine.time());
        Clock { machine, anchor: Mutex::new((Instant::now(), shown)) }
    }

    /// The time now; never before a time told earlier.
    pub(super) fn now(&self) -> Micros {
        self.now_beside(self.machine.time())
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

/// How much faster than time itself [`Dated::age`] may run.
const CATCHES_UP: u32 = 25;

/// A clock that is set back by no more than this is waited for: it is not worth dating anything anew.
const APART: Micros = 2 * 60 * 1_000_000;

/// How old a directory is, by its own clock, until that clock is trusted more than the machine's.
const YOUNG: Micros = 24 * 60 * 60 * 1_000_000;

/// The year before this was written began here (2026-01-01): whatever shows less was never set.
const NO_EARLIER: Micros = 1_767_225_600_000_000;

/// What is said now, and how old what was said is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dated {
    /// When: what was dated later before is dated anew.
    pub(super) written: Micros,
    /// By which things are old, and are dropped in the end.
    pub(super) age: Micros,
    /// The first [`Dated::age`] of this directory.
    pub(super) born: Micros,
}

/// Dates the history and the letters, on a machine whose clock may be wrong for a while.
///
/// - [`Dated::age`] never goes back, and follows the machine's clock at most so many times faster than time runs: a clock
///   that is a year ahead for an hour, or for as long as it takes to notice, must not cost what is kept for a month.
/// - [`Dated::written`] follows the machine's clock at once, since nobody can tell a clock that is ahead from a machine
///   that was switched off; who asks for what was written since a time must not miss anything. Where that clock
///   is set back the date goes back with it, as soon as that is not behind the age: a machine that boots in 1970 is not
///   believed.
/// - A directory that is new knows nothing better than the machine's clock, and follows it back too.
#[derive(Debug)]
pub(super) struct Dates {
    machine: Machine,
    last: Mutex<(Instant, Dated)>,
}

impl Dates {
    /// Goes on from what was noted last; begins where nothing was.
    pub(super) fn starting_at(noted: Option<Dated>, machine: Machine) -> Dates {
        let now = machine.time();
        let dated = noted.unwrap_or(Dated { written: now, age: now, born: now });
        Dates { machine, last: Mutex::new((Instant::now(), dated)) }
    }

    /// What is written now.
    pub(super) fn now(&self) -> Dated {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, dated) = *last;
        let now = dated.after(since.elapsed(), self.machine.time());
        *last = (Instant::now(), now);
        now
    }
}

impl Dated {
    /// What it is after so long, on a machine that shows this time.
    fn after(self, elapsed: Duration, machine: Micros) -> Dated {
        let Dated { age, born, .. } = self.believing(machine);
        let age = machine.clamp(age, age.saturating_add(micros(elapsed * CATCHES_UP)));
        let is_set_back = self.written > machine.saturating_add(APART) && machine >= age;
        let written = if is_set_back { machine } else { self.written.max(machine) };
        Dated { written, age, born }
    }

    /// Begins anew with the machine's time where its own cannot be right, or may as well be wrong.
    fn believing(self, machine: Micros) -> Dated {
        let was_never_set = self.age < NO_EARLIER;
        let may_be_ahead =
            self.age - self.born.min(self.age) < YOUNG && self.age > machine.saturating_add(APART);
        if machine >= NO_EARLIER && (was_never_set || may_be_ahead) {
            Dated { age: machine, born: machine, ..self }
        } else {
            self
        }
    }
}

/// The machine's clock; tests have one of their own.
#[derive(Clone)]
pub(super) struct Machine(Arc<dyn Fn() -> Micros + Send + Sync>);

impl Machine {
    #[cfg(test)]
    pub(super) fn showing(time: impl Fn() -> Micros + Send + Sync + 'static) -> Machine {
        Machine(Arc::new(time))
    }

    fn time(&self) -> Micros {
        (self.0)()
    }
}

impl Default for Machine {
    fn default() -> Machine {
        Machine(Arc::new(machine_time))
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Machine").field(&self.time()).finish()
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
        let clock = Clock::starting_at(start, Machine::default());
        let first = clock.now_beside(start - HOUR);
        assert!(first >= start && first < start + HOUR);
        std::thread::sleep(Duration::from_millis(2));
        assert!(clock.now_beside(start - HOUR) > first);
    }

    #[test]
    fn a_machine_clock_set_forward_is_followed() {
        let clock = Clock::starting_at(0, Machine::default());
        let ahead = machine_time() + HOUR;
        assert_eq!(clock.now_beside(ahead), ahead);
        assert!(clock.now_beside(ahead - HOUR) >= ahead);
    }

    const DAY: Micros = 24 * HOUR;
    const YEAR: Micros = 365 * DAY;
    /// A second of a running program.
    const SECOND: Duration = Duration::from_secs(1);

    /// One that has run for long on a clock that was right.
    fn settled(now: Micros) -> Dated {
        Dated { written: now, age: now, born: now - YEAR }
    }

    #[test]
    fn nothing_grows_old_by_a_clock_that_is_ahead() {
        let right = machine_time();
        let ahead = settled(right).after(SECOND, right + YEAR);
        assert_eq!((ahead.written, ahead.age), (right + YEAR, right + micros(SECOND * CATCHES_UP)));
        let behind = ahead.after(SECOND, right - HOUR);
        assert_eq!(behind.age, ahead.age, "nor younger by one that is behind");
    }

    #[test]
    fn what_was_missed_while_it_did_not_run_is_caught_up() {
        let right = machine_time();
        let mut dated = settled(right - DAY);
        assert_eq!(dated.after(SECOND, right).written, right, "and is dated so at once");
        for _ in 0..3600 {
            dated = dated.after(SECOND, right);
        }
        assert_eq!(dated.age, right);
    }

    #[test]
    fn a_clock_that_was_ahead_dates_nothing_any_more_once_it_was_mended() {
        let right = machine_time();
        let ahead = settled(right).after(SECOND, right + YEAR);
        let not_yet = ahead.after(SECOND, right + 1);
        assert_eq!(not_yet.written, ahead.written, "the age is ahead of it for twenty-five times as long");
        let mended = not_yet.after(SECOND, right + HOUR);
        assert_eq!(mended.written, right + HOUR);
        assert_eq!(mended.after(SECOND, right + HOUR + 1).written, right + HOUR + 1);
    }

    #[test]
    fn a_clock_that_is_behind_is_not_believed() {
        let right = machine_time();
        for behind in [0, right - YEAR, right - HOUR] {
            assert_eq!(settled(right).after(SECOND, behind), settled(right));
        }
        let slightly = Dated { written: right, ..settled(right - DAY) };
        assert_eq!(slightly.after(SECOND, right - APART).written, right, "is waited for");
    }

    #[test]
    fn a_directory_that_is_new_knows_nothing_better() {
        let right = machine_time();
        let begun = |now: Micros| Dated { written: now, age: now, born: now }.after(SECOND, now + HOUR);
        let (ahead, never_set) = (begun(right + YEAR), begun(HOUR));
        let anew = Dated { written: right, age: right, born: right };
        assert_eq!(ahead.after(SECOND, right), anew);
        assert_eq!(never_set.after(SECOND, right), anew);
        assert_eq!(ahead.after(SECOND, HOUR), ahead, "but for a clock that shows 1970");
    }
}
