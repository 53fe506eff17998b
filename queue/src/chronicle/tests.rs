use std::sync::atomic::AtomicU64;

use async_trait::async_trait;
use bytes::Bytes;
use proto::{Catalogue, Job, PoolName, Reason, TargetName};

use super::*;
use crate::{
    Closed, DeadLetter, Deliveries, History, LetterFilter, LetterId, Live, Lock, Questions, Since,
};

/// A history of markers, with a pause before each.
#[derive(Default)]
struct Slow {
    entries: Mutex<Vec<Uuid>>,
    pause: Duration,
    /// Where each reader began.
    opened: Mutex<Vec<Since>>,
    /// Nothing is shown from here on.
    stands_at: AtomicU64,
}

struct Reading {
    queue: Arc<Slow>,
    next: u64,
}

impl Slow {
    fn of(entries: usize, pause: Duration) -> Arc<Slow> {
        let entries = Mutex::new((0..entries).map(|_| Uuid::now_v7()).collect());
        Arc::new(Slow { entries, pause, opened: Mutex::default(), stands_at: AtomicU64::new(u64::MAX) })
    }

    fn opened(&self) -> Vec<Since> {
        self.opened.lock().unwrap().clone()
    }

    fn entry(&self, at: u64) -> Option<Uuid> {
        let is_shown = at < self.stands_at.load(Ordering::SeqCst);
        self.entries.lock().unwrap().get(usize::try_from(at).unwrap()).copied().filter(|_| is_shown)
    }
}

#[async_trait]
impl History for Reading {
    async fn next(&mut self) -> Result<Recorded, QueueError> {
        loop {
            tokio::time::sleep(self.queue.pause).await;
            if let Some(marker) = self.queue.entry(self.next) {
                self.next += 1;
                return Ok(Recorded { position: Position(self.next - 1), entry: Entry::Marker(marker) });
            }
        }
    }
}

struct Handle(Arc<Slow>);

#[async_trait]
impl Queue for Handle {
    async fn mark(&self, marker: Uuid) -> Result<(), QueueError> {
        self.0.entries.lock().unwrap().push(marker);
        Ok(())
    }
    async fn history(&self, since: Since) -> Result<Box<dyn History>, QueueError> {
        self.0.opened.lock().unwrap().push(since);
        let next = if let Since::After(last) = since { last.0 + 1 } else { 0 };
        Ok(Box::new(Reading { queue: Arc::clone(&self.0), next }))
    }
    async fn emit(&self, _: &Event) -> Result<(), QueueError> {
        self.mark(Uuid::now_v7()).await
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
    async fn close_letter(&self, _: LetterId, _: Closed) -> Result<(), QueueError> {
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

/// A chronicle, and the places it was shown.
fn follow(queue: &Arc<Slow>, since: Since) -> (Chronicle, Arc<Mutex<Vec<u64>>>) {
    let read = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&read);
    let chronicle = Chronicle::follow(Arc::new(Handle(Arc::clone(queue))), since, move |recorded| {
        noted.lock().unwrap().push(recorded.position.0);
    });
    (chronicle, read)
}

const PATIENCE: Duration = Duration::from_secs(30);
const LONG: u64 = 12_000;

fn window() -> Since {
    Since::Time(Timestamp::now() - Duration::from_secs(25 * 3600))
}

#[tokio::test(start_paused = true)]
async fn a_history_that_takes_longer_than_anybody_waits_is_read_once_to_its_end() {
    let queue = Slow::of(usize::try_from(LONG).unwrap(), Duration::from_millis(10));
    let (chronicle, read) = follow(&queue, window());
    // As whoever starts and asks again and again, beside others that want to see what they said.
    while chronicle.catch_up(PATIENCE).await.is_err() {
        chronicle.catch_up(Duration::from_secs(10)).await.unwrap_err();
    }
    let read = read.lock().unwrap();
    assert!(read.iter().copied().eq(0..read.len() as u64), "each once, in order");
    assert!(read.len() as u64 > LONG);
    assert_eq!(queue.opened().len(), 1, "{:?}", queue.opened());
}

#[tokio::test(start_paused = true)]
async fn who_reads_up_waits_for_as_long_as_it_gets_on_and_hears_how_far_it_is() {
    let queue = Slow::of(usize::try_from(LONG).unwrap(), Duration::from_millis(10));
    let (chronicle, _) = follow(&queue, window());
    let mut told = Vec::new();
    let reached = chronicle.read_up(PATIENCE, |reached| told.push(reached.entries)).await.unwrap();
    assert_eq!(reached, Position(LONG));
    assert_eq!(told.len(), 4 - 1, "{told:?}");
    assert!(told.is_sorted() && told[0] > 2000, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_sees_nothing_goes_on_where_it_was_and_only_then_begins_anew() {
    let queue = Slow::of(100, Duration::from_millis(10));
    let (chronicle, _) = follow(&queue, window());
    let head = chronicle.catch_up(PATIENCE).await.unwrap();
    queue.stands_at.store(head.0 + 1, Ordering::SeqCst);
    chronicle.read_up(PATIENCE, |_| {}).await.unwrap_err();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(queue.opened()[1..], [Since::After(head)]);
    chronicle.catch_up(PATIENCE).await.unwrap_err();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(matches!(queue.opened()[2], Since::Time(_)), "{:?}", queue.opened());
    queue.stands_at.store(u64::MAX, Ordering::SeqCst);
    chronicle.catch_up(PATIENCE).await.unwrap();
    assert_eq!(queue.opened().len(), 3);
}
