//! What senders send, tried with much else.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use config::{Document, Faults};
use proto::ImageRef;
use serde_json::Value;

use crate::{
    Producer, Settings,
    source::{Kind, Message, Reading, Rules},
};

const WORDS: &[&str] = &[
    "\"tag\":",
    "\"digest\":",
    "\"repository\":",
    "\"sha256:",
    "pkg:oci/",
    "latest",
    "application/vnd.oci.image.index.v1+json",
    "\"name\":",
    "\"full_name\":",
    "\"action\":\"published\"",
    "[{",
    "}]",
    "payload=",
    "%7B",
    "specversion",
];

/// A message: whose it is, and what comes with it.
struct Payload {
    kind: Kind,
    headers: HeaderMap,
    /// `?tag=`, which one producer says in the URL.
    tag: Option<&'static str>,
    body: Vec<u8>,
}

/// Of our own form, and of the one whose body says nothing, no sample was recorded.
fn written() -> Vec<Payload> {
    let digest = format!("sha256:{}", "0a".repeat(32));
    let plain = [
        "{\"image\":\"acme/web:1.2\",\"service\":\"web\",\"id\":\"x-1\"}".to_owned(),
        format!("{{\"image\":\"r.example.com:5000/acme/web:1.2@{digest}\"}}"),
        format!("{{\"image\":\"acme/web@{digest}\"}}"),
        format!(
            "{{\"name\":\"acme/web\",\"tag\":\"1.2\",\"digest\":\"{digest}\",\"host\":\"r.example.com\"}}"
        ),
    ];
    let of =
        |kind, tag, body: String| Payload { kind, headers: HeaderMap::new(), tag, body: body.into_bytes() };
    let called = of(Kind::Portainer, Some("v1.42.0"), String::new());
    plain.into_iter().map(|body| of(Kind::Plain, None, body)).chain([called]).collect()
}

/// Every recorded or documented message, and those that were written.
fn payloads() -> Vec<Payload> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/payloads");
    let read = |file: &str| std::fs::read(format!("{folder}/{file}")).unwrap();
    let index: Vec<Value> = serde_json::from_slice(&read("index.json")).unwrap();
    let of = |entry: &Value| {
        let mut headers = HeaderMap::new();
        let typed = [("content-type", entry["content_type"].as_str().unwrap_or_default())];
        let others = entry["headers"].as_object().unwrap().iter();
        let others = others.map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default()));
        for (name, value) in typed.into_iter().chain(others) {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
                headers.insert(name, value);
            }
        }
        let kind = Kind::of_name(entry["kind"].as_str().unwrap()).unwrap();
        Payload { kind, headers, tag: None, body: read(entry["file"].as_str().unwrap()) }
    };
    index.iter().map(of).chain(written()).collect()
}

/// A source without settings, one that says its registry, and two with an image for events that name none.
fn rules() -> [Rules; 4] {
    let registry = Some("registry.example.com:5000".to_owned());
    let image = Some("ghcr.io/{owner}/{repo}:{version}".parse().unwrap());
    [
        Rules::default(),
        Rules { registry, ..Rules::default() },
        Rules { image, branches: vec!["main".to_owned(), "v*".to_owned()], ..Rules::default() },
        Rules {
            image: Some("acme/web:{tag}".parse().unwrap()),
            workflows: vec!["Build*".to_owned()],
            events: vec!["*".to_owned()],
            prereleases: true,
            ..Rules::default()
        },
    ]
}

#[test]
fn every_kind_has_a_seed() {
    let payloads = payloads();
    for kind in Kind::ALL {
        assert!(payloads.iter().any(|payload| payload.kind == *kind), "{}", kind.name());
    }
}

#[test]
fn fuzz_hook_body() {
    let (payloads, rules) = (payloads(), rules());
    // The first two bytes choose whose message it is, and what its source says.
    let seed = |n: usize, rule: u8| {
        let head = [u8::try_from(n).unwrap(), rule];
        head.into_iter().chain(payloads[n].body.iter().copied()).collect::<Vec<u8>>()
    };
    let seeds = (0..payloads.len()).flat_map(|n| [seed(n, 0), seed(n, 2), seed(n, 3)]);
    fuzz::run("hook-body", seeds.collect::<Vec<_>>(), WORDS, |input| {
        let [first, second, body @ ..] = input else { return 0 };
        let Payload { kind, headers, tag, .. } = &payloads[usize::from(*first) % payloads.len()];
        let rules = &rules[usize::from(*second) % rules.len()];
        let message = Message { headers, body, tag: *tag };
        let read = rules.read(*kind, &message);
        let told = format!("{read:?}");
        assert_eq!(told, format!("{:?}", rules.read(*kind, &message)), "read otherwise the second time");
        if let Ok(Reading::Sightings(seen)) = &read {
            assert!(!seen.is_empty(), "nothing is seen");
            for sighting in seen {
                let image = sighting.image.to_string();
                assert_eq!(image.parse::<ImageRef>().as_ref(), Ok(&sighting.image), "{image}");
                assert!(sighting.image.tag().is_some(), "{image} has no tag: nothing can follow it");
            }
        }
        let came = match &read {
            Ok(Reading::Sightings(seen)) => format!("{} images", seen.len().min(3)),
            Ok(Reading::Ignored(why) | Reading::NeedsRule(why) | Reading::Acknowledged(why)) => {
                fuzz::words(why)
            }
            Ok(Reading::Handshake(_)) => "handshake".to_owned(),
            Err(error) => fuzz::words(&error.to_string()),
        };
        let words: String = came.chars().filter(|c| c.is_ascii_alphabetic()).take(30).collect();
        fuzz::outcome(&(kind.name(), words))
    });
}

#[test]
fn fuzz_signature() {
    let kinds: Vec<Kind> = Kind::ALL.iter().copied().filter(|kind| kind.scheme().is_some()).collect();
    let texts = kinds.iter().map(|kind| {
        let registry = if *kind == Kind::Nexus { ", registry: r.example" } else { "" };
        format!("sources: {{s: {{kind: {}, secret: \"hunter2\\nhunter3\"{registry}}}}}", kind.name())
    });
    let sources: Vec<(Producer, Settings)> = texts
        .map(|text| {
            let (document, mut faults) = (Document::parse("l.yaml", &text).unwrap(), Faults::new());
            (Producer::read(&document, "s", &mut faults).unwrap(), Settings::sample(&text))
        })
        .collect();
    // Whose, the headers by line, an empty line, the body.
    let seed = |n: usize| {
        let (producer, _) = &sources[n];
        let sent = producer.send_body(producer.samples()[0], b"{\"image\":\"acme/web:1\"}".to_vec());
        let head: String = sent.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        [&[u8::try_from(n).unwrap()], head.as_bytes(), b"\n", &sent.body].concat()
    };
    let seeds: Vec<Vec<u8>> = (0..sources.len()).map(seed).collect();
    let words =
        ["x-hub-signature-256: ", "sha256=", "v1,", "webhook-signature: ", "signature: ", "hunter", ","];
    fuzz::run("signature", seeds, &words, |input| {
        let [first, rest @ ..] = input else { return 0 };
        let (producer, settings) = &sources[usize::from(*first) % sources.len()];
        let end = rest.windows(2).position(|two| two == b"\n\n").unwrap_or(rest.len());
        let body = rest.get(end + 2..).unwrap_or_default();
        let mut headers = HeaderMap::new();
        for line in rest[..end].split(|byte| *byte == b'\n') {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let (name, value) = (
                HeaderName::from_bytes(&line[..colon]),
                HeaderValue::from_bytes(line[colon + 1..].trim_ascii()),
            );
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.append(name, value);
            }
        }
        let checked =
            settings.sources["s"].door.check_signature(&Message { headers: &headers, body, tag: None });
        // Some send the secret itself, which signs nothing.
        let sends_secret =
            headers.values().any(|value| ["hunter2", "hunter3"].iter().any(|secret| *value == **secret));
        let as_signed = body == b"{\"image\":\"acme/web:1\"}";
        assert!(
            checked.is_err() || as_signed || sends_secret || body_is_a_form(&headers, body),
            "{:?} lets it in",
            producer.kind()
        );
        fuzz::outcome(&(producer.kind().name(), format!("{checked:?}")))
    });
}

/// Of a form the field `payload` is signed.
fn body_is_a_form(headers: &HeaderMap, body: &[u8]) -> bool {
    let document = Message { headers, body, tag: None }.document().into_owned();
    document == b"{\"image\":\"acme/web:1\"}"
}
