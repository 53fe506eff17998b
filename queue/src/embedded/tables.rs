//! The tables of the file.

use redb::TableDefinition;

/// Jobs that wait or are in a worker's hands. Key: the pool, the time from which it may be taken (in
/// microseconds), and a number that tells equals apart. Value: which attempt is next, and the body.
pub(super) const JOBS: TableDefinition<'_, (&str, u64, u64), (u32, &[u8])> = TableDefinition::new("jobs");

/// How long what waits was set aside until now (in microseconds), by its number in [`JOBS`]; nothing of what never was.
pub(super) const SET_ASIDE: TableDefinition<'_, u64, u64> = TableDefinition::new("set-aside");

/// The pools that a worker ever served.
pub(super) const POOLS: TableDefinition<'_, &str, ()> = TableDefinition::new("pools");

/// What was said. Key: the position. Value: when it was written (in microseconds), one of the kinds of
/// [`super::reading`], and the event or marker.
pub(super) const HISTORY: TableDefinition<'_, u64, (u64, u8, &[u8])> = TableDefinition::new("history");

/// Dead letters by a running number: pool, when it died (in microseconds), attempts, the reason as JSON, the
/// body as it came.
pub(super) const LETTERS: TableDefinition<'_, u64, Letter<'_>> = TableDefinition::new("letters");

/// A dead letter as it lies in [`LETTERS`].
pub(super) type Letter<'a> = (&'a str, u64, u32, &'a [u8], &'a [u8]);

/// How many bytes a letter counts for.
pub(super) fn letter_bytes((_, _, _, reason, body): &Letter<'_>) -> u64 {
    (reason.len() + body.len()) as u64
}

/// Which of them were closed: how, as JSON. They go with their letters.
pub(super) const CLOSED: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("closed-letters");

/// Single numbers, by the names below.
pub(super) const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");

/// The next position in the history.
pub(super) const NEXT_POSITION: &str = "next-position";
/// The next number of a job or letter.
pub(super) const NEXT_NUMBER: &str = "next-number";
/// How many bytes the history has.
pub(super) const HISTORY_BYTES: &str = "history-bytes";
/// How many bytes the bodies of [`JOBS`] have.
pub(super) const JOBS_BYTES: &str = "jobs-bytes";
/// How many bytes the bodies and reasons of [`LETTERS`] have.
pub(super) const LETTERS_BYTES: &str = "letters-bytes";
/// The latest time by which jobs came back.
pub(super) const CLOCK: &str = "clock";
/// The time by which things were old at the last write, and the first such, see [`super::clock::Dates`].
pub(super) const AGE: &str = "age";
pub(super) const BORN: &str = "born";
/// When the last entry or letter was written.
pub(super) const WRITTEN: &str = "written";
/// Up to where the broker was told of the history, where it is another's by now, see [`super::past`].
pub(super) const TOLD: &str = "told";
/// Up to when another history was followed (in microseconds), see [`super::past`].
pub(super) const FOLLOWED: &str = "followed";
