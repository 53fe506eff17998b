//! What follows from an error: the one place where retry is decided.

use std::time::Duration;

use proto::{Reason, State, reason};

use crate::target::TargetError;

/// Pause before a system that has as much to do as it may is asked again.
const BUSY_PAUSE: Duration = Duration::from_secs(5);

/// What a worker decided about one attempt that did not reach an end of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Again later, and the attempt counts; after the last, the job is dead.
    Retry {
        /// Why.
        reason: Reason,
        /// When the system asked for a pause of its own.
        after: Option<Duration>,
    },
    /// Again later, and the attempt does not count.
    Snooze {
        /// Why.
        reason: Reason,
        /// How much later.
        after: Duration,
    },
    /// Read the target and decide anew, now.
    DecideAnew,
    /// Never again.
    GiveUp {
        /// The end it comes to.
        state: State,
        /// Why.
        reason: Reason,
    },
}

/// Decides what follows from an error of a target. Every variant is named: a new one does not compile until
/// somebody decides.
pub(crate) fn verdict(error: &TargetError) -> Verdict {
    let text = chain(error);
    let retry = |code, after| Verdict::Retry { reason: Reason::new(code, text.clone()), after };
    let give_up = |state, reason| Verdict::GiveUp { state, reason };
    match error {
        TargetError::Unreachable { .. } => retry(reason::UNREACHABLE, None),
        TargetError::NoAnswer { .. } => retry(reason::UNREACHABLE, None),
        TargetError::Unavailable { retry_after, .. } => retry(reason::UNAVAILABLE, *retry_after),
        TargetError::BadAnswer { .. } => retry(reason::UNAVAILABLE, None),
        TargetError::Busy { .. } => {
            Verdict::Snooze { reason: Reason::new(reason::SYSTEM_BUSY, text), after: BUSY_PAUSE }
        }
        TargetError::Conflict => Verdict::DecideAnew,
        TargetError::CredentialsRefused { .. } => give_up(
            State::Dead,
            Reason::new(reason::CREDENTIALS_REFUSED, text)
                .hint("mend the credentials in the worker's configuration, then deploy again"),
        ),
        TargetError::NotFound { .. } => give_up(
            State::Failed,
            Reason::new(reason::NOT_FOUND, text).hint(
                "create it, or mend the target's name in the worker's configuration, then deploy again",
            ),
        ),
        TargetError::ImageNotFound { .. } => give_up(
            State::Failed,
            Reason::new(reason::IMAGE_NOT_FOUND, text)
                .hint("push the image, or check its name and the registry's credentials, then deploy again"),
        ),
        TargetError::Refused { .. } => give_up(State::Failed, Reason::new(reason::REFUSED, text)),
    }
}

/// An error with all its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Many libraries repeat their cause in their own message.
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system() -> String {
        "swarm".to_owned()
    }

    #[test]
    fn every_error_has_its_verdict() {
        let answer = || "no".to_owned();
        let table: [(TargetError, &str); 10] = [
            (
                TargetError::Unreachable { system: system(), source: "refused".into() },
                "retry unreachable: cannot reach swarm: refused",
            ),
            (
                TargetError::NoAnswer { system: system(), attempted: "update" },
                "retry unreachable: swarm did not answer when asked to update",
            ),
            (
                TargetError::Unavailable { system: system(), answer: answer(), retry_after: None },
                "retry unavailable: swarm cannot serve now: no",
            ),
            (
                TargetError::BadAnswer { system: system(), attempted: "read", answer: "<html>".into() },
                "retry unavailable: cannot understand the answer of swarm when asked to read: <html>",
            ),
            (TargetError::Busy { system: system() }, "snooze system-busy: swarm is busy with other jobs"),
            (TargetError::Conflict, "decide anew"),
            (
                TargetError::CredentialsRefused { system: system(), answer: answer() },
                "dead credentials-refused: swarm refuses the credentials: no",
            ),
            (
                TargetError::NotFound { system: system(), what: "service web".into() },
                "failed not-found: swarm has no service web",
            ),
            (
                TargetError::ImageNotFound { image: "a:1".parse().unwrap(), answer: answer() },
                "failed image-not-found: the registry has no docker.io/library/a:1: no",
            ),
            (
                TargetError::Refused { system: system(), attempted: "update", answer: answer() },
                "failed refused: swarm refuses to update: no",
            ),
        ];
        for (error, expected) in table {
            let shown = match verdict(&error) {
                Verdict::Retry { reason, .. } => format!("retry {}: {}", reason.code, reason.text),
                Verdict::Snooze { reason, .. } => format!("snooze {}: {}", reason.code, reason.text),
                Verdict::DecideAnew => "decide anew".to_owned(),
                Verdict::GiveUp { state, reason } => format!("{state} {}: {}", reason.code, reason.text),
            };
            assert_eq!(shown, expected);
        }
    }
}
