//! What comes in over the broker: wishes of CI, images that others saw, events.
//!
//! Whoever may write to the intake may send anything. The broker attests who sent a message, the configuration says
//! what they may ask for; what cannot be used is laid among the dead letters with the reason, and never comes again.

mod form;
mod sightings;
mod wishes;

use std::{sync::Arc, time::Duration};

use proto::{Reason, reason};
use queue::{Delivery, Envelope, Settlement};
use tokio::time::sleep;

use self::form::Form;
use crate::{
    audit::Refusal,
    ingress::Ingress,
    problem::{Kind, Problem},
};

/// One after the other: the second of two looks at the same thing finds the job of the first.
const AT_ONCE: u16 = 1;
/// How long what was told before a message may take to be read.
const KNOWN_WITHIN: Duration = Duration::from_secs(10);
/// Pause before a message is looked at again that could not be dealt with.
const AGAIN_AFTER: Duration = Duration::from_secs(30);
/// How often a message is looked at that our own code fails at.
const MOST_ATTEMPTS: u32 = 5;
/// Pause before what waits for a worker is tried again: a worker that is about to start is not waited for long, and a
/// system that is off costs little.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(5);
const ASK_SELDOM_AFTER: Duration = Duration::from_secs(600);
/// How often it is, of those how often soon: for a day.
const MOST_TELLINGS: u32 = SOON_AGAIN + 24 * 6;
const SOON_AGAIN: u32 = 24;
/// So much of its sender's name for a message stands in the log.
const LONGEST_ID: usize = 64;
/// Pause before the intake is opened again after it failed.
const OPEN_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What died of something else than its form.
const CODES: [(Kind, &str); 4] = [
    (Kind::UnknownTarget, reason::UNKNOWN_TARGET),
    (Kind::KeyReused, reason::KEY_REUSED),
    (Kind::NoWorker, reason::NO_WORKER),
    (Kind::Internal, reason::INTERNAL),
];
/// How to mend what is mended otherwise than over HTTP.
const HINTS: [(Kind, &str); 6] = [
    (Kind::NotJson, SEND),
    (Kind::BadImage, SEND),
    (
        Kind::UnknownTarget,
        "`longshore targets` lists the targets; send it again with one of them, and discard this one",
    ),
    (Kind::KeyReused, "give each message an id of its own, and the same only where it is sent again"),
    (Kind::NoWorker, "start a worker whose configuration has a system in this pool, and send it again"),
    (Kind::TooLarge, "send at most 1 MiB; an image needs a line"),
];
const SEND: &str = "send {\"target\":\"web\",\"image\":\"registry.example.com/team/app:1.2\"}, or {\"image\":…} for whoever follows it; \
                    this one can be discarded";

/// Takes in what comes until it is dropped.
pub(crate) async fn take_in(ingress: &Arc<Ingress>) {
    loop {
        match ingress.queue.intake(AT_ONCE).await {
            Ok(mut submissions) => {
                while let Ok(delivery) = submissions.next().await {
                    settle(ingress, delivery).await;
                }
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, "the intake cannot be read, trying again");
            }
        }
        sleep(OPEN_AGAIN_AFTER).await;
    }
}

async fn settle(ingress: &Arc<Ingress>, delivery: Delivery) {
    let how = match form::read(delivery.body(), delivery.envelope()) {
        Ok(Form::Wishes(asked)) => wishes::take_in(ingress, asked, &delivery).await,
        Ok(Form::Sightings(seen)) => sightings::take_in(ingress, seen, &delivery).await,
        Ok(Form::Ignored(why)) => {
            tracing::info!(by = sender(delivery.envelope()), why, "a message on the intake deploys nothing");
            Settlement::Ack
        }
        Err(problem) => laid_aside(ingress, delivery.envelope(), &problem),
    };
    if let Settlement::Dead { reason } = &how {
        tell(ingress, delivery.envelope(), reason);
    }
    if let Err(error) = delivery.settle(how).await {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, "a message on the intake could not be settled, it comes again");
    }
}

/// What cannot be used as it is goes to the dead letters. The log is told neither of its words: a message may hold
/// anything, secrets too; the letter, which holds it whole, says what is wrong with it.
fn laid_aside(ingress: &Ingress, envelope: &Envelope, problem: &Problem) -> Settlement {
    ingress.counters.refused(problem.kind());
    note_refusal(ingress, envelope, problem.kind());
    let known = CODES.iter().find(|(kind, _)| *kind == problem.kind());
    let code = known.map_or(reason::UNDECODABLE, |(_, code)| *code);
    // Hints are written for callers over HTTP.
    let own = HINTS.iter().find(|(kind, _)| *kind == problem.kind());
    let hint = own.map_or(problem.hinted(), |(_, hint)| *hint);
    dead(envelope, Reason::new(code, problem.detail()).hint(hint))
}

/// Whoever is refused here is counted and told where those are who are refused over HTTP.
fn note_refusal(ingress: &Ingress, envelope: &Envelope, kind: Kind) {
    if kind.is_refusal() {
        let by = envelope.user.as_ref().map(|user| format!("amqp:{user:.100}"));
        let refusal = Refusal { kind, peer: None, by: by.as_deref(), method: "AMQP", path: "intake" };
        ingress.audit.note(&refusal);
    }
}

/// Refused for who sent it.
fn not_allowed(ingress: &Ingress, envelope: &Envelope, reason: Reason) -> Settlement {
    note_refusal(ingress, envelope, Kind::NotAllowed);
    dead(envelope, reason)
}

/// Dead, with who sent it behind the reason.
fn dead(envelope: &Envelope, mut reason: Reason) -> Settlement {
    reason.text = match sender(envelope) {
        Some(user) => format!("{}; sent by `{user:.100}`", reason.text),
        None => format!("{}; its sender did not give a user id", reason.text),
    };
    Settlement::Dead { reason }
}

/// Tells the log of a message that is laid aside, within a bound: anybody may send any number.
fn tell(ingress: &Ingress, envelope: &Envelope, reason: &Reason) {
    let by = sender(envelope);
    if ingress.audit.is_told("intake", by) {
        let id = envelope.id.as_deref().map(|id| id.chars().take(LONGEST_ID).collect::<String>());
        tracing::warn!(by, why = %reason.code, id, "a message on the intake is laid among the dead letters");
    }
}

/// Who sent it, as far as a person is told: none of our own processes, and nobody unattested.
fn sender(envelope: &Envelope) -> Option<&str> {
    envelope.user.as_deref()
}

/// Once more, but not for ever.
fn after_a_fault_of_ours(envelope: &Envelope, attempt: u32) -> Settlement {
    if attempt < MOST_ATTEMPTS {
        return Settlement::Retry { after: AGAIN_AFTER };
    }
    let reason = Reason::new(reason::INTERNAL, "the ingress failed at it each time");
    dead(envelope, reason.hint("this is a fault of Longshore: please report it"))
}

/// A worker has to come first: soon at first, then seldom, for a day; then `otherwise`.
fn until_a_worker_comes(attempt: u32, otherwise: impl FnOnce() -> Settlement) -> Settlement {
    match attempt {
        0..SOON_AGAIN => Settlement::Retry { after: ASK_AGAIN_AFTER },
        SOON_AGAIN..MOST_TELLINGS => Settlement::Retry { after: ASK_SELDOM_AFTER },
        MOST_TELLINGS.. => otherwise(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_worker_is_kept_for_a_day() {
        let end = || Settlement::Ack;
        assert_eq!(until_a_worker_comes(1, end), Settlement::Retry { after: ASK_AGAIN_AFTER });
        assert_eq!(until_a_worker_comes(SOON_AGAIN, end), Settlement::Retry { after: ASK_SELDOM_AFTER });
        assert!(matches!(until_a_worker_comes(MOST_TELLINGS - 1, end), Settlement::Retry { .. }));
        assert_eq!(until_a_worker_comes(MOST_TELLINGS, end), Settlement::Ack);
    }

    #[test]
    fn what_we_fail_at_is_given_up_in_the_end() {
        let envelope = Envelope::default();
        assert_eq!(
            after_a_fault_of_ours(&envelope, MOST_ATTEMPTS - 1),
            Settlement::Retry { after: AGAIN_AFTER }
        );
        assert!(matches!(after_a_fault_of_ours(&envelope, MOST_ATTEMPTS), Settlement::Dead { .. }));
    }

    #[test]
    fn a_letter_says_who_sent_what_is_in_it() {
        let why = |user: Option<&str>| {
            let envelope = Envelope { user: user.map(str::to_owned), ..Envelope::default() };
            let settled = dead(&envelope, Reason::new(reason::UNDECODABLE, "no"));
            let Settlement::Dead { reason } = settled else { panic!("{settled:?}") };
            reason.text
        };
        assert_eq!(why(Some("ci")), "no; sent by `ci`");
        assert_eq!(why(None), "no; its sender did not give a user id");
    }
}
