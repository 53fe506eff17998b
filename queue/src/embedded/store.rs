//! The files as they are used: read while they can be, opened anew after a failure.

use std::{
    path::{Path, PathBuf},
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::ReadTransaction;

use super::{
    batch::{Batch, Written},
    compacting::{bytes_left, is_roomy},
    directory::{is_blank, is_nothing, make_directory, open_file},
    disk::Disk,
    failure::{Parted, is_damage, parted, storage, undamaged},
    files::{COMPACT, FILE_NAME, Files, JOURNAL_NAME},
    writing::Act,
};
use crate::QueueError;

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
    /// They cannot be written for now: what they hold can be read, and nothing of it is changed.
    Untouched(Files),
    /// The last attempt to open them failed.
    Failed,
    Closed,
}

impl Store {
    /// Opens the files in `dir`, making what is missing.
    ///
    /// # Errors
    /// [`QueueError::InUse`], or [`QueueError::Storage`] when they cannot be made or read, are of a format
    /// that this version does not know, or do not belong together.
    pub(super) fn open(dir: &Path, disk: Disk) -> Result<Store, QueueError> {
        make_directory(dir, &*disk.names).map_err(|e| storage("make the file", e))?;
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

    /// Opens the files again after a write failed, once the disk has room.
    fn reopen(&self) -> Result<(), QueueError> {
        const ATTEMPTED: &str = "open the file";
        // To open a large file takes a moment, in which nobody could read.
        (self.disk.room)(&self.dir).map_err(|e| storage(ATTEMPTED, e))?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let State::Closed = *state {
            return Err(QueueError::Closed);
        }
        give_up(&mut state, State::Failed);
        *state = State::Open(undamaged(ATTEMPTED, || Files::open(&self.dir, &self.disk))?);
        Ok(())
    }

    /// Opens the files to be read alone, after a write failed: the database refuses everything once one went wrong.
    fn look_on(&self) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let State::Closed | State::Untouched(_) = *state {
            return;
        }
        give_up(&mut state, State::Failed);
        let opened = undamaged("open the file", || Files::open(&self.dir, &self.disk.untouched()));
        match self.note_damage(opened) {
            Ok(files) => *state = State::Untouched(files),
            Err(error) => tracing::debug!(
                error = &error as &dyn std::error::Error,
                "the queue's file cannot be read either"
            ),
        }
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
        let is_worth_it = self.with("look at the file", State::writable, |files| {
            Ok(is_roomy(&self.dir.join(FILE_NAME), &files.database)?
                && bytes_left(&files.database)? <= at_most)
        })?;
        if !is_worth_it {
            return Ok(());
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let State::Open(files) = &mut *state else { return Ok(()) };
        let compacted = self.note_damage(undamaged(COMPACT, || files.compact(&self.dir)));
        drop(state);
        self.mind(&compacted);
        compacted
    }

    /// Whether much of the file is free. Blocks.
    #[cfg(test)]
    pub(super) fn is_roomy(&self) -> Result<bool, QueueError> {
        self.with("look at the file", State::readable, |files| {
            is_roomy(&self.dir.join(FILE_NAME), &files.database)
        })
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
        self.with(attempted, State::readable, |files| files.read(read))
    }

    /// Writes all or nothing, as [`Files::write`] does. Blocks.
    pub(super) fn write(
        &self,
        batch: &Batch,
        acts: &[Act],
        tell: impl FnOnce(Vec<Result<(), QueueError>>),
    ) -> Result<Written, QueueError> {
        const ATTEMPTED: &str = "write";
        if self.is_broken.swap(false, Ordering::Relaxed)
            && let Err(mut error) = self.note_damage(self.reopen())
        {
            self.is_broken.store(true, Ordering::Relaxed);
            self.look_on();
            // Nobody asked for the files to be opened: what failed is what was to be written.
            if let QueueError::Storage { attempted: told, .. } = &mut error {
                *told = ATTEMPTED;
            }
            return Err(error);
        }
        let written = self.with(ATTEMPTED, State::writable, |files| files.write(batch, acts, tell));
        self.mind(&written);
        written
    }

    /// Where something could not be written the files can be read all the same, and are opened anew for the next write.
    fn mind<T>(&self, written: &Result<T, QueueError>) {
        if written.is_err() {
            self.is_broken.store(true, Ordering::Relaxed);
            self.look_on();
        }
    }

    fn with<T>(
        &self,
        attempted: &'static str,
        use_of: fn(&State) -> Result<&Files, QueueError>,
        work: impl FnOnce(&Files) -> Result<T, redb::Error>,
    ) -> Result<T, QueueError> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let files = use_of(&state)?;
        self.note_damage(undamaged(attempted, || work(files).map_err(|e| storage(attempted, e))))
    }
}

impl State {
    fn readable(&self) -> Result<&Files, QueueError> {
        match self {
            State::Open(files) | State::Untouched(files) => Ok(files),
            State::Failed => Err(storage("read the file", redb::Error::PreviousIo)),
            State::Closed => Err(QueueError::Closed),
        }
    }

    fn writable(&self) -> Result<&Files, QueueError> {
        match self {
            State::Open(files) => Ok(files),
            State::Untouched(_) | State::Failed => Err(storage("write", redb::Error::PreviousIo)),
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
