//! Images that workers and others saw: matched like a push, and made jobs.

use std::sync::Arc;

use proto::{Cause, CauseKind, JobId, Reason, TargetName, Timestamp, reason};
use queue::{Delivery, Envelope, QueueError, Settlement};

use super::{
    AGAIN_AFTER, KNOWN_WITHIN, after_a_fault_of_ours, dead,
    form::{Claim, Seen},
    until_a_worker_comes,
};
use crate::{
    accept::{Request, Taken},
    ingress::Ingress,
    kept::Push,
    route::{Wish, nothing_follows},
    timeline::{self, TimelineError},
};

/// Makes jobs for whatever follows the images.
pub(super) async fn take_in(ingress: &Arc<Ingress>, seen: Seen, delivery: &Delivery) -> Settlement {
    let (envelope, attempt) = (delivery.envelope(), delivery.attempt());
    // The targets of whoever saw it were told before, and jobs that it may repeat.
    if let Err(error) = ingress.intake.chronicle().catch_up(KNOWN_WITHIN).await {
        tracing::debug!(error = &error as &dyn std::error::Error, "a sighting waits for the history");
        return Settlement::Snooze { after: AGAIN_AFTER };
    }
    let Seen { sightings, claim } = seen;
    let polled = claim.as_ref().filter(|claim| claim.kind == CauseKind::Poll);
    let (polled, elsewhere_at) = (polled.is_some(), polled.and_then(|claim| claim.elsewhere_at));
    let (wished, mut served) = waited(claim.as_ref(), envelope);
    let settings = ingress.settings();
    let mut wishes = ingress.known.targets_under(&settings).wishes(&sightings);
    wishes.retain(|wish| !served.contains(&wish.target.name));
    let untold = !polled && ingress.known.untold(&settings).is_some();
    if polled {
        wishes = match news(ingress, wishes, elsewhere_at).await {
            Ok(news) => news,
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "a sighting waits for the history");
                return Settlement::Snooze { after: AGAIN_AFTER };
            }
        };
    }
    if wishes.is_empty() && untold && wished.is_some() {
        return until_somebody_tells(envelope, attempt, &served);
    }
    if wishes.is_empty() && !untold {
        let why = nothing_follows(&sightings);
        tracing::info!(by = envelope.user, why, "seen, and nothing is to be deployed");
        return Settlement::Ack;
    }
    let cause = cause(claim, envelope);
    let rest = untold.then(|| (wished.unwrap_or_else(|| ingress.wished_now()), cause.clone()));
    served.extend(wishes.iter().map(|wish| wish.target.name.clone()));
    let request = Request { cause, traceparent: None, whole: false };
    let taken = match wished {
        Some(wished) => ingress.take_kept(wishes, request, wished).await,
        None => ingress.take(wishes, request).await,
    };
    match taken {
        Ok(Ok(taken)) => match (settled(&taken), rest) {
            (Settlement::Ack, Some((wished, cause))) => {
                let push = Push {
                    sightings: &sightings,
                    kind: cause.kind,
                    source: cause.source.as_deref(),
                    by: cause.by.as_deref(),
                    wished,
                    served,
                };
                left_to_wait(ingress, &push).await
            }
            (settlement, _) => settlement,
        },
        Ok(Err(reused)) => {
            tracing::warn!(error = &reused as &dyn std::error::Error, "a sighting was not taken in");
            Settlement::Ack
        }
        Err(panic) => {
            tracing::error!(error = &panic as &dyn std::error::Error, "taking in a sighting failed");
            after_a_fault_of_ours(envelope, attempt)
        }
    }
}

/// Where a push waited before: the id that a job of it had when it came, and the targets that had theirs already.
fn waited(claim: Option<&Claim>, envelope: &Envelope) -> (Option<JobId>, Vec<TargetName>) {
    let claim = claim.filter(|_| envelope.is_own);
    claim.map_or_else(Default::default, |claim| (claim.wished, claim.served.clone()))
}

/// Targets that nobody has told of yet may follow it as well.
async fn left_to_wait(ingress: &Ingress, push: &Push<'_>) -> Settlement {
    match ingress.keep(push).await {
        Ok(()) => Settlement::Ack,
        Err(error) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "a sighting waits for the queue");
            Settlement::Snooze { after: AGAIN_AFTER }
        }
    }
}

/// How it was seen is believed of those whom the broker attests, whose name stands beside it; of ours, the name of
/// whoever told them.
fn cause(claim: Option<Claim>, envelope: &Envelope) -> Cause {
    let believed = envelope.is_own || envelope.user.is_some();
    let claim = claim.filter(|_| believed).unwrap_or_else(|| Claim::of(CauseKind::Amqp));
    let is_ours = envelope.is_own && (claim.kind != CauseKind::Amqp || claim.wished.is_some());
    let by = if is_ours { claim.by } else { envelope.user.clone() };
    Cause { kind: claim.kind, source: claim.source, by, delivery: None }
}

/// A target that only workers can find may follow it, and none has told of them yet.
fn until_somebody_tells(envelope: &Envelope, attempt: u32, served: &[TargetName]) -> Settlement {
    until_a_worker_comes(attempt, || {
        // Whoever follows it as far as is known has had it.
        if !served.is_empty() {
            return Settlement::Ack;
        }
        let reason = Reason::new(reason::NO_WORKER, "no worker told for a day which targets there are");
        dead(envelope, reason.hint("start a worker, then deploy it with `longshore deploy`"))
    })
}

/// A look at a registry sees the same thing again and again: what the target had is no news, whatever became of it.
///
/// The view knows of the last day or so. Where that says nothing, all that is kept is asked: what was rolled back the week
/// before is not to come back because somebody starts the server anew.
async fn news(
    ingress: &Ingress,
    wishes: Vec<Wish>,
    elsewhere_at: Option<Timestamp>,
) -> Result<Vec<Wish>, TimelineError> {
    let (now, mut news) = (Timestamp::now(), Vec::new());
    for wish in wishes {
        let Some(image) = wish.operation.image() else { continue };
        let target = &wish.target.name;
        let known = match ingress.view.knows_of(target, image, (elsewhere_at, now)) {
            Some(known) => known,
            None => {
                let since = elsewhere_at.unwrap_or(Timestamp::UNIX_EPOCH);
                let all = timeline::of_target(&ingress.queue, &ingress.view, target, since).await?;
                all.knows_of(target, image, (elsewhere_at, now)).unwrap_or(false)
            }
        };
        if known {
            tracing::debug!(%target, image = image.familiar(), "seen, and it had that before");
        } else {
            news.push(wish);
        }
    }
    Ok(news)
}

fn settled(taken: &Taken) -> Settlement {
    for job in &taken.jobs {
        let image = job.operation.image().map(proto::ImageRef::familiar);
        tracing::info!(job = %job.id, target = %job.target, source = job.cause.source, by = job.cause.by, image, "accepted");
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
    fn how_an_image_was_seen_is_believed_of_those_who_are_attested() {
        let told = |user: Option<&str>, is_own: bool| {
            let envelope = Envelope { user: user.map(str::to_owned), is_own, ..Envelope::default() };
            let claim = Claim { source: Some("look".to_owned()), ..Claim::of(CauseKind::Poll) };
            let cause = cause(Some(claim), &envelope);
            (cause.kind, cause.source.is_some(), cause.by)
        };
        assert_eq!(told(Some("longshore"), true), (CauseKind::Poll, true, None));
        assert_eq!(told(None, true), (CauseKind::Poll, true, None));
        assert_eq!(told(Some("worker"), false), (CauseKind::Poll, true, Some("worker".to_owned())));
        assert_eq!(told(None, false), (CauseKind::Amqp, false, None));
    }

    #[test]
    fn who_pushed_is_believed_of_our_own_processes_alone() {
        let told = |user: Option<&str>, is_own: bool| {
            let envelope = Envelope { user: user.map(str::to_owned), is_own, ..Envelope::default() };
            let (source, by) = (Some("hub".to_owned()), Some("token:ci".to_owned()));
            cause(Some(Claim { source, by, ..Claim::of(CauseKind::Hook) }), &envelope).by
        };
        assert_eq!(told(Some("longshore"), true).as_deref(), Some("token:ci"));
        assert_eq!(told(Some("evil"), false).as_deref(), Some("evil"));
        assert_eq!(told(None, false), None);
    }
}
