//! Sessions that `longshore login` began, kept for the commands that come after it.
//!
//! Each is a file of its own, so that two commands never write the same one over for different servers. Of the session it
//! holds what asks for more; what opens the API is asked for by each command and kept nowhere.

use std::{
    env, fmt,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
    process,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// A session that goes on until it is ended or not used for a while.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Login {
    /// The Longshore that it is of.
    pub(crate) url: String,
    pub(crate) user: String,
    /// What asks for more: as good as a password while it lasts.
    refresh_token: String,
    /// Until when, unless a command uses it before.
    pub(crate) until: Timestamp,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("url", &self.url).field("user", &self.user).finish_non_exhaustive()
    }
}

impl Login {
    /// A session that has just begun, or gone on.
    pub(crate) fn new(url: &str, user: &str, refresh_token: &str, until: Timestamp) -> Login {
        Login { url: url.to_owned(), user: user.to_owned(), refresh_token: refresh_token.to_owned(), until }
    }

    /// The session that is kept for a Longshore. A file that cannot be read is none: logging in writes it anew.
    pub(crate) fn kept_for(url: &str) -> Option<Login> {
        let text = fs::read(path(url)?).ok()?;
        serde_json::from_slice(&text).ok().filter(|login: &Login| login.url == url)
    }

    /// What asks for more; not to be shown.
    pub(crate) fn refresh_token(&self) -> &str {
        &self.refresh_token
    }

    /// Keeps it, for its owner's eyes alone, and says where.
    ///
    /// # Errors
    /// When there is no place to keep it, or the file cannot be written.
    pub(crate) fn keep(&self) -> Result<PathBuf, Failure> {
        let path = path(&self.url).ok_or_else(|| {
            let hint = "set HOME or XDG_CONFIG_HOME to a directory of yours";
            Failure::setup("there is no home directory to keep the session in", hint)
        })?;
        self.write(&path).map_err(|error| {
            let hint = "check whose the directory is, and whether its disk is full";
            Failure::setup(format!("cannot write `{}`: {error}", path.display()), hint)
        })?;
        Ok(path)
    }

    /// Whole or not at all.
    fn write(&self, path: &PathBuf) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let aside = path.with_extension(format!("new-{}", process::id()));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        fs::rename(&aside, path)
    }

    /// Keeps it no longer.
    ///
    /// # Errors
    /// When its file cannot be removed.
    pub(crate) fn forget(&self) -> Result<(), Failure> {
        let Some(path) = path(&self.url) else { return Ok(()) };
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let text = format!("cannot remove `{}`: {error}", path.display());
                Err(Failure::setup(text, "remove it yourself: it holds what goes on with the session"))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Where the session of a Longshore is kept, where there is a place for it.
pub(crate) fn path(url: &str) -> Option<PathBuf> {
    let variable = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = variable("XDG_CONFIG_HOME").or_else(|| Some(variable("HOME")?.join(".config")))?;
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '_' };
    let name: String = url.chars().map(plain).collect();
    Some(base.join("longshore").join("sessions").join(format!("{name}.json")))
}
