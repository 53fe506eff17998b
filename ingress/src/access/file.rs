//! A file of accounts: read whole, changed whole or not at all, and looked at again while a process runs.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use config::{Document, Faults, LARGEST_FILE};
use serde::{Serialize, de::DeserializeOwned};

/// The version of these files' form.
const VERSION: u64 = 1;

/// What a file of accounts holds.
pub(crate) trait Accounts: Default + DeserializeOwned + Send + Sync + 'static {
    /// The first lines of the file, as comments.
    const HEADING: &'static str;
    /// The key above the entries.
    const KEY: &'static str;

    /// The version that the file says it has.
    fn version(&self) -> Option<u64>;

    /// Each entry's name with what is kept of it.
    fn entries(&self) -> Vec<(&str, &dyn ErasedEntry)>;

    /// What cannot be used, in a sentence and one on how to mend it.
    fn check(&self) -> Result<(), (String, String)>;
}

/// An entry that can be written.
pub(crate) trait ErasedEntry {
    /// The entry as JSON, which YAML reads.
    fn line(&self) -> serde_json::Result<String>;
}

impl<T: Serialize> ErasedEntry for T {
    fn line(&self) -> serde_json::Result<String> {
        // `${NAME}` would be looked up in the environment when the file is read.
        serde_json::to_string(self).map(|text| text.replace("${", "$${"))
    }
}

/// Why a file of accounts could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file is there and says something that cannot be used.
    #[error("`{}` cannot be used", .path.display())]
    Faulty {
        /// Which.
        path: PathBuf,
        /// Every fault, with its line.
        #[source]
        faults: Faults,
    },
    /// The disk or its owner refused.
    #[error("cannot {attempted} `{}`", .path.display())]
    Disk {
        /// What was tried.
        attempted: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Nothing would read it again.
    #[error("`{}` would become larger than {LARGEST_FILE} bytes, which is as much as is read", .path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
}

impl FileError {
    /// How to mend it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            FileError::Faulty { .. } => "mend the lines named, or bring back a copy of the file",
            FileError::TooLarge { .. } => "take accounts out that nobody needs any more",
            FileError::Disk { .. } => "look at the file's owner and at the space left on its disk",
        }
    }
}

/// What the file holds; nothing where there is none yet.
pub(crate) fn read<T: Accounts>(path: &Path) -> Result<T, FileError> {
    match fs::metadata(path) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(T::default()),
        Err(source) => return Err(disk("read", path, source)),
    }
    let faulty = |faults| FileError::Faulty { path: path.to_owned(), faults };
    let document = Document::load(&[path.to_owned()]).map_err(faulty)?;
    let mut faults = Faults::new();
    let accounts: Option<T> = document.root().read(&mut faults);
    let Some(accounts) = accounts else { return Err(faulty(faults)) };
    let wrong = match accounts.version() {
        None | Some(VERSION) => accounts.check().err(),
        Some(_) => {
            let hint = "it was written by a newer Longshore: use that one".to_owned();
            Some(("this version of the file is not known".to_owned(), hint))
        }
    };
    let Some((text, hint)) = wrong else { return Ok(accounts) };
    faults.push(document.root().fault(text).hint(hint));
    Err(faulty(faults))
}

/// Changes the file; what `change` refuses leaves it as it was. Others who change it meanwhile wait.
pub(crate) fn edit<T: Accounts, R, E: From<FileError>>(
    path: &Path,
    change: impl FnOnce(&mut T) -> Result<R, E>,
) -> Result<R, E> {
    // A link stays one: what it leads to is changed.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(|source| disk("make the directory of", path, source))?;
    let _turn = lock(directory).map_err(|source| disk("lock the directory of", path, source))?;
    let mut accounts = read::<T>(path)?;
    let result = change(&mut accounts)?;
    let text = text_of(&accounts, path)?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(FileError::TooLarge { path: path.to_owned() }.into());
    }
    write(path, directory, &text).map_err(|source| disk("write", path, source))?;
    Ok(result)
}

fn disk(attempted: &'static str, path: &Path, source: io::Error) -> FileError {
    FileError::Disk { attempted, path: path.to_owned(), source }
}

/// Held until it is dropped. The file itself is replaced, and a file beside it could belong to another user.
fn lock(directory: &Path) -> io::Result<File> {
    let directory = File::open(directory)?;
    directory.lock()?;
    Ok(directory)
}

fn text_of<T: Accounts>(accounts: &T, path: &Path) -> Result<String, FileError> {
    let mut text = format!("{}version: {VERSION}\n{}:", T::HEADING, T::KEY);
    let entries = accounts.entries();
    if entries.is_empty() {
        text.push_str(" {}");
    }
    for (name, entry) in entries {
        let line = entry.line().map_err(|error| disk("write", path, io::Error::other(error)))?;
        text.push_str(&format!("\n  {name}: {line}"));
    }
    text.push('\n');
    Ok(text)
}

/// Whole or not at all; of the owner and with the mode that the file had, and else for its directory's owner alone.
fn write(path: &Path, directory: &Path, text: &str) -> io::Result<()> {
    let aside = beside(path, "new");
    match fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    file.write_all(text.as_bytes())?;
    let (like, mode) = match fs::metadata(path) {
        Ok(before) => {
            let mode = before.permissions().mode() & 0o777;
            (before, mode)
        }
        Err(_) => (fs::metadata(directory)?, 0o600),
    };
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
        // Only root may; whoever else changes the file becomes its owner.
        let _ = chown(&aside, Some(like.uid()), Some(like.gid()));
    }
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    File::open(directory)?.sync_all()
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{end}"))
}

/// A file that is read again when it has changed.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    path: Option<PathBuf>,
    current: RwLock<Arc<T>>,
    seen: Mutex<Option<Stamp>>,
}

/// What changes when a file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    /// Also when it may be read by others than before.
    changed: (i64, i64),
    length: u64,
    inode: u64,
}

impl<T: Accounts> Watched<T> {
    /// What is at `path`, as it was read `before` where that was the same file.
    pub(crate) fn at(path: Option<PathBuf>, before: Option<&Arc<Watched<T>>>) -> Arc<Watched<T>> {
        match before.filter(|before| before.path == path) {
            Some(before) => Arc::clone(before),
            None => Arc::new(Watched::new(path)),
        }
    }

    /// What is at `path`; always empty without one.
    pub(crate) fn new(path: Option<PathBuf>) -> Watched<T> {
        let watched = Watched { path, current: RwLock::default(), seen: Mutex::default() };
        watched.look();
        watched
    }

    /// What was read last.
    pub(crate) fn current(&self) -> Arc<T> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the file if it has changed. One that cannot be read changes nothing: it is told, and what was read
    /// before still counts.
    pub(crate) fn look(&self) {
        let Some(path) = &self.path else { return };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = Stamp::of(path);
        if *seen == stamp {
            return;
        }
        *seen = stamp;
        match read::<T>(path) {
            Ok(accounts) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(accounts);
                tracing::info!(file = %path.display(), "read who may come in");
            }
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "what stood in the file before still counts"
            ),
        }
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Stamp> {
        let data = fs::metadata(path).ok()?;
        let modified = (data.mtime(), data.mtime_nsec());
        let changed = (data.ctime(), data.ctime_nsec());
        Some(Stamp { modified, changed, length: data.len(), inode: data.ino() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{
        scope::Scope,
        tokens::{TokenBook, TokenError, create, list},
    };

    #[test]
    fn what_nobody_could_read_again_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.yaml");
        let scope = |targets| Scope { targets, operations: vec!["read".to_owned()], sources: Vec::new() };
        create(&path, "small", scope(vec!["web".to_owned()]), None).unwrap();
        let many = vec!["a-target-of-sixty-bytes-or-so-to-fill-a-file-of-accounts".to_owned(); 80_000];
        let refused = create(&path, "large", scope(many), None).map(|made| made.id);
        assert!(matches!(refused, Err(TokenError::File(FileError::TooLarge { .. }))), "{refused:?}");
        assert_eq!(list(&path).unwrap().len(), 1);
        assert!(read::<TokenBook>(&path).is_ok());
    }
}
