//! Missed deliveries, counted.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What became of a missed delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    /// It made a job at least.
    Deployed,
    /// Its jobs had been made before.
    Known,
    /// Everything it is for has been wished otherwise since.
    Outdated,
    /// It deploys nothing.
    Ignored,
    /// GitHub has nothing of it that could be read.
    Unusable,
}

impl Fate {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Fate::Deployed => "deployed",
            Fate::Known => "known",
            Fate::Outdated => "outdated",
            Fate::Ignored => "ignored",
            Fate::Unusable => "unusable",
        }
    }
}

/// Counts that only go up, by source.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    fates: Mutex<BTreeMap<(String, Fate), u64>>,
    failed: Mutex<BTreeMap<String, u64>>,
}

impl Tally {
    /// A missed delivery was settled.
    pub(super) fn settled(&self, source: &str, fate: Fate) {
        *locked(&self.fates).entry((source.to_owned(), fate)).or_default() += 1;
    }

    /// GitHub could not be asked.
    pub(super) fn failed(&self, source: &str) {
        *locked(&self.failed).entry(source.to_owned()).or_default() += 1;
    }

    /// How many missed deliveries were settled, by source and fate.
    pub(crate) fn fates(&self) -> Vec<((String, Fate), u64)> {
        locked(&self.fates).clone().into_iter().collect()
    }

    /// How often GitHub could not be asked, by source.
    pub(crate) fn failures(&self) -> Vec<(String, u64)> {
        locked(&self.failed).clone().into_iter().collect()
    }
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
