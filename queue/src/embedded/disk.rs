//! What the file and its journal stand on.

use std::{fs::File, io, path::Path, sync::Arc};

use redb::{Builder, Database, DatabaseError, StorageBackend, backends::FileBackend};

use super::{
    directory::{sync_directory, try_room},
    journal,
    medium::Medium,
    pen,
};

/// Memory for pages of the file, read or about to be written.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// Makes a medium of an open file.
type Maker = Arc<dyn Fn(File) -> Result<Box<dyn StorageBackend>, DatabaseError> + Send + Sync>;

/// Does something in a directory.
type InDirectory = Arc<dyn Fn(&Path) -> io::Result<()> + Send + Sync>;

/// What the two files stand on; tests put a failing disk underneath.
pub(super) struct Disk {
    /// What the database is written to.
    pub(super) rows: Maker,
    /// What the journal is written to.
    pub(super) journal: Maker,
    /// Makes the names in a directory last.
    pub(super) names: InDirectory,
    /// Finds out whether there is room for more.
    pub(super) room: InDirectory,
    /// How long the journal grows.
    pub(super) journal_bound: u64,
    /// From how many bytes on an entry of the journal is written beside the rows.
    pub(super) beside_from: usize,
    /// How many bytes of the database are held in memory.
    pub(super) cache: usize,
}

impl Default for Disk {
    fn default() -> Disk {
        Disk {
            rows: Arc::new(|file| Ok(Box::new(FileBackend::new(file)?))),
            journal: Arc::new(|file| Ok(Box::new(FileBackend::new(file)?))),
            names: Arc::new(sync_directory),
            room: Arc::new(try_room),
            journal_bound: journal::USUAL_BOUND,
            beside_from: pen::USUAL_BESIDE,
            cache: CACHE_BYTES,
        }
    }
}

impl Disk {
    /// Makes the database of a file.
    pub(super) fn database(&self, file: File) -> Result<Database, DatabaseError> {
        let medium = Medium::file((self.rows)(file)?);
        Builder::new().set_cache_size(self.cache).create_with_backend(medium)
    }

    /// The same disk, to look at: whatever is written to it stays in memory.
    pub(super) fn untouched(&self) -> Disk {
        let above = |below: &Maker| -> Maker {
            let below = Arc::clone(below);
            Arc::new(move |file| {
                let medium = Medium::memory_above(below(file)?);
                Ok(Box::new(medium.map_err(redb::StorageError::from)?))
            })
        };
        Disk {
            rows: above(&self.rows),
            journal: above(&self.journal),
            names: Arc::new(|_| Ok(())),
            room: Arc::clone(&self.room),
            journal_bound: self.journal_bound,
            beside_from: self.beside_from,
            cache: self.cache,
        }
    }
}
