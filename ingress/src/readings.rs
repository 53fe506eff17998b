//! Readings of the history that take their time: each goes on while whoever asked for it comes back for the answer.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use proto::Timestamp;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use crate::timeline::TimelineError;

/// How many there are at once at most: each of them reads what may be millions of entries.
const MOST: usize = 4;

/// How long what was read is kept for who asked and was told to come back.
const KEPT_FOR: Duration = Duration::from_secs(120);

/// What is being read, by what it is about.
pub(crate) struct Readings<K, T>(Mutex<HashMap<K, Reading<T>>>);

struct Reading<T> {
    /// How far back it reaches.
    since: Timestamp,
    read: watch::Receiver<Option<Read<T>>>,
    _task: AbortOnDropHandle<()>,
}

type Read<T> = Result<Arc<T>, TimelineError>;

impl<K, T> Default for Readings<K, T> {
    fn default() -> Readings<K, T> {
        Readings(Mutex::default())
    }
}

impl<K: Eq + Hash, T: Send + Sync + 'static> Readings<K, T> {
    /// What `reading` gives, where it does so in this time. It goes on otherwise, and who asks again for what is about
    /// the same waits for the same.
    ///
    /// # Errors
    /// What `reading` gives, or [`TimelineError::StillRead`].
    pub(crate) async fn wait<F>(
        &self,
        about: K,
        (since, within): (Timestamp, Duration),
        reading: impl FnOnce() -> F,
    ) -> Read<T>
    where
        F: Future<Output = Result<T, TimelineError>> + Send + 'static,
        K: Clone,
    {
        let mut read = self.begin(about.clone(), since, reading)?;
        let done = match timeout(within, read.wait_for(Option::is_some)).await {
            Ok(Ok(done)) => done.clone(),
            Ok(Err(_)) | Err(_) => None,
        };
        let done = done.ok_or(TimelineError::StillRead)?;
        self.forget(&about, &read);
        done
    }

    fn begin<F>(
        &self,
        about: K,
        since: Timestamp,
        reading: impl FnOnce() -> F,
    ) -> Result<watch::Receiver<Option<Read<T>>>, TimelineError>
    where
        F: Future<Output = Result<T, TimelineError>> + Send + 'static,
    {
        let mut under_way = self.under_way();
        under_way.retain(|_, reading| reading.read.has_changed().is_ok());
        if let Some(reading) = under_way.get(&about).filter(|reading| reading.since <= since) {
            return Ok(reading.read.clone());
        }
        if under_way.len() >= MOST {
            return Err(TimelineError::StillRead);
        }
        let (tell, read) = watch::channel(None);
        let reading = reading();
        let task = tokio::spawn(async move {
            tell.send_replace(Some(reading.await.map(Arc::new)));
            sleep(KEPT_FOR).await;
        });
        let reading = Reading { since, read: read.clone(), _task: AbortOnDropHandle::new(task) };
        under_way.insert(about, reading);
        Ok(read)
    }

    /// What was told is not told again: by then more was said.
    fn forget(&self, about: &K, read: &watch::Receiver<Option<Read<T>>>) {
        let mut under_way = self.under_way();
        if under_way.get(about).is_some_and(|reading| reading.read.same_channel(read)) {
            under_way.remove(about);
        }
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<K, Reading<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const PATIENCE: Duration = Duration::from_secs(5);

    /// Reads for so long, and tells which reading it was.
    async fn ask(
        readings: &Readings<&str, u32>,
        about: &'static str,
        (n, takes): (u32, Duration),
    ) -> Option<u32> {
        let reading = || async move {
            sleep(takes).await;
            Ok(n)
        };
        let read = readings.wait(about, (Timestamp::UNIX_EPOCH, PATIENCE), reading).await;
        assert!(matches!(read, Ok(_) | Err(TimelineError::StillRead)), "{read:?}");
        read.ok().map(|read| *read)
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_long_is_read_once_and_told_once() {
        let readings = Readings::default();
        assert_eq!(ask(&readings, "web", (1, MINUTE)).await, None);
        assert_eq!(ask(&readings, "api", (2, Duration::ZERO)).await, Some(2));
        sleep(MINUTE).await;
        assert_eq!(ask(&readings, "web", (3, MINUTE)).await, Some(1));
        assert_eq!(ask(&readings, "web", (4, Duration::ZERO)).await, Some(4), "what is new is read anew");
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_comes_back_for_makes_room() {
        let readings = Readings::default();
        for about in ["a", "b", "c", "d"] {
            assert_eq!(ask(&readings, about, (1, MINUTE)).await, None);
        }
        assert_eq!(ask(&readings, "e", (2, Duration::ZERO)).await, None, "four are enough");
        sleep(MINUTE + 2 * KEPT_FOR).await;
        assert_eq!(ask(&readings, "e", (3, Duration::ZERO)).await, Some(3));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_reach_back_far_enough_is_not_waited_for() {
        let readings: Readings<&str, u32> = Readings::default();
        let read = |n| {
            move || async move {
                sleep(PATIENCE / 2).await;
                Ok(n)
            }
        };
        let late = Timestamp::UNIX_EPOCH + MINUTE;
        let (later, earlier) = tokio::join!(
            readings.wait("web", (late, PATIENCE), read(1)),
            readings.wait("web", (Timestamp::UNIX_EPOCH, PATIENCE), read(2)),
        );
        assert_eq!(earlier.ok().as_deref(), Some(&2));
        assert!(matches!(later, Err(TimelineError::StillRead)), "its place was taken: {later:?}");
    }
}
