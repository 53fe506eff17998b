//! What the history knows to be on hold, noted again on the targets that do not remember it any more.
//!
//! Whoever deploys with another tool wipes what is noted on a target, and has released nothing. The history is read a day
//! back; what stands on the target lasts.

use std::{sync::Arc, time::Duration};

use proto::TargetName;
use tokio::time::{sleep, timeout};

use crate::{execute::Executor, target::TargetError, verdict::chain};

/// How often the targets are looked at on which something is on hold.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How long one of them may take.
const REMINDED_WITHIN: Duration = Duration::from_secs(10);

/// Looks at them until it is dropped.
pub(crate) async fn remind(executor: Arc<Executor>) {
    loop {
        for target in executor.index.on_hold_anywhere() {
            executor.remind(&target).await;
        }
        sleep(LOOK_EVERY).await;
    }
}

impl Executor {
    /// Notes on a target what is on hold there. Where that cannot be done now, the next look does it.
    async fn remind(&self, name: &TargetName) {
        // A stack that is being removed is not on hold any more, and what is being released or deployed is known soon.
        if self.index.is_at_work(name) {
            return;
        }
        let Some(target) = self.fleet.target(name) else { return };
        match timeout(REMINDED_WITHIN, target.remind(&self.known_on_hold(name))).await {
            Ok(Ok(true)) => {
                tracing::info!(target = %name, "what is on hold was wiped there, and is noted again");
            }
            Ok(Ok(false) | Err(TargetError::Conflict | TargetError::NotFound { .. })) => {}
            Ok(Err(error)) => {
                tracing::debug!(target = %name, error = chain(&error), "what is on hold cannot be noted now");
            }
            Err(_) => tracing::debug!(target = %name, "what is on hold could not be noted in time"),
        }
    }
}
