//! What an attempt notes for the ones after it, where its target may have nothing left by then that could carry it. It
//! stands in the history, and outlives the worker.

use std::sync::{Arc, Mutex, PoisonError};

use proto::{Event, State};
use queue::{Chronicle, SayError};
use tokio::task_local;

use crate::{
    conclusion::{Attempt, fresh},
    execute::{Executor, SEEN_WITHIN},
};

task_local! {
    static PAGE: Page;
}

/// Where the attempt that is under way notes it.
struct Page {
    chronicle: Arc<Chronicle>,
    /// What it is said with: the `started` of the attempt once more, which is no other one.
    started: Event,
    memo: Mutex<Option<String>>,
}

/// What was noted for the job, by this attempt or one before.
pub(crate) fn memo() -> Option<String> {
    PAGE.try_with(|page| page.memo.lock().unwrap_or_else(PoisonError::into_inner).clone()).ok().flatten()
}

/// Notes it for the attempts to come, in place of what was noted before. Outside an attempt there are none to come.
///
/// # Errors
/// When it was not seen in the history: then nobody may count on it.
pub(crate) async fn note(memo: String) -> Result<(), SayError> {
    let Ok((chronicle, mut event)) =
        PAGE.try_with(|page| (Arc::clone(&page.chronicle), page.started.clone()))
    else {
        return Ok(());
    };
    event.data.memo = Some(memo.clone());
    chronicle.say(&event, SEEN_WITHIN).await?;
    let _ = PAGE.try_with(|page| *page.memo.lock().unwrap_or_else(PoisonError::into_inner) = Some(memo));
    Ok(())
}

impl Executor {
    /// Does the work of an attempt, which finds there what was noted for it. `alone`: as its `started` says.
    pub(crate) async fn with_memo<T>(
        &self,
        (attempt, alone): (&Attempt, bool),
        work: impl Future<Output = T>,
    ) -> T {
        let mut started = attempt.event(State::Started, fresh());
        started.id = attempt.started.get().copied().unwrap_or(started.id);
        started.data.alone = alone;
        let memo = Mutex::new(self.index.memo_of(attempt.job.id));
        PAGE.scope(Page { chronicle: Arc::clone(&self.chronicle), started, memo }, work).await
    }
}
