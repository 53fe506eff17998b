//! Acts that are written together. They are decided about first: what they change can be written to the journal then
//! while it is written into the rows.

use std::{borrow::Cow, collections::HashSet};

use bytes::BufMut;
use redb::WriteTransaction;

use super::{
    change::Change,
    clock::{Dated, Micros},
    journal::Entry,
    retention::Retention,
    tables::{AGE, BORN, WRITTEN},
    writing::{Act, Rows},
};
use crate::{QueueError, line::LineName};

/// The rules for acts that are written together.
pub(super) struct Batch {
    /// By which jobs come back.
    pub(super) now: Micros,
    pub(super) dated: Dated,
    pub(super) retention: Retention,
}

/// What became of a batch.
pub(super) struct Written {
    /// The last position of the history.
    pub(super) last_position: u64,
    /// How many jobs wait by now, and how large they are.
    pub(super) waiting: (u64, u64),
    /// How many dead letters went that somebody might still have looked at, for want of room.
    pub(super) crowded_out: u64,
}

/// What acts are going to change. Nothing is refused any more.
pub(super) struct Planned<'txn, 'a> {
    rows: Rows<'txn, 'a>,
    changes: Vec<Change<'a>>,
    outcomes: Vec<Result<(), QueueError>>,
}

/// Who lets jobs in, and keeps count of what the acts before them change.
struct Door<'a> {
    most: Retention,
    waiting: u64,
    bytes: u64,
    /// The pools that are served from now on.
    served: HashSet<&'a str>,
}

impl Batch {
    /// Decides about the acts in order, and puts into `entry` what they change. What is refused on its merits is refused
    /// alone; a failing file fails all.
    pub(super) fn plan<'txn, 'a>(
        &self,
        transaction: &'txn WriteTransaction,
        acts: &'a [Act],
        entry: &mut Entry,
    ) -> Result<Planned<'txn, 'a>, redb::Error> {
        let rows = Rows::open(transaction, self.now, Some(self.dated), self.retention)?;
        let mut door = Door::of(&rows, self.retention)?;
        let (mut changes, mut outcomes) = (Vec::with_capacity(acts.len()), Vec::with_capacity(acts.len()));
        let mut is_dated = false;
        for act in acts {
            let outcome = door.admit(&rows, act)?;
            if outcome.is_ok() {
                for change in act.changes(self.now) {
                    if change.has_date() && !std::mem::replace(&mut is_dated, true) {
                        changes.push(note(WRITTEN, self.dated.written));
                    }
                    door.count(&rows, &change)?;
                    changes.push(change);
                }
            }
            outcomes.push(outcome);
        }
        if !changes.is_empty() {
            self.begin(entry);
            changes.iter().for_each(|change| entry.put(|bytes| change.encode(bytes)));
        }
        Ok(Planned { rows, changes, outcomes })
    }

    /// Puts into `entry` when it was, and how old the directory is: of one that is young, and was never closed, nothing
    /// else tells whether its clock can be believed.
    fn begin(&self, entry: &mut Entry) {
        let Dated { age, born, .. } = self.dated;
        entry.put(|bytes| bytes.put_u64(self.now));
        for note in [note(AGE, age), note(BORN, born)] {
            entry.put(|bytes| note.encode(bytes));
        }
    }
}

impl Planned<'_, '_> {
    /// What becomes of each act, in order, once the changes are kept.
    pub(super) fn take_outcomes(&mut self) -> Vec<Result<(), QueueError>> {
        std::mem::take(&mut self.outcomes)
    }

    /// Writes the rows.
    pub(super) fn carry_out(self) -> Result<Written, redb::Error> {
        let Planned { mut rows, changes, .. } = self;
        changes.into_iter().try_for_each(|change| rows.change(change))?;
        let crowded_out = rows.crowded_out();
        let waiting = rows.waiting()?;
        Ok(Written { last_position: rows.finish()? - 1, waiting, crowded_out })
    }
}

impl<'a> Door<'a> {
    fn of(rows: &Rows<'_, '_>, most: Retention) -> Result<Door<'a>, redb::Error> {
        let (waiting, bytes) = rows.waiting()?;
        Ok(Door { most, waiting, bytes, served: HashSet::new() })
    }

    /// Whether an act may be carried out: what it changes is not asked about any more.
    fn admit(&mut self, rows: &Rows<'_, '_>, act: &'a Act) -> Result<Result<(), QueueError>, redb::Error> {
        if let Act::Serve(pool) = act {
            self.served.insert(pool.as_str());
        }
        let Act::Publish { line, body } = act else { return Ok(Ok(())) };
        if let LineName::Pool(pool) = line
            && !self.served.contains(pool.as_str())
            && !rows.is_served(pool)?
        {
            return Ok(Err(QueueError::NoPool(pool.clone())));
        }
        let too_many = self.waiting >= self.most.jobs;
        let too_much = self.bytes.saturating_add(body.len() as u64) > self.most.jobs_bytes;
        Ok(if too_many || too_much { Err(QueueError::Full) } else { Ok(()) })
    }

    /// Counts what a change brings or takes away.
    fn count(&mut self, rows: &Rows<'_, '_>, change: &Change<'_>) -> Result<(), redb::Error> {
        match change {
            Change::Wait { body, .. } => {
                self.waiting += 1;
                self.bytes += body.len() as u64;
            }
            Change::Remove { line, from, number } => {
                if let Some(bytes) = rows.bytes_at((line, *from, *number))? {
                    self.waiting = self.waiting.saturating_sub(1);
                    self.bytes = self.bytes.saturating_sub(bytes);
                }
            }
            Change::Serve { .. }
            | Change::Record { .. }
            | Change::Bury { .. }
            | Change::Close { .. }
            | Change::Note { .. } => {}
        }
        Ok(())
    }
}

fn note(name: &'static str, value: u64) -> Change<'static> {
    Change::Note { name: Cow::Borrowed(name), value }
}
