//! Who watches what, and the stream of events that they share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bollard::models::EventMessage;
use futures::StreamExt;
use proto::Timestamp;
use tokio::{
    sync::broadcast::{self, error::RecvError},
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::locked;
use crate::target::{TargetError, swarm::client::Client};

/// Events kept for a rollout that is slow to read them; one that missed some reads its service again.
const MOST_KEPT: usize = 1024;
/// How long a stream may be silent: an engine sends nothing where nothing happens, and a connection that was lost
/// without a word on its way sends nothing either. Then it is opened again, and who watches looks once.
const SILENT_AT_MOST: Duration = Duration::from_secs(60);
/// Before the stream is opened again.
const REOPEN_AFTER: Duration = Duration::from_secs(1);

/// Something happened to the service with this id; none: the stream broke, so anything may have happened to any.
type Said = Option<Arc<str>>;

/// Who watches, by the id of the service.
pub(in crate::target::swarm) struct Seats {
    watched: HashMap<String, Watched>,
    said: broadcast::Sender<Said>,
    stream: Option<JoinHandle<()>>,
    reopen_at: Instant,
}

#[derive(Default)]
struct Watched {
    by: usize,
    /// The moment of the version that was read last, by the engine's clock.
    read: Option<Timestamp>,
}

impl Default for Seats {
    fn default() -> Seats {
        let (said, _) = broadcast::channel(MOST_KEPT);
        Seats { watched: HashMap::new(), said, stream: None, reopen_at: Instant::now() }
    }
}

impl Seats {
    pub(super) fn watched(&self) -> Vec<String> {
        self.watched.keys().cloned().collect()
    }

    fn is_streaming(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| !stream.is_finished())
    }
}

/// From where one rollout is watched. The stream ends with the last seat.
pub(in crate::target::swarm) struct Seat {
    id: String,
    seats: Arc<Mutex<Seats>>,
    said: broadcast::Receiver<Said>,
}

impl Seat {
    pub(super) fn take(seats: &Arc<Mutex<Seats>>, id: &str) -> Seat {
        let mut all = locked(seats);
        all.watched.entry(id.to_owned()).or_default().by += 1;
        Seat { id: id.to_owned(), seats: Arc::clone(seats), said: all.said.subscribe() }
    }

    /// The service was read, as it is since that moment.
    pub(in crate::target::swarm) fn has_read(&self, version_of: Option<Timestamp>) {
        if let Some(watched) = locked(&self.seats).watched.get_mut(&self.id) {
            watched.read = version_of;
        }
    }

    /// Sees to it that events come. Where nobody listened until now they come from the oldest version on that anybody
    /// has read, so that nothing after it is missed.
    pub(in crate::target::swarm) async fn listen(&self, client: &Client) -> Result<(), TargetError> {
        let is_to_open = |seats: &Seats| !seats.is_streaming() && Instant::now() >= seats.reopen_at;
        if !is_to_open(&locked(&self.seats)) {
            return Ok(());
        }
        let since = locked(&self.seats).watched.values().filter_map(|watched| watched.read).min();
        let mut events = client.service_events(since).await?;
        let mut seats = locked(&self.seats);
        if is_to_open(&seats) {
            let said = seats.said.clone();
            seats.reopen_at = Instant::now() + REOPEN_AFTER;
            seats.stream = Some(tokio::spawn(async move {
                while let Ok(Some(Ok(event))) = timeout(SILENT_AT_MOST, events.next()).await {
                    // Nobody listens: nobody needs it.
                    let _ = said.send(service_of(&event));
                }
                let _ = said.send(None);
            }));
        }
        Ok(())
    }

    /// Whether events are heard.
    pub(in crate::target::swarm) fn is_heard(&self) -> bool {
        locked(&self.seats).is_streaming()
    }

    /// Waits until something may have happened to the service; what happened to it until then counts as one.
    pub(in crate::target::swarm) async fn event(&mut self) {
        loop {
            match self.said.recv().await {
                Ok(Some(id)) if *id != *self.id => {}
                Ok(Some(_) | None) | Err(RecvError::Lagged(_)) => break,
                // The sender is kept as long as any seat is.
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
        self.said = self.said.resubscribe();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = locked(&self.seats);
        if let Some(watched) = seats.watched.get_mut(&self.id) {
            watched.by -= 1;
            if watched.by == 0 {
                seats.watched.remove(&self.id);
            }
        }
        if seats.watched.is_empty()
            && let Some(stream) = seats.stream.take()
        {
            stream.abort();
            seats.reopen_at = Instant::now();
        }
    }
}

fn service_of(event: &EventMessage) -> Said {
    event.actor.as_ref()?.id.as_deref().map(Arc::from)
}
