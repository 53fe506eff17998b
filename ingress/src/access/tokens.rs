//! API tokens: made once, shown once, kept as hashes.

use std::{collections::BTreeMap, path::Path};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::{
    TokenHash,
    file::{self, Accounts, ErasedEntry, FileError},
    scope::{Scope, ScopeError},
};

/// What every token begins with.
pub(super) const PREFIX: &str = "lsh_";

/// Longest name of a token or a user.
const LONGEST_NAME: usize = 63;

/// The tokens of a file, by their ids.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenBook {
    #[serde(default)]
    version: Option<u64>,
    #[serde(default)]
    tokens: BTreeMap<String, TokenRecord>,
}

/// What is kept of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRecord {
    /// What it is for, once among the tokens.
    pub name: String,
    /// SHA-256 of the whole token, in hex.
    pub(crate) hash: String,
    /// On which targets, with `*` and `?`.
    #[serde(default)]
    pub targets: Vec<String>,
    /// Which operations.
    #[serde(default)]
    pub operations: Vec<String>,
    /// Through which sources.
    #[serde(default)]
    pub sources: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it opens nothing; none: never.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
}

/// Why a token is not made or taken away.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Another token has this name.
    #[error("there is a token `{0}` already")]
    Taken(String),
    /// None has.
    #[error("there is no token `{0}`")]
    Unknown(String),
    /// No name.
    #[error(
        "`{0}` is no name: use letters, digits, `.`, `_` and `-`, a letter or digit first, {LONGEST_NAME} at most"
    )]
    Name(String),
    /// Nobody could use it, or for nothing.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
}

impl TokenError {
    /// How to mend it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            TokenError::Taken(name) => {
                format!("choose another name, or take the old one away: `longshore token revoke {name}`")
            }
            TokenError::Unknown(_) => "`longshore token list` shows them, with their ids".to_owned(),
            TokenError::Name(_) => "name what uses it, as in `ci-web`".to_owned(),
            TokenError::Scope(error) => error.hint(),
            TokenError::File(error) => error.hint().to_owned(),
        }
    }
}

/// A token that was just made: shown once, known nowhere.
#[derive(Debug)]
pub struct NewToken {
    /// The first part of it, by which it can be named.
    pub id: String,
    /// All of it.
    pub token: config::Secret,
}

/// Makes a token and keeps its hash in the file at `path`, which is made where it is missing.
///
/// # Errors
/// When the name is taken or none, the scope allows nothing, or the file cannot be changed.
pub fn create(
    path: &Path,
    name: &str,
    scope: Scope,
    expires_at: Option<Timestamp>,
) -> Result<NewToken, TokenError> {
    check_name(name).ok_or_else(|| TokenError::Name(name.to_owned()))?;
    scope.check()?;
    let id = hex::encode(rand::random::<[u8; 6]>());
    let token = format!("{PREFIX}{id}_{}", hex::encode(rand::random::<[u8; 32]>()));
    let record = TokenRecord {
        name: name.to_owned(),
        hash: TokenHash::of(&token).to_hex(),
        targets: scope.targets,
        operations: scope.operations,
        sources: scope.sources,
        created_at: Timestamp::now(),
        expires_at,
    };
    file::edit(path, |book: &mut TokenBook| {
        if book.tokens.values().any(|known| known.name == name) {
            return Err(TokenError::Taken(name.to_owned()));
        }
        book.tokens.insert(id.clone(), record);
        Ok(())
    })?;
    Ok(NewToken { id, token: config::Secret::new(token) })
}

/// The tokens in the file at `path`, by their ids.
///
/// # Errors
/// When the file cannot be read.
pub fn list(path: &Path) -> Result<Vec<(String, TokenRecord)>, TokenError> {
    Ok(file::read::<TokenBook>(path)?.tokens.into_iter().collect())
}

/// Takes a token away, by its name or its id; it opens nothing from now on.
///
/// # Errors
/// When there is none, or the file cannot be changed.
pub fn revoke(path: &Path, name: &str) -> Result<TokenRecord, TokenError> {
    file::edit(path, |book: &mut TokenBook| {
        let by_name = book.tokens.iter().find(|(_, token)| token.name == name).map(|(id, _)| id.clone());
        let removed = by_name.or_else(|| Some(name.to_owned())).and_then(|id| book.tokens.remove(&id));
        removed.ok_or_else(|| TokenError::Unknown(name.to_owned()))
    })
}

/// Finds out whether a text may be a name of a token or a user.
pub(super) fn check_name(name: &str) -> Option<()> {
    let inner = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let good = name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.len() <= LONGEST_NAME;
    (good && name.chars().all(inner)).then_some(())
}

/// What a presented token turns out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// One that opens.
    Good(&'a TokenRecord),
    /// One that opened until then.
    Expired(&'a TokenRecord, Timestamp),
    /// None.
    Unknown,
}

impl TokenBook {
    /// Looks for a token: by its first part, which is no secret; the rest is compared in a time that tells nothing.
    pub(crate) fn find(&self, presented: &str, now: Timestamp) -> Found<'_> {
        let id = presented.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')).map(|(id, _)| id);
        let record = id.and_then(|id| self.tokens.get(id));
        let hash = TokenHash::of(presented).to_hex();
        let kept = record.map_or("", |record| record.hash.as_str());
        match record {
            Some(record) if bool::from(kept.as_bytes().ct_eq(hash.as_bytes())) => match record.expires_at {
                Some(until) if until <= now => Found::Expired(record, until),
                Some(_) | None => Found::Good(record),
            },
            Some(_) | None => Found::Unknown,
        }
    }

    /// Whether there is no token at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}

impl TokenRecord {
    /// What its bearer may do.
    #[must_use]
    pub fn scope(&self) -> Scope {
        let (targets, operations) = (self.targets.clone(), self.operations.clone());
        Scope { targets, operations, sources: self.sources.clone() }
    }
}

impl Accounts for TokenBook {
    const HEADING: &'static str = "# Written by `longshore token`; every running Longshore reads it again when it changes.\n# Hashes only: a token is shown once, when it is made.\n";
    const KEY: &'static str = "tokens";

    fn version(&self) -> Option<u64> {
        self.version
    }

    fn entries(&self) -> Vec<(&str, &dyn ErasedEntry)> {
        self.tokens.iter().map(|(id, record)| (id.as_str(), record as &dyn ErasedEntry)).collect()
    }

    fn check(&self) -> Result<(), (String, String)> {
        for record in self.tokens.values() {
            let name = &record.name;
            record
                .scope()
                .check()
                .map_err(|error| (format!("the token `{name:.100}`: {error}"), error.hint()))?;
            let is_hash = record.hash.len() == 64 && record.hash.bytes().all(|b| b.is_ascii_hexdigit());
            if !is_hash {
                let hint = "take its line out, and make another with `longshore token create`".to_owned();
                return Err((format!("the token `{name:.100}` has no hash in it"), hint));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        Scope {
            targets: vec!["web".to_owned()],
            operations: vec!["set-image".to_owned()],
            sources: Vec::new(),
        }
    }

    #[test]
    fn a_token_is_known_until_it_is_revoked_and_nothing_of_it_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access/tokens.yaml");
        let made = create(&path, "ci", scope(), None).unwrap();
        let other = create(&path, "other", scope(), None).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let token = made.token.expose();
        let secret = token.rsplit('_').next().unwrap();
        assert!(token.starts_with(&format!("lsh_{}_", made.id)) && !text.contains(secret), "{text}");
        let now = Timestamp::now();
        let book: TokenBook = file::read(&path).unwrap();
        assert!(matches!(book.find(token, now), Found::Good(record) if record.name == "ci"));
        let mixed = format!("lsh_{}_{secret}", other.id);
        for wrong in [
            &token[..token.len() - 1],
            &format!("{token}0"),
            &mixed,
            &token.to_uppercase(),
            "",
            "lsh_",
            "lsh__",
            secret,
        ] {
            assert_eq!(book.find(wrong, now), Found::Unknown, "{wrong}");
        }
        assert!(matches!(create(&path, "ci", scope(), None), Err(TokenError::Taken(_))));
        assert_eq!(revoke(&path, "ci").unwrap().name, "ci");
        assert_eq!(revoke(&path, &other.id).unwrap().name, "other");
        assert!(matches!(revoke(&path, "ci"), Err(TokenError::Unknown(_))));
        assert_eq!(file::read::<TokenBook>(&path).unwrap().find(token, now), Found::Unknown);
    }

    #[test]
    fn a_token_expires() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.yaml");
        let until = Timestamp::now() + jiff::SignedDuration::from_secs(60);
        let made = create(&path, "ci", scope(), Some(until)).unwrap();
        let book: TokenBook = file::read(&path).unwrap();
        let token = made.token.expose();
        assert!(matches!(book.find(token, until - jiff::SignedDuration::from_secs(1)), Found::Good(_)));
        assert!(matches!(book.find(token, until), Found::Expired(_, at) if at == until));
    }

    #[test]
    fn a_file_that_is_edited_keeps_its_mode_and_is_whole() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.yaml");
        create(&path, "one", scope(), None).unwrap();
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let making = (0..4).map(|n| {
            let path = path.clone();
            std::thread::spawn(move || {
                (0..10).for_each(|m| drop(create(&path, &format!("t{n}-{m}"), scope(), None).unwrap()))
            })
        });
        making.collect::<Vec<_>>().into_iter().for_each(|one| one.join().unwrap());
        assert_eq!((mode(), list(&path).unwrap().len()), (0o640, 41));
    }

    #[test]
    fn a_file_that_cannot_be_used_is_told_and_what_was_read_before_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.yaml");
        let watched = file::Watched::<TokenBook>::new(Some(path.clone()));
        assert!(watched.current().is_empty());
        let made = create(&path, "ci", scope(), None).unwrap();
        watched.look();
        let opens = |watched: &file::Watched<TokenBook>| {
            matches!(watched.current().find(made.token.expose(), Timestamp::now()), Found::Good(_))
        };
        assert!(opens(&watched));
        for bad in ["tokens: [", "version: 2\ntokens: {}\n", "tokens: {a: {name: x}}\n", "tokn: {}\n"] {
            std::fs::write(&path, bad).unwrap();
            assert!(matches!(list(&path), Err(TokenError::File(FileError::Faulty { .. }))), "{bad}");
            watched.look();
            assert!(opens(&watched), "{bad}");
        }
        std::fs::remove_file(&path).unwrap();
        watched.look();
        assert!(!opens(&watched));
    }
}
