//! Handing the dead letters that the embedded queue left to the broker, where they are seen.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
};

use proto::PoolName;

use super::Inner;
use crate::{Closed, DeadLetter, LetterId, Queue, QueueError};

/// Whose decision it is to close a letter that the broker has now.
const HANDED_OVER: &str = "handed to the broker";

/// Whether letters may lie in the directory: nobody has looked yet, or not all were handed over. None come to it
/// while it is a spool.
pub(super) struct Left(AtomicBool);

impl Default for Left {
    fn default() -> Left {
        Left(AtomicBool::new(true))
    }
}

impl Left {
    pub(super) fn may_be(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Hands the open letters to the broker, each confirmed there before it is closed here; a crash in between leaves
/// a copy. Stops for jobs that come to wait meanwhile. A letter that the broker refuses stays where it is.
///
/// # Errors
/// When the broker is away, or the directory cannot be read or written.
pub(super) async fn hand_over(inner: &Inner) -> Result<(), QueueError> {
    let mut handing = Handing { inner, refused: HashSet::new(), done: 0 };
    let outcome = handing.hand_over().await;
    if handing.done > 0 {
        let letters = handing.done;
        tracing::info!(letters, "dead letters of the embedded queue were handed to the broker");
    }
    outcome
}

struct Handing<'a> {
    inner: &'a Inner,
    /// Letters that the broker did not take.
    refused: HashSet<LetterId>,
    done: u64,
}

impl Handing<'_> {
    async fn hand_over(&mut self) -> Result<(), QueueError> {
        let shelf = &self.inner.shelf;
        let waiting = shelf.status().jobs;
        loop {
            // The newest of many: as they are closed, older ones are seen.
            let mut letters = shelf.disk().dead_letters().await?;
            letters.retain(|letter| !self.refused.contains(&letter.id));
            if letters.is_empty() {
                shelf.letters().0.store(false, Ordering::Release);
                return Ok(());
            }
            for letter in letters {
                self.hand_over_one(letter).await?;
                if shelf.status().jobs > waiting {
                    return Ok(());
                }
            }
        }
    }

    async fn hand_over_one(&mut self, letter: DeadLetter) -> Result<(), QueueError> {
        let (inner, pool) = (self.inner, pool_of(&letter));
        let burying = inner.engine.bury(letter.body, &pool, letter.attempts, &letter.reason);
        match inner.confirmed("write a dead letter", burying).await {
            Ok(()) => {}
            Err(error) if error.is_passing() || matches!(error, QueueError::Closed) => return Err(error),
            Err(error) => {
                if self.refused.is_empty() {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(letter = %letter.id, error, "a dead letter stays in the data directory: the broker refused it, and does so with any like it");
                }
                self.refused.insert(letter.id);
                return Ok(());
            }
        }
        let how = Closed::Discarded { by: Some(HANDED_OVER.to_owned()) };
        inner.shelf.disk().close_letter(letter.id, how).await?;
        self.done += 1;
        Ok(())
    }
}

fn pool_of(letter: &DeadLetter) -> PoolName {
    let of_its_job = || letter.job().map(|job| job.target.pool().clone());
    letter.pool.clone().or_else(of_its_job).unwrap_or_default()
}
