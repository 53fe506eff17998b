//! What an engine's answer, or the want of one, means.

use std::time::Duration;

use super::tls::refusal;
use crate::target::TargetError;

const LONGEST_ANSWER: usize = 500;

/// One call, as far as errors need to tell of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    /// The name of the system that is asked.
    pub(super) system: &'a str,
    /// What it is asked, after "to".
    pub(super) attempted: &'static str,
    /// Whether it changes something: without an answer nobody knows whether it was done.
    pub(super) writes: bool,
    /// What a 404 means is missing.
    pub(super) what: &'a str,
}

/// Why a call brought nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection was made.
    NotConnected(Box<dyn std::error::Error + Send + Sync>),
    /// The connection broke after the request may have been sent.
    Broken(Box<dyn std::error::Error + Send + Sync>),
    /// No answer in time.
    TimedOut,
    /// The engine said no, and perhaps when to come back.
    Answered { status: u16, message: String, retry_after: Option<Duration> },
    /// The engine said something else than it should.
    Nonsense(String),
}

/// Some registries' words come as `manifest unknown: manifest unknown`: as a code, and as its text.
pub(super) fn said_once(words: String) -> String {
    match words.split_once(": ") {
        Some((code, text)) if code == text => text.to_owned(),
        Some(_) | None => words,
    }
}

impl Failure {
    /// Whether the session should not be used again.
    pub(super) fn breaks_the_session(&self) -> bool {
        match self {
            Failure::NotConnected(_) | Failure::Broken(_) | Failure::TimedOut => true,
            Failure::Answered { .. } | Failure::Nonsense(_) => false,
        }
    }

    /// The meaning of the failure of `call`.
    pub(super) fn of(self, call: Call<'_>) -> TargetError {
        let system = call.system.to_owned();
        let attempted = call.attempted;
        match self {
            Failure::NotConnected(source) => TargetError::Unreachable { system, source },
            Failure::Broken(_) | Failure::TimedOut if call.writes => {
                TargetError::NoAnswer { system, attempted }
            }
            Failure::Broken(source) => TargetError::Unreachable { system, source },
            Failure::TimedOut => TargetError::Unreachable {
                system,
                source: format!("no answer when asked to {attempted}").into(),
            },
            Failure::Answered { status, message, retry_after } => {
                answered(status, message, retry_after, call)
            }
            Failure::Nonsense(answer) => TargetError::BadAnswer { system, attempted, answer: cut(answer) },
        }
    }
}

/// The one place that knows what a status of the engine means. Recorded answers are in the tests below.
fn answered(status: u16, message: String, retry_after: Option<Duration>, call: Call<'_>) -> TargetError {
    let system = call.system.to_owned();
    let attempted = call.attempted;
    let answer = cut(message);
    match status {
        // A stale version is a 500 with this text on every engine that was tried.
        _ if call.writes && answer.contains("update out of sequence") => TargetError::Conflict,
        401 | 403 => TargetError::CredentialsRefused { system, answer },
        404 if call.writes && misses_another(&answer) => TargetError::Refused { system, attempted, answer },
        404 => TargetError::NotFound { system, what: call.what.to_owned() },
        429 | 500..=599 => TargetError::Unavailable { system, answer, retry_after },
        _ => TargetError::Refused { system, attempted, answer },
    }
}

/// Whether a write fails for want of something that its spec names, as in `network x not found`.
fn misses_another(answer: &str) -> bool {
    let missing = answer.split(" not found").next().filter(|before| before.len() < answer.len());
    // The kind, then the name.
    let kind = missing.and_then(|before| before.rsplit(' ').nth(1));
    kind.is_some_and(|kind| kind != "service" && kind != "page")
}

/// What a registry said through the engine, in the engine's words. `None`: the answer was the engine's own.
///
/// Engines pass the registry's error code on in the text; the status beside it is the engine's guess.
pub(super) fn registry_answer(status: u16, message: &str) -> Option<RegistryAnswer> {
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if says(&["manifest unknown", "name unknown", "not found: does not exist"]) || status == 404 {
        Some(RegistryAnswer::NoSuchImage)
    } else if says(&[
        "unauthorized",
        "no basic auth credentials",
        "denied:",
        "incorrect username or password",
    ]) || matches!(status, 401 | 403)
    {
        Some(RegistryAnswer::CredentialsRefused)
    } else if status == 429 || status >= 500 {
        Some(RegistryAnswer::Unavailable)
    } else {
        None
    }
}

/// What a registry's answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RegistryAnswer {
    NoSuchImage,
    CredentialsRefused,
    Unavailable,
}

/// The `message` of an engine's error body, or the body as it is.
pub(super) fn message_of(body: &str) -> String {
    serde_json::from_str::<serde_json::Value>(body)
        .ok()
        .and_then(|body| body.get("message")?.as_str().map(str::to_owned))
        .unwrap_or_else(|| body.trim().to_owned())
}

pub(super) fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(LONGEST_ANSWER) {
        text.truncate(end);
        text.push('…');
    }
    text
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Failure {
        if let Some(message) = refusal(&error) {
            return Failure::Answered { status: 401, message, retry_after: None };
        }
        if error.is_timeout() && !error.is_connect() {
            Failure::TimedOut
        } else if error.is_connect() || error.is_builder() {
            Failure::NotConnected(error.without_url().into())
        } else {
            Failure::Broken(error.without_url().into())
        }
    }
}

impl From<bollard::errors::Error> for Failure {
    fn from(error: bollard::errors::Error) -> Failure {
        use bollard::errors::Error as E;
        // The library's enum is open to growth: what is not named broke somewhere on the way.
        #[allow(clippy::wildcard_enum_match_arm)]
        match error {
            E::DockerResponseServerError { status_code, message } => {
                // The library keeps no headers.
                Failure::Answered { status: status_code, message, retry_after: None }
            }
            E::RequestTimeoutError => Failure::TimedOut,
            E::JsonDataError { message, .. } => Failure::Nonsense(message),
            E::SocketNotFoundError(path) => {
                let error = std::io::Error::new(std::io::ErrorKind::NotFound, format!("no socket at {path}"));
                Failure::NotConnected(error.into())
            }
            E::HyperLegacyError { err } if refusal(&err).is_some() => {
                let message = refusal(&err).unwrap_or_default();
                Failure::Answered { status: 401, message, retry_after: None }
            }
            E::HyperLegacyError { err } if err.is_connect() => Failure::NotConnected(err.into()),
            other => Failure::Broken(other.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(writes: bool) -> Call<'static> {
        Call { system: "swarm", attempted: "update the service", writes, what: "service `web`" }
    }

    /// What a 20.10 engine answers to a write with a stale version.
    const OUT_OF_SEQUENCE: &str = r#"{"message":"rpc error: code = Unknown desc = update out of sequence"}"#;

    #[test]
    fn answers_are_told_apart_by_meaning() {
        let of = |status, body: &str| {
            Failure::Answered { status, message: message_of(body), retry_after: None }.of(call(true))
        };
        assert!(matches!(of(500, OUT_OF_SEQUENCE), TargetError::Conflict));
        let leaderless =
            r#"{"message":"rpc error: code = Unknown desc = The swarm does not have a leader."}"#;
        assert!(matches!(of(500, leaderless), TargetError::Unavailable { .. }));
        let no_swarm = r#"{"message":"This node is not a swarm manager."}"#;
        assert!(matches!(of(503, no_swarm), TargetError::Unavailable { .. }));
        assert!(matches!(of(404, r#"{"message":"service web not found"}"#), TargetError::NotFound { .. }));
        let foreign = r#"{"message":"network shop_gone not found"}"#;
        assert!(
            matches!(of(404, foreign), TargetError::Refused { answer, .. } if answer == "network shop_gone not found")
        );
        let deep = r#"{"message":"rpc error: code = NotFound desc = config x1 not found"}"#;
        assert!(matches!(of(404, deep), TargetError::Refused { .. }));
        let own = r#"{"message":"rpc error: code = NotFound desc = service network not found"}"#;
        assert!(matches!(of(404, own), TargetError::NotFound { .. }));
        assert!(matches!(of(403, "authorization denied by plugin"), TargetError::CredentialsRefused { .. }));
        assert!(
            matches!(of(400, r#"{"message":"bad spec"}"#), TargetError::Refused { answer, .. } if answer == "bad spec")
        );
    }

    #[test]
    fn only_a_write_without_an_answer_is_in_doubt() {
        let broken = || Failure::Broken("reset".into());
        assert!(matches!(broken().of(call(true)), TargetError::NoAnswer { .. }));
        assert!(matches!(broken().of(call(false)), TargetError::Unreachable { .. }));
        assert!(matches!(Failure::TimedOut.of(call(true)), TargetError::NoAnswer { .. }));
        assert!(matches!(Failure::TimedOut.of(call(false)), TargetError::Unreachable { .. }));
        let refused = Failure::NotConnected("refused".into());
        assert!(matches!(refused.of(call(true)), TargetError::Unreachable { .. }));
    }

    #[test]
    fn a_long_answer_is_cut_between_characters() {
        let long = cut("é".repeat(LONGEST_ANSWER + 3));
        assert_eq!(long.chars().count(), LONGEST_ANSWER + 1);
        assert_eq!(cut("short".into()), "short");
    }
}
