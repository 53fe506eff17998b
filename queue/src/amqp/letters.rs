//! The dead letters: a stream, in which closing a letter is a record behind it.
//!
//! What was read of it is kept, so that each further look reads what was written since, and no more.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use lapin::{message::Delivery, types::AMQPValue};
use proto::Timestamp;
use serde::Serialize;
use tokio::{
    sync::{Mutex, MutexGuard},
    time::timeout,
};
use uuid::Uuid;

use super::{
    Broker, CLOSED,
    fault::{unavailable, within},
    letter::{Ours, letter_of},
    message::{Message, is_of_kind, marker_of},
    open_letters::{Closings, Open},
    stream::{NEXT, StreamReader, offset_of},
    topology::declare_dead,
};
use crate::{Closed, DeadLetter, LetterFilter, LetterId, Position, QueueError, Since};

const LIST: &str = "list the dead letters";

/// How long what stands at a time may take to come.
const COMES_WITHIN: Duration = Duration::from_secs(3);

/// How long whoever closed a letter waits to hear whether somebody else had: less than callers wait for the closing.
const FIRST_IS_KNOWN_WITHIN: Duration = Duration::from_secs(5);

/// After which everything is read anew: what the broker drops as too old goes from here too.
const READ_ANEW_AFTER: Duration = Duration::from_secs(60 * 60);

/// The dead letters of the broker, as far as this process has read them.
#[derive(Debug)]
pub(super) struct Letters {
    read: Mutex<Reading>,
}

/// How far the letters were read, and what was found.
#[derive(Debug)]
struct Reading {
    since: Instant,
    open: Open,
    closings: Closings,
    /// The first place that was not read.
    next: Position,
    anchor: Option<Anchor>,
}

/// A marker that was read, and its place: a stream that was deleted, and has grown beyond that place again, has something
/// else there.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    position: Position,
    marker: Uuid,
}

/// A record of closing. Whatever a later version adds to it, it closes the letter.
#[derive(Serialize)]
struct Closing {
    letter: u64,
    #[serde(flatten)]
    how: Closed,
}

impl Default for Letters {
    fn default() -> Letters {
        Letters { read: Mutex::new(Reading::of(Open::to_keep())) }
    }
}

impl Letters {
    /// The open letters that are wanted, newest last.
    pub(super) async fn seek(
        &self,
        broker: &Broker,
        wanted: LetterFilter,
    ) -> Result<Vec<DeadLetter>, QueueError> {
        if let Some(letters) = self.read_on(broker).await?.open.those(&wanted) {
            return Ok(letters);
        }
        // More than are kept.
        let mut all = Reading::of(Open::to_list(wanted));
        all.go_on(broker).await?;
        Ok(all.open.into_letters())
    }

    /// Writes that a letter is closed, and gives what closed it first: another's record may stand before.
    pub(super) async fn close(
        &self,
        broker: &Broker,
        letter: LetterId,
        how: Closed,
    ) -> Result<Closed, QueueError> {
        write_closing(broker, letter, how.clone()).await?;
        // It is closed by now, whatever becomes of the look at who was first.
        match timeout(FIRST_IS_KNOWN_WITHIN, self.read_on(broker)).await {
            Ok(Ok(read)) => Ok(read.closings.first_of(letter).unwrap_or(how)),
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(%letter, error, "closed, and it is not known whether somebody else was first");
                Ok(how)
            }
            Err(_) => {
                tracing::debug!(%letter, "closed, and it is not known yet whether somebody else was first");
                Ok(how)
            }
        }
    }

    /// What stood there when this was called. A reading that is given up goes on with the next.
    async fn read_on(&self, broker: &Broker) -> Result<MutexGuard<'_, Reading>, QueueError> {
        let mut read = self.read.lock().await;
        if read.anchor.is_none() || read.since.elapsed() > READ_ANEW_AFTER || !read.go_on(broker).await? {
            *read = Reading::of(Open::to_keep());
            read.go_on(broker).await?;
        }
        Ok(read)
    }
}

impl Reading {
    fn of(open: Open) -> Reading {
        Reading {
            since: Instant::now(),
            open,
            closings: Closings::default(),
            next: Position(0),
            anchor: None,
        }
    }

    /// Reads on to a marker that is written now; false where another stream stands under the name by now.
    async fn go_on(&mut self, broker: &Broker) -> Result<bool, QueueError> {
        let mut to_recognise = self.anchor;
        // First: a stream that was deleted may not have grown as far again, and there is nothing to be read from there on.
        let end = find_end(broker).await?;
        if to_recognise.is_some_and(|anchor| anchor.position >= end) {
            return Ok(false);
        }
        let before = to_recognise.and_then(|anchor| anchor.position.0.checked_sub(1));
        let since = before.map_or(Since::Start, |before| Since::After(Position(before)));
        let mut stream = within(LIST, open(broker, offset_of(since))).await?;
        let intake = broker.names.intake();
        let ours = Ours { logins: &broker.logins, intake: &intake };
        loop {
            let (position, delivery) = within(LIST, stream.next()).await?;
            let marker = marker_of(&delivery).map(|marker| marker.unwrap_or_default());
            if let Some(anchor) = to_recognise.filter(|anchor| position >= anchor.position) {
                if position != anchor.position || marker != Some(anchor.marker) {
                    return Ok(false);
                }
                to_recognise = None;
            }
            // A reader begins somewhat before the place it asked for.
            if position >= self.next {
                self.take_in(position, marker, delivery, ours);
                self.next = Position(position.0.saturating_add(1));
            }
            if position >= end {
                return Ok(true);
            }
        }
    }

    fn take_in(&mut self, position: Position, marker: Option<Uuid>, delivery: Delivery, ours: Ours<'_>) {
        match marker {
            Some(marker) => {
                self.open.saw_marker(marker);
                self.anchor = Some(Anchor { position, marker });
            }
            None if is_of_kind(&delivery, CLOSED) => {
                // It stands behind its letter: a number that was made up closes none that dies later.
                if let Some(letter) = self.closings.note(position, &delivery.data) {
                    self.open.close(letter);
                }
            }
            None => self.open.add(letter_of(position, delivery, self.open.time(), ours)),
        }
    }
}

/// Whether any letter that is wanted was written since, closed or not.
pub(super) async fn any(
    broker: &Broker,
    since: Timestamp,
    wanted: &LetterFilter,
) -> Result<bool, QueueError> {
    let end = find_end(broker).await?;
    let (mut stream, first) = begin_at(broker, since).await?;
    let mut next = Some(first);
    let intake = broker.names.intake();
    let ours = Ours { logins: &broker.logins, intake: &intake };
    loop {
        let (position, delivery) = match next.take() {
            Some(first) => first,
            None => within(LIST, stream.next()).await?,
        };
        if position >= end {
            return Ok(false);
        }
        let is_letter = marker_of(&delivery).is_none() && !is_of_kind(&delivery, CLOSED);
        if is_letter && wanted(&letter_of(position, delivery, Timestamp::UNIX_EPOCH, ours)) {
            return Ok(true);
        }
    }
}

/// A reader that begins at a time, and what it reads first; one that begins with the first there is, where nothing comes
/// though something stands there: the time lies ahead of the broker's clock.
async fn begin_at(
    broker: &Broker,
    since: Timestamp,
) -> Result<(StreamReader, (Position, Delivery)), QueueError> {
    let mut stream = within(LIST, open(broker, offset_of(Since::Time(since)))).await?;
    if let Ok(first) = timeout(COMES_WITHIN, stream.next()).await {
        return Ok((stream, first?));
    }
    let mut stream = within(LIST, open(broker, offset_of(Since::Start))).await?;
    let first = within(LIST, stream.next()).await?;
    Ok((stream, first))
}

/// Writes that a letter is closed.
async fn write_closing(broker: &Broker, letter: LetterId, how: Closed) -> Result<(), QueueError> {
    let (dead, id) = (broker.names.dead(), Uuid::now_v7().to_string());
    // Infallible: a number, a word and a name.
    let record = serde_json::to_vec(&Closing { letter: letter.0, how }).unwrap_or_default();
    // Through the default exchange: subscribers to dead letters never see it.
    let message = Message::new("", &dead, &id, record).content_type(CLOSED);
    broker.write(message, "close a dead letter").await
}

/// Finds the place behind all that is written so far, with a marker that is written now.
async fn find_end(broker: &Broker) -> Result<Position, QueueError> {
    let mut stream = within(LIST, open(broker, AMQPValue::LongString(NEXT.into()))).await?;
    let marker = Uuid::now_v7();
    broker.write(Message::marker(&broker.names.dead(), marker), LIST).await?;
    loop {
        let (position, delivery) = within(LIST, stream.next()).await?;
        if matches!(marker_of(&delivery), Some(Ok(found)) if found == marker) {
            return Ok(position);
        }
    }
}

async fn open(broker: &Broker, from: AMQPValue) -> Result<StreamReader, QueueError> {
    let session = broker.session(LIST).await?;
    let channel = session.reading().create_channel().await.map_err(|error| unavailable(LIST, error))?;
    // Should it have been deleted, it stands again when it is read.
    declare_dead(&channel, &broker.names, &broker.keep.letters).await?;
    StreamReader::open(Arc::clone(&session), channel, &broker.names.dead(), from, LIST).await
}
