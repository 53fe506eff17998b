//! `GET /v1/events` and `GET /v1/jobs/{id}/events`: events as they happen, as server-sent events.
//!
//! A message's id is its place in the history, from which `Last-Event-ID` resumes. Progress is live only and has
//! no place.

use std::{convert::Infallible, time::Duration};

use axum::{
    Extension,
    extract::{Path, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    response::{
        IntoResponse, Response,
        sse::{self, KeepAlive, Sse},
    },
};
use futures::stream;
use proto::{Event, JobId};
use queue::{Entry, Position, Recorded, Since};
use tokio::{
    sync::{
        broadcast::{Receiver, error::RecvError},
        mpsc,
    },
    time::{Instant, interval},
};

use super::{App, admit, job_id, jobs::unreadable, query::Parameters, text_header, unknown_job};
use crate::{
    access::principal::Principal,
    limits::{Client, Place},
    problem::{Kind, Problem},
    timeline::{self, Past, TimelineError},
    view::Said,
};

/// Messages that wait for a slow reader before what is said waits in the history: few, since one may be as large as a
/// stack's text.
const WAITING: usize = 8;
/// How often it is looked whether the reader may still read.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A stream says at least this often that it is alive.
const ALIVE_EVERY: Duration = Duration::from_secs(15);
/// How long a reader that comes again waits for the history to be read at start.
const READY_WITHIN: Duration = Duration::from_secs(5);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

pub(super) async fn of_all(
    State(ingress): State<App>,
    Extension(client): Extension<Client>,
    parameters: Parameters,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let principal = admit(&ingress, &headers).await?;
    principal.demand_sight()?;
    // Nobody is to believe that they follow one target.
    parameters.only(&[])?;
    let place = place(&ingress, &client)?;
    let said = ingress.view.listen();
    let last = seen(&ingress, &headers).await?.or(ingress.view.head());
    let (out, messages) = mpsc::channel(WAITING);
    let teller = Teller::new(ingress, (principal, headers), (None, last), (out, place));
    tokio::spawn(teller.tell(said));
    Ok(streamed(messages))
}

pub(super) async fn of_job(
    State(ingress): State<App>,
    Extension(client): Extension<Client>,
    Path(id): Path<String>,
    parameters: Parameters,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let principal = admit(&ingress, &headers).await?;
    parameters.only(&[])?;
    let place = place(&ingress, &client)?;
    let id = job_id(&id)?;
    // Listening begins before the history is read, so that nothing falls between.
    let said = ingress.view.listen();
    let timeline = timeline::of(&ingress.queue, &ingress.view, id).await;
    let timeline = timeline.map_err(|error| unreadable(&error))?.ok_or_else(|| unknown_job(id))?;
    principal.demand("read", &timeline.job.target)?;
    if timeline.is_cut && timeline.state.is_end() {
        // What it ended with stands in the history alone.
        return Err(unreadable(&TimelineError::Away));
    }
    let last = seen(&ingress, &headers).await?;
    let is_new = |position: Position| last.is_none_or(|last| position > last);
    if last.is_some() && timeline.state.is_end() && !timeline.events.iter().any(|(p, _)| is_new(*p)) {
        // Tells a browser not to come again.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let (out, messages) = mpsc::channel(WAITING);
    let teller = Teller::new(ingress, (principal, headers), (Some(id), last), (out, place));
    tokio::spawn(teller.tell(said));
    Ok(streamed(messages))
}

/// Tells one reader what it has not heard, first from the history, then as it is said.
struct Teller {
    ingress: App,
    /// The reader, and what they came in with.
    principal: Principal,
    headers: HeaderMap,
    /// When it was last looked whether they may still read.
    looked: Instant,
    /// One job, up to its end, or all.
    about: Option<JobId>,
    place: Cursor,
    /// The history could not be read when it was last tried.
    is_behind: bool,
    out: mpsc::Sender<sse::Event>,
    _place: Option<Place>,
}

/// A place among those who follow events; none for one who is not counted.
fn place(ingress: &App, client: &Client) -> Result<Option<Place>, Problem> {
    ingress.meters.stream(client).ok_or_else(|| {
        let most = ingress.settings().limits.streams_per_client;
        Kind::TooManyStreams.with(format!("{} has {most} streams of events already", client.address))
    })
}

/// How far a reader has come.
#[derive(Debug)]
struct Cursor {
    last: Option<Position>,
    /// They follow all jobs that they may see.
    of_all: bool,
}

impl Cursor {
    /// Whether an event is told: to a reader whom it concerns, once. What concerns others is passed as well, so that it is
    /// not sought again after a pause.
    fn passes(&mut self, position: Option<Position>, concerns: bool) -> bool {
        let is_new = !matches!((position, self.last), (Some(position), Some(last)) if position <= last);
        if is_new && (concerns || self.of_all) {
            self.last = position.or(self.last);
        }
        is_new && concerns
    }
}

/// Why telling stopped.
enum Stopped {
    /// The job has ended, the reader has gone, or the server stops.
    Over,
    /// The reader was too slow, or the history could not be read before; it has what was missed.
    Behind(Receiver<Said>),
}

impl Teller {
    fn new(
        ingress: App,
        (principal, headers): (Principal, HeaderMap),
        (about, last): (Option<JobId>, Option<Position>),
        (out, place): (mpsc::Sender<sse::Event>, Option<Place>),
    ) -> Teller {
        let (looked, cursor) = (Instant::now(), Cursor { last, of_all: about.is_none() });
        Teller {
            ingress,
            principal,
            headers,
            looked,
            about,
            place: cursor,
            is_behind: false,
            out,
            _place: place,
        }
    }

    /// Whether the reader may still read, as far as it is known.
    async fn may_read(&mut self) -> bool {
        self.looked.elapsed() < LOOK_EVERY || self.look().await
    }

    /// Finds out whether the reader may still read.
    async fn look(&mut self) -> bool {
        let to_its_end = self.about.is_some();
        let Some(principal) =
            self.ingress.doors().admit_again(&self.headers, &self.principal, to_its_end).await
        else {
            return false;
        };
        (self.principal, self.looked) = (principal, Instant::now());
        true
    }

    async fn tell(mut self, mut said: Receiver<Said>) {
        loop {
            match self.catch_up().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    // The reader comes again behind the last message it has.
                    tracing::warn!(error = &error as &dyn std::error::Error, "a stream of events was cut");
                    return;
                }
            }
            said = match self.follow(said).await {
                Stopped::Over => return,
                Stopped::Behind(said) => said,
            };
        }
    }

    /// Tells what the history has that was not told; false when there is nothing to go on for.
    async fn catch_up(&mut self) -> Result<bool, TimelineError> {
        let ingress = self.ingress.clone();
        if let Some(id) = self.about {
            let timeline = timeline::of(&ingress.queue, &ingress.view, id).await?;
            self.is_behind = timeline.as_ref().is_some_and(|timeline| timeline.is_cut);
            for (position, event) in timeline.into_iter().flat_map(|timeline| timeline.events) {
                if !self.say(Some(position), &event).await {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        let (Some(last), Some(head)) = (self.place.last, ingress.view.head()) else { return Ok(true) };
        // Told while it is read: a reader may have been away for the whole history.
        let mut past = Past::open(&ingress.queue, Since::After(last), head).await?;
        while let Some(Recorded { position, entry }) = past.next().await? {
            if let Entry::Event(event) = entry
                && !self.say(Some(position), &event).await
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn follow(&mut self, mut said: Receiver<Said>) -> Stopped {
        let mut looks = interval(LOOK_EVERY);
        loop {
            let heard = tokio::select! {
                _ = looks.tick() => {
                    if !self.look().await {
                        return Stopped::Over;
                    }
                    continue;
                }
                heard = said.recv() => heard,
                () = self.out.closed() => return Stopped::Over,
                () = self.ingress.stop.cancelled() => return Stopped::Over,
            };
            match heard {
                Ok(Said { event, .. }) if self.is_behind && self.about == Some(event.job_id()) => {
                    return Stopped::Behind(said);
                }
                Ok(Said { position, event }) => {
                    if !self.say(position, &event).await {
                        return Stopped::Over;
                    }
                }
                Err(RecvError::Lagged(_)) => return Stopped::Behind(said.resubscribe()),
                Err(RecvError::Closed) => return Stopped::Over,
            }
        }
    }

    /// Tells an event, unless it was told or is of another job. False when there is nothing more to tell.
    async fn say(&mut self, position: Option<Position>, event: &Event) -> bool {
        // Also while one catches up who was away for long, and reads slowly.
        if !self.may_read().await {
            return false;
        }
        let other =
            self.about.is_some_and(|id| id != event.job_id()) || !self.principal.may_see(&event.subject);
        if self.place.passes(position, !other) {
            let sent = tokio::select! {
                sent = self.out.send(message(position, event)) => sent.is_ok(),
                () = self.ingress.stop.cancelled() => false,
            };
            if !sent {
                return false;
            }
        }
        let over = self.about.is_some() && !other && event.state().is_end();
        !over
    }
}

fn message(position: Option<Position>, event: &Event) -> sse::Event {
    let data = String::from_utf8(event.encode()).unwrap_or_default();
    let message = sse::Event::default().event(format!("longshore.job.{}", event.state())).data(data);
    match position {
        Some(position) => message.id(position.0.to_string()),
        None => message,
    }
}

/// Where the reader was. A place that this history has not reached is of another history, as of one that was lost: such
/// a reader begins anew, or it would wait until as much was said again.
async fn seen(ingress: &App, headers: &HeaderMap) -> Result<Option<Position>, Problem> {
    let last = text_header(headers, &LAST_EVENT_ID).and_then(|text| text.parse().ok()).map(Position);
    let Some(last) = last else { return Ok(None) };
    let is_reached = || ingress.view.head().is_some_and(|head| last <= head);
    // At start the history may not have been read so far.
    if !is_reached() && !ingress.ready_within(READY_WITHIN).await {
        return Err(Kind::Starting.with("the history has not been read yet"));
    }
    Ok(Some(last).filter(|_| is_reached() || !ingress.queue.is_available()))
}

fn streamed(messages: mpsc::Receiver<sse::Event>) -> Response {
    let messages = stream::unfold(messages, |mut messages| async move {
        let message = messages.recv().await?;
        Some((Ok::<_, Infallible>(message), messages))
    });
    let alive = KeepAlive::new().interval(ALIVE_EVERY).text("alive");
    let mut response = Sse::new(messages).keep_alive(alive).into_response();
    // nginx would keep what is said until a buffer is full.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_others_is_passed_once() {
        let at = |place: u64| Some(Position(place));
        let mut narrow = Cursor { last: at(3), of_all: true };
        assert!(!narrow.passes(at(2), true) && !narrow.passes(at(3), true));
        assert!(!narrow.passes(at(900), false));
        assert_eq!(narrow.last, at(900), "a pause does not begin at what was shown last");
        assert!(narrow.passes(None, true) && narrow.passes(at(901), true) && !narrow.passes(at(901), true));
        let mut of_one = Cursor { last: None, of_all: false };
        assert!(!of_one.passes(at(7), false) && of_one.passes(at(5), true));
    }
}
