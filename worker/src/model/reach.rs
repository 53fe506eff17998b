//! The queue as one worker reaches it: at gates, with short pauses, and lost when the worker is frozen.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use proto::{Catalogue, Event, Job, PoolName, Reason, State, TargetName};
use queue::{
    Bytes, Closed, DeadLetter, Deliveries, Delivery, History, LetterFilter, LetterId, Live, LocalLocks, Lock,
    Questions, Queue, QueueError, Settle, Settlement, Since,
};

use super::gates::Gates;

/// Pauses are cut down so that a life of minutes takes a second.
const HASTE: u32 = 100;

/// Which worker holds which target, in all processes of the model.
pub(super) type Holders = Arc<Mutex<HashMap<TargetName, (usize, u64)>>>;

/// What a worker has in hand; taken from it when it is frozen.
type Hand = Mutex<Option<Delivery>>;

pub(super) struct Reach {
    pub(super) worker: usize,
    pub(super) engine: Arc<dyn Queue>,
    pub(super) gates: Arc<Gates>,
    pub(super) holders: Holders,
    pub(super) hands: Mutex<Vec<Weak<Hand>>>,
    /// How often it was frozen.
    pub(super) freezes: AtomicU64,
}

impl Reach {
    /// Takes everything from the worker that a broker takes from one that is silent for too long. Its attempts do not
    /// know; what they were about to say is lost with the connection.
    pub(super) fn freeze(&self) {
        let worker = self.worker;
        self.holders.lock().unwrap().retain(|_, (holder, _)| *holder != worker);
        for hand in self.hands.lock().unwrap().drain(..).filter_map(|hand| hand.upgrade()) {
            drop(hand.lock().unwrap().take());
        }
        self.freezes.fetch_add(1, Ordering::SeqCst);
    }
}

/// A target's entry among the holders, taken out when it is dropped.
struct Hold {
    holders: Holders,
    target: TargetName,
    number: u64,
}

impl Hold {
    fn stands(&self) -> bool {
        self.holders.lock().unwrap().get(&self.target).is_some_and(|(_, number)| *number == self.number)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.stands() {
            self.holders.lock().unwrap().remove(&self.target);
        }
    }
}

struct Taken {
    reach: Arc<Reach>,
    deliveries: Box<dyn Deliveries>,
}

struct Handed {
    reach: Arc<Reach>,
    target: TargetName,
    hand: Arc<Hand>,
}

#[async_trait]
impl Deliveries for Taken {
    async fn next(&mut self) -> Result<Delivery, QueueError> {
        let delivery = self.deliveries.next().await?;
        let (body, attempt) = (delivery.body().clone(), delivery.attempt());
        let target = Job::decode(&body).unwrap().target;
        let hand = Arc::new(Mutex::new(Some(delivery)));
        self.reach.hands.lock().unwrap().push(Arc::downgrade(&hand));
        Ok(Delivery::new(body, attempt, Box::new(Handed { reach: Arc::clone(&self.reach), target, hand })))
    }
}

#[async_trait]
impl Settle for Handed {
    async fn settle(self: Box<Self>, how: Settlement) -> Result<(), QueueError> {
        self.reach.gates.pass(self.reach.worker, &self.target).await;
        let delivery = self.hand.lock().unwrap().take().ok_or(QueueError::NotOurs)?;
        delivery.settle(hasty(how)).await
    }

    fn is_ours(&self) -> bool {
        self.hand.lock().unwrap().as_ref().is_some_and(Delivery::is_ours)
    }
}

fn hasty(how: Settlement) -> Settlement {
    match how {
        Settlement::Retry { after } => Settlement::Retry { after: after / HASTE },
        Settlement::Snooze { after } => Settlement::Snooze { after: after / HASTE },
        Settlement::SetAside { after } => Settlement::SetAside { after: after / HASTE },
        Settlement::Ack | Settlement::Release | Settlement::Dead { .. } | Settlement::DeadAfter { .. } => how,
    }
}

/// How a worker's queue is given to it.
pub(super) struct Shared(pub(super) Arc<Reach>);

#[async_trait]
impl Queue for Shared {
    async fn take(&self, pool: &PoolName, at_once: u16) -> Result<Box<dyn Deliveries>, QueueError> {
        let deliveries = self.0.engine.take(pool, at_once).await?;
        Ok(Box::new(Taken { reach: Arc::clone(&self.0), deliveries }))
    }

    async fn lock(&self, target: &TargetName) -> Result<Option<Lock>, QueueError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        self.0.gates.pass(self.0.worker, target).await;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        {
            let mut holders = self.0.holders.lock().unwrap();
            if holders.contains_key(target) {
                return Ok(None);
            }
            holders.insert(target.clone(), (self.0.worker, number));
        }
        let hold = || Hold { holders: Arc::clone(&self.0.holders), target: target.clone(), number };
        let (ours, held) = (hold(), std::mem::ManuallyDrop::new(hold()));
        let local = LocalLocks::default().enter(target).unwrap();
        Ok(Some(Lock::new(local, Box::new(ours), move || held.stands())))
    }

    async fn emit(&self, event: &Event) -> Result<(), QueueError> {
        if !matches!(event.state(), State::Accepted | State::Progress) {
            let before = self.0.freezes.load(Ordering::SeqCst);
            self.0.gates.pass(self.0.worker, &event.subject).await;
            if self.0.freezes.load(Ordering::SeqCst) > before {
                return Err(QueueError::Unavailable { attempted: "say an event", source: "frozen".into() });
            }
        }
        self.0.engine.emit(event).await
    }

    async fn publish(&self, job: &Job) -> Result<(), QueueError> {
        self.0.engine.publish(job).await
    }

    async fn mark(&self, marker: uuid::Uuid) -> Result<(), QueueError> {
        self.0.engine.mark(marker).await
    }

    async fn history(&self, since: Since) -> Result<Box<dyn History>, QueueError> {
        self.0.engine.history(since).await
    }

    async fn live(&self) -> Result<Box<dyn Live>, QueueError> {
        self.0.engine.live().await
    }

    async fn letters_that(&self, wanted: LetterFilter) -> Result<Vec<DeadLetter>, QueueError> {
        self.0.engine.letters_that(wanted).await
    }

    async fn close_letter(&self, letter: LetterId, how: Closed) -> Result<Closed, QueueError> {
        self.0.engine.close_letter(letter, how).await
    }

    async fn bury(
        &self,
        body: Bytes,
        pool: &PoolName,
        attempts: u32,
        reason: &Reason,
    ) -> Result<(), QueueError> {
        self.0.engine.bury(body, pool, attempts, reason).await
    }

    async fn ask(&self, pool: &PoolName, question: Bytes, within: Duration) -> Result<Bytes, QueueError> {
        self.0.engine.ask(pool, question, within).await
    }

    async fn questions(&self, pool: &PoolName) -> Result<Box<dyn Questions>, QueueError> {
        self.0.engine.questions(pool).await
    }

    async fn list(&self, catalogue: &Catalogue) -> Result<(), QueueError> {
        self.0.engine.list(catalogue).await
    }

    async fn submit(&self, message: Bytes) -> Result<(), QueueError> {
        self.0.engine.submit(message).await
    }

    async fn intake(&self, at_once: u16) -> Result<Box<dyn Deliveries>, QueueError> {
        self.0.engine.intake(at_once).await
    }

    fn is_available(&self) -> bool {
        self.0.engine.is_available()
    }

    async fn close(&self) {}
}
