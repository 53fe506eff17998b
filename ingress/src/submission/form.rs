//! The forms a message may have. Each has a mark of its own, so none is guessed: what has a `target` is a wish, what
//! has `specversion` a CloudEvent, what has `diun_version` Diun's; anything else is an image that somebody saw.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use proto::{CauseKind, JobId, TargetName, Timestamp};
use queue::Envelope;
use serde_json::Value;

use crate::{
    http::only_keys,
    problem::{Kind, Problem},
    source::{self, Message, Reading, Rules, Sighting, Unreadable, delivery_named, without_mark},
};

/// Most bytes of a message, as of a request.
const MOST_BYTES: usize = 1 << 20;
/// The type of a CloudEvent whose `data` is what `POST /v1/jobs` takes.
pub(crate) const DEPLOY: &str = "longshore.deploy";
/// What attributes of a CloudEvent in headers begin with.
const ATTRIBUTES: [&str; 2] = ["cloudevents:", "cloudevents_"];
/// What a message says of an image that somebody saw, beside what a push over HTTP may say.
const OF_A_MESSAGE: [&str; 7] = ["kind", "source", "delivery", "by", "elsewhere_at", "wished", "served"];
/// What a header of HTTP may not hold as it is, or what stands for something else there.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%').add(b'"').add(b' ');

/// What a message is.
#[derive(Debug)]
pub(super) enum Form {
    /// Wishes, each as `POST /v1/jobs` takes one.
    Wishes(Vec<Asked>),
    /// Images that were seen.
    Sightings(Seen),
    /// Nothing that deploys, and why.
    Ignored(String),
}

/// A wish as it was sent.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) wish: Value,
    /// Its sender's name for it.
    pub(super) delivery: Option<String>,
}

/// Images that were seen.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) sightings: Vec<Sighting>,
    /// How, as the message itself says.
    pub(super) claim: Option<Claim>,
}

/// How an image was seen, as a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) kind: CauseKind,
    pub(super) source: Option<String>,
    /// Who told of it.
    pub(super) by: Option<String>,
    /// When a look last saw the tag name something else.
    pub(super) elsewhere_at: Option<Timestamp>,
    /// Where it waited: the id that a job of it had when it came.
    pub(super) wished: Option<JobId>,
    /// Targets that had their jobs of it before.
    pub(super) served: Vec<TargetName>,
}

impl Claim {
    /// That it was seen in this way, and nothing more.
    pub(super) fn of(kind: CauseKind) -> Claim {
        Claim { kind, source: None, by: None, elsewhere_at: None, wished: None, served: Vec::new() }
    }
}

/// Finds out what a message is.
pub(super) fn read(body: &[u8], envelope: &Envelope) -> Result<Form, Problem> {
    if body.len() > MOST_BYTES {
        return Err(Kind::TooLarge.with("the message is larger than 1 MiB"));
    }
    let value: Value = serde_json::from_slice(without_mark(body)).map_err(|error| not_json(&error))?;
    let headers = headers_of(envelope);
    let message = Message { headers: &headers, body, tag: None };
    if is_cloud_event(&value, &message) {
        return cloud_events(&message, envelope);
    }
    match &value {
        Value::Array(items) => asked(items.clone(), envelope),
        Value::Object(keys) if keys.contains_key("target") => asked(vec![value], envelope),
        Value::Object(keys) if keys.contains_key("diun_version") => {
            told(source::Kind::Diun, &message, envelope)
        }
        Value::Object(_) => sighting(&value, &message, envelope),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Err(Kind::BadJob.with("the message is JSON, but neither an object nor an array"))
        }
    }
}

/// The place and nothing of the text: it may be anything.
fn not_json(error: &serde_json::Error) -> Problem {
    let (line, column) = (error.line(), error.column());
    Kind::NotJson.with(format!("the message is not JSON, see line {line}, column {column}"))
}

/// Headers as they would stand in a request; a CloudEvent's attributes by the names that they have there.
fn headers_of(envelope: &Envelope) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut add = |name: &str, value: &str| {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    };
    for (name, value) in &envelope.headers {
        let name = name.to_ascii_lowercase();
        match ATTRIBUTES.iter().find_map(|before| name.strip_prefix(before)) {
            Some(attribute) => {
                add(&format!("ce-{attribute}"), &utf8_percent_encode(value, ESCAPED).to_string());
            }
            None => add(&name, value),
        }
    }
    envelope.content_type.iter().for_each(|kind| add(header::CONTENT_TYPE.as_str(), kind));
    headers
}

fn is_cloud_event(value: &Value, message: &Message<'_>) -> bool {
    let is_one = |value: &Value| value.get("specversion").is_some();
    let in_a_batch = value.as_array().is_some_and(|events| events.iter().any(is_one));
    is_one(value)
        || in_a_batch
        || message.header("ce-specversion").is_some()
        || message.media_type().starts_with("application/cloudevents")
}

/// One event or several: all of them deploys, or none.
fn cloud_events(message: &Message<'_>, envelope: &Envelope) -> Result<Form, Problem> {
    let events = source::events_of(message).map_err(|error| unreadable(&error))?;
    let is_deploy = |event: &Value| event.get("type").and_then(Value::as_str) == Some(DEPLOY);
    if !events.iter().any(is_deploy) {
        return told(source::Kind::Cloudevents, message, envelope);
    }
    let mut wishes = Vec::new();
    for event in &events {
        source::check_event(event).map_err(|why| Kind::BadJob.with(why))?;
        if !is_deploy(event) {
            let detail = format!("the batch has events of the type `{DEPLOY}` beside others");
            return Err(Kind::BadJob.with(detail).hint("send the two kinds in two batches"));
        }
        let delivery = source::name_of_event(event);
        let of_event = match event.get("data") {
            Some(Value::Array(items)) => items.clone(),
            Some(one) => vec![one.clone()],
            None => return Err(Kind::BadJob.with("the event has no `data`")),
        };
        wishes.extend(of_event.into_iter().map(|wish| Asked { wish, delivery: delivery.clone() }));
    }
    Ok(Form::Wishes(wishes))
}

fn asked(items: Vec<Value>, envelope: &Envelope) -> Result<Form, Problem> {
    let delivery = named(envelope);
    Ok(Form::Wishes(items.into_iter().map(|wish| Asked { wish, delivery: delivery.clone() }).collect()))
}

/// The sender's name for the message: the header that has it over HTTP, or else the message's own id.
fn named(envelope: &Envelope) -> Option<String> {
    let header = envelope.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("idempotency-key"));
    let name = header.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty());
    delivery_named([name.or(envelope.id.as_deref())])
}

/// What a producer that also sends hooks tells.
fn told(kind: source::Kind, message: &Message<'_>, envelope: &Envelope) -> Result<Form, Problem> {
    let reading = Rules::default().read(kind, message).map_err(|error| unreadable(&error))?;
    Ok(match reading {
        Reading::Sightings(sightings) => seen(sightings, None, envelope),
        Reading::Ignored(why) | Reading::Acknowledged(why) | Reading::NeedsRule(why) => Form::Ignored(why),
        Reading::Handshake(_) => {
            Form::Ignored("the message is a question whether events are wanted".to_owned())
        }
    })
}

/// Our own form. Whoever writes it can mend it, and a misspelled `target` must not become an image for everybody.
fn sighting(value: &Value, message: &Message<'_>, envelope: &Envelope) -> Result<Form, Problem> {
    if let Value::Object(keys) = value {
        let known = [&source::KEYS_OF_A_PUSH[..], &OF_A_MESSAGE].concat();
        only_keys("a message without `target`", keys, &known)?;
    }
    let named = message.first_header(&["idempotency-key", "webhook-id"]);
    let seen_one = source::seen_plainly(value, named).map_err(|error| unreadable(&error))?;
    let mut sightings = vec![seen_one];
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    if let Some(delivery) = text("delivery") {
        sightings.iter_mut().for_each(|seen| seen.delivery = delivery_named([Some(&delivery)]));
    }
    Ok(seen(sightings, claim(value, text("source"), text("by"))?, envelope))
}

fn claim(value: &Value, source: Option<String>, by: Option<String>) -> Result<Option<Claim>, Problem> {
    let kind = match value.get("kind").map(|kind| serde_json::from_value(kind.clone())) {
        None => {
            let claim = |source| Claim { source: Some(source), by, ..Claim::of(CauseKind::Amqp) };
            return Ok(source.map(claim));
        }
        Some(Ok(kind @ (CauseKind::Poll | CauseKind::Amqp | CauseKind::Hook))) => kind,
        Some(
            Ok(CauseKind::Api | CauseKind::Cli | CauseKind::Replay | CauseKind::Approve | CauseKind::Release)
            | Err(_),
        ) => {
            let problem = Kind::BadJob.with("`kind` is no way by which an image is seen");
            return Err(problem.hint("leave `kind` out"));
        }
    };
    let elsewhere_at = value.get("elsewhere_at").and_then(|at| at.as_str()?.parse().ok());
    let wished = value.get("wished").and_then(|id| id.as_str()?.parse().ok());
    let served = value.get("served").and_then(|names| serde_json::from_value(names.clone()).ok());
    Ok(Some(Claim { kind, source, by, elsewhere_at, wished, served: served.unwrap_or_default() }))
}

fn seen(mut sightings: Vec<Sighting>, claim: Option<Claim>, envelope: &Envelope) -> Form {
    for seen in &mut sightings {
        seen.delivery = seen.delivery.take().or_else(|| named(envelope));
    }
    Form::Sightings(Seen { sightings, claim })
}

fn unreadable(error: &Unreadable) -> Problem {
    match error {
        Unreadable::NotJson(source) => not_json(source),
        Unreadable::UnknownKey(_) => Kind::BadJob.with(error.to_string()),
        Unreadable::NotText(_) | Unreadable::BadService => Kind::BadImage.with(error.to_string()),
        Unreadable::NoTag(_) => Kind::BadImage
            .with(error.to_string())
            .hint("write it as `repository:tag@sha256:…`, or add the `target` that is to run it"),
        Unreadable::NoImage => Kind::BadImage.with("the message names no image and no target"),
        Unreadable::BadImage { given, source } => {
            Kind::BadImage.with(format!("the image `{given:.100}` cannot be used: {source:.150}"))
        }
    }
}

#[cfg(test)]
mod described;
#[cfg(test)]
mod tests;
