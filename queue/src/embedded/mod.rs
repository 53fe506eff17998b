//! One process, one directory: jobs, history and dead letters in one file that survives a kill and a power
//! cut at any instant.
//!
//! - Every call that changes something returns once it is synced to the disk, in the journal beside the file; calls
//!   that wait for the disk at the same time share a sync.
//! - Jobs come in the order in which their time comes: the time of publishing, or the end of a delay. One
//!   that is released, dropped or was in somebody's hands at a crash stays at the head.
//! - Publishing one job id twice makes two copies, and both are delivered.
//! - Entries of the history and dead letters are kept as [`Keep`] says: the oldest go by age and by bytes, of the history
//!   also by number once they decide nothing any more. So many jobs wait, with so many bytes; a further one is refused
//!   as [`QueueError::Full`].
//! - Memory does not grow with what waits: the file is read where it is needed, through a cache of 8 MiB.

mod asking;
mod batch;
mod change;
mod clock;
mod compacting;
mod directory;
mod disk;
mod entries;
mod failure;
mod files;
mod journal;
mod letters;
mod medium;
mod opening;
mod past;
mod pen;
mod pools;
mod reading;
mod retention;
mod store;
mod tables;
mod taking;
#[cfg(test)]
pub(crate) mod tests;
mod waiting;
mod writer;
mod writing;

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use proto::{Catalogue, Event, Job, JobId, PoolName, Reason, State, TargetName};
use redb::ReadableTableMetadata;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use self::failure::says_what_to_do;
pub(crate) use self::past::{Note, Told};
pub(crate) use self::waiting::Spot;
use self::{
    asking::Desks,
    clock::{Clock, Dated, Dates, Machine},
    disk::Disk,
    pools::Pools,
    reading::{Broadcast, StoredHistory, catalogue_record, event_record, marker_record},
    retention::{Load, Retention},
    store::Store,
    tables::{AGE, BORN, CLOCK, JOBS, JOBS_BYTES, NEXT_POSITION, NUMBERS, POOLS, WRITTEN},
    taking::Takings,
    writer::{Desk, Writer, lively_runtime},
    writing::{Act, micros_of},
};
use crate::{
    Closed, DeadLetter, Deliveries, History, Keep, LetterFilter, LetterId, Live, LocalLocks, Lock, Questions,
    Queue, QueueError, Since, letter::of_job, line::LineName,
};

/// How many `progress` events a slow listener may lag behind before it loses some.
const LIVE_BUFFER: usize = 256;

/// The queue in a directory.
pub struct Embedded {
    engine: Arc<Engine>,
}

/// What the handle, the takers and the deliveries share.
struct Engine {
    store: Arc<Store>,
    pools: Arc<Pools>,
    clock: Arc<Clock>,
    writer: Writer,
    retention: Retention,
    load: Arc<Load>,
    locks: LocalLocks,
    desks: Arc<Desks>,
    said: watch::Receiver<u64>,
    live: broadcast::Sender<Arc<Event>>,
    closed: CancellationToken,
}

impl Embedded {
    /// Opens the queue in `dir`, which is made (with its parents, readable by its owner only) where it is
    /// missing. Blocks while the file is read: well under a second, also after a kill with a hundred thousand jobs
    /// in it.
    ///
    /// # Errors
    /// [`QueueError::InUse`] when another process, or another handle of this one, holds the directory;
    /// [`QueueError::Storage`] when the file cannot be made or read, is damaged, or is of a format that a
    /// newer version wrote.
    pub fn open(dir: &Path) -> Result<Embedded, QueueError> {
        Embedded::open_keeping(dir, Keep::default())
    }

    /// The same, with these bounds.
    ///
    /// # Errors
    /// As [`Embedded::open`].
    pub fn open_keeping(dir: &Path, keep: Keep) -> Result<Embedded, QueueError> {
        Embedded::start(Store::open(dir, Disk::default())?, keep.into())
    }

    fn start(store: Store, retention: Retention) -> Result<Embedded, QueueError> {
        Embedded::start_by(Machine::default(), store, retention)
    }

    fn start_by(machine: Machine, store: Store, retention: Retention) -> Result<Embedded, QueueError> {
        let (shown, noted, next_position, waiting) = store.read("read the file", |file| {
            let numbers = file.open_table(NUMBERS)?;
            let number = |name| numbers.get(name).map(|n| n.map(|n| n.value()));
            let shown = number(CLOCK)?;
            // A file of before there was an age, or dates, goes on from its clock.
            let noted = match (number(WRITTEN)?.or(shown), number(AGE)?.or(shown)) {
                (Some(written), Some(age)) => Some(Dated { written, age, born: number(BORN)?.unwrap_or(0) }),
                (None, _) | (_, None) => None,
            };
            let waiting = (file.open_table(JOBS)?.len()?, number(JOBS_BYTES)?.unwrap_or(0));
            Ok((shown.unwrap_or(0), noted, number(NEXT_POSITION)?.unwrap_or(1), waiting))
        })?;
        let load = Arc::new(Load::of(waiting));
        let store = Arc::new(store);
        let pools = Arc::new(Pools::default());
        let clock = Arc::new(Clock::starting_at(shown, machine.clone()));
        let (say, said) = watch::channel(next_position - 1);
        let desk = Desk {
            store: Arc::clone(&store),
            pools: Arc::clone(&pools),
            clock: Arc::clone(&clock),
            dates: Dates::starting_at(noted, machine),
            retention,
            load: Arc::clone(&load),
            said: say,
            runtime: lively_runtime(),
        };
        let engine = Engine {
            store,
            pools,
            clock,
            writer: Writer::start(desk)?,
            retention,
            load,
            locks: LocalLocks::default(),
            desks: Arc::default(),
            said,
            live: broadcast::Sender::new(LIVE_BUFFER),
            closed: CancellationToken::new(),
        };
        Ok(Embedded { engine: Arc::new(engine) })
    }

    /// Makes any bytes wait in a pool, as a job's body does: what came from elsewhere may not be a job.
    ///
    /// # Errors
    /// As [`Queue::publish`].
    pub async fn publish_body(&self, pool: &PoolName, body: Bytes) -> Result<(), QueueError> {
        self.engine.perform(Act::Publish { line: pool.into(), body }).await
    }
}

impl Engine {
    async fn perform(&self, act: Act) -> Result<(), QueueError> {
        self.ensure_open()?;
        self.writer.perform(act).await
    }

    fn ensure_open(&self) -> Result<(), QueueError> {
        if self.closed.is_cancelled() { Err(QueueError::Closed) } else { Ok(()) }
    }
}

#[async_trait]
impl Queue for Embedded {
    async fn publish(&self, job: &Job) -> Result<(), QueueError> {
        self.publish_body(job.target.pool(), Bytes::from(job.encode())).await
    }

    async fn is_served(&self, pool: &PoolName) -> Result<bool, QueueError> {
        self.engine.ensure_open()?;
        let (store, pool) = (Arc::clone(&self.engine.store), pool.clone());
        blocking(move || {
            store.read("look for a pool", |file| Ok(file.open_table(POOLS)?.get(pool.as_str())?.is_some()))
        })
        .await
    }

    async fn take(&self, pool: &PoolName, at_once: u16) -> Result<Box<dyn Deliveries>, QueueError> {
        self.engine.perform(Act::Serve(pool.clone())).await?;
        let line = self.engine.pools.line(&pool.into());
        Ok(Box::new(Takings::new(Arc::clone(&self.engine), line, at_once)))
    }

    async fn lock(&self, target: &TargetName) -> Result<Option<Lock>, QueueError> {
        self.engine.ensure_open()?;
        let closed = self.engine.closed.clone();
        let entered = self.engine.locks.enter(target);
        Ok(entered.map(|local| Lock::new(local, Box::new(()), move || !closed.is_cancelled())))
    }

    async fn emit(&self, event: &Event) -> Result<(), QueueError> {
        if event.state() == State::Progress {
            self.engine.ensure_open()?;
            // Nobody may be listening, which is no failure.
            let _ = self.engine.live.send(Arc::new(event.clone()));
            return Ok(());
        }
        self.engine.perform(event_record(event)).await
    }

    async fn mark(&self, marker: Uuid) -> Result<(), QueueError> {
        self.engine.perform(marker_record(marker)).await
    }

    async fn history(&self, since: Since) -> Result<Box<dyn History>, QueueError> {
        self.engine.ensure_open()?;
        let (store, said) = (Arc::clone(&self.engine.store), self.engine.said.clone());
        let history = StoredHistory::open(store, said, self.engine.closed.clone(), since).await?;
        Ok(Box::new(history))
    }

    async fn live(&self) -> Result<Box<dyn Live>, QueueError> {
        self.engine.ensure_open()?;
        let (events, closed) = (self.engine.live.subscribe(), self.engine.closed.clone());
        Ok(Box::new(Broadcast { events, closed }))
    }

    async fn letters_that(&self, wanted: LetterFilter) -> Result<Vec<DeadLetter>, QueueError> {
        self.engine.ensure_open()?;
        let store = Arc::clone(&self.engine.store);
        blocking(move || store.read("list the dead letters", |file| letters::newest(file, &wanted))).await
    }

    async fn was_buried(&self, job: JobId, since: Timestamp) -> Result<bool, QueueError> {
        self.engine.ensure_open()?;
        // A time to come is that of a clock that went ahead: of when the letter was written it tells nothing.
        let since = if since > Timestamp::now() { 0 } else { micros_of(since) };
        let (store, wanted) = (Arc::clone(&self.engine.store), of_job(job));
        blocking(move || store.read("look for a dead letter", |file| letters::any(file, since, &wanted)))
            .await
    }

    async fn close_letter(&self, letter: LetterId, how: Closed) -> Result<Closed, QueueError> {
        self.engine.perform(Act::Close { letter, how: how.clone() }).await?;
        let store = Arc::clone(&self.engine.store);
        let read = move || store.read("close a dead letter", |file| letters::first_closing(file, letter));
        Ok(blocking(read).await?.unwrap_or(how))
    }

    async fn bury(
        &self,
        body: Bytes,
        pool: &PoolName,
        attempts: u32,
        reason: &Reason,
    ) -> Result<(), QueueError> {
        let (pool, reason) = (pool.clone(), reason.clone());
        self.engine.perform(Act::Bury { pool, attempts, reason, body }).await
    }

    async fn ask(&self, pool: &PoolName, question: Bytes, within: Duration) -> Result<Bytes, QueueError> {
        self.engine.ensure_open()?;
        tokio::select! {
            biased;
            () = self.engine.closed.cancelled() => Err(QueueError::Closed),
            answered = self.engine.desks.ask(pool, question, within) => answered,
        }
    }

    async fn questions(&self, pool: &PoolName) -> Result<Box<dyn Questions>, QueueError> {
        self.engine.ensure_open()?;
        Ok(Box::new(self.engine.desks.listen(pool, self.engine.closed.clone())))
    }

    async fn list(&self, catalogue: &Catalogue) -> Result<(), QueueError> {
        self.engine.perform(catalogue_record(catalogue)).await
    }

    async fn submit(&self, message: Bytes) -> Result<(), QueueError> {
        self.engine.perform(Act::Publish { line: LineName::Intake, body: message }).await
    }

    async fn intake(&self, at_once: u16) -> Result<Box<dyn Deliveries>, QueueError> {
        self.engine.ensure_open()?;
        let line = self.engine.pools.line(&LineName::Intake);
        Ok(Box::new(Takings::new(Arc::clone(&self.engine), line, at_once)))
    }

    fn has_room(&self, jobs: u64, bytes: u64) -> bool {
        self.engine.load.leaves_room(&self.engine.retention, jobs, bytes)
    }

    fn is_available(&self) -> bool {
        !self.engine.closed.is_cancelled()
    }

    fn has_its_own_clock(&self) -> bool {
        false
    }

    fn is_failing(&self) -> bool {
        self.engine.store.is_failing()
    }

    fn is_damaged(&self) -> bool {
        self.engine.store.is_damaged()
    }

    async fn close(&self) {
        self.engine.closed.cancel();
        self.engine.writer.stop().await;
    }
}

/// Runs what waits for the disk where it does not hold up the runtime.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, QueueError> + Send + 'static,
) -> Result<T, QueueError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        // The runtime is going down.
        Err(_) => Err(QueueError::Closed),
    })
}
