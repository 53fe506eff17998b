//! The data directory: whose it is, the token made at the first start, and where it can be reached.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use ingress::{ADMIN_TOKEN_FILE, TokenHash};

use crate::{failure::Failure, server::URL_FILE};

/// A directory that can be written to.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Makes it where it is missing, for this user alone.
    ///
    /// # Errors
    /// When it cannot be made or written to.
    pub(crate) fn prepare(path: &Path) -> Result<Directory, Failure> {
        let directory = Directory { path: path.to_owned() };
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.and_then(|()| directory.try_writing()).map_err(|error| directory.failure("write to", &error))?;
        Ok(directory)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the token is.
    pub(crate) fn token_path(&self) -> PathBuf {
        self.path.join(ADMIN_TOKEN_FILE)
    }

    /// The token that may do everything, made at the first start; its hash is all that is kept of it.
    ///
    /// # Errors
    /// When its file can be neither read nor made.
    pub(crate) fn admin_token(&self) -> Result<TokenHash, Failure> {
        TokenHash::kept_in(&self.token_path()).map_err(|error| {
            if error.kind() != io::ErrorKind::InvalidData {
                return self.failure("keep the token in", &error);
            }
            Failure::setup(
                format!("the file of the token, `{}`, is empty or no text", self.token_path().display()),
                "remove the file: the next start makes a new token",
            )
        })
    }

    /// Notes where this Longshore can be reached, for the commands on this machine.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn note_url(&self, url: &str) -> Result<(), Failure> {
        let aside = self.path.join(".url.new");
        fs::write(&aside, format!("{url}\n"))
            .and_then(|()| fs::rename(&aside, self.path.join(URL_FILE)))
            .map_err(|error| self.failure("write to", &error))
    }

    fn try_writing(&self) -> io::Result<()> {
        let probe = self.path.join(".writable");
        fs::write(&probe, "")?;
        match fs::remove_file(probe) {
            // Another process that starts on the same directory has removed it: it was written all the same.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn failure(&self, attempted: &str, error: &io::Error) -> Failure {
        Failure::setup(
            format!("cannot {attempted} the data directory `{}`: {error}", self.path.display()),
            "choose another with --data, or let this user write there",
        )
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_it_holds_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let directory = Directory::prepare(&path).unwrap();
        directory.admin_token().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&directory.token_path())), (0o700, 0o600));
        let left: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [ADMIN_TOKEN_FILE]);
    }

    #[test]
    fn several_can_make_it_at_the_same_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let prepare = || (0..200).all(|_| Directory::prepare(&path).is_ok());
        let all = std::thread::scope(|scope| {
            let preparing: Vec<_> = (0..4).map(|_| scope.spawn(prepare)).collect();
            preparing.into_iter().all(|one| one.join().unwrap())
        });
        assert!(all);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let failure = Directory::prepare(&file.join("data")).unwrap_err();
        assert!(failure.to_string().contains("cannot write to the data directory"), "{failure}");
    }
}
