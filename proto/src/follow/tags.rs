//! The tags of a follow, checked and ready to be asked.

use regex::bytes::{Regex, RegexBuilder};
use semver::VersionReq;
use wildmatch::WildMatch;

use super::{FollowError, TagPolicy, order};
use crate::{image::check_tag, version};

/// Longest range and longest pattern, in bytes.
const LONGEST: usize = 512;

/// How many bytes a pattern may take when it is made ready: `(.{1000}){1000}` is short to write only.
const LARGEST_PATTERN: usize = 256 * 1024;

/// A policy that was checked.
#[derive(Debug, Clone)]
pub(super) enum Matcher {
    Exact(String),
    Glob(WildMatch),
    Range(VersionReq),
    Pattern {
        pattern: Regex,
        /// Whether the digits in its tags are numbers, as builds are counted.
        is_numbered: bool,
    },
}

impl Matcher {
    pub(super) fn of(policy: &TagPolicy) -> Result<Matcher, FollowError> {
        match policy {
            TagPolicy::Exact(tag) => Ok(Matcher::Exact(check_tag(tag)?.to_owned())),
            TagPolicy::Glob(glob) => {
                let plain = glob.replace(['*', '?'], "x");
                check_tag(&plain).map_err(|_| FollowError::Glob(glob.clone()))?;
                Ok(Matcher::Glob(WildMatch::new(glob)))
            }
            TagPolicy::Semver(range) => self::range(range).map(Matcher::Range),
            TagPolicy::Regex(pattern) => {
                let is_numbered = order::is_numbered(pattern);
                self::pattern(pattern).map(|pattern| Matcher::Pattern { pattern, is_numbered })
            }
        }
    }

    pub(super) fn takes(&self, tag: &str) -> bool {
        match self {
            Matcher::Exact(exact) => exact == tag,
            Matcher::Glob(glob) => glob.matches(tag),
            Matcher::Range(range) => version::of_tag(tag).is_some_and(|version| range.matches(&version)),
            Matcher::Pattern { pattern, .. } => pattern.is_match(tag.as_bytes()),
        }
    }

    /// What a pattern's named groups are of a tag that it takes.
    pub(super) fn groups(&self, tag: &str) -> Vec<(String, String)> {
        let Matcher::Pattern { pattern, .. } = self else { return Vec::new() };
        let Some(found) = pattern.captures(tag.as_bytes()) else { return Vec::new() };
        let group = |name: &str| {
            let text = String::from_utf8_lossy(found.name(name)?.as_bytes()).into_owned();
            Some((name.to_owned(), text))
        };
        pattern.capture_names().flatten().filter_map(group).collect()
    }
}

/// A range as people write it: some put the `v` of their tags in front of its numbers too.
fn range(text: &str) -> Result<VersionReq, FollowError> {
    let wrong = |why: String| FollowError::Semver { range: text.chars().take(80).collect(), why };
    if text.len() > LONGEST {
        return Err(wrong(format!("it is longer than {LONGEST} bytes")));
    }
    if text.contains("||") {
        return Err(wrong("for either of two ranges, follow the image twice".to_owned()));
    }
    let parts: Vec<String> = text.split(',').map(bare).collect();
    parts.join(", ").parse::<VersionReq>().map_err(|error| wrong(error.to_string()))
}

/// One comparison of a range without the `v`.
fn bare(comparison: &str) -> String {
    let comparison = comparison.trim();
    let number = comparison.trim_start_matches(['<', '>', '=', '^', '~', ' ']);
    let sign = &comparison[..comparison.len() - number.len()];
    format!("{sign}{}", version::without_v(number))
}

/// A pattern for the whole tag. Tags are ASCII: without the tables of Unicode it takes a few kilobytes.
fn pattern(text: &str) -> Result<Regex, FollowError> {
    let wrong = |why: String| FollowError::Regex { pattern: text.chars().take(80).collect(), why };
    if text.is_empty() || text.len() > LONGEST {
        return Err(wrong(format!("it has to have from 1 to {LONGEST} bytes")));
    }
    let build = |pattern: &str| {
        RegexBuilder::new(pattern).unicode(false).size_limit(LARGEST_PATTERN).build().map_err(|error| {
            if matches!(error, regex::Error::CompiledTooBig(_)) {
                return wrong("it is too large when it is written out".to_owned());
            }
            // The last line says what is wrong, those before it show where.
            wrong(error.to_string().lines().last().unwrap_or_default().replace("error: ", ""))
        })
    };
    // By itself first: `a)|(b` would else be a pattern that is anchored at neither end.
    build(text)?;
    build(&format!(r"\A(?:{text})\z"))
}
