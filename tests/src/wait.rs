//! Waiting for a condition with a deadline.

use std::future::Future;
use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::{Instant, sleep, timeout_at};

const PAUSE: Duration = Duration::from_millis(50);

/// Repeats `attempt` until it succeeds, and gives what it returned.
///
/// # Errors
/// When `deadline` has passed; the text says `what` was awaited and how the last attempt failed.
pub async fn eventually<T, F, Fut>(deadline: Duration, what: &str, mut attempt: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let end = Instant::now() + deadline;
    let mut last = anyhow!("the first attempt did not end");
    loop {
        match timeout_at(end, attempt()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) if Instant::now() < end => last = error,
            Ok(Err(error)) => return Err(overdue(&error, what, deadline)),
            Err(_) => return Err(overdue(&last, what, deadline)),
        }
        sleep(PAUSE).await;
    }
}

fn overdue(last: &anyhow::Error, what: &str, deadline: Duration) -> anyhow::Error {
    anyhow!("waited {deadline:?} in vain for {what}; at the end: {last:#}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test]
    async fn gives_the_first_success() {
        let attempts = Cell::new(0);
        let got = eventually(Duration::from_secs(5), "three", || async {
            attempts.set(attempts.get() + 1);
            if attempts.get() < 3 { Err(anyhow!("only {}", attempts.get())) } else { Ok(attempts.get()) }
        });
        assert_eq!(got.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn says_what_was_awaited_and_how_the_last_attempt_failed() {
        let got =
            eventually::<(), _, _>(Duration::from_millis(120), "rain", || async { Err(anyhow!("sunny")) });
        assert_eq!(got.await.unwrap_err().to_string(), "waited 120ms in vain for rain; at the end: sunny");
    }

    #[tokio::test]
    async fn leaves_an_attempt_that_never_ends() {
        let got = eventually::<(), _, _>(Duration::from_millis(20), "an answer", std::future::pending);
        assert!(got.await.unwrap_err().to_string().contains("an answer"));
    }
}
