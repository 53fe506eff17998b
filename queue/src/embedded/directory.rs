//! Files and their directory.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

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

/// Makes the names of new files last: a file that is synced may still be lost with its directory.
pub(super) fn sync_directory(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()?;
    dir.parent().map_or(Ok(()), |parent| {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        File::open(parent)?.sync_all()
    })
}
