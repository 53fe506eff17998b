//! The embedded engine, with failures where a test wants them.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use proto::{Catalogue, Event, Job, JobId, PoolName, Reason, State, TargetName};
use queue::{
    Bytes, Closed, DeadLetter, Deliveries, History, LetterId, Live, Lock, Questions, Queue, QueueError,
    Recorded, Settings, Since,
};
use tempfile::TempDir;
use tokio::sync::watch;
use uuid::Uuid;

pub struct Faulty {
    engine: Arc<dyn Queue>,
    inside: Mutex<Inside>,
    /// Whether the engine can be reached.
    pub there: watch::Sender<bool>,
    /// How many entries each reader of the history that is opened from now on gets, until this is raised.
    pub shown: watch::Sender<usize>,
    directory: TempDir,
}

#[derive(Default)]
struct Inside {
    published: Vec<Job>,
    said: Vec<Event>,
    refusals: VecDeque<QueueError>,
    /// `accepted` is taken and never shown.
    swallows_accepted: bool,
}

impl Faulty {
    /// A queue in a directory of its own, in which these pools were served.
    pub async fn serving(pools: &[&str]) -> Arc<Faulty> {
        Faulty::opened(tempfile::tempdir().unwrap(), pools).await
    }

    async fn opened(directory: TempDir, pools: &[&str]) -> Arc<Faulty> {
        let engine = queue::open(&Settings::Embedded, directory.path()).await.unwrap();
        for pool in pools {
            drop(engine.take(&pool.parse().unwrap(), 1).await.unwrap());
        }
        Arc::new(Faulty {
            engine,
            inside: Mutex::default(),
            there: watch::Sender::new(true),
            shown: watch::Sender::new(usize::MAX),
            directory,
        })
    }

    /// The same directory, opened again by what could be another process.
    pub async fn reopen(self: Arc<Faulty>) -> Arc<Faulty> {
        self.engine.close().await;
        let Faulty { engine, directory, .. } = Arc::into_inner(self).expect("somebody still uses the queue");
        drop(engine);
        Faulty::opened(directory, &[]).await
    }

    /// Refuses the next publishings so, one by one.
    pub fn refuse(&self, errors: impl IntoIterator<Item = QueueError>) {
        self.inside.lock().unwrap().refusals.extend(errors);
    }

    pub fn swallow_accepted(&self) {
        self.inside.lock().unwrap().swallows_accepted = true;
    }

    pub fn published(&self) -> Vec<Job> {
        self.inside.lock().unwrap().published.clone()
    }

    /// The states that were said of a job.
    pub fn said(&self, job: &Job) -> Vec<State> {
        self.said_of(job.id)
    }

    /// The states that were said of the job of this id.
    pub fn said_of(&self, id: JobId) -> Vec<State> {
        let inside = self.inside.lock().unwrap();
        inside.said.iter().filter(|event| event.job_id() == id).map(Event::state).collect()
    }

    fn check_there(&self) -> Result<(), QueueError> {
        match *self.there.borrow() {
            true => Ok(()),
            false => Err(QueueError::Unavailable { attempted: "reach it", source: "away".into() }),
        }
    }
}

/// A history that stops where a test wants it.
struct Held {
    history: Box<dyn History>,
    read: usize,
    shown: watch::Receiver<usize>,
}

#[async_trait]
impl History for Held {
    async fn next(&mut self) -> Result<Recorded, QueueError> {
        let read = self.read;
        self.shown.wait_for(|shown| read < *shown).await.map_err(|_| QueueError::Closed)?;
        self.read += 1;
        self.history.next().await
    }
}

#[async_trait]
impl Queue for Faulty {
    async fn publish(&self, job: &Job) -> Result<(), QueueError> {
        self.check_there()?;
        if let Some(error) = self.inside.lock().unwrap().refusals.pop_front() {
            return Err(error);
        }
        self.engine.publish(job).await?;
        self.inside.lock().unwrap().published.push(job.clone());
        Ok(())
    }

    async fn take(&self, pool: &PoolName, at_once: u16) -> Result<Box<dyn Deliveries>, QueueError> {
        self.engine.take(pool, at_once).await
    }

    async fn lock(&self, target: &TargetName) -> Result<Option<Lock>, QueueError> {
        self.engine.lock(target).await
    }

    async fn emit(&self, event: &Event) -> Result<(), QueueError> {
        self.check_there()?;
        {
            let mut inside = self.inside.lock().unwrap();
            inside.said.push(event.clone());
            if event.state() == State::Accepted && inside.swallows_accepted {
                return Ok(());
            }
        }
        self.engine.emit(event).await
    }

    async fn mark(&self, marker: Uuid) -> Result<(), QueueError> {
        self.check_there()?;
        self.engine.mark(marker).await
    }

    async fn history(&self, since: Since) -> Result<Box<dyn History>, QueueError> {
        self.check_there()?;
        let history = self.engine.history(since).await?;
        if *self.shown.borrow() == usize::MAX {
            return Ok(history);
        }
        Ok(Box::new(Held { history, read: 0, shown: self.shown.subscribe() }))
    }

    async fn live(&self) -> Result<Box<dyn Live>, QueueError> {
        self.engine.live().await
    }

    async fn dead_letters(&self) -> Result<Vec<DeadLetter>, QueueError> {
        self.check_there()?;
        self.engine.dead_letters().await
    }

    async fn close_letter(&self, letter: LetterId, how: Closed) -> Result<(), QueueError> {
        self.check_there()?;
        self.engine.close_letter(letter, how).await
    }

    async fn bury(
        &self,
        body: Bytes,
        pool: &PoolName,
        attempts: u32,
        reason: &Reason,
    ) -> Result<(), QueueError> {
        self.check_there()?;
        self.engine.bury(body, pool, attempts, reason).await
    }

    async fn ask(&self, pool: &PoolName, question: Bytes, within: Duration) -> Result<Bytes, QueueError> {
        self.check_there()?;
        self.engine.ask(pool, question, within).await
    }

    async fn questions(&self, pool: &PoolName) -> Result<Box<dyn Questions>, QueueError> {
        self.check_there()?;
        self.engine.questions(pool).await
    }

    async fn list(&self, catalogue: &Catalogue) -> Result<(), QueueError> {
        self.check_there()?;
        self.engine.list(catalogue).await
    }

    async fn submit(&self, message: Bytes) -> Result<(), QueueError> {
        self.check_there()?;
        self.engine.submit(message).await
    }

    async fn intake(&self, at_once: u16) -> Result<Box<dyn Deliveries>, QueueError> {
        self.check_there()?;
        self.engine.intake(at_once).await
    }

    fn is_available(&self) -> bool {
        *self.there.borrow()
    }

    async fn close(&self) {
        // As a broker, it outlives the server that uses it.
    }
}
