//! Signing as a producer does.

use base64::{Engine, engine::general_purpose::STANDARD};
use config::Secret;
use hmac::{Hmac, KeyInit, Mac};
use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::fresh;
use crate::authenticate::{STANDARD_PREFIX, Scheme, standard_key};

/// The headers that a producer adds to a body that it signs; none where the secret is none that can be used.
pub(super) fn signed(
    scheme: Scheme,
    secret: &Secret,
    body: &[u8],
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    let text = secret.expose();
    let in_hex = || sha256(text.as_bytes(), &[body]).map(hex::encode).unwrap_or_default();
    match scheme {
        Scheme::Generic | Scheme::Gitlab if text.starts_with(STANDARD_PREFIX) => standard(text, body, now),
        Scheme::Generic | Scheme::Github => vec![("x-hub-signature-256", format!("sha256={}", in_hex()))],
        Scheme::Gitlab => vec![("x-gitlab-token", text.to_owned())],
        Scheme::Gitea => vec![("x-gitea-signature", in_hex())],
        Scheme::Drone => http_signature(text, body, now),
        Scheme::Jfrog => vec![("x-jfrog-event-auth", in_hex())],
        Scheme::Nexus => {
            let mac = Hmac::<Sha1>::new_from_slice(text.as_bytes()).ok();
            let code = mac.map(|mac| hex::encode(mac.chain_update(body).finalize().into_bytes()));
            vec![("x-nexus-webhook-signature", code.unwrap_or_default())]
        }
    }
}

/// The Standard Webhooks.
fn standard(secret: &str, body: &[u8], now: Timestamp) -> Vec<(&'static str, String)> {
    let (id, at) = (format!("msg_{}", fresh()), now.as_second().to_string());
    let key = standard_key(secret).unwrap_or_default();
    let code = sha256(&key, &[id.as_bytes(), b".", at.as_bytes(), b".", body]).unwrap_or_default();
    let signature = format!("v1,{}", STANDARD.encode(code));
    vec![("webhook-id", id), ("webhook-timestamp", at), ("webhook-signature", signature)]
}

/// A signature over the headers that say the time and what the body is.
fn http_signature(secret: &str, body: &[u8], now: Timestamp) -> Vec<(&'static str, String)> {
    let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&now).unwrap_or_default();
    let digest = format!("SHA-256={}", STANDARD.encode(Sha256::digest(body)));
    let lines = format!("date: {date}\ndigest: {digest}");
    let code = sha256(secret.as_bytes(), &[lines.as_bytes()]).unwrap_or_default();
    let code = STANDARD.encode(code);
    let signature =
        format!(r#"keyId="hmac-key",algorithm="hmac-sha256",headers="date digest",signature="{code}""#);
    vec![("date", date), ("digest", digest), ("signature", signature)]
}

fn sha256(key: &[u8], parts: &[&[u8]]) -> Option<Vec<u8>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    parts.iter().for_each(|part| mac.update(part));
    Some(mac.finalize().into_bytes().to_vec())
}
