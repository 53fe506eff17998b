//! Whether a hook's sender knows the source's secret.

mod signature;

use std::net::IpAddr;

use axum::http::{HeaderMap, header};
use jiff::Timestamp;
use subtle::Choice;

use crate::{
    access::{TokenHash, bearer},
    source::Message,
};

pub(crate) use signature::{STANDARD_PREFIX, Scheme, Signing, standard_key};

/// The header for a source's key.
const KEY_HEADER: &str = "x-longshore-key";

/// Headers by which a proxy tells that the request came from elsewhere.
const FORWARDED: [&str; 3] = ["forwarded", "x-forwarded-for", "x-real-ip"];

/// What opens a source. Keys are kept as hashes only; what messages are signed with has to be known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Door {
    /// Keys, any of which opens; several while one is being replaced.
    pub(crate) keys: Vec<TokenHash>,
    /// Whole `Authorization` headers, any of which opens.
    pub(crate) authorizations: Vec<TokenHash>,
    /// Messages have to be signed, beside what else is asked for.
    pub(crate) signing: Option<Signing>,
    /// Opens to everyone.
    pub(crate) open: bool,
    /// Opens to this machine only, whatever else is presented.
    pub(crate) loopback_only: bool,
}

/// What a sender presents.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Knock<'a> {
    /// `?key=` and the last path segment.
    pub(crate) url_keys: [Option<&'a str>; 2],
    pub(crate) headers: &'a HeaderMap,
    pub(crate) peer: IpAddr,
}

/// Why a sender is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No key where one is needed.
    Missing,
    /// A key that is not the source's.
    Wrong,
    /// No signature where one is needed.
    NotSigned,
    /// A signature of another secret, or of another body.
    WrongSignature,
    /// A good signature of long ago, as of a message that somebody sends again.
    Stale,
    /// From another machine, or out of a page in a browser.
    NotLocal,
}

impl Door {
    /// Lets a sender in, or says why not, before its body has come. A signature is only looked for.
    pub(crate) fn admit(&self, knock: &Knock<'_>) -> Result<(), Refusal> {
        if self.loopback_only && !knock.is_local() {
            return Err(Refusal::NotLocal);
        }
        let signed = self.signing.as_ref().map(|signing| signing.is_presented(knock.headers));
        if signed == Some(false) {
            return Err(Refusal::NotSigned);
        }
        if self.open || (signed.is_some() && !self.has_keys()) {
            return Ok(());
        }
        let keys: Vec<&str> = knock.keys().collect();
        let authorization = knock.header(header::AUTHORIZATION.as_str());
        let by_key = keys.iter().fold(Choice::from(0), |found, key| found | any(&self.keys, key));
        let by_header = authorization.map_or(Choice::from(0), |header| any(&self.authorizations, header));
        if bool::from(by_key | by_header) {
            return Ok(());
        }
        let presented = !keys.is_empty() || authorization.is_some();
        Err(if presented { Refusal::Wrong } else { Refusal::Missing })
    }

    /// Checks the signature of a message whose sender was let in.
    pub(crate) fn check_signature(&self, message: &Message<'_>) -> Result<(), Refusal> {
        self.signing.as_ref().map_or(Ok(()), |signing| signing.check(message, Timestamp::now()))
    }

    /// Lets one in who only asks whether to send: nobody can sign a question without a body.
    pub(crate) fn admit_question(&self, knock: &Knock<'_>) -> Result<(), Refusal> {
        let unsigned = Door { signing: None, ..self.clone() };
        if self.signing.is_some() && !self.has_keys() { Ok(()) } else { unsigned.admit(knock) }
    }

    fn has_keys(&self) -> bool {
        !self.keys.is_empty() || !self.authorizations.is_empty()
    }
}

impl<'a> Knock<'a> {
    /// Empty is never a key.
    fn keys(&self) -> impl Iterator<Item = &'a str> {
        let header = self.header(KEY_HEADER);
        let all = self.url_keys.into_iter().chain([header, bearer(self.headers)]);
        all.flatten().filter(|key| !key.is_empty())
    }

    fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name)?.to_str().ok().filter(|value| !value.is_empty())
    }

    /// A page in a browser can reach this machine's ports, but not without saying so in `Origin`.
    fn is_local(&self) -> bool {
        let loopback = self.peer.to_canonical().is_loopback();
        loopback && !is_forwarded(self.headers) && !self.headers.contains_key(header::ORIGIN)
    }
}

/// Whether a proxy says that a request came from elsewhere.
pub(crate) fn is_forwarded(headers: &HeaderMap) -> bool {
    FORWARDED.iter().any(|name| headers.contains_key(*name))
}

/// Compares with every secret, so that the time tells nothing of which was near.
fn any(secrets: &[TokenHash], presented: &str) -> Choice {
    secrets.iter().fold(Choice::from(0), |found, secret| found | secret.matches(presented))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const REMOTE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 7));

    fn keyed() -> Door {
        Door {
            keys: vec![TokenHash::of("old"), TokenHash::of("new")],
            authorizations: vec![TokenHash::of("Basic abc")],
            ..Door::default()
        }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn admit(door: &Door, url: [Option<&str>; 2], pairs: &[(&'static str, &str)]) -> Result<(), Refusal> {
        door.admit(&Knock { url_keys: url, headers: &headers(pairs), peer: REMOTE })
    }

    #[test]
    fn a_key_opens_from_each_of_its_places() {
        for key in ["old", "new"] {
            assert_eq!(admit(&keyed(), [Some(key), None], &[]), Ok(()));
            assert_eq!(admit(&keyed(), [None, Some(key)], &[]), Ok(()));
            assert_eq!(admit(&keyed(), [None, None], &[("x-longshore-key", key)]), Ok(()));
            assert_eq!(admit(&keyed(), [None, None], &[("authorization", &format!("Bearer {key}"))]), Ok(()));
        }
        assert_eq!(admit(&keyed(), [None, None], &[("authorization", "Basic abc")]), Ok(()));
    }

    #[test]
    fn wrong_is_told_from_missing_and_empty_is_missing() {
        assert_eq!(admit(&keyed(), [Some("x"), None], &[]), Err(Refusal::Wrong));
        assert_eq!(admit(&keyed(), [None, None], &[("authorization", "Basic x")]), Err(Refusal::Wrong));
        assert_eq!(admit(&keyed(), [Some(""), Some("")], &[("x-longshore-key", "")]), Err(Refusal::Missing));
        assert_eq!(admit(&Door::default(), [None, None], &[]), Err(Refusal::Missing));
        assert_eq!(admit(&Door::default(), [Some("x"), None], &[]), Err(Refusal::Wrong));
    }

    #[test]
    fn a_signature_is_asked_for_beside_the_key() {
        let secrets = vec![config::Secret::new("s")];
        let signing = Some(Signing { scheme: Scheme::Github, secrets });
        let signed = [("x-hub-signature-256", "sha256=00")];
        let only = Door { signing: signing.clone(), ..Door::default() };
        assert_eq!(admit(&only, [None, None], &signed), Ok(()));
        assert_eq!(admit(&only, [None, None], &[]), Err(Refusal::NotSigned));
        let both = Door { signing, ..keyed() };
        assert_eq!(admit(&both, [Some("new"), None], &signed), Ok(()));
        assert_eq!(admit(&both, [None, None], &signed), Err(Refusal::Missing));
        assert_eq!(admit(&both, [Some("new"), None], &[]), Err(Refusal::NotSigned));
        let headers = HeaderMap::new();
        let message = Message { headers: &headers, body: b"{}", tag: None };
        assert_eq!(both.check_signature(&message), Err(Refusal::NotSigned));
        let knock = Knock { url_keys: [None, None], headers: &headers, peer: REMOTE };
        assert_eq!(
            (only.admit_question(&knock), both.admit_question(&knock)),
            (Ok(()), Err(Refusal::Missing))
        );
    }

    #[test]
    fn a_loopback_source_takes_nothing_from_elsewhere() {
        let door = Door { open: true, loopback_only: true, ..Door::default() };
        let knock = |peer, pairs: &[(&'static str, &str)]| {
            door.admit(&Knock { url_keys: [None, None], headers: &headers(pairs), peer })
        };
        assert_eq!(knock(LOCAL, &[]), Ok(()));
        assert_eq!(knock("::ffff:127.0.0.1".parse().unwrap(), &[]), Ok(()));
        assert_eq!(knock(REMOTE, &[]), Err(Refusal::NotLocal));
        assert_eq!(knock(LOCAL, &[("x-forwarded-for", "1.2.3.4")]), Err(Refusal::NotLocal));
        assert_eq!(knock(LOCAL, &[("origin", "https://evil.example")]), Err(Refusal::NotLocal));
    }
}
