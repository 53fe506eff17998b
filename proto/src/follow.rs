//! Which images a target takes.

mod order;
mod tags;
#[cfg(test)]
mod tests;

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::tags::Matcher;
use crate::{ImageError, ImageRef, Repository, version};

/// A rule by which a target takes a pushed image: `repo:tag-glob`, or `{image, tags: {exact|glob|semver|regex}}`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Typed", into = "Typed")]
#[schemars(with = "Typed")]
pub struct Follow {
    repository: Repository,
    tags: TagPolicy,
    /// The same, ready to be asked: made once, where a rule is read.
    matcher: Matcher,
    allow_downgrade: bool,
}

/// Which tags of a repository are taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TagPolicy {
    /// This tag alone.
    Exact(String),
    /// Tags that match, with `*` for any text and `?` for any one character.
    Glob(String),
    /// Tags that are versions in this range, as in `>=1.4, <2`, with or without a `v` in front; upward only.
    /// Pre-releases only where the range names one.
    Semver(String),
    /// Tags that this regular expression matches as a whole; `(?<name>…)` names a part.
    Regex(String),
}

/// Why a text or map is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// The image part names no repository.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A short form without a tag.
    #[error("`{0}` names no tags: write `{0}:*` for every tag, `{0}:latest` for one")]
    NoTags(String),
    /// A glob that can match no tag.
    #[error("`{0}` matches no tag: use letters, digits, `_`, `.`, `-`, `*` and `?`")]
    Glob(String),
    /// Not a range of versions.
    #[error(
        "`{range}` is no range of versions: {why}; write it as in `>=1.4, <2`, `^1.4`, `~1.4.2` or `1.*`"
    )]
    Semver {
        /// What was given.
        range: String,
        /// What is wrong with it.
        why: String,
    },
    /// Not a regular expression, or one that takes too much.
    #[error(
        "`{pattern}` is no regular expression for a tag: {why}; write it as in `release-(?<build>[0-9]+)`"
    )]
    Regex {
        /// What was given.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// `allow_downgrade` beside tags that have no order.
    #[error("`allow_downgrade` belongs to `semver`: other tags are taken whatever runs")]
    NoOrder,
}

/// A follow as people type it.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Typed {
    /// `repo:tag-glob`
    Short(String),
    /// With the policy written out.
    Long {
        /// The repository, without a tag.
        image: String,
        /// Which of its tags.
        tags: TagPolicy,
        /// Takes a lower version than the one that runs too; of `semver` alone.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        allow_downgrade: bool,
    },
}

impl Follow {
    /// A rule of its parts. `allow_downgrade`: a lower version than the one that runs is taken too.
    ///
    /// # Errors
    /// When the policy can match no tag, or when there is no order in which to go down.
    pub fn new(
        repository: Repository,
        tags: TagPolicy,
        allow_downgrade: bool,
    ) -> Result<Follow, FollowError> {
        let matcher = Matcher::of(&tags)?;
        if allow_downgrade && !matches!(tags, TagPolicy::Semver(_)) {
            return Err(FollowError::NoOrder);
        }
        Ok(Follow { repository, tags, matcher, allow_downgrade })
    }

    /// The repository followed.
    #[must_use]
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Which tags are taken.
    #[must_use]
    pub fn tags(&self) -> &TagPolicy {
        &self.tags
    }

    /// Whether the target takes `image`. One without a tag is never taken: a digest alone says nothing of intent.
    #[must_use]
    pub fn takes(&self, image: &ImageRef) -> bool {
        image.repository() == &self.repository && image.tag().is_some_and(|tag| self.takes_tag(tag))
    }

    /// Whether it takes this tag of its repository.
    #[must_use]
    pub fn takes_tag(&self, tag: &str) -> bool {
        self.matcher.takes(tag)
    }

    /// Whether what it takes is deployed only where no higher version runs.
    #[must_use]
    pub fn is_upward_only(&self) -> bool {
        matches!(self.tags, TagPolicy::Semver(_)) && !self.allow_downgrade
    }

    /// Why it does not take `tag`, for people; none where it does.
    #[must_use]
    pub fn refuses(&self, tag: &str) -> Option<String> {
        if self.takes_tag(tag) {
            return None;
        }
        Some(match &self.tags {
            TagPolicy::Exact(tags) | TagPolicy::Glob(tags) => {
                format!("it takes the tags `{tags}`, not `{tag}`")
            }
            TagPolicy::Regex(pattern) => {
                format!("it takes the tags that `{pattern}` matches as a whole, not `{tag}`")
            }
            TagPolicy::Semver(range) => match version::of_tag(tag) {
                None => format!("it takes versions as in `1.4.2` within `{range}`, and `{tag}` is none"),
                Some(version) if !version.pre.is_empty() => {
                    format!("it takes versions within `{range}`, which names no pre-release such as `{tag}`")
                }
                Some(_) => format!("it takes versions within `{range}`, not `{tag}`"),
            },
        })
    }

    /// What the named groups of a regular expression are of a tag that it takes, in their order.
    #[must_use]
    pub fn groups(&self, tag: &str) -> Vec<(String, String)> {
        self.matcher.groups(tag)
    }
}

impl PartialEq for Follow {
    fn eq(&self, other: &Follow) -> bool {
        self.repository == other.repository
            && self.tags == other.tags
            && self.allow_downgrade == other.allow_downgrade
    }
}

impl FromStr for Follow {
    type Err = FollowError;

    fn from_str(text: &str) -> Result<Self, FollowError> {
        let after_slash = text.rfind('/').map_or(0, |slash| slash + 1);
        let Some(colon) = text[after_slash..].find(':') else {
            return Err(FollowError::NoTags(text.to_owned()));
        };
        let (image, tags) = (&text[..after_slash + colon], &text[after_slash + colon + 1..]);
        let policy = if tags.contains(['*', '?']) { TagPolicy::Glob } else { TagPolicy::Exact };
        Follow::new(image.parse()?, policy(tags.to_owned()), false)
    }
}

impl TryFrom<Typed> for Follow {
    type Error = FollowError;

    fn try_from(typed: Typed) -> Result<Self, FollowError> {
        match typed {
            Typed::Short(text) => text.parse(),
            Typed::Long { image, tags, allow_downgrade } => {
                Follow::new(image.parse()?, tags, allow_downgrade)
            }
        }
    }
}

impl From<Follow> for Typed {
    fn from(follow: Follow) -> Typed {
        let Follow { repository, tags, allow_downgrade, .. } = follow;
        Typed::Long { image: repository.to_string(), tags, allow_downgrade }
    }
}

impl std::fmt::Display for Follow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let image = self.repository.familiar();
        match &self.tags {
            TagPolicy::Exact(tags) | TagPolicy::Glob(tags) => write!(f, "{image}:{tags}"),
            TagPolicy::Semver(range) => write!(f, "{image} (semver {range})"),
            TagPolicy::Regex(pattern) => write!(f, "{image} (regex {pattern})"),
        }
    }
}
