//! Giving room back to the disk.

use std::path::Path;

use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTableMetadata};

use super::{
    files::for_good,
    tables::{HISTORY, HISTORY_BYTES, JOBS, JOBS_BYTES, LETTERS, LETTERS_BYTES, NUMBERS},
};

/// A file smaller than this is not worth compacting.
const COMPACT_ABOVE: u64 = 32 * 1024 * 1024;

/// Less room than this for each row is not worth compacting either.
const ROOMY_ROW: u64 = 8 * 1024;

/// Room for each row, beyond which most of the file is taken to be free: twice what a row had after the file was last
/// compacted. Bodies may be large, and a full file would else be compacted again and again.
const ROOMY_FROM: &str = "roomy-from";

/// Gives room back to the disk, when the rows are few for the size of the file. Counting the rows costs
/// nothing; counting the free pages would read the whole file.
pub(super) fn compact(path: &Path, database: &mut Database) -> Result<(), redb::Error> {
    let before = std::fs::metadata(path)?.len();
    if !is_roomy(path, database)? {
        return Ok(());
    }
    database.compact()?;
    let after = std::fs::metadata(path)?.len();
    tracing::info!(before, after, "compacted the queue's file");
    let mut transaction = database.begin_write()?;
    for_good(&mut transaction);
    // What a small file has for each row says nothing.
    let roomy_from = if after < COMPACT_ABOVE {
        ROOMY_ROW
    } else {
        (after.saturating_mul(2) / rows(&database.begin_read()?)?.max(1)).max(ROOMY_ROW)
    };
    transaction.open_table(NUMBERS)?.insert(ROOMY_FROM, roomy_from)?;
    transaction.commit()?;
    Ok(())
}

/// Whether most of the file seems to be free.
pub(super) fn is_roomy(path: &Path, database: &Database) -> Result<bool, redb::Error> {
    let size = std::fs::metadata(path)?.len();
    if size < COMPACT_ABOVE {
        return Ok(false);
    }
    let transaction = database.begin_read()?;
    let roomy_from = transaction.open_table(NUMBERS)?.get(ROOMY_FROM)?.map_or(ROOMY_ROW, |room| room.value());
    Ok(rows(&transaction)?.saturating_mul(roomy_from) < size)
}

/// How large what is in the file is.
pub(super) fn bytes_left(database: &Database) -> Result<u64, redb::Error> {
    let numbers = database.begin_read()?.open_table(NUMBERS)?;
    [JOBS_BYTES, HISTORY_BYTES, LETTERS_BYTES]
        .iter()
        .try_fold(0, |sum, name| Ok(sum + numbers.get(*name)?.map_or(0, |bytes| bytes.value())))
}

fn rows(transaction: &ReadTransaction) -> Result<u64, redb::Error> {
    let (jobs, history) = (transaction.open_table(JOBS)?.len()?, transaction.open_table(HISTORY)?.len()?);
    Ok(jobs + history + transaction.open_table(LETTERS)?.len()?)
}
