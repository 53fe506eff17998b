//! Wishes of those whom the broker attests, as far as the configuration lets them.

use std::sync::Arc;

use proto::{Cause, CauseKind, Reason, reason};
use queue::{Delivery, Envelope, QueueError, Settlement};

use super::{
    AGAIN_AFTER, KNOWN_WITHIN, after_a_fault_of_ours, form::Asked, laid_aside, not_allowed,
    until_a_worker_comes,
};
use crate::{
    accept::{Request, Taken},
    access::{
        needs::{Need, needs},
        scope::Scope,
    },
    http::{MOST_WISHES, traceparent_in, whole_wish, with_images},
    ingress::Ingress,
    problem::{Kind, Problem},
    route::{Targets, Wish},
    settings::Settings,
};

/// Makes jobs of the wishes of one message: of all, or of none.
pub(super) async fn take_in(ingress: &Arc<Ingress>, asked: Vec<Asked>, delivery: &Delivery) -> Settlement {
    let (envelope, attempt) = (delivery.envelope(), delivery.attempt());
    let settings = ingress.settings();
    let (user, scope) = match admitted(&settings, envelope) {
        Ok(admitted) => admitted,
        Err(reason) => return not_allowed(ingress, envelope, *reason),
    };
    // The targets that workers found were told before, and jobs that it may repeat.
    if let Err(error) = ingress.intake.chronicle().catch_up(KNOWN_WITHIN).await {
        tracing::debug!(error = &error as &dyn std::error::Error, "a message waits for the history");
        return Settlement::Snooze { after: AGAIN_AFTER };
    }
    let wishes = match wishes(&ingress.known.targets_under(&settings), asked) {
        Ok(wishes) => wishes,
        Err(problem)
            if problem.kind() == Kind::UnknownTarget && ingress.known.untold(&settings).is_some() =>
        {
            // A target that only workers can find may be the one, and none has told of them yet.
            return until_a_worker_comes(attempt, || laid_aside(ingress, envelope, &problem));
        }
        Err(problem) => return laid_aside(ingress, envelope, &problem),
    };
    if let Err(reason) = wishes.iter().try_for_each(|wish| demand(ingress, scope, wish)) {
        return not_allowed(ingress, envelope, *reason);
    }
    let wishes = match with_images(ingress, wishes).await {
        Ok(wishes) => wishes,
        Err(problem) if problem.kind().status().is_server_error() => {
            return Settlement::Snooze { after: AGAIN_AFTER };
        }
        Err(problem) => return laid_aside(ingress, envelope, &problem),
    };
    make_jobs(ingress, wishes, user, delivery).await
}

/// Who asks, and what they may ask for.
fn admitted<'a>(settings: &'a Settings, envelope: &'a Envelope) -> Result<(&'a str, &'a Scope), Box<Reason>> {
    let Some(user) = envelope.user.as_deref() else {
        let reason = Reason::new(reason::NOT_ALLOWED, "a message that names a target has to say who sent it");
        return Err(Box::new(reason.hint(
            "set the property `user_id` to the name with which its sender logs in to the broker, which verifies it",
        )));
    };
    settings.publishers.get(user).map(|scope| (user, scope)).ok_or_else(|| {
        let text = "nothing is said of this user of the broker, who may only tell of images";
        let hint = format!(
            "add `access: {{amqp: {{{user:.60}: {{targets: [\"web\"]}}}}}}` to the ingress's configuration, and send it again"
        );
        Box::new(Reason::new(reason::NOT_ALLOWED, text).hint(hint))
    })
}

fn wishes(targets: &Targets, asked: Vec<Asked>) -> Result<Vec<Wish>, Problem> {
    match asked.len() {
        0 => return Err(Kind::BadJob.with("the array is empty")),
        1..=MOST_WISHES => {}
        _ => return Err(Kind::BadJob.with(format!("the message has more than {MOST_WISHES} jobs"))),
    }
    asked.into_iter().map(|Asked { wish, delivery }| whole_wish(&wish, targets, delivery)).collect()
}

fn demand(ingress: &Ingress, scope: &Scope, wish: &Wish) -> Result<(), Box<Reason>> {
    let allows = |need: &Need| match &need.target {
        Some(target) => scope.allows(need.operation, target),
        None => scope.allows_everywhere(need.operation),
    };
    let Some(missing) = needs(wish, &ingress.view).into_iter().find(|need| !allows(need)) else {
        return Ok(());
    };
    let target = missing.target.as_ref().unwrap_or(&wish.target.name);
    let text = format!("this user of the broker may not `{}` on `{target}`", missing.operation);
    let hint = format!("their entry under `access: {{amqp: …}}` allows {}", scope.told());
    Err(Box::new(Reason::new(reason::NOT_ALLOWED, text).hint(hint)))
}

async fn make_jobs(ingress: &Arc<Ingress>, wishes: Vec<Wish>, user: &str, delivery: &Delivery) -> Settlement {
    let (envelope, attempt) = (delivery.envelope(), delivery.attempt());
    let cause = Cause { kind: CauseKind::Amqp, source: None, by: Some(user.to_owned()), delivery: None };
    let traceparent = envelope.headers.iter().find(|(name, _)| name == "traceparent");
    let traceparent = traceparent.and_then(|(_, text)| traceparent_in(text));
    match ingress.take(wishes, Request { cause, traceparent, whole: true }).await {
        Ok(Ok(taken)) => settled(ingress, &taken, delivery),
        Ok(Err(reused)) => {
            let problem = Kind::KeyReused.with(format!(
                "a message of the same id, `{:.100}`, asked for something else before",
                reused.0
            ));
            laid_aside(ingress, envelope, &problem)
        }
        Err(panic) => {
            tracing::error!(error = &panic as &dyn std::error::Error, "taking a message in failed");
            after_a_fault_of_ours(envelope, attempt)
        }
    }
}

/// What was taken is known again by the message's id, so that the rest may be tried again.
fn settled(ingress: &Ingress, taken: &Taken, delivery: &Delivery) -> Settlement {
    for job in &taken.jobs {
        let image = job.operation.image().map(proto::ImageRef::familiar);
        tracing::info!(job = %job.id, target = %job.target, by = job.cause.by, image, "accepted");
    }
    match taken.refused.first() {
        None => Settlement::Ack,
        Some((target, error @ QueueError::NoPool(_))) => {
            tracing::warn!(%target, error = error as &dyn std::error::Error, "a message waits");
            until_a_worker_comes(delivery.attempt(), || {
                laid_aside(ingress, delivery.envelope(), &Problem::of_queue(error))
            })
        }
        Some((target, error)) => {
            tracing::warn!(%target, error = error as &dyn std::error::Error, "a message waits");
            Settlement::Snooze { after: AGAIN_AFTER }
        }
    }
}
