//! A directory for one run of the docker command: its configuration, certificates, and the files of a text. It may
//! hold secrets, so nobody else may look in, and it is gone afterwards, at the latest when the next worker starts.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Ends the names of the files that are locked as long as a directory is in use.
const LOCK: &str = "lock";

/// One such directory, removed when dropped.
#[derive(Debug)]
pub(super) struct Room {
    path: PathBuf,
    lock_path: PathBuf,
    /// Locked until this process lets go of it, however it ends.
    _lock: File,
}

impl Room {
    /// Makes an empty one below `rooms`.
    pub(super) fn open(rooms: &Path) -> io::Result<Room> {
        DirBuilder::new().recursive(true).mode(0o700).create(rooms)?;
        let path = rooms.join(uuid::Uuid::now_v7().to_string());
        let lock_path = path.with_extension(LOCK);
        // Before the directory is there, so that nobody takes it for a left one.
        let lock = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&lock_path)?;
        lock.try_lock().map_err(|_| io::Error::other("the directory is in use"))?;
        DirBuilder::new().mode(0o700).create(&path)?;
        // The command needs the whole path, wherever it runs.
        let path = path.canonicalize()?;
        Ok(Room { path, lock_path, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file, in directories of its own where its name asks for them.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?.write_all(content)?;
        Ok(path)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(directory = %self.path.display(), %error, "a directory of the docker command stays behind");
            return;
        }
        let _ = fs::remove_file(&self.lock_path);
    }
}

/// Removes what workers left that were killed.
pub(crate) fn sweep(rooms: &Path) {
    let Ok(entries) = fs::read_dir(rooms) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()) {
        let lock_path = path.with_extension(LOCK);
        let in_use = File::open(&lock_path).is_ok_and(|lock| lock.try_lock().is_err());
        if in_use {
            continue;
        }
        match fs::remove_dir_all(&path) {
            Ok(()) => _ = fs::remove_file(&lock_path),
            Err(error) => {
                tracing::warn!(directory = %path.display(), %error, "what a killed worker left cannot be removed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn nobody_else_looks_in_and_it_is_gone_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let rooms = folder.path().join("data/stacks");
        let room = Room::open(&rooms).unwrap();
        let file = room.write("files/conf/a.conf", b"x").unwrap();
        for (path, mode) in
            [(room.path(), 0o700), (file.as_path(), 0o600), (&room.path().join("files/conf"), 0o700)]
        {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
        }
        drop(room);
        assert_eq!(fs::read_dir(&rooms).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_worker_left_is_removed_and_what_is_in_use_stays() {
        let folder = tempfile::tempdir().unwrap();
        let used = Room::open(folder.path()).unwrap();
        // As it is left behind: the lock's file is there, and nobody holds it.
        let left = folder.path().join("left");
        fs::create_dir(&left).unwrap();
        fs::write(left.join("config.json"), "x").unwrap();
        fs::write(left.with_extension(LOCK), "").unwrap();
        sweep(folder.path());
        assert!(!left.exists() && !left.with_extension(LOCK).exists());
        assert!(used.path().is_dir());
        sweep(&folder.path().join("none"));
    }
}
