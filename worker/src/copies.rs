//! Messages of jobs that are dead: copies, and what a worker that died left unsettled.

use std::time::Duration;

use proto::{JobId, Timestamp};
use queue::QueueError;

use crate::{conclusion::Conclusion, execute::Executor};

/// How much earlier than its end was said a job's letter may be dated: it is dated by other clocks.
const CLOCKS_DIFFER: Duration = Duration::from_secs(120);

impl Executor {
    /// Whether the letter of a dead job, of which there is a message still, was written. A worker may have died between
    /// saying the end and writing the letter: that must not be lost. Of a mere copy it must not be written again,
    /// whoever has closed it meanwhile would find it open once more.
    ///
    /// # Errors
    /// When the queue cannot tell.
    pub(crate) async fn has_letter(&self, job: JobId, conclusion: &Conclusion) -> Result<bool, QueueError> {
        let (Conclusion::Copy(_), Some(died_at)) = (conclusion, self.index.died_at(job)) else {
            return Ok(false);
        };
        if self.index.is_laid_aside(job) {
            return Ok(true);
        }
        let since = died_at.checked_sub(CLOCKS_DIFFER).unwrap_or(Timestamp::UNIX_EPOCH);
        self.queue.was_buried(job, since).await
    }
}
