//! The order of the tags that a follow takes, where they have one: versions, and numbers of a regular expression.

use std::cmp::Ordering;

use regex_syntax::{
    ParserBuilder,
    hir::{Class, Hir, HirKind},
};

use super::{Follow, tags::Matcher};
use crate::version;

impl Follow {
    /// Whether the tags it takes have an order: versions do, and so do tags of a regular expression in which digits
    /// stand for numbers alone, as in `release-[0-9]+`. Of hashes, as of the names a pattern with `*` matches, nobody
    /// can tell which is the later.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        match self.matcher {
            Matcher::Exact(_) | Matcher::Glob(_) => false,
            Matcher::Range(_) => true,
            Matcher::Pattern { is_numbered, .. } => is_numbered,
        }
    }

    /// Of the tags that it takes, the highest that is above `running`: any is above one that cannot be compared with
    /// them. None where there is none, or where they have no order among each other.
    #[must_use]
    pub fn highest_above<'a>(
        &self,
        running: Option<&str>,
        tags: impl Iterator<Item = &'a str>,
    ) -> Option<&'a str> {
        if !self.is_ordered() {
            return None;
        }
        let taken: Vec<&str> = tags.filter(|tag| self.takes_tag(tag)).collect();
        let against = |tag: &&'a str| Some((*tag, self.compare(tag, running?)?));
        let compared: Vec<(&str, Ordering)> = taken.iter().filter_map(against).collect();
        if compared.is_empty() {
            return self.highest(taken.into_iter());
        }
        self.highest(compared.into_iter().filter(|(_, order)| order.is_gt()).map(|(tag, _)| tag))
    }

    /// The highest of several; none where two of them cannot be compared.
    #[must_use]
    pub fn highest<'a>(&self, mut tags: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        let first = tags.next()?;
        tags.try_fold(first, |highest, tag| {
            // One number may be spelled in two ways.
            let order = self.compare(tag, highest)?.then_with(|| highest.cmp(tag));
            Some(if order.is_gt() { tag } else { highest })
        })
    }

    /// How two tags stand to each other; none where they cannot be compared. `other` may be one that moves, as `1.4`.
    fn compare(&self, tag: &str, other: &str) -> Option<Ordering> {
        match self.matcher {
            Matcher::Range(_) => Some(version::of_tag(tag)?.cmp_precedence(&version::lowest_of_tag(other)?)),
            Matcher::Pattern { is_numbered: true, .. } => by_numbers(tag, other),
            Matcher::Pattern { is_numbered: false, .. } | Matcher::Exact(_) | Matcher::Glob(_) => None,
        }
    }
}

/// Whether every digit that the pattern leaves open can be nothing else than a digit. A pattern that is none is none.
pub(super) fn is_numbered(pattern: &str) -> bool {
    let parsed = ParserBuilder::new().unicode(false).utf8(false).build().parse(pattern);
    parsed.is_ok_and(|hir| {
        let mut counts = false;
        only_numbers(&hir, &mut counts) && counts
    })
}

/// Whether no part takes digits and other letters alike; `counts` where a part takes digits.
fn only_numbers(hir: &Hir, counts: &mut bool) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Literal(_) | HirKind::Look(_) => true,
        HirKind::Class(class) => {
            let (digits, others) = match class {
                Class::Bytes(class) => {
                    let ranges = class.ranges().iter();
                    kinds(ranges.map(|range| (u32::from(range.start()), u32::from(range.end()))))
                }
                Class::Unicode(class) => {
                    let ranges = class.ranges().iter();
                    kinds(ranges.map(|range| (u32::from(range.start()), u32::from(range.end()))))
                }
            };
            *counts |= digits;
            !(digits && others)
        }
        HirKind::Repetition(repeated) => only_numbers(&repeated.sub, counts),
        HirKind::Capture(group) => only_numbers(&group.sub, counts),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().all(|part| only_numbers(part, counts))
        }
    }
}

/// Whether ranges of letters hold digits, and whether they hold others.
fn kinds(ranges: impl Iterator<Item = (u32, u32)>) -> (bool, bool) {
    let (zero, nine) = (u32::from(b'0'), u32::from(b'9'));
    ranges.fold((false, false), |(digits, others), (start, end)| {
        (digits || (start <= nine && end >= zero), others || start < zero || end > nine)
    })
}

/// Tags that differ in nothing but their numbers, compared by these, the first before the second.
fn by_numbers(one: &str, other: &str) -> Option<Ordering> {
    let (own, others) = (parts(one), parts(other));
    if own.len() != others.len() {
        return None;
    }
    own.iter().zip(&others).try_fold(Ordering::Equal, |so_far, pair| match pair {
        (Part::Text(own), Part::Text(other)) => (own == other).then_some(so_far),
        (Part::Number(own), Part::Number(other)) => Some(so_far.then_with(|| numerically(own, other))),
        (Part::Text(_), Part::Number(_)) | (Part::Number(_), Part::Text(_)) => None,
    })
}

enum Part<'a> {
    Text(&'a str),
    Number(&'a str),
}

/// A tag as texts and numbers by turns.
fn parts(tag: &str) -> Vec<Part<'_>> {
    let runs = tag.as_bytes().chunk_by(|one, next| one.is_ascii_digit() == next.is_ascii_digit());
    let mut at = 0;
    runs.map(|run| {
        let text = &tag[at..at + run.len()];
        at += run.len();
        if text.starts_with(|letter: char| letter.is_ascii_digit()) {
            Part::Number(text)
        } else {
            Part::Text(text)
        }
    })
    .collect()
}

/// Numbers of any length.
fn numerically(one: &str, other: &str) -> Ordering {
    let (one, other) = (one.trim_start_matches('0'), other.trim_start_matches('0'));
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TagPolicy;

    fn follow(tags: TagPolicy) -> Follow {
        Follow::new("acme/web".parse().unwrap(), tags, false).unwrap()
    }

    fn regex(pattern: &str) -> Follow {
        follow(TagPolicy::Regex(pattern.to_owned()))
    }

    fn above<'a>(follow: &Follow, running: &str, tags: &[&'a str]) -> Option<&'a str> {
        let running = Some(running).filter(|running| !running.is_empty());
        let tags: Vec<&'a str> = tags.to_vec();
        let found = follow.highest_above(running, tags.iter().copied());
        let mut turned = tags.clone();
        turned.reverse();
        assert_eq!(
            follow.highest_above(running, turned.into_iter()),
            found,
            "in whatever order they are told"
        );
        found
    }

    #[test]
    fn the_highest_version_above_what_runs_is_found() {
        let versions = follow(TagPolicy::Semver(">=1.0, <2".to_owned()));
        assert!(versions.is_ordered());
        let tags = ["1.2.0", "latest", "2.0.0", "1.10.0", "1.9.0", "v1.3.0", "1.11.0-rc.1"];
        for (running, expected) in [
            ("1.1.0", Some("1.10.0")),
            ("1.9.0", Some("1.10.0")),
            ("v1.10.0", None),
            ("1.10.0", None),
            ("1.12.0", None),
            ("2.1.0", None),
            ("1.10", None),
            ("1", Some("1.10.0")),
            ("latest", Some("1.10.0")),
            ("", Some("1.10.0")),
        ] {
            assert_eq!(above(&versions, running, &tags), expected, "above {running:?}");
        }
        assert_eq!(above(&versions, "1.1.0", &["latest", "2.0.0"]), None);
    }

    #[test]
    fn numbers_of_a_regular_expression_are_an_order() {
        let builds = regex("(main|dev)-(?<build>[0-9]+)(-slim)?");
        assert!(builds.is_ordered());
        let tags = ["main-9", "main-10", "dev-77", "main-12-slim", "main-010"];
        for (running, expected) in [
            ("main-8", Some("main-10")),
            ("main-10", None),
            ("main-11", None),
            ("dev-76", Some("dev-77")),
            ("main-11-slim", Some("main-12-slim")),
            // Which of the three kinds is meant nobody can tell.
            ("latest", None),
            ("", None),
        ] {
            let found = above(&builds, running, &tags)
                .map(|found| if found == "main-010" { "main-10" } else { found });
            assert_eq!(found, expected, "above {running:?}");
        }
        let days = regex(r"20\d{2}-\d\d-\d\d\.\d+");
        let tags = ["2026-11-09.10", "2026-11-09.9", "2026-02-28.99"];
        assert_eq!(above(&days, "2026-11-09.1", &tags), Some("2026-11-09.10"));
        assert_eq!(above(&days, "edge", &tags), Some("2026-11-09.10"));
        let long = regex("[0-9]+");
        assert_eq!(
            above(&long, "20261123001122334455667788", &["20261123001122334455667789", "3"]),
            Some("20261123001122334455667789")
        );
    }

    #[test]
    fn what_may_be_a_hash_has_no_order() {
        for pattern in ["[0-9a-f]{7}", "main-.*", "release", "(?i)v[0-9a-z]+", r"\w+", "[^-]+-1"] {
            assert!(!regex(pattern).is_ordered(), "{pattern}");
        }
        for pattern in ["v?[0-9]+", r"r\d+", "[a-z]+-[0-9]+", "(?<major>[0-9]+)[.](?<minor>[0-9]+)"] {
            assert!(regex(pattern).is_ordered(), "{pattern}");
        }
        for tags in [TagPolicy::Glob("dev-*".to_owned()), TagPolicy::Exact("dev-1".to_owned())] {
            let follow = follow(tags);
            assert!(!follow.is_ordered());
            assert_eq!(follow.highest_above(Some("dev-1"), ["dev-2", "dev-3"].into_iter()), None);
        }
    }
}
