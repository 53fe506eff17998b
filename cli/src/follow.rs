//! Events as they happen, across cut connections.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use proto::{Event, EventId, JobId};
use reqwest::Response;

use crate::{
    client::{Client, ClientError},
    sse::{Message, Parser},
};

/// How long Longshore may be away (a restart, a new version) before the following ends.
const PATIENCE: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Events remembered so that a repeat after a resume is not told twice.
const REMEMBERED: usize = 1000;

/// Follows an event stream; a cut one is opened again behind the last event seen.
pub(crate) struct Following<'a> {
    client: &'a Client,
    path: String,
    stream: Option<Stream>,
    last_id: Option<String>,
    seen: Seen,
    /// Whether the stream could be opened at all: what is not there at first is not waited for.
    opened: bool,
    patience: Duration,
}

/// The events that were told last, by name: what arrives twice is told once.
#[derive(Debug, Default)]
pub(crate) struct Seen(VecDeque<EventId>);

struct Stream {
    response: Response,
    parser: Parser,
    ready: VecDeque<Message>,
}

impl<'a> Following<'a> {
    /// All events from now on.
    pub(crate) fn all(client: &'a Client) -> Following<'a> {
        Following::of(client, "/v1/events".to_owned())
    }

    /// The events of one job from its beginning.
    pub(crate) fn job(client: &'a Client, id: JobId) -> Following<'a> {
        Following::of(client, format!("/v1/jobs/{id}/events"))
    }

    fn of(client: &'a Client, path: String) -> Following<'a> {
        let seen = Seen::default();
        Following { client, path, stream: None, last_id: None, seen, opened: false, patience: PATIENCE }
    }

    /// The next event, each of them once.
    ///
    /// # Errors
    /// When Longshore refuses, is not there at first, or stays away.
    pub(crate) async fn next(&mut self) -> Result<Event, ClientError> {
        let mut away = Away::new(self.patience);
        loop {
            let message = match self.message().await {
                Ok(message) => message,
                Err(error) if self.opened && error.is_passing() => {
                    away.pause(error).await?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let Some(message) = message else {
                away.rest().await;
                continue;
            };
            away = Away::new(self.patience);
            self.last_id = message.id.or(self.last_id.take());
            match Event::decode(message.data.as_bytes()) {
                Ok(event) if self.seen.is_new(event.id) => return Ok(event),
                Ok(_) => {}
                // A newer Longshore may say more than this version understands.
                Err(error) => tracing::debug!(%error, "skipped a message that is no job event"),
            }
        }
    }

    /// The next message; none when the stream came to its end and is to be opened again.
    async fn message(&mut self) -> Result<Option<Message>, ClientError> {
        if self.stream.is_none() {
            let response = self.client.events(&self.path, self.last_id.as_deref()).await?;
            self.stream = Some(Stream { response, parser: Parser::default(), ready: VecDeque::new() });
            self.opened = true;
        }
        let Some(stream) = &mut self.stream else { return Ok(None) };
        let message = stream.next().await;
        if !matches!(message, Ok(Some(_))) {
            self.stream = None;
        }
        message.map_err(|error| self.client.broken(error))
    }
}

impl Seen {
    /// Whether an event was not seen before; from now on it was.
    pub(crate) fn is_new(&mut self, id: EventId) -> bool {
        let new = !self.0.contains(&id);
        if new {
            self.0.push_back(id);
            self.0.drain(..self.0.len().saturating_sub(REMEMBERED));
        }
        new
    }
}

impl Stream {
    async fn next(&mut self) -> Result<Option<Message>, reqwest::Error> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Ok(Some(message));
            }
            match self.response.chunk().await? {
                Some(bytes) => self.ready.extend(self.parser.push(&bytes)),
                None => return Ok(None),
            }
        }
    }
}

/// How long Longshore has been away, and how long to wait before asking again.
struct Away {
    since: Instant,
    pause: Duration,
    patience: Duration,
}

impl Away {
    fn new(patience: Duration) -> Away {
        Away { since: Instant::now(), pause: FIRST_PAUSE, patience }
    }

    /// Waits a little longer each time, and gives the error back once patience is over.
    async fn pause(&mut self, error: ClientError) -> Result<(), ClientError> {
        if self.since.elapsed() > self.patience {
            return Err(error);
        }
        self.rest().await;
        Ok(())
    }

    async fn rest(&mut self) {
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}
