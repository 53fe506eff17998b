//! Image references, always in full: `host/path:tag@digest`.
//!
//! The grammar is that of the distribution project (`reference.go`), written out here because the crates
//! that offer it accept non-ASCII tags, default a missing tag to `latest`, and cost megabytes of compiled
//! regex in a process that should idle in a few (`docs/decisions/0003-crates.md`).

mod grammar;

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use self::grammar::check_tag;
use self::grammar::{check_host, check_path, split_host};

const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_LEGACY: &str = "index.docker.io";
const OFFICIAL: &str = "library";
const LONGEST_NAME: usize = 255;
const LONGEST_TAG: usize = 128;

/// A repository with its registry: `docker.io/library/nginx`, `harbor.acme.lan:8443/shop/web`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Repository {
    host: String,
    path: String,
}

/// The content address of an image: `sha256:` and 64 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^sha256:[0-9a-f]{64}$"))]
pub struct Digest(String);

/// An image: a repository with a tag, a digest, or both. Never with neither: nothing here means `latest`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct ImageRef {
    repository: Repository,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// What is wrong with a text that should name an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Empty, or nothing before the tag.
    #[error("the image has no name")]
    NoName,
    /// The registry's name or port.
    #[error("`{0}` is no registry host")]
    Host(String),
    /// A part of the path.
    #[error(
        "`{0}` is no repository path: use lower-case letters and digits, separated by `.`, `_`, `-` or `/`"
    )]
    Path(String),
    /// Longer than registries take.
    #[error("the image's name has {0} characters, {LONGEST_NAME} at most are allowed")]
    TooLong(usize),
    /// Not a tag.
    #[error(
        "`{0}` is no tag: use letters, digits, `_`, `.`, `-`, {LONGEST_TAG} at most, not `.` or `-` first"
    )]
    Tag(String),
    /// Not a digest.
    #[error("`{0}` is no digest: `sha256:` and 64 lower-case hex digits")]
    Digest(String),
    /// Neither tag nor digest.
    #[error("`{0}` names no tag and no digest; nothing here defaults to `latest`")]
    NoTag(String),
}

impl Repository {
    /// The registry: a host name with its port where it has one.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path within the registry.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The name as people type it: without `docker.io/` and `library/`, where it means the same without.
    #[must_use]
    pub fn familiar(&self) -> String {
        if self.host != DOCKER_HUB {
            return self.to_string();
        }
        let short = self.path.strip_prefix("library/").unwrap_or(&self.path);
        // Of some the short name means another: `library/a/b`, and `a.b/c`, which begins like a host.
        match short.parse::<Repository>() {
            Ok(meant) if meant == *self => short.to_owned(),
            Ok(_) | Err(_) => self.to_string(),
        }
    }
}

impl Digest {
    /// The digest with its algorithm.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ImageRef {
    /// An image by its parts.
    ///
    /// # Errors
    /// When the tag is none, or when there is neither tag nor digest.
    pub fn new(
        repository: Repository,
        tag: Option<&str>,
        digest: Option<Digest>,
    ) -> Result<Self, ImageError> {
        let tag = tag.map(check_tag).transpose()?.map(str::to_owned);
        if tag.is_none() && digest.is_none() {
            return Err(ImageError::NoTag(repository.to_string()));
        }
        Ok(ImageRef { repository, tag, digest })
    }

    /// The repository with its registry.
    #[must_use]
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The tag, where one was named.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, where one was named.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same image pinned to `digest`.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> ImageRef {
        ImageRef { digest: Some(digest), ..self.clone() }
    }

    /// The same image by its tag alone, where it has one.
    #[must_use]
    pub fn by_tag(&self) -> ImageRef {
        let digest = if self.tag.is_some() { None } else { self.digest.clone() };
        ImageRef { digest, ..self.clone() }
    }

    /// Whether both certainly are the same content: the same digest, or, where a digest is missing, never.
    #[must_use]
    pub fn same_content(&self, other: &ImageRef) -> bool {
        self.digest.is_some() && self.digest == other.digest
    }

    /// The name as people type it: without `docker.io/` and `library/`, the digest cut short.
    #[must_use]
    pub fn familiar(&self) -> String {
        let mut text = self.repository.familiar();
        if let Some(tag) = &self.tag {
            text = format!("{text}:{tag}");
        }
        if let Some(digest) = &self.digest {
            let short = digest.as_str().get(..19).unwrap_or(digest.as_str());
            text = format!("{text}@{short}");
        }
        text
    }
}

impl FromStr for Repository {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        let (host, path) = split_host(text);
        check_host(host)?;
        let path = if host == DOCKER_HUB && !path.contains('/') {
            format!("{OFFICIAL}/{path}")
        } else {
            path.to_owned()
        };
        check_path(&path)?;
        let length = host.len() + 1 + path.len();
        if length > LONGEST_NAME {
            return Err(ImageError::TooLong(length));
        }
        Ok(Repository { host: host.to_owned(), path })
    }
}

impl FromStr for Digest {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        let hex = text.strip_prefix("sha256:").unwrap_or_default();
        let good = hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if good { Ok(Digest(text.to_owned())) } else { Err(ImageError::Digest(text.to_owned())) }
    }
}

impl FromStr for ImageRef {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (text, None),
        };
        // A colon before the last slash belongs to the registry's port.
        let after_slash = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest[after_slash..].find(':') {
            Some(colon) => (&rest[..after_slash + colon], Some(&rest[after_slash + colon + 1..])),
            None => (rest, None),
        };
        if name.is_empty() {
            return Err(ImageError::NoName);
        }
        ImageRef::new(name.parse()?, tag, digest)
    }
}

macro_rules! text_form {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = ImageError;

            fn try_from(text: String) -> Result<Self, ImageError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }
    };
}

text_form!(Repository);
text_form!(Digest);
text_form!(ImageRef);

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.fmt(f)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "sha256:457f4aa83fc9a6663ab9d1b0a6e2dce25a12a943ed5bf2c1747c58d48bbb4917";

    #[test]
    fn names_are_written_out_in_full() {
        for (typed, full) in [
            ("demo:2", "docker.io/library/demo:2"),
            ("acme/blog:latest", "docker.io/acme/blog:latest"),
            ("index.docker.io/acme/blog:1", "docker.io/acme/blog:1"),
            ("localhost/x:1", "localhost/x:1"),
            ("harbor.lan:8443/a/b/c:v1.2", "harbor.lan:8443/a/b/c:v1.2"),
            ("[::1]:5000/app:1", "[::1]:5000/app:1"),
            ("a/b__c.d-e--f:_x", "docker.io/a/b__c.d-e--f:_x"),
        ] {
            assert_eq!(typed.parse::<ImageRef>().map(|i| i.to_string()), Ok(full.to_owned()), "{typed}");
        }
        let pinned = format!("app@{DIGEST}");
        assert_eq!(
            pinned.parse::<ImageRef>().unwrap().to_string(),
            format!("docker.io/library/app@{DIGEST}")
        );
    }

    #[test]
    fn faults_are_told_apart() {
        use ImageError as E;
        let parse = |text: &str| text.parse::<ImageRef>().unwrap_err();
        assert_eq!(parse(""), E::NoName);
        assert_eq!(parse(":x"), E::NoName);
        assert_eq!(parse("app"), E::NoTag("docker.io/library/app".into()));
        assert_eq!(parse("acme/Blog:1"), E::Path("acme/Blog".into()));
        assert_eq!(parse("a//b:1"), E::Path("a//b".into()));
        assert_eq!(parse("a/b-:1"), E::Path("a/b-".into()));
        assert_eq!(parse("app:é"), E::Tag("é".into()));
        assert_eq!(parse("app:"), E::Tag(String::new()));
        assert_eq!(parse("app:a:b"), E::Tag("a:b".into()));
        assert_eq!(parse("app:1@sha256:abc"), E::Digest("sha256:abc".into()));
        assert_eq!(parse("x.y:99999/app:1"), E::Host("x.y:99999".into()));
        assert_eq!(parse("-x.y/app:1"), E::Host("-x.y".into()));
        assert!(matches!(parse(&format!("{}:1", "a".repeat(300))), E::TooLong(_)));
    }

    #[test]
    fn the_familiar_form_is_what_people_type() {
        assert_eq!("demo:2".parse::<ImageRef>().unwrap().familiar(), "demo:2");
        let pinned: ImageRef = format!("ghcr.io/a/b:1@{DIGEST}").parse().unwrap();
        assert_eq!(pinned.familiar(), "ghcr.io/a/b:1@sha256:457f4aa83fc9");
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_parses_prints_and_parses_again(text in "[a-zA-Z0-9:/@._\\-\\[\\]é]{0,60}") {
            if let Ok(image) = text.parse::<ImageRef>() {
                prop_assert_eq!(image.to_string().parse::<ImageRef>(), Ok(image));
            }
        }
    }
}
