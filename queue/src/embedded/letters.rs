//! The dead letters in the file: written, listed, closed, and dropped once they are old.

use bytes::Bytes;
use jiff::Timestamp;
use proto::Reason;
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, Table, WriteTransaction};

use super::{
    clock::Micros,
    tables::{CLOSED, LETTERS, Letter, letter_bytes},
};
use crate::{Closed, DeadLetter, LetterFilter, LetterId, letter::Bound, line::LineName};

/// The letters' rows in a write.
pub(super) struct LetterRows<'txn> {
    letters: Table<'txn, u64, Letter<'static>>,
    closed: Table<'txn, u64, &'static [u8]>,
    /// How large all of them are.
    bytes: u64,
    crowded_out: u64,
}

/// What a letter has beside its date.
struct Kept {
    line: String,
    attempts: u32,
    reason: Vec<u8>,
    body: Vec<u8>,
}

impl Kept {
    fn of((line, _, attempts, reason, body): Letter<'_>) -> Kept {
        Kept { line: line.to_owned(), attempts, reason: reason.to_vec(), body: body.to_vec() }
    }

    fn dated(&self, died: Micros) -> Letter<'_> {
        (&self.line, died, self.attempts, &self.reason, &self.body)
    }
}

impl<'txn> LetterRows<'txn> {
    /// `bytes`: how large all letters are together.
    pub(super) fn open(
        transaction: &'txn WriteTransaction,
        bytes: u64,
    ) -> Result<LetterRows<'txn>, redb::Error> {
        let (letters, closed) = (transaction.open_table(LETTERS)?, transaction.open_table(CLOSED)?);
        Ok(LetterRows { letters, closed, bytes, crowded_out: 0 })
    }

    /// How large all letters are together by now.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many open letters had to go for want of room.
    pub(super) fn crowded_out(&self) -> u64 {
        self.crowded_out
    }

    /// Writes a letter under a number greater than all before.
    pub(super) fn bury(&mut self, number: u64, letter: Letter<'_>) -> Result<(), redb::Error> {
        self.letters.insert(number, letter)?;
        self.bytes += letter_bytes(&letter);
        Ok(())
    }

    /// Dates anew what was dated later than `latest`.
    pub(super) fn date(&mut self, latest: Micros) -> Result<(), redb::Error> {
        let mut below = u64::MAX;
        while let Some((number, letter)) = self.last_later(below, latest)? {
            self.letters.insert(number, letter.dated(latest))?;
            below = number;
        }
        Ok(())
    }

    /// The last letter below a number, if that is dated later.
    fn last_later(&self, below: u64, latest: Micros) -> Result<Option<(u64, Kept)>, redb::Error> {
        let last = self.letters.range(..below)?.next_back().transpose()?;
        let later = last.filter(|(_, letter)| letter.value().1 > latest);
        Ok(later.map(|(number, letter)| (number.value(), Kept::of(letter.value()))))
    }

    /// Closes a letter, if it is there; how it was closed first is kept.
    pub(super) fn close(&mut self, letter: u64, how: &[u8]) -> Result<(), redb::Error> {
        if self.letters.get(letter)?.is_none() || self.closed.get(letter)?.is_some() {
            return Ok(());
        }
        self.closed.insert(letter, how)?;
        Ok(())
    }

    /// Drops letters that died before `oldest`, and the oldest of more than so many bytes: at most `at_once` of them, and
    /// never the last.
    pub(super) fn drop_old(
        &mut self,
        (oldest, most_bytes): (Micros, u64),
        at_once: u64,
    ) -> Result<(), redb::Error> {
        for _ in 0..at_once.min(self.letters.len()?.saturating_sub(1)) {
            let Some((number, died, bytes)) = self.first()? else { break };
            let is_old = died < oldest;
            if !is_old && self.bytes <= most_bytes {
                break;
            }
            self.letters.remove(number)?;
            self.bytes = self.bytes.saturating_sub(bytes);
            let was_closed = self.closed.remove(number)?.is_some();
            self.crowded_out += u64::from(!is_old && !was_closed);
        }
        Ok(())
    }

    /// The oldest: its number, when it died, and how large it is.
    fn first(&self) -> Result<Option<(u64, Micros, u64)>, redb::Error> {
        let first = self.letters.first()?;
        Ok(first.map(|(number, letter)| {
            let letter = letter.value();
            (number.value(), letter.1, letter_bytes(&letter))
        }))
    }
}

/// The newest letters that are open and wanted, newest last.
pub(super) fn newest(file: &ReadTransaction, wanted: &LetterFilter) -> Result<Vec<DeadLetter>, redb::Error> {
    let (letters, closed) = (file.open_table(LETTERS)?, file.open_table(CLOSED)?);
    let (mut jobs, mut submitted) = (Room::within(Bound::JOBS), Room::within(Bound::SUBMITTED));
    let mut newest = Vec::new();
    for row in ReadableTable::iter(&letters)?.rev() {
        if jobs.is_full && submitted.is_full {
            break;
        }
        let (number, letter) = row?;
        let room = if is_submitted(letter.value().0) { &mut submitted } else { &mut jobs };
        if room.is_full || closed.get(number.value())?.is_some() {
            continue;
        }
        let letter = letter_of(number.value(), letter.value());
        if !wanted(&letter) {
            continue;
        }
        if room.take(letter.body.len()) {
            newest.push(letter);
        }
    }
    newest.reverse();
    Ok(newest)
}

/// What closed a letter, if anything did.
pub(super) fn first_closing(file: &ReadTransaction, letter: LetterId) -> Result<Option<Closed>, redb::Error> {
    let row = file.open_table(CLOSED)?.get(letter.0)?;
    Ok(row.and_then(|row| serde_json::from_slice(row.value()).ok()))
}

/// Whether any letter that is wanted was written since, closed or not.
pub(super) fn any(file: &ReadTransaction, since: Micros, wanted: &LetterFilter) -> Result<bool, redb::Error> {
    for row in ReadableTable::iter(&file.open_table(LETTERS)?)?.rev() {
        let (number, letter) = row?;
        if letter.value().1 < since {
            break;
        }
        if wanted(&letter_of(number.value(), letter.value())) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How many letters of a kind are still listed.
struct Room {
    left: Bound,
    is_full: bool,
}

impl Room {
    fn within(bound: Bound) -> Room {
        Room { left: bound, is_full: false }
    }

    /// Whether one with so many bytes is listed; once one is not, none that is older is.
    fn take(&mut self, bytes: usize) -> bool {
        let left = self.left.letters.checked_sub(1).zip(self.left.bytes.checked_sub(bytes));
        self.is_full = left.is_none();
        left.map(|(letters, bytes)| self.left = Bound { letters, bytes }).is_some()
    }
}

/// Whether a letter out of this line was for an ingress.
fn is_submitted(line: &str) -> bool {
    LineName::in_a_file(line) == Some(LineName::Intake)
}

fn letter_of(number: u64, (pool, died, attempts, reason, body): Letter<'_>) -> DeadLetter {
    DeadLetter {
        id: LetterId(number),
        body: Bytes::copy_from_slice(body),
        pool: pool.parse().ok(),
        submitted: is_submitted(pool),
        left_by: None,
        attempts,
        reason: serde_json::from_slice(reason)
            .unwrap_or_else(|_| Reason::new(proto::reason::INTERNAL, String::from_utf8_lossy(reason))),
        died_at: i64::try_from(died)
            .ok()
            .and_then(|died| Timestamp::from_microsecond(died).ok())
            .unwrap_or(Timestamp::MAX),
    }
}
