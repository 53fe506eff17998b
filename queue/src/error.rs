//! What can go wrong between a word and its way.

use std::{path::PathBuf, time::Duration};

use proto::PoolName;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why the queue did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// No worker ever served the pool, so there is nowhere for the job to wait.
    #[error("no worker has ever served the pool `{0}`")]
    NoPool(PoolName),
    /// The pool's queue is at its bound: come back later.
    #[error("the queue is full")]
    Full,
    /// Nothing was done: the engine cannot be reached.
    #[error("cannot reach the queue to {attempted}")]
    Unavailable {
        /// What was attempted.
        attempted: &'static str,
        /// Why it could not.
        #[source]
        source: Source,
    },
    /// Nobody knows whether it was done: no answer came in time. Doing the same again is harmless.
    #[error("the queue did not confirm in time that it could {attempted}")]
    Unconfirmed {
        /// What was attempted.
        attempted: &'static str,
    },
    /// No worker of the pool is there to be asked.
    #[error("no worker of the pool `{0}` is running")]
    NobodyAlive(PoolName),
    /// The question was put, and nobody answered in time.
    #[error("no worker of the pool `{pool}` answered within {within:?}")]
    NoAnswer {
        /// Who was asked.
        pool: PoolName,
        /// How long the answer was waited for.
        within: Duration,
    },
    /// The delivery went back to its pool while it was worked on.
    #[error("the job went back to its queue while it was worked on")]
    NotOurs,
    /// The engine was closed.
    #[error("the queue is closed")]
    Closed,
    /// Another process holds the directory.
    #[error("`{}` is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The disk or the files on it fail.
    #[error("cannot {attempted} in the queue's directory")]
    Storage {
        /// What was attempted.
        attempted: &'static str,
        /// Why it could not.
        #[source]
        source: Source,
    },
    /// The broker holds something else under a name of ours, or refuses it.
    #[error("the broker refuses `{name}`: {answer}")]
    Topology {
        /// Which exchange or queue.
        name: String,
        /// The broker's words.
        answer: String,
    },
    /// The settings cannot work.
    #[error("cannot use the queue's settings: {0}")]
    Settings(String),
}

impl QueueError {
    /// Whether the same call may succeed later, with nothing changed by people.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            QueueError::Full
            | QueueError::Unavailable { .. }
            | QueueError::Unconfirmed { .. }
            | QueueError::NobodyAlive(_)
            | QueueError::NoAnswer { .. }
            | QueueError::NotOurs => true,
            QueueError::NoPool(_)
            | QueueError::Closed
            | QueueError::InUse(_)
            | QueueError::Storage { .. }
            | QueueError::Topology { .. }
            | QueueError::Settings(_) => false,
        }
    }
}
