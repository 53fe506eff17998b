//! Accepted means kept, also while the broker is away: the ingress's spool.
//!
//! [`Spooling`] is the broker's engine with a directory beside it. What the broker cannot take is kept there,
//! on the disk before [`Queue::publish`] returns, and handed to the broker when it is back: in the order of the
//! ids, each published and confirmed, then said to be accepted, then taken out. A crash in between leaves a copy
//! of the same id, which is harmless.
//!
//! The directory is the one of the embedded engine, so what `longshore up` left there goes the same way. The broker is
//! told its history first, so that what has ended stays so and what is newest stays newest; and where the embedded queue
//! may go on there one day, what is said on the broker is noted in the directory.

mod away;
mod drain;
mod follow;
mod letters;
mod past;
mod reject;
mod settings;
mod shelf;
#[cfg(test)]
mod tests;
mod unsaid;

use std::{
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use proto::{Catalogue, Event, Job, JobId, PoolName, Reason, State, TargetName};
use tokio::sync::{Notify, watch};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use uuid::Uuid;

pub use self::settings::SpoolSettings;
use self::{
    away::{Away, means_away},
    past::Past,
    shelf::{Shelf, pages},
    unsaid::Unsaid,
};
use crate::{
    Closed, DeadLetter, Deliveries, History, LetterFilter, LetterId, Live, Lock, Questions, Queue,
    QueueError, Since, Standing,
};

/// Longest wait for the broker to confirm. Then the job is kept here, and whatever comes after it too, until
/// the broker answers again.
const CONFIRM_WITHIN: Duration = Duration::from_secs(3);

/// What waits in the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpoolStatus {
    /// How many jobs.
    pub jobs: u64,
    /// How large they are together.
    pub bytes: u64,
    /// Since when something waits, without a moment in which nothing did.
    pub since: Option<Timestamp>,
    /// Whether a further job may be refused.
    pub full: bool,
    /// Whether the last write to the disk failed: until one goes well, nothing is kept. It is tried every few seconds.
    pub failing: bool,
    /// Whether the directory's files were found damaged since they were opened.
    pub damaged: bool,
}

/// The broker's engine, and a directory that keeps jobs while the broker is away.
pub struct Spooling {
    inner: Arc<Inner>,
    tasks: TaskTracker,
    _stop: DropGuard,
}

/// What the handle and the task that drains share.
struct Inner {
    engine: Arc<dyn Queue>,
    shelf: Arc<Shelf>,
    settings: SpoolSettings,
    /// The broker did not answer in time, and has not since, though its connection stands.
    doubted: AtomicBool,
    /// Published, and not yet said to be accepted.
    unsaid: Mutex<Unsaid>,
    /// Whether the broker knows all that was said here while the queue was the embedded one.
    told: watch::Sender<bool>,
    /// Something waits, or the broker is doubted.
    wake: Notify,
    stop: CancellationToken,
}

impl Spooling {
    /// Opens the spool below `data` beside `engine`, and begins to drain what was left there.
    ///
    /// # Errors
    /// [`QueueError::InUse`] when another process holds the directory; [`QueueError::Storage`] when it cannot be
    /// made or read.
    pub async fn open(
        engine: Arc<dyn Queue>,
        data: &Path,
        settings: SpoolSettings,
    ) -> Result<Arc<Spooling>, QueueError> {
        let (shelf, past) = Shelf::open(&data.join("queue"), settings).await?;
        Ok(Spooling::on(shelf, past, engine, settings))
    }

    fn on(shelf: Shelf, past: Past, engine: Arc<dyn Queue>, settings: SpoolSettings) -> Arc<Spooling> {
        let shelf = Arc::new(shelf);
        let left = shelf.status().jobs;
        if left > 0 {
            tracing::info!(jobs = left, "jobs wait in the data directory, they are handed to the broker");
        }
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let inner = Inner {
            engine,
            shelf,
            settings,
            doubted: AtomicBool::new(false),
            unsaid: Mutex::default(),
            told: watch::Sender::new(past.untold.is_empty()),
            wake: Notify::new(),
            stop: stop.clone(),
        };
        let inner = Arc::new(inner);
        let Past { known, ends, untold, .. } = past;
        if settings.follows || !known.is_empty() {
            tasks.spawn(follow::follow(Arc::clone(&inner), known));
        }
        tasks.spawn(drain::drain(Arc::clone(&inner), untold, ends));
        tasks.close();
        Arc::new(Spooling { inner, tasks, _stop: stop.drop_guard() })
    }

    /// What waits in the directory right now.
    #[must_use]
    pub fn status(&self) -> SpoolStatus {
        self.inner.shelf.status()
    }

    /// Returns once the broker knows all that was said here while the queue was the embedded one: before that its
    /// history does not tell what is newest. It may be away for long.
    pub async fn has_told_its_past(&self) {
        // Fails only where the sender is gone, which is here.
        let _ = self.inner.told.subscribe().wait_for(|told| *told).await;
    }

    /// Whether something is still to be handed to the broker.
    #[must_use]
    pub fn is_handing_over(&self) -> bool {
        self.status().jobs > 0 || !*self.inner.told.borrow()
    }

    /// The highest id that was kept here, or is told of in the directory's history.
    #[must_use]
    pub fn highest(&self) -> Option<JobId> {
        self.inner.shelf.highest()
    }

    /// Shows `look` the newest jobs that wait, at most `most` of them, oldest first.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub async fn newest(&self, most: usize, mut look: impl FnMut(&Job) + Send) -> Result<(), QueueError> {
        let mut index = self.inner.shelf.index().await?;
        let newest = index.split_off(index.len().saturating_sub(most));
        for page in pages(newest) {
            self.inner.shelf.read(page).await?.jobs.iter().for_each(|reading| look(&reading.job));
        }
        Ok(())
    }
}

impl Inner {
    /// Whether the broker can be reached, and has answered when it was last asked.
    fn is_there(&self) -> bool {
        self.engine.is_available() && !self.doubted.load(Ordering::Acquire)
    }

    fn doubt(&self) {
        self.doubted.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Waits for the broker to do something, for as long as that may take.
    async fn confirmed<T>(
        &self,
        attempted: &'static str,
        asking: impl Future<Output = Result<T, QueueError>> + Send,
    ) -> Result<T, QueueError> {
        match tokio::time::timeout(CONFIRM_WITHIN, asking).await {
            Ok(answer) => answer,
            Err(_) => Err(QueueError::Unconfirmed { attempted }),
        }
    }

    fn unsaid(&self) -> MutexGuard<'_, Unsaid> {
        self.unsaid.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn say(&self, event: &Event) -> Result<(), QueueError> {
        const SAY: &str = "say an event";
        if self.stop.is_cancelled() {
            return Err(QueueError::Closed);
        }
        if !self.is_there() {
            return Err(QueueError::Unavailable { attempted: SAY, source: Away.into() });
        }
        let said = self.confirmed(SAY, self.engine.emit(event)).await;
        if said.as_ref().is_err_and(means_away) {
            self.doubt();
        }
        said
    }

    async fn keep(&self, job: &Job) -> Result<(), QueueError> {
        let is_first = self.shelf.keep(job).await?;
        self.noted_kept(is_first);
        Ok(())
    }

    fn noted_kept(&self, is_first: bool) {
        if is_first {
            tracing::warn!("the broker takes no jobs: they are kept in the data directory until it does");
        }
        self.wake.notify_one();
    }
}

#[async_trait]
impl Queue for Spooling {
    /// As the engine does; what it cannot take because the broker is away is kept in the directory, whatever
    /// its pool, and so is what the broker refuses. [`QueueError::Full`] when that is at its bounds.
    async fn publish(&self, job: &Job) -> Result<(), QueueError> {
        let inner = &self.inner;
        if inner.is_there() {
            match inner.confirmed("publish a job", inner.engine.publish(job)).await {
                Ok(()) => {
                    inner.unsaid().insert(job.id);
                    return Ok(());
                }
                Err(error) if means_away(&error) => inner.doubt(),
                // Its sender may never repeat it, and what the broker refuses people can mend: rights, a binding.
                Err(error @ QueueError::Topology { .. }) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(job = %job.id, error, "the broker refuses a job: it is kept and offered again");
                }
                Err(error) => return Err(error),
            }
        }
        inner.keep(job).await
    }

    async fn publish_again(&self, job: &Job) -> Result<(), QueueError> {
        self.inner.confirmed("publish a job", self.inner.engine.publish(job)).await
    }

    /// While the broker is away jobs are kept whatever their pool.
    async fn is_served(&self, pool: &PoolName) -> Result<bool, QueueError> {
        let inner = &self.inner;
        if !inner.is_there() {
            return Ok(true);
        }
        inner.confirmed("look for a pool", inner.engine.is_served(pool)).await
    }

    async fn standing(&self, pool: &PoolName) -> Result<Option<Standing>, QueueError> {
        let inner = &self.inner;
        inner.confirmed("look for a pool", inner.engine.standing(pool)).await
    }

    async fn take(&self, pool: &PoolName, at_once: u16) -> Result<Box<dyn Deliveries>, QueueError> {
        self.inner.engine.take(pool, at_once).await
    }

    async fn lock(&self, target: &TargetName) -> Result<Option<Lock>, QueueError> {
        self.inner.engine.lock(target).await
    }

    /// As the engine does, and refused at once while the broker is away: what waits is said to be accepted
    /// when it is handed over. A job that was published just before is kept here as well, for the same.
    async fn emit(&self, event: &Event) -> Result<(), QueueError> {
        let said = self.inner.say(event).await;
        if let Some(job) = event.job().filter(|_| event.state() == State::Accepted) {
            let is_published = self.inner.unsaid().remove(job.id);
            if is_published && said.as_ref().is_err_and(means_away) {
                self.inner.keep(job).await?;
            }
        }
        said
    }

    async fn mark(&self, marker: Uuid) -> Result<(), QueueError> {
        self.inner.engine.mark(marker).await
    }

    async fn history(&self, since: Since) -> Result<Box<dyn History>, QueueError> {
        self.inner.engine.history(since).await
    }

    async fn live(&self) -> Result<Box<dyn Live>, QueueError> {
        self.inner.engine.live().await
    }

    async fn dead_letters(&self) -> Result<Vec<DeadLetter>, QueueError> {
        self.inner.engine.dead_letters().await
    }

    async fn letters_that(&self, wanted: LetterFilter) -> Result<Vec<DeadLetter>, QueueError> {
        self.inner.engine.letters_that(wanted).await
    }

    async fn was_buried(&self, job: JobId, since: Timestamp) -> Result<bool, QueueError> {
        self.inner.engine.was_buried(job, since).await
    }

    async fn close_letter(&self, letter: LetterId, how: Closed) -> Result<Closed, QueueError> {
        self.inner.engine.close_letter(letter, how).await
    }

    async fn bury(
        &self,
        body: Bytes,
        pool: &PoolName,
        attempts: u32,
        reason: &Reason,
    ) -> Result<(), QueueError> {
        self.inner.engine.bury(body, pool, attempts, reason).await
    }

    async fn ask(&self, pool: &PoolName, question: Bytes, within: Duration) -> Result<Bytes, QueueError> {
        self.inner.engine.ask(pool, question, within).await
    }

    async fn questions(&self, pool: &PoolName) -> Result<Box<dyn Questions>, QueueError> {
        self.inner.engine.questions(pool).await
    }

    async fn list(&self, catalogue: &Catalogue) -> Result<(), QueueError> {
        self.inner.engine.list(catalogue).await
    }

    /// As the engine does; while the broker is away it is kept in the directory.
    async fn submit(&self, message: Bytes) -> Result<(), QueueError> {
        let inner = &self.inner;
        if inner.is_there() {
            match inner.confirmed("hand over what came in", inner.engine.submit(message.clone())).await {
                Err(error) if means_away(&error) => inner.doubt(),
                // As with a job: whoever sent it may never do so again.
                Err(error @ QueueError::Topology { .. }) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "the broker refuses what came in: it is kept and offered again");
                }
                submitted => return submitted,
            }
        }
        let is_first = inner.shelf.keep_message(message).await?;
        inner.noted_kept(is_first);
        Ok(())
    }

    async fn intake(&self, at_once: u16) -> Result<Box<dyn Deliveries>, QueueError> {
        self.inner.engine.intake(at_once).await
    }

    fn has_room(&self, jobs: u64, bytes: u64) -> bool {
        self.inner.is_there() || self.inner.shelf.has_room(jobs, bytes)
    }

    fn is_available(&self) -> bool {
        self.inner.is_there()
    }

    async fn retell(&self, event: &Event) -> Result<(), QueueError> {
        self.inner.engine.retell(event).await
    }

    fn has_its_own_clock(&self) -> bool {
        self.inner.engine.has_its_own_clock()
    }

    fn is_readable(&self) -> bool {
        self.inner.engine.is_readable()
    }

    /// Ends the engine's sessions too.
    async fn close(&self) {
        self.inner.stop.cancel();
        self.tasks.wait().await;
        self.inner.engine.close().await;
        self.inner.shelf.close().await;
    }
}
