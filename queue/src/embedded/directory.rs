//! Files and their directory.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

/// What is written to find out whether there is room.
const TRIED_BYTES: usize = 64 * 1024;

/// Where to.
const TRIED_NAME: &str = "queue.room";

/// Opens a file for its owner alone, and makes it where it is missing and that is wanted.
pub(super) fn open_file(path: &Path, make: bool) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(make).truncate(false).mode(0o600).open(path)
}

/// Whether a file is missing, or empty.
pub(super) fn is_nothing(path: &Path) -> bool {
    std::fs::metadata(path).map_or(true, |found| found.len() == 0)
}

/// Whether a file is missing or empty, or begins with nothing but zeros: the database would take that for a new one.
pub(super) fn is_blank(path: &Path) -> bool {
    let mut begin = [0; 16];
    let read = File::open(path).and_then(|mut file| file.read(&mut begin));
    read.map_or_else(|error| error.kind() == ErrorKind::NotFound, |_| begin == [0; 16])
}

/// Makes a directory and its parents where they are missing, for its owner alone. Each is synced where it stands: one
/// that is not may be gone after a power cut, with everything in it.
pub(super) fn make_directory(dir: &Path, sync: impl Fn(&Path) -> std::io::Result<()>) -> std::io::Result<()> {
    let missing: Vec<&Path> = dir.ancestors().take_while(|found| !exists(found)).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    missing.into_iter().try_for_each(|made| made.parent().map_or(Ok(()), &sync))
}

fn exists(dir: &Path) -> bool {
    // The parent of a name alone is where the process stands.
    dir.as_os_str().is_empty() || dir.exists()
}

/// Makes the names of new files last: a file that is synced may still be lost with its name.
pub(super) fn sync_directory(dir: &Path) -> std::io::Result<()> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir)?.sync_all()
}

/// Finds out whether a directory has room for more, with a file that is removed again.
pub(super) fn try_room(dir: &Path) -> std::io::Result<()> {
    let path = dir.join(TRIED_NAME);
    let tried = open_file(&path, true).and_then(|mut file| {
        file.write_all(&[0; TRIED_BYTES])?;
        file.sync_all()
    });
    // What is left of it is written over the next time.
    let _ = std::fs::remove_file(&path);
    tried
}
