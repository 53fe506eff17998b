//! Wishes become jobs: minted, published, and only then said to be accepted.

mod repeats;
mod request;

use std::{
    collections::{BTreeSet, HashSet},
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use jiff::Timestamp;
use proto::{ChainId, Event, Job, JobId, PoolName, State, TargetName};
use queue::{Chronicle, Queue, QueueError, SayError};
use tokio::{
    sync::{Mutex as Turn, MutexGuard as TurnGuard},
    time::{Instant, sleep, timeout, timeout_at},
};

pub(crate) use self::request::{KeyReused, Request};
use self::{repeats::Repeats, request::cause_of};
use crate::{counters::Counters, gates, mint::Mint, pools::Pools, route::Wish, view::View};

/// How long a job may take to become durable.
const PUBLISH_WITHIN: Duration = Duration::from_secs(10);
/// Pause before a job is published again whose first publishing nobody confirmed.
const PUBLISH_AGAIN_AFTER: Duration = Duration::from_millis(200);
/// How long `accepted` may take to be confirmed; the job is durable whether it is or not.
const SAY_WITHIN: Duration = Duration::from_secs(5);
/// How many deliveries can be taken side by side without waiting for another by chance.
const TURNS: usize = 256;

/// Makes jobs of wishes.
pub(crate) struct Intake {
    queue: Arc<dyn Queue>,
    chronicle: Chronicle,
    view: Arc<View>,
    mint: Arc<Mint>,
    counters: Arc<Counters>,
    pools: Arc<Pools>,
    /// Pools that took a job of this process.
    served: Mutex<HashSet<PoolName>>,
    /// Two sendings of one delivery take turns, so that the second finds the jobs of the first.
    turns: Vec<Turn<()>>,
    hasher: RandomState,
}

/// What came of the wishes.
#[derive(Debug)]
pub(crate) struct Taken {
    /// Durable jobs, of this request or an earlier sending of it, in the order of the wishes.
    pub(crate) jobs: Vec<Job>,
    /// Targets whose wishes were refused by the queue; where wishes belong together, those behind are left out.
    pub(crate) refused: Vec<(TargetName, QueueError)>,
}

impl Intake {
    pub(crate) fn new(
        queue: Arc<dyn Queue>,
        chronicle: Chronicle,
        view: Arc<View>,
        mint: Arc<Mint>,
        counters: Arc<Counters>,
        pools: Arc<Pools>,
    ) -> Intake {
        let turns = (0..TURNS).map(|_| Turn::new(())).collect();
        let (served, hasher) = (Mutex::default(), RandomState::new());
        Intake { queue, chronicle, view, mint, counters, pools, served, turns, hasher }
    }

    /// The history this intake speaks into.
    pub(crate) fn chronicle(&self) -> &Chronicle {
        &self.chronicle
    }

    /// Makes each wish a durable job, unless an earlier sending of its delivery has done so; or, of one without a name,
    /// the same push `within` this time.
    pub(crate) async fn take(
        &self,
        wishes: Vec<Wish>,
        request: Request,
        within: Duration,
    ) -> Result<Taken, KeyReused> {
        let repeats = Repeats { within, request: &request };
        let _turns = self.wait_for_turns(&wishes, Some(repeats)).await;
        let mut earlier = self.earlier(&wishes, &request)?;
        self.find_repeats(&wishes, repeats, &mut earlier).await;
        self.take_rest(wishes, request, earlier, None).await
    }

    /// The same for wishes of the past, all of named deliveries: their jobs get these ids, which have to be of that time,
    /// one for each wish.
    pub(crate) async fn take_late(
        &self,
        wishes: Vec<Wish>,
        request: Request,
        ids: Vec<JobId>,
    ) -> Result<Taken, KeyReused> {
        let _turns = self.wait_for_turns(&wishes, None).await;
        let earlier = self.earlier(&wishes, &request)?;
        self.take_rest(wishes, request, earlier, Some(ids)).await
    }

    async fn take_rest(
        &self,
        wishes: Vec<Wish>,
        request: Request,
        earlier: Vec<Option<Job>>,
        ids: Option<Vec<JobId>>,
    ) -> Result<Taken, KeyReused> {
        let jobs = self.mint(&wishes, &earlier, &request, ids);
        let outcome = self.publish_all(jobs, request.whole).await;
        self.say_accepted(&outcome).await;
        Ok(gather(earlier, outcome))
    }

    /// Makes one job that is no sender's wish durable, and says that it was accepted. `make` is given its id and
    /// the time.
    pub(crate) async fn add(&self, make: impl FnOnce(JobId, Timestamp) -> Job) -> Result<Job, QueueError> {
        let now = self.mint.now();
        let job = make(self.mint.one(now), now);
        self.make_durable(&job).await?;
        self.say(&job).await;
        Ok(job)
    }

    async fn wait_for_turns(&self, wishes: &[Wish], repeats: Option<Repeats<'_>>) -> Vec<TurnGuard<'_, ()>> {
        let hashes = wishes.iter().filter_map(|wish| match &wish.delivery {
            Some(delivery) => Some(self.hasher.hash_one(delivery)),
            None => repeats?.content_of(wish).map(|content| self.hasher.hash_one(content)),
        });
        let places: BTreeSet<u64> = hashes.map(|hash| hash % TURNS as u64).collect();
        let mut turns = Vec::new();
        // In ascending order, so that no two requests ever wait for each other.
        for turn in places.into_iter().filter_map(|place| self.turns.get(usize::try_from(place).ok()?)) {
            turns.push(turn.lock().await);
        }
        turns
    }

    /// For each wish the job that an earlier sending of its delivery made, where there is one.
    fn earlier(&self, wishes: &[Wish], request: &Request) -> Result<Vec<Option<Job>>, KeyReused> {
        let is_of = |job: &Job, wish: &Wish| {
            job.target == wish.target.name
                && job.operation == wish.operation
                && (job.not_before == wish.not_before
                    || job.not_before == gates::not_before(wish, job.accepted_at))
                && wish.deadline.is_none_or(|deadline| deadline == job.deadline)
                // Said with `now` the second time, it is another wish than the one that waits.
                && !(wish.now && job.gates.window.is_some())
        };
        let chain = request.chain(wishes);
        let mut earlier = Vec::with_capacity(wishes.len());
        for wish in wishes {
            let mut jobs = self.view.of_delivery(&cause_of(wish, request));
            // A replay keeps its cause, and nobody sent it.
            jobs.retain(|job| job.replays.is_none());
            let is_other = |job: &Job| job.chain.is_named() && chain.is_some_and(|chain| job.chain != chain);
            let stranger = |job: &Job| is_other(job) || !wishes.iter().any(|wish| is_of(job, wish));
            if request.whole && jobs.iter().any(stranger) {
                return Err(KeyReused(wish.delivery.clone().unwrap_or_default()));
            }
            earlier.push(jobs.into_iter().find(|job| is_of(job, wish)));
        }
        Ok(earlier)
    }

    /// Jobs for the wishes that have none yet; none where there is one.
    fn mint(
        &self,
        wishes: &[Wish],
        earlier: &[Option<Job>],
        request: &Request,
        ids: Option<Vec<JobId>>,
    ) -> Vec<Option<Job>> {
        let now = self.mint.now();
        let count = earlier.iter().filter(|job| job.is_none()).count();
        let mut ids = ids.unwrap_or_else(|| self.mint.mint(now, count)).into_iter();
        let mut chain =
            earlier.iter().flatten().next().map(|job| job.chain).or_else(|| request.chain(wishes));
        let jobs = wishes.iter().zip(earlier).map(|(wish, earlier)| match earlier {
            Some(_) => None,
            None => ids.next().map(|id| {
                let chain = *chain.get_or_insert(ChainId::of(id));
                job(id, chain, now, wish, request)
            }),
        });
        jobs.collect()
    }

    async fn publish_all(&self, jobs: Vec<Option<Job>>, whole: bool) -> Vec<Option<Outcome>> {
        if !self.has_room(&jobs) {
            let refused = |job: Job| Outcome::Refused(job.target, QueueError::Full);
            return jobs.into_iter().map(|job| job.map(refused)).collect();
        }
        let missing = if whole { self.unserved(&jobs).await } else { None };
        if let Some(missing) = missing {
            let without = |job: Job| match *job.target.pool() == missing {
                true => Outcome::Refused(job.target, QueueError::NoPool(missing.clone())),
                false => Outcome::Waiting(job),
            };
            return jobs.into_iter().map(|job| job.map(without)).collect();
        }
        let mut outcomes: Vec<Option<Outcome>> = Vec::new();
        let mut refusing = false;
        // Pools that have not taken a job before go first and one by one: they are the likeliest to refuse.
        for job in jobs {
            outcomes.push(match job {
                None => None,
                Some(job) if refusing => Some(Outcome::Waiting(job)),
                Some(job) if self.has_taken(job.target.pool()) => Some(Outcome::Waiting(job)),
                Some(job) => {
                    let outcome = self.publish(job).await;
                    refusing |= whole && matches!(outcome, Outcome::Refused(..));
                    Some(outcome)
                }
            });
        }
        if refusing {
            return outcomes;
        }
        let rest = outcomes.into_iter().map(|outcome| async move {
            match outcome {
                Some(Outcome::Waiting(job)) => Some(self.publish(job).await),
                Some(Outcome::Published(_) | Outcome::Refused(..)) | None => outcome,
            }
        });
        join_all(rest).await
    }

    /// Whether all of several jobs fit: part of them would be a deploy of a part.
    fn has_room(&self, jobs: &[Option<Job>]) -> bool {
        let several = || jobs.iter().flatten();
        if several().count() < 2 {
            return true;
        }
        let (mut count, mut bytes) = (0, 0);
        for job in several() {
            count += 1;
            bytes += job.encode().len() as u64;
        }
        self.queue.has_room(count, bytes)
    }

    /// A pool that keeps several jobs from being taken together, since no worker ever served it. Where nobody can say,
    /// publishing will tell.
    async fn unserved(&self, jobs: &[Option<Job>]) -> Option<PoolName> {
        let jobs: Vec<&Job> = jobs.iter().flatten().collect();
        let mut unknown: Vec<&PoolName> = jobs.iter().map(|job| job.target.pool()).collect();
        unknown.sort();
        unknown.dedup();
        unknown.retain(|pool| jobs.len() > 1 && !self.has_taken(pool));
        for pool in unknown {
            if let Ok(Ok(false)) = timeout(PUBLISH_WITHIN, self.queue.is_served(pool)).await {
                return Some(pool.clone());
            }
        }
        None
    }

    fn has_taken(&self, pool: &PoolName) -> bool {
        self.served.lock().unwrap_or_else(PoisonError::into_inner).contains(pool)
    }

    async fn publish(&self, job: Job) -> Outcome {
        match self.make_durable(&job).await {
            Ok(()) => {
                self.pools.note_room(job.target.pool());
                Outcome::Published(job)
            }
            Err(error) => {
                // Without the broker it is the spool that is full, for every pool.
                if matches!(error, QueueError::Full) && self.queue.is_available() {
                    self.pools.note_full(job.target.pool());
                }
                Outcome::Refused(job.target, error)
            }
        }
    }

    /// Publishes a job; again, when nobody knows whether it arrived: copies of one id are harmless.
    async fn make_durable(&self, job: &Job) -> Result<(), QueueError> {
        let until = Instant::now() + PUBLISH_WITHIN;
        let unconfirmed = QueueError::Unconfirmed { attempted: "take a job" };
        loop {
            match timeout_at(until, self.queue.publish(job)).await {
                Ok(Ok(())) => break,
                Ok(Err(QueueError::Unconfirmed { .. })) if Instant::now() + PUBLISH_AGAIN_AFTER < until => {
                    sleep(PUBLISH_AGAIN_AFTER).await;
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(unconfirmed),
            }
        }
        self.view.enter(job);
        self.counters.accepted();
        // While the broker is away jobs are kept whatever their pool, which says nothing of the pool.
        if self.queue.is_available() {
            self.note_served(job.target.pool());
        }
        Ok(())
    }

    fn note_served(&self, pool: &PoolName) {
        self.served.lock().unwrap_or_else(PoisonError::into_inner).insert(pool.clone());
    }

    async fn say_accepted(&self, outcomes: &[Option<Outcome>]) {
        let published = outcomes.iter().filter_map(|outcome| match outcome {
            Some(Outcome::Published(job)) => Some(job),
            Some(Outcome::Waiting(_) | Outcome::Refused(..)) | None => None,
        });
        join_all(published.map(|job| self.say(job))).await;
    }

    async fn say(&self, job: &Job) {
        let mut event = Event::of(job, State::Accepted, 0, 0);
        event.time = self.mint.now();
        // Nobody waits until it is read here: whoever looks at the job at once finds what was entered when it was published.
        match self.chronicle.tell(&event, SAY_WITHIN).await {
            Ok(()) => {}
            Err(SayError::Unseen(_)) => {
                tracing::warn!(job = %job.id, "nobody has confirmed yet that the job was accepted");
            }
            Err(SayError::Queue(error)) => {
                let error = &error as &dyn std::error::Error;
                if !self.queue.is_available() {
                    tracing::debug!(job = %job.id, error, "the broker is away: that the job was accepted is said when it is back");
                    return;
                }
                tracing::warn!(job = %job.id, error, "could not say that the job was accepted");
            }
        }
    }
}

/// What became of a job on its way to the queue.
enum Outcome {
    Waiting(Job),
    Published(Job),
    Refused(TargetName, QueueError),
}

fn gather(earlier: Vec<Option<Job>>, outcomes: Vec<Option<Outcome>>) -> Taken {
    let mut taken = Taken { jobs: Vec::new(), refused: Vec::new() };
    for (earlier, outcome) in earlier.into_iter().zip(outcomes) {
        taken.jobs.extend(earlier);
        match outcome {
            Some(Outcome::Published(job)) => taken.jobs.push(job),
            Some(Outcome::Refused(target, error)) => taken.refused.push((target, error)),
            // Not published: another of the same request was refused before it.
            Some(Outcome::Waiting(_)) | None => {}
        }
    }
    taken
}

/// The job that a wish becomes.
pub(crate) fn job(id: JobId, chain: ChainId, now: Timestamp, wish: &Wish, request: &Request) -> Job {
    let job = Job {
        version: Job::VERSION,
        id,
        chain,
        target: wish.target.name.clone(),
        operation: wish.operation.clone(),
        slots: wish.operation.slots(),
        cause: cause_of(wish, request),
        accepted_at: now,
        not_before: gates::not_before(wish, now),
        deadline: now,
        gates: gates::of(wish, now),
        replays: None,
        traceparent: request.traceparent.clone(),
    };
    match wish.deadline {
        Some(deadline) => Job { deadline, ..job },
        // A hold does not use it up.
        None => job.lasting(wish.target.deadline),
    }
}
