//! Ingresses, workers, targets and an engine, of which everything but the ingresses is real.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::Duration,
};

use proptest::sample::Index;
use proto::{
    Cause, CauseKind, ChainId, Event, Gates as OpenGates, Job, JobId, Operation, State, TargetName, Timestamp,
};
use queue::{Queue, embedded::Embedded};
use tokio::runtime::Runtime;

use super::{
    account,
    gates::Gates,
    pier::{Aboard, Fate, Fates, Kind, Pier, Written},
    reach::{Holders, Reach, Shared},
    tally::{Account, Tally},
};
use crate::{Stop, fleet::Fleet, index::WINDOW, settings::Limits, target::Target};

const WORKERS: usize = 2;

/// How far the second ingress's clock is behind the first one's.
const APART: Duration = Duration::from_secs(2);

/// Longest wait for the end of anything once all gates are open.
const PATIENCE: Duration = Duration::from_secs(90);

pub(super) const KINDS: [Kind; 3] = [
    Kind { name: "quick", takes: Duration::ZERO, blind: false },
    Kind { name: "slow", takes: Duration::from_millis(120), blind: false },
    Kind { name: "blind", takes: Duration::from_millis(20), blind: true },
];

/// What happens next.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// An ingress takes a wish; it `hears` of the ids of others before it mints one. One that does not say so died
    /// after it published the job.
    Accept { ingress: usize, hears: bool, target: usize, wish: Wish, fate: Fate, says_so: bool },
    /// A worker takes so many steps at a target.
    Let { worker: usize, target: usize, steps: usize },
    /// A worker dies where it stands, and another begins in its place.
    Crash(usize),
    /// A worker is asked to stop, without any grace, and another begins in its place.
    Stop(usize),
    /// A worker is silent for so long that its jobs and locks are given to others, and then goes on.
    Freeze(usize),
    /// A job comes in once more.
    Copy(Index),
    /// Somebody calls a job off, and the ingress says that it took the cancel.
    Cancel(Index),
    /// The engine is closed under the workers' hands, they die, and all begin again.
    Reopen,
    /// The engine dies with the workers, and all begin again on its files as they lie there.
    CrashEngine,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Wish {
    /// An image of one of so many repositories.
    Image(u8),
    Restart,
    Start,
    Stop,
}

/// A job that was accepted.
#[derive(Debug, Clone)]
pub(super) struct Accepted {
    pub(super) job: Job,
    pub(super) fate: Fate,
}

pub(super) struct World {
    runtime: Runtime,
    folder: tempfile::TempDir,
    engine: Arc<Embedded>,
    gates: Arc<Gates>,
    fates: Fates,
    written: Written,
    aboard: Aboard,
    holders: Holders,
    workers: Vec<Worker>,
    accepted: Vec<Accepted>,
    /// The newest id each ingress knows.
    known: [Option<JobId>; 2],
    tally: Tally,
}

/// A worker's process. Its runtime dies with it, and everything on it, wherever it stands.
struct Worker {
    runtime: Runtime,
    reach: Arc<Reach>,
    stop: Stop,
    working: tokio::task::JoinHandle<()>,
}

impl World {
    /// Goes through a sequence, and gives the account of it.
    pub(super) fn live(steps: &[Step]) -> Result<Account, String> {
        let mut world = World::begin();
        for step in steps {
            world.step(step);
        }
        world.end()
    }

    fn begin() -> World {
        let runtime = Runtime::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let engine = Arc::new(Embedded::open(&files(&folder, 0)).unwrap());
        let mut world = World {
            runtime,
            folder,
            engine,
            gates: Arc::new(Gates::new(WORKERS)),
            fates: Fates::default(),
            written: Written::default(),
            aboard: Aboard::default(),
            holders: Holders::default(),
            workers: Vec::new(),
            accepted: Vec::new(),
            known: [None, None],
            tally: Tally::default(),
        };
        world.serve_pool();
        world.workers = (0..WORKERS).map(|worker| world.worker(worker)).collect();
        world
    }

    /// From now on the pool exists.
    fn serve_pool(&self) {
        let pool = target(0).pool().clone();
        drop(self.runtime.block_on(self.engine.take(&pool, 1)).unwrap());
    }

    fn rehearsals(&self) -> PathBuf {
        self.folder.path().join("rehearsal")
    }

    fn worker(&self, worker: usize) -> Worker {
        let builder = &mut tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let reach = Arc::new(Reach {
            worker,
            engine: Arc::clone(&self.engine) as Arc<dyn Queue>,
            gates: Arc::clone(&self.gates),
            holders: Arc::clone(&self.holders),
            hands: Mutex::default(),
            freezes: AtomicU64::new(0),
        });
        let targets: HashMap<TargetName, Arc<dyn Target>> =
            KINDS.iter().enumerate().map(|(n, kind)| (target(n), self.pier(worker, *kind))).collect();
        let limits = Limits {
            at_once: 16,
            takeover_after: Duration::from_millis(40),
            delivery_hold: Duration::from_secs(1),
            grace: Duration::ZERO,
        };
        let (stop, queue) = (Stop::default(), Arc::new(Shared(Arc::clone(&reach))));
        let prepared = crate::Prepared {
            fleet: Fleet::of(targets),
            limits,
            redaction: crate::redaction::Redaction::default(),
            polling: None,
            window: WINDOW,
        };
        let stopped = stop.clone();
        let working = runtime.spawn(async move {
            let (_none, changes) = tokio::sync::mpsc::channel(1);
            crate::run_following(prepared, changes, queue, stopped).await;
        });
        Worker { runtime, reach, stop, working }
    }

    fn pier(&self, worker: usize, kind: Kind) -> Arc<dyn Target> {
        let (gates, fates) = (Arc::clone(&self.gates), Arc::clone(&self.fates));
        let (written, aboard) = (Arc::clone(&self.written), Arc::clone(&self.aboard));
        Arc::new(Pier { worker, kind, gates, fates, written, aboard, folder: self.rehearsals() })
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Accept { ingress, hears, target, wish, fate, says_so } => {
                let id = self.mint(*ingress, *hears);
                self.accept(job(id, self::target(*target), operation(id, *wish)), *fate, *says_so);
            }
            Step::Let { worker, target: at, steps } => {
                self.runtime.block_on(self.gates.let_pass(*worker, &target(*at), *steps));
            }
            Step::Crash(worker) => self.crash(*worker),
            Step::Stop(worker) => self.stop(*worker),
            Step::Freeze(worker) => {
                self.tally.freezes += 1;
                self.workers[*worker].reach.freeze();
            }
            Step::Copy(which) if !self.accepted.is_empty() => {
                self.tally.copies += 1;
                self.publish(&which.get(&self.accepted).job);
            }
            Step::Copy(_) => {}
            Step::Cancel(which) => self.cancel(*which),
            Step::Reopen => self.reopen(),
            Step::CrashEngine => self.crash_engine(),
        }
    }

    fn mint(&mut self, ingress: usize, hears: bool) -> JobId {
        if hears {
            let newest = self.accepted.iter().map(|accepted| accepted.job.id).max();
            self.known[ingress] = self.known[ingress].max(newest);
        }
        let clock = Timestamp::now() - APART * u32::try_from(ingress).unwrap();
        let id = JobId::mint(clock, self.known[ingress]);
        self.known[ingress] = Some(id);
        id
    }

    /// Calls off one of the jobs that somebody wished, also one that has ended.
    fn cancel(&mut self, which: Index) {
        let wishes: Vec<&Job> =
            self.accepted.iter().map(|accepted| &accepted.job).filter(is_a_wish).collect();
        if wishes.is_empty() {
            return;
        }
        self.tally.cancels += 1;
        let other = which.get(&wishes);
        let (target, operation) = (other.target.clone(), Operation::Cancel { job: other.id });
        let id = self.mint(0, true);
        self.accept(job(id, target, operation), Fate::Succeeds, true);
    }

    fn accept(&mut self, job: Job, fate: Fate, says_so: bool) {
        self.fates.lock().unwrap().insert(job.id, fate);
        self.publish(&job);
        if says_so {
            self.runtime.block_on(self.engine.emit(&Event::of(&job, State::Accepted, 0, 0))).unwrap();
        }
        self.accepted.push(Accepted { job, fate });
    }

    fn publish(&self, job: &Job) {
        self.runtime.block_on(self.engine.publish(job)).unwrap();
    }

    fn crash(&mut self, worker: usize) {
        self.tally.crashes += 1;
        self.kill(worker);
        self.workers.insert(worker, self.worker(worker));
    }

    /// Everything on the worker's runtime is dropped where it stands.
    fn kill(&mut self, worker: usize) {
        self.workers.remove(worker).runtime.shutdown_timeout(PATIENCE);
    }

    fn stop(&mut self, worker: usize) {
        self.tally.stops += 1;
        self.leave(worker);
        self.workers.insert(worker, self.worker(worker));
    }

    /// Asks it to stop, and waits for that with its gates open.
    fn leave(&mut self, worker: usize) {
        self.gates.set_open(worker, true);
        let Worker { runtime, stop, working, .. } = self.workers.remove(worker);
        stop.asked.cancel();
        let left = runtime.block_on(async { tokio::time::timeout(PATIENCE, working).await });
        left.expect("the worker does not stop").unwrap();
        runtime.shutdown_timeout(PATIENCE);
        self.gates.set_open(worker, false);
    }

    fn reopen(&mut self) {
        self.tally.reopened += 1;
        self.runtime.block_on(self.engine.close());
        (0..WORKERS).rev().for_each(|worker| self.kill(worker));
        self.engine = Arc::new(Embedded::open(&files(&self.folder, self.tally.engine_crashes)).unwrap());
        self.workers = (0..WORKERS).map(|worker| self.worker(worker)).collect();
    }

    fn crash_engine(&mut self) {
        (0..WORKERS).rev().for_each(|worker| self.kill(worker));
        // What they had handed in is written before this, and the files stand still.
        self.runtime.block_on(self.engine.mark(uuid::Uuid::now_v7())).unwrap();
        let killed = files(&self.folder, self.tally.engine_crashes);
        self.tally.engine_crashes += 1;
        let left = files(&self.folder, self.tally.engine_crashes);
        std::fs::create_dir(&left).unwrap();
        for file in std::fs::read_dir(killed).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), left.join(file.file_name())).unwrap();
        }
        let former = std::mem::replace(&mut self.engine, Arc::new(Embedded::open(&left).unwrap()));
        // What it puts away now is lost.
        self.runtime.block_on(former.close());
        self.workers = (0..WORKERS).map(|worker| self.worker(worker)).collect();
    }

    /// Waits until whoever has read a target by now has written it or left it: from then on nothing is written late.
    fn nothing_comes_late(&self) {
        let aboard = std::mem::take(&mut *self.aboard.lock().unwrap());
        let until = std::time::Instant::now() + PATIENCE;
        while aboard.iter().any(|hand| hand.strong_count() > 0) {
            assert!(std::time::Instant::now() < until, "an attempt hangs with its gates open");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Opens all gates, waits for all ends, and draws the account.
    fn end(mut self) -> Result<Account, String> {
        (0..WORKERS).for_each(|worker| self.gates.set_open(worker, true));
        let jobs: Vec<JobId> = self.accepted.iter().map(|accepted| accepted.job.id).collect();
        self.runtime.block_on(account::all_end(&*self.engine, &jobs, PATIENCE))?;
        self.nothing_comes_late();
        let wished = (&self.accepted[..], &*self.rehearsals());
        self.runtime.block_on(account::newest_stand(&*self.engine, wished, PATIENCE));
        (0..WORKERS).rev().for_each(|worker| self.leave(worker));
        let last = self.runtime.block_on(account::Last::of(&*self.engine));
        let written = self.written.lock().unwrap().clone();
        let account = Account::draw((&self.accepted, &written), &last, &self.rehearsals(), self.tally);
        self.runtime.block_on(self.engine.close());
        account
    }
}

/// Where the engine's files are after so many crashes of it.
fn files(folder: &tempfile::TempDir, crashes: usize) -> PathBuf {
    folder.path().join(format!("queue-{crashes}"))
}

pub(super) fn target(number: usize) -> TargetName {
    KINDS[number].name.parse().unwrap()
}

/// Whether it is to change its target.
pub(super) fn is_a_wish(job: &&Job) -> bool {
    !matches!(job.operation, Operation::Cancel { .. })
}

fn operation(id: JobId, wish: Wish) -> Operation {
    let image = |repository: u8| format!("acme/{repository}:{}", id.as_uuid().simple());
    match wish {
        Wish::Image(repository) => {
            Operation::SetImage { image: image(repository).parse().unwrap(), service: None }
        }
        Wish::Restart => Operation::Restart,
        Wish::Start => Operation::Start,
        Wish::Stop => Operation::Stop,
    }
}

fn job(id: JobId, target: TargetName, operation: Operation) -> Job {
    let now = Timestamp::now();
    Job {
        version: Job::VERSION,
        id,
        chain: ChainId::of(id),
        target,
        slots: operation.slots(),
        operation,
        cause: Cause { kind: CauseKind::Api, source: None, by: None, delivery: None },
        accepted_at: now,
        not_before: None,
        deadline: now + Duration::from_secs(3600),
        gates: OpenGates::default(),
        replays: None,
        traceparent: None,
    }
}
