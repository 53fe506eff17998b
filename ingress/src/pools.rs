//! How the pools of all targets stand: a pool that nobody serves is told of, wherever somebody may look.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use proto::{Job, PoolName, Reason, State, reason};
use queue::{Queue, Standing};
use tokio::time::{Instant, sleep};

use crate::ingress::Ingress;

/// How often the pools are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(4);

/// How long a pool without a worker is not spoken of: workers are restarted, one after the other or all at once.
const QUIET_FOR: Duration = Duration::from_secs(15);

/// How often it is said again: workers that are away for hours must not be one line of long ago.
const SAY_AGAIN_AFTER: Duration = Duration::from_secs(5 * 60);

/// What is known of the pools.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    /// As they stood at the last look; those that could not be looked at are not among them.
    seen: Mutex<BTreeMap<PoolName, Seen>>,
    /// Those whose queue had no room for a job, and how many jobs waited there when it was looked at last.
    full: Mutex<BTreeMap<PoolName, Option<u32>>>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    standing: Standing,
    /// Since when nobody serves it, and when that was said last.
    unserved: Option<(Instant, Option<Instant>)>,
}

/// What is to be said of a pool after a look.
#[derive(Debug, PartialEq, Eq)]
enum News {
    Unserved,
    ServedAgain,
}

impl Pools {
    /// Looks again and again, and says which pools nobody serves, until it is dropped.
    pub(crate) async fn keep(&self, ingress: &Ingress) {
        loop {
            self.look(ingress).await;
            sleep(LOOK_EVERY).await;
        }
    }

    /// Every pool that could be looked at, and how it stood.
    pub(crate) fn standings(&self) -> Vec<(PoolName, Standing)> {
        self.seen().iter().map(|(pool, seen)| (pool.clone(), seen.standing)).collect()
    }

    /// Whether workers of a pool are there and nothing waits for them, as far as is known.
    pub(crate) async fn is_idle(&self, queue: &dyn Queue, pool: &PoolName) -> bool {
        self.look_at(queue, pool).await;
        self.seen().get(pool).is_some_and(|seen| seen.standing.workers > 0 && seen.standing.waiting == 0)
    }

    /// The pools whose queue had no room for the last job, as far as is known.
    pub(crate) fn full(&self) -> Vec<PoolName> {
        self.refusing().keys().cloned().collect()
    }

    /// Notes that the queue of a pool had no room for a job.
    pub(crate) fn note_full(&self, pool: &PoolName) {
        let mut full = self.refusing();
        if !full.contains_key(pool) {
            full.insert(pool.clone(), None);
            drop(full);
            tracing::warn!(%pool, "the queue is full for the pool: jobs for it are refused until some of those that wait are done");
        }
    }

    /// Notes that the queue of a pool has taken a job.
    pub(crate) fn note_room(&self, pool: &PoolName) {
        if self.refusing().remove(pool).is_some() {
            tracing::info!(%pool, "the queue has room for the pool again");
        }
    }

    /// Why a job in this state waits for nothing but a worker of its pool, where it does. Where nobody was there at the
    /// last look it is looked again: one may have come since.
    pub(crate) async fn why_waiting(&self, queue: &dyn Queue, job: &Job, state: State) -> Option<Reason> {
        let pool = job.target.pool();
        if !waits_for_a_worker(state) || !self.is_unserved(pool) {
            return None;
        }
        self.look_at(queue, pool).await;
        self.is_unserved(pool).then(|| {
            let text = format!("no worker of the pool `{pool}` is running; the job waits for one");
            Reason::new(reason::NO_WORKER, text).hint(format!(
                "start a worker whose configuration has a system in the pool `{pool}`; the log of one that runs says why \
                 it takes no jobs"
            ))
        })
    }

    fn is_unserved(&self, pool: &PoolName) -> bool {
        self.seen().get(pool).is_some_and(|seen| seen.standing.workers == 0)
    }

    async fn look(&self, ingress: &Ingress) {
        let pools: BTreeSet<PoolName> =
            ingress.known.targets().iter().map(|target| target.name.pool().clone()).collect();
        self.seen().retain(|pool, _| pools.contains(pool));
        for pool in pools {
            self.look_at(&*ingress.queue, &pool).await;
        }
    }

    async fn look_at(&self, queue: &dyn Queue, pool: &PoolName) {
        let standing = if queue.is_readable() { queue.standing(pool).await } else { Ok(None) };
        match standing {
            Ok(Some(standing)) => self.note(pool, standing),
            // What was seen before the broker went away tells nothing.
            Ok(None) => _ = self.seen().remove(pool),
            Err(error) => {
                self.seen().remove(pool);
                tracing::debug!(%pool, error = &error as &dyn std::error::Error, "a pool could not be looked at");
            }
        }
    }

    fn note(&self, pool: &PoolName, standing: Standing) {
        self.note_waiting(pool, standing.waiting);
        let mut seen = self.seen();
        let one = seen.entry(pool.clone()).or_insert(Seen { standing, unserved: None });
        let news = one.take_in(standing, Instant::now());
        drop(seen);
        match news {
            Some(News::Unserved) => {
                let waiting = standing.waiting;
                tracing::warn!(%pool, waiting, "no worker of the pool is running: what is accepted for it waits");
            }
            Some(News::ServedAgain) => tracing::info!(%pool, "a worker of the pool is running again"),
            None => {}
        }
    }

    /// A full queue from which something was taken is full no more, also where nobody brings it a job that would tell.
    fn note_waiting(&self, pool: &PoolName, waiting: u32) {
        let has_fewer = match self.refusing().get_mut(pool) {
            Some(before) => before.replace(waiting).is_some_and(|before| waiting < before),
            None => false,
        };
        if has_fewer {
            self.note_room(pool);
        }
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<PoolName, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusing(&self) -> MutexGuard<'_, BTreeMap<PoolName, Option<u32>>> {
        self.full.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a job in this state is in nobody's hands, and nothing but a worker is missing.
fn waits_for_a_worker(state: State) -> bool {
    match state {
        State::Accepted | State::Retrying => true,
        State::Started
        | State::Progress
        | State::Held
        | State::Succeeded
        | State::RolledBack
        | State::Failed
        | State::Dead
        | State::Superseded
        | State::Rejected
        | State::Cancelled => false,
    }
}

impl Seen {
    /// Takes in how the pool stands now.
    fn take_in(&mut self, standing: Standing, now: Instant) -> Option<News> {
        self.standing = standing;
        if standing.workers > 0 {
            let was_said = self.unserved.take().is_some_and(|(_, said)| said.is_some());
            return was_said.then_some(News::ServedAgain);
        }
        let (since, said) = self.unserved.get_or_insert((now, None));
        let is_due = match said {
            None => now.duration_since(*since) >= QUIET_FOR,
            Some(said) => now.duration_since(*said) >= SAY_AGAIN_AFTER,
        };
        if !is_due {
            return None;
        }
        *said = Some(now);
        Some(News::Unserved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(workers: u32) -> Standing {
        Standing { workers, waiting: 3 }
    }

    #[test]
    fn a_pool_without_a_worker_is_spoken_of_after_a_while_and_again_and_when_one_is_back() {
        let begin = Instant::now();
        let mut seen = Seen { standing: standing(1), unserved: None };
        let mut news = |workers, after| seen.take_in(standing(workers), begin + Duration::from_secs(after));
        // A worker that is restarted is no news.
        assert_eq!([news(0, 0), news(0, 14), news(1, 16), news(0, 20)], [None, None, None, None]);
        assert_eq!([news(0, 34), news(0, 35), news(0, 36)], [None, Some(News::Unserved), None]);
        assert_eq!([news(0, 334), news(0, 335)], [None, Some(News::Unserved)]);
        assert_eq!([news(2, 340), news(2, 344)], [Some(News::ServedAgain), None]);
    }

    #[test]
    fn only_what_nobody_has_in_hand_waits_for_a_worker() {
        let waiting: Vec<&str> =
            State::ALL.into_iter().filter(|state| waits_for_a_worker(*state)).map(State::as_str).collect();
        assert_eq!(waiting, ["accepted", "retrying"]);
        let (pools, pool) = (Pools::default(), PoolName::default());
        assert!(!pools.is_unserved(&pool), "nobody looked yet");
        pools.note(&pool, standing(0));
        assert!(pools.is_unserved(&pool));
        pools.note(&pool, standing(1));
        assert!(!pools.is_unserved(&pool));
    }

    #[test]
    fn a_pool_is_full_until_its_queue_takes_a_job_or_some_of_those_that_wait_are_taken() {
        let (pools, pool) = (Pools::default(), PoolName::default());
        let waiting = |waiting| pools.note(&pool, Standing { workers: 1, waiting });
        waiting(5);
        assert!(pools.full().is_empty());
        pools.note_full(&pool);
        assert_eq!(pools.full(), std::slice::from_ref(&pool));
        pools.note_room(&pool);
        assert!(pools.full().is_empty());
        pools.note_full(&pool);
        waiting(2);
        waiting(2);
        assert_eq!(pools.full(), std::slice::from_ref(&pool), "as many wait as when it was full");
        waiting(1);
        assert!(pools.full().is_empty());
    }
}
