//! What the file and its journal stand on.

use std::{fs::File, io, path::Path};

use redb::{Builder, Database, DatabaseError, StorageBackend, backends::FileBackend};

use super::{directory::sync_directory, journal};

/// Memory for pages of the file, read or about to be written.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// Makes something of an open file.
type Maker<T> = Box<dyn Fn(File) -> Result<T, DatabaseError> + Send + Sync>;

/// Syncs a directory.
type Syncing = Box<dyn Fn(&Path) -> io::Result<()> + Send + Sync>;

/// What the two files stand on; tests put a failing disk underneath.
pub(super) struct Disk {
    /// Makes the database of a file.
    pub(super) database: Maker<Database>,
    /// What the journal is written to.
    pub(super) journal: Maker<Box<dyn StorageBackend>>,
    /// Makes the names in a directory last.
    pub(super) names: Syncing,
    /// How long the journal grows.
    pub(super) journal_bound: u64,
}

impl Default for Disk {
    fn default() -> Disk {
        Disk {
            database: Box::new(|file| Builder::new().set_cache_size(CACHE_BYTES).create_file(file)),
            journal: Box::new(|file| Ok(Box::new(FileBackend::new(file)?))),
            names: Box::new(sync_directory),
            journal_bound: journal::USUAL_BOUND,
        }
    }
}
