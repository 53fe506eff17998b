//! What the broker's errors mean to what waits here.

use crate::QueueError;

/// Whether the broker did not take it because it was away, or may have been.
pub(super) fn means_away(error: &QueueError) -> bool {
    match error {
        QueueError::Unavailable { .. } | QueueError::Unconfirmed { .. } => true,
        QueueError::NoPool(_)
        | QueueError::Full
        | QueueError::NobodyAlive(_)
        | QueueError::NoAnswer { .. }
        | QueueError::NotOurs
        | QueueError::Closed
        | QueueError::InUse(_)
        | QueueError::Storage { .. }
        | QueueError::Topology { .. }
        | QueueError::Settings(_) => false,
    }
}

/// The broker did not answer, and is not asked again before it does.
#[derive(Debug, thiserror::Error)]
#[error("the broker is away or does not answer")]
pub(super) struct Away;
