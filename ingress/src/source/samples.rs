//! Messages for the tests of the modules.

use axum::http::{HeaderMap, HeaderName};
use serde_json::Value;

use super::{Kind, Message, Reading, Rules, Unreadable};

/// Reads a body without headers and without settings.
pub(super) fn read_as(kind: Kind, body: &Value) -> Result<Reading, Unreadable> {
    read_event(kind, &[], body, &Rules::default())
}

/// Reads a body for a source that says its registry.
pub(super) fn read_with_registry(kind: Kind, registry: &str, body: &Value) -> Result<Reading, Unreadable> {
    read_event(kind, &[], body, &Rules { registry: Some(registry.to_owned()), ..Rules::default() })
}

/// Reads a body with headers.
pub(super) fn read_event(
    kind: Kind,
    headers: &[(&str, &str)],
    body: &Value,
    rules: &Rules,
) -> Result<Reading, Unreadable> {
    read_bytes(kind, headers, body.to_string().as_bytes(), rules)
}

/// Reads bytes with headers.
pub(super) fn read_bytes(
    kind: Kind,
    headers: &[(&str, &str)],
    body: &[u8],
    rules: &Rules,
) -> Result<Reading, Unreadable> {
    let header = |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    let headers: HeaderMap = headers.iter().map(header).collect();
    rules.read(kind, &Message { headers: &headers, body, tag: None })
}

/// Rules with an image for events that name none.
pub(super) fn template(image: &str) -> Rules {
    Rules { image: Some(image.parse().unwrap()), ..Rules::default() }
}
