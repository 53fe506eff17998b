//! The file and its journal: how they are opened, read and written.

use std::{
    path::Path,
    sync::{PoisonError, RwLock},
};

use redb::{Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, WriteTransaction};

use super::{
    batch::{Batch, Written},
    compacting::{compact, is_roomy},
    directory::is_nothing,
    disk::Disk,
    failure::{storage, undamaged},
    journal::{Journal, Unfit},
    opening::{Prepared, check, open_database, open_journal, prepare, was_left_open},
    pen::Pen,
    tables::NUMBERS,
    writing::{Act, write_again},
};
use crate::QueueError;

/// The last entry of the journal that the file holds.
const JOURNALED: &str = "journaled";

/// 1 once the journal has heads.
pub(super) const HEADED: &str = "journal-headed";

/// 1 while it is open; 0 once it was closed, and holds everything.
pub(super) const OPEN: &str = "open";

/// How a failure to give room back is told.
pub(super) const COMPACT: &str = "compact the file";

/// The file's name in the directory.
pub(super) const FILE_NAME: &str = "queue.redb";

/// The journal's.
pub(super) const JOURNAL_NAME: &str = "queue.journal";

/// The open file, and its journal.
pub(super) struct Files {
    pub(super) database: Database,
    pen: Pen,
    /// True while something that was told is not in the rows: until it is written, or for good where that fails.
    is_behind: RwLock<bool>,
}

impl Files {
    /// Opens both, and writes into the file what only the journal holds.
    pub(super) fn open(dir: &Path, disk: &Disk) -> Result<Files, QueueError> {
        let mut database = open_database(dir, disk)?;
        let was_left_open = was_left_open(&database)?;
        if !was_left_open {
            check(&mut database)?;
        }
        let sync_names = || (disk.names)(dir).map_err(|e| storage("make the file", e));
        if is_nothing(&dir.join(JOURNAL_NAME)) {
            // One whose file is missing would be taken for what is left of another.
            sync_names()?;
        }
        let medium = open_journal(dir, disk, was_left_open)?;
        // From the next step on it is missed when it is gone.
        sync_names()?;
        let Prepared { mark, journaled, is_headed } = prepare(&database)?;
        let mut journal = Journal::new(medium, mark, disk.journal_bound);
        let last = take_over(&database, &mut journal, (journaled, was_left_open && is_headed))?;
        begin(&database, &mut journal, (last, is_headed))?;
        let pen = Pen::new(journal, disk.beside_from).map_err(|e| storage("start writing", e))?;
        Ok(Files { database, pen, is_behind: RwLock::new(false) })
    }

    /// Writes all or nothing; what was written is on the disk when this returns, and when `tell` is called with what became
    /// of each act: whoever reads after that finds it.
    ///
    /// # Errors
    /// Of the files. Where `tell` was called all the same the journal has it, and the next opening brings it.
    pub(super) fn write(
        &self,
        batch: &Batch,
        acts: &[Act],
        tell: impl FnOnce(Vec<Result<(), QueueError>>),
    ) -> Result<Written, redb::Error> {
        let mut transaction = self.database.begin_write()?;
        let number = last_journaled(&transaction)? + 1;
        let mut entry = self.pen.begin();
        let mut planned = batch.plan(&transaction, acts, &mut entry)?;
        let outcomes = planned.take_outcomes();
        if entry.is_empty() {
            let written = planned.carry_out()?;
            transaction.abort()?;
            tell(outcomes);
            return Ok(written);
        }
        // From here on it may be there after a crash, whatever this returns.
        let appending = self.pen.append(number, entry);
        let written = match planned.carry_out() {
            Ok(written) => written,
            Err(error) => {
                appending.give_up();
                return Err(error);
            }
        };
        let is_journaled = appending.end()?;
        note_journaled(&transaction, number)?;
        if is_journaled {
            transaction.set_durability(Durability::None)?;
            // Those who are told need not wait for the rows, unless they read them.
            let mut is_behind = self.is_behind.write().unwrap_or_else(PoisonError::into_inner);
            *is_behind = true;
            tell(outcomes);
            transaction.commit()?;
            *is_behind = false;
        } else {
            for_good(&mut transaction);
            transaction.commit()?;
            self.pen.start_over();
            tell(outcomes);
        }
        Ok(written)
    }

    /// Reads in one snapshot.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        let is_behind = self.is_behind.read().unwrap_or_else(PoisonError::into_inner);
        if *is_behind {
            return Err(redb::Error::PreviousIo);
        }
        let transaction = self.database.begin_read()?;
        drop(is_behind);
        read(&transaction)
    }

    /// Syncs the file as a whole: the journal holds nothing more than it does. `open` says whether more will come.
    pub(super) fn settle(&mut self, open: u64) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        for_good(&mut transaction);
        transaction.open_table(NUMBERS)?.insert(OPEN, open)?;
        transaction.commit()?;
        self.pen.start_over();
        Ok(())
    }

    pub(super) fn compact(&mut self, dir: &Path) -> Result<(), QueueError> {
        let path = dir.join(FILE_NAME);
        let mut compacted = || -> Result<(), redb::Error> {
            if is_roomy(&path, &self.database)? {
                self.settle(1)?;
                compact(&path, &mut self.database)?;
            }
            Ok(())
        };
        compacted().map_err(|e| storage(COMPACT, e))
    }
}

/// The file is to hold for good what is written, so that the journal may start over: the pages are synced before anything
/// says that they are there. A disk that fails to sync may forget them, and they would be taken for kept.
pub(super) fn for_good(transaction: &mut WriteTransaction) {
    transaction.set_two_phase_commit(true);
}

/// Lets the journal be used, once the file holds everything up to the entry `last`.
fn begin(
    database: &Database,
    journal: &mut Journal,
    (last, is_headed): (u64, bool),
) -> Result<(), QueueError> {
    const ATTEMPTED: &str = "begin the journal";
    let mut begun = || -> Result<(), redb::Error> {
        journal.begin_round(last)?;
        if !is_headed {
            let mut transaction = database.begin_write()?;
            for_good(&mut transaction);
            transaction.open_table(NUMBERS)?.insert(HEADED, 1)?;
            transaction.commit()?;
        }
        Ok(())
    };
    undamaged(ATTEMPTED, || begun().map_err(|e| storage(ATTEMPTED, e)))
}

/// Writes into the file what only the journal holds, after its entry `journaled`, and tells the last that it holds.
/// `is_begun`: there has to be something in the journal.
fn take_over(
    database: &Database,
    journal: &mut Journal,
    (journaled, is_begun): (u64, bool),
) -> Result<u64, QueueError> {
    const ATTEMPTED: &str = "write into the file what the journal holds";
    let mut took = || -> Result<u64, Unfit> {
        let mut transaction = database.begin_write().map_err(redb::Error::from)?;
        for_good(&mut transaction);
        let last = journal.read(journaled, is_begun, |entry| write_again(&transaction, entry))?;
        if last > journaled {
            note_journaled(&transaction, last)?;
            transaction.commit().map_err(redb::Error::from)?;
            tracing::info!(entries = last - journaled, "wrote into the queue's file what its journal held");
        }
        Ok(last)
    };
    undamaged(ATTEMPTED, || {
        took().map_err(|cause| QueueError::Storage { attempted: ATTEMPTED, source: Box::new(cause) })
    })
}

pub(super) fn last_journaled(transaction: &WriteTransaction) -> Result<u64, redb::Error> {
    Ok(transaction.open_table(NUMBERS)?.get(JOURNALED)?.map_or(0, |number| number.value()))
}

fn note_journaled(transaction: &WriteTransaction, number: u64) -> Result<(), redb::Error> {
    transaction.open_table(NUMBERS)?.insert(JOURNALED, number)?;
    Ok(())
}
