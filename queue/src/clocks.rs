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

/// The same where somebody waits for the answer: what was not shown by then is found at the next look.
const SHOWN_AT_ONCE_WITHIN: Duration = Duration::from_millis(300);

/// How exactly it is found out how far a clock is behind.
const EXACT: Duration = Duration::from_secs(15);

/// It is not found out any further.
const FURTHEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

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
        let is_behind = self.is_from(head, now + by, SHOWN_WITHIN).await?;
        Ok(if is_behind { Clocks::Behind } else { Clocks::Agree })
    }

    /// Whether `now`, the time here, is more than `by` ahead of the clock of the history.
    ///
    /// # Errors
    /// When the history cannot be written or read.
    pub async fn is_ahead(&self, now: Timestamp, by: Duration) -> Result<bool, SayError> {
        let head = self.catch_up(SEEN_WITHIN).await?;
        Ok(!self.is_from(head, now - by, SHOWN_WITHIN).await?)
    }

    /// Whether what stands at `place` was written when the engine's clock showed this time, or later.
    async fn is_from(&self, place: Position, time: Timestamp, within: Duration) -> Result<bool, SayError> {
        let mut history = self.queue().history(Since::Clock(time)).await?;
        match timeout(within, history.next()).await {
            Ok(first) => Ok(first?.position <= place),
            Err(_) => {
                // Nothing is from then; or the engine is away, which this tells.
                self.catch_up(SEEN_WITHIN).await?;
                Ok(false)
            }
        }
    }

    /// How far this machine's clock is behind the one of the history: nothing where it is hardly so, or where that is
    /// the same clock; else at least so far, to some seconds.
    ///
    /// # Errors
    /// When the history cannot be written or read.
    pub async fn clock_is_behind(&self) -> Result<Duration, SayError> {
        if !self.queue().has_its_own_clock() {
            return Ok(Duration::ZERO);
        }
        self.is_behind_by(Timestamp::now(), USUAL, SHOWN_AT_ONCE_WITHIN).await
    }

    /// How far `now` is behind, if by more than `usual`.
    pub(crate) async fn is_behind_by(
        &self,
        now: Timestamp,
        usual: Duration,
        within: Duration,
    ) -> Result<Duration, SayError> {
        let head = self.catch_up(SEEN_WITHIN).await?;
        let is_behind = |by: Duration| self.is_from(head, now + by, within);
        if !is_behind(usual).await? {
            return Ok(Duration::ZERO);
        }
        let (mut least, mut most) = (usual, usual * 2);
        while most < FURTHEST && is_behind(most).await? {
            (least, most) = (most, most * 2);
        }
        while most - least > EXACT {
            let middle = least + (most - least) / 2;
            (least, most) = if is_behind(middle).await? { (middle, most) } else { (least, middle) };
        }
        Ok(least)
    }

    /// Tells where the clocks are apart, and where they agree again. Returns at once where there is but one.
    pub async fn mind_clocks(&self) {
        self.follow_clock(|_| {}).await;
    }

    /// The same for one who dates by the history's clock what this machine's would date too early: `behind` is told how
    /// far that is behind, at each look.
    pub async fn follow_clock(&self, behind: impl Fn(Duration)) {
        if !self.queue().has_its_own_clock() {
            return;
        }
        let mut known = Clocks::Agree;
        loop {
            // What cannot be compared now is another time.
            let found = self.compare_clocks(Timestamp::now(), USUAL).await.unwrap_or(known);
            let lag = match found {
                Clocks::Agree | Clocks::Ahead => Some(Duration::ZERO),
                Clocks::Behind => self.is_behind_by(Timestamp::now(), USUAL, SHOWN_WITHIN).await.ok(),
            };
            lag.into_iter().for_each(&behind);
            if found != known {
                tell(found);
            }
            known = found;
            sleep(COMPARED_EVERY).await;
        }
    }
}

fn tell(found: Clocks) {
    let apart = |how: &str, wrong: &str| {
        tracing::error!(
            "this machine's clock is more than {} minutes {how} the broker's: {wrong} will be wrong; have both set by NTP",
            USUAL.as_secs() / 60
        );
    };
    match found {
        Clocks::Agree => tracing::info!("this machine's clock agrees with the broker's again"),
        Clocks::Ahead => apart("ahead of", "deadlines, windows and times of events"),
        Clocks::Behind => apart(
            "behind",
            "jobs accepted here are dated by the broker's, but windows, deadlines of jobs at work and times of events",
        ),
    }
}
