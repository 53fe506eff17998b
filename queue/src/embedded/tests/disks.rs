//! Disks that fail as real ones do.

use std::{
    io,
    ops::Bound,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::{BackendError, StorageBackend, backends::FileBackend};

/// A file on a disk that is full whenever it is told to be.
#[derive(Debug)]
pub(super) struct FullDisk {
    pub(super) file: FileBackend,
    pub(super) full: Arc<AtomicBool>,
}

impl FullDisk {
    fn room(&self) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl StorageBackend for FullDisk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.room()?;
        self.file.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.room()?;
        self.file.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.room()?;
        self.file.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }
    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }
}

/// A file of which nothing is left but zeros, once it is told so.
#[derive(Debug)]
pub(super) struct RottenDisk {
    pub(super) file: FileBackend,
    pub(super) rotten: Arc<AtomicBool>,
}

impl StorageBackend for RottenDisk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)?;
        if self.rotten.load(Ordering::SeqCst) {
            out.fill(0);
        }
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }
    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }
}

/// A disk with two files that keeps of each what was synced; a power cut keeps any part of the rest.
#[derive(Debug, Clone, Default)]
pub(super) struct Platter {
    files: Arc<Mutex<[PlatterFile; 2]>>,
}

/// One of its files.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// The database.
    Rows,
    /// The journal.
    Journal,
}

/// A file on it, as it is written to.
#[derive(Debug)]
pub(super) struct PlatterBackend {
    platter: Platter,
    part: Part,
}

#[derive(Debug, Default)]
struct PlatterFile {
    synced: Vec<u8>,
    seen: Vec<u8>,
    unsynced: Vec<Change>,
    /// The next sync fails, and what it was for is forgotten: it is seen, and never on the disk.
    fails: bool,
}

#[derive(Debug)]
enum Change {
    Length(usize),
    Bytes(usize, Vec<u8>),
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Change::Length(length) => to.resize(*length, 0),
            Change::Bytes(offset, bytes) => {
                to.resize(to.len().max(offset + bytes.len()), 0);
                to[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
}

impl PlatterFile {
    fn after_power_cut(&self, dice: &mut impl Iterator<Item = u8>) -> PlatterFile {
        let mut found = self.synced.clone();
        for change in &self.unsynced {
            match (dice.next().unwrap_or(0) % 3, change) {
                (0, _) => {}
                (1, Change::Bytes(offset, bytes)) => {
                    Change::Bytes(*offset, bytes[..bytes.len() / 2].to_vec()).apply(&mut found);
                }
                (_, change) => change.apply(&mut found),
            }
        }
        PlatterFile { synced: found.clone(), seen: found, unsynced: Vec::new(), fails: false }
    }
}

impl Platter {
    /// What is found after a power cut now: of what was not synced each change is there, torn or missing,
    /// as `dice` say. Both files are cut at one instant.
    pub(super) fn after_power_cut(&self, dice: &mut impl Iterator<Item = u8>) -> Platter {
        let files = self.files.lock().unwrap();
        let found = [files[0].after_power_cut(dice), files[1].after_power_cut(dice)];
        Platter { files: Arc::new(Mutex::new(found)) }
    }

    /// Makes the next sync of a file fail as those of real disks do.
    pub(super) fn fail_once(&self, part: Part) {
        self.files.lock().unwrap()[part as usize].fails = true;
    }

    /// One of its files.
    pub(super) fn part(&self, part: Part) -> PlatterBackend {
        PlatterBackend { platter: self.clone(), part }
    }
}

impl PlatterBackend {
    fn with<T>(&self, work: impl FnOnce(&mut PlatterFile) -> T) -> T {
        work(&mut self.platter.files.lock().unwrap()[self.part as usize])
    }

    fn change(&self, change: Change) {
        self.with(|file| {
            change.apply(&mut file.seen);
            file.unsynced.push(change);
        });
    }
}

impl StorageBackend for PlatterBackend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.with(|file| file.seen.len() as u64))
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        self.with(|file| {
            let bytes = file.seen.get(offset..offset + out.len());
            out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Length(usize::try_from(len).unwrap()));
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        self.with(|file| {
            let changes = std::mem::take(&mut file.unsynced);
            if std::mem::take(&mut file.fails) {
                return Err(io::Error::other("the disk did not take it"));
            }
            changes.iter().for_each(|change| change.apply(&mut file.synced));
            Ok(())
        })
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Change::Bytes(usize::try_from(offset).unwrap(), data.to_vec()));
        Ok(())
    }
    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }
    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }
}
