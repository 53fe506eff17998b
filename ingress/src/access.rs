//! Who may call the API: bearer tokens, known by their hash only.

use std::{
    fmt,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

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
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_token(path)?,
            Err(error) => return Err(error),
        };
        match text.trim() {
            "" => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the file is empty; remove it, and a token is made",
            )),
            token => Ok(TokenHash::of(token)),
        }
    }

    /// Whether `token` is the one, in a time that tells nothing of it. Equal lengths of hashes hide the length too.
    pub(crate) fn matches(&self, token: &str) -> Choice {
        self.0.ct_eq(&TokenHash::of(token).0)
    }
}

fn make_token(path: &Path) -> io::Result<String> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let token = format!("lsh_{}", hex::encode(rand::random::<[u8; 32]>()));
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

/// Everyone who may call the API.
#[derive(Debug, Clone, Default)]
pub(crate) struct Access {
    tokens: Vec<Token>,
}

/// A token and whose it is.
#[derive(Debug, Clone)]
struct Token {
    owner: String,
    hash: TokenHash,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principal {
    /// The name that stands in a job's cause.
    pub(crate) name: String,
}

/// Why a caller is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Nothing was presented.
    Missing,
    /// What was presented opens nothing here.
    Wrong,
}

impl Access {
    /// Lets the bearer of a token in, for everything.
    pub(crate) fn grant_admin(&mut self, hash: TokenHash) {
        self.tokens.push(Token { owner: "admin".to_owned(), hash });
    }

    /// Whether nobody at all may call.
    pub(crate) fn is_closed(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Finds out who calls. Every token is compared, so that the time tells nothing of which was near.
    pub(crate) fn admit(&self, headers: &HeaderMap) -> Result<Principal, Refusal> {
        let presented = bearer(headers).ok_or(Refusal::Missing)?;
        let mut found = None;
        for token in &self.tokens {
            if bool::from(token.hash.matches(presented)) {
                found = Some(Principal { name: token.owner.clone() });
            }
        }
        found.ok_or(Refusal::Wrong)
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
    fn only_the_bearer_of_a_known_token_is_let_in() {
        let mut access = Access::default();
        assert_eq!(access.admit(&headers("Bearer x")), Err(Refusal::Wrong));
        access.grant_admin(TokenHash::of("one"));
        access.grant_admin(TokenHash::of("two"));
        for good in ["Bearer one", "bearer two", "BEARER  two "] {
            assert_eq!(access.admit(&headers(good)), Ok(Principal { name: "admin".to_owned() }), "{good}");
        }
        assert_eq!(access.admit(&headers("Bearer three")), Err(Refusal::Wrong));
        for none in ["", "Bearer", "Bearer ", "Basic one", "one"] {
            assert_eq!(access.admit(&headers(none)), Err(Refusal::Missing), "{none}");
        }
        assert_eq!(access.admit(&HeaderMap::new()), Err(Refusal::Missing));
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
