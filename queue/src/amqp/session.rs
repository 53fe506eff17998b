//! One session with a broker: three connections that live and end together.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use lapin::{Channel, Connection, Event};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    connect::{Connections, connect},
    names::Names,
    publish::Publisher,
    topology::declare_common,
};
use crate::{AmqpSettings, QueueError};

/// How often the connections are looked at, beside what they say themselves.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Longest wait for a connection to say goodbye.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// A live session: everything on it was declared, and ends with it.
pub(super) struct Session {
    connections: Connections,
    publisher: Publisher,
    publishing: Channel,
    blocked: watch::Sender<bool>,
    ended: CancellationToken,
    ending: Mutex<Option<Ending>>,
}

/// Why a session ended.
#[derive(Debug, Clone)]
enum Ending {
    /// We closed it.
    Closed,
    /// Something on it broke.
    Broken(String),
}

impl Session {
    /// Connects to the first host that answers, and declares what every process uses.
    pub(super) async fn open(settings: &AmqpSettings, names: &Names) -> Result<Session, QueueError> {
        let connections = connect(settings).await?;
        declare_common(&connections.publishing, names, &settings.keep).await?;
        let (publisher, publishing) = Publisher::open(&connections.publishing).await?;
        Ok(Session {
            connections,
            publisher,
            publishing,
            blocked: watch::Sender::new(false),
            ended: CancellationToken::new(),
            ending: Mutex::new(None),
        })
    }

    pub(super) fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Bytes of the largest frame that the broker takes from us.
    pub(super) fn largest_frame(&self) -> usize {
        match self.connections.publishing.configuration().frame_max() {
            0 => usize::MAX,
            bytes => usize::try_from(bytes).unwrap_or(usize::MAX),
        }
    }

    /// For jobs and locks.
    pub(super) fn consuming(&self) -> &Connection {
        &self.connections.consuming
    }

    /// For the history and live events.
    pub(super) fn reading(&self) -> &Connection {
        &self.connections.reading
    }

    pub(super) fn host(&self) -> String {
        self.connections.host.to_string()
    }

    /// Ends the session, and says what broke.
    pub(super) fn end(&self, why: impl Into<String>) {
        self.end_as(Ending::Broken(why.into()));
    }

    fn end_as(&self, ending: Ending) {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(ending);
        self.ended.cancel();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_cancelled() || !self.is_whole()
    }

    /// Waits for its end.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Why it ended.
    pub(super) fn why(&self) -> String {
        match &*self.ending.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(Ending::Broken(why)) => why.clone(),
            Some(Ending::Closed) | None => "the session was closed".to_owned(),
        }
    }

    /// What its end means to one who was reading on it.
    pub(super) fn cut_off(&self, attempted: &'static str) -> QueueError {
        let ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match ending {
            Some(Ending::Closed) => QueueError::Closed,
            Some(Ending::Broken(why)) => QueueError::Unavailable { attempted, source: why.into() },
            None => QueueError::Unavailable { attempted, source: "the broker stopped giving any".into() },
        }
    }

    /// Whether the broker, low on memory or disk, takes nothing for now.
    pub(super) fn is_blocked(&self) -> bool {
        *self.blocked.borrow()
    }

    /// Waits until the broker takes messages, or the session ends.
    pub(super) async fn unblocked(&self) {
        let mut blocked = self.blocked.subscribe();
        tokio::select! {
            _ = blocked.wait_for(|blocked| !blocked) => {}
            () = self.ended() => {}
        }
    }

    /// Watches the connections until one ends, and ends the others with it.
    pub(super) async fn watch(&self) {
        let Connections { publishing, consuming, reading, .. } = &self.connections;
        tokio::select! {
            () = self.listen(publishing) => {}
            () = self.listen(consuming) => {}
            () = self.listen(reading) => {}
            () = self.look() => {}
            () = self.ended() => {}
        }
        self.end("a connection was lost");
    }

    /// Says goodbye on every connection; whatever does not answer is left behind.
    pub(super) async fn close(&self) {
        self.end_as(Ending::Closed);
        let Connections { publishing, consuming, reading, .. } = &self.connections;
        let goodbye = async |connection: &Connection| {
            let closed = connection.close(200, "bye".into());
            let _ = tokio::time::timeout(CLOSE_WITHIN, closed).await;
        };
        futures::join!(goodbye(publishing), goodbye(consuming), goodbye(reading));
    }

    /// Returns when the connection breaks. A connection may have one listener only: several compete.
    #[expect(clippy::wildcard_enum_match_arm, reason = "what a later lapin adds ends no session either")]
    async fn listen(&self, connection: &Connection) {
        let mut events = Box::pin(connection.events_listener());
        while let Some(event) = events.next().await {
            match event {
                Event::ConnectionBlocked(reason) => {
                    tracing::warn!(host = %self.host(), reason, "the broker takes no messages for now");
                    self.blocked.send_replace(true);
                }
                Event::ConnectionUnblocked => {
                    tracing::info!(host = %self.host(), "the broker takes messages again");
                    self.blocked.send_replace(false);
                }
                // A channel's error, as of a lock that somebody else holds, is told here too, and costs
                // that channel only.
                Event::Error(error) if error.is_amqp_soft_error() => {}
                Event::Error(error) => return self.end(error.to_string()),
                _ => {}
            }
        }
    }

    /// Returns when a connection or the publishing channel is found broken.
    async fn look(&self) {
        let mut every = tokio::time::interval(LOOK_EVERY);
        while self.is_whole() {
            every.tick().await;
        }
    }

    fn is_whole(&self) -> bool {
        let Connections { publishing, consuming, reading, .. } = &self.connections;
        let connected = |connection: &Connection| connection.status().connected();
        connected(publishing)
            && connected(consuming)
            && connected(reading)
            && self.publishing.status().connected()
    }
}
