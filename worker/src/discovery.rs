//! Looking through systems for targets: at every change that a system tells of, and now and then besides.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, stream::BoxStream};
use proto::Timestamp;
use tokio::time::{sleep, timeout};

use crate::{
    roster::Roster,
    target::{TargetError, swarm::Swarm},
    verdict::chain,
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

/// Takes what was told meanwhile; whether there was anything.
fn pass_over(changes: &mut BoxStream<'static, ()>) -> bool {
    let mut any = false;
    while let Some(Some(())) = changes.next().now_or_never() {
        any = true;
    }
    any
}
