//! Files and their directory.

use std::{
    fs::{File, OpenOptions},
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

/// Makes the names of new files last: a file that is synced may still be lost with its directory.
pub(super) fn sync_directory(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()?;
    dir.parent().map_or(Ok(()), |parent| {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        File::open(parent)?.sync_all()
    })
}
