//! A source as its sender sees it: what to paste there, and what a message of it looks like.

mod place;
mod samples;
mod sign;

use std::fmt;

use config::{Document, Faults, Secret, nearest};
use jiff::Timestamp;
use serde::Serialize;

use self::place::KeyPlace;
pub use self::samples::Sample;
use self::samples::{FRESH, SAMPLES};
use crate::{
    authenticate::Scheme,
    settings::{Typed, read_source},
    source::Kind,
};

/// The tag in the URL where the message has no body.
const SAMPLE_TAG: &str = "v1.42.0";

/// Who sends to a source, with the secrets that it is given.
#[derive(Debug)]
pub struct Producer {
    name: String,
    kind: Kind,
    key: Option<Secret>,
    authorization: Option<Secret>,
    secret: Option<Secret>,
}

/// What is pasted at the producer. It shows its secrets when it is serialized, and nowhere else.
#[derive(Serialize)]
pub struct Paste {
    /// The source's name.
    pub source: String,
    /// Its kind.
    pub kind: &'static str,
    /// Where to send; with the key where the producer can give it nowhere else.
    pub url: String,
    /// A header to send: its name and its text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<(&'static str, String)>,
    /// What to sign with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Where all that goes.
    pub where_to: &'static str,
}

/// A message as it goes over the wire.
pub struct Outgoing {
    /// The URL's path and query.
    pub path: String,
    /// Whether it comes with GET.
    pub is_get: bool,
    /// Its headers.
    pub headers: Vec<(&'static str, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Producer {
    /// Reads one source of a configuration, with its secrets.
    ///
    /// Every fault is pushed; the answer is none exactly when there was one.
    pub fn read(document: &Document, name: &str, faults: &mut Faults) -> Option<Producer> {
        let sources = document.root().get("sources");
        let Some(node) = sources.and_then(|sources| sources.get(name)) else {
            let names: Vec<&str> = sources
                .into_iter()
                .flat_map(|node| node.entries().map(|(key, _)| key.text.as_str()))
                .collect();
            let hint = match nearest(name, &names) {
                Some(near) => format!("did you mean `{near}`?"),
                None if names.is_empty() => "add it under `sources`".to_owned(),
                None => format!("the sources are `{}`", names.join("`, `")),
            };
            faults.push(document.root().fault(format!("there is no source `{name}`")).hint(hint));
            return None;
        };
        if node.get("kind").and_then(config::Node::text) == Some("poll") {
            let fault = node.fault("nobody sends to a source of the kind `poll`: workers look themselves");
            faults.push(fault.hint("name a source that takes hooks"));
            return None;
        }
        let (kind, typed) = read_source(node, faults)?;
        let Typed { key, authorization, secret, .. } = typed;
        Some(Producer { name: name.to_owned(), kind, key, authorization, secret })
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What to paste at the producer, where the server is reached under `base`.
    #[must_use]
    pub fn paste(&self, base: &str) -> Paste {
        Paste {
            source: self.name.clone(),
            kind: self.kind.name(),
            url: format!("{}{}", base.trim_end_matches('/'), self.path(None)),
            header: self.header(),
            secret: self.secret.as_ref().map(|secret| newest(secret).to_owned()),
            where_to: place::where_to(self.kind, self.header().is_some()),
        }
    }

    /// The samples of its kind, the usual one first.
    #[must_use]
    pub fn samples(&self) -> Vec<&'static Sample> {
        SAMPLES.iter().filter(|sample| sample.kind == self.kind).collect()
    }

    /// A sample as this producer would send it now.
    #[must_use]
    pub fn send(&self, sample: &Sample) -> Outgoing {
        self.send_body(sample, sample.body.as_bytes().to_vec())
    }

    /// A body of one's own with a sample's headers, as this producer would send it now.
    #[must_use]
    pub fn send_body(&self, sample: &Sample, body: Vec<u8>) -> Outgoing {
        let text = |value: &str| match value {
            FRESH => fresh(),
            text => text.to_owned(),
        };
        let mut headers: Vec<(&'static str, String)> =
            sample.headers.iter().map(|(name, value)| (*name, text(value))).collect();
        headers.extend(self.header());
        if let (Some(scheme), Some(secret)) = (self.kind.scheme(), &self.secret) {
            let secret = Secret::new(newest(secret));
            let signed = sign::signed(scheme, &secret, &body, Timestamp::now());
            headers.retain(|(name, _)| !signed.iter().any(|(other, _)| other == name));
            headers.extend(signed);
        }
        let tag = (self.kind == Kind::Portainer).then_some(SAMPLE_TAG);
        Outgoing { path: self.path(tag), is_get: self.kind.takes_get(), headers, body }
    }

    /// The hook's path, with the key where it has to stand there.
    fn path(&self, tag: Option<&str>) -> String {
        let key = self.key.as_ref().map(newest).map(escaped);
        let (name, place) = (&self.name, KeyPlace::of(self.kind));
        let path = match (key, place) {
            (Some(key), KeyPlace::Path) => format!("/hooks/{name}/{key}"),
            (Some(key), KeyPlace::Query) => format!("/hooks/{name}?key={key}"),
            (Some(_), KeyPlace::Header | KeyPlace::Bearer) | (None, _) => format!("/hooks/{name}"),
        };
        match tag {
            Some(tag) if path.contains('?') => format!("{path}&tag={tag}"),
            Some(tag) => format!("{path}?tag={tag}"),
            None => path,
        }
    }

    fn header(&self) -> Option<(&'static str, String)> {
        if let Some(whole) = &self.authorization {
            return Some(("authorization", newest(whole).to_owned()));
        }
        let key = newest(self.key.as_ref()?);
        match KeyPlace::of(self.kind) {
            KeyPlace::Header => Some(("x-longshore-key", key.to_owned())),
            KeyPlace::Bearer => Some(("authorization", format!("Bearer {key}"))),
            KeyPlace::Path | KeyPlace::Query => None,
        }
    }

    /// The headers in which a signature is looked for.
    #[must_use]
    pub fn signed_in(&self) -> &'static [&'static str] {
        self.kind.scheme().map(Scheme::headers).unwrap_or_default()
    }
}

impl fmt::Debug for Paste {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Paste").field("source", &self.source).finish_non_exhaustive()
    }
}

/// A name that no other message has.
fn fresh() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}

/// Of several secrets the last: while one is being replaced, the new one stands below the old.
fn newest(secret: &Secret) -> &str {
    secret.expose().lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default()
}

/// A key as it stands in a URL.
fn escaped(key: &str) -> String {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-._~".contains(b);
    key.bytes().map(|b| if plain(&b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName};

    use super::*;
    use crate::{
        Settings,
        authenticate::Knock,
        source::{Message, Reading},
    };

    fn letter(kind: Kind, secrets: &str) -> (Producer, Settings) {
        let registry = if kind == Kind::Nexus { ", registry: r.example" } else { "" };
        let text = format!("sources: {{s: {{kind: {}, {secrets}{registry}}}}}", kind.name());
        let document = Document::parse("l.yaml", &text).unwrap();
        let mut faults = Faults::new();
        let producer = Producer::read(&document, "s", &mut faults).unwrap_or_else(|| panic!("{faults}"));
        (producer, Settings::sample(&text))
    }

    /// Goes through the door that the server has, and is understood there.
    fn is_taken(kind: Kind, secrets: &str) {
        let (producer, settings) = letter(kind, secrets);
        let source = &settings.sources["s"];
        assert!(!producer.samples().is_empty(), "{}", kind.name());
        for sample in producer.samples() {
            let sent = producer.send(sample);
            let header = |(name, value): &(&str, String)| {
                (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())
            };
            let headers: HeaderMap = sent.headers.iter().map(header).collect();
            let query = sent.path.split_once("key=").map(|(_, key)| key.split('&').next().unwrap());
            let path = sent.path.split('?').next().unwrap().strip_prefix("/hooks/s/");
            let key = |key: &str| key.replace("%20", " ");
            let (query, path) = (query.map(key), path.map(key));
            let knock = Knock {
                url_keys: [query.as_deref(), path.as_deref()],
                headers: &headers,
                peer: [10, 0, 0, 1].into(),
            };
            let message = Message { headers: &headers, body: &sent.body, tag: Some(SAMPLE_TAG) };
            let what = format!("{} {} {secrets}", kind.name(), sample.name);
            assert_eq!(source.door.admit(&knock), Ok(()), "{what}");
            assert_eq!(source.door.check_signature(&message), Ok(()), "{what}");
            let read = source.read(&message);
            assert!(read.is_ok(), "{what}: {read:?}");
            let is_usual = std::ptr::eq(sample, producer.samples()[0]);
            let deploys = matches!(read, Ok(Reading::Sightings(_) | Reading::NeedsRule(_)));
            // Tencent's documented sample has a tag that is a digest.
            assert!(deploys || !is_usual || kind == Kind::TencentTcr, "{what} deploys nothing");
        }
    }

    #[test]
    fn every_sample_is_let_in_and_understood() {
        for kind in Kind::ALL {
            is_taken(*kind, r#"key: "old\nk y""#);
            is_taken(*kind, r#"authorization: "Basic abc""#);
            if kind.scheme().is_some() {
                is_taken(*kind, r#"secret: "old\nnew""#);
                is_taken(*kind, "key: k, secret: s");
            }
        }
        for kind in [Kind::Plain, Kind::Gitlab, Kind::Cloudevents] {
            is_taken(kind, "secret: whsec_bmV3");
        }
    }

    #[test]
    fn the_key_is_where_the_producer_can_give_it() {
        let told = |kind, secrets: &str| {
            let paste = letter(kind, secrets).0.paste("https://d.example/");
            (paste.url, paste.header.map(|(name, text)| format!("{name}: {text}")), paste.secret)
        };
        let url = |rest: &str| format!("https://d.example/hooks/s{rest}");
        assert_eq!(told(Kind::Dockerhub, "key: k/1"), (url("?key=k%2F1"), None, None));
        assert_eq!(told(Kind::Portainer, "key: k"), (url("/k"), None, None));
        let bearer = Some("authorization: Bearer k".to_owned());
        assert_eq!(told(Kind::Harbor, "key: k"), (url(""), bearer, None));
        assert_eq!(told(Kind::Plain, "key: k"), (url(""), Some("x-longshore-key: k".to_owned()), None));
        assert_eq!(told(Kind::Github, "secret: s"), (url(""), None, Some("s".to_owned())));
        assert_eq!(told(Kind::Dockerhub, "open: true"), (url(""), None, None));
    }

    #[test]
    fn a_source_that_is_not_there_is_told_with_the_nearest() {
        let document =
            Document::parse("l.yaml", "sources: {hub: {kind: plain, open: true}, poll: {kind: poll}}");
        let document = document.unwrap();
        let told = |name: &str| {
            let mut faults = Faults::new();
            assert!(Producer::read(&document, name, &mut faults).is_none());
            faults.to_string()
        };
        assert!(told("hbu").contains("did you mean `hub`?"));
        assert!(told("elsewhere").contains("the sources are `hub`, `poll`"));
        assert!(told("poll").contains("workers look themselves"));
    }
}
