//! The dead letters: a stream, in which closing a letter is a record behind it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lapin::{message::Delivery, types::AMQPValue};
use proto::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    Broker, CLOSED,
    fault::{unavailable, within},
    letter::{Ours, letter_of},
    message::{Message, is_of_kind, marker_of},
    stream::{NEXT, StreamReader, offset_of},
    topology::declare_dead,
};
use crate::{Closed, DeadLetter, LetterFilter, LetterId, Position, QueueError, Since, letter::Bound};

const LIST: &str = "list the dead letters";

/// How long what stands at a time may take to come.
const COMES_WITHIN: Duration = Duration::from_secs(3);

/// The dead letters of the broker.
#[derive(Debug, Default)]
pub(super) struct Letters {
    known: Mutex<Option<Known>>,
}

/// What the last reading of all letters found.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// Every letter before this place is closed, so that reading may begin here.
    open_from: Position,
    end: End,
}

/// The place behind all that was written, where the marker stands that found it. A stream that was deleted, and has
/// grown beyond that place again, has something else there.
#[derive(Debug, Clone, Copy)]
struct End {
    position: Position,
    marker: Uuid,
}

/// A record of closing. Whatever a later version adds to it, it closes the letter.
#[derive(Serialize, Deserialize)]
struct Closing<How> {
    letter: u64,
    #[serde(flatten)]
    how: How,
}

/// What is known of a record when it is read: that it closes a letter.
#[derive(Deserialize)]
struct AnyHow {}

/// The newest letters of a kind.
struct Listed {
    letters: BTreeMap<LetterId, DeadLetter>,
    bytes: usize,
    bound: Bound,
    /// Whether letters were left out as too many.
    left_out: bool,
}

/// The letters that are open, as far as the stream was read.
struct Open {
    wanted: LetterFilter,
    jobs: Listed,
    /// What was for an ingress: however much of it there is, the others are listed.
    submitted: Listed,
    /// When something was last written, as far as it is known.
    time: Timestamp,
}

impl Letters {
    /// The open letters, newest last.
    pub(super) async fn list(&self, broker: &Broker) -> Result<Vec<DeadLetter>, QueueError> {
        let (open, end) = self.read(broker, Arc::new(|_| true)).await?;
        let is_whole = !open.jobs.left_out && !open.submitted.left_out;
        let letters = open.into_letters();
        if is_whole {
            let first = letters.first().map_or(end.position, |first| Position(first.id.0));
            self.note(Some(Known { open_from: first, end }));
        }
        Ok(letters)
    }

    /// The open letters that are wanted, newest last.
    pub(super) async fn seek(
        &self,
        broker: &Broker,
        wanted: LetterFilter,
    ) -> Result<Vec<DeadLetter>, QueueError> {
        Ok(self.read(broker, wanted).await?.0.into_letters())
    }

    /// Reads from where letters may be open to the end; all of it, where the stream is not the one that is known.
    async fn read(&self, broker: &Broker, wanted: LetterFilter) -> Result<(Open, End), QueueError> {
        let end = find_end(broker).await?;
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.filter(|known| known.end.position < end.position) {
            let bounds = (known.open_from, end.position);
            if let Some(open) = read(broker, bounds, Arc::clone(&wanted), Some(known.end)).await? {
                return Ok((open, end));
            }
        }
        self.note(None);
        let open = read(broker, (Position(0), end.position), wanted, None).await?;
        Ok((open.unwrap_or_else(|| Open::new(Arc::new(|_| false))), end))
    }

    fn note(&self, known: Option<Known>) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }
}

/// Whether any letter that is wanted was written since, closed or not.
pub(super) async fn any(
    broker: &Broker,
    since: Timestamp,
    wanted: &LetterFilter,
) -> Result<bool, QueueError> {
    let end = find_end(broker).await?.position;
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
pub(super) async fn close(broker: &Broker, letter: LetterId, how: Closed) -> Result<(), QueueError> {
    let (dead, id) = (broker.names.dead(), Uuid::now_v7().to_string());
    // Infallible: a number, a word and a name.
    let record = serde_json::to_vec(&Closing { letter: letter.0, how }).unwrap_or_default();
    // Through the default exchange: subscribers to dead letters never see it.
    let message = Message::new("", &dead, &id, record).content_type(CLOSED);
    broker.write(message, "close a dead letter").await
}

/// Finds the place behind all that is written so far, with a marker that is written now.
async fn find_end(broker: &Broker) -> Result<End, QueueError> {
    let mut stream = within(LIST, open(broker, AMQPValue::LongString(NEXT.into()))).await?;
    let marker = Uuid::now_v7();
    broker.write(Message::marker(&broker.names.dead(), marker), LIST).await?;
    loop {
        let (position, delivery) = within(LIST, stream.next()).await?;
        if matches!(marker_of(&delivery), Some(Ok(found)) if found == marker) {
            return Ok(End { position, marker });
        }
    }
}

/// Reads what stands between two places, of which `end` is one where something stands. None where what stood at the
/// place `known` does not stand there any more.
async fn read(
    broker: &Broker,
    (from, end): (Position, Position),
    wanted: LetterFilter,
    known: Option<End>,
) -> Result<Option<Open>, QueueError> {
    let since = from.0.checked_sub(1).map_or(Since::Start, |before| Since::After(Position(before)));
    let mut stream = within(LIST, open(broker, offset_of(since))).await?;
    let (mut open, intake) = (Open::new(wanted), broker.names.intake());
    let ours = Ours { logins: &broker.logins, intake: &intake };
    let mut to_recognise = known;
    loop {
        let (position, delivery) = within(LIST, stream.next()).await?;
        let marker = marker_of(&delivery);
        if let Some(known) = to_recognise.filter(|known| position >= known.position) {
            let is_it = matches!(&marker, Some(Ok(marker)) if *marker == known.marker);
            if position > known.position || !is_it {
                return Ok(None);
            }
            to_recognise = None;
        }
        if position >= end {
            return Ok(Some(open));
        }
        match marker {
            Some(marker) => marker.into_iter().for_each(|marker| open.saw_marker(marker)),
            None if is_of_kind(&delivery, CLOSED) => open.close(position, &delivery),
            None => open.add(letter_of(position, delivery, open.time, ours)),
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

impl Listed {
    fn within(bound: Bound) -> Listed {
        Listed { letters: BTreeMap::new(), bytes: 0, bound, left_out: false }
    }

    fn add(&mut self, letter: DeadLetter) {
        self.bytes += letter.body.len();
        self.letters.insert(letter.id, letter);
        while self.letters.len() > self.bound.letters || self.bytes > self.bound.bytes {
            let Some((_, oldest)) = self.letters.pop_first() else { break };
            self.bytes -= oldest.body.len();
            self.left_out = true;
        }
    }

    fn remove(&mut self, letter: LetterId) {
        if let Some(closed) = self.letters.remove(&letter) {
            self.bytes -= closed.body.len();
        }
    }
}

impl Open {
    fn new(wanted: LetterFilter) -> Open {
        let (jobs, submitted) = (Listed::within(Bound::JOBS), Listed::within(Bound::SUBMITTED));
        Open { wanted, jobs, submitted, time: Timestamp::UNIX_EPOCH }
    }

    fn add(&mut self, letter: DeadLetter) {
        self.time = self.time.max(letter.died_at);
        if !(self.wanted)(&letter) {
            return;
        }
        let kind = if letter.submitted { &mut self.submitted } else { &mut self.jobs };
        kind.add(letter);
    }

    /// Closes the letter that a record names. It stands behind its letter: a number that was made up closes
    /// none that dies later.
    fn close(&mut self, position: Position, record: &Delivery) {
        let closing: Closing<AnyHow> = match serde_json::from_slice(&record.data) {
            Ok(closing) => closing,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(position = position.0, error, "a record among the dead letters is no record");
                return;
            }
        };
        for kind in [&mut self.jobs, &mut self.submitted] {
            kind.remove(LetterId(closing.letter));
        }
    }

    /// All of them, newest last.
    fn into_letters(self) -> Vec<DeadLetter> {
        let mut letters = self.jobs.letters;
        letters.extend(self.submitted.letters);
        letters.into_values().collect()
    }

    fn saw_marker(&mut self, marker: Uuid) {
        let time = marker.get_timestamp().and_then(|time| {
            let (seconds, nanos) = time.to_unix();
            Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanos).ok()?).ok()
        });
        self.time = self.time.max(time.unwrap_or(Timestamp::UNIX_EPOCH));
    }
}
