//! What happened since the process began, counted.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{backfill::Tally, problem::Kind};

/// Counts that only go up.
#[derive(Debug)]
pub(crate) struct Counters {
    accepted: AtomicU64,
    /// By the place of the kind in [`Kind::ALL`].
    refused: Vec<AtomicU64>,
    /// Missed deliveries.
    pub(crate) backfills: Tally,
}

impl Default for Counters {
    fn default() -> Counters {
        let refused = Kind::ALL.iter().map(|_| AtomicU64::new(0)).collect();
        Counters { accepted: AtomicU64::new(0), refused, backfills: Tally::default() }
    }
}

impl Counters {
    /// A job was made durable.
    pub(crate) fn accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// A hook was refused.
    pub(crate) fn refused(&self, kind: Kind) {
        if let Some(count) = self.refused.get(kind as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many jobs were made durable.
    pub(crate) fn jobs_accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// How many hooks were refused, by the reason; those that never happened are left out.
    pub(crate) fn hooks_refused(&self) -> impl Iterator<Item = (Kind, u64)> {
        let counts = self.refused.iter().map(|count| count.load(Ordering::Relaxed));
        Kind::ALL.iter().copied().zip(counts).filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_counted_under_its_own_name() {
        let counters = Counters::default();
        for kind in Kind::ALL {
            counters.refused(*kind);
        }
        counters.refused(Kind::QueueFull);
        let counts: Vec<(Kind, u64)> = counters.hooks_refused().collect();
        let expected = Kind::ALL.iter().map(|kind| (*kind, if *kind == Kind::QueueFull { 2 } else { 1 }));
        assert_eq!(counts, expected.collect::<Vec<_>>());
    }
}
