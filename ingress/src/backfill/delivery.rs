//! Attempts to deliver an event, as GitHub tells of them, and which events never came.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// Events that a source can make anything of; of others nothing is fetched.
const EVENTS: [&str; 6] = ["package", "registry_package", "release", "workflow_run", "create", "push"];

/// One attempt to deliver an event.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Attempt {
    /// Greater than that of every earlier attempt.
    pub(super) id: u64,
    /// The event's own, the same over all attempts; hooks carry it as `X-GitHub-Delivery`.
    pub(super) guid: String,
    pub(super) delivered_at: Timestamp,
    /// What was answered; 0 or nothing where nobody answered.
    pub(super) status_code: Option<u16>,
    pub(super) event: String,
}

/// An attempt with what was sent.
#[derive(Debug, Deserialize)]
pub(super) struct Detail {
    guid: String,
    request: Option<Sent>,
}

#[derive(Debug, Deserialize)]
struct Sent {
    headers: Option<BTreeMap<String, Value>>,
    payload: Option<Value>,
}

/// An event of which no attempt was answered well.
#[derive(Debug, Clone)]
pub(super) struct Missed {
    /// The newest attempt.
    pub(super) id: u64,
    pub(super) guid: String,
    /// When it was tried first: that is when somebody wished for what it says.
    pub(super) first_tried_at: Timestamp,
    pub(super) event: String,
}

/// Why what was sent cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    /// It is kept without its body, as very large ones are.
    #[error("GitHub does not have its body any more")]
    NoPayload,
    /// The answer is about another delivery or hook.
    #[error("GitHub tells of another delivery or hook")]
    Another,
}

impl Attempt {
    fn went_well(&self) -> bool {
        self.status_code.is_some_and(|code| (200..300).contains(&code))
    }
}

/// The events that never came, oldest first.
pub(super) fn missed(attempts: &[Attempt]) -> Vec<Missed> {
    let mut events: BTreeMap<&str, Vec<&Attempt>> = BTreeMap::new();
    for attempt in attempts {
        events.entry(&attempt.guid).or_default().push(attempt);
    }
    let never_came = events.into_values().filter(|tried| !tried.iter().any(|attempt| attempt.went_well()));
    let mut missed: Vec<(u64, Missed)> = never_came
        .filter_map(|tried| {
            let first = tried.iter().min_by_key(|attempt| attempt.id)?;
            let last = tried.iter().max_by_key(|attempt| attempt.id)?;
            let (guid, event) = (first.guid.clone(), first.event.clone());
            Some((first.id, Missed { id: last.id, guid, first_tried_at: first.delivered_at, event }))
        })
        .filter(|(_, missed)| EVENTS.contains(&missed.event.as_str()))
        .collect();
    missed.sort_by_key(|(first, missed)| (missed.first_tried_at, *first));
    missed.into_iter().map(|(_, missed)| missed).collect()
}

impl Missed {
    /// The headers that the hook would have had, as far as they say what it is about, and its body.
    ///
    /// There is nothing signed in it: GitHub itself says it, to whom the token was shown.
    pub(super) fn request(&self, detail: Detail, hook: u64) -> Result<(HeaderMap, Vec<u8>), Unusable> {
        let Sent { headers, payload } = detail.request.ok_or(Unusable::NoPayload)?;
        let said = headers.unwrap_or_default();
        let of_hook = said.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-github-hook-id"));
        let of_hook = of_hook.and_then(|(_, id)| id.as_u64().or_else(|| id.as_str()?.trim().parse().ok()));
        if detail.guid != self.guid || of_hook.is_some_and(|id| id != hook) {
            return Err(Unusable::Another);
        }
        let body = match payload {
            None | Some(Value::Null) => return Err(Unusable::NoPayload),
            // The text of a body that GitHub did not read.
            Some(Value::String(text)) => text.into_bytes(),
            Some(read) => read.to_string().into_bytes(),
        };
        let mut headers = HeaderMap::new();
        for (name, value) in [("x-github-event", &self.event), ("x-github-delivery", &self.guid)] {
            headers.insert(name, HeaderValue::from_str(value).map_err(|_| Unusable::Another)?);
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok((headers, body))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn attempt(id: u64, guid: &str, second: i64, status_code: Option<u16>) -> Attempt {
        let delivered_at = Timestamp::from_second(second).unwrap();
        Attempt { id, guid: guid.to_owned(), delivered_at, status_code, event: "package".to_owned() }
    }

    #[test]
    fn what_no_attempt_brought_is_missed_in_the_order_of_the_first() {
        let other = Attempt { event: "issues".to_owned(), ..attempt(1, "issue", 1, None) };
        let attempts = [
            attempt(9, "second", 90, Some(502)),
            attempt(8, "came-later", 80, Some(202)),
            attempt(6, "first", 20, Some(0)),
            attempt(5, "second", 20, None),
            attempt(4, "tie", 20, Some(301)),
            attempt(3, "came-later", 20, Some(503)),
            attempt(2, "came", 10, Some(200)),
            other,
        ];
        let told: Vec<(String, u64, i64)> = missed(&attempts)
            .into_iter()
            .map(|missed| (missed.guid, missed.id, missed.first_tried_at.as_second()))
            .collect();
        let expected = [("tie", 4, 20), ("second", 9, 20), ("first", 6, 20)];
        assert_eq!(told, expected.map(|(guid, id, at)| (guid.to_owned(), id, at)));
    }

    #[test]
    fn only_the_deliverys_own_body_is_used() {
        let one = missed(&[attempt(9, "g", 90, None)]).remove(0);
        let request = |detail: Value| one.request(serde_json::from_value(detail).unwrap(), 7);
        let sent = json!({"headers": {"X-GitHub-Hook-ID": "7"}, "payload": {"action": "published"}});
        let (headers, body) = request(json!({"guid": "g", "request": sent})).unwrap();
        assert_eq!(
            (&headers["x-github-event"], &headers["x-github-delivery"]),
            (&"package".parse().unwrap(), &"g".parse().unwrap())
        );
        assert_eq!(body, br#"{"action":"published"}"#);
        let text = json!({"guid": "g", "request": {"payload": "{\"a\":1}"}});
        assert_eq!(request(text).unwrap().1, br#"{"a":1}"#);
        for (detail, why) in [
            (json!({"guid": "other", "request": sent}), Unusable::Another),
            (
                json!({"guid": "g", "request": {"headers": {"x-github-hook-id": "8"}, "payload": {}}}),
                Unusable::Another,
            ),
            (json!({"guid": "g", "request": {"headers": {}, "payload": null}}), Unusable::NoPayload),
            (json!({"guid": "g", "request": null}), Unusable::NoPayload),
        ] {
            assert_eq!(request(detail.clone()).unwrap_err(), why, "{detail}");
        }
    }
}
