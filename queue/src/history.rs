//! What was said, in one order for all readers.

use async_trait::async_trait;
use jiff::Timestamp;
use proto::{Catalogue, Event};
use uuid::Uuid;

use crate::QueueError;

/// A place in the history; later entries have greater ones, with gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// Where to begin reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// With the oldest that is kept.
    Start,
    /// With what was said at this time; may begin somewhat earlier.
    Time(Timestamp),
    /// With what was said when the engine's own clock showed this time; with nothing at all where it never did yet.
    Clock(Timestamp),
    /// With the first after this place.
    After(Position),
}

/// One entry of the history.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// Something that was said of a job.
    Event(Box<Event>),
    /// What a system has.
    Catalogue(Box<Catalogue>),
    /// A marker of [`crate::Queue::mark`].
    Marker(Uuid),
    /// Something that this version cannot read.
    Unreadable(String),
}

/// An entry and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Its place.
    pub position: Position,
    /// What stands there.
    pub entry: Entry,
}

/// A reader of the history.
#[async_trait]
pub trait History: Send {
    /// The next entry; waits for one to be said at the end.
    ///
    /// # Errors
    /// When the reader was cut off: open another after the last position read. [`crate::Chronicle`] does.
    async fn next(&mut self) -> Result<Recorded, QueueError>;
}

/// A listener to `progress` events.
#[async_trait]
pub trait Live: Send {
    /// The next one said.
    ///
    /// # Errors
    /// When the listener was cut off.
    async fn next(&mut self) -> Result<Event, QueueError>;
}
