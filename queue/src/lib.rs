#![doc = include_str!("../README.md")]

pub mod amqp;
mod chronicle;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod delivery;
pub mod embedded;
mod error;
mod history;
mod lock;
mod settings;
mod spool;

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use proto::{Event, Job, PoolName, TargetName};

pub use chronicle::{Chronicle, SayError};
pub use delivery::{Deliveries, Delivery, Settle, Settlement};
pub use error::QueueError;
pub use history::{Entry, History, Live, Position, Recorded, Since};
pub use lock::{LocalLock, LocalLocks, Lock};
pub use settings::{AmqpSettings, Settings, TlsSettings};
pub use spool::{SpoolSettings, SpoolStatus, Spooling};

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

    /// Serves a pool: yields its jobs, at most `at_once` of them unsettled at a time. Several takers of one
    /// pool compete. From the first call on, the pool exists.
    ///
    /// # Errors
    /// When the engine cannot be reached or refuses.
    async fn take(&self, pool: &PoolName, at_once: u16) -> Result<Box<dyn Deliveries>, QueueError>;

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

    /// Whether the engine can be reached right now.
    fn is_available(&self) -> bool;

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
        Settings::Embedded => {
            let dir = data.join("queue");
            let opening = tokio::task::spawn_blocking(move || embedded::Embedded::open(&dir));
            let opened = opening.await.map_err(|_| QueueError::Closed)??;
            Ok(Arc::new(opened))
        }
        Settings::Amqp(amqp) => Ok(Arc::new(amqp::Amqp::open(amqp).await?)),
    }
}
