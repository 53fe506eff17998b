//! Taking over what is said on the broker into the directory's own history, so that the embedded queue, should it go on
//! there one day, knows how the jobs ended and what is newest.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use proto::{Event, EventId};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout, timeout_at},
};
use uuid::Uuid;

use super::Inner;
use crate::{Entry, Queue, QueueError, Recorded, Since, embedded::Note};

/// How far back it begins where nothing was followed before: what the newest deploys are is read from so far back.
const BEGINS_BEFORE: SignedDuration = SignedDuration::from_hours(25);

/// How much is read again at a start: clocks differ, and what is known already is not taken over twice.
const OVERLAP: SignedDuration = SignedDuration::from_mins(10);

/// Entries read ahead of the disk.
const AHEAD: usize = 1024;

/// Entries that are written at once.
const PAGE: usize = 256;

/// How long it is waited for more before they are written: nobody waits for them.
const LINGER: Duration = Duration::from_millis(200);

/// Pause before the history is opened again.
const REOPEN_AFTER: Duration = Duration::from_secs(1);

/// Pause before the disk is written again after it failed.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// How long the end of the process waits for what was said last.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(3);

/// Follows the broker's history until it is stopped, and to what was said before that.
pub(super) async fn follow(inner: Arc<Inner>, known: HashSet<EventId>) {
    let begin = match inner.shelf.disk().noted(Note::Followed).await {
        Ok(followed) => since(followed),
        Err(error) => return complain(&error),
    };
    let (read, incoming) = mpsc::channel(AHEAD);
    let taking = Taking { inner: Arc::clone(&inner), known, followed: None, incoming };
    tokio::select! {
        () = keep_reading(&*inner.engine, begin, read) => {}
        () = taking.take_over() => {}
    }
}

fn since(followed: Option<u64>) -> Since {
    let followed = followed.and_then(|micros| Timestamp::from_microsecond(i64::try_from(micros).ok()?).ok());
    let begin = followed.map_or_else(
        || Timestamp::now().saturating_sub(BEGINS_BEFORE),
        |followed| followed.saturating_sub(OVERLAP),
    );
    Since::Time(begin.unwrap_or(Timestamp::UNIX_EPOCH))
}

async fn keep_reading(engine: &dyn Queue, mut since: Since, read: mpsc::Sender<Recorded>) {
    loop {
        if let Ok(mut history) = engine.history(since).await {
            while let Ok(recorded) = history.next().await {
                since = Since::After(recorded.position);
                if read.send(recorded).await.is_err() {
                    return;
                }
            }
        }
        sleep(REOPEN_AFTER).await;
    }
}

struct Taking {
    inner: Arc<Inner>,
    /// What the directory has told itself, or took over before.
    known: HashSet<EventId>,
    followed: Option<Timestamp>,
    incoming: mpsc::Receiver<Recorded>,
}

impl Taking {
    async fn take_over(mut self) {
        let stop = self.inner.stop.clone();
        let mut page = Vec::new();
        loop {
            tokio::select! {
                read = self.incoming.recv_many(&mut page, PAGE) => if read == 0 { return },
                () = stop.cancelled() => return self.last_words().await,
            }
            tokio::select! {
                () = sleep(LINGER) => {}
                () = stop.cancelled() => {}
            }
            while page.len() < PAGE
                && let Ok(more) = self.incoming.try_recv()
            {
                page.push(more);
            }
            let mut complained = false;
            while let Err(error) = self.write(&page).await {
                if !std::mem::replace(&mut complained, true) {
                    complain(&error);
                }
                tokio::select! {
                    () = sleep(AGAIN_AFTER) => {}
                    () = stop.cancelled() => return,
                }
            }
            page.clear();
        }
    }

    /// Reads on to what was said by now.
    async fn last_words(mut self) {
        let (until, marker) = (Instant::now() + LAST_WORDS_WITHIN, Uuid::now_v7());
        if !self.inner.is_there()
            || !matches!(timeout(LAST_WORDS_WITHIN, self.inner.engine.mark(marker)).await, Ok(Ok(())))
        {
            return;
        }
        let mut page = Vec::new();
        while let Ok(Some(recorded)) = timeout_at(until, self.incoming.recv()).await {
            if recorded.entry == Entry::Marker(marker) {
                break;
            }
            page.push(recorded);
        }
        if let Err(error) = self.write(&page).await {
            complain(&error);
        }
    }

    async fn write(&mut self, page: &[Recorded]) -> Result<(), QueueError> {
        let disk = self.inner.shelf.disk();
        let events: Vec<&Event> = page.iter().filter_map(|recorded| self.news_in(recorded)).collect();
        let Some(latest) = events.iter().map(|event| event.time).max() else { return Ok(()) };
        let written = join_all(events.iter().map(|event| disk.take_over(event))).await;
        written.into_iter().collect::<Result<(), _>>()?;
        // A clock that is ahead must not make the next start pass over what came after.
        let latest = latest.min(Timestamp::now()).max(self.followed.unwrap_or(Timestamp::UNIX_EPOCH));
        disk.note(Note::Followed, u64::try_from(latest.as_microsecond()).unwrap_or(0)).await?;
        self.followed = Some(latest);
        Ok(())
    }

    fn news_in<'a>(&self, recorded: &'a Recorded) -> Option<&'a Event> {
        match &recorded.entry {
            Entry::Event(event) if !self.known.contains(&event.id) => Some(event),
            Entry::Event(_) | Entry::Catalogue(_) | Entry::Marker(_) | Entry::Unreadable(_) => None,
        }
    }
}

fn complain(error: &QueueError) {
    let error = error as &dyn std::error::Error;
    tracing::warn!(error, "what is said on the broker cannot be noted in the data directory");
}
