//! Who may call the API: bearer tokens, known by their hash only.

pub(crate) mod doors;
pub(crate) mod file;
pub(crate) mod guesses;
pub(crate) mod log_in;
pub(crate) mod needs;
pub(crate) mod oidc;
pub(crate) mod passwords;
pub(crate) mod principal;
pub(crate) mod role;
pub(crate) mod scope;
pub(crate) mod sessions;
pub mod tokens;
pub mod users;

use std::{
    fmt,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use axum::http::{HeaderMap, header};
use config::Secret;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use oidc::IssuerSettings;
use role::Role;

/// The file of a data directory that holds the token of the API's first user.
pub const ADMIN_TOKEN_FILE: &str = "admin-token";

/// What is kept of a token or key: enough to know it again, not to use it.
#[derive(Clone)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a token as it is sent.
    #[must_use]
    pub fn of(token: &str) -> TokenHash {
        TokenHash(Sha256::digest(token.as_bytes()).into())
    }

    /// The hash of the token in the file at `path`; a file that is missing is made, with a new token that only
    /// its owner may read.
    ///
    /// # Errors
    /// When the file can be neither read nor made, or is empty.
    pub fn kept_in(path: &Path) -> io::Result<TokenHash> {
        kept_in(path, "lsh_").map(|token| TokenHash::of(token.expose()))
    }

    /// The hash as it stands in files.
    pub(crate) fn to_hex(&self) -> String {
        hex::encode(self.0)
    }

    /// Whether `token` is the one, in a time that tells nothing of it. Equal lengths of hashes hide the length too.
    pub(crate) fn matches(&self, token: &str) -> Choice {
        self.0.ct_eq(&TokenHash::of(token).0)
    }
}

/// The secret in the file at `path`; a file that is missing is made.
fn kept_in(path: &Path, prefix: &str) -> io::Result<Secret> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => make_token(path, prefix)?,
        Err(error) => return Err(error),
    };
    match text.trim() {
        "" => {
            let why = "the file is empty; remove it, and another is made";
            Err(io::Error::new(io::ErrorKind::InvalidData, why))
        }
        secret => Ok(Secret::new(secret)),
    }
}

fn make_token(path: &Path, prefix: &str) -> io::Result<String> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let token = format!("{prefix}{}", hex::encode(rand::random::<[u8; 32]>()));
    // Whole or not at all: a crash in between must not leave half a token, which would look like one.
    let aside = path.with_extension("new");
    // Anew, since one that a crash left behind would keep a mode and an owner of its own.
    match fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    Ok(token)
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

/// Who may call the API, as it is configured.
#[derive(Debug, Clone, Default)]
pub(crate) struct Access {
    /// Tokens that may do everything.
    pub(crate) admins: Vec<TokenHash>,
    /// Where tokens are kept; without it, in the data directory.
    pub(crate) tokens_file: Option<PathBuf>,
    /// The same of users.
    pub(crate) users_file: Option<PathBuf>,
    /// What sessions are signed with; without it, a key that is made in the data directory.
    pub(crate) session_key: Option<Secret>,
    /// What somebody may do who registers; none: nobody can.
    pub(crate) registration: Option<(Role, Vec<String>)>,
    /// Whose identities let in.
    pub(crate) issuers: Vec<IssuerSettings>,
}

impl Access {
    /// Lets the bearer of a token in, for everything.
    pub(crate) fn grant_admin(&mut self, hash: TokenHash) {
        self.admins.push(hash);
    }

    /// Whether no token is configured that may do everything.
    pub(crate) fn is_closed(&self) -> bool {
        self.admins.is_empty()
    }

    /// Whether `presented` is one that may do everything. Each is compared, so that the time tells nothing of which
    /// was near.
    fn is_admin(&self, presented: &str) -> bool {
        bool::from(self.admins.iter().fold(Choice::from(0), |found, hash| found | hash.matches(presented)))
    }
}

/// The token of `Authorization: Bearer …`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        headers
    }

    #[test]
    fn a_bearer_is_told_from_what_is_none() {
        for good in ["Bearer one", "bearer one", "BEARER  one "] {
            assert_eq!(bearer(&headers(good)), Some("one"), "{good}");
        }
        for none in ["", "Bearer", "Bearer ", "Basic one", "one"] {
            assert_eq!(bearer(&headers(none)), None, "{none}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }

    #[test]
    fn a_token_is_made_once_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data").join(ADMIN_TOKEN_FILE);
        let left_behind = path.with_extension("new");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&left_behind, "half").unwrap();
        fs::set_permissions(&left_behind, fs::Permissions::from_mode(0o666)).unwrap();
        let first = TokenHash::kept_in(&path).unwrap();
        let token = fs::read_to_string(&path).unwrap();
        assert!(bool::from(first.matches(token.trim())));
        assert!(bool::from(TokenHash::kept_in(&path).unwrap().matches(token.trim())));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "\n").unwrap();
        assert!(TokenHash::kept_in(&path).is_err());
    }

    #[test]
    fn a_hash_does_not_show_itself() {
        assert_eq!(format!("{:?}", TokenHash::of("x")), "TokenHash(…)");
    }
}
