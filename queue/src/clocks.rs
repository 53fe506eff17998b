//! Whether this machine's clock and the one by which the history is kept show about the same.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{sleep, timeout};

use crate::{Chronicle, Position, SayError, Since};

/// How far apart the clocks may be before it is told.
const USUAL: Duration = Duration::from_secs(2 * 60);

/// How often they are compared.
const COMPARED_EVERY: Duration = Duration::from_secs(10 * 60);

/// How long the history may take to show what was written.
const SEEN_WITHIN: Duration = Duration::from_secs(10);

/// How long whoever asks for the past is waited for to be shown its begin.
const SHOWN_WITHIN: Duration = Duration::from_secs(3);

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
        if self.is_ahead(now, by).await? {
            return Ok(Clocks::Ahead);
        }
        let head = self.catch_up(SEEN_WITHIN).await?;
        Ok(if self.is_from(head, now + by).await? { Clocks::Behind } else { Clocks::Agree })
    }

    /// Whether `now`, the time here, is more than `by` ahead of the clock of the history.
    ///
    /// # Errors
    /// When the history cannot be written or read.
    pub async fn is_ahead(&self, now: Timestamp, by: Duration) -> Result<bool, SayError> {
        let head = self.catch_up(SEEN_WITHIN).await?;
        Ok(!self.is_from(head, now - by).await?)
    }

    /// Whether what stands at `place` was written when the engine's clock showed this time, or later.
    async fn is_from(&self, place: Position, time: Timestamp) -> Result<bool, SayError> {
        let mut history = self.queue().history(Since::Clock(time)).await?;
        match timeout(SHOWN_WITHIN, history.next()).await {
            Ok(first) => Ok(first?.position <= place),
            Err(_) => {
                // Nothing is from then; or the engine is away, which this tells.
                self.catch_up(SEEN_WITHIN).await?;
                Ok(false)
            }
        }
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
