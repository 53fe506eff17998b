//! Whether this machine's clock and the one by which the history is kept show about the same.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::{Chronicle, Position, SayError, Since};

/// How far apart the clocks may be before it is told.
const USUAL: Duration = Duration::from_secs(2 * 60);

/// How often they are compared.
const COMPARED_EVERY: Duration = Duration::from_secs(10 * 60);

/// How long the history may take to show what was written.
const SEEN_WITHIN: Duration = Duration::from_secs(10);

/// What this machine's clock is beside the one of the history: the broker's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clocks {
    /// They show about the same.
    Agree,
    /// The one here is ahead.
    Ahead,
    /// The one here is behind.
    Behind,
}

impl Chronicle {
    /// Compares `now`, the time here, with the clock of the history; they agree where they are no more than `by` apart.
    ///
    /// # Errors
    /// When the history cannot be written or read.
    pub async fn compare_clocks(&self, now: Timestamp, by: Duration) -> Result<Clocks, SayError> {
        let head = self.catch_up(SEEN_WITHIN).await?;
        if !self.is_from(head, now - by).await? {
            return Ok(Clocks::Ahead);
        }
        Ok(if self.is_from(head, now + by).await? { Clocks::Behind } else { Clocks::Agree })
    }

    /// Whether what stands at `place` was written at this time or later: then whoever reads from that time on is shown
    /// nothing later first.
    async fn is_from(&self, place: Position, time: Timestamp) -> Result<bool, SayError> {
        let mut history = self.queue().history(Since::Time(time)).await?;
        // There is something to be shown in any case.
        self.queue().mark(Uuid::now_v7()).await?;
        let first =
            timeout(SEEN_WITHIN, history.next()).await.map_err(|_| SayError::Unseen(SEEN_WITHIN))??;
        Ok(first.position <= place)
    }

    /// Tells where the clocks are apart, and where they agree again. Never returns.
    pub async fn mind_clocks(&self) {
        let mut known = Clocks::Agree;
        loop {
            // What cannot be compared now is another time.
            let found = self.compare_clocks(Timestamp::now(), USUAL).await.unwrap_or(known);
            if found != known {
                tell(found);
            }
            known = found;
            sleep(COMPARED_EVERY).await;
        }
    }
}

fn tell(found: Clocks) {
    let apart = |how: &str| {
        tracing::error!(
            "this machine's clock is more than {} minutes {how} the broker's: deadlines, windows and times of events \
             will be wrong; have both set by NTP",
            USUAL.as_secs() / 60
        );
    };
    match found {
        Clocks::Agree => tracing::info!("this machine's clock agrees with the broker's again"),
        Clocks::Ahead => apart("ahead of"),
        Clocks::Behind => apart("behind"),
    }
}
