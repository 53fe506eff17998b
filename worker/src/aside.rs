//! What an attempt says by the way, while it reads and writes its target and nobody watches a rollout yet: what it waits
//! for. A system may keep a deploy waiting for many minutes, and people should not have to guess why.

use std::{
    convert::Infallible,
    future::pending,
    sync::atomic::{AtomicBool, Ordering},
};

use proto::State;
use tokio::{sync::mpsc, task_local};

use crate::{
    conclusion::{Attempt, fresh},
    execute::Executor,
    verdict::chain,
};

/// More of them than these nobody reads at once.
const MOST_AT_ONCE: usize = 8;

task_local! {
    static LISTENER: Listener;
}

/// Who is told.
struct Listener {
    lines: mpsc::Sender<String>,
    /// It was told that the system is slow.
    knows_it_is_slow: AtomicBool,
}

impl Listener {
    fn new(lines: mpsc::Sender<String>) -> Listener {
        Listener { lines, knows_it_is_slow: AtomicBool::new(false) }
    }
}

/// Says a line for people, in words that need no more. Best effort: where nobody listens, or the listener lags, it is left
/// out.
pub(crate) fn say_aside(line: impl Into<String>) {
    let _ = LISTENER.try_with(|listener| listener.lines.try_send(line.into()));
}

/// Says once in an attempt that a system takes its time for each answer: what looks hung is not.
pub(crate) fn say_that_it_is_slow(line: impl FnOnce() -> String) {
    let is_news = |listener: &Listener| !listener.knows_it_is_slow.swap(true, Ordering::Relaxed);
    if LISTENER.try_with(is_news).unwrap_or_default() {
        say_aside(line());
    }
}

impl Executor {
    /// Does the work, and tells what is said by the way as progress of the attempt.
    pub(crate) async fn with_asides<T>(&self, attempt: &Attempt, work: impl Future<Output = T>) -> T {
        let (listener, said) = mpsc::channel(MOST_AT_ONCE);
        tokio::select! {
            done = LISTENER.scope(Listener::new(listener), work) => done,
            never = self.tell_asides(attempt, said) => match never {},
        }
    }

    async fn tell_asides(&self, attempt: &Attempt, mut said: mpsc::Receiver<String>) -> Infallible {
        while let Some(line) = said.recv().await {
            let mut event = attempt.event(State::Progress, fresh());
            event.data.output = vec![self.redaction.text(&line)];
            if let Err(error) = self.queue.emit(&event).await {
                tracing::debug!(job = %attempt.job.id, error = chain(&error), "progress not said");
            }
        }
        // The work holds the other end: it is done first.
        pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_nobody_listens_to_is_no_failure() {
        say_aside("nobody is there");
        let (listener, mut said) = mpsc::channel(1);
        LISTENER
            .scope(Listener::new(listener), async {
                say_aside("one");
                say_aside("one too many");
            })
            .await;
        assert_eq!(said.recv().await.as_deref(), Some("one"));
        assert_eq!(said.recv().await, None);
    }

    #[tokio::test]
    async fn that_it_is_slow_is_told_once() {
        let (listener, mut said) = mpsc::channel(MOST_AT_ONCE);
        LISTENER
            .scope(Listener::new(listener), async {
                for times in 1..4 {
                    say_that_it_is_slow(|| format!("for the {times}. time"));
                }
            })
            .await;
        assert_eq!(said.recv().await.as_deref(), Some("for the 1. time"));
        assert_eq!(said.recv().await, None);
    }
}
