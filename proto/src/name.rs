//! Names of pools and targets.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The pool of targets whose name gives none.
const DEFAULT_POOL: &str = "default";

/// Longest name of a pool, and longest name of a target within it, in characters.
const MAX_LENGTH: usize = 63;

/// A set of workers that can reach the same systems (a network zone, a data centre). Each has its own queue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"))]
pub struct PoolName(String);

/// The full name of a target: `pool/name`, or `name` in the pool `default`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TargetName {
    pool: PoolName,
    name: String,
}

/// Why a text names no pool or target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no name: use letters, digits, `_` and `-`, a letter or digit first, {MAX_LENGTH} at most"
)]
pub struct NameError {
    /// The offending part.
    pub text: String,
}

fn check(text: &str) -> Result<(), NameError> {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let good = text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.len() <= MAX_LENGTH
        && text.chars().all(inner);
    if good { Ok(()) } else { Err(NameError { text: text.to_owned() }) }
}

impl PoolName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for PoolName {
    fn default() -> Self {
        PoolName(DEFAULT_POOL.to_owned())
    }
}

impl TargetName {
    /// A target called `name` in `pool`.
    ///
    /// # Errors
    /// When `name` has other characters than a name may have, or too many.
    pub fn new(pool: PoolName, name: &str) -> Result<TargetName, NameError> {
        check(name)?;
        Ok(TargetName { pool, name: name.to_owned() })
    }

    /// The pool whose workers reach the target.
    #[must_use]
    pub fn pool(&self) -> &PoolName {
        &self.pool
    }

    /// The name within the pool.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for PoolName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check(text)?;
        Ok(PoolName(text.to_owned()))
    }
}

impl FromStr for TargetName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.split_once('/') {
            Some((pool, name)) => TargetName::new(pool.parse()?, name),
            None => TargetName::new(PoolName::default(), text),
        }
    }
}

impl TryFrom<String> for PoolName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl TryFrom<String> for TargetName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<PoolName> for String {
    fn from(pool: PoolName) -> String {
        pool.0
    }
}

impl From<TargetName> for String {
    fn from(target: TargetName) -> String {
        target.to_string()
    }
}

impl fmt::Display for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.pool, self.name)
    }
}

impl JsonSchema for TargetName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TargetName".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "The full name of a target: `pool/name`, or `name` in the pool `default`.",
            "pattern": "^([A-Za-z0-9][A-Za-z0-9_-]{0,62}/)?[A-Za-z0-9][A-Za-z0-9_-]{0,62}$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_pool_may_be_left_out() {
        let short: TargetName = "web".parse().unwrap();
        assert_eq!(short.to_string(), "default/web");
        assert_eq!("office/web".parse::<TargetName>().unwrap().pool().as_str(), "office");
    }

    #[test]
    fn names_that_would_break_a_routing_key_are_refused() {
        for bad in ["", "a/b/c", "/a", "a/", "-a", "a.b", "a*", "ä", &"x".repeat(64)] {
            assert!(bad.parse::<TargetName>().is_err(), "{bad}");
        }
        assert!("x".repeat(63).parse::<TargetName>().is_ok());
    }
}
