//! The file: its tables, how it is opened, and what its failures mean.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use redb::{
    Builder, Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable,
    ReadableTableMetadata, TableDefinition, WriteTransaction,
};

use crate::QueueError;

/// Jobs that wait or are in a worker's hands. Key: the pool, the time from which it may be taken (in
/// microseconds), and a number that tells equals apart. Value: which attempt is next, and the body.
pub(super) const JOBS: TableDefinition<'_, (&str, u64, u64), (u32, &[u8])> = TableDefinition::new("jobs");

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

/// Which of them were closed: how, as JSON. They go with their letters.
pub(super) const CLOSED: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("closed-letters");

/// Single numbers, by the names below.
pub(super) const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");

/// Which layout the file has: [`THIS_FORMAT`].
const FORMAT: &str = "format";
/// The next position in the history.
pub(super) const NEXT_POSITION: &str = "next-position";
/// The next number of a job or letter.
pub(super) const NEXT_NUMBER: &str = "next-number";
/// The latest time that was written anywhere.
pub(super) const CLOCK: &str = "clock";

/// The layout that this version reads and writes.
const THIS_FORMAT: u64 = 1;

/// The file's name in the directory.
pub(super) const FILE_NAME: &str = "queue.redb";

/// Memory for pages of the file, read or about to be written.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// A file smaller than this is not worth compacting.
const COMPACT_ABOVE: u64 = 32 * 1024 * 1024;

/// Less room than this for each row is not worth compacting either.
const ROOMY_ROW: u64 = 8 * 1024;

/// Room for each row, beyond which most of the file is taken to be free: twice what a row had after the file was last
/// compacted. Bodies may be large, and a full file would else be compacted again and again.
const ROOMY_FROM: &str = "roomy-from";

/// Makes the database of a file; tests put a failing disk underneath.
pub(super) type Opener = dyn Fn(File) -> Result<Database, DatabaseError> + Send + Sync;

/// The open file.
pub(super) struct Store {
    path: PathBuf,
    opener: Box<Opener>,
    state: RwLock<State>,
}

enum State {
    Open(Database),
    /// The last attempt to open it failed.
    Failed,
    Closed,
}

#[derive(Debug, thiserror::Error)]
#[error("the file is of format {found}, this version knows {THIS_FORMAT}: start it with a newer version")]
struct UnknownFormat {
    found: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("the file is damaged: {0}")]
struct Damaged(String);

/// Turns a failure of the database into ours.
pub(super) fn storage(attempted: &'static str, source: impl Into<redb::Error>) -> QueueError {
    QueueError::Storage { attempted, source: Box::new(source.into()) }
}

/// One failure that many callers are told of.
pub(super) struct Shared {
    attempted: &'static str,
    cause: Cause,
}

#[derive(Debug, Clone)]
struct Cause(Arc<dyn std::error::Error + Send + Sync>);

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl Shared {
    /// A failure of the file, told as it was; any other as the cause of one.
    pub(super) fn new(error: QueueError) -> Shared {
        if let QueueError::Storage { attempted, source } = error {
            return Shared { attempted, cause: Cause(Arc::from(source)) };
        }
        Shared { attempted: "write", cause: Cause(Arc::new(error)) }
    }

    /// What one of the callers is told.
    pub(super) fn told(&self) -> QueueError {
        QueueError::Storage { attempted: self.attempted, source: Box::new(self.cause.clone()) }
    }
}

impl Store {
    /// Opens the file in `dir`, making both where they are missing.
    ///
    /// # Errors
    /// [`QueueError::InUse`], or [`QueueError::Storage`] when it cannot be made or read, or is of a format
    /// that this version does not know.
    pub(super) fn open(dir: &Path) -> Result<Store, QueueError> {
        let opener = |file: File| Builder::new().set_cache_size(CACHE_BYTES).create_file(file);
        Store::open_with(dir, Box::new(opener))
    }

    pub(super) fn open_with(dir: &Path, opener: Box<Opener>) -> Result<Store, QueueError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(dir).map_err(|e| storage("make the file", e))?;
        let path = dir.join(FILE_NAME);
        let mut database = open_database(&path, &opener)?;
        prepare(&database)?;
        sync_directory(dir).map_err(|e| storage("make the file", e))?;
        compact(&path, &mut database).map_err(|e| storage("compact the file", e))?;
        Ok(Store { path, opener, state: RwLock::new(State::Open(database)) })
    }

    /// Opens the file again after it failed: the database refuses everything once a write went wrong.
    pub(super) fn reopen(&self) -> Result<(), QueueError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let State::Closed = *state {
            return Err(QueueError::Closed);
        }
        *state = State::Failed;
        *state = State::Open(open_database(&self.path, &self.opener)?);
        Ok(())
    }

    /// Gives room back to the disk, when much of the file is free. Blocks, and holds up everybody meanwhile: for as
    /// long as it takes to write what is left in the file once.
    pub(super) fn compact(&self) -> Result<(), QueueError> {
        const ATTEMPTED: &str = "compact the file";
        if !self.is_roomy()? {
            return Ok(());
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let State::Open(database) = &mut *state else { return Ok(()) };
        undamaged(ATTEMPTED, || compact(&self.path, database).map_err(|e| storage(ATTEMPTED, e)))
    }

    /// Whether much of the file is free. Blocks.
    pub(super) fn is_roomy(&self) -> Result<bool, QueueError> {
        self.with("look at the file", |database| is_roomy(&self.path, database))
    }

    /// Closes the file, once nobody reads it any more.
    pub(super) fn close(&self) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = State::Closed;
    }

    /// Reads in one snapshot. Blocks.
    pub(super) fn read<T>(
        &self,
        attempted: &'static str,
        read: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, QueueError> {
        self.with(attempted, |database| {
            let transaction = database.begin_read()?;
            read(&transaction)
        })
    }

    /// Writes all or nothing; what was written is on the disk when this returns. Blocks.
    pub(super) fn write<T>(
        &self,
        attempted: &'static str,
        write: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, QueueError> {
        self.with(attempted, |database| {
            let transaction = database.begin_write()?;
            let written = write(&transaction)?;
            transaction.commit()?;
            Ok(written)
        })
    }

    fn with<T>(
        &self,
        attempted: &'static str,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, QueueError> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        match &*state {
            State::Open(database) => {
                undamaged(attempted, || work(database).map_err(|e| storage(attempted, e)))
            }
            State::Failed => Err(storage(attempted, redb::Error::PreviousIo)),
            State::Closed => Err(QueueError::Closed),
        }
    }
}

/// A damaged file may make the database panic: that is a failure of the disk like any other.
fn undamaged<T>(
    attempted: &'static str,
    work: impl FnOnce() -> Result<T, QueueError>,
) -> Result<T, QueueError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(QueueError::Storage { attempted, source: Box::new(Damaged(text.unwrap_or_default())) })
    })
}

fn open_database(path: &Path, opener: &Opener) -> Result<Database, QueueError> {
    const ATTEMPTED: &str = "open the file";
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(path).map_err(|e| storage(ATTEMPTED, e))?;
    undamaged(ATTEMPTED, || match opener(file) {
        Ok(database) => Ok(database),
        Err(DatabaseError::DatabaseAlreadyOpen) => {
            Err(QueueError::InUse(path.parent().unwrap_or(path).to_owned()))
        }
        Err(error) => Err(storage(ATTEMPTED, error)),
    })
}

/// Refuses a format of another version; makes the tables of a new file.
fn prepare(database: &Database) -> Result<(), QueueError> {
    const ATTEMPTED: &str = "read the file";
    let prepared = || -> Result<u64, redb::Error> {
        let transaction = database.begin_write()?;
        let found = {
            let mut numbers = transaction.open_table(NUMBERS)?;
            let found = numbers.get(FORMAT)?.map(|format| format.value());
            if found.is_none() {
                numbers.insert(FORMAT, THIS_FORMAT)?;
            }
            found.unwrap_or(THIS_FORMAT)
        };
        if found == THIS_FORMAT {
            transaction.open_table(JOBS)?;
            transaction.open_table(POOLS)?;
            transaction.open_table(HISTORY)?;
            transaction.open_table(LETTERS)?;
            transaction.open_table(CLOSED)?;
            transaction.commit()?;
        }
        Ok(found)
    };
    match undamaged(ATTEMPTED, || prepared().map_err(|e| storage(ATTEMPTED, e)))? {
        THIS_FORMAT => Ok(()),
        found => Err(QueueError::Storage { attempted: ATTEMPTED, source: Box::new(UnknownFormat { found }) }),
    }
}

/// Makes the names of new files last: a file that is synced may still be lost with its directory.
fn sync_directory(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()?;
    dir.parent().map_or(Ok(()), |parent| {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        File::open(parent)?.sync_all()
    })
}

/// Gives room back to the disk, when the rows are few for the size of the file. Counting the rows costs
/// nothing; counting the free pages would read the whole file.
fn compact(path: &Path, database: &mut Database) -> Result<(), redb::Error> {
    let before = std::fs::metadata(path)?.len();
    if !is_roomy(path, database)? {
        return Ok(());
    }
    database.compact()?;
    let after = std::fs::metadata(path)?.len();
    tracing::info!(before, after, "compacted the queue's file");
    let transaction = database.begin_write()?;
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
fn is_roomy(path: &Path, database: &Database) -> Result<bool, redb::Error> {
    let size = std::fs::metadata(path)?.len();
    if size < COMPACT_ABOVE {
        return Ok(false);
    }
    let transaction = database.begin_read()?;
    let roomy_from = transaction.open_table(NUMBERS)?.get(ROOMY_FROM)?.map_or(ROOMY_ROW, |room| room.value());
    Ok(rows(&transaction)?.saturating_mul(roomy_from) < size)
}

fn rows(transaction: &ReadTransaction) -> Result<u64, redb::Error> {
    let (jobs, history) = (transaction.open_table(JOBS)?.len()?, transaction.open_table(HISTORY)?.len()?);
    Ok(jobs + history + transaction.open_table(LETTERS)?.len()?)
}
