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

/// Pauses before an answer is tried again that failed though the queue was there, each twice as long as the one before:
/// each try may stand in the history, seen by nobody here.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How often it is looked whether the queue is back: until the answer is given, whoever takes the job over counts a
/// crash against it.
const LOOKS_EVERY: Duration = Duration::from_millis(250);

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
            let say = || {
                let (chronicle, answer) = (Arc::clone(&executor.chronicle), answer.clone());
                async move { chronicle.say(&answer, SEEN_WITHIN).await.is_ok() }
            };
            let answered = until_said(say, || executor.queue.is_available());
            // After that, nobody asks about the job any more.
            let _ = tokio::time::timeout(index::WINDOW, answered).await;
            executor.answers.owed().remove(&started);
        });
    }
}

/// Says it as soon as the queue is there, and again after a pause while it is and that fails.
async fn until_said<Saying: Future<Output = bool>>(
    say: impl Fn() -> Saying,
    is_available: impl Fn() -> bool,
) {
    let mut pause = PAUSE;
    loop {
        until(&is_available).await;
        if say().await {
            return;
        }
        let went_away = tokio::time::timeout(pause, until(|| !is_available())).await.is_ok();
        pause = if went_away { PAUSE } else { (2 * pause).min(LONGEST_PAUSE) };
    }
}

async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        tokio::time::sleep(LOOKS_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::time::{Instant, sleep};

    use super::*;

    /// An outage that begins after a minute in which nothing is seen, and its length.
    const BEGINS: Duration = Duration::from_secs(60);
    const LASTS: Duration = Duration::from_secs(100);

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_given_as_soon_as_the_queue_is_back() {
        let (begin, tries) = (Instant::now(), AtomicU32::new(0));
        let is_away = || (BEGINS..BEGINS + LASTS).contains(&begin.elapsed());
        let say = || async {
            tries.fetch_add(1, Ordering::SeqCst);
            assert!(!is_away(), "nobody hears it now");
            if begin.elapsed() < BEGINS {
                sleep(SEEN_WITHIN).await;
            }
            begin.elapsed() >= BEGINS + LASTS
        };
        until_said(say, || !is_away()).await;
        let late = begin.elapsed() - BEGINS - LASTS;
        assert!(late <= 2 * LOOKS_EVERY, "{late:?}");
        assert!(tries.load(Ordering::SeqCst) <= 6, "{tries:?}");
    }
}
