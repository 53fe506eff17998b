//! Looking through systems for targets: at every change that a system tells of, and now and then besides.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, stream::BoxStream};
use proto::{ListingFault, Timestamp};
use tokio::time::{sleep, timeout};

use crate::{
    roster::{Concern, Roster},
    target::{Target, TargetError, swarm::Swarm},
    verdict::{chain, without_address},
};

/// How often a system is looked through that tells of no change: a word may be lost.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Pause after each look: rollouts are many changes, and watching them takes a list a second by itself.
const REST: Duration = Duration::from_secs(3);

/// Pause before a system is asked again that could not be.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Changes are told from so long before a look on: between the look and the first word nothing is missed, though
/// clocks differ a little.
const OVERLAP: Duration = Duration::from_secs(5);

/// Looks through one system until it is dropped.
pub(crate) async fn discover(roster: Arc<Roster>, system: String, swarm: Swarm) {
    let mut was_there = true;
    loop {
        let Err(error) = follow(&roster, &system, &swarm, &mut was_there).await else { continue };
        if was_there {
            tracing::warn!(system, error = chain(&error), "cannot look for targets, trying again");
        }
        roster.warned(&system, Concern::Reach, Some(away("looking for targets", &error)));
        was_there = false;
        sleep(AGAIN_AFTER).await;
    }
}

/// Looks whenever something changes, as long as the system tells of it.
async fn follow(
    roster: &Roster,
    system: &str,
    swarm: &Swarm,
    was_there: &mut bool,
) -> Result<(), TargetError> {
    let mut changes = swarm.changes(Timestamp::now() - OVERLAP).await?;
    loop {
        let labelled = swarm.labelled().await?;
        roster.found(system, labelled);
        roster.warned(system, Concern::Reach, None);
        if !*was_there {
            tracing::info!(system, "targets are looked for again");
        }
        *was_there = true;
        sleep(REST).await;
        if pass_over(&mut changes) {
            continue;
        }
        match timeout(LOOK_EVERY, changes.next()).await {
            Ok(Some(())) | Err(_) => {}
            Ok(None) => return Ok(()),
        }
    }
}

/// Asks a system for one of its targets now and then until it is dropped: that it cannot be reached is told before the first
/// deploy runs into it.
pub(crate) async fn mind(roster: Arc<Roster>, system: String, target: Arc<dyn Target>) {
    let mut was_there = true;
    loop {
        let asked = target.images().await.err().filter(is_away);
        match &asked {
            Some(error) if was_there => {
                tracing::warn!(system, error = chain(error), "the system cannot be asked, trying again");
            }
            None if !was_there => tracing::info!(system, "the system can be asked again"),
            Some(_) | None => {}
        }
        was_there = asked.is_none();
        let fault = asked.as_ref().map(|error| away("asking it", error));
        roster.warned(&system, Concern::Reach, fault);
        let is_refused = matches!(asked, Some(TargetError::CredentialsRefused { .. }));
        let named = match &asked {
            Some(TargetError::Unavailable { retry_after, .. }) => retry_after.unwrap_or_default(),
            Some(_) | None => Duration::ZERO,
        };
        // Some systems shut out who shows a wrong key too often.
        sleep(if was_there || is_refused { LOOK_EVERY } else { AGAIN_AFTER.max(named) }).await;
    }
}

/// Whether it is the system, and not the target, that is not as it should be.
fn is_away(error: &TargetError) -> bool {
    match error {
        TargetError::Unreachable { .. }
        | TargetError::Untrusted { .. }
        | TargetError::GivenUp { .. }
        | TargetError::NoAnswer { .. }
        | TargetError::Unavailable { .. }
        | TargetError::OtherServer { .. }
        | TargetError::CredentialsRefused { .. } => true,
        TargetError::Busy { .. }
        | TargetError::NotFound { .. }
        | TargetError::NoPart { .. }
        | TargetError::ImageNotFound { .. }
        | TargetError::Conflict
        | TargetError::Refused { .. }
        | TargetError::Rewritten { .. }
        | TargetError::Declined { .. }
        | TargetError::BadAnswer { .. } => false,
    }
}

fn away(attempted: &str, error: &TargetError) -> ListingFault {
    let hint = if matches!(error, TargetError::CredentialsRefused { .. }) {
        "mend the credentials in the worker's configuration"
    } else if matches!(error, TargetError::Untrusted { .. }) {
        "give the right authority in the worker's configuration"
    } else {
        "start it, mend the way to it, or its address in the worker's configuration; jobs for it wait meanwhile"
    };
    ListingFault::of_system(attempted.to_owned(), without_address(error), hint.to_owned())
}

/// Takes what was told meanwhile; whether there was anything.
fn pass_over(changes: &mut BoxStream<'static, ()>) -> bool {
    let mut any = false;
    while let Some(Some(())) = changes.next().now_or_never() {
        any = true;
    }
    any
}
