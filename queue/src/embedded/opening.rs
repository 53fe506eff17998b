//! How the file and its journal are found at the start: whole, of a known format, and belonging together.

use std::path::Path;

use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageBackend, TableError, WriteTransaction,
};

use super::{
    directory::open_file,
    disk::Disk,
    failure::{Parted, damaged, parted, storage, undamaged},
    files::{FILE_NAME, HEADED, JOURNAL_NAME, OPEN, for_good, last_journaled},
    journal,
    tables::{
        CLOSED, HISTORY, HISTORY_BYTES, JOBS, JOBS_BYTES, LETTERS, LETTERS_BYTES, NUMBERS, POOLS, SET_ASIDE,
        letter_bytes,
    },
};
use crate::QueueError;

/// Which layout the file has: [`THIS_FORMAT`].
const FORMAT: &str = "format";
/// What the journal of this file is known by.
const MARK: &str = "journal-mark";

/// The layout that this version writes.
const THIS_FORMAT: u64 = 5;

/// The layouts before there was a journal, before that had heads, before bytes were counted, and before it was kept how long
/// a job was set aside: the same tables but for that.
const FORMER_FORMATS: [u64; 4] = [1, 2, 3, 4];

#[derive(Debug, thiserror::Error)]
#[error("the file is of format {found}, this version knows {THIS_FORMAT}: start it with a newer version")]
pub(super) struct UnknownFormat {
    found: u64,
}

/// Looks whether the file is whole. After a crash the database does so itself.
pub(super) fn check(database: &mut Database) -> Result<(), QueueError> {
    const ATTEMPTED: &str = "open the file";
    undamaged(ATTEMPTED, || match database.check_integrity() {
        Ok(true) => Ok(()),
        Ok(false) => {
            tracing::warn!("the queue's file was damaged where it notes its free pages; nothing was lost");
            Ok(())
        }
        Err(error) => {
            let error = redb::Error::from(error);
            if !matches!(error, redb::Error::Corrupted(_)) {
                return Err(storage(ATTEMPTED, error));
            }
            tracing::debug!(%error, "what the database says of its file");
            Err(damaged(ATTEMPTED))
        }
    })
}

pub(super) fn open_database(dir: &Path, disk: &Disk) -> Result<Database, QueueError> {
    const ATTEMPTED: &str = "open the file";
    // Made at the start alone: one that vanished meanwhile is not to be taken for a new queue.
    let file = open_file(&dir.join(FILE_NAME), false).map_err(|e| storage(ATTEMPTED, e))?;
    undamaged(ATTEMPTED, || match disk.database(file) {
        Ok(database) => Ok(database),
        Err(DatabaseError::DatabaseAlreadyOpen) => Err(QueueError::InUse(dir.to_owned())),
        Err(error) => Err(storage(ATTEMPTED, error)),
    })
}

/// Opens the journal, which has a page from its beginning: one that is empty is none.
pub(super) fn open_journal(
    dir: &Path,
    disk: &Disk,
    was_left_open: bool,
) -> Result<Box<dyn StorageBackend>, QueueError> {
    const ATTEMPTED: &str = "open the journal";
    let path = dir.join(JOURNAL_NAME);
    if was_left_open && !path.exists() {
        return Err(parted(Parted::FromItsJournal));
    }
    let file = open_file(&path, true).map_err(|e| storage(ATTEMPTED, e))?;
    let medium = (disk.journal)(file).map_err(|e| storage(ATTEMPTED, e))?;
    if medium.len().map_err(|e| storage(ATTEMPTED, e))? == 0 {
        if was_left_open {
            return Err(parted(Parted::FromItsJournal));
        }
        medium.set_len(journal::PAGE as u64).map_err(|e| storage(ATTEMPTED, e))?;
        medium.sync_data().map_err(|e| storage(ATTEMPTED, e))?;
    }
    Ok(medium)
}

/// Whether nobody closed the file: its journal may hold what it does not.
pub(super) fn was_left_open(database: &Database) -> Result<bool, QueueError> {
    const ATTEMPTED: &str = "read the file";
    let looked = || -> Result<bool, redb::Error> {
        match database.begin_read()?.open_table(NUMBERS) {
            Ok(numbers) => Ok(numbers.get(OPEN)?.is_some_and(|open| open.value() == 1)),
            Err(TableError::TableDoesNotExist(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    };
    undamaged(ATTEMPTED, || looked().map_err(|e| storage(ATTEMPTED, e)))
}

/// What a file tells of its journal.
pub(super) struct Prepared {
    pub(super) mark: u64,
    /// Which entry the file holds.
    pub(super) journaled: u64,
    pub(super) is_headed: bool,
}

/// Refuses a format of another version; makes the tables of a new file.
pub(super) fn prepare(database: &Database) -> Result<Prepared, QueueError> {
    // It is written to, if only that it is open now: as a rule what fails here is a full disk.
    const ATTEMPTED: &str = "write to the file";
    let prepared = || -> Result<Result<Prepared, UnknownFormat>, redb::Error> {
        let mut transaction = database.begin_write()?;
        for_good(&mut transaction);
        let found = transaction.open_table(NUMBERS)?.get(FORMAT)?.map(|format| format.value());
        let is_known = |found: &u64| *found == THIS_FORMAT || FORMER_FORMATS.contains(found);
        if let Some(found) = found.filter(|found| !is_known(found)) {
            return Ok(Err(UnknownFormat { found }));
        }
        let mut numbers = transaction.open_table(NUMBERS)?;
        numbers.insert(FORMAT, THIS_FORMAT)?;
        if numbers.get(MARK)?.is_none() {
            numbers.insert(MARK, rand::random::<u64>())?;
        }
        numbers.insert(OPEN, 1)?;
        let mark = numbers.get(MARK)?.map_or(0, |mark| mark.value());
        let is_headed = numbers.get(HEADED)?.is_some();
        drop(numbers);
        transaction.open_table(JOBS)?;
        transaction.open_table(SET_ASIDE)?;
        transaction.open_table(POOLS)?;
        transaction.open_table(HISTORY)?;
        transaction.open_table(LETTERS)?;
        transaction.open_table(CLOSED)?;
        if found != Some(THIS_FORMAT) {
            count_bytes(&transaction)?;
        }
        let journaled = last_journaled(&transaction)?;
        transaction.commit()?;
        Ok(Ok(Prepared { mark, journaled, is_headed }))
    };
    undamaged(ATTEMPTED, || prepared().map_err(|e| storage(ATTEMPTED, e)))?
        .map_err(|unknown| QueueError::Storage { attempted: "read the file", source: Box::new(unknown) })
}

/// Notes how large what waits, the history and the letters are, which no former format did, or not from its beginning.
fn count_bytes(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    let (mut waiting, mut said, mut dead) = (0, 0, 0);
    for row in transaction.open_table(JOBS)?.iter()? {
        waiting += row?.1.value().1.len() as u64;
    }
    for row in transaction.open_table(HISTORY)?.iter()? {
        said += row?.1.value().2.len() as u64;
    }
    for row in transaction.open_table(LETTERS)?.iter()? {
        dead += letter_bytes(&row?.1.value());
    }
    let mut numbers = transaction.open_table(NUMBERS)?;
    numbers.insert(JOBS_BYTES, waiting)?;
    numbers.insert(HISTORY_BYTES, said)?;
    numbers.insert(LETTERS_BYTES, dead)?;
    Ok(())
}
