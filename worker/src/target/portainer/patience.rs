//! Looking again and again at what was begun, also while Portainer or the engine cannot be seen for a while.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::target::TargetError;

pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long nothing may be seen before a watch gives up, to be taken up again.
pub(super) const BLIND_FOR: Duration = Duration::from_secs(60);

/// How much longer nothing may be seen: it begins anew with whatever is seen.
pub(super) struct Patience(Instant);

impl Patience {
    pub(super) fn begin() -> Patience {
        Patience(Instant::now())
    }

    /// What a look brought; none where the next one may bring more.
    ///
    /// # Errors
    /// What does not pass, or did not in time.
    pub(super) fn of<T>(&mut self, look: Result<T, TargetError>) -> Result<Option<T>, TargetError> {
        match look {
            Ok(seen) => {
                self.0 = Instant::now();
                Ok(Some(seen))
            }
            Err(error) if passes(&error) && self.0.elapsed() < BLIND_FOR => Ok(None),
            Err(error) => Err(error.of_what_was_begun()),
        }
    }

    /// The pause between two looks.
    pub(super) async fn rest() {
        sleep(LOOK_EVERY).await;
    }
}

/// Asks again for a while where no answer comes. What was begun is done: an attempt that ends here would do it once more.
pub(super) async fn patiently<T, F>(ask: impl Fn() -> F) -> Result<T, TargetError>
where
    F: Future<Output = Result<T, TargetError>>,
{
    let mut patience = Patience::begin();
    loop {
        match patience.of(ask().await)? {
            Some(told) => return Ok(told),
            None => Patience::rest().await,
        }
    }
}

/// Whether it may be different a moment later.
pub(super) fn passes(error: &TargetError) -> bool {
    match error {
        TargetError::Unreachable { .. }
        | TargetError::NoAnswer { .. }
        | TargetError::Unavailable { .. }
        | TargetError::Busy { .. }
        | TargetError::BadAnswer { .. }
        // What stands before it has a page for the time in which it is away.
        | TargetError::OtherServer { .. } => true,
        TargetError::CredentialsRefused { .. }
        | TargetError::Untrusted { .. }
        | TargetError::GivenUp { .. }
        | TargetError::NoPart { .. }
        | TargetError::NotFound { .. }
        | TargetError::ImageNotFound { .. }
        | TargetError::Conflict
        | TargetError::Rewritten { .. }
        | TargetError::Declined { .. }
        | TargetError::Refused { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away() -> TargetError {
        TargetError::Unreachable { system: "p".to_owned(), source: "away".into() }
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_looked_over_for_a_while_from_the_last_time_that_anything_was_seen() {
        let mut patience = Patience::begin();
        for _ in 0..3 {
            tokio::time::advance(BLIND_FOR - Duration::from_secs(1)).await;
            assert!(matches!(patience.of::<()>(Err(away())), Ok(None)));
            assert!(matches!(patience.of(Ok(1)), Ok(Some(1))));
        }
        assert!(patience.of::<()>(Err(TargetError::Conflict)).is_err());
        tokio::time::advance(BLIND_FOR).await;
        assert!(patience.of::<()>(Err(away())).is_err());
    }
}
