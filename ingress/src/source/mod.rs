//! Who pushes: the producers of webhooks, each with its own body.
//!
//! A source's kind is configured, never guessed: several producers imitate each other's headers.

mod aliyun_acr;
mod distribution;
mod plain;

use axum::body::Bytes;
use proto::{Digest, ImageError, ImageRef, Repository};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::authenticate::Door;

/// The `kind` of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `{"image":"repo:tag"}`, and `"service"` where one of several is meant.
    Plain,
    /// Alibaba Cloud Container Registry, personal and enterprise, its triggers and its EventBridge.
    AliyunAcr,
    /// The notifications of a distribution registry, and of those that copy their shape.
    Distribution,
}

/// A configured source: `POST /hooks/<name>`.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// The registry host to say instead of the one in the body, or where the body has none.
    pub(crate) registry: Option<String>,
    pub(crate) door: Door,
}

/// An image that was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sighting {
    pub(crate) image: ImageRef,
    /// The service the sender means, where the producer can say one.
    pub(crate) service: Option<String>,
    /// The sender's own name for the delivery, the same when it sends again.
    pub(crate) delivery: Option<String>,
}

/// What an authenticated body says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Images were pushed; at least one.
    Sightings(Vec<Sighting>),
    /// Nothing to deploy, and why.
    Ignored(String),
}

/// Why a body is refused, which only our own plain form does for more than bad JSON: other senders stop for
/// ever after an answer they do not like.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    /// Not JSON.
    #[error("the body is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// A plain body that names no image at all.
    #[error("the body names no image")]
    NoImage,
    /// A plain body whose image is none.
    #[error("`{given}` is no image")]
    BadImage {
        /// What was given.
        given: String,
        /// What is wrong with it.
        #[source]
        source: ImageError,
    },
}

impl Source {
    /// Reads a body of this source's kind.
    pub(crate) fn read(&self, body: &Bytes) -> Result<Reading, Unreadable> {
        let body = serde_json::from_slice(body).map_err(Unreadable::NotJson)?;
        match self.kind {
            Kind::Plain => plain::read(&body),
            Kind::AliyunAcr => Ok(aliyun_acr::read(&body, self.registry.as_deref())),
            Kind::Distribution => Ok(distribution::read(body, self.registry.as_deref())),
        }
    }
}

/// The image a registry names by parts; the error is a reason to ignore the event.
///
/// Owners and projects come in the case people typed, which no registry accepts in a reference.
fn image_of(
    host: &str,
    repository: &str,
    tag: Option<&str>,
    digest: Option<&str>,
) -> Result<ImageRef, String> {
    let tag = tag.filter(|tag| !tag.is_empty()).ok_or("the event names no tag")?;
    let digest = digest.filter(|digest| !digest.is_empty()).map(str::parse::<Digest>).transpose();
    let image = repository_at(host, repository).and_then(|repository| {
        ImageRef::new(repository, Some(tag), digest.map_err(|e| e.to_string())?).map_err(|e| e.to_string())
    });
    image.map_err(|why| format!("the event names no image that can be deployed: {why}"))
}

fn repository_at(host: &str, path: &str) -> Result<Repository, String> {
    if !is_registry_host(host) {
        return Err(format!("`{host}` is no registry host"));
    }
    format!("{host}/{}", path.to_lowercase()).parse().map_err(|error: ImageError| error.to_string())
}

/// Whether a reference that begins with `host` is taken to mean that registry.
pub(crate) fn is_registry_host(host: &str) -> bool {
    format!("{host}/x").parse::<Repository>().is_ok_and(|repository| repository.host() == host)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn payload(file: &str) -> Bytes {
        let path = format!("{}/tests/payloads/{file}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(path).unwrap().into()
    }

    fn source(kind: Kind, registry: Option<&str>) -> Source {
        let registry = registry.map(str::to_owned);
        Source { name: "s".to_owned(), kind, registry, door: Door::default() }
    }

    #[test]
    fn every_sample_payload_is_decided_right() {
        let index: Vec<Value> = serde_json::from_slice(&payload("index.json")).unwrap();
        assert!(index.len() >= 8);
        for sample in index {
            let kind: Kind = serde_json::from_value(sample["kind"].clone()).unwrap();
            let file = sample["file"].as_str().unwrap();
            let reading = source(kind, None).read(&payload(file)).unwrap();
            let (decision, image) = match reading {
                Reading::Ignored(_) => ("ignore", None),
                Reading::Sightings(sightings) => {
                    assert_eq!(sightings.len(), 1, "{file}");
                    ("deploy", Some(sightings[0].image.to_string()))
                }
            };
            assert_eq!(Some(decision), sample["decision"].as_str(), "{file}");
            assert_eq!(image.as_deref(), sample["image"].as_str(), "{file}");
        }
    }

    #[test]
    fn a_sources_registry_takes_the_place_of_the_one_in_the_body() {
        for (kind, file) in [
            (Kind::AliyunAcr, "aliyun-acr-push.json"),
            (Kind::AliyunAcr, "aliyun-acr-ee-eventbridge-push.json"),
            (Kind::Distribution, "distribution-push.json"),
        ] {
            let reading = source(kind, Some("127.0.0.1:5000")).read(&payload(file)).unwrap();
            let Reading::Sightings(sightings) = reading else { panic!("{file} was ignored") };
            assert_eq!(sightings[0].image.repository().host(), "127.0.0.1:5000", "{file}");
        }
    }

    #[test]
    fn what_is_not_json_is_told_for_every_kind() {
        for kind in [Kind::Plain, Kind::AliyunAcr, Kind::Distribution] {
            for body in ["", "image=x", "{\"image\":", &"[".repeat(10_000)] {
                let read = source(kind, None).read(&Bytes::copy_from_slice(body.as_bytes()));
                assert!(matches!(read, Err(Unreadable::NotJson(_))), "{kind:?} {body:.20}");
            }
        }
    }

    #[test]
    fn registries_bodies_of_another_shape_are_ignored() {
        for kind in [Kind::AliyunAcr, Kind::Distribution] {
            for body in
                ["{}", "[]", "null", "7", r#"{"events":7}"#, r#"{"events":[]}"#, r#"{"push_data":{}}"#]
            {
                let read = source(kind, None).read(&Bytes::copy_from_slice(body.as_bytes()));
                assert!(matches!(read, Ok(Reading::Ignored(_))), "{kind:?} {body}");
            }
        }
    }

    #[test]
    fn parts_that_make_no_image_are_reasons_to_ignore() {
        let image = |host, repository, tag, digest| image_of(host, repository, tag, digest);
        let good = image("h:5000", "Team/App", Some("1"), None).unwrap();
        assert_eq!(good.to_string(), "h:5000/team/app:1");
        assert_eq!(image("h:5000", "a", None, None), Err("the event names no tag".to_owned()));
        assert_eq!(image("h:5000", "a", Some(""), None), Err("the event names no tag".to_owned()));
        for (host, repository, tag, digest) in [
            ("registry", "a", "1", None),
            ("h:5000", "a", "sha256:1", None),
            ("h:5000", "a b", "1", None),
            ("h:5000", "", "1", None),
            ("h:5000", "a", "1", Some("sha256:xxxx")),
        ] {
            let why = image(host, repository, Some(tag), digest).unwrap_err();
            assert!(why.starts_with("the event names no image that can be deployed: "), "{why}");
        }
    }
}
