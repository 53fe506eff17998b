//! The file and its journal: how they are opened, read and written.

use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::{Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, WriteTransaction};

use super::{
    compacting::{bytes_left, compact, is_roomy},
    directory::{is_blank, is_nothing, make_directory, open_file},
    disk::Disk,
    failure::{Parted, is_damage, parted, storage, undamaged},
    journal::{Entry, Journal, Unfit},
    opening::{Prepared, check, open_database, open_journal, prepare, was_left_open},
    tables::NUMBERS,
    writing::write_again,
};
use crate::QueueError;

/// The last entry of the journal that the file holds.
const JOURNALED: &str = "journaled";

/// 1 once the journal has heads.
pub(super) const HEADED: &str = "journal-headed";

/// 1 while it is open; 0 once it was closed, and holds everything.
pub(super) const OPEN: &str = "open";

/// How a failure to give room back is told.
const COMPACT: &str = "compact the file";

/// The file's name in the directory.
pub(super) const FILE_NAME: &str = "queue.redb";

/// The journal's.
pub(super) const JOURNAL_NAME: &str = "queue.journal";

/// The open file, and the journal of what it does not hold for good yet.
pub(super) struct Store {
    dir: PathBuf,
    disk: Disk,
    state: RwLock<State>,
    /// Whether the database refuses everything since a write of its went wrong.
    is_broken: AtomicBool,
    /// Whether anything that was read or written since the start came upon damage.
    is_damaged: AtomicBool,
}

enum State {
    Open(Files),
    /// The last attempt to open them failed.
    Failed,
    Closed,
}

struct Files {
    database: Database,
    journal: Mutex<Journal>,
}

impl Store {
    /// Opens the files in `dir`, making what is missing.
    ///
    /// # Errors
    /// [`QueueError::InUse`], or [`QueueError::Storage`] when they cannot be made or read, are of a format
    /// that this version does not know, or do not belong together.
    pub(super) fn open(dir: &Path, disk: Disk) -> Result<Store, QueueError> {
        make_directory(dir, &disk.names).map_err(|e| storage("make the file", e))?;
        if is_blank(&dir.join(FILE_NAME)) && !is_nothing(&dir.join(JOURNAL_NAME)) {
            return Err(parted(Parted::FromItsFile));
        }
        open_file(&dir.join(FILE_NAME), true).map_err(|e| storage("make the file", e))?;
        let files = undamaged("open the file", || {
            let mut files = Files::open(dir, &disk)?;
            undamaged(COMPACT, || files.compact(dir))?;
            Ok(files)
        })?;
        let state = RwLock::new(State::Open(files));
        Ok(Store {
            dir: dir.to_owned(),
            disk,
            state,
            is_broken: AtomicBool::new(false),
            is_damaged: AtomicBool::new(false),
        })
    }

    /// Opens the files again after a write failed: the database refuses everything once one went wrong.
    fn reopen(&self) -> Result<(), QueueError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let State::Closed = *state {
            return Err(QueueError::Closed);
        }
        give_up(&mut state, State::Failed);
        *state = State::Open(undamaged("open the file", || Files::open(&self.dir, &self.disk))?);
        Ok(())
    }

    /// Whether the last write failed.
    pub(super) fn is_failing(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed)
    }

    /// Whether damage was found since the files were opened first.
    pub(super) fn is_damaged(&self) -> bool {
        self.is_damaged.load(Ordering::Relaxed)
    }

    /// Keeps in mind that what was tried came upon damage, if it did; told once, and not again with every try.
    fn note_damage<T>(&self, tried: Result<T, QueueError>) -> Result<T, QueueError> {
        if tried.as_ref().is_err_and(is_damage) && !self.is_damaged.swap(true, Ordering::Relaxed) {
            tracing::error!(
                directory = %self.dir.display(),
                "the queue's file is damaged: stop Longshore, and put it back from a copy or move it aside; \
                 docs/data-directory.md tells how"
            );
        }
        tried
    }

    /// Gives room back to the disk, when much of the file is free. Blocks, and holds up everybody meanwhile: for as
    /// long as it takes to write what is left in the file once. Where that is more than so many bytes, the next start does.
    pub(super) fn compact(&self, at_most: u64) -> Result<(), QueueError> {
        let is_worth_it = self.with("look at the file", |files| {
            Ok(is_roomy(&self.dir.join(FILE_NAME), &files.database)?
                && bytes_left(&files.database)? <= at_most)
        })?;
        if !is_worth_it {
            return Ok(());
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let State::Open(files) = &mut *state else { return Ok(()) };
        let compacted = self.note_damage(undamaged(COMPACT, || files.compact(&self.dir)));
        self.is_broken.fetch_or(compacted.is_err(), Ordering::Relaxed);
        compacted
    }

    /// Whether much of the file is free. Blocks.
    #[cfg(test)]
    pub(super) fn is_roomy(&self) -> Result<bool, QueueError> {
        self.with("look at the file", |files| is_roomy(&self.dir.join(FILE_NAME), &files.database))
    }

    /// Closes the files, once nobody reads them any more.
    pub(super) fn close(&self) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let State::Open(files) = &mut *state
            && let Err(error) =
                undamaged("close the file", || files.settle(0).map_err(|e| storage("close the file", e)))
        {
            // Nothing is lost: what the file does not hold is in the journal.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the queue's file could not be synced at the end"
            );
        }
        give_up(&mut state, State::Closed);
    }

    /// Reads in one snapshot. Blocks.
    pub(super) fn read<T>(
        &self,
        attempted: &'static str,
        read: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, QueueError> {
        self.with(attempted, |files| {
            let transaction = files.database.begin_read()?;
            read(&transaction)
        })
    }

    /// Writes all or nothing, what it changes being put into the journal's entry too; what was written is on the disk
    /// when this returns. Blocks.
    pub(super) fn write<T>(
        &self,
        attempted: &'static str,
        write: impl FnOnce(&WriteTransaction, &mut Entry) -> Result<T, redb::Error>,
    ) -> Result<T, QueueError> {
        if self.is_broken.swap(false, Ordering::Relaxed)
            && let Err(mut error) = self.note_damage(self.reopen())
        {
            self.is_broken.store(true, Ordering::Relaxed);
            // Nobody asked for the files to be opened: what failed is what was to be written.
            if let QueueError::Storage { attempted: told, .. } = &mut error {
                *told = attempted;
            }
            return Err(error);
        }
        let written = self.with(attempted, |files| files.write(write));
        self.is_broken.fetch_or(written.is_err(), Ordering::Relaxed);
        written
    }

    fn with<T>(
        &self,
        attempted: &'static str,
        work: impl FnOnce(&Files) -> Result<T, redb::Error>,
    ) -> Result<T, QueueError> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        match &*state {
            State::Open(files) => {
                self.note_damage(undamaged(attempted, || work(files).map_err(|e| storage(attempted, e))))
            }
            State::Failed => Err(storage(attempted, redb::Error::PreviousIo)),
            State::Closed => Err(QueueError::Closed),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        give_up(self.state.get_mut().unwrap_or_else(PoisonError::into_inner), State::Closed);
    }
}

/// Leaves what is open for what comes in its place. A damaged file may make the database's last words panic, too.
fn give_up(state: &mut State, next: State) {
    let former = std::mem::replace(state, next);
    if let Err(error) = undamaged("close the file", || {
        drop(former);
        Ok(())
    }) {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the queue's file could not be closed as it should be"
        );
    }
}

impl Files {
    /// Opens both, and writes into the file what only the journal holds.
    fn open(dir: &Path, disk: &Disk) -> Result<Files, QueueError> {
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
        Ok(Files { database, journal: Mutex::new(journal) })
    }

    fn write<T>(
        &self,
        write: impl FnOnce(&WriteTransaction, &mut Entry) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let mut transaction = self.database.begin_write()?;
        let mut entry = journal.begin();
        let written = write(&transaction, &mut entry)?;
        if entry.is_empty() {
            transaction.abort()?;
            return Ok(written);
        }
        let number = last_journaled(&transaction)? + 1;
        note_journaled(&transaction, number)?;
        // From here on it may be there after a crash, whatever this returns.
        let is_journaled = journal.append(number, entry)?;
        if is_journaled {
            transaction.set_durability(Durability::None)?;
        } else {
            for_good(&mut transaction);
        }
        transaction.commit()?;
        if !is_journaled {
            journal.start_over();
        }
        Ok(written)
    }

    /// Syncs the file as a whole: the journal holds nothing more than it does. `open` says whether more will come.
    fn settle(&mut self, open: u64) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        for_good(&mut transaction);
        transaction.open_table(NUMBERS)?.insert(OPEN, open)?;
        transaction.commit()?;
        self.journal.get_mut().unwrap_or_else(PoisonError::into_inner).start_over();
        Ok(())
    }

    fn compact(&mut self, dir: &Path) -> Result<(), QueueError> {
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
