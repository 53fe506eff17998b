//! What follows from an error: the one place where retry is decided.

use std::time::Duration;

use proto::{Reason, State, reason};

use crate::{
    conclusion::{Attempt, Conclusion, fresh},
    execute::{BUSY_PAUSE, end},
    schedule::{MOST_ATTEMPTS, NoMore, if_it_may, left_until, pause_after},
    target::TargetError,
};

/// Pause before a system that has as much to do as it may is asked again.
const SYSTEM_BUSY_PAUSE: Duration = Duration::from_secs(5);

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
        // No outage: the same certificate is shown the next time.
        TargetError::Untrusted { .. } => give_up(
            State::Dead,
            Reason::new(reason::UNTRUSTED, text).hint(
                "give the system's certificate, or that of the authority behind it, as `ca_file` in the worker's \
                 configuration (of Rancher its digest will do, as `ca_sha256`; in a kubeconfig it is the \
                 `certificate-authority`), then deploy again",
            ),
        ),
        TargetError::NoAnswer { .. } => retry(reason::UNREACHABLE, None),
        TargetError::GivenUp { .. } => give_up(
            State::Dead,
            Reason::new(reason::UNREACHABLE, text).hint(
                "start the system, or mend its address in the worker's configuration, then deploy again",
            ),
        ),
        TargetError::Unavailable { retry_after, .. } => retry(reason::UNAVAILABLE, *retry_after),
        TargetError::BadAnswer { .. } => retry(reason::UNAVAILABLE, None),
        TargetError::Busy { .. } => {
            Verdict::Snooze { reason: Reason::new(reason::SYSTEM_BUSY, text), after: SYSTEM_BUSY_PAUSE }
        }
        TargetError::Conflict => Verdict::DecideAnew,
        TargetError::CredentialsRefused { .. } => give_up(
            State::Dead,
            Reason::new(reason::CREDENTIALS_REFUSED, text)
                .hint(
                "mend the credentials in the worker's configuration or in the file it names, let the worker read it again \
                 (SIGHUP, or a restart), then deploy again",
            ),
        ),
        TargetError::NotFound { .. } => give_up(
            State::Failed,
            Reason::new(reason::NOT_FOUND, text).hint(
                "create it, or mend the target's name in the worker's configuration, then deploy again",
            ),
        ),
        TargetError::NoPart { .. } => give_up(
            State::Failed,
            Reason::new(reason::NOT_FOUND, text)
                .hint("name one of those that are there, as with `--service`, then deploy again"),
        ),
        TargetError::ImageNotFound { .. } => give_up(
            State::Failed,
            Reason::new(reason::IMAGE_NOT_FOUND, text)
                .hint("push the image, or check its name and the registry's credentials, then deploy again"),
        ),
        TargetError::Refused { .. } | TargetError::OtherServer { .. } => give_up(State::Failed, Reason::new(reason::REFUSED, text)),
        TargetError::Rewritten { .. } => give_up(
            State::Failed,
            Reason::new(reason::REWRITTEN, text).hint(
                "name the image as it is stored, or have what rewrites it (an admission webhook) leave it as it is, then \
                 deploy again",
            ),
        ),
        TargetError::Declined { .. } => give_up(State::Rejected, Reason::new(reason::REFUSED, text)),
    }
}

/// What an error comes to, the number of attempts and the deadline considered.
pub(crate) fn conclude_error(attempt: &Attempt, error: &TargetError) -> Conclusion {
    let left = left_until(attempt.job.deadline);
    match verdict(error) {
        // Rejected is what was refused before anything was touched.
        Verdict::GiveUp { state: State::Rejected, reason } if attempt.has_touched() => {
            end(State::Failed, reason)
        }
        Verdict::GiveUp { state, reason } => end(state, reason),
        Verdict::Snooze { reason, after } => Conclusion::Again { after, counted: false, reason },
        Verdict::DecideAnew => {
            let reason = Reason::new(reason::CHANGED_ELSEWHERE, chain(error));
            again(attempt, reason, if_it_may(attempt.number, BUSY_PAUSE, left))
        }
        Verdict::Retry { reason, after } => again_later(attempt, reason, after),
    }
}

/// Again by the schedule, and the attempt counts; `asked` is the pause that the system asked for.
pub(crate) fn again_later(attempt: &Attempt, reason: Reason, asked: Option<Duration>) -> Conclusion {
    let left = left_until(attempt.job.deadline);
    again(attempt, reason, pause_after(attempt.number, asked, chance(), left))
}

/// Again after the pause, and the attempt counts; without one, the job is dead.
fn again(attempt: &Attempt, reason: Reason, pause: Result<Duration, NoMore>) -> Conclusion {
    let Attempt { job, number, .. } = attempt;
    let why = match pause {
        Ok(after) => {
            let text = format!("{}; {}", reason.text, what_follows(attempt, after));
            return Conclusion::Again { after, counted: true, reason: Reason { text, ..reason } };
        }
        Err(NoMore::Attempts) => format!("given up after {number} attempts"),
        Err(NoMore::Deadline) => {
            format!("given up after attempt {number}, its deadline comes before the next")
        }
    };
    let text = format!("{why}: {}", reason.text);
    let hint = reason.hint.unwrap_or_else(|| format!("mend the cause, then deploy `{}` again", job.target));
    end(State::Dead, Reason { text, hint: Some(hint), ..reason })
}

/// When it is tried again, and for how long.
fn what_follows(attempt: &Attempt, after: Duration) -> String {
    let Attempt { job, number, .. } = attempt;
    let pause = config::Span(whole_seconds(after));
    // An hour's deadline is told to the second.
    let until = job.deadline.round(jiff::Unit::Second).unwrap_or(job.deadline);
    format!("attempt {number} of {MOST_ATTEMPTS}, the next in {pause}, and none after {until}")
}

/// As many whole seconds as it takes.
fn whole_seconds(span: Duration) -> Duration {
    Duration::from_secs(span.as_secs() + u64::from(span.subsec_nanos() > 0))
}

/// A number in 0..1 for jitter; it need not be a good one.
pub(crate) fn chance() -> f64 {
    f64::from(u32::try_from(fresh() & 0xffff_ffff).unwrap_or(0)) / f64::from(u32::MAX)
}

/// What went wrong at a system without its address, for those who need not know where it is: what it is, and of what kind
/// the cause was.
pub(crate) fn without_address(error: &TargetError) -> String {
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        if let Some(io) = next.downcast_ref::<std::io::Error>() {
            let is_missing = io.kind() == std::io::ErrorKind::NotFound;
            let kind = if is_missing { "there is no such socket".to_owned() } else { io.kind().to_string() };
            return format!("{error}: {kind}");
        }
        cause = next.source();
    }
    error.to_string()
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

    const HOUR: Duration = Duration::from_secs(3600);

    fn unavailable(retry_after: Option<Duration>) -> TargetError {
        TargetError::Unavailable { system: system(), answer: "no".into(), retry_after }
    }

    /// The `number`th attempt at a job that has so much time left.
    fn attempt(number: u32, left: Duration) -> Attempt {
        let mut job = crate::testing::job(1, "a:1");
        job.deadline = proto::Timestamp::now() + left;
        Attempt::new(job, number, false)
    }

    fn dead(conclusion: Conclusion) -> Reason {
        let Conclusion::End(telling) = conclusion else { panic!("comes again: {conclusion:?}") };
        assert_eq!(telling.state, State::Dead);
        telling.reason.unwrap()
    }

    #[test]
    fn what_comes_again_says_when_and_until_when() {
        let attempt = attempt(2, HOUR);
        let conclusion = conclude_error(&attempt, &unavailable(None));
        let Conclusion::Again { after, reason, .. } = conclusion else { panic!("{conclusion:?}") };
        let (seconds, until) = (whole_seconds(after).as_secs(), attempt.job.deadline.as_second());
        assert!(reason.text.contains(&format!("; attempt 2 of 12, the next in {seconds}s, and none after ")));
        let told: proto::Timestamp = reason.text.rsplit(' ').next().unwrap().parse().unwrap();
        assert!((told.as_second() - until).abs() <= 1 && told.subsec_nanosecond() == 0, "{}", reason.text);
    }

    fn comes_again(conclusion: Conclusion) -> Duration {
        let Conclusion::Again { after, counted: true, .. } = conclusion else { panic!("{conclusion:?}") };
        after
    }

    #[test]
    fn whatever_counts_ends_with_the_last_attempt_and_before_the_deadline() {
        let internal = Reason::new(reason::INTERNAL, "the worker failed at it");
        let all_ways = |attempt: Attempt| {
            [
                (reason::UNAVAILABLE, conclude_error(&attempt, &unavailable(None))),
                (reason::CHANGED_ELSEWHERE, conclude_error(&attempt, &TargetError::Conflict)),
                (reason::INTERNAL, again_later(&attempt, internal.clone(), None)),
            ]
        };
        for (code, conclusion) in all_ways(attempt(11, HOUR)) {
            assert!(comes_again(conclusion) <= Duration::from_secs(600), "{code}");
        }
        for (code, conclusion) in all_ways(attempt(12, HOUR)) {
            let reason = dead(conclusion);
            assert_eq!(reason.code, code);
            assert!(reason.text.starts_with("given up after 12 attempts: "), "{}", reason.text);
        }
        for (code, conclusion) in all_ways(attempt(1, Duration::from_secs(1))) {
            let reason = dead(conclusion);
            assert_eq!(reason.code, code);
            assert!(reason.text.contains("its deadline comes before the next"), "{}", reason.text);
        }
    }

    #[test]
    fn a_system_is_not_asked_again_before_the_time_it_names() {
        let asked = Duration::from_secs(1000);
        assert_eq!(comes_again(conclude_error(&attempt(1, HOUR), &unavailable(Some(asked)))), asked);
        let short = Some(Duration::from_secs(1));
        let pause = comes_again(conclude_error(&attempt(2, HOUR), &unavailable(short)));
        assert!(pause >= Duration::from_secs(24) && pause <= Duration::from_secs(30), "{pause:?}");
        dead(conclude_error(&attempt(1, HOUR), &unavailable(Some(Duration::MAX))));
    }

    #[test]
    fn what_is_refused_once_something_may_have_been_written_is_not_rejected() {
        let declined = TargetError::Declined { system: system(), attempted: "update", why: "no".into() };
        let state = |attempt: &Attempt| {
            let conclusion = conclude_error(attempt, &declined);
            let Conclusion::End(telling) = conclusion else { panic!("comes again: {conclusion:?}") };
            telling.state
        };
        let attempt = attempt(1, HOUR);
        assert_eq!(state(&attempt), State::Rejected);
        attempt.note_touched();
        assert_eq!(state(&attempt), State::Failed);
    }

    fn system() -> String {
        "swarm".to_owned()
    }

    #[test]
    fn every_error_has_its_verdict() {
        let answer = || "no".to_owned();
        let table: [(TargetError, &str); 15] = [
            (
                TargetError::Untrusted { system: system(), why: answer() },
                "dead certificate-untrusted: the certificate of swarm is not trusted: no",
            ),
            (
                TargetError::Unreachable { system: system(), source: "refused".into() },
                "retry unreachable: cannot reach swarm: refused",
            ),
            (
                TargetError::GivenUp { system: system(), why: answer() },
                "dead unreachable: cannot reach swarm: no",
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
                TargetError::NoPart { system: system(), what: "service web; it has `api`".into() },
                "failed not-found: swarm has no service web; it has `api`",
            ),
            (
                TargetError::ImageNotFound { image: "a:1".parse().unwrap(), answer: answer() },
                "failed image-not-found: the registry has no docker.io/library/a:1: no",
            ),
            (
                TargetError::Refused { system: system(), attempted: "update", answer: answer() },
                "failed refused: swarm refuses to update: no",
            ),
            (
                TargetError::Rewritten { system: system(), wanted: "a:1".into(), stored: "b:1".into() },
                "failed image-rewritten: `a:1` was written, and something in swarm put `b:1` in its place: that rolls out \
                 now, and was not watched",
            ),
            (
                TargetError::Declined { system: system(), attempted: "update", why: answer() },
                "rejected refused: Longshore refuses to update on swarm: no",
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
