//! A message on the intake that names no target: an image was seen, and whoever follows it is to have it.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{CauseKind, ImageRef, JobId, TargetName};

/// An image that somebody saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sighting {
    /// The image, with its digest where it is known.
    pub image: ImageRef,
    /// The service that is meant, where one of several is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The way it was seen.
    #[serde(default = "amqp")]
    pub kind: CauseKind,
    /// The configured source that looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The sender's own name for this sighting, the same when it is sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<String>,
    /// Who told of it; believed of Longshore's own processes alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When the tag was last seen to name something else, by whoever looks at registries: what was done before says nothing
    /// of what it names since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elsewhere_at: Option<Timestamp>,
    /// Where it waits until workers tell of their targets: the id that a job of it had when it came. What was wished since
    /// stands above it. Believed of Longshore's own processes alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wished: Option<JobId>,
    /// Targets that had their jobs of it before it began to wait. Believed likewise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub served: Vec<TargetName>,
}

fn amqp() -> CauseKind {
    CauseKind::Amqp
}

/// Why a message on the intake is no sighting.
#[derive(Debug, thiserror::Error)]
pub enum NoSighting {
    /// Not JSON, or of another form.
    #[error("the message is not a sighting")]
    Form(#[source] serde_json::Error),
    /// It claims to have come by a way that messages do not come.
    #[error("a message cannot say that it came by `{0:?}`")]
    Way(CauseKind),
}

impl Sighting {
    /// The message that carries it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Infallible: string keys only, and no type here has a failing Serialize.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads one from a message, which may be anything.
    ///
    /// # Errors
    /// When it is none. Whoever sent it has to mend it: it is not worth reading again.
    pub fn decode(body: &[u8]) -> Result<Sighting, NoSighting> {
        let sighting: Sighting = serde_json::from_slice(body).map_err(NoSighting::Form)?;
        match sighting.kind {
            CauseKind::Poll | CauseKind::Amqp | CauseKind::Hook => Ok(sighting),
            kind @ (CauseKind::Api
            | CauseKind::Cli
            | CauseKind::Replay
            | CauseKind::Approve
            | CauseKind::Release) => Err(NoSighting::Way(kind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sighting_is_an_image_and_who_saw_it() {
        let bare = Sighting::decode(br#"{"image":"acme/web:2"}"#).unwrap();
        assert_eq!(bare.kind, CauseKind::Amqp);
        assert_eq!(Sighting::decode(&bare.encode()).unwrap(), bare);
        let polled = br#"{"image":"acme/web:2","kind":"poll","source":"poll","delivery":"x"}"#;
        assert_eq!(Sighting::decode(polled).unwrap().source.as_deref(), Some("poll"));
    }

    #[test]
    fn what_is_no_sighting_is_told() {
        for body in [
            &b"nonsense"[..],
            b"{}",
            b"[]",
            br#"{"image":"acme/web"}"#,
            br#"{"image":"acme/web:2","target":"web"}"#,
            br#"{"image":"acme/web:2","kind":"api"}"#,
        ] {
            assert!(Sighting::decode(body).is_err(), "{}", String::from_utf8_lossy(body));
        }
    }
}
