//! CloudEvents over HTTP, whichever way they are laid into a request: one in the body, one in the headers around its
//! data, or a batch.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::{Message, Unreadable, message::text};

/// The version whose attributes these are; before it, some were called otherwise.
const VERSION: &str = "1.0";
/// The attributes that headers may carry and that are looked at here.
const ATTRIBUTES: [&str; 6] = ["specversion", "type", "source", "id", "subject", "operator"];

/// The whole event in one document: the body, with what the headers say where they carry it.
pub(super) fn whole(message: &Message<'_>) -> Result<Value, Unreadable> {
    let in_headers = message.header("ce-specversion").is_some();
    // An event may have no data: its attributes say it all.
    let body = if in_headers && message.body.is_empty() { Value::Null } else { message.json()? };
    if !in_headers || body.get("specversion").is_some() {
        return Ok(with_data(body));
    }
    let mut event = Map::new();
    for name in ATTRIBUTES {
        if let Some(value) = message.header(&format!("ce-{name}")) {
            event.insert(name.to_owned(), Value::String(decoded(value)));
        }
    }
    event.insert("data".to_owned(), body);
    Ok(Value::Object(event))
}

/// All events of a request.
pub(crate) fn all(message: &Message<'_>) -> Result<Vec<Value>, Unreadable> {
    let body = whole(message)?;
    Ok(match body.as_array() {
        Some(events) => events.iter().cloned().map(with_data).collect(),
        None => vec![body],
    })
}

/// The name by which the event is known again.
pub(crate) fn delivery(event: &Value) -> Option<String> {
    super::image::delivery([text(event, "source"), text(event, "id")])
}

/// Says what a CloudEvent needs and this one has not.
pub(crate) fn check(event: &Value) -> Result<(), String> {
    if let Some(missing) =
        ["specversion", "type", "source", "id"].into_iter().find(|name| text(event, name).is_none())
    {
        return Err(format!("the body is no CloudEvent: it has no `{missing}`"));
    }
    match text(event, "specversion") {
        Some(VERSION) | None => Ok(()),
        Some(other) => Err(format!(
            "the event is in version `{other:.20}` of CloudEvents, and {VERSION} alone is understood: let its sender say that one"
        )),
    }
}

/// Data that was encoded, or laid in as text, is read.
fn with_data(mut event: Value) -> Value {
    let encoded = text(&event, "data_base64").and_then(|data| STANDARD.decode(data).ok());
    let written = text(&event, "data").map(|data| data.as_bytes().to_vec());
    let data = encoded.or(written.filter(|_| event.get("specversion").is_some()));
    if let Some(data) = data.and_then(|data| serde_json::from_slice::<Value>(&data).ok()) {
        event["data"] = data;
    }
    event
}

/// A header's value: perhaps in quotes, with what no header may hold in percents.
fn decoded(value: &str) -> String {
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let plain = match inner {
        Some(inner) => Cow::Owned(inner.replace("\\\"", "\"").replace("\\\\", "\\")),
        None => Cow::Borrowed(value),
    };
    percent_decode_str(&plain).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_unquoted_and_decoded_once() {
        assert_eq!(decoded("a/b:v2.0.0"), "a/b:v2.0.0");
        assert_eq!(decoded("\"Euro%20%E2%82%AC\""), "Euro €");
        assert_eq!(decoded("100%2525"), "100%25");
    }

    #[test]
    fn an_event_of_another_version_is_none() {
        let of = |version: &str| serde_json::json!({"specversion": version, "type": "x.push", "source": "s", "id": "1"});
        assert_eq!(check(&of("1.0")), Ok(()));
        for other in ["0.3", "0.2", "1.1", "2.0"] {
            let told = check(&of(other)).unwrap_err();
            assert!(told.contains(&format!("`{other}`")) && told.contains("1.0 alone"), "{told}");
        }
    }

    #[test]
    fn encoded_data_is_read() {
        let event = serde_json::json!({"specversion": "1.0", "data_base64": "eyJ4IjoxfQ=="});
        assert_eq!(with_data(event)["data"]["x"], 1);
        let event = serde_json::json!({"specversion": "1.0", "data": "{\"x\":1}"});
        assert_eq!(with_data(event)["data"]["x"], 1);
    }
}
