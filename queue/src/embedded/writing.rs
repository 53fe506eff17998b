//! What the writer writes: every act of the contract as changes of rows.

use std::{ops::Bound, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;
use proto::{PoolName, Reason};
use redb::{ReadableTable, ReadableTableMetadata, Table, WriteTransaction};

use super::{
    clock::{Micros, micros},
    letters::LetterRows,
    pools::Claim,
    store::{CLOCK, HISTORY, JOBS, NEXT_NUMBER, NEXT_POSITION, NUMBERS, POOLS},
    waiting::Spot,
};
use crate::{Closed, LetterId, QueueError, Settlement, line::LineName};

type Jobs<'txn> = Table<'txn, (&'static str, u64, u64), (u32, &'static [u8])>;
type Pools<'txn> = Table<'txn, &'static str, ()>;
type History<'txn> = Table<'txn, u64, (u64, u8, &'static [u8])>;

/// What is kept of the past.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retention {
    /// How long entries of the history and dead letters are kept.
    pub(super) age: Duration,
    /// How many entries of the history are kept at most.
    pub(super) entries: u64,
    /// How many jobs may wait at most, in all pools together.
    pub(super) jobs: u64,
    /// How often it is looked whether the file has room to give back.
    pub(super) compacted_every: Duration,
}

/// Old entries are looked for once in so many new ones, and at most this many times two are dropped at once:
/// no caller waits for a long clean-up.
const PRUNE_EVERY: u64 = 256;

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
    Settle { claim: Claim, attempt: u32, body: Bytes, how: Settlement },
    /// Something is said, of a kind of [`super::reading`].
    Record { kind: u8, body: Bytes },
    /// A letter of a job that is in nobody's hands.
    Bury { pool: PoolName, attempts: u32, reason: Reason, body: Bytes },
    /// A letter needs no more attention.
    Close { letter: LetterId, how: Closed },
}

/// The rules for acts that are written together.
pub(super) struct Batch {
    pub(super) now: Micros,
    pub(super) retention: Retention,
}

/// What became of a batch.
pub(super) struct Written {
    /// One for each act, in order.
    pub(super) outcomes: Vec<Result<(), QueueError>>,
    /// The last position of the history.
    pub(super) last_position: u64,
}

/// A job that comes into a line.
struct Arrival<'act> {
    line: &'act LineName,
    from: Micros,
    number: u64,
    attempt: u32,
    body: &'act [u8],
}

/// The rows that acts change.
struct Rows<'txn, 'act> {
    now: Micros,
    retention: Retention,
    jobs: Jobs<'txn>,
    pools: Pools<'txn>,
    history: History<'txn>,
    letters: LetterRows<'txn>,
    /// What is to be written into `jobs`: no act of the same batch can know of it yet.
    arrivals: Vec<Arrival<'act>>,
    next_number: u64,
    next_position: u64,
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
            | Act::Close { .. } => None,
        }
    }
}

impl Arrival<'_> {
    fn key(&self) -> (&str, Micros, u64) {
        (self.line.as_str(), self.from, self.number)
    }
}

impl Batch {
    /// Writes the acts in order. What is refused on its merits is refused alone; a failing file fails all.
    pub(super) fn write(&self, transaction: &WriteTransaction, acts: &[Act]) -> Result<Written, redb::Error> {
        let mut numbers = transaction.open_table(NUMBERS)?;
        let number =
            |name| -> Result<u64, redb::Error> { Ok(numbers.get(name)?.map_or(1, |number| number.value())) };
        let mut rows = Rows {
            now: self.now,
            retention: self.retention,
            next_number: number(NEXT_NUMBER)?,
            next_position: number(NEXT_POSITION)?,
            jobs: transaction.open_table(JOBS)?,
            pools: transaction.open_table(POOLS)?,
            history: transaction.open_table(HISTORY)?,
            letters: LetterRows::open(transaction)?,
            arrivals: Vec::with_capacity(acts.len()),
        };
        let outcomes = acts.iter().map(|act| rows.act(act)).collect::<Result<_, redb::Error>>()?;
        rows.let_in()?;
        numbers.insert(NEXT_NUMBER, rows.next_number)?;
        numbers.insert(NEXT_POSITION, rows.next_position)?;
        numbers.insert(CLOCK, self.now)?;
        Ok(Written { outcomes, last_position: rows.next_position - 1 })
    }
}

impl<'act> Rows<'_, 'act> {
    fn act(&mut self, act: &'act Act) -> Result<Result<(), QueueError>, redb::Error> {
        match act {
            Act::Serve(pool) => {
                self.pools.insert(pool.as_str(), ())?;
                Ok(Ok(()))
            }
            Act::Publish { line, body } => self.publish(line, body),
            Act::Keep { line, body } => {
                self.wait(line, self.now, 1, body);
                Ok(Ok(()))
            }
            Act::Forget { spot } => {
                self.jobs.remove((spot.line.as_str(), spot.from, spot.number))?;
                Ok(Ok(()))
            }
            Act::Settle { claim, attempt, body, how } => {
                self.settle(claim, *attempt, body, how)?;
                Ok(Ok(()))
            }
            Act::Record { kind, body } => {
                self.record(*kind, body)?;
                Ok(Ok(()))
            }
            Act::Bury { pool, attempts, reason, body } => {
                self.bury(&pool.into(), *attempts, reason, body)?;
                Ok(Ok(()))
            }
            Act::Close { letter, how } => {
                self.letters.close(*letter, how)?;
                Ok(Ok(()))
            }
        }
    }

    fn publish(
        &mut self,
        line: &'act LineName,
        body: &'act [u8],
    ) -> Result<Result<(), QueueError>, redb::Error> {
        if let LineName::Pool(pool) = line
            && self.pools.get(pool.as_str())?.is_none()
        {
            return Ok(Err(QueueError::NoPool(pool.clone())));
        }
        if self.jobs.len()? + self.arrivals.len() as u64 >= self.retention.jobs {
            return Ok(Err(QueueError::Full));
        }
        self.wait(line, self.now, 1, body);
        Ok(Ok(()))
    }

    /// Puts a job in the line, behind those that may be taken before it.
    fn wait(&mut self, line: &'act LineName, from: Micros, attempt: u32, body: &'act [u8]) {
        let number = self.number();
        self.arrivals.push(Arrival { line, from, number, attempt, body });
    }

    /// Writes what arrived. Rows that stand together in the file are written in one go: a search of the tree for
    /// each would cost more than the writing.
    fn let_in(&mut self) -> Result<(), redb::Error> {
        self.arrivals.sort_unstable_by(|one, other| one.key().cmp(&other.key()));
        for together in self.arrivals.chunk_by(|one, next| (one.line, one.from) == (next.line, next.from)) {
            let Some(first) = together.first() else { continue };
            let mut gap = self.jobs.upper_bound_mut(Bound::Included(first.key()))?;
            for arrival in together {
                gap.insert_before(arrival.key(), (arrival.attempt, arrival.body))?;
            }
            gap.close()?;
        }
        Ok(())
    }

    fn settle(
        &mut self,
        claim: &'act Claim,
        attempt: u32,
        body: &'act [u8],
        how: &Settlement,
    ) -> Result<(), redb::Error> {
        let (from, number) = claim.place();
        let place = (claim.line().as_str(), from, number);
        let later = |after: &Duration| self.now.saturating_add(micros(*after));
        let (from, attempt) = match how {
            // It stays where it is, at the head of the line.
            Settlement::Release => return Ok(()),
            Settlement::Ack => {
                self.jobs.remove(place)?;
                return Ok(());
            }
            Settlement::Dead { reason } => {
                self.jobs.remove(place)?;
                return self.bury(claim.line(), attempt, reason, body);
            }
            Settlement::Retry { after } => (later(after), attempt.saturating_add(1)),
            Settlement::Snooze { after } => (later(after), attempt),
        };
        self.jobs.remove(place)?;
        self.wait(claim.line(), from, attempt, body);
        Ok(())
    }

    fn bury(
        &mut self,
        line: &LineName,
        attempts: u32,
        reason: &Reason,
        body: &[u8],
    ) -> Result<(), redb::Error> {
        let number = self.number();
        self.letters.bury(number, (line.as_str(), self.now, attempts), reason, body)?;
        self.letters.drop_old(self.now.saturating_sub(micros(self.retention.age)), 2 * PRUNE_EVERY)
    }

    fn record(&mut self, kind: u8, body: &[u8]) -> Result<(), redb::Error> {
        let position = self.next_position;
        self.next_position += 1;
        self.history.insert(position, (self.now, kind, body))?;
        if position.is_multiple_of(PRUNE_EVERY) { self.drop_old_entries() } else { Ok(()) }
    }

    fn number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }

    fn drop_old_entries(&mut self) -> Result<(), redb::Error> {
        let oldest = self.now.saturating_sub(micros(self.retention.age));
        for _ in 0..2 * PRUNE_EVERY {
            let too_many = self.history.len()? > self.retention.entries;
            let too_old = self.history.first()?.is_some_and(|(_, entry)| entry.value().0 < oldest);
            if !too_many && !too_old {
                break;
            }
            self.history.pop_first()?;
        }
        Ok(())
    }
}

/// The time as people write it.
pub(super) fn micros_of(time: Timestamp) -> Micros {
    u64::try_from(time.as_microsecond()).unwrap_or(0)
}
