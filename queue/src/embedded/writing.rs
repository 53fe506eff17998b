//! What the writer writes: every act of the contract as changes of rows.

use std::{borrow::Cow, ops::Bound, time::Duration};

use bytes::{Buf, Bytes};
use jiff::Timestamp;
use proto::{PoolName, Reason};
use redb::{ReadableTable, ReadableTableMetadata, Table, WriteTransaction};

use super::{
    change::{Change, decode_all},
    clock::{Dated, Micros, micros},
    entries::EntryRows,
    letters::LetterRows,
    pools::Claim,
    retention::{EVERYTHING, PRUNE_EVERY, Retention},
    tables::{
        AGE, BORN, CLOCK, HISTORY_BYTES, JOBS, JOBS_BYTES, LETTERS_BYTES, NEXT_NUMBER, NEXT_POSITION,
        NUMBERS, POOLS, SET_ASIDE, WRITTEN,
    },
    waiting::Spot,
};
use crate::{Closed, LetterId, Settlement, line::LineName};

type Jobs<'txn> = Table<'txn, (&'static str, u64, u64), (u32, &'static [u8])>;
type Pools<'txn> = Table<'txn, &'static str, ()>;
type Numbers<'txn> = Table<'txn, &'static str, u64>;

/// One thing to be made durable.
#[derive(Debug)]
pub(super) enum Act {
    /// A worker serves the pool from now on.
    Serve(PoolName),
    /// A message waits in the line.
    Publish { line: LineName, body: Bytes },
    /// The same, for one who keeps bounds of its own and knows no pools.
    Keep { line: LineName, body: Bytes },
    /// A job that waits is taken out.
    Forget { spot: Spot },
    /// A job leaves a worker's hands.
    Settle { claim: Claim, held: Held, how: Settlement },
    /// Something is said, of a kind of [`super::reading`].
    Record { kind: u8, body: Bytes },
    /// A letter of a job that is in nobody's hands.
    Bury { pool: PoolName, attempts: u32, reason: Reason, body: Bytes },
    /// A letter needs no more attention.
    Close { letter: LetterId, how: Closed },
    /// A number is noted under one of the names of [`super::tables`].
    Note { name: &'static str, value: u64 },
}

/// A message in a worker's hands.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) attempt: u32,
    /// How long it was set aside until now.
    pub(super) set_aside: Micros,
    pub(super) body: Bytes,
}

/// Something that comes into a line.
struct Arrival<'a> {
    line: Cow<'a, str>,
    from: Micros,
    number: u64,
    attempt: u32,
    body: Cow<'a, [u8]>,
}

/// The rows that acts change.
pub(super) struct Rows<'txn, 'a> {
    now: Micros,
    /// When entries and letters are written.
    written: Micros,
    /// By which things are old; none where nothing is dropped.
    dated: Option<Dated>,
    retention: Retention,
    jobs: Jobs<'txn>,
    set_aside: Table<'txn, u64, u64>,
    pools: Pools<'txn>,
    history: EntryRows<'txn>,
    letters: LetterRows<'txn>,
    numbers: Numbers<'txn>,
    /// What is to be written into `jobs`: no change of the same batch can know of it yet.
    arrivals: Vec<Arrival<'a>>,
    next_number: u64,
    jobs_bytes: u64,
}

impl Act {
    /// The line whose takers should look again.
    pub(super) fn line(&self) -> Option<&LineName> {
        match self {
            Act::Publish { line, .. } | Act::Keep { line, .. } => Some(line),
            Act::Settle { claim, .. } => Some(claim.line()),
            Act::Serve(_)
            | Act::Forget { .. }
            | Act::Record { .. }
            | Act::Bury { .. }
            | Act::Close { .. }
            | Act::Note { .. } => None,
        }
    }

    /// What it does to the rows when it is carried out now.
    pub(super) fn changes(&self, now: Micros) -> Vec<Change<'_>> {
        match self {
            Act::Serve(pool) => vec![Change::Serve { pool: pool.as_str().into() }],
            Act::Publish { line, body } | Act::Keep { line, body } => vec![wait(line, now, (1, 0), body)],
            Act::Forget { spot } => vec![remove(&spot.line, spot.from, spot.number)],
            Act::Settle { claim, held, how } => settle(claim, held, how, now),
            Act::Record { kind, body } => vec![Change::Record { kind: *kind, body: Cow::Borrowed(body) }],
            Act::Bury { pool, attempts, reason, body } => vec![bury(pool.as_str(), *attempts, reason, body)],
            // Infallible: a word and a name.
            Act::Close { letter, how } => vec![Change::Close {
                letter: letter.0,
                how: serde_json::to_vec(how).unwrap_or_default().into(),
            }],
            Act::Note { name, value } => vec![Change::Note { name: (*name).into(), value: *value }],
        }
    }
}

/// `counts`: which attempt it is, and how long it was set aside.
fn wait<'a>(line: &'a LineName, from: Micros, counts: (u32, Micros), body: &'a [u8]) -> Change<'a> {
    let (attempt, set_aside) = counts;
    Change::Wait { line: line.as_str().into(), from, attempt, set_aside, body: body.into() }
}

fn remove(line: &LineName, from: Micros, number: u64) -> Change<'_> {
    Change::Remove { line: line.as_str().into(), from, number }
}

fn bury<'a>(line: &'a str, attempts: u32, reason: &Reason, body: &'a [u8]) -> Change<'a> {
    // Infallible: a code and two texts.
    let reason = serde_json::to_vec(reason).unwrap_or_default();
    Change::Bury { line: line.into(), attempts, reason: reason.into(), body: body.into() }
}

fn settle<'a>(claim: &'a Claim, held: &'a Held, how: &Settlement, now: Micros) -> Vec<Change<'a>> {
    let Held { attempt, set_aside, ref body } = *held;
    let (from, number) = claim.place();
    let taken_out = remove(claim.line(), from, number);
    let later = |after: &Duration| now.saturating_add(micros(*after));
    match how {
        // It stays where it is, at the head of the line.
        Settlement::Release => Vec::new(),
        Settlement::Ack => vec![taken_out],
        Settlement::Dead { reason } => {
            vec![taken_out, bury(claim.line().as_str(), attempt, reason, body)]
        }
        Settlement::DeadAfter { uncounted, reason } => {
            let attempts = attempt.saturating_add(*uncounted);
            vec![taken_out, bury(claim.line().as_str(), attempts, reason, body)]
        }
        Settlement::Retry { after } => {
            vec![taken_out, wait(claim.line(), later(after), (attempt.saturating_add(1), 0), body)]
        }
        Settlement::Snooze { after } => {
            vec![taken_out, wait(claim.line(), later(after), (attempt, 0), body)]
        }
        Settlement::SetAside { after } => {
            let counts = (attempt, set_aside.saturating_add(micros(*after)));
            vec![taken_out, wait(claim.line(), later(after), counts, body)]
        }
    }
}

impl Arrival<'_> {
    fn key(&self) -> (&str, Micros, u64) {
        (&self.line, self.from, self.number)
    }
}

/// Does once more what an entry of the journal says.
///
/// # Errors
/// When it cannot be read, or the file cannot be written.
pub(super) fn write_again(transaction: &WriteTransaction, mut entry: &[u8]) -> Result<(), redb::Error> {
    let unreadable = |cause| redb::Error::Corrupted(format!("the journal: {cause}"));
    let now = entry.try_get_u64().map_err(|cause| unreadable(cause.to_string()))?;
    let changes = decode_all(entry).map_err(|cause| unreadable(cause.to_string()))?;
    let mut rows = Rows::open(transaction, now, None, EVERYTHING)?;
    changes.into_iter().try_for_each(|change| rows.change(change))?;
    rows.finish()?;
    Ok(())
}

impl<'txn, 'a> Rows<'txn, 'a> {
    pub(super) fn open(
        transaction: &'txn WriteTransaction,
        now: Micros,
        dated: Option<Dated>,
        retention: Retention,
    ) -> Result<Self, redb::Error> {
        let numbers = transaction.open_table(NUMBERS)?;
        let number = |name| -> Result<Option<u64>, redb::Error> {
            Ok(numbers.get(name)?.map(|number| number.value()))
        };
        let next_number = number(NEXT_NUMBER)?.unwrap_or(1);
        let next_position = number(NEXT_POSITION)?.unwrap_or(1);
        let history_bytes = number(HISTORY_BYTES)?.unwrap_or(0);
        let jobs_bytes = number(JOBS_BYTES)?.unwrap_or(0);
        let letters_bytes = number(LETTERS_BYTES)?.unwrap_or(0);
        Ok(Rows {
            now,
            // Entries of a journal from before there were dates.
            written: now,
            dated,
            retention,
            next_number,
            jobs_bytes,
            jobs: transaction.open_table(JOBS)?,
            set_aside: transaction.open_table(SET_ASIDE)?,
            pools: transaction.open_table(POOLS)?,
            history: EntryRows::open(transaction, (next_position, history_bytes))?,
            letters: LetterRows::open(transaction, letters_bytes)?,
            numbers,
            arrivals: Vec::new(),
        })
    }

    /// Whether a worker ever served a pool.
    pub(super) fn is_served(&self, pool: &PoolName) -> Result<bool, redb::Error> {
        Ok(self.pools.get(pool.as_str())?.is_some())
    }

    /// How many bytes what waits at a place has, if anything does.
    pub(super) fn bytes_at(&self, place: (&str, Micros, u64)) -> Result<Option<u64>, redb::Error> {
        Ok(self.jobs.get(place)?.map(|row| row.value().1.len() as u64))
    }

    /// How many jobs wait, and how many bytes they have.
    pub(super) fn waiting(&self) -> Result<(u64, u64), redb::Error> {
        Ok((self.jobs.len()? + self.arrivals.len() as u64, self.jobs_bytes))
    }

    /// How many open letters had to go for want of room.
    pub(super) fn crowded_out(&self) -> u64 {
        self.letters.crowded_out()
    }

    pub(super) fn change(&mut self, change: Change<'a>) -> Result<(), redb::Error> {
        match change {
            Change::Serve { pool } => drop(self.pools.insert(&*pool, ())?),
            Change::Wait { line, from, attempt, set_aside, body } => {
                let number = self.number();
                self.jobs_bytes += body.len() as u64;
                self.arrivals.push(Arrival { line, from, number, attempt, body });
                if set_aside > 0 {
                    self.set_aside.insert(number, set_aside)?;
                }
            }
            Change::Remove { line, from, number } => {
                self.set_aside.remove(number)?;
                let removed = self.jobs.remove((&*line, from, number))?;
                let bytes = removed.map_or(0, |row| row.value().1.len() as u64);
                self.jobs_bytes = self.jobs_bytes.saturating_sub(bytes);
            }
            Change::Record { kind, body } => return self.record(kind, &body),
            Change::Bury { line, attempts, reason, body } => {
                let number = self.number();
                self.letters.bury(number, (&line, self.written, attempts, &reason, &body))?;
                let Some(Dated { age, .. }) = self.dated else { return Ok(()) };
                let oldest = age.saturating_sub(micros(self.retention.letters_age));
                self.letters.drop_old((oldest, self.retention.letters_bytes), 2 * PRUNE_EVERY)?;
            }
            Change::Close { letter, how } => return self.letters.close(letter, &how),
            Change::Note { name, value } => {
                self.numbers.insert(&*name, value)?;
                if name == WRITTEN {
                    return self.date(value);
                }
            }
        }
        Ok(())
    }

    /// Writes what arrived, and where the numbers are now. Tells the next position of the history.
    pub(super) fn finish(mut self) -> Result<u64, redb::Error> {
        self.let_in()?;
        self.numbers.insert(NEXT_NUMBER, self.next_number)?;
        self.numbers.insert(NEXT_POSITION, self.history.next())?;
        self.numbers.insert(HISTORY_BYTES, self.history.bytes())?;
        self.numbers.insert(JOBS_BYTES, self.jobs_bytes)?;
        self.numbers.insert(LETTERS_BYTES, self.letters.bytes())?;
        self.numbers.insert(CLOCK, self.now)?;
        if let Some(Dated { age, born, .. }) = self.dated {
            self.numbers.insert(AGE, age)?;
            self.numbers.insert(BORN, born)?;
        }
        Ok(self.history.next())
    }

    /// Rows that stand together in the file are written in one go: a search of the tree for each would cost more
    /// than the writing.
    fn let_in(&mut self) -> Result<(), redb::Error> {
        self.arrivals.sort_unstable_by(|one, other| one.key().cmp(&other.key()));
        for together in self.arrivals.chunk_by(|one, next| (&one.line, one.from) == (&next.line, next.from)) {
            let Some(first) = together.first() else { continue };
            let mut gap = self.jobs.upper_bound_mut(Bound::Included(first.key()))?;
            for arrival in together {
                gap.insert_before(arrival.key(), (arrival.attempt, &*arrival.body))?;
            }
            gap.close()?;
        }
        Ok(())
    }

    fn record(&mut self, kind: u8, body: &[u8]) -> Result<(), redb::Error> {
        let is_time_to_look = self.history.record(self.written, kind, body)?;
        match self.dated {
            Some(Dated { age, .. }) if is_time_to_look => self.history.drop_old(age, &self.retention),
            Some(_) | None => Ok(()),
        }
    }

    /// Dates what follows, and what was dated later until now.
    fn date(&mut self, written: Micros) -> Result<(), redb::Error> {
        self.written = written;
        self.history.date(written)?;
        self.letters.date(written)
    }

    fn number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }
}

/// The time as people write it.
pub(super) fn micros_of(time: Timestamp) -> Micros {
    u64::try_from(time.as_microsecond()).unwrap_or(0)
}
