//! Which images a target takes.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wildmatch::WildMatch;

use crate::{ImageError, ImageRef, Repository, image::check_tag};

/// A rule by which a target takes a pushed image: `repo:tag-glob`, or `{image, tags: {exact|glob}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Typed", into = "Typed")]
#[schemars(with = "Typed")]
pub struct Follow {
    repository: Repository,
    tags: TagPolicy,
}

/// Which tags of a repository are taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TagPolicy {
    /// This tag alone.
    Exact(String),
    /// Tags that match, with `*` for any text and `?` for any one character.
    Glob(String),
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
    },
}

impl Follow {
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
        image.repository() == &self.repository && image.tag().is_some_and(|tag| self.tags.takes(tag))
    }
}

impl TagPolicy {
    /// Whether `tag` is taken.
    #[must_use]
    pub fn takes(&self, tag: &str) -> bool {
        match self {
            TagPolicy::Exact(exact) => exact == tag,
            TagPolicy::Glob(glob) => WildMatch::new(glob).matches(tag),
        }
    }

    fn check(self) -> Result<TagPolicy, FollowError> {
        match &self {
            TagPolicy::Exact(tag) => check_tag(tag).map(drop)?,
            TagPolicy::Glob(glob) => {
                let plain = glob.replace(['*', '?'], "x");
                check_tag(&plain).map_err(|_| FollowError::Glob(glob.clone()))?;
            }
        }
        Ok(self)
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
        Ok(Follow { repository: image.parse()?, tags: policy(tags.to_owned()).check()? })
    }
}

impl TryFrom<Typed> for Follow {
    type Error = FollowError;

    fn try_from(typed: Typed) -> Result<Self, FollowError> {
        match typed {
            Typed::Short(text) => text.parse(),
            Typed::Long { image, tags } => Ok(Follow { repository: image.parse()?, tags: tags.check()? }),
        }
    }
}

impl From<Follow> for Typed {
    fn from(follow: Follow) -> Typed {
        Typed::Long { image: follow.repository.to_string(), tags: follow.tags }
    }
}

impl std::fmt::Display for Follow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (TagPolicy::Exact(tags) | TagPolicy::Glob(tags)) = &self.tags;
        write!(f, "{}:{tags}", self.repository.familiar())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(follow: &str, image: &str) -> bool {
        follow.parse::<Follow>().unwrap().takes(&image.parse().unwrap())
    }

    #[test]
    fn globs_match_the_whole_tag_of_the_same_repository() {
        assert!(takes("demo:*", "docker.io/library/demo:2"));
        assert!(takes("harbor.lan:8443/shop/web:dev-*", "harbor.lan:8443/shop/web:dev-1.2"));
        assert!(takes("acme/blog:v?", "acme/blog:v1"));
        assert!(!takes("acme/blog:v?", "acme/blog:v10"));
        assert!(!takes("acme/blog:latest", "acme/blog:latest2"));
        assert!(!takes("demo:*", "other/demo:2"));
        assert!(!takes("demo:*", &format!("demo@sha256:{}", "a".repeat(64))));
    }

    #[test]
    fn both_forms_are_read() {
        let long: Follow =
            serde_json::from_str(r#"{"image":"acme/blog","tags":{"exact":"latest"}}"#).unwrap();
        assert_eq!(long, "acme/blog:latest".parse().unwrap());
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!("demo".parse::<Follow>(), Err(FollowError::NoTags("demo".into())));
        assert_eq!("demo:a b*".parse::<Follow>(), Err(FollowError::Glob("a b*".into())));
        assert!(matches!("Demo X:*".parse::<Follow>(), Err(FollowError::Image(ImageError::Path(_)))));
    }
}
