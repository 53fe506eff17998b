//! When a target may be deployed, by the clocks on the walls of its time zones.
//!
//! A window carries all that is needed to tell whether it is open: workers obey it, and read no configuration for it.

mod period;
#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use period::{Clock, Days, Period, Span, WindowError, Zone};

/// How far ahead an opening is looked for. Every window of days and hours opens within a week, unless a freeze
/// is longer.
const AHEAD: SignedDuration = SignedDuration::from_hours(400 * 24);

/// How far back openings are counted: nothing waits that long.
const BACK: SignedDuration = SignedDuration::from_hours(60 * 24);

/// Most changes that are looked at one after the other, whatever the periods of a window are.
const MOST_CHANGES: usize = 10_000;

/// The times in which a target may be deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// As the configuration calls it.
    pub name: String,
    /// It is open in each of these that is no freeze, always where all are, and never in a freeze.
    pub periods: Vec<Period>,
}

impl Window {
    /// Whether it is open at `now`.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        let (freezes, openings): (Vec<&Period>, Vec<&Period>) =
            self.periods.iter().partition(|period| period.freeze);
        (openings.is_empty() || openings.iter().any(|period| period.covers(now)))
            && !freezes.iter().any(|period| period.covers(now))
    }

    /// The first time from `from` on at which it is open; none where there is none within a year.
    #[must_use]
    pub fn opens(&self, from: Timestamp) -> Option<Timestamp> {
        self.first(from, true)
    }

    /// The first time from `from` on at which it is closed; none where there is none within a year.
    #[must_use]
    pub fn closes(&self, from: Timestamp) -> Option<Timestamp> {
        self.first(from, false)
    }

    /// Since when it has been open last, at most since `from`: also where it has closed again before `now`. None
    /// where it was never open between the two.
    #[must_use]
    pub fn open_since(&self, from: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let from = from.max(now.checked_sub(BACK).unwrap_or(from));
        let mut since = self.opens(from).filter(|at| *at <= now)?;
        for _ in 0..MOST_CHANGES {
            let next = self.closes(since).and_then(|closed| self.opens(closed));
            match next.filter(|at| *at <= now) {
                Some(next) => since = next,
                None => break,
            }
        }
        Some(since)
    }

    fn first(&self, from: Timestamp, open: bool) -> Option<Timestamp> {
        let until = from.checked_add(AHEAD).unwrap_or(Timestamp::MAX);
        let mut at = from;
        for _ in 0..MOST_CHANGES {
            if self.is_open(at) == open {
                return Some(at);
            }
            // Nothing changes between two of these.
            at = self.periods.iter().filter_map(|period| period.next_edge(at)).min()?;
            if at > until {
                return None;
            }
        }
        None
    }
}
