//! What a living worker still has to say: a `started` that nothing comes after counts as a crash.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use proto::{EventId, Reason};
use tokio_util::task::TaskTracker;

use crate::{
    conclusion::Attempt,
    execute::{Executor, SEEN_WITHIN},
    index,
};

/// Pauses before an answer is tried again, each twice as long as the one before: each try may stand in the history, seen by
/// nobody here.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The answers of one worker that could not be given yet.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    under_way: TaskTracker,
    /// The `started` they are for.
    owed: Mutex<HashSet<EventId>>,
}

impl Answers {
    /// Whether this worker is about to answer for this `started`: then it is no crash, as the worker lives.
    pub(crate) fn owes(&self, started: EventId) -> bool {
        self.owed().contains(&started)
    }

    /// Waits until everything owed was said, or `within` has passed.
    pub(crate) async fn given(&self, within: Duration) {
        self.under_way.close();
        if tokio::time::timeout(within, self.under_way.wait()).await.is_err() {
            tracing::warn!(
                jobs = self.owed().len(),
                "the queue is away: jobs were left without a word, which looks like a crash"
            );
        }
    }

    fn owed(&self) -> MutexGuard<'_, HashSet<EventId>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Executor {
    /// Answers for what `attempt` began, as soon as the queue is back.
    pub(crate) fn answer_later(self: &Arc<Self>, attempt: &Attempt, reason: Reason) {
        let Some(started) = attempt.started.get().copied() else { return };
        let (executor, answer) = (Arc::clone(self), attempt.retrying(false, reason));
        self.answers.owed().insert(started);
        self.answers.under_way.spawn(async move {
            let answered = async {
                let mut pause = PAUSE;
                while executor.chronicle.say(&answer, SEEN_WITHIN).await.is_err() {
                    tokio::time::sleep(pause).await;
                    pause = (2 * pause).min(LONGEST_PAUSE);
                }
            };
            // After that, nobody asks about the job any more.
            let _ = tokio::time::timeout(index::WINDOW, answered).await;
            executor.answers.owed().remove(&started);
        });
    }
}
