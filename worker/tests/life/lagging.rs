//! A queue whose history reaches one reader late, and that gives out what others had before: what a busy broker or a slow
//! network does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use proto::{Catalogue, Event, Job, PoolName, Reason, TargetName};
use queue::{
    Bytes, Closed, DeadLetter, Deliveries, Delivery, History, LetterFilter, LetterId, Live, Lock, Questions,
    Queue, QueueError, Recorded, Since,
};
use tokio::sync::watch;
use uuid::Uuid;

pub(crate) struct Lagging {
    queue: Arc<dyn Queue>,
    /// Whether readers get on.
    pub(crate) flows: watch::Sender<bool>,
    taken: AtomicBool,
}

impl Lagging {
    pub(crate) fn before(queue: Arc<dyn Queue>, flows: bool) -> Arc<Lagging> {
        Arc::new(Lagging { queue, flows: watch::Sender::new(flows), taken: AtomicBool::new(false) })
    }

    /// Whether jobs were asked for.
    pub(crate) fn was_taken_from(&self) -> bool {
        self.taken.load(Ordering::SeqCst)
    }
}

/// Jobs that another worker had before.
struct Again(Box<dyn Deliveries>);

#[async_trait]
impl Deliveries for Again {
    async fn next(&mut self) -> Result<Delivery, QueueError> {
        Ok(self.0.next().await?.given_out_before(true))
    }
}

struct LateHistory {
    history: Box<dyn History>,
    flows: watch::Receiver<bool>,
}

#[async_trait]
impl History for LateHistory {
    async fn next(&mut self) -> Result<Recorded, QueueError> {
        let recorded = self.history.next().await?;
        self.flows.wait_for(|flows| *flows).await.map_err(|_| QueueError::Closed)?;
        Ok(recorded)
    }
}

#[async_trait]
impl Queue for Lagging {
    async fn publish(&self, job: &Job) -> Result<(), QueueError> {
        self.queue.publish(job).await
    }

    async fn take(&self, pool: &PoolName, at_once: u16) -> Result<Box<dyn Deliveries>, QueueError> {
        self.taken.store(true, Ordering::SeqCst);
        Ok(Box::new(Again(self.queue.take(pool, at_once).await?)))
    }

    async fn lock(&self, target: &TargetName) -> Result<Option<Lock>, QueueError> {
        self.queue.lock(target).await
    }

    async fn emit(&self, event: &Event) -> Result<(), QueueError> {
        self.queue.emit(event).await
    }

    async fn mark(&self, marker: Uuid) -> Result<(), QueueError> {
        self.queue.mark(marker).await
    }

    async fn history(&self, since: Since) -> Result<Box<dyn History>, QueueError> {
        let history = self.queue.history(since).await?;
        Ok(Box::new(LateHistory { history, flows: self.flows.subscribe() }))
    }

    async fn live(&self) -> Result<Box<dyn Live>, QueueError> {
        self.queue.live().await
    }

    async fn letters_that(&self, wanted: LetterFilter) -> Result<Vec<DeadLetter>, QueueError> {
        self.queue.letters_that(wanted).await
    }

    async fn close_letter(&self, letter: LetterId, how: Closed) -> Result<Closed, QueueError> {
        self.queue.close_letter(letter, how).await
    }

    async fn bury(
        &self,
        body: Bytes,
        pool: &PoolName,
        attempts: u32,
        reason: &Reason,
    ) -> Result<(), QueueError> {
        self.queue.bury(body, pool, attempts, reason).await
    }

    async fn ask(&self, pool: &PoolName, question: Bytes, within: Duration) -> Result<Bytes, QueueError> {
        self.queue.ask(pool, question, within).await
    }

    async fn questions(&self, pool: &PoolName) -> Result<Box<dyn Questions>, QueueError> {
        self.queue.questions(pool).await
    }

    async fn list(&self, catalogue: &Catalogue) -> Result<(), QueueError> {
        self.queue.list(catalogue).await
    }

    async fn submit(&self, message: Bytes) -> Result<(), QueueError> {
        self.queue.submit(message).await
    }

    async fn intake(&self, at_once: u16) -> Result<Box<dyn Deliveries>, QueueError> {
        self.queue.intake(at_once).await
    }

    fn is_available(&self) -> bool {
        self.queue.is_available()
    }

    async fn close(&self) {
        self.queue.close().await;
    }
}
