//! Reading what was said: pages from the file, then whatever is said next.

use std::{collections::VecDeque, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use proto::{Catalogue, Event};
use redb::{ReadTransaction, ReadableTable};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    blocking,
    clock::Micros,
    store::Store,
    tables::HISTORY,
    writing::{Act, micros_of},
};
use crate::{Entry, History, Live, Position, QueueError, Recorded, Since};

const EVENT: u8 = 0;
const MARKER: u8 = 1;
const CATALOGUE: u8 = 2;
/// An event that was said in another history.
const ELSEWHERE: u8 = 3;

/// How many entries are read from the file at once.
const PAGE_ENTRIES: usize = 256;

/// A page ends early once it holds this many bytes.
const PAGE_BYTES: usize = 256 * 1024;

/// A reader of the history.
pub(super) struct StoredHistory {
    store: Arc<Store>,
    said: watch::Receiver<u64>,
    closed: CancellationToken,
    /// The least position not read from the file yet.
    next: u64,
    page: VecDeque<Recorded>,
}

/// A listener to what is not kept.
pub(super) struct Broadcast {
    pub(super) events: broadcast::Receiver<Arc<Event>>,
    pub(super) closed: CancellationToken,
}

/// Writes an event into the history.
pub(super) fn event_record(event: &Event) -> Act {
    Act::Record { kind: EVENT, body: Bytes::from(event.encode()) }
}

/// Writes an event into the history that was said in another.
pub(super) fn elsewhere_record(event: &Event) -> Act {
    Act::Record { kind: ELSEWHERE, body: Bytes::from(event.encode()) }
}

/// Whether an entry of this kind is an event, and one that was said here.
pub(super) fn is_event(kind: u8) -> Option<bool> {
    matches!(kind, EVENT | ELSEWHERE).then_some(kind == EVENT)
}

/// Writes a catalogue into the history.
pub(super) fn catalogue_record(catalogue: &Catalogue) -> Act {
    Act::Record { kind: CATALOGUE, body: Bytes::from(catalogue.encode()) }
}

/// Writes a marker into the history. It is kept as long as an event is, which does no harm.
pub(super) fn marker_record(marker: Uuid) -> Act {
    Act::Record { kind: MARKER, body: Bytes::copy_from_slice(marker.as_bytes()) }
}

impl StoredHistory {
    /// A reader that begins at `since`.
    pub(super) async fn open(
        store: Arc<Store>,
        said: watch::Receiver<u64>,
        closed: CancellationToken,
        since: Since,
    ) -> Result<StoredHistory, QueueError> {
        let next = match since {
            Since::Start => 0,
            Since::After(Position(last)) => last.saturating_add(1),
            Since::Time(time) | Since::Clock(time) => {
                let store = Arc::clone(&store);
                blocking(move || {
                    store.read("read the history", |file| first_written_at(file, micros_of(time)))
                })
                .await?
            }
        };
        Ok(StoredHistory { store, said, closed, next, page: VecDeque::new() })
    }

    async fn read_page(&mut self) -> Result<(), QueueError> {
        let next = self.next;
        let last = tokio::select! {
            biased;
            () = self.closed.cancelled() => return Err(QueueError::Closed),
            last = self.said.wait_for(|last| *last >= next) => *last.map_err(|_| QueueError::Closed)?,
        };
        let store = Arc::clone(&self.store);
        let page = blocking(move || store.read("read the history", |file| page(file, next))).await?;
        // An empty page means that all of it was dropped as too old.
        self.next = page.back().map_or(last, |recorded| recorded.position.0) + 1;
        self.page = page;
        Ok(())
    }
}

#[async_trait]
impl History for StoredHistory {
    async fn next(&mut self) -> Result<Recorded, QueueError> {
        loop {
            if self.closed.is_cancelled() {
                return Err(QueueError::Closed);
            }
            match self.page.pop_front() {
                Some(recorded) => return Ok(recorded),
                None => self.read_page().await?,
            }
        }
    }
}

#[async_trait]
impl Live for Broadcast {
    async fn next(&mut self) -> Result<Event, QueueError> {
        loop {
            let received = tokio::select! {
                biased;
                () = self.closed.cancelled() => return Err(QueueError::Closed),
                received = self.events.recv() => received,
            };
            match received {
                Ok(event) => return Ok(Event::clone(&event)),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return Err(QueueError::Closed),
            }
        }
    }
}

fn page(file: &ReadTransaction, next: u64) -> Result<VecDeque<Recorded>, redb::Error> {
    let history = file.open_table(HISTORY)?;
    let (mut page, mut bytes) = (VecDeque::new(), 0);
    for row in ReadableTable::range::<u64>(&history, next..)?.take(PAGE_ENTRIES) {
        let (position, written) = row?;
        let (_, kind, body) = written.value();
        page.push_back(Recorded { position: Position(position.value()), entry: entry(kind, body) });
        bytes += body.len();
        if bytes > PAGE_BYTES {
            break;
        }
    }
    Ok(page)
}

fn entry(kind: u8, body: &[u8]) -> Entry {
    match kind {
        EVENT | ELSEWHERE => match Event::decode(body) {
            Ok(event) => Entry::Event(Box::new(event)),
            Err(error) => Entry::Unreadable(error.to_string()),
        },
        MARKER => match Uuid::from_slice(body) {
            Ok(marker) => Entry::Marker(marker),
            Err(error) => Entry::Unreadable(error.to_string()),
        },
        CATALOGUE => match Catalogue::decode(body) {
            Ok(catalogue) => Entry::Catalogue(Box::new(catalogue)),
            Err(error) => Entry::Unreadable(error.to_string()),
        },
        later => Entry::Unreadable(format!("an entry of kind {later}")),
    }
}

/// The first position written at this time or later, by bisection: the times of the entries only grow.
fn first_written_at(file: &ReadTransaction, time: Micros) -> Result<u64, redb::Error> {
    let history = file.open_table(HISTORY)?;
    let first = ReadableTable::first(&history)?.map(|(position, _)| position.value());
    let last = ReadableTable::last(&history)?.map(|(position, _)| position.value());
    let (Some(mut low), Some(last)) = (first, last) else { return Ok(0) };
    let mut high = last + 1;
    while low < high {
        let middle = low + (high - low) / 2;
        let found = ReadableTable::range::<u64>(&history, middle..)?.next().transpose()?;
        match found {
            Some((position, written)) if written.value().0 < time => low = position.value() + 1,
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}
