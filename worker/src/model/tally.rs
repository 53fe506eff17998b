//! What was done in a sequence, what came of it, and the same of many.

use std::{collections::BTreeMap, fmt};

use proto::State;

/// What was done in a sequence.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) crashes: usize,
    pub(super) stops: usize,
    pub(super) freezes: usize,
    pub(super) copies: usize,
    pub(super) cancels: usize,
    pub(super) reopened: usize,
    pub(super) engine_crashes: usize,
}

/// A sequence in which everything was as it must be.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) ends: BTreeMap<State, usize>,
    /// How many late writes were undone.
    pub(super) put_back: usize,
    pub(super) void_ends: usize,
    pub(super) tally: Tally,
}

/// Many of them.
#[derive(Debug, Default)]
pub(super) struct Sum {
    ends: BTreeMap<State, usize>,
    put_back: usize,
    void_ends: usize,
    tally: Tally,
}

impl Sum {
    pub(super) fn put_back(&self) -> usize {
        self.put_back
    }

    pub(super) fn add(&mut self, account: &Account) {
        account.ends.iter().for_each(|(state, count)| *self.ends.entry(*state).or_default() += count);
        self.put_back += account.put_back;
        self.void_ends += account.void_ends;
        let (sum, one) = (&mut self.tally, &account.tally);
        sum.crashes += one.crashes;
        sum.stops += one.stops;
        sum.freezes += one.freezes;
        sum.copies += one.copies;
        sum.cancels += one.cancels;
        sum.reopened += one.reopened;
        sum.engine_crashes += one.engine_crashes;
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { crashes, stops, freezes, copies, cancels, reopened, engine_crashes } = self.tally;
        let ends: Vec<String> = self.ends.iter().map(|(state, count)| format!("{count} {state}")).collect();
        write!(
            f,
            "{} jobs ({}), {} put back, {} ends said again; {crashes} crashes, {stops} stops, {freezes} freezes, \
             {copies} copies, {cancels} cancels, {reopened} times closed, {engine_crashes} crashes of the engine",
            self.ends.values().sum::<usize>(),
            ends.join(", "),
            self.put_back,
            self.void_ends,
        )
    }
}
