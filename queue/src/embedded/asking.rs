//! Questions put to a pool, in memory: whoever could answer is in this very process.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use proto::PoolName;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{Answer, Question, Questions, QueueError};

/// Questions that may wait in one pool; a further one is refused as [`QueueError::Full`].
const MOST_WAITING: usize = 1024;

/// The listeners of all pools.
#[derive(Debug, Default)]
pub(super) struct Desks {
    desks: Mutex<HashMap<PoolName, Arc<Desk>>>,
}

/// Where one pool's questions wait. It is there as long as somebody listens.
#[derive(Debug, Default)]
struct Desk {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    listeners: usize,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    question: Bytes,
    answer: oneshot::Sender<Word>,
}

/// What an asker hears.
#[derive(Debug)]
enum Word {
    Answer(Bytes),
    /// The last listener left, and nobody had heard the question.
    NobodyLeft,
}

/// One listener of a pool.
pub(super) struct Listening {
    desks: Arc<Desks>,
    desk: Arc<Desk>,
    pool: PoolName,
    closed: CancellationToken,
}

impl Desks {
    /// Asks one of a pool's listeners.
    pub(super) async fn ask(
        &self,
        pool: &PoolName,
        question: Bytes,
        within: Duration,
    ) -> Result<Bytes, QueueError> {
        let answered = self.put(pool, question)?;
        match tokio::time::timeout(within, hear(answered)).await {
            Ok(Word::Answer(answer)) => Ok(answer),
            Ok(Word::NobodyLeft) => Err(QueueError::NobodyAlive(pool.clone())),
            Err(_) => Err(QueueError::NoAnswer { pool: pool.clone(), within }),
        }
    }

    fn put(&self, pool: &PoolName, question: Bytes) -> Result<oneshot::Receiver<Word>, QueueError> {
        // The desks are held meanwhile, so that the last listener cannot leave before the question lies there.
        let desks = self.desks();
        let desk = desks.get(pool).ok_or_else(|| QueueError::NobodyAlive(pool.clone()))?;
        let mut state = desk.state();
        state.waiting.retain(|waiting| !waiting.answer.is_closed());
        if state.waiting.len() >= MOST_WAITING {
            return Err(QueueError::Full);
        }
        let (answer, answered) = oneshot::channel();
        state.waiting.push_back(Waiting { question, answer });
        desk.changed.notify_one();
        Ok(answered)
    }

    /// A further listener of a pool.
    pub(super) fn listen(self: &Arc<Desks>, pool: &PoolName, closed: CancellationToken) -> Listening {
        let desk = Arc::clone(self.desks().entry(pool.clone()).or_default());
        desk.state().listeners += 1;
        Listening { desks: Arc::clone(self), desk, pool: pool.clone(), closed }
    }

    fn desks(&self) -> MutexGuard<'_, HashMap<PoolName, Arc<Desk>>> {
        self.desks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, pool: &PoolName, desk: &Desk) {
        let mut desks = self.desks();
        let mut state = desk.state();
        state.listeners -= 1;
        if state.listeners > 0 {
            // It may have been woken for a question that it did not take.
            desk.changed.notify_one();
            return;
        }
        desks.remove(pool);
        state.waiting.drain(..).for_each(|waiting| {
            let _ = waiting.answer.send(Word::NobodyLeft);
        });
    }
}

/// Waits for the word; for ever when the question was dropped unanswered.
async fn hear(answered: oneshot::Receiver<Word>) -> Word {
    match answered.await {
        Ok(word) => word,
        Err(_) => std::future::pending().await,
    }
}

impl Desk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first question that somebody still wants to have answered.
    fn first(&self) -> Option<Waiting> {
        let mut state = self.state();
        let first = std::iter::from_fn(|| state.waiting.pop_front()).find(|first| !first.answer.is_closed());
        if !state.waiting.is_empty() {
            // For the next listener: a notification counts once, however many questions came.
            self.changed.notify_one();
        }
        first
    }
}

#[async_trait]
impl Questions for Listening {
    async fn next(&mut self) -> Result<Question, QueueError> {
        loop {
            if self.closed.is_cancelled() {
                return Err(QueueError::Closed);
            }
            if let Some(Waiting { question, answer }) = self.desk.first() {
                return Ok(Question::new(question, Box::new(Back(answer))));
            }
            tokio::select! {
                biased;
                () = self.closed.cancelled() => {}
                () = self.desk.changed.notified() => {}
            }
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.desks.leave(&self.pool, &self.desk);
    }
}

/// The way back to an asker.
struct Back(oneshot::Sender<Word>);

#[async_trait]
impl Answer for Back {
    async fn answer(self: Box<Self>, answer: Bytes) {
        // Whoever asked may have left.
        let _ = self.0.send(Word::Answer(answer));
    }
}
