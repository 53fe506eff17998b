//! The history as it stands in the file: for one who brings it together with that of another engine.

use std::sync::Arc;

use bytes::Bytes;
use proto::Event;
use redb::ReadableTable;

use super::{
    Embedded, blocking,
    reading::{elsewhere_record, is_event},
    tables::{FOLLOWED, HISTORY, NUMBERS, TOLD},
    writing::Act,
};
use crate::QueueError;

/// An event in the file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told<'a> {
    /// Where it stands.
    pub(crate) position: u64,
    /// It was said here; else in another history.
    pub(crate) here: bool,
    /// What was said.
    pub(crate) body: &'a [u8],
}

/// What is noted about two histories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Note {
    /// Up to which place what was said here was told to the other.
    Told,
    /// Up to when (in microseconds) what was said there was taken over.
    Followed,
}

impl Note {
    fn name(self) -> &'static str {
        match self {
            Note::Told => TOLD,
            Note::Followed => FOLLOWED,
        }
    }
}

impl Embedded {
    /// Shows `look` every event in the file, in order, and gives what it made of them.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) async fn look_back<T: Send + 'static>(
        &self,
        mut made: T,
        mut look: impl FnMut(&mut T, Told<'_>) + Send + 'static,
    ) -> Result<T, QueueError> {
        self.engine.ensure_open()?;
        let store = Arc::clone(&self.engine.store);
        blocking(move || {
            store.read("read the history", |file| {
                let history = file.open_table(HISTORY)?;
                for row in ReadableTable::iter(&history)? {
                    let (position, written) = row?;
                    let (_, kind, body) = written.value();
                    if let Some(here) = is_event(kind) {
                        look(&mut made, Told { position: position.value(), here, body });
                    }
                }
                Ok(())
            })?;
            Ok(made)
        })
        .await
    }

    /// The events at these places, as far as they are kept and can be read.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) async fn told_at(&self, places: Vec<u64>) -> Result<Vec<Event>, QueueError> {
        self.engine.ensure_open()?;
        let store = Arc::clone(&self.engine.store);
        let bodies: Vec<Bytes> = blocking(move || {
            store.read("read the history", |file| {
                let history = file.open_table(HISTORY)?;
                let mut bodies = Vec::with_capacity(places.len());
                for place in places {
                    bodies.extend(history.get(place)?.map(|row| Bytes::copy_from_slice(row.value().2)));
                }
                Ok(bodies)
            })
        })
        .await?;
        Ok(bodies.iter().filter_map(|body| Event::decode(body).ok()).collect())
    }

    /// Takes over what was said in another history.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) async fn take_over(&self, event: &Event) -> Result<(), QueueError> {
        self.engine.perform(elsewhere_record(event)).await
    }

    /// Notes how far something has come.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) async fn note(&self, note: Note, value: u64) -> Result<(), QueueError> {
        self.engine.perform(Act::Note { name: note.name(), value }).await
    }

    /// What was noted last; none where nothing was.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) async fn noted(&self, note: Note) -> Result<Option<u64>, QueueError> {
        self.engine.ensure_open()?;
        let store = Arc::clone(&self.engine.store);
        blocking(move || {
            store.read("read the file", |file| {
                Ok(file.open_table(NUMBERS)?.get(note.name())?.map(|value| value.value()))
            })
        })
        .await
    }
}
