//! A stack that a git repository says what it is.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Given, Named,
    stack_text::{is_false, is_variable},
};

/// Where the text of a stack is, and who may read it there. What is left out stays as it is; of a stack that is not
/// there yet, the system's own default counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GitStack {
    /// The repository: `https://git.example.com/shop.git`. No user, no password.
    pub url: String,
    /// The whole reference, as in `refs/heads/main`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The path of the compose file; `docker-compose.yml` without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Compose files that are laid over it, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more_files: Vec<String>,
    /// Who reads the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The secret of the workers' configuration that holds the password or access token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Named>,
    /// Variables of the stack, beside those that it has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Given>,
    /// How often the system itself looks for pushes and deploys them, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_s: Option<u64>,
    /// Whether only the settings of a stack that is there are changed, and nothing is deployed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub settings_only: bool,
}

/// Why a stack cannot be deployed from git. It never repeats a value that may be secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GitStackError {
    /// This is no address of a repository.
    #[error("`url` is no address of a repository; write it as in `https://git.example.com/shop.git`")]
    Url,
    /// Somebody stands in the address.
    #[error("`url` holds a user or a password; give `username`, and `password` as the name of a secret")]
    UserInfo,
    /// The reference is not whole.
    #[error("`{0}` is no whole reference; write it as in `refs/heads/main` or `refs/tags/v1`")]
    Reference(String),
    /// There is a user without a password or the other way round.
    #[error("`username` and `password` go together")]
    Half,
    /// The file is not below the repository.
    #[error("`{0}` is no path of a file in the repository")]
    File(String),
    /// This can be no variable.
    #[error("`{0}` is no name of a variable: letters, digits and `_`, no digit first")]
    Variable(String),
    /// Nobody wants to be asked so often.
    #[error("`every_s` is less than 60 seconds")]
    TooOften,
}

impl GitStack {
    /// Shortest time between two looks for pushes, in seconds.
    const LEAST_EVERY_S: u64 = 60;

    /// A repository alone.
    #[must_use]
    pub fn of(url: impl Into<String>) -> GitStack {
        GitStack {
            url: url.into(),
            reference: None,
            file: None,
            more_files: Vec::new(),
            username: None,
            password: None,
            env: BTreeMap::new(),
            every_s: None,
            settings_only: false,
        }
    }

    /// The names of all secrets it needs.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let named = self.env.values().filter_map(|given| match given {
            Given::Secret(named) => Some(named.from.as_str()),
            Given::Value(_) => None,
        });
        named.chain(self.password.iter().map(|named| named.from.as_str()))
    }

    /// Bytes of its variables in memory, roughly.
    #[must_use]
    pub fn weight(&self) -> usize {
        let given = self.env.iter().map(|(name, given)| match given {
            Given::Value(value) => name.len() + value.len(),
            Given::Secret(named) => name.len() + named.from.len(),
        });
        given.sum()
    }

    /// Whether it can be used as far as can be told without asking anybody.
    ///
    /// # Errors
    /// The first mistake.
    pub fn check(&self) -> Result<(), GitStackError> {
        let rest = self.url.strip_prefix("https://").or_else(|| self.url.strip_prefix("http://"));
        let authority = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
        if authority.contains('@') {
            return Err(GitStackError::UserInfo);
        }
        let is_plain = !self.url.contains(|c: char| c.is_whitespace() || "?#".contains(c));
        if authority.is_empty() || !is_plain {
            return Err(GitStackError::Url);
        }
        if let Some(reference) = self.reference.as_ref().filter(|it| !it.starts_with("refs/")) {
            return Err(GitStackError::Reference(reference.clone()));
        }
        if self.username.is_some() != self.password.is_some() {
            return Err(GitStackError::Half);
        }
        let is_inside = |path: &&String| {
            !path.is_empty() && !path.starts_with('/') && path.split('/').all(|part| part != "..")
        };
        if let Some(path) = self.file.iter().chain(&self.more_files).find(|path| !is_inside(path)) {
            return Err(GitStackError::File(path.clone()));
        }
        if let Some(name) = self.env.keys().find(|name| !is_variable(name)) {
            return Err(GitStackError::Variable(name.clone()));
        }
        match self.every_s {
            Some(seconds) if seconds < Self::LEAST_EVERY_S => Err(GitStackError::TooOften),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mistake_is_told() {
        let good = GitStack::of("https://git.example/shop.git");
        assert_eq!(good.check(), Ok(()));
        let with = |change: &dyn Fn(&mut GitStack)| {
            let mut changed = good.clone();
            change(&mut changed);
            changed.check().unwrap_err()
        };
        assert_eq!(with(&|it| it.url = "git@example:shop".to_owned()), GitStackError::Url);
        assert_eq!(with(&|it| it.url = "https://".to_owned()), GitStackError::Url);
        assert_eq!(with(&|it| it.url = "https://a:sup3r@git/x".to_owned()), GitStackError::UserInfo);
        assert!(!with(&|it| it.url = "https://a:sup3r@git/x".to_owned()).to_string().contains("sup3r"));
        assert_eq!(
            with(&|it| it.reference = Some("main".to_owned())),
            GitStackError::Reference("main".to_owned())
        );
        assert_eq!(with(&|it| it.username = Some("robot".to_owned())), GitStackError::Half);
        for path in ["", "/etc/passwd", "a/../../b"] {
            assert_eq!(with(&|it| it.file = Some(path.to_owned())), GitStackError::File(path.to_owned()));
        }
        assert_eq!(with(&|it| it.every_s = Some(59)), GitStackError::TooOften);
    }
}
