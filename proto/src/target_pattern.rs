//! Which targets are meant, by name.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wildmatch::WildMatch;

use crate::TargetName;

/// Longest part of a name.
const LONGEST_PART: usize = 63;

/// Some targets: `pool/name`, or `name` in the pool `default`, with `*` for any text and `?` for any one character. `*`
/// alone is all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct TargetPattern(String);

/// Why a text is no pattern of targets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0:.100}` means no targets: write them as in `web`, `web-*` or `office/*`; `*` is all of them")]
pub struct NoTargetPattern(String);

impl TargetPattern {
    /// Whether the target is one of those that are meant.
    #[must_use]
    pub fn takes(&self, target: &TargetName) -> bool {
        if self.0 == "*" {
            return true;
        }
        let (pool, name) = self.0.split_once('/').unwrap_or(("default", &self.0));
        WildMatch::new(pool).matches(target.pool().as_str()) && WildMatch::new(name).matches(target.name())
    }
}

impl FromStr for TargetPattern {
    type Err = NoTargetPattern;

    fn from_str(text: &str) -> Result<TargetPattern, NoTargetPattern> {
        let inner = |c: char| c.is_ascii_alphanumeric() || "_-*?".contains(c);
        let is_part = |part: &str| !part.is_empty() && part.len() <= LONGEST_PART && part.chars().all(inner);
        let is_pattern = match text.split_once('/') {
            Some((pool, name)) => is_part(pool) && is_part(name),
            None => is_part(text),
        };
        if is_pattern { Ok(TargetPattern(text.to_owned())) } else { Err(NoTargetPattern(text.to_owned())) }
    }
}

impl TryFrom<String> for TargetPattern {
    type Error = NoTargetPattern;

    fn try_from(text: String) -> Result<TargetPattern, NoTargetPattern> {
        text.parse()
    }
}

impl From<TargetPattern> for String {
    fn from(pattern: TargetPattern) -> String {
        pattern.0
    }
}

impl fmt::Display for TargetPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_takes_what_it_says_and_nothing_else() {
        let takes = |pattern: &str, target: &str| {
            pattern.parse::<TargetPattern>().unwrap().takes(&target.parse().unwrap())
        };
        for (pattern, target) in [
            ("*", "office/web"),
            ("web-*", "web-1"),
            ("web", "default/web"),
            ("office/*", "office/a"),
            ("l?b/x", "lab/x"),
        ] {
            assert!(takes(pattern, target), "{pattern} {target}");
        }
        for (pattern, target) in
            [("web-*", "office/web-1"), ("web", "web-1"), ("office/*", "web"), ("?", "ab")]
        {
            assert!(!takes(pattern, target), "{pattern} {target}");
        }
        for wrong in ["", "/", "a/", "/a", "a/b/c", "a b", "ü"] {
            assert!(wrong.parse::<TargetPattern>().is_err(), "{wrong}");
        }
    }
}
