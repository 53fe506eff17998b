//! A history that takes its time, for tests of those who read it: no engine, and nothing but a history.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use proto::{Catalogue, Event, Job, PoolName, Reason, TargetName};
use uuid::Uuid;

use crate::{
    Closed, DeadLetter, Deliveries, Entry, History, LetterFilter, LetterId, Live, Lock, Position, Questions,
    Queue, QueueError, Recorded, Since,
};

/// A history in memory that pauses before each entry.
#[derive(Clone)]
pub struct SlowHistory(Arc<Inside>);

struct Inside {
    entries: Mutex<Vec<Entry>>,
    pause: Duration,
    /// Each reader is cut off after so many entries.
    cut_after: u64,
    opened: Mutex<Vec<Since>>,
    /// From this place on nothing is shown.
    shown: AtomicU64,
    /// So many markers are lost before one is kept.
    markers_lost: AtomicU64,
}

struct Reading {
    inside: Arc<Inside>,
    next: u64,
    left: u64,
}

impl SlowHistory {
    /// One of these entries, with this pause before each; readers are cut off after `cut_after` of them.
    pub fn new(entries: impl IntoIterator<Item = Entry>, pause: Duration, cut_after: u64) -> SlowHistory {
        SlowHistory(Arc::new(Inside {
            entries: Mutex::new(entries.into_iter().collect()),
            pause,
            cut_after,
            opened: Mutex::default(),
            shown: AtomicU64::new(u64::MAX),
            markers_lost: AtomicU64::new(0),
        }))
    }

    /// Where each reader began so far.
    pub fn opened(&self) -> Vec<Since> {
        self.0.opened.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shows nothing from this place on, until it is raised again.
    pub fn show_up_to(&self, place: Position) {
        self.0.shown.store(place.0, Ordering::SeqCst);
    }

    /// Loses the next marker, as a broker does that crashes before it has synced.
    pub fn lose_a_marker(&self) {
        self.0.markers_lost.fetch_add(1, Ordering::SeqCst);
    }

    fn add(&self, entry: Entry) {
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }
}

impl Inside {
    fn entry(&self, at: u64) -> Option<Entry> {
        let is_shown = at < self.shown.load(Ordering::SeqCst);
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        usize::try_from(at).ok().and_then(|at| entries.get(at).cloned()).filter(|_| is_shown)
    }

    fn begin(&self, since: Since) -> u64 {
        match since {
            Since::Start | Since::Time(_) => 0,
            Since::Clock(_) => self.entries.lock().unwrap_or_else(PoisonError::into_inner).len() as u64,
            Since::After(last) => last.0 + 1,
        }
    }
}

#[async_trait]
impl History for Reading {
    async fn next(&mut self) -> Result<Recorded, QueueError> {
        loop {
            tokio::time::sleep(self.inside.pause).await;
            if self.left == 0 {
                return Err(QueueError::Unavailable {
                    attempted: "read the history",
                    source: "cut off".into(),
                });
            }
            if let Some(entry) = self.inside.entry(self.next) {
                (self.next, self.left) = (self.next + 1, self.left - 1);
                return Ok(Recorded { position: Position(self.next - 1), entry });
            }
        }
    }
}

#[async_trait]
impl Queue for SlowHistory {
    async fn mark(&self, marker: Uuid) -> Result<(), QueueError> {
        let lost = &self.0.markers_lost;
        let is_lost =
            lost.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if !is_lost {
            self.add(Entry::Marker(marker));
        }
        Ok(())
    }
    async fn emit(&self, event: &Event) -> Result<(), QueueError> {
        self.add(Entry::Event(Box::new(event.clone())));
        Ok(())
    }
    async fn history(&self, since: Since) -> Result<Box<dyn History>, QueueError> {
        self.0.opened.lock().unwrap_or_else(PoisonError::into_inner).push(since);
        let (next, left) = (self.0.begin(since), self.0.cut_after);
        Ok(Box::new(Reading { inside: Arc::clone(&self.0), next, left }))
    }
    fn is_available(&self) -> bool {
        true
    }
    async fn close(&self) {}

    async fn publish(&self, _: &Job) -> Result<(), QueueError> {
        Err(QueueError::Closed)
    }
    async fn take(&self, _: &PoolName, _: u16) -> Result<Box<dyn Deliveries>, QueueError> {
        Err(QueueError::Closed)
    }
    async fn lock(&self, _: &TargetName) -> Result<Option<Lock>, QueueError> {
        Err(QueueError::Closed)
    }
    async fn live(&self) -> Result<Box<dyn Live>, QueueError> {
        Err(QueueError::Closed)
    }
    async fn letters_that(&self, _: LetterFilter) -> Result<Vec<DeadLetter>, QueueError> {
        Err(QueueError::Closed)
    }
    async fn close_letter(&self, _: LetterId, _: Closed) -> Result<Closed, QueueError> {
        Err(QueueError::Closed)
    }
    async fn bury(&self, _: Bytes, _: &PoolName, _: u32, _: &Reason) -> Result<(), QueueError> {
        Err(QueueError::Closed)
    }
    async fn ask(&self, _: &PoolName, _: Bytes, _: Duration) -> Result<Bytes, QueueError> {
        Err(QueueError::Closed)
    }
    async fn questions(&self, _: &PoolName) -> Result<Box<dyn Questions>, QueueError> {
        Err(QueueError::Closed)
    }
    async fn list(&self, _: &Catalogue) -> Result<(), QueueError> {
        Err(QueueError::Closed)
    }
    async fn submit(&self, _: Bytes) -> Result<(), QueueError> {
        Err(QueueError::Closed)
    }
    async fn intake(&self, _: u16) -> Result<Box<dyn Deliveries>, QueueError> {
        Err(QueueError::Closed)
    }
}
