//! What is left out and put in, so that reading goes on after a fault.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::error::Trail;
use super::stand_in::CANDIDATES;

/// The repairs made to a tree so far; the tree itself stays as it is.
#[derive(Default)]
pub(super) struct Repairs {
    /// Entries and items left out.
    pruned: BTreeSet<Trail>,
    /// Fields put into maps that miss them, each with the candidate that stands in for its value.
    stand_ins: BTreeMap<Trail, Vec<(&'static str, usize)>>,
}

impl Repairs {
    pub(super) fn is_pruned(&self, trail: &Trail) -> bool {
        self.pruned.contains(trail)
    }

    /// The n-th field put into this map.
    pub(super) fn stand_in(&self, map: &Trail, index: usize) -> Option<(&'static str, usize)> {
        self.stand_ins.get(map)?.get(index).copied()
    }

    pub(super) fn has_stand_in(&self, map: &Trail, name: &str) -> bool {
        self.stand_ins.get(map).is_some_and(|fields| fields.iter().any(|(known, _)| *known == name))
    }

    /// Whether this value is repaired, or one inside it, so that what is said of it may follow from the repair.
    pub(super) fn touch(&self, trail: &Trail) -> bool {
        let from = (Bound::Included(trail.clone()), Bound::Unbounded);
        let pruned = self.pruned.range(from.clone()).next();
        let stand_in = self.stand_ins.range(from).next().map(|(trail, _)| trail);
        pruned.is_some_and(|inner| inner.starts_with(trail))
            || stand_in.is_some_and(|inner| inner.starts_with(trail))
    }

    /// Leaves a value out, or, when that was done before and did not help, what it stands in; false when that is the
    /// whole.
    pub(super) fn prune(&mut self, mut trail: Trail) -> bool {
        while !trail.is_empty() {
            if self.pruned.insert(trail.clone()) {
                return true;
            }
            trail.pop();
        }
        false
    }

    /// Puts a field in; false when it is there already.
    pub(super) fn put_in(&mut self, map: Trail, name: &'static str) -> bool {
        if self.has_stand_in(&map, name) {
            return false;
        }
        self.stand_ins.entry(map).or_default().push((name, 0));
        true
    }

    /// Takes the next candidate for a field; false when there is none left.
    pub(super) fn next_candidate(&mut self, map: &Trail, name: &str) -> bool {
        let fields = self.stand_ins.get_mut(map).into_iter().flatten();
        for (known, candidate) in fields {
            if *known == name && *candidate + 1 < CANDIDATES {
                *candidate += 1;
                return true;
            }
        }
        false
    }
}
