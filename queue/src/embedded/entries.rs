//! The entries of the history in the file: written, dated anew, and dropped once they are old.

use redb::{ReadableTable, ReadableTableMetadata, Table, WriteTransaction};

use super::{
    clock::{Micros, micros},
    retention::{PRUNE_EVERY, Retention},
    tables::HISTORY,
};

/// The history's rows in a write.
pub(super) struct EntryRows<'txn> {
    history: Table<'txn, u64, (u64, u8, &'static [u8])>,
    /// The position of the next.
    next: u64,
    /// How large all of them are.
    bytes: u64,
}

impl<'txn> EntryRows<'txn> {
    /// `next`: the position of the next; `bytes`: how large all entries are together.
    pub(super) fn open(
        transaction: &'txn WriteTransaction,
        (next, bytes): (u64, u64),
    ) -> Result<EntryRows<'txn>, redb::Error> {
        Ok(EntryRows { history: transaction.open_table(HISTORY)?, next, bytes })
    }

    /// The position of the next entry.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// How large all entries are together by now.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes an entry. Tells whether old ones are to be looked for.
    pub(super) fn record(&mut self, written: Micros, kind: u8, body: &[u8]) -> Result<bool, redb::Error> {
        let position = self.next;
        self.next += 1;
        self.history.insert(position, (written, kind, body))?;
        self.bytes += body.len() as u64;
        Ok(position.is_multiple_of(PRUNE_EVERY))
    }

    /// Dates anew what was dated later than `latest`: by position, dates only grow.
    pub(super) fn date(&mut self, latest: Micros) -> Result<(), redb::Error> {
        let mut below = self.next;
        while let Some((position, kind, body)) = self.last_later(below, latest)? {
            self.history.insert(position, (latest, kind, &*body))?;
            below = position;
        }
        Ok(())
    }

    /// The last entry below a position, if that is dated later.
    fn last_later(&self, below: u64, latest: Micros) -> Result<Option<(u64, u8, Vec<u8>)>, redb::Error> {
        let Some((position, entry)) = self.history.range(..below)?.next_back().transpose()? else {
            return Ok(None);
        };
        let (written, kind, body) = entry.value();
        Ok((written > latest).then(|| (position.value(), kind, body.to_vec())))
    }

    /// Drops what decides nothing any more at `now`: by number, by age, and by bytes.
    pub(super) fn drop_old(&mut self, now: Micros, keep: &Retention) -> Result<(), redb::Error> {
        for _ in 0..2 * PRUNE_EVERY {
            let Some((written, bytes)) = self.oldest()? else { break };
            let age = now.saturating_sub(written);
            let too_many = self.history.len()? > keep.entries && age >= micros(keep.decides);
            let too_much = self.bytes > keep.bytes;
            if !too_many && !too_much && age <= micros(keep.age) {
                break;
            }
            self.history.pop_first()?;
            self.bytes = self.bytes.saturating_sub(bytes);
        }
        Ok(())
    }

    /// When the oldest entry was written, and how long it is.
    fn oldest(&self) -> Result<Option<(Micros, u64)>, redb::Error> {
        let oldest = self.history.first()?;
        Ok(oldest.map(|(_, entry)| {
            let (written, _, body) = entry.value();
            (written, body.len() as u64)
        }))
    }
}
