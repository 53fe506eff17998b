//! An attempt while it goes on: it is waited for, and cut short when it must not go on.

use std::time::Duration;

use proto::{Reason, reason};
use queue::Delivery;
use tokio::task::{JoinError, JoinHandle};

use crate::{
    Stop,
    conclusion::{Attempt, Conclusion},
    execute::Executor,
    verdict::again_later,
};

/// How often a running job checks that its delivery is still ours.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// How long a write may go on that was begun by an attempt which must not go on.
const WRITE_WITHIN: Duration = Duration::from_secs(10);

/// Waits for the attempt, and cuts it short when it must not go on: its delivery was lost, it held it too
/// long, or the worker stops and its grace is over.
pub(crate) async fn attend(
    executor: &Executor,
    (mut running, attempt): (JoinHandle<Conclusion>, &Attempt),
    delivery: &Delivery,
    stop: &Stop,
) -> Result<Conclusion, JoinError> {
    let interrupted = |text: &str| Reason::new(reason::INTERRUPTED, text);
    let conclusion = tokio::select! {
        done = &mut running => return done,
        () = lost(delivery) => Conclusion::Left(lost_the_queue()),
        () = tokio::time::sleep(executor.limits.delivery_hold) => Conclusion::Again {
            after: Duration::ZERO,
            counted: false,
            reason: interrupted(taken_up_again(attempt)),
        },
        () = stop.grace_is_over(executor.limits.grace) => Conclusion::Release(interrupted("the worker stops")),
    };
    let is_late = matches!(conclusion, Conclusion::Release(_));
    let at_once = async {
        if !is_late {
            stop.at_once.cancelled().await
        }
    };
    cut_short(running, attempt, at_once).await;
    Ok(conclusion)
}

/// Why an attempt comes again that was held for as long as one may be.
fn taken_up_again(attempt: &Attempt) -> &'static str {
    match attempt.watches() {
        true => "the rollout goes on, and is taken up again",
        // It waits for the target, or for what the target made of it.
        false => {
            "the target was not ready for it, or has not said yet what became of it; it is taken up again"
        }
    }
}

/// Ends an attempt, but not in the midst of a write, unless there is no time for that: called off, it might land all the
/// same, after others have written, and nobody looks any more. What it held stays held until its outcome is said.
async fn cut_short(running: JoinHandle<Conclusion>, attempt: &Attempt, at_once: impl Future<Output = ()>) {
    let pen = tokio::select! {
        pen = attempt.pen() => Some(pen),
        () = tokio::time::sleep(WRITE_WITHIN) => None,
        () = at_once => None,
    };
    running.abort();
    let _ = running.await;
    drop(pen);
}

pub(crate) async fn lost(delivery: &Delivery) {
    while delivery.is_ours() {
        tokio::time::sleep(CHECK_EVERY).await;
    }
}

pub(crate) fn lost_the_queue() -> Reason {
    Reason::new(reason::INTERRUPTED, "the queue's connection was lost")
}

pub(crate) fn panicked(attempt: &Attempt, failure: &JoinError) -> Conclusion {
    let text = format!("the worker failed at it: {failure}");
    let reason = Reason::new(reason::INTERNAL, text).hint("this is a fault of Longshore: please report it");
    again_later(attempt, reason, None)
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
    };

    use super::*;
    use crate::testing::job;

    /// Whether a write that takes so long is done, of an attempt that is cut short in its midst.
    async fn is_written(takes: Duration, at_once: impl Future<Output = ()>) -> bool {
        let (attempt, written) =
            (Arc::new(Attempt::new(job(0, "web:1"), 1, false)), Arc::new(AtomicBool::new(false)));
        let running = {
            let (attempt, written) = (Arc::clone(&attempt), Arc::clone(&written));
            tokio::spawn(async move {
                attempt.write(tokio::time::sleep(takes)).await;
                written.store(true, Ordering::SeqCst);
                pending().await
            })
        };
        tokio::task::yield_now().await;
        cut_short(running, &attempt, at_once).await;
        written.load(Ordering::SeqCst)
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_called_off_in_the_midst_of_a_write_that_ends() {
        assert!(is_written(WRITE_WITHIN / 2, pending()).await);
        assert!(!is_written(WRITE_WITHIN * 2, pending()).await, "nor waited for without an end");
        assert!(!is_written(WRITE_WITHIN / 2, async {}).await, "nor where the worker has to go");
    }
}
