//! Handing what waits to the broker, once it is back.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::future::join_all;
use proto::{Event, Job, JobId, PoolName, Reason, State, reason};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    Inner, letters, means_away,
    past::{Untold, death_of},
    reject::reject,
    shelf::{Kept, Reading, Unreadable, pages},
};
use crate::{QueueError, embedded::Note};

/// Pause before it is looked again whether the broker is there.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Pause before what the broker did not take is offered again, at first and at most: it is sought out among all
/// that waits each time.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
const AGAIN_AFTER_AT_MOST: Duration = Duration::from_secs(4);

/// By how much longer the pause is at least than what a large spool takes to be looked through, where the broker took
/// nothing of it; and at most.
const SHARE: u32 = 9;
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How often it is said again what cannot be handed over: what a broker refuses stays until somebody mends it.
const SAY_AGAIN_AFTER: Duration = Duration::from_secs(5 * 60);

/// Drains until it is stopped. Whatever it was at then is handed over again by the next. `ends` has those of jobs that
/// wait, and where they are told.
pub(super) async fn drain(inner: Arc<Inner>, untold: Untold, ends: HashMap<JobId, (State, u64)>) {
    let stop = inner.stop.clone();
    let drain = Drain {
        inner,
        untold,
        ends,
        missing: HashMap::new(),
        sought_for: Duration::ZERO,
        refused: None,
        complained: None,
    };
    tokio::select! {
        () = drain.go_on() => {}
        () = stop.cancelled() => {}
    }
}

struct Drain {
    inner: Arc<Inner>,
    /// What the broker's history does not tell yet.
    untold: Untold,
    /// How jobs ended that wait all the same.
    ends: HashMap<JobId, (State, u64)>,
    /// Pools that do not exist, and since when the broker says so.
    missing: HashMap<PoolName, Instant>,
    /// How long it took to look through what waits, the last time.
    sought_for: Duration,
    /// What one line of the broker was not ready for, in this round: no reason to keep the others waiting.
    refused: Option<QueueError>,
    /// When the failure of this outage was told.
    complained: Option<Instant>,
}

/// Whether others may be taken all the same.
fn is_of_one_line(error: &QueueError) -> bool {
    matches!(error, QueueError::Full | QueueError::Topology { .. })
}

/// What the broker said to the jobs of a page.
#[derive(Default)]
struct Answers {
    taken: Vec<Reading>,
    without_pool: Vec<Reading>,
    /// The first answer that says the broker is away, or that its session is closed.
    away: Option<QueueError>,
}

impl Drain {
    async fn go_on(mut self) {
        let mut pause = AGAIN_AFTER;
        loop {
            self.something_to_do().await;
            self.broker_there().await;
            let before = self.inner.shelf.status().jobs;
            match self.round().await {
                Ok(()) => self.complained = None,
                Err(error) => self.complain(&error),
            }
            if self.is_done() {
                pause = AGAIN_AFTER;
            } else if self.inner.shelf.status().jobs < before {
                pause = AGAIN_AFTER;
                sleep(pause).await;
            } else {
                sleep(pause.max((self.sought_for * SHARE).min(LONGEST_PAUSE))).await;
                pause = (pause * 2).min(AGAIN_AFTER_AT_MOST);
            }
        }
    }

    async fn something_to_do(&self) {
        while self.is_done() {
            self.inner.wake.notified().await;
        }
    }

    fn is_done(&self) -> bool {
        let shelf = &self.inner.shelf;
        self.untold.is_empty()
            && shelf.status().jobs == 0
            && !shelf.letters().may_be()
            && !self.inner.doubted.load(Ordering::Acquire)
    }

    async fn broker_there(&mut self) {
        while !self.inner.engine.is_available() {
            // Workers that are back later than the broker must find their time not used up.
            self.missing.clear();
            sleep(LOOK_EVERY).await;
        }
    }

    fn complain(&mut self, error: &QueueError) {
        let error = error as &dyn std::error::Error;
        if self.complained.is_some_and(|said| said.elapsed() < SAY_AGAIN_AFTER) {
            tracing::debug!(error, "the kept jobs still cannot be handed to the broker");
            return;
        }
        self.complained = Some(Instant::now());
        let jobs = self.inner.shelf.status().jobs;
        tracing::warn!(error, jobs, "cannot hand the kept jobs to the broker yet, trying again");
    }

    /// Offers everything that waits once.
    async fn round(&mut self) -> Result<(), QueueError> {
        self.clear_doubt().await?;
        self.tell_the_past().await?;
        let began = Instant::now();
        let index = self.inner.shelf.index().await?;
        self.sought_for = began.elapsed();
        let (messages, index) = index.into_iter().partition(|kept| kept.spot().pool().is_none());
        let mut held_back = HashSet::new();
        for page in pages(index) {
            let is_open = |kept: &Kept| kept.spot().pool().is_none_or(|pool| !held_back.contains(pool));
            let page = page.into_iter().filter(is_open).collect();
            let page = self.inner.shelf.read(page).await?;
            self.bury(page.unreadable).await?;
            let open = self.forget_ended(page.jobs).await?;
            self.hand_over(open, &mut held_back).await?;
        }
        self.submit(messages).await?;
        if let Some(jobs) = self.inner.shelf.end() {
            tracing::info!(jobs, "the broker is back, the kept jobs were handed to it");
        }
        if self.inner.shelf.letters().may_be() {
            letters::hand_over(&self.inner).await?;
        }
        self.refused.take().map_or(Ok(()), Err)
    }

    /// Trusts the broker again once it has confirmed something.
    async fn clear_doubt(&self) -> Result<(), QueueError> {
        if self.inner.doubted.load(Ordering::Acquire) {
            self.inner.confirmed("mark the history", self.inner.engine.mark(Uuid::now_v7())).await?;
            self.inner.doubted.store(false, Ordering::Release);
        }
        Ok(())
    }

    /// Tells the broker's history what was said here while the queue was the embedded one: before a job that waits is
    /// handed over, workers know what is newer, and ingresses how others ended.
    async fn tell_the_past(&mut self) -> Result<(), QueueError> {
        if self.untold.is_empty() {
            return Ok(());
        }
        let inner = &self.inner;
        let mut told = 0;
        for places in self.untold.pages() {
            let events = inner.shelf.disk().told_at(places).await?;
            let telling = events
                .iter()
                .map(|event| inner.confirmed("hand over the history", inner.engine.retell(event)));
            let outcomes: Result<Vec<()>, QueueError> = join_all(telling).await.into_iter().collect();
            if outcomes.as_ref().is_err_and(means_away) {
                inner.doubt();
            }
            told += outcomes?.len();
        }
        // Cut off before this, all is told again, which changes nothing.
        inner.shelf.disk().note(Note::Told, self.untold.last()).await?;
        self.untold = Untold::default();
        inner.told.send_replace(true);
        tracing::info!(events = told, "the history of the embedded queue was handed to the broker");
        Ok(())
    }

    /// Takes out what has ended while it waited, and gives the rest.
    async fn forget_ended(&self, page: Vec<Reading>) -> Result<Vec<Reading>, QueueError> {
        let (mut open, mut ended) = (Vec::new(), Vec::new());
        for reading in page {
            match self.ends.get(&reading.job.id) {
                None => open.push(reading),
                Some((State::Dead, place)) => {
                    self.lay_aside(&reading.job, *place).await?;
                    ended.push(reading.kept);
                }
                Some(_) => ended.push(reading.kept),
            }
        }
        if !ended.is_empty() {
            tracing::info!(
                jobs = ended.len(),
                "jobs in the data directory have ended already, they are not handed over"
            );
        }
        self.inner.shelf.forget(ended).await?;
        Ok(open)
    }

    /// Its worker may have died before it wrote the letter; two of one job are harmless.
    async fn lay_aside(&self, job: &Job, place: u64) -> Result<(), QueueError> {
        let inner = &self.inner;
        let told = inner.shelf.disk().told_at(vec![place]).await?;
        let Some((attempts, reason)) = told.first().map(death_of) else { return Ok(()) };
        let burying = inner.engine.bury(job.encode().into(), job.target.pool(), attempts, &reason);
        inner.confirmed("write a dead letter", burying).await
    }

    /// Hands what came in for the ingresses to the broker's intake.
    async fn submit(&mut self, messages: Vec<Kept>) -> Result<(), QueueError> {
        let inner = Arc::clone(&self.inner);
        for page in pages(messages) {
            for (kept, body) in inner.shelf.messages(page).await? {
                let submitted = inner.confirmed("hand over what came in", inner.engine.submit(body)).await;
                if submitted.as_ref().is_err_and(means_away) {
                    inner.doubt();
                }
                match submitted {
                    Ok(()) => inner.shelf.forget(vec![kept]).await?,
                    Err(error) if is_of_one_line(&error) => {
                        self.refused = Some(error);
                        return Ok(());
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Lays what is no job among the broker's dead letters, as it came.
    async fn bury(&self, unreadable: Vec<Unreadable>) -> Result<(), QueueError> {
        let inner = &self.inner;
        for Unreadable { kept, body, error } in unreadable {
            let Some(pool) = kept.spot().pool() else { continue };
            let newer = error.is_from_a_newer_version();
            let code = if newer { reason::UNKNOWN_WORDS } else { reason::UNDECODABLE };
            let reason = Reason::new(code, error.to_string());
            inner.confirmed("write a dead letter", inner.engine.bury(body, pool, 0, &reason)).await?;
            tracing::error!(%pool, reason = reason.text, "what was kept cannot be read: it is a dead letter now");
            inner.shelf.forget(vec![kept]).await?;
        }
        Ok(())
    }

    /// Publishes a page, says what came of it, and only then takes it out.
    async fn hand_over(
        &mut self,
        page: Vec<Reading>,
        held_back: &mut HashSet<PoolName>,
    ) -> Result<(), QueueError> {
        let Answers { taken, without_pool, away } = self.offer(page, held_back).await;
        let (mut done, mut unsaid) = self.say_accepted(taken).await;
        if away.is_none() && unsaid.is_none() && !without_pool.is_empty() {
            let (rejected, error) = reject(&self.inner.engine, without_pool).await;
            done.extend(rejected);
            unsaid = error;
        }
        self.inner.shelf.forget(done).await?;
        match away.or(unsaid) {
            None => Ok(()),
            Some(error) => {
                if means_away(&error) {
                    self.inner.doubt();
                }
                Err(error)
            }
        }
    }

    /// Publishes the jobs of a page, all under way at once and begun in their order.
    async fn offer(&mut self, page: Vec<Reading>, held_back: &mut HashSet<PoolName>) -> Answers {
        let inner = &self.inner;
        let offering =
            page.iter().map(|reading| inner.confirmed("publish a job", inner.engine.publish(&reading.job)));
        let outcomes = join_all(offering).await;
        let (mut answers, mut refusing, mut taking) = (Answers::default(), HashSet::new(), HashSet::new());
        for (reading, outcome) in page.into_iter().zip(outcomes) {
            let pool = reading.job.target.pool();
            match outcome {
                Ok(()) => {
                    self.missing.remove(pool);
                    taking.insert(pool.clone());
                    answers.taken.push(reading);
                }
                Err(QueueError::NoPool(_)) if self.is_missing_for_good(pool) => {
                    answers.without_pool.push(reading);
                }
                Err(QueueError::NoPool(_)) => {
                    held_back.insert(pool.clone());
                }
                Err(error @ QueueError::Topology { .. }) => {
                    refusing.insert(pool.clone());
                    self.refused = Some(error);
                }
                Err(error) if is_of_one_line(&error) => {
                    held_back.insert(pool.clone());
                    self.refused = Some(error);
                }
                Err(error) => {
                    answers.away.get_or_insert(error);
                }
            }
        }
        // What the broker refuses may be one target's alone; each that is refused takes its time.
        held_back.extend(refusing.into_iter().filter(|pool| !taking.contains(pool)));
        answers
    }

    fn is_missing_for_good(&mut self, pool: &PoolName) -> bool {
        let since = self.missing.entry(pool.clone()).or_insert_with(Instant::now);
        since.elapsed() >= self.inner.settings.pool_within
    }

    /// Says that jobs are accepted; gives those of which it was said, and why it was not of another.
    async fn say_accepted(&self, jobs: Vec<Reading>) -> (Vec<Kept>, Option<QueueError>) {
        let inner = &self.inner;
        let saying = jobs.iter().map(|reading| async move {
            let event = Event::of(&reading.job, State::Accepted, 0, 0);
            inner.confirmed("say an event", inner.engine.emit(&event)).await
        });
        let said = join_all(saying).await;
        let (mut done, mut unsaid) = (Vec::new(), None);
        for (reading, said) in jobs.into_iter().zip(said) {
            match said {
                Ok(()) => done.push(reading.kept),
                Err(error) => unsaid = unsaid.or(Some(error)),
            }
        }
        (done, unsaid)
    }
}
