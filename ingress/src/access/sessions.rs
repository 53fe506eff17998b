//! Sessions: signed, and kept nowhere. A user's generation, and a list of those ended early, end them.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// What every token of a session begins with.
pub(super) const PREFIX: &str = "lss_";

/// What is signed beside the claims, so that the key signs nothing else.
const CONTEXT: &[u8] = b"longshore session 1\n";

/// How long a user may go on without asking for more, and how long more may be asked for.
pub(crate) const ACCESS_FOR: SignedDuration = SignedDuration::from_hours(2);
pub(crate) const REFRESH_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How long a session lasts at most, however often more is asked for: whoever stole what asks for more has no longer.
const LONGEST: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What a token of a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Use {
    /// To call the API.
    Access,
    /// To ask for more.
    Refresh,
}

/// What a token of a session says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claims {
    pub(crate) user: String,
    /// The user's, when the session began.
    pub(crate) generation: u64,
    /// Which session.
    pub(crate) session: String,
    #[serde(rename = "for")]
    pub(crate) purpose: Use,
    /// In seconds since 1970.
    pub(crate) until: i64,
    /// When the session began, in the same; 0 in tokens of before that was said.
    #[serde(default)]
    pub(crate) began: i64,
}

/// Signs the tokens of sessions, and knows its own.
#[derive(Clone)]
pub(crate) struct Signer(Hmac<Sha256>);

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(…)")
    }
}

/// Both tokens of a session.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Signer {
    /// Signs with a key, which must not be guessable.
    pub(crate) fn new(key: &[u8]) -> Option<Signer> {
        Hmac::new_from_slice(key).ok().map(Signer)
    }

    /// The tokens of a new session, as of `now`.
    pub(crate) fn pair(&self, user: &str, generation: u64, now: Timestamp) -> Pair {
        let session = hex::encode(rand::random::<[u8; 8]>());
        let (purpose, until, began) = (Use::Refresh, 0, now.as_second());
        self.renewed(&Claims { user: user.to_owned(), generation, session, purpose, until, began }, now)
    }

    /// New tokens of a session that goes on, as of `now`.
    pub(crate) fn renewed(&self, of: &Claims, now: Timestamp) -> Pair {
        let began = if of.began == 0 { now.as_second() } else { of.began };
        let last = began.saturating_add(LONGEST.as_secs());
        let claims = |purpose, lasts: SignedDuration| Claims {
            purpose,
            until: now.as_second().saturating_add(lasts.as_secs()).min(last),
            began,
            ..of.clone()
        };
        Pair {
            access: self.sign(&claims(Use::Access, ACCESS_FOR)),
            refresh: self.sign(&claims(Use::Refresh, REFRESH_FOR)),
        }
    }

    fn sign(&self, claims: &Claims) -> String {
        // Numbers and texts alone: it cannot fail.
        let body = BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims).unwrap_or_default());
        let signature = self.mac(&body).finalize().into_bytes();
        format!("{PREFIX}{body}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    /// What a token says that this key has signed; none for any other. It may be over.
    pub(crate) fn read(&self, token: &str) -> Option<Claims> {
        let (body, signature) = token.strip_prefix(PREFIX)?.split_once('.')?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
        // In a time that tells nothing of the right one.
        self.mac(body).verify_slice(&signature).ok()?;
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(body).ok()?).ok()
    }

    fn mac(&self, body: &str) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(CONTEXT);
        mac.update(body.as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_however_often_it_goes_on() {
        let signer = Signer::new(b"a key of thirty-two bytes or so..").unwrap();
        let mut now = Timestamp::from_second(1_000).unwrap();
        let mut claims = signer.read(&signer.pair("anna", 3, now).refresh).unwrap();
        let mut days = 0;
        while now.as_second() < claims.until {
            claims = signer.read(&signer.renewed(&claims, now).refresh).unwrap();
            now += SignedDuration::from_hours(24);
            days += 1;
            assert!(days < 100, "it goes on for ever");
        }
        assert_eq!(days, 30);
        let of_before = Claims { began: 0, ..claims };
        assert_eq!(signer.read(&signer.renewed(&of_before, now).refresh).unwrap().began, now.as_second());
    }

    #[test]
    fn only_what_was_signed_is_believed() {
        let signer = Signer::new(b"a key of thirty-two bytes or so..").unwrap();
        let now = Timestamp::from_second(1_000).unwrap();
        let pair = signer.pair("anna", 3, now);
        let claims = signer.read(&pair.access).unwrap();
        assert_eq!((claims.user.as_str(), claims.generation, claims.purpose), ("anna", 3, Use::Access));
        assert_eq!(claims.until, 1_000 + 7_200);
        let refresh = signer.read(&pair.refresh).unwrap();
        assert_eq!((refresh.purpose, refresh.until), (Use::Refresh, 1_000 + 604_800));
        assert_eq!(refresh.session, claims.session);
        let other = Signer::new(b"another key, quite as long as that").unwrap();
        assert_eq!(other.read(&pair.access), None);
        let (body, signature) = pair.access.strip_prefix(PREFIX).unwrap().split_once('.').unwrap();
        let forged = Claims { user: "bert".to_owned(), ..claims };
        let forged = BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(&forged).unwrap());
        for bad in [
            format!("{PREFIX}{forged}.{signature}"),
            format!("{PREFIX}{body}."),
            format!("{PREFIX}{body}"),
            format!("{PREFIX}.{signature}"),
            format!("{body}.{signature}"),
            format!("{PREFIX}{body}.{}", &signature[..20]),
            String::new(),
        ] {
            assert_eq!(signer.read(&bad), None, "{bad}");
        }
    }
}
