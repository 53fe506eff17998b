//! The history, read once from a point in the past and followed from then on.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use proto::{Event, EventId};
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::{Entry, Position, Queue, QueueError, Recorded, Since};

/// Pause before the history is opened again after it was cut off.
const REOPEN_AFTER: Duration = Duration::from_millis(500);

/// Follows the history without end, mends cut readers, and knows what has been seen.
///
/// Whoever decides from the history must first have read all that was said before: that is what
/// [`Chronicle::say`] and [`Chronicle::catch_up`] wait for.
pub struct Chronicle {
    queue: Arc<dyn Queue>,
    waiting: Arc<Waiting>,
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
        let reading = keep_reading(Arc::clone(&queue), since, Arc::clone(&waiting), read);
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = reading => {}
                () = stopped.cancelled() => {}
            }
        });
        Chronicle { queue, waiting, _stop: stop.drop_guard() }
    }

    /// Says an event and waits until it is seen in the history.
    ///
    /// # Errors
    /// When it was not taken, or not seen within `within`.
    pub async fn say(&self, event: &Event, within: Duration) -> Result<Position, SayError> {
        let seen = self.waiting.event(event.id);
        let said = async {
            self.queue.emit(event).await?;
            seen.await.map_err(|_| SayError::Queue(QueueError::Closed))
        };
        tokio::time::timeout(within, said).await.unwrap_or(Err(SayError::Unseen(within)))
    }

    /// Waits until everything said before this call has been read.
    ///
    /// # Errors
    /// When the marker could not be written, or was not seen within `within`.
    pub async fn catch_up(&self, within: Duration) -> Result<Position, SayError> {
        let marker = Uuid::now_v7();
        let seen = self.waiting.marker(marker);
        let caught_up = async {
            self.queue.mark(marker).await?;
            seen.await.map_err(|_| SayError::Queue(QueueError::Closed))
        };
        tokio::time::timeout(within, caught_up).await.unwrap_or(Err(SayError::Unseen(within)))
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
            Entry::Unreadable(_) => {}
        }
    }
}

/// Reads for ever; a reader that is cut off is opened again behind the last entry read.
async fn keep_reading(
    queue: Arc<dyn Queue>,
    mut since: Since,
    waiting: Arc<Waiting>,
    mut read: impl FnMut(&Recorded) + Send + 'static,
) {
    loop {
        let cut_off = match queue.history(since).await {
            Ok(mut history) => loop {
                match history.next().await {
                    Ok(recorded) if already_read(since, recorded.position) => {}
                    Ok(recorded) => {
                        since = Since::After(recorded.position);
                        read(&recorded);
                        waiting.tell(&recorded);
                    }
                    Err(error) => break error,
                }
            },
            Err(error) => error,
        };
        if matches!(cut_off, QueueError::Closed) {
            return;
        }
        tracing::debug!(
            error = &cut_off as &dyn std::error::Error,
            "the history was cut off, opening it again"
        );
        tokio::time::sleep(REOPEN_AFTER).await;
    }
}

/// An engine may begin somewhat before the place asked for.
fn already_read(since: Since, position: Position) -> bool {
    matches!(since, Since::After(last) if position <= last)
}
