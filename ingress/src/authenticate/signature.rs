//! Whether a message is signed with the source's secret, over the very bytes that came.

use std::time::Duration;

use axum::http::HeaderMap;
use base64::{Engine, engine::general_purpose::STANDARD};
use config::Secret;
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp, fmt::rfc2822::DateTimeParser};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::Refusal;
use crate::{access::TokenHash, source::Message};

/// How far a sender's clock, and the way here, may make a signed time differ.
const TOLERANCE: Duration = Duration::from_secs(5 * 60);
/// What begins a key of the Standard Webhooks.
pub(crate) const STANDARD_PREFIX: &str = "whsec_";

/// How the senders of a kind sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// `X-Hub-Signature-256` or `X-Signature`, HMAC-SHA256 in hex; or the Standard Webhooks.
    Generic,
    /// `X-Hub-Signature-256: sha256=<hex>`.
    Github,
    /// `X-Gitlab-Token`, the secret itself; or the Standard Webhooks.
    Gitlab,
    /// `X-Gitea-Signature` or `X-Forgejo-Signature`, over the JSON even where a form is posted.
    Gitea,
    /// `Signature` over `date` and `digest`; or `X-Drone-Signature`, of the plugin.
    Drone,
    /// `X-JFrog-Event-Auth`: the secret itself, or HMAC-SHA256 in hex.
    Jfrog,
    /// `X-Nexus-Webhook-Signature`: HMAC-SHA1 in hex.
    Nexus,
}

/// The secrets with which a source's messages are signed, any of which will do.
#[derive(Debug, Clone)]
pub(crate) struct Signing {
    pub(crate) scheme: Scheme,
    pub(crate) secrets: Vec<Secret>,
}

impl Scheme {
    /// The headers that may carry a signature.
    pub(crate) fn headers(self) -> &'static [&'static str] {
        match self {
            Scheme::Generic => &["webhook-signature", "x-hub-signature-256", "x-signature"],
            Scheme::Github => &["x-hub-signature-256"],
            Scheme::Gitlab => &["webhook-signature", "x-gitlab-token"],
            Scheme::Gitea => {
                &["x-gitea-signature", "x-forgejo-signature", "x-gogs-signature", "x-hub-signature-256"]
            }
            Scheme::Drone => &["signature", "x-drone-signature"],
            Scheme::Jfrog => &["x-jfrog-event-auth"],
            Scheme::Nexus => &["x-nexus-webhook-signature"],
        }
    }
}

impl Signing {
    /// Whether the headers carry any signature at all: a sender without a secret sends empty ones.
    pub(super) fn is_presented(&self, headers: &HeaderMap) -> bool {
        let message = Message { headers, body: &[], tag: None };
        self.presented(&message).next().is_some()
    }

    /// Checks that one of the signatures is of one of the secrets.
    pub(super) fn check(&self, message: &Message<'_>, now: Timestamp) -> Result<(), Refusal> {
        let mut worst = Refusal::NotSigned;
        for (header, value) in self.presented(message) {
            worst = Refusal::WrongSignature;
            for secret in &self.secrets {
                match self.verify(header, value, (secret.expose(), message, now)) {
                    Err(Refusal::WrongSignature) => {}
                    settled => return settled,
                }
            }
        }
        Err(worst)
    }

    fn presented<'a>(
        &self,
        message: &Message<'a>,
    ) -> impl Iterator<Item = (&'static str, &'a str)> + use<'a> {
        let message = *message;
        let headers = self.scheme.headers().iter();
        headers.filter_map(move |name| Some((*name, message.header(name).filter(|value| !is_empty(value))?)))
    }

    fn verify(
        &self,
        header: &str,
        value: &str,
        (secret, message, now): (&str, &Message<'_>, Timestamp),
    ) -> Result<(), Refusal> {
        let good = match (self.scheme, header) {
            (_, "webhook-signature") => return standard(value, secret, message, now),
            (Scheme::Drone, "signature") => return http_signature(value, secret, message, now),
            (Scheme::Gitlab, _) => bool::from(TokenHash::of(secret).matches(value)),
            (Scheme::Jfrog, _) => {
                bool::from(TokenHash::of(secret).matches(value)) || in_hex(value, secret, message.body)
            }
            (Scheme::Nexus, _) => hex::decode(value).is_ok_and(|given| sha1(secret, message.body, &given)),
            (Scheme::Gitea, _) => in_hex(value, secret, &message.document()),
            (Scheme::Generic | Scheme::Github | Scheme::Drone, _) => in_hex(value, secret, message.body),
        };
        if good { Ok(()) } else { Err(Refusal::WrongSignature) }
    }
}

/// What people wrote under `secret` as the key of the Standard Webhooks; none when it begins like one and is none.
pub(crate) fn standard_key(secret: &str) -> Option<Vec<u8>> {
    match secret.strip_prefix(STANDARD_PREFIX) {
        Some(encoded) => STANDARD.decode(encoded).ok().filter(|key| !key.is_empty()),
        None => Some(secret.as_bytes().to_vec()),
    }
}

/// An empty signature, also with the name of its algorithm, is none.
fn is_empty(value: &str) -> bool {
    ["sha256=", "sha1=", "v1,"].contains(&value) || value.is_empty()
}

/// `sha256=<hex>` or bare hex; several of them with commas, of which one has to fit.
fn in_hex(value: &str, secret: &str, body: &[u8]) -> bool {
    value.split(',').any(|one| {
        let one = one.trim();
        let given = hex::decode(one.strip_prefix("sha256=").unwrap_or(one));
        given.is_ok_and(|given| sha256(secret.as_bytes(), &[body], &given))
    })
}

/// The Standard Webhooks: `v1,<base64>`, several with spaces, over `id.timestamp.body`.
fn standard(value: &str, secret: &str, message: &Message<'_>, now: Timestamp) -> Result<(), Refusal> {
    let (Some(id), Some(at)) = (message.header("webhook-id"), message.header("webhook-timestamp")) else {
        return Err(Refusal::WrongSignature);
    };
    let key = standard_key(secret).ok_or(Refusal::WrongSignature)?;
    let good = value.split_ascii_whitespace().filter_map(|one| one.strip_prefix("v1,")).any(|one| {
        let signed: [&[u8]; 5] = [id.as_bytes(), b".", at.as_bytes(), b".", message.body];
        STANDARD.decode(one).is_ok_and(|given| sha256(&key, &signed, &given))
    });
    if !good {
        return Err(Refusal::WrongSignature);
    }
    let at = at.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    in_time(at.ok_or(Refusal::Stale)?, now)
}

/// A signature over headers: first the signature, then what the signed headers say of the body and the time.
fn http_signature(value: &str, secret: &str, message: &Message<'_>, now: Timestamp) -> Result<(), Refusal> {
    let parameter = |wanted: &str| {
        let mut pairs = value.split(',').filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| *name == wanted).map(|(_, text)| text.trim_matches('"'))
    };
    let (names, given) =
        (parameter("headers").unwrap_or_default(), parameter("signature").unwrap_or_default());
    let names: Vec<&str> = names.split_ascii_whitespace().collect();
    if !["date", "digest"].iter().all(|needed| names.contains(needed)) {
        return Err(Refusal::WrongSignature);
    }
    let line = |name: &&str| Some(format!("{name}: {}", message.header(name)?));
    let lines: Option<Vec<String>> = names.iter().map(line).collect();
    let signed = lines.ok_or(Refusal::WrongSignature)?.join("\n");
    let given = STANDARD.decode(given).map_err(|_| Refusal::WrongSignature)?;
    if !sha256(secret.as_bytes(), &[signed.as_bytes()], &given) {
        return Err(Refusal::WrongSignature);
    }
    let digest = message.header("digest").unwrap_or_default();
    let said = STANDARD.decode(digest.strip_prefix("SHA-256=").unwrap_or_default()).unwrap_or_default();
    if !bool::from(equal(&said, &Sha256::digest(message.body))) {
        return Err(Refusal::WrongSignature);
    }
    let date = message.header("date").and_then(|date| DateTimeParser::new().parse_timestamp(date).ok());
    in_time(date.ok_or(Refusal::Stale)?, now)
}

fn in_time(at: Timestamp, now: Timestamp) -> Result<(), Refusal> {
    let apart: SignedDuration = now.duration_since(at).abs();
    if apart.unsigned_abs() <= TOLERANCE { Ok(()) } else { Err(Refusal::Stale) }
}

fn equal(left: &[u8], right: &[u8]) -> Choice {
    left.ct_eq(right)
}

fn sha256(key: &[u8], signed: &[&[u8]], given: &[u8]) -> bool {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return false };
    signed.iter().for_each(|part| mac.update(part));
    mac.verify_slice(given).is_ok()
}

fn sha1(secret: &str, signed: &[u8], given: &[u8]) -> bool {
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret.as_bytes()) else { return false };
    mac.update(signed);
    mac.verify_slice(given).is_ok()
}

#[cfg(test)]
mod tests;
