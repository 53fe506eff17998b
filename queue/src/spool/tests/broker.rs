//! A stand-in for the broker: the embedded engine in a directory of its own, which a test takes away.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64},
    },
};

use proto::{CauseKind, ChainId, Gates, Operation, State};
use tempfile::TempDir;

use super::*;
use crate::{Entry, Settlement, embedded::Embedded};

pub(super) const SOON: Duration = Duration::from_secs(20);

/// A letter that it refuses.
pub(super) const TOO_MUCH: &[u8] = b"too much";

/// What goes wrong with the next things asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It cannot be reached.
    Away,
    /// It does what it is asked and does not answer.
    Mute,
    /// It lets nobody publish.
    Forbidding,
    /// It does not take this job.
    ForbiddingOne(JobId),
}

pub(super) struct Broker {
    engine: Embedded,
    _directory: TempDir,
    fault: Mutex<Option<Fault>>,
    /// Every publishing that arrived.
    pub(super) published: Mutex<Vec<JobId>>,
    /// After so many further things done, it is away.
    left: AtomicU64,
    pub(super) has_died: AtomicBool,
}

impl Broker {
    /// One that knows these pools.
    pub(super) async fn serving(pools: &[&str]) -> Arc<Broker> {
        let directory = TempDir::new().unwrap();
        let engine = Embedded::open(directory.path()).unwrap();
        let broker = Broker {
            engine,
            _directory: directory,
            fault: Mutex::default(),
            published: Mutex::default(),
            left: AtomicU64::new(u64::MAX),
            has_died: AtomicBool::new(false),
        };
        for pool in pools {
            broker.serve(pool).await;
        }
        Arc::new(broker)
    }

    pub(super) async fn serve(&self, pool: &str) {
        drop(self.engine.take(&pool.parse().unwrap(), 1).await.unwrap());
    }

    pub(super) fn set(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap() = fault;
    }

    /// Dies after so many further publishings, events and marks, in the middle of the next.
    pub(super) fn die_after(&self, things: u64) {
        self.has_died.store(false, Ordering::SeqCst);
        self.left.store(things, Ordering::SeqCst);
    }

    pub(super) fn published(&self) -> Vec<JobId> {
        self.published.lock().unwrap().clone()
    }

    /// What was said of each job, in order.
    pub(super) async fn said(&self) -> HashMap<JobId, Vec<State>> {
        let end = Uuid::now_v7();
        self.engine.mark(end).await.unwrap();
        let mut history = self.engine.history(Since::Start).await.unwrap();
        let mut said: HashMap<JobId, Vec<State>> = HashMap::new();
        loop {
            match history.next().await.unwrap().entry {
                Entry::Event(event) => said.entry(event.job_id()).or_default().push(event.state()),
                Entry::Marker(marker) if marker == end => return said,
                Entry::Catalogue(_) | Entry::Marker(_) | Entry::Unreadable(_) => {}
            }
        }
    }

    /// The rejections said, with their reasons' codes and texts.
    pub(super) async fn next_rejection(&self) -> (JobId, String, String) {
        let mut history = self.engine.history(Since::Start).await.unwrap();
        loop {
            let Entry::Event(event) = history.next().await.unwrap().entry else { continue };
            if event.state() == State::Rejected {
                let reason = event.data.reason.clone().unwrap();
                return (event.job_id(), reason.code.into_owned(), reason.text);
            }
        }
    }

    /// The ids of all that waits in the pool, in order; it is settled.
    pub(super) async fn take_all(&self, pool: &str, count: usize) -> Vec<JobId> {
        let mut takings = self.engine.take(&pool.parse().unwrap(), 1).await.unwrap();
        let mut ids = Vec::new();
        for _ in 0..count {
            let delivery = tokio::time::timeout(SOON, takings.next()).await.unwrap().unwrap();
            ids.push(Job::decode(delivery.body()).unwrap().id);
            delivery.settle(Settlement::Ack).await.unwrap();
        }
        ids
    }

    async fn answer<T>(&self, done: impl Future<Output = Result<T, QueueError>>) -> Result<T, QueueError> {
        let dies =
            self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err();
        if dies && self.has_died.swap(true, Ordering::SeqCst) {
            // Nothing that comes after it happens any more.
            return std::future::pending().await;
        }
        let fault = if dies { Some(Fault::Mute) } else { *self.fault.lock().unwrap() };
        match fault {
            Some(Fault::Away) => Err(away()),
            Some(Fault::Forbidding) => Err(forbidden()),
            Some(Fault::Mute) => {
                let _ = done.await;
                std::future::pending().await
            }
            Some(Fault::ForbiddingOne(_)) | None => done.await,
        }
    }
}

fn forbidden() -> QueueError {
    QueueError::Topology { name: "jobs".to_owned(), answer: "ACCESS_REFUSED".to_owned() }
}

fn away() -> QueueError {
    QueueError::Unavailable { attempted: "reach it", source: "away".into() }
}

#[async_trait]
impl Queue for Broker {
    async fn publish(&self, job: &Job) -> Result<(), QueueError> {
        let is_forbidden = *self.fault.lock().unwrap() == Some(Fault::ForbiddingOne(job.id));
        let publishing = async {
            if is_forbidden {
                return Err(forbidden());
            }
            self.engine.publish(job).await?;
            self.published.lock().unwrap().push(job.id);
            Ok(())
        };
        self.answer(publishing).await
    }

    async fn take(&self, pool: &PoolName, at_once: u16) -> Result<Box<dyn Deliveries>, QueueError> {
        self.engine.take(pool, at_once).await
    }

    async fn lock(&self, target: &TargetName) -> Result<Option<Lock>, QueueError> {
        self.engine.lock(target).await
    }

    async fn emit(&self, event: &Event) -> Result<(), QueueError> {
        self.answer(self.engine.emit(event)).await
    }

    async fn mark(&self, marker: Uuid) -> Result<(), QueueError> {
        self.answer(self.engine.mark(marker)).await
    }

    async fn history(&self, since: Since) -> Result<Box<dyn History>, QueueError> {
        self.engine.history(since).await
    }

    async fn live(&self) -> Result<Box<dyn Live>, QueueError> {
        self.engine.live().await
    }

    async fn letters_that(&self, wanted: LetterFilter) -> Result<Vec<DeadLetter>, QueueError> {
        self.engine.letters_that(wanted).await
    }

    async fn close_letter(&self, letter: LetterId, how: Closed) -> Result<Closed, QueueError> {
        self.engine.close_letter(letter, how).await
    }

    async fn bury(
        &self,
        body: Bytes,
        pool: &PoolName,
        attempts: u32,
        reason: &Reason,
    ) -> Result<(), QueueError> {
        if body == TOO_MUCH {
            return Err(QueueError::Topology { name: "dead".to_owned(), answer: "too much".to_owned() });
        }
        self.answer(self.engine.bury(body, pool, attempts, reason)).await
    }

    async fn ask(&self, pool: &PoolName, question: Bytes, within: Duration) -> Result<Bytes, QueueError> {
        self.engine.ask(pool, question, within).await
    }

    async fn questions(&self, pool: &PoolName) -> Result<Box<dyn Questions>, QueueError> {
        self.engine.questions(pool).await
    }

    async fn list(&self, catalogue: &Catalogue) -> Result<(), QueueError> {
        self.engine.list(catalogue).await
    }

    async fn submit(&self, message: Bytes) -> Result<(), QueueError> {
        self.answer(self.engine.submit(message)).await
    }

    async fn intake(&self, at_once: u16) -> Result<Box<dyn Deliveries>, QueueError> {
        self.engine.intake(at_once).await
    }

    fn is_available(&self) -> bool {
        *self.fault.lock().unwrap() != Some(Fault::Away)
    }

    async fn close(&self) {
        // The test still looks at it.
    }
}

/// Jobs for a pool with ascending ids.
pub(super) fn jobs(pool: &str, count: usize) -> Vec<Job> {
    let mut highest = None;
    let jobs = (0..count).map(|n| {
        let id = JobId::mint(Timestamp::now(), highest);
        highest = Some(id);
        job(id, pool, n)
    });
    jobs.collect()
}

pub(super) fn job(id: JobId, pool: &str, n: usize) -> Job {
    let operation = Operation::SetImage { image: "acme/web:2".parse().unwrap(), service: None };
    let now = Timestamp::now();
    Job {
        version: Job::VERSION,
        id,
        chain: ChainId::of(id),
        target: TargetName::new(pool.parse().unwrap(), &format!("web-{n}")).unwrap(),
        slots: operation.slots(),
        operation,
        cause: proto::Cause { kind: CauseKind::Api, source: None, by: None, delivery: None },
        accepted_at: now,
        not_before: None,
        deadline: now.saturating_add(jiff::SignedDuration::from_hours(1)).unwrap(),
        gates: Gates::default(),
        replays: None,
        traceparent: None,
    }
}
