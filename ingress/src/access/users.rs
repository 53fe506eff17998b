//! Users: a name, a role, a password that only its hash is kept of.

mod standing;

use std::{collections::BTreeMap, path::Path};

use config::Secret;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::standing::{give_role, remove};
use super::{
    file::{self, Accounts, ErasedEntry, FileError},
    passwords::{self, PasswordError},
    role::Role,
    scope::{Scope, ScopeError},
    tokens::check_name,
};

/// Sessions that are ended one by one; beyond that, all of a user's are.
const MOST_ENDED: usize = 50;

/// The users of a file, by their names in lower case.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserBook {
    #[serde(default)]
    version: Option<u64>,
    #[serde(default)]
    users: BTreeMap<String, UserRecord>,
}

/// What is kept of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserRecord {
    /// What they may do.
    pub role: Role,
    /// On which targets, with `*` and `?`.
    pub targets: Vec<String>,
    /// The password's, by argon2id.
    pub(crate) hash: String,
    /// Sessions of another one have ended.
    #[serde(default)]
    pub(crate) generation: u64,
    /// May not come in.
    #[serde(default)]
    pub disabled: bool,
    /// What people call them.
    #[serde(default)]
    pub full_name: Option<String>,
    /// How they are reached.
    #[serde(default)]
    pub phone: Option<String>,
    /// When they were entered.
    pub created_at: Timestamp,
    /// Sessions that were ended before their time, each until when it would have lasted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) ended: BTreeMap<String, Timestamp>,
}

/// Who is to be entered.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// The name to log in with; capitals make no difference.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// On which targets.
    pub targets: Vec<String>,
    /// What people call them.
    pub full_name: Option<String>,
    /// How they are reached.
    pub phone: Option<String>,
}

/// Why a user is not entered or changed.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// Another user has this name.
    #[error("there is a user `{0}` already")]
    Taken(String),
    /// None has.
    #[error("there is no user `{0}`")]
    Unknown(String),
    /// No name.
    #[error(
        "`{0}` is no name for a user: use letters, digits, `.`, `_` and `-`, a letter or digit first, 63 at most"
    )]
    Name(String),
    /// Longer than anybody's, or with signs that are none.
    #[error("the {0} is longer than 100 characters, or has signs in it that cannot be printed")]
    Words(&'static str),
    /// No more can register.
    #[error("there are as many users as can register")]
    Full,
    /// The password.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The targets.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
}

impl UserError {
    /// How to mend it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            UserError::Taken(_) => "choose another name".to_owned(),
            UserError::Unknown(_) => "`longshore user list` shows them".to_owned(),
            UserError::Name(_) => "as in `anna` or `anna.b`".to_owned(),
            UserError::Words(what) => format!("write a shorter {what}, in one line"),
            UserError::Full => "ask whoever runs this Longshore for an account".to_owned(),
            UserError::Password(_) => {
                "choose another; a few words in a row are easily kept in mind".to_owned()
            }
            UserError::Scope(error) => error.hint(),
            UserError::File(error) => error.hint().to_owned(),
        }
    }
}

impl NewUser {
    fn check(&self) -> Result<String, UserError> {
        let name = self.name.to_lowercase();
        check_name(&name).ok_or_else(|| UserError::Name(self.name.chars().take(100).collect()))?;
        for (what, text) in [("full name", &self.full_name), ("phone number", &self.phone)] {
            let text = text.as_deref().unwrap_or_default();
            if text.chars().count() > 100 || text.chars().any(char::is_control) {
                return Err(UserError::Words(what));
            }
        }
        self.role.scope(&self.targets).check()?;
        Ok(name)
    }
}

/// Enters a user in the file at `path`, which is made where it is missing.
///
/// # Errors
/// When the name is taken or none, the password cannot be used, or the file cannot be changed.
pub fn add(path: &Path, user: &NewUser, password: &Secret) -> Result<(), UserError> {
    user.check()?;
    enter(path, user, passwords::hash(password)?, usize::MAX)
}

/// The same with a password that was hashed; `most` users are in the file after it.
pub(crate) fn enter(path: &Path, user: &NewUser, hash: String, most: usize) -> Result<(), UserError> {
    let name = user.check()?;
    let record = UserRecord {
        role: user.role,
        targets: user.targets.clone(),
        hash,
        // Above that of a former user of the name, whose sessions are not this one's.
        generation: u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default(),
        disabled: false,
        full_name: user.full_name.clone(),
        phone: user.phone.clone(),
        created_at: Timestamp::now(),
        ended: BTreeMap::new(),
    };
    file::edit(path, |book: &mut UserBook| {
        if book.users.contains_key(&name) {
            return Err(UserError::Taken(name.clone()));
        }
        if book.users.len() >= most {
            return Err(UserError::Full);
        }
        book.users.insert(name.clone(), record);
        Ok(())
    })
}

/// Gives a user another password, and ends all their sessions.
///
/// # Errors
/// When there is no such user, the password cannot be used, or the file cannot be changed.
pub fn passwd(path: &Path, name: &str, password: &Secret) -> Result<(), UserError> {
    let hash = passwords::hash(password)?;
    change(path, name, |user| {
        user.hash = hash;
        user.end_all();
    })
}

/// Keeps a user out, and ends all their sessions; or lets them in again.
///
/// # Errors
/// When there is no such user, or the file cannot be changed.
pub fn disable(path: &Path, name: &str, disabled: bool) -> Result<(), UserError> {
    change(path, name, |user| {
        user.disabled = disabled;
        user.end_all();
    })
}

/// Ends all sessions of a user.
pub(crate) fn end_all(path: &Path, name: &str) -> Result<(), UserError> {
    change(path, name, UserRecord::end_all)
}

/// Ends one session of a user, which would have lasted until then.
pub(crate) fn end_one(path: &Path, name: &str, session: &str, until: Timestamp) -> Result<(), UserError> {
    change(path, name, |user| {
        let now = Timestamp::now();
        user.ended.retain(|_, until| *until > now);
        user.ended.insert(session.to_owned(), until);
        if user.ended.len() > MOST_ENDED {
            user.end_all();
        }
    })
}

fn change(path: &Path, name: &str, change: impl FnOnce(&mut UserRecord)) -> Result<(), UserError> {
    file::edit(path, |book: &mut UserBook| {
        let user = book.users.get_mut(&name.to_lowercase());
        change(user.ok_or_else(|| UserError::Unknown(name.to_owned()))?);
        Ok(())
    })
}

/// The users in the file at `path`, by their names.
///
/// # Errors
/// When the file cannot be read.
pub fn list(path: &Path) -> Result<Vec<(String, UserRecord)>, UserError> {
    Ok(file::read::<UserBook>(path)?.users.into_iter().collect())
}

impl UserRecord {
    fn end_all(&mut self) {
        self.generation += 1;
        self.ended.clear();
    }

    /// What they may do.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.role.scope(&self.targets)
    }
}

impl UserBook {
    /// A user by the name that was typed, with the name as it is kept.
    pub(crate) fn get(&self, name: &str) -> Option<(&str, &UserRecord)> {
        self.users.get_key_value(&name.to_lowercase()).map(|(name, user)| (name.as_str(), user))
    }

    /// Whether there is no user at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

impl Accounts for UserBook {
    const HEADING: &'static str =
        "# Written by `longshore user`; every running Longshore reads it again when it changes.\n";
    const KEY: &'static str = "users";

    fn version(&self) -> Option<u64> {
        self.version
    }

    fn entries(&self) -> Vec<(&str, &dyn ErasedEntry)> {
        self.users.iter().map(|(name, user)| (name.as_str(), user as &dyn ErasedEntry)).collect()
    }

    fn check(&self) -> Result<(), (String, String)> {
        for (name, user) in &self.users {
            if check_name(name).is_none() || *name != name.to_lowercase() {
                let text = format!("`{name:.100}` is no name for a user");
                return Err((text, "write it in lower case, without spaces".to_owned()));
            }
            let scope = user.scope().check();
            scope.map_err(|error| (format!("the user `{name}`: {error}"), error.hint()))?;
            if !passwords::is_hash(&user.hash) {
                let hint = format!(
                    "take its line out, and enter them again with `longshore user add {name}`; every session of theirs ends"
                );
                return Err((format!("the user `{name}` has no hash of a password"), hint));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(super) fn anna(role: Role) -> NewUser {
        let full_name = Some("Anna „B” ${HOME}".to_owned());
        let targets = vec!["web*".to_owned()];
        NewUser { name: "Anna".to_owned(), role, targets, full_name, phone: Some("+49 30 1".to_owned()) }
    }

    #[test]
    fn a_user_is_kept_with_what_was_typed_and_no_password() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        let password = Secret::new("a password of hers");
        add(&path, &anna(Role::Deployer), &password).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("a password"), "{text}");
        let (name, user) = list(&path).unwrap().remove(0);
        assert!(user.generation > 0, "a former user of the name had less");
        assert_eq!((name.as_str(), user.full_name.as_deref()), ("anna", Some("Anna „B” ${HOME}")));
        assert!(matches!(add(&path, &anna(Role::Viewer), &password), Err(UserError::Taken(_))));
        passwd(&path, "ANNA", &Secret::new("another password")).unwrap();
        disable(&path, "anna", true).unwrap();
        end_all(&path, "anna").unwrap();
        let (_, changed) = list(&path).unwrap().remove(0);
        assert_eq!((changed.generation, changed.disabled), (user.generation + 3, true));
        assert_ne!(changed.hash, user.hash);
        assert!(matches!(disable(&path, "bert", true), Err(UserError::Unknown(_))));
    }

    #[test]
    fn sessions_are_ended_one_by_one_up_to_a_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        enter(&path, &anna(Role::Viewer), passwords::hash(&Secret::new("0123456789")).unwrap(), 9).unwrap();
        let until = |seconds| Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
        end_one(&path, "anna", "long ago", until(-5)).unwrap();
        for n in 0..MOST_ENDED {
            end_one(&path, "anna", &n.to_string(), until(600)).unwrap();
        }
        let user = || list(&path).unwrap().remove(0).1;
        let before = user().generation;
        assert_eq!(user().ended.len(), MOST_ENDED);
        end_one(&path, "anna", "one more", until(600)).unwrap();
        assert_eq!((user().ended.len(), user().generation), (0, before + 1));
    }

    #[test]
    fn who_cannot_be_entered_is_told_why() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        let password = Secret::new("a password of hers");
        for name in ["", "a b", "-a", "a/b", "a$b", "ä", &"x".repeat(64)] {
            let user = NewUser { name: name.to_owned(), ..anna(Role::Viewer) };
            assert!(matches!(add(&path, &user, &password), Err(UserError::Name(_))), "{name}");
        }
        let user = NewUser { full_name: Some("a\nb".to_owned()), ..anna(Role::Viewer) };
        assert!(matches!(add(&path, &user, &password), Err(UserError::Words(_))));
        let user = NewUser { targets: Vec::new(), ..anna(Role::Viewer) };
        assert!(matches!(add(&path, &user, &password), Err(UserError::Scope(_))));
        assert!(matches!(
            add(&path, &anna(Role::Viewer), &Secret::new("short")),
            Err(UserError::Password(_))
        ));
        assert!(matches!(enter(&path, &anna(Role::Viewer), String::new(), 0), Err(UserError::Full)));
        assert!(!path.exists());
    }
}
