#![doc = include_str!("../README.md")]

pub mod amqp;
mod chronicle;
mod clocks;
mod complaints;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod delivery;
pub mod embedded;
mod error;
mod history;
mod letter;
mod line;
mod lock;
mod question;
mod settings;
mod spool;
mod standing;

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use proto::{Catalogue, Event, Job, JobId, PoolName, Reason, TargetName};

pub use bytes::Bytes;
pub use chronicle::{Chronicle, Reached, SayError};
pub use clocks::Clocks;
pub use complaints::Complaints;
pub use delivery::{Deliveries, Delivery, Envelope, Settle, Settlement};
pub use error::QueueError;
pub use history::{Entry, History, Live, Position, Recorded, Since};
pub use letter::{
    Closed, DeadLetter, LetterFilter, LetterId, MOST_LETTER_BYTES, MOST_LETTERS, MOST_SUBMITTED,
    MOST_SUBMITTED_BYTES,
};
pub use lock::{LocalLock, LocalLocks, Lock};
pub use question::{Answer, Question, Questions};
pub use settings::{AmqpSettings, ClientCertificate, Keep, Kept, Settings, TlsSettings, Waiting};
pub use spool::{SpoolSettings, SpoolStatus, Spooling};
pub use standing::Standing;

/// Where jobs wait and events are kept: the contract both engines keep.
///
/// Everything may happen twice (a crash between an effect and its settlement), nothing may be lost.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Makes a job wait for a worker of its target's pool. Returns once it is durable.
    ///
    /// # Errors
    /// [`QueueError::NoPool`] when no worker ever served the pool; [`QueueError::Unconfirmed`] when nobody
    /// knows whether it arrived: publish the same job again, copies of one id are harmless.
    async fn publish(&self, job: &Job) -> Result<(), QueueError>;

    /// The same of a job that was published before and is taken for lost: where it cannot be published now it is kept
    /// nowhere.
    ///
    /// # Errors
    /// As of [`Queue::publish`].
    async fn publish_again(&self, job: &Job) -> Result<(), QueueError> {
        self.publish(job).await
    }

    /// Whether a worker ever served the pool, so that its jobs can wait: asked before the first of some that are
    /// published all or not at all. An engine that cannot tell says yes; publishing tells then.
    ///
    /// # Errors
    /// When the engine cannot be reached.
    async fn is_served(&self, _pool: &PoolName) -> Result<bool, QueueError> {
        Ok(true)
    }

    /// Who takes a pool's jobs, and how many wait. None where the engine cannot tell, or is not let look.
    ///
    /// # Errors
    /// When the engine cannot be reached.
    async fn standing(&self, _pool: &PoolName) -> Result<Option<Standing>, QueueError> {
        Ok(None)
    }

    /// Serves a pool: yields its jobs, at most `at_once` of them unsettled at a time. Several takers of one
    /// pool compete. From the first call on, the pool exists.
    ///
    /// # Errors
    /// When the engine cannot be reached or refuses.
    async fn take(&self, pool: &PoolName, at_once: u16) -> Result<Box<dyn Deliveries>, QueueError>;

    /// Makes a pool exist without serving it: from now on its jobs wait for whoever does.
    ///
    /// # Errors
    /// When the engine cannot be reached or refuses.
    async fn declare(&self, pool: &PoolName) -> Result<(), QueueError> {
        self.take(pool, 1).await.map(drop)
    }

    /// Locks a target for one writer. `None` when somebody else holds it, in this process or another.
    ///
    /// It makes overlap rare, not impossible: what was applied last is written on the target itself.
    ///
    /// # Errors
    /// When the engine cannot be reached.
    async fn lock(&self, target: &TargetName) -> Result<Option<Lock>, QueueError>;

    /// Says an event. Returns once the engine has taken it; it counts as said once it is seen in the history
    /// ([`Chronicle::say`]). `progress` goes to live readers only.
    ///
    /// # Errors
    /// When the engine cannot be reached, or did not confirm in time.
    async fn emit(&self, event: &Event) -> Result<(), QueueError>;

    /// Writes into the history what was said before in another, where its listeners heard it: only readers of the
    /// history see it.
    ///
    /// # Errors
    /// When the engine cannot be reached, or did not confirm in time: a second copy is harmless.
    async fn retell(&self, event: &Event) -> Result<(), QueueError> {
        self.emit(event).await
    }

    /// Writes a marker into the history, which only readers of the history see: whoever reads it back has
    /// read everything said before.
    ///
    /// # Errors
    /// When the engine cannot be reached, or did not confirm in time.
    async fn mark(&self, marker: uuid::Uuid) -> Result<(), QueueError>;

    /// Reads the history from a point in the past and goes on with what is said from then on.
    ///
    /// # Errors
    /// When the engine cannot be reached.
    async fn history(&self, since: Since) -> Result<Box<dyn History>, QueueError>;

    /// Listens to `progress` events from now on. Best effort: a slow listener loses some.
    ///
    /// # Errors
    /// When the engine cannot be reached.
    async fn live(&self) -> Result<Box<dyn Live>, QueueError>;

    /// The dead letters that nobody replayed or discarded, newest last: at most the newest
    /// [`MOST_LETTERS`], and at most [`MOST_LETTER_BYTES`] of bodies; of what was for an ingress, [`MOST_SUBMITTED`] and
    /// [`MOST_SUBMITTED_BYTES`] beside them. All that died before the call is seen.
    ///
    /// # Errors
    /// When the engine cannot be reached.
    async fn dead_letters(&self) -> Result<Vec<DeadLetter>, QueueError> {
        self.letters_that(Arc::new(|_| true)).await
    }

    /// The dead letters that `wanted` picks, however many others there are; else as [`Queue::dead_letters`].
    ///
    /// # Errors
    /// When the engine cannot be reached.
    async fn letters_that(&self, wanted: LetterFilter) -> Result<Vec<DeadLetter>, QueueError>;

    /// Whether a dead letter of this job was written since that time, whether or not it was closed meanwhile. Where the
    /// time lies ahead of the engine's clock it looks at all of them. An engine that knows no better looks among the open
    /// ones.
    ///
    /// # Errors
    /// When the engine cannot be reached.
    async fn was_buried(&self, job: JobId, _since: Timestamp) -> Result<bool, QueueError> {
        Ok(!self.letters_that(letter::of_job(job)).await?.is_empty())
    }

    /// Closes a dead letter: from now on it is not listed. Closing it again, or closing one that is not
    /// there any more, changes nothing. Gives what closed it first: of several who close it at once each learns who won.
    /// Of one that was closed long ago it may be this.
    ///
    /// # Errors
    /// When the engine cannot be reached, or did not confirm in time: close it again.
    async fn close_letter(&self, letter: LetterId, how: Closed) -> Result<Closed, QueueError>;

    /// Writes a dead letter for a job that nobody has in hand, with its body as it was accepted. What is in
    /// hand is settled with [`Settlement::Dead`] instead.
    ///
    /// # Errors
    /// When the engine cannot be reached, or did not confirm in time: a second copy is harmless.
    async fn bury(
        &self,
        body: Bytes,
        pool: &PoolName,
        attempts: u32,
        reason: &Reason,
    ) -> Result<(), QueueError>;

    /// Asks any worker of a pool, and waits for the answer at most `within`. A question may be heard twice,
    /// so it only asks.
    ///
    /// # Errors
    /// [`QueueError::NobodyAlive`], at once, when nobody listens; [`QueueError::NoAnswer`] when no answer came
    /// in time; else when the engine cannot be reached.
    async fn ask(&self, pool: &PoolName, question: Bytes, within: Duration) -> Result<Bytes, QueueError>;

    /// Listens to the questions put to a pool.
    ///
    /// # Errors
    /// When the engine cannot be reached or refuses.
    async fn questions(&self, pool: &PoolName) -> Result<Box<dyn Questions>, QueueError>;

    /// Tells what a system has, into the history. Returns once the engine has taken it.
    ///
    /// # Errors
    /// When the engine cannot be reached, or did not confirm in time: a second copy is harmless.
    async fn list(&self, catalogue: &Catalogue) -> Result<(), QueueError>;

    /// Makes a message wait for an ingress, which decides what comes of it. Returns once it is durable.
    ///
    /// # Errors
    /// [`QueueError::Full`] when too much waits there; [`QueueError::Unconfirmed`] when nobody knows whether it
    /// arrived: send it again, ingresses know copies by what is in it.
    async fn submit(&self, message: Bytes) -> Result<(), QueueError>;

    /// Yields what was submitted, at most `at_once` of it unsettled at a time. Several takers compete. Who
    /// cannot read a message settles it with [`Settlement::Dead`].
    ///
    /// # Errors
    /// When the engine cannot be reached or refuses.
    async fn intake(&self, at_once: u16) -> Result<Box<dyn Deliveries>, QueueError>;

    /// Whether so many jobs with so many bytes together would be taken, as far as is known: asked before the first of
    /// some that are taken all or not at all.
    fn has_room(&self, _jobs: u64, _bytes: u64) -> bool {
        true
    }

    /// Whether the engine can be reached right now, and takes what is published.
    fn is_available(&self) -> bool;

    /// Whether what it keeps can be read right now: that goes on while a broker under an alarm takes nothing.
    fn is_readable(&self) -> bool {
        self.is_available()
    }

    /// Whether the history is kept by another clock than this machine's.
    fn has_its_own_clock(&self) -> bool {
        true
    }

    /// Whether the last write to its own disk failed. The next may go well.
    fn is_failing(&self) -> bool {
        false
    }

    /// Whether a part of its own files was found not to be what was written there, since they were opened. Only a start
    /// looks at all of them, and begins anew.
    fn is_damaged(&self) -> bool {
        false
    }

    /// Ends every session. Unsettled deliveries go back to their pools.
    async fn close(&self);
}

/// Opens the queue that `settings` name; the embedded engine keeps its files below `data`.
///
/// # Errors
/// [`QueueError::InUse`] when another process holds the directory; [`QueueError::Topology`] when the broker
/// holds something else under our names. A broker that is away is no error: it is waited for.
pub async fn open(settings: &Settings, data: &Path) -> Result<Arc<dyn Queue>, QueueError> {
    match settings {
        Settings::Embedded(keep) => {
            let (dir, keep) = (data.join("queue"), *keep);
            let opening = tokio::task::spawn_blocking(move || embedded::Embedded::open_keeping(&dir, keep));
            let opened = opening.await.map_err(|_| QueueError::Closed)??;
            Ok(Arc::new(opened))
        }
        Settings::Amqp(amqp) => Ok(Arc::new(amqp::Amqp::open(amqp).await?)),
    }
}
