//! What is kept of the past, and how much may wait.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::Keep;

/// How many entries of the history are kept at most, of those that decide nothing any more: at four or five events a
/// job, fifty thousand jobs.
const ENTRIES: u64 = 250_000;

/// How long what was said decides at most: the longest hold that a target may have, and twice the longest deadline.
const LONGEST_SPAN: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How often it is looked whether the file has room to give back, beside when it is opened.
const COMPACTED_EVERY: Duration = Duration::from_secs(10 * 60);

/// It is compacted while it is in use where no more than so many bytes are left in it: everybody waits meanwhile, about a
/// second.
const COMPACTED_IN_USE: u64 = 128 << 20;

/// Old entries are looked for once in so many new ones, and at most this many times two are dropped at once:
/// no caller waits for a long clean-up.
pub(super) const PRUNE_EVERY: u64 = 256;

/// What is kept of the past, and how much may wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retention {
    /// How long entries of the history are kept.
    pub(super) age: Duration,
    /// How many entries of the history are kept at most, but for those that decide.
    pub(super) entries: u64,
    /// How long an entry of the history decides: it is kept for so long, however many there are.
    pub(super) decides: Duration,
    /// How many bytes the history has at most, whatever becomes of it.
    pub(super) bytes: u64,
    /// How long dead letters are kept.
    pub(super) letters_age: Duration,
    /// How many bytes they have at most.
    pub(super) letters_bytes: u64,
    /// How many jobs may wait at most, in all pools together.
    pub(super) jobs: u64,
    /// How many bytes they have at most.
    pub(super) jobs_bytes: u64,
    /// How often it is looked whether the file has room to give back.
    pub(super) compacted_every: Duration,
    /// How many bytes may be left in a file that is compacted then; a larger one is, when it is opened.
    pub(super) compacted_in_use: u64,
}

/// For what was taken once already: bounds are for what comes in. Old entries go with the next that is new.
pub(super) const EVERYTHING: Retention = Retention {
    age: Duration::MAX,
    entries: u64::MAX,
    decides: Duration::MAX,
    bytes: u64::MAX,
    letters_age: Duration::MAX,
    letters_bytes: u64::MAX,
    jobs: u64::MAX,
    jobs_bytes: u64::MAX,
    compacted_every: Duration::MAX,
    compacted_in_use: 0,
};

impl From<Keep> for Retention {
    fn from(Keep { history, letters, waiting }: Keep) -> Retention {
        Retention {
            age: history.age.0,
            entries: ENTRIES,
            decides: LONGEST_SPAN,
            bytes: history.bytes.0,
            letters_age: letters.age.0,
            letters_bytes: letters.bytes.0,
            jobs: waiting.jobs,
            jobs_bytes: waiting.bytes.0,
            compacted_every: COMPACTED_EVERY,
            compacted_in_use: COMPACTED_IN_USE,
        }
    }
}

/// How much waits, as of the last write: for whoever asks before it writes.
#[derive(Debug)]
pub(super) struct Load {
    jobs: AtomicU64,
    bytes: AtomicU64,
}

impl Load {
    pub(super) fn of((jobs, bytes): (u64, u64)) -> Load {
        Load { jobs: jobs.into(), bytes: bytes.into() }
    }

    pub(super) fn set(&self, (jobs, bytes): (u64, u64)) {
        self.jobs.store(jobs, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Whether so many jobs more with so many bytes are within the bounds.
    pub(super) fn leaves_room(&self, bounds: &Retention, jobs: u64, bytes: u64) -> bool {
        self.jobs.load(Ordering::Relaxed).saturating_add(jobs) <= bounds.jobs
            && self.bytes.load(Ordering::Relaxed).saturating_add(bytes) <= bounds.jobs_bytes
    }
}
