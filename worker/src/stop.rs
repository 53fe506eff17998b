//! How a worker is asked to stop.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How a worker is asked to stop: first in good order, then at once.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Take nothing new; what runs may go on for its grace.
    pub asked: CancellationToken,
    /// What still runs goes back, for another worker.
    pub at_once: CancellationToken,
}

impl Stop {
    /// Returns once what runs must not go on any longer.
    pub(crate) async fn grace_is_over(&self, grace: Duration) {
        self.asked.cancelled().await;
        tokio::select! {
            () = tokio::time::sleep(grace) => {}
            () = self.at_once.cancelled() => {}
        }
    }
}

impl From<CancellationToken> for Stop {
    /// Only in good order.
    fn from(asked: CancellationToken) -> Stop {
        Stop { asked, at_once: CancellationToken::new() }
    }
}
