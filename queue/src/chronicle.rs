//! The history, read once from a point in the past and followed from then on.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use proto::{Event, EventId};
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::{Entry, Position, Queue, QueueError, Recorded, Since};

/// Pause before the history is opened again after it was cut off.
const REOPEN_AFTER: Duration = Duration::from_millis(500);

/// Pause where waiting mends nothing: somebody has to change something first.
const REOPEN_REFUSED_AFTER: Duration = Duration::from_secs(5);

/// A reader begins anew at most this often: what it does not see may only be late.
const BEGIN_ANEW_EVERY: Duration = Duration::from_secs(30);

/// Follows the history without end, mends cut readers, and knows what has been seen.
///
/// Whoever decides from the history must first have read all that was said before: that is what
/// [`Chronicle::say`] and [`Chronicle::catch_up`] wait for.
pub struct Chronicle {
    queue: Arc<dyn Queue>,
    waiting: Arc<Waiting>,
    /// Told when something that was said is not seen: the reader may have gone deaf.
    unseen: Arc<Notify>,
    _stop: DropGuard,
}

/// Why an event does not count as said.
#[derive(Debug, thiserror::Error)]
pub enum SayError {
    /// The engine did not take it.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The engine took it, but it was not seen in the history in time. It may yet be.
    #[error("the event was not seen in the history within {0:?}")]
    Unseen(Duration),
}

#[derive(Default)]
struct Waiting {
    events: Mutex<HashMap<EventId, Vec<oneshot::Sender<Position>>>>,
    markers: Mutex<HashMap<Uuid, oneshot::Sender<Position>>>,
}

impl Chronicle {
    /// Follows the history from `since`; `read` is shown every entry once, in order, on one task.
    pub fn follow(
        queue: Arc<dyn Queue>,
        since: Since,
        read: impl FnMut(&Recorded) + Send + 'static,
    ) -> Chronicle {
        let waiting = Arc::new(Waiting::default());
        let stop = CancellationToken::new();
        let unseen = Arc::new(Notify::new());
        let reader =
            Reader { queue: Arc::clone(&queue), waiting: Arc::clone(&waiting), unseen: Arc::clone(&unseen) };
        let reading = reader.keep_reading(since, read);
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = reading => {}
                () = stopped.cancelled() => {}
            }
        });
        Chronicle { queue, waiting, unseen, _stop: stop.drop_guard() }
    }

    /// What it follows the history of.
    pub(crate) fn queue(&self) -> &dyn Queue {
        &*self.queue
    }

    /// Says an event and waits until it is seen in the history.
    ///
    /// # Errors
    /// When it was not taken, or not seen within `within`.
    pub async fn say(&self, event: &Event, within: Duration) -> Result<Position, SayError> {
        let seen = self.waiting.event(event.id);
        let taken = AtomicBool::new(false);
        let said = async {
            self.queue.emit(event).await?;
            taken.store(true, Ordering::Relaxed);
            seen.await.map_err(|_| SayError::Queue(QueueError::Closed))
        };
        tokio::time::timeout(within, said).await.unwrap_or_else(|_| self.not_seen(&taken, within))
    }

    /// Waits until everything said before this call has been read.
    ///
    /// # Errors
    /// When the marker could not be written, or was not seen within `within`.
    pub async fn catch_up(&self, within: Duration) -> Result<Position, SayError> {
        let marker = Uuid::now_v7();
        let seen = self.waiting.marker(marker);
        let taken = AtomicBool::new(false);
        let caught_up = async {
            self.queue.mark(marker).await?;
            taken.store(true, Ordering::Relaxed);
            seen.await.map_err(|_| SayError::Queue(QueueError::Closed))
        };
        tokio::time::timeout(within, caught_up).await.unwrap_or_else(|_| self.not_seen(&taken, within))
    }

    /// What the engine took and the reader does not see makes the reader doubtful, not the engine.
    fn not_seen(&self, taken: &AtomicBool, within: Duration) -> Result<Position, SayError> {
        if taken.load(Ordering::Relaxed) {
            self.unseen.notify_one();
        }
        Err(SayError::Unseen(within))
    }
}

impl Waiting {
    fn event(&self, id: EventId) -> oneshot::Receiver<Position> {
        let (seen, wait) = oneshot::channel();
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        // Those who stopped waiting are swept out here, so the map stays as small as the waiters are few.
        events.retain(|_, waiters| {
            waiters.retain(|waiter| !waiter.is_closed());
            !waiters.is_empty()
        });
        events.entry(id).or_default().push(seen);
        wait
    }

    fn marker(&self, marker: Uuid) -> oneshot::Receiver<Position> {
        let (seen, wait) = oneshot::channel();
        let mut markers = self.markers.lock().unwrap_or_else(PoisonError::into_inner);
        markers.retain(|_, waiter| !waiter.is_closed());
        markers.insert(marker, seen);
        wait
    }

    fn tell(&self, recorded: &Recorded) {
        let position = recorded.position;
        match &recorded.entry {
            Entry::Event(event) => {
                let waiters = self.events.lock().unwrap_or_else(PoisonError::into_inner).remove(&event.id);
                waiters.into_iter().flatten().for_each(|waiter| {
                    let _ = waiter.send(position);
                });
            }
            Entry::Marker(marker) => {
                let waiter = self.markers.lock().unwrap_or_else(PoisonError::into_inner).remove(marker);
                waiter.into_iter().for_each(|waiter| {
                    let _ = waiter.send(position);
                });
            }
            Entry::Catalogue(_) | Entry::Unreadable(_) => {}
        }
    }
}

/// Reads for ever.
struct Reader {
    queue: Arc<dyn Queue>,
    waiting: Arc<Waiting>,
    unseen: Arc<Notify>,
}

/// Why a reader stopped.
enum Stopped {
    /// It was cut off.
    CutOff(QueueError),
    /// What was said is not seen, though it may only be late.
    Deaf,
}

impl Reader {
    /// A reader that is cut off is opened again behind the last entry read. One that sees nothing any more begins
    /// anew: a history that was deleted and made again counts from the beginning, below the last entry read.
    async fn keep_reading(self, begin: Since, mut read: impl FnMut(&Recorded) + Send) {
        let (mut since, mut began_anew) = (begin, None::<Instant>);
        let mut refusals = Refusals::default();
        loop {
            let mut pause = REOPEN_AFTER;
            match self.read_on(&mut since, &mut read).await {
                Stopped::CutOff(QueueError::Closed) => return,
                Stopped::CutOff(error) => pause = refusals.tell(&error),
                Stopped::Deaf if began_anew.is_none_or(|at| at.elapsed() > BEGIN_ANEW_EVERY) => {
                    tracing::warn!("nothing is seen in the history any more, reading it again");
                    (since, began_anew) = (anew(since, begin), Some(Instant::now()));
                }
                Stopped::Deaf => {}
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn read_on(&self, since: &mut Since, read: &mut (impl FnMut(&Recorded) + Send)) -> Stopped {
        let mut history = match self.queue.history(*since).await {
            Ok(history) => history,
            Err(error) => return Stopped::CutOff(error),
        };
        loop {
            let next = tokio::select! {
                next = history.next() => next,
                () = self.unseen.notified() => return Stopped::Deaf,
            };
            match next {
                Ok(recorded) if already_read(*since, recorded.position) => {}
                Ok(recorded) => {
                    *since = Since::After(recorded.position);
                    read(&recorded);
                    self.waiting.tell(&recorded);
                }
                Err(error) => return Stopped::CutOff(error),
            }
        }
    }
}

/// What kept a reader from the history, told aloud once for each cause: whoever waits to see something there is only
/// told that it does not come.
#[derive(Debug, Default)]
struct Refusals {
    told: Option<String>,
}

impl Refusals {
    /// Tells of an error, and how long to wait after it.
    fn tell(&mut self, error: &QueueError) -> Duration {
        let source = error as &dyn std::error::Error;
        if error.is_passing() {
            tracing::debug!(error = source, "the history was cut off, opening it again");
            return REOPEN_AFTER;
        }
        let cause = error.to_string();
        if self.told.as_ref() == Some(&cause) {
            tracing::debug!(error = source, "the history still cannot be read");
        } else {
            tracing::warn!(
                error = source,
                "the history cannot be read, nothing is seen of any job; trying again"
            );
            self.told = Some(cause);
        }
        REOPEN_REFUSED_AFTER
    }
}

/// Where to begin anew. A time from which nothing at all was seen may lie ahead of the broker's clock, where a
/// history shows nothing, not even what is said later.
fn anew(reached: Since, begin: Since) -> Since {
    match reached {
        Since::Time(_) | Since::Clock(_) => Since::Start,
        Since::Start | Since::After(_) => begin,
    }
}

/// An engine may begin somewhat before the place asked for.
fn already_read(since: Since, position: Position) -> bool {
    matches!(since, Since::After(last) if position <= last)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tracing::{
        Event as Line, Level, Metadata, Subscriber,
        span::{Attributes, Id, Record},
    };

    use super::*;

    /// Counts what is told aloud.
    struct Ear(Arc<AtomicUsize>);

    impl Subscriber for Ear {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, line: &Line<'_>) {
            if *line.metadata().level() <= Level::WARN {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn a_history_that_cannot_be_read_is_told_once_for_each_cause() {
        let refused = |answer: &str| QueueError::Topology { name: "history".into(), answer: answer.into() };
        let away = QueueError::Unavailable { attempted: "read", source: "away".into() };
        let told = Arc::new(AtomicUsize::new(0));
        let mut refusals = Refusals::default();
        tracing::subscriber::with_default(Ear(Arc::clone(&told)), || {
            let mut tell = |error: &QueueError| (refusals.tell(error), told.load(Ordering::SeqCst));
            assert_eq!(tell(&away), (REOPEN_AFTER, 0));
            assert_eq!(tell(&refused("access refused")), (REOPEN_REFUSED_AFTER, 1));
            assert_eq!(tell(&away), (REOPEN_AFTER, 1));
            assert_eq!(tell(&refused("access refused")), (REOPEN_REFUSED_AFTER, 1));
            assert_eq!(tell(&refused("not a stream")), (REOPEN_REFUSED_AFTER, 2));
        });
    }
}
