//! The history, read once from a point in the past and followed from then on.

mod reader;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use proto::{Event, EventId};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, MissedTickBehavior, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use self::reader::Reader;
use crate::{Entry, Position, Queue, QueueError, Recorded, Since};

/// How long people must have waited in vain, one after the other if need be, and nothing at all have been read, before the
/// reader is doubted: a pause of a second or two is one of the broker, or of this process.
const DEAF_AFTER: Duration = Duration::from_secs(5);

/// Follows the history without end, mends cut readers, and knows what has been seen.
///
/// Whoever decides from the history must first have read all that was said before: that is what
/// [`Chronicle::say`] and [`Chronicle::catch_up`] wait for.
pub struct Chronicle {
    queue: Arc<dyn Queue>,
    waiting: Arc<Waiting>,
    course: Arc<Course>,
    _stop: DropGuard,
}

/// How far a reader of the history is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// Entries read so far.
    pub entries: u64,
    /// When the last event read was said; none where none was read yet.
    pub said_at: Option<Timestamp>,
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

/// The reader's course, for those who wonder why they do not see something.
struct Course {
    progress: Mutex<Progress>,
    /// Told when something that was said is not seen, and nothing else is either: the reader may have gone deaf.
    unseen: Notify,
}

struct Progress {
    reached: Reached,
    /// When the last entry was read, or the history opened.
    read_at: Instant,
    /// Since when something is to be read that nobody waits for, where nothing was read since.
    expected_since: Option<Instant>,
    /// Since when what the engine took is not seen, nor anything else.
    unseen_since: Option<Instant>,
    /// Whether the reader is doubted for that.
    is_doubted: bool,
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
        let course = Arc::new(Course::new());
        let reader =
            Reader { queue: Arc::clone(&queue), waiting: Arc::clone(&waiting), course: Arc::clone(&course) };
        let reading = reader.keep_reading(since, read);
        let (stopped, watched) = (stop.clone(), Arc::clone(&course));
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = reading => {}
                () = watched.watch() => {}
                () = stopped.cancelled() => {}
            }
        });
        Chronicle { queue, waiting, course, _stop: stop.drop_guard() }
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
        let (seen, began) = (self.waiting.event(event.id), Instant::now());
        let taken = AtomicBool::new(false);
        let said = async {
            self.queue.emit(event).await?;
            taken.store(true, Ordering::Relaxed);
            seen.await.map_err(|_| SayError::Queue(QueueError::Closed))
        };
        timeout(within, said).await.unwrap_or_else(|_| self.not_seen(&taken, (began, within)))
    }

    /// Says an event and waits until the engine has taken it, as [`Queue::emit`] does: it need not have been read here yet,
    /// and where a subscriber's full queue refused it for all, nobody knows that the history has it. Should nothing be read
    /// any more, that is noticed as it is by [`Chronicle::say`].
    ///
    /// # Errors
    /// When it was not taken, or not confirmed within `within`.
    pub async fn tell(&self, event: &Event, within: Duration) -> Result<(), SayError> {
        let began = Instant::now();
        timeout(within, self.queue.emit(event)).await.map_err(|_| SayError::Unseen(within))??;
        self.course.expect(began);
        Ok(())
    }

    /// Waits until everything said before this call has been read.
    ///
    /// # Errors
    /// When the marker could not be written, or was not seen within `within`.
    pub async fn catch_up(&self, within: Duration) -> Result<Position, SayError> {
        let (marker, began) = (Uuid::now_v7(), Instant::now());
        let seen = self.waiting.marker(marker);
        let taken = AtomicBool::new(false);
        let caught_up = async {
            self.queue.mark(marker).await?;
            taken.store(true, Ordering::Relaxed);
            seen.await.map_err(|_| SayError::Queue(QueueError::Closed))
        };
        timeout(within, caught_up).await.unwrap_or_else(|_| self.not_seen(&taken, (began, within)))
    }

    /// As [`Chronicle::catch_up`], however much there is to read: for as long as it is getting on. Each time `patience`
    /// is over, `still_at` is told how far it is.
    ///
    /// # Errors
    /// When the marker could not be written within `patience`, or nothing at all was read for so long.
    pub async fn read_up(
        &self,
        patience: Duration,
        mut still_at: impl FnMut(Reached) + Send,
    ) -> Result<Position, SayError> {
        let mut seen = FuturesUnordered::new();
        loop {
            let began = Instant::now();
            // A fresh one each time: one that a broker lost in a crash is waited for in vain, whatever else is read.
            seen.push(self.write_marker(patience).await?);
            if let Ok(Some(seen)) = timeout(patience, seen.next()).await {
                return seen.map_err(|_| SayError::Queue(QueueError::Closed));
            }
            if self.course.doubt(began) {
                return Err(SayError::Unseen(patience));
            }
            still_at(self.course.reached());
        }
    }

    /// Writes a marker, and gives where it is told to be seen.
    async fn write_marker(&self, patience: Duration) -> Result<oneshot::Receiver<Position>, SayError> {
        let marker = Uuid::now_v7();
        let seen = self.waiting.marker(marker);
        timeout(patience, self.queue.mark(marker)).await.map_err(|_| SayError::Unseen(patience))??;
        Ok(seen)
    }

    /// What the engine took and the reader does not see may make the reader doubtful.
    fn not_seen(
        &self,
        taken: &AtomicBool,
        (began, within): (Instant, Duration),
    ) -> Result<Position, SayError> {
        if taken.load(Ordering::Relaxed) {
            self.course.doubt(began);
        }
        Err(SayError::Unseen(within))
    }
}

impl Course {
    fn new() -> Course {
        let reached = Reached { entries: 0, said_at: None };
        let progress = Progress {
            reached,
            read_at: Instant::now(),
            expected_since: None,
            unseen_since: None,
            is_doubted: false,
        };
        Course { progress: Mutex::new(progress), unseen: Notify::new() }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reached(&self) -> Reached {
        self.progress().reached
    }

    /// Takes note that the history was opened.
    fn opened(&self) {
        self.progress().goes_on();
    }

    /// Takes note of an entry that was read.
    fn read(&self, recorded: &Recorded) {
        let mut progress = self.progress();
        progress.reached.entries += 1;
        if let Entry::Event(event) = &recorded.entry {
            progress.reached.said_at = Some(event.time);
        }
        progress.goes_on();
    }

    /// Who waited since `began` for what the engine took has reason to doubt the reader, not the engine, where that has
    /// read nothing at all since. One that reads on is only late: what it has read must not be thrown away.
    fn doubt(&self, began: Instant) -> bool {
        let is_deaf = {
            let mut progress = self.progress();
            if progress.read_at > began {
                return false;
            }
            let since = *progress.unseen_since.get_or_insert(began);
            progress.is_doubted |= since.elapsed() >= DEAF_AFTER;
            progress.is_doubted
        };
        if is_deaf {
            self.unseen.notify_one();
        }
        is_deaf
    }

    /// Takes note that what was said since `began` is to be read.
    fn expect(&self, began: Instant) {
        let mut progress = self.progress();
        // It may have been read before it was confirmed.
        if progress.read_at <= began {
            progress.expected_since.get_or_insert(began);
        }
    }

    /// Has the reader doubted where what is to be read is not, nor anything else; without end.
    async fn watch(&self) {
        let mut looks = tokio::time::interval(DEAF_AFTER);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let expected = self.progress().expected_since;
            if let Some(began) = expected.filter(|began| began.elapsed() >= DEAF_AFTER) {
                self.doubt(began);
            }
        }
    }

    /// Whether the doubt still stands that was told of: of several who doubt the same silence only the first opens the
    /// history again.
    fn is_doubted(&self) -> bool {
        self.progress().is_doubted
    }
}

impl Progress {
    fn goes_on(&mut self) {
        self.read_at = Instant::now();
        (self.expected_since, self.unseen_since, self.is_doubted) = (None, None, false);
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
