//! The jobs on the disk, counted and bounded.

use std::{
    collections::HashSet,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use proto::{Job, JobId, Undecodable};
use serde::Deserialize;
use tokio::time::sleep;
use uuid::Uuid;

use super::{SpoolSettings, SpoolStatus, letters::Left, past::Past};
use crate::{
    Queue, QueueError,
    embedded::{Embedded, Spot},
    line::LineName,
};

/// Jobs read from the disk at once, at most.
const PAGE_JOBS: usize = 64;

/// Bytes of the jobs read from the disk at once, unless a single one is larger.
const PAGE_BYTES: u64 = 4 * 1024 * 1024;

/// How often a disk that failed is tried.
const TRIED_EVERY: Duration = Duration::from_secs(2);

/// A job larger than this, as one with a whole compose text is, may be refused while others still fit.
const USUAL_JOB: u64 = 64 * 1024;

/// What waits on the disk while the broker is away.
pub(super) struct Shelf {
    disk: Arc<Embedded>,
    bounds: SpoolSettings,
    counts: Mutex<Counts>,
    letters: Left,
    /// Somebody finds out whether a disk that failed can be written again.
    is_tried: AtomicBool,
}

/// What is known without looking at the disk.
#[derive(Debug, Default)]
struct Counts {
    jobs: u64,
    bytes: u64,
    /// Since when something waits.
    since: Option<Timestamp>,
    /// One of usual size did not fit, and none has left since.
    refused: bool,
    highest: Option<JobId>,
    /// How many have left since something waits.
    left: u64,
}

/// A kept job, without its body.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    /// None where the body has none.
    id: Option<JobId>,
    bytes: u64,
    spot: Spot,
}

/// A kept job, read.
pub(super) struct Reading {
    pub(super) kept: Kept,
    pub(super) job: Job,
}

/// What waits and is no job, or one that only a newer version can read.
pub(super) struct Unreadable {
    pub(super) kept: Kept,
    pub(super) body: Bytes,
    pub(super) error: Undecodable,
}

/// What is read at once.
#[derive(Default)]
pub(super) struct Page {
    pub(super) jobs: Vec<Reading>,
    pub(super) unreadable: Vec<Unreadable>,
}

/// All that is looked at of a body to bring it into its order.
#[derive(Deserialize)]
struct Named {
    id: JobId,
}

impl Kept {
    pub(super) fn spot(&self) -> &Spot {
        &self.spot
    }
}

impl Shelf {
    /// Opens the directory, counts what was left there, and reads what is known of it.
    pub(super) async fn open(dir: &Path, bounds: SpoolSettings) -> Result<(Shelf, Past), QueueError> {
        let dir = dir.to_owned();
        let opening = tokio::task::spawn_blocking(move || Embedded::open_keeping(&dir, bounds.keep));
        Shelf::on(opening.await.map_err(|_| QueueError::Closed)??, bounds).await
    }

    pub(super) async fn on(disk: Embedded, bounds: SpoolSettings) -> Result<(Shelf, Past), QueueError> {
        let (disk, counts, letters) = (Arc::new(disk), Mutex::default(), Left::default());
        let shelf = Shelf { disk, bounds, counts, letters, is_tried: AtomicBool::new(false) };
        let left = shelf.index().await?;
        let waiting: HashSet<JobId> = left.iter().filter_map(|kept| kept.id).collect();
        let past = Past::read(&shelf.disk, waiting).await?;
        let mut counts = shelf.counts();
        counts.jobs = left.len() as u64;
        counts.bytes = left.iter().map(|kept| kept.bytes).sum();
        counts.highest = left.iter().filter_map(|kept| kept.id).max().max(past.highest);
        counts.since = (counts.jobs > 0).then(Timestamp::now);
        drop(counts);
        Ok((shelf, past))
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn disk(&self) -> &Embedded {
        &self.disk
    }

    /// What is known of the dead letters in the directory.
    pub(super) fn letters(&self) -> &Left {
        &self.letters
    }

    pub(super) fn status(&self) -> SpoolStatus {
        let counts = self.counts();
        let at_bound = counts.jobs >= self.bounds.jobs || counts.bytes >= self.bounds.bytes.0;
        SpoolStatus {
            jobs: counts.jobs,
            bytes: counts.bytes,
            since: counts.since,
            full: at_bound || counts.refused,
            failing: self.disk.is_failing(),
            damaged: self.disk.is_damaged(),
        }
    }

    /// The highest id that was ever kept here since it was opened, or was known here then.
    pub(super) fn highest(&self) -> Option<JobId> {
        self.counts().highest
    }

    /// Keeps a job; it is on the disk when this returns. Tells whether it is the first that waits.
    ///
    /// # Errors
    /// [`QueueError::Full`] when it does not fit, or when the disk fails.
    pub(super) async fn keep(self: &Arc<Self>, job: &Job) -> Result<bool, QueueError> {
        self.keep_in(job.target.pool().into(), Some(job.id), job.encode().into()).await
    }

    /// The same of what came in for the ingresses.
    pub(super) async fn keep_message(self: &Arc<Self>, body: Bytes) -> Result<bool, QueueError> {
        self.keep_in(LineName::Intake, None, body).await
    }

    async fn keep_in(
        self: &Arc<Self>,
        line: LineName,
        id: Option<JobId>,
        body: Bytes,
    ) -> Result<bool, QueueError> {
        let bytes = body.len() as u64;
        let is_first = self.reserve(bytes)?;
        let shelf = Arc::clone(self);
        // To its end even when the caller gives up: the count must be that of the disk.
        let keeping = tokio::spawn(async move {
            let kept = shelf.disk.keep(line, body).await;
            shelf.mind_the_disk();
            let mut counts = shelf.counts();
            match &kept {
                Ok(()) => counts.highest = counts.highest.max(id),
                Err(_) => counts.give_back(bytes),
            }
            kept
        });
        keeping.await.map_err(|_| QueueError::Closed)??;
        Ok(is_first)
    }

    /// Where the disk has failed, tries it until it can be written again: who is told that nothing is kept here sends
    /// nothing more, and would never be told otherwise.
    fn mind_the_disk(self: &Arc<Self>) {
        if !self.disk.is_failing() || self.is_tried.swap(true, Ordering::AcqRel) {
            return;
        }
        let shelf = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                sleep(TRIED_EVERY).await;
                let Some(shelf) = shelf.upgrade() else { return };
                if matches!(shelf.disk.mark(Uuid::now_v7()).await, Ok(()) | Err(QueueError::Closed)) {
                    shelf.is_tried.store(false, Ordering::Release);
                    return;
                }
            }
        });
    }

    /// Whether so many more fit.
    pub(super) fn has_room(&self, jobs: u64, bytes: u64) -> bool {
        self.fits(&self.counts(), jobs, bytes)
    }

    fn fits(&self, counts: &Counts, jobs: u64, bytes: u64) -> bool {
        let all = (counts.jobs.checked_add(jobs), counts.bytes.checked_add(bytes));
        matches!(all, (Some(jobs), Some(bytes)) if jobs <= self.bounds.jobs && bytes <= self.bounds.bytes.0)
    }

    fn reserve(&self, bytes: u64) -> Result<bool, QueueError> {
        let mut counts = self.counts();
        if !self.fits(&counts, 1, bytes) {
            counts.refused |= bytes <= USUAL_JOB;
            return Err(QueueError::Full);
        }
        counts.jobs += 1;
        counts.bytes += bytes;
        let is_first = counts.since.is_none();
        counts.since.get_or_insert_with(Timestamp::now);
        Ok(is_first)
    }

    /// All that waits, in the order of the ids; what has none comes first. Small for each: no bodies.
    pub(super) async fn index(&self) -> Result<Vec<Kept>, QueueError> {
        let look = |all: &mut Vec<Kept>, spot: Spot, body: &[u8]| {
            let id = serde_json::from_slice(body).ok().map(|Named { id }| id);
            all.push(Kept { id, bytes: body.len() as u64, spot });
        };
        let mut all = self.disk.survey(Vec::new(), look).await?;
        all.sort_unstable_by_key(|kept| kept.id);
        Ok(all)
    }

    /// Reads what came in for the ingresses and waits.
    pub(super) async fn messages(&self, page: Vec<Kept>) -> Result<Vec<(Kept, Bytes)>, QueueError> {
        let spots = page.iter().map(|kept| kept.spot.clone()).collect();
        let bodies = self.disk.bodies(spots).await?;
        Ok(page.into_iter().zip(bodies).filter_map(|(kept, body)| Some((kept, body?))).collect())
    }

    /// Reads the jobs that wait.
    pub(super) async fn read(&self, page: Vec<Kept>) -> Result<Page, QueueError> {
        let spots = page.iter().map(|kept| kept.spot.clone()).collect();
        let bodies = self.disk.bodies(spots).await?;
        let mut read = Page::default();
        for (kept, body) in page.into_iter().zip(bodies) {
            let Some(body) = body else { continue };
            match Job::decode(&body) {
                Ok(job) => read.jobs.push(Reading { kept, job }),
                Err(error) => read.unreadable.push(Unreadable { kept, body, error }),
            }
        }
        Ok(read)
    }

    /// Takes jobs out that are kept elsewhere now, all in one sync.
    pub(super) async fn forget(&self, done: Vec<Kept>) -> Result<(), QueueError> {
        let forgetting = done.into_iter().map(|kept| async move {
            self.disk.forget(kept.spot).await?;
            self.counts().leave(kept.bytes);
            Ok(())
        });
        futures::future::join_all(forgetting).await.into_iter().collect()
    }

    /// Notes that nothing waits any more, and tells how many have left, unless something does.
    pub(super) fn end(&self) -> Option<u64> {
        let mut counts = self.counts();
        if counts.jobs > 0 || counts.since.take().is_none() {
            return None;
        }
        Some(std::mem::take(&mut counts.left))
    }

    pub(super) async fn close(&self) {
        self.disk.close().await;
    }
}

impl Counts {
    fn take_off(&mut self, bytes: u64) {
        self.jobs = self.jobs.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    fn give_back(&mut self, bytes: u64) {
        self.take_off(bytes);
        if self.jobs == 0 && self.left == 0 {
            self.since = None;
        }
    }

    fn leave(&mut self, bytes: u64) {
        self.take_off(bytes);
        self.left += 1;
        self.refused = false;
    }
}

/// Cuts an index into what is read at once.
pub(super) fn pages(index: Vec<Kept>) -> impl Iterator<Item = Vec<Kept>> {
    let mut rest = index.into_iter().peekable();
    std::iter::from_fn(move || {
        let (mut page, mut bytes) = (Vec::new(), 0_u64);
        while page.len() < PAGE_JOBS
            && let Some(kept) = rest.next_if(|kept| page.is_empty() || bytes + kept.bytes <= PAGE_BYTES)
        {
            bytes += kept.bytes;
            page.push(kept);
        }
        (!page.is_empty()).then_some(page)
    })
}
