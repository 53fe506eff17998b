//! Sightings from the intake: what workers and others saw is matched like a push, and becomes jobs.

use std::{sync::Arc, time::Duration};

use proto::{Cause, CauseKind, NoSighting, Reason, reason};
use queue::{Delivery, QueueError, Settlement};
use tokio::time::sleep;

use crate::{
    accept::{Request, Taken},
    ingress::Ingress,
    route::Wish,
    source,
};

/// One after the other: the second of two looks at the same thing finds the job of the first.
const AT_ONCE: u16 = 1;
/// How long what was told before a sighting may take to be read.
const KNOWN_WITHIN: Duration = Duration::from_secs(10);
/// Pause before a sighting is looked at again that could not be dealt with.
const AGAIN_AFTER: Duration = Duration::from_secs(30);
/// How often a sighting is looked at that our own code fails at.
const MOST_ATTEMPTS: u32 = 5;
/// Pause before what waits for a worker to tell of its targets is matched again: a worker that is about to start is
/// not waited for long, and a system that is off costs little.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(5);
const ASK_SELDOM_AFTER: Duration = Duration::from_secs(600);
/// How often it is, of those how often soon: for a day.
const MOST_TELLINGS: u32 = SOON_AGAIN + 24 * 6;
const SOON_AGAIN: u32 = 24;
/// Pause before the intake is opened again after it failed.
const OPEN_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Takes in sightings until it is dropped.
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
    let how = match proto::Sighting::decode(delivery.body()) {
        Ok(sighting) => deploy(ingress, sighting, delivery.attempt()).await,
        Err(error) => Settlement::Dead { reason: undecodable(&error) },
    };
    if let Err(error) = delivery.settle(how).await {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, "a sighting could not be settled, it comes again");
    }
}

/// In few words and without any of its own: a message may hold anything, secrets too, and as much of it as the sender
/// liked.
fn undecodable(error: &NoSighting) -> Reason {
    let text = match error {
        NoSighting::Form(cause) if cause.is_data() => format!("{error}: it has not the fields of one"),
        NoSighting::Form(cause) => {
            format!("{error}: not JSON at line {}, column {}", cause.line(), cause.column())
        }
        NoSighting::Way(_) => error.to_string(),
    };
    tracing::warn!(why = text, "a message on the intake is laid among the dead letters");
    Reason::new(reason::UNDECODABLE, text)
        .hint("send {\"image\":\"registry.example.com/team/app:1.2\"}, and discard this one")
}

async fn deploy(ingress: &Arc<Ingress>, sighting: proto::Sighting, attempt: u32) -> Settlement {
    // The targets of whoever saw it were told before, and jobs that it may repeat.
    if let Err(error) = ingress.intake.chronicle().catch_up(KNOWN_WITHIN).await {
        tracing::debug!(error = &error as &dyn std::error::Error, "a sighting waits for the history");
        return Settlement::Snooze { after: AGAIN_AFTER };
    }
    let proto::Sighting { image, service, kind, source, delivery } = sighting;
    let told = image.familiar();
    let seen = source::Sighting { image, service, delivery };
    let settings = ingress.settings();
    let mut wishes = ingress.known.targets_under(&settings).wishes(std::slice::from_ref(&seen));
    if kind == CauseKind::Poll {
        wishes.retain(|wish| !is_old_news(ingress, wish));
    }
    if wishes.is_empty() && kind != CauseKind::Poll && ingress.known.untold(&settings).is_some() {
        return until_somebody_tells(attempt);
    }
    if wishes.is_empty() {
        tracing::info!(image = told, "seen, and nothing is to be deployed");
        return Settlement::Ack;
    }
    let cause = Cause { kind, source, by: None, delivery: None };
    match ingress.take(wishes, Request { cause, traceparent: None, whole: false }).await {
        Ok(Ok(taken)) => taken_in(&taken),
        Ok(Err(reused)) => {
            tracing::warn!(error = &reused as &dyn std::error::Error, "a sighting was not taken in");
            Settlement::Ack
        }
        Err(panic) => {
            tracing::error!(error = &panic as &dyn std::error::Error, "taking in a sighting failed");
            after_a_fault_of_ours(attempt)
        }
    }
}

/// A target that only workers can find may follow it, and none has told of them yet.
fn until_somebody_tells(attempt: u32) -> Settlement {
    if attempt < SOON_AGAIN {
        return Settlement::Retry { after: ASK_AGAIN_AFTER };
    }
    if attempt < MOST_TELLINGS {
        return Settlement::Retry { after: ASK_SELDOM_AFTER };
    }
    let reason = Reason::new(reason::NO_WORKER, "no worker told for a day which targets there are");
    Settlement::Dead { reason: reason.hint("start a worker, then deploy it with `longshore deploy`") }
}

/// Once more, but not for ever.
fn after_a_fault_of_ours(attempt: u32) -> Settlement {
    if attempt < MOST_ATTEMPTS {
        return Settlement::Retry { after: AGAIN_AFTER };
    }
    let reason = Reason::new(reason::INTERNAL, "the ingress failed at it each time");
    Settlement::Dead { reason: reason.hint("this is a fault of Longshore: please report it") }
}

/// A look at a registry sees the same thing again and again: what a push or a look brought to the target last is
/// no news, whatever became of it.
fn is_old_news(ingress: &Ingress, wish: &Wish) -> bool {
    let Some(image) = wish.operation.image() else { return false };
    let last = ingress.view.last_push(&wish.target.name, image);
    last.is_some_and(|last| last.same_content(image))
}

fn taken_in(taken: &Taken) -> Settlement {
    for job in &taken.jobs {
        let image = job.operation.image().map(proto::ImageRef::familiar);
        tracing::info!(job = %job.id, target = %job.target, source = job.cause.source, image, "accepted");
    }
    for (target, error) in &taken.refused {
        tracing::warn!(%target, error = error as &dyn std::error::Error, "a sighting made no job");
    }
    // A pool that nobody ever served is waited for by people, as with a push.
    let waits = |error: &QueueError| !matches!(error, QueueError::NoPool(_));
    match taken.refused.iter().any(|(_, error)| waits(error)) {
        true => Settlement::Snooze { after: AGAIN_AFTER },
        false => Settlement::Ack,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_a_message_is_short_and_none_of_it() {
        let secret = "hunter2 ".repeat(40_000);
        for body in [
            secret.clone(),
            format!("\"{secret}\""),
            format!("{{\"image\":\"{secret}\"}}"),
            format!("{{\"image\":\"acme/web:1\",\"{secret}\":1}}"),
            format!("{{\"image\":\"acme/web:1\",\"kind\":\"{secret}\"}}"),
        ] {
            let told = undecodable(&proto::Sighting::decode(body.as_bytes()).unwrap_err()).text;
            assert!(told.len() < 200 && !told.contains("hunter2"), "{told:.300}");
        }
    }

    #[test]
    fn what_nobody_tells_of_is_kept_for_a_day_and_then_laid_aside() {
        assert!(matches!(until_somebody_tells(MOST_TELLINGS - 1), Settlement::Retry { .. }));
        assert!(matches!(until_somebody_tells(MOST_TELLINGS), Settlement::Dead { .. }));
        let seldom = until_somebody_tells(SOON_AGAIN);
        assert_eq!(seldom, Settlement::Retry { after: ASK_SELDOM_AFTER });
    }

    #[test]
    fn what_we_fail_at_is_given_up_in_the_end() {
        assert_eq!(after_a_fault_of_ours(MOST_ATTEMPTS - 1), Settlement::Retry { after: AGAIN_AFTER });
        assert!(matches!(after_a_fault_of_ours(MOST_ATTEMPTS), Settlement::Dead { .. }));
    }
}
