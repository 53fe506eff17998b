//! What an answer of Portainer, or the want of one, means.

use serde_json::Value;

pub(super) use crate::target::wire::{Answer, Call, Failure, cut};
use crate::{
    redaction::Redaction,
    target::{TargetError, certificates::is_of_certificates, web::with_a_guess, wire::is_html},
    verdict::chain,
};

impl Answer {
    /// Its words: both fields of Portainer's errors, Docker's one, or the text as it is.
    pub(super) fn words(&self) -> String {
        let body: Option<Value> = serde_json::from_str(&self.body).ok();
        let field = |name: &str| {
            let text = body.as_ref()?.get(name)?.as_str()?;
            (!text.is_empty()).then(|| text.to_owned())
        };
        let words = match (field("message"), field("details")) {
            (Some(message), Some(details)) if is_said_in(&details, &message) => message,
            (Some(message), Some(details)) => format!("{message}: {details}"),
            (Some(only), None) | (None, Some(only)) => only,
            (None, None) if body.is_some() || self.body.trim().is_empty() => String::new(),
            (None, None) if is_html(&self.body) => "a web page".to_owned(),
            (None, None) => self.body.trim().to_owned(),
        };
        cut(words)
    }

    /// The same without what nobody is to read, in whichever field it is quoted.
    pub(super) fn without(mut self, hidden: &Redaction) -> Answer {
        self.body = match serde_json::from_str(&self.body) {
            Ok(Value::Object(mut fields)) => {
                for text in fields.values_mut().filter_map(|value| match value {
                    Value::String(text) => Some(text),
                    Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                        None
                    }
                }) {
                    *text = hidden.text(text);
                }
                Value::Object(fields).to_string()
            }
            Ok(_) | Err(_) => hidden.text(&self.body),
        };
        self
    }

    /// Whether Portainer does not know our login any more. It hands on the 401 of a registry that wants a login as well,
    /// which the engine tells in one field, and whoever took that for Portainer's would log in for nothing.
    pub(super) fn is_stale_login(&self) -> bool {
        const SAID: [&str; 3] = [
            "Invalid JWT token",
            "A valid authorization token is missing",
            "An authorization token is invalid",
        ];
        if self.status.as_u16() != 401 {
            return false;
        }
        let body: Option<Value> = serde_json::from_str(&self.body).ok();
        let Some(message) = body.as_ref().and_then(|body| body.get("message")?.as_str()) else {
            // No words of an engine's: something before it, or Portainer with nothing to add.
            return true;
        };
        let has_details = body.as_ref().is_some_and(|body| body.get("details").is_some());
        has_details || SAID.iter().any(|said| message.contains(said))
    }

    /// Whether Portainer itself speaks, and not what hands requests to its parts.
    pub(super) fn json_says_something(&self) -> bool {
        self.is_json() && !self.words().is_empty()
    }
}

/// The first letter of `details` is made large by newer versions.
fn is_said_in(details: &str, message: &str) -> bool {
    message.to_lowercase().contains(&details.to_lowercase())
}

impl Failure {
    /// Whether nobody knows whether a write was carried out: what stands there has to be read.
    pub(super) fn is_in_doubt(&self) -> bool {
        match self {
            Failure::Broken(_) | Failure::TimedOut | Failure::Nonsense(_) => true,
            Failure::Answered(answer) => {
                matches!(answer.status.as_u16(), 408 | 502..=504)
                    || answer.status.as_u16() == 500 && answer.words().is_empty()
            }
            Failure::NotConnected(_) | Failure::NotAsked(_) => false,
        }
    }

    /// Whether it may still be under way though somebody gave up waiting: Portainer goes on behind a proxy that lost
    /// patience and a connection that broke. What it refused or broke off itself is over.
    pub(super) fn may_go_on(&self) -> bool {
        match self {
            Failure::Broken(_) | Failure::TimedOut => true,
            Failure::Answered(answer) => matches!(answer.status.as_u16(), 502..=504),
            Failure::Nonsense(_) | Failure::NotConnected(_) | Failure::NotAsked(_) => false,
        }
    }

    /// The meaning of the failure of `call` at `system`.
    pub(super) fn of(self, system: &str, call: Call<'_>) -> TargetError {
        let system = system.to_owned();
        let attempted = call.attempted;
        match self {
            Failure::NotAsked(error) => error,
            Failure::NotConnected(source) if is_of_certificates(&*source) => {
                TargetError::Untrusted { system, why: chain(&*source) }
            }
            Failure::NotConnected(source) => {
                TargetError::Unreachable { system, source: with_a_guess(source) }
            }
            Failure::Broken(_) | Failure::TimedOut if call.writes => {
                TargetError::NoAnswer { system, attempted }
            }
            Failure::Broken(source) => TargetError::Unreachable { system, source },
            Failure::TimedOut => TargetError::Unreachable {
                system,
                source: format!("no answer when asked to {attempted}").into(),
            },
            Failure::Answered(answer) => answered(system, &answer, call),
            Failure::Nonsense(body) if is_html(&body) => not_portainer(system, attempted),
            Failure::Nonsense(body) => TargetError::BadAnswer { system, attempted, answer: cut(body) },
        }
    }
}

/// The one place that knows what a status of Portainer means.
fn answered(system: String, answer: &Answer, call: Call<'_>) -> TargetError {
    let attempted = call.attempted;
    let words = answer.words();
    let unavailable = |system: String, words: String| TargetError::Unavailable {
        system,
        answer: if words.is_empty() { format!("status {}", answer.status.as_u16()) } else { words },
        retry_after: answer.retry_after,
    };
    match answer.status.as_u16() {
        303 => unavailable(
            system,
            "it was started without an administrator and waits to be restarted".to_owned(),
        ),
        300..=399 => TargetError::Refused {
            system,
            attempted,
            answer: "it sends us elsewhere; give the address that it sends to as `url`".to_owned(),
        },
        401 | 403 => TargetError::CredentialsRefused { system, answer: words },
        404 if answer.is_json() => TargetError::NotFound { system, what: call.what.to_owned() },
        404 if is_html(&answer.body) => not_portainer(system, attempted),
        // As of what stands before a Portainer that is being started.
        404 if call.all_know => {
            let nobody = "nobody is there, says what stands before it".to_owned();
            unavailable(system, nobody)
        }
        404 | 405 => TargetError::Refused {
            system,
            attempted,
            answer: "this version of Portainer does not know how to".to_owned(),
        },
        408 | 429 => unavailable(system, words),
        // A lock of its own, from 2.44 on. Other 409s say that a name is taken, or that it is so already.
        409 if words.contains("already in progress") => TargetError::Busy { system },
        500 if call.writes && is_refusal(&words) => TargetError::Refused { system, attempted, answer: words },
        500..=599 => unavailable(system, words),
        _ => TargetError::Refused { system, attempted, answer: words },
    }
}

/// Whether what a deploy ended with will be the same the next time: it is what the docker command said, less what is
/// known to pass.
fn is_refusal(words: &str) -> bool {
    const PASSES: [&str; 9] = [
        "update out of sequence",
        "Cannot connect to the Docker daemon",
        "returned Bad Gateway",
        "offline gate",
        "does not have a leader",
        "context deadline exceeded",
        "connection refused",
        "i/o timeout",
        // The engine's socket was gone, or broke off: at times also where the engine answered before it had read.
        "Unable to proxy the request",
    ];
    // A pull touches nothing: it may be tried again.
    const PULL_PASSES: [&str; 9] = [
        "toomanyrequests",
        "TLS handshake timeout",
        "connection reset by peer",
        "EOF",
        "Client.Timeout exceeded",
        "500 Internal Server Error",
        "502 Bad Gateway",
        "503 Service Unavailable",
        "504 Gateway",
    ];
    let is_pull = words.contains("failed to pull images");
    if is_pull && PULL_PASSES.iter().any(|known| words.contains(known)) {
        return false;
    }
    let is_gone_network =
        words.contains("network") && words.contains("not found") && !words.contains("external");
    !words.is_empty() && !is_gone_network && !PASSES.iter().any(|known| words.contains(known))
}

pub(super) fn not_portainer(system: String, attempted: &'static str) -> TargetError {
    let answer = "a web page came back instead of an answer; check that `url` leads to Portainer itself and not to \
                  something before it";
    TargetError::OtherServer { system, attempted, answer: answer.to_owned() }
}

/// What of a deploy's words counts: the docker command says harmless things first.
pub(super) fn last_lines(words: &str) -> String {
    const HARMLESS: [&str; 3] = [
        "Since --detach=false was not specified",
        "In a future release, --detach=false will become the default",
        "could not be accessed on a registry",
    ];
    let lines = words.lines().map(str::trim_end);
    let kept: Vec<&str> =
        lines.filter(|line| !line.is_empty() && !HARMLESS.iter().any(|known| line.contains(known))).collect();
    kept[kept.len().saturating_sub(6)..].join("\n")
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    fn meant(status: u16, body: &str, writes: bool) -> TargetError {
        let status = StatusCode::from_u16(status).unwrap();
        let answer = Answer { status, body: body.to_owned(), retry_after: None };
        let (attempted, what) = ("update the stack", "stack `shop`");
        let call = if writes { Call::write(attempted, what) } else { Call::read(attempted, what) };
        Failure::Answered(answer).of("p", call.known_to_all())
    }

    /// Bodies as recorded from 2.23.0, 2.19.5 and 2.14.2.
    #[test]
    fn answers_are_told_apart_by_meaning() {
        use TargetError as E;
        let shown = |status, body: &str| match meant(status, body, true) {
            E::CredentialsRefused { answer, .. } => format!("credentials: {answer}"),
            E::NotFound { what, .. } => format!("missing: {what}"),
            E::Refused { answer, .. } => format!("refused: {answer}"),
            E::Unavailable { answer, .. } => format!("unavailable: {answer}"),
            E::OtherServer { answer, .. } => format!("another server: {answer}"),
            E::Busy { .. } => "busy".to_owned(),
            other @ (E::Unreachable { .. }
            | E::Untrusted { .. }
            | E::GivenUp { .. }
            | E::NoPart { .. }
            | E::NoAnswer { .. }
            | E::ImageNotFound { .. }
            | E::Conflict
            | E::Rewritten { .. }
            | E::Declined { .. }
            | E::BadAnswer { .. }) => format!("{other:?}"),
        };
        for (status, body, expected) in [
            (
                401,
                r#"{"message":"Invalid JWT token","details":"Unauthorized"}"#,
                "credentials: Invalid JWT token: Unauthorized",
            ),
            (
                403,
                "Forbidden - CSRF token not found in request\n",
                "credentials: Forbidden - CSRF token not found in request",
            ),
            (
                403,
                r#"{"message":"api key and auth header are not allowed at the same time","details":"Api key and auth header are not allowed at the same time"}"#,
                "credentials: api key and auth header are not allowed at the same time",
            ),
            (
                404,
                r#"{"message":"Unable to find a stack","details":"Object not found"}"#,
                "missing: stack `shop`",
            ),
            (404, "404 page not found\n", "unavailable: nobody is there, says what stands before it"),
            (405, "", "refused: this version of Portainer does not know how to"),
            (
                409,
                r#"{"message":"Unable to update stack","details":"Stack deployment is already in progress"}"#,
                "busy",
            ),
            (
                409,
                r#"{"message":"A stack with the normalized name 'shop' already exists","details":"A stack with the normalized name 'shop' already exists"}"#,
                "refused: A stack with the normalized name 'shop' already exists",
            ),
            (
                422,
                r#"{"message":"Invalid credentials","details":"Unauthorized"}"#,
                "refused: Invalid credentials: Unauthorized",
            ),
            (
                408,
                r#"{"message":"Timeout waiting for the offline gate to signal"}"#,
                "unavailable: Timeout waiting for the offline gate to signal",
            ),
            (503, "<html>503</html>", "unavailable: a web page"),
            (504, "", "unavailable: status 504"),
            (500, "{}", "unavailable: status 500"),
            (502, "", "unavailable: status 502"),
            (
                500,
                r#"{"message":"failed to update service a_web: Error response from daemon: rpc error: code = Unknown desc = update out of sequence"}"#,
                "unavailable: failed to update service a_web: Error response from daemon: rpc error: code = Unknown desc = update out of sequence",
            ),
            (500, r#"{"message":"network x_default not found"}"#, "unavailable: network x_default not found"),
            (
                500,
                r#"{"message":"Unable to proxy the request via the Docker socket","details":"Write unix @->/run/docker.sock: write: broken pipe"}"#,
                "unavailable: Unable to proxy the request via the Docker socket: Write unix @->/run/docker.sock: write: broken pipe",
            ),
            (
                500,
                r#"{"message":"network \"web\" is declared as external, but could not be found"}"#,
                "refused: network \"web\" is declared as external, but could not be found",
            ),
            (
                500,
                r#"{"message":"yaml: line 3: mapping values are not allowed"}"#,
                "refused: yaml: line 3: mapping values are not allowed",
            ),
            (302, "", "refused: it sends us elsewhere; give the address that it sends to as `url`"),
            (
                400,
                r#"{"message":"Invalid request payload","details":"Invalid stack file content"}"#,
                "refused: Invalid request payload: Invalid stack file content",
            ),
        ] {
            assert_eq!(shown(status, body), expected);
        }
        assert!(shown(404, "<!DOCTYPE html><html>").contains("a web page came back"));
        assert!(matches!(meant(500, r#"{"message":"x"}"#, false), E::Unavailable { .. }));
    }

    #[test]
    fn a_registry_that_wants_a_login_is_not_portainer_that_wants_one() {
        for (status, body, stale) in [
            (401, r#"{"message":"Invalid JWT token","details":"Unauthorized"}"#, true),
            (401, r#"{"message":"Invalid JWT token"}"#, true),
            (401, r#"{"message":"A valid authorization token is missing"}"#, true),
            (401, "{}", true),
            (
                401,
                r#"{"message":"errors:\ndenied: access forbidden\nunauthorized: authentication required\n"}"#,
                false,
            ),
            (403, r#"{"message":"Invalid JWT token","details":"Unauthorized"}"#, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let answer = Answer { status, body: body.to_owned(), retry_after: None };
            assert_eq!(answer.is_stale_login(), stale, "{body}");
        }
    }

    #[test]
    fn a_page_instead_of_json_is_no_answer_to_try_again() {
        let page = Answer { status: StatusCode::OK, body: "<html></html>".into(), retry_after: None };
        let failure = page.json().unwrap_err();
        let meant = failure.of("p", Call::read("list the stacks", "stacks"));
        assert!(matches!(meant, TargetError::OtherServer { .. }), "{meant:?}");
    }

    #[test]
    fn harmless_words_are_left_out() {
        let said = "Since --detach=false was not specified, tasks will be created in the background.\n\
                    In a future release, --detach=false will become the default.\n\
                    image app:9 could not be accessed on a registry to record\n\
                    failed to create service a_web: bad";
        assert_eq!(last_lines(said), "failed to create service a_web: bad");
    }
}
