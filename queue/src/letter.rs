//! What could not be carried out, kept until somebody replays or discards it.

use std::{fmt, str::FromStr, sync::Arc};

use bytes::Bytes;
use jiff::Timestamp;
use proto::{Job, JobId, PoolName, Reason};
use serde::{Deserialize, Serialize};

/// How many dead letters [`crate::Queue::dead_letters`] gives at most: the newest.
pub const MOST_LETTERS: usize = 10_000;

/// How many bytes the bodies of those letters may have together; beyond that the oldest are left out.
pub const MOST_LETTER_BYTES: usize = 64 << 20;

/// How many of what was for an ingress are given beside those. Their senders may be many, and hide no job's letter.
pub const MOST_SUBMITTED: usize = 1_000;

/// How many bytes the bodies of those may have together.
pub const MOST_SUBMITTED_BYTES: usize = 16 << 20;

/// How many letters of a kind are listed, and how many bytes of bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) letters: usize,
    pub(crate) bytes: usize,
}

impl Bound {
    pub(crate) const JOBS: Bound = Bound { letters: MOST_LETTERS, bytes: MOST_LETTER_BYTES };
    pub(crate) const SUBMITTED: Bound = Bound { letters: MOST_SUBMITTED, bytes: MOST_SUBMITTED_BYTES };
}

/// A dead letter's place among all that ever died; later letters have greater ones, with gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LetterId(pub u64);

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for LetterId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<LetterId, Self::Err> {
        text.parse().map(LetterId)
    }
}

/// A job, or what should have been one, that could not be carried out.
///
/// One job may have several: a crash between writing the letter and taking the job from its queue leaves
/// a copy. Whoever closes a job's letter closes every letter of the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its place; what [`crate::Queue::close_letter`] asks for.
    pub id: LetterId,
    /// The body as it came, which may be anything.
    pub body: Bytes,
    /// The pool it waited in; none where nobody can tell any more.
    pub pool: Option<PoolName>,
    /// Which attempt was its last, from 1; 0 where nobody ever took it.
    pub attempts: u32,
    /// Why it died.
    pub reason: Reason,
    /// When it died. Of a letter that the broker itself wrote this may be somewhat early.
    pub died_at: Timestamp,
    /// It was for an ingress, from whoever may write there: no job, whatever stands in it.
    pub submitted: bool,
    /// Who left it, where it reads like a job's letter and is held for submitted only because its publisher is none of
    /// the names that the fleet is known to log in under. Anybody who may write there can make one.
    pub left_by: Option<String>,
}

/// Which dead letters are wanted.
pub type LetterFilter = Arc<dyn Fn(&DeadLetter) -> bool + Send + Sync>;

/// The letters of one job.
pub(crate) fn of_job(job: JobId) -> LetterFilter {
    Arc::new(move |letter| letter.job().is_some_and(|dead| dead.id == job))
}

impl DeadLetter {
    /// The job in it; none when this version cannot read it as one, or it never was one.
    #[must_use]
    pub fn job(&self) -> Option<Job> {
        if self.submitted { None } else { Job::decode(&self.body).ok() }
    }

    /// The job that would be in it, and who left it, once that name is known for one of the fleet's.
    #[must_use]
    pub fn left_behind(&self) -> Option<(Job, &str)> {
        let left_by = self.left_by.as_deref()?;
        Job::decode(&self.body).ok().map(|job| (job, left_by))
    }
}

/// Why a dead letter needs no more attention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "closed", rename_all = "kebab-case")]
pub enum Closed {
    /// A new job stands for it. Publish that job first: a crash in between leaves the letter open.
    Replayed {
        /// The new job.
        by: JobId,
    },
    /// Nobody wants it carried out any more.
    Discarded {
        /// Who said so, where it is known.
        by: Option<String>,
    },
}
