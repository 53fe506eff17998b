//! Going on with another configuration while jobs run: what is begun under one ends under it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use proto::PoolName;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    LOOKED_WITHIN, Settings, Stop, WorkerError,
    catalogue::{self, Heard},
    discovery,
    execute::Executor,
    fleet::Fleet,
    poll::{self, Memory, Polling},
    questions,
    redaction::Redaction,
    remind,
    roster::Concern,
    serve,
    settings::Limits,
    twins,
};

/// A configuration of which it is known that its systems can be used. Nothing is connected to yet.
pub struct Prepared {
    pub(crate) fleet: Fleet,
    pub(crate) limits: Limits,
    pub(crate) redaction: Redaction,
    pub(crate) polling: Option<Polling>,
    /// How far back the history is read: that of the start.
    pub(crate) window: Duration,
}

impl Prepared {
    /// Builds what the settings name.
    ///
    /// # Errors
    /// When the settings of a system cannot work.
    pub fn new(settings: &Settings) -> Result<Prepared, WorkerError> {
        let registries = settings.registries.clone();
        Ok(Prepared {
            fleet: Fleet::new(settings)?,
            limits: settings.limits,
            redaction: Redaction::of(&settings.secrets),
            polling: settings.poll.clone().map(|settings| Polling { settings, registries }),
            window: settings.window,
        })
    }
}

/// What a worker does beside its jobs under one configuration. It ends when this is dropped.
pub(crate) struct Beside(JoinSet<()>);

/// What outlives a configuration: what was said of the targets, and what looks at registries saw.
#[derive(Clone, Default)]
pub(crate) struct Lasting {
    pub(crate) heard: Arc<Heard>,
    pub(crate) seen: Arc<Memory>,
}

impl Beside {
    /// Begins to look through the systems.
    pub(crate) fn begin(fleet: &Fleet) -> Beside {
        let mut tasks = JoinSet::new();
        let roster = fleet.roster();
        for (system, swarm) in roster.searched() {
            tasks.spawn(discovery::discover(Arc::clone(roster), system.clone(), swarm.clone()));
        }
        for (system, rancher) in fleet.ranchers() {
            let (roster, system, rancher) = (Arc::clone(roster), system.clone(), rancher.clone());
            tasks.spawn(async move {
                rancher.mind_key(|warning| roster.warned(&system, Concern::Key, warning)).await;
            });
        }
        for (system, target) in fleet.unsearched() {
            tasks.spawn(discovery::mind(Arc::clone(roster), system.clone(), Arc::clone(target)));
        }
        tasks.spawn(twins::tell(Arc::clone(roster), fleet.suspects().to_vec()));
        Beside(tasks)
    }

    /// Tells of the targets, looks at the registries, and minds what is on hold.
    pub(crate) fn go_on(&mut self, executor: &Arc<Executor>, lasting: &Lasting, polling: Option<&Polling>) {
        let Lasting { heard, seen } = lasting.clone();
        let inventories = executor.fleet.roster().inventories();
        let chronicle = Arc::clone(&executor.chronicle);
        self.0.spawn(async move { chronicle.mind_clocks().await });
        self.0.spawn(remind::remind(Arc::clone(executor)));
        self.0.spawn(catalogue::tell(Arc::clone(&executor.queue), heard, inventories));
        for (pool, polling) in executor.fleet.pools().iter().filter_map(|pool| Some((pool, polling?))) {
            self.0.spawn(poll::poll(Arc::clone(executor), pool.clone(), polling.clone(), Arc::clone(&seen)));
        }
    }
}

/// The pools a worker serves.
pub(crate) struct Pools {
    executors: watch::Receiver<Arc<Executor>>,
    stop: Stop,
    serving: TaskTracker,
    /// Those that are served now.
    open: BTreeMap<PoolName, Open>,
}

/// A pool that is served, until this is dropped: then nothing more is taken from it, and what was taken goes on.
struct Open {
    leave: CancellationToken,
    /// Ends with this.
    _answering: JoinSet<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.leave.cancel();
    }
}

impl Pools {
    pub(crate) fn new(executors: watch::Receiver<Arc<Executor>>, stop: Stop) -> Pools {
        Pools { executors, stop, serving: TaskTracker::new(), open: BTreeMap::new() }
    }

    /// Serves these pools and no others.
    pub(crate) fn serve(&mut self, pools: &BTreeSet<PoolName>) {
        self.open.retain(|pool, _| pools.contains(pool));
        for pool in pools {
            self.open.entry(pool.clone()).or_insert_with(|| {
                let (executors, leave) = (self.executors.clone(), self.stop.asked.child_token());
                let mut answering = JoinSet::new();
                answering.spawn(questions::answer(executors.clone(), pool.clone()));
                let stop = (self.stop.clone(), leave.clone());
                self.serving.spawn(serve::serve(executors, pool.clone(), stop));
                Open { leave, _answering: answering }
            });
        }
    }

    /// Waits, once the worker is to stop, until every job is settled or released. Questions are answered until then.
    pub(crate) async fn ended(self) {
        self.serving.close();
        self.serving.wait().await;
    }
}

/// Goes on with each new configuration until the worker is to stop.
pub(crate) async fn follow(
    mut changes: mpsc::Receiver<Prepared>,
    executors: &watch::Sender<Arc<Executor>>,
    (pools, beside): (&mut Pools, &mut Beside),
    lasting: &Lasting,
    stop: &Stop,
) {
    loop {
        let next = tokio::select! {
            next = changes.recv() => next,
            () = stop.asked.cancelled() => return,
        };
        let Some(next) = next else { return stop.asked.cancelled().await };
        let mut looking = Beside::begin(&next.fleet);
        tokio::select! {
            () = next.fleet.roster().looked_through(LOOKED_WITHIN) => {}
            () = stop.asked.cancelled() => return,
        }
        let polling = next.polling.clone();
        let executor = Arc::new(executors.borrow().under(next));
        tracing::info!(
            targets = executor.fleet.len(),
            pools = executor.fleet.pools().len(),
            "goes on with another configuration"
        );
        executors.send_replace(Arc::clone(&executor));
        pools.serve(executor.fleet.pools());
        std::mem::swap(beside, &mut looking);
        // Whoever told and looked so far must not answer the new ones.
        drop(looking);
        beside.go_on(&executor, lasting, polling.as_ref());
    }
}
