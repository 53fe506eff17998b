//! A Portainer as workers meet it: its stacks, its ways of saying yes to what never runs and no to what does, and the
//! Docker engines behind it. What it does is taken from a running 2.23.0 and from its source; where a habit is an ugly
//! one, it is named at the place.

mod api;
mod compose_engine;
mod connections;
mod deploy;
mod door;
mod engine;
mod file;
mod git;
mod hands;
mod show;
mod stacks;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

use self::compose_engine::ComposeEngine;
use self::engine::SwarmEngine;

/// A tag that ends so never comes up: a swarm rejects its tasks, Compose cannot start it.
pub const BAD: &str = "-bad";
/// A tag that ends so is in no registry.
pub const MISSING: &str = "-missing";
/// A tag that ends so starts and exits again and again, on either.
pub const CRASHING: &str = "-crash";
/// The end of an image's name that a swarm's nodes pull for ever.
pub const HANGING: &str = "-hang";

/// An access token that is good, across restarts too.
pub const API_KEY: &str = "ptr_fake-access-token";
/// Who may log in.
pub const USERNAME: &str = "worker";
/// With what.
pub const PASSWORD: &str = "a fake password";

/// The environment `production`, a swarm.
pub const SWARM: u64 = 1;
/// The environment `office`, a machine with Compose alone.
pub const COMPOSE: u64 = 2;
/// The environment `attic`, another such machine.
pub const ATTIC: u64 = 4;

/// Which way it deploys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// 1.24: stacks have neither a state nor dates, and can be neither started nor stopped.
    First,
    /// 2.14: stacks are made by one route for all, and a file that was refused stays.
    Old,
    /// Until 2.39: a write is answered once the docker command has exited.
    Synchronous,
    /// From 2.44: a write is answered at once, and deployed in the background.
    Asynchronous,
}

impl Family {
    /// Whether it is from before 2.16.
    fn is_old(self) -> bool {
        matches!(self, Family::First | Family::Old)
    }
}

/// What befalls one request.
#[derive(Debug, Clone)]
pub enum Mishap {
    /// The connection breaks before anything is done.
    CutBefore,
    /// It is carried out, and the connection breaks without a word.
    CutAfter,
    /// Something else answers, and nothing is done.
    Instead(u16, &'static str),
    /// It is carried out, and something else answers: a proxy that lost patience.
    Afterwards(u16, &'static str),
    /// Something else answers at once, a proxy without patience; what was asked goes on behind it.
    GivenUp(u16, &'static str),
    /// Of a write: the file is stored, and Portainer dies before it tells the engine. It is up again at once.
    DiesUnder,
    /// It waits on its way until told to go on.
    Held(Arc<Notify>),
}

/// One write of a stack, as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Put {
    /// Of which.
    pub stack: u64,
    /// In which environment, as the request says.
    pub environment: u64,
    /// The file.
    pub text: String,
    /// The variables; null where there were none.
    pub env: Value,
    /// `Prune`.
    pub prune: Value,
    /// `PullImage`.
    pub pull: Value,
    /// The same as versions from 2.36 on call it.
    pub repull: Value,
    /// Whether the engine was in the midst of a rollout of the stack, which is not watched over any more from then on.
    pub into_rollout: bool,
}

/// A fake Portainer on a port of its own of 127.0.0.1, with a thread of its own. Dropping it ends it.
pub struct FakePortainer {
    address: String,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

struct Shared {
    state: Mutex<State>,
    /// One deploy at a time, of all stacks of all environments.
    deploying: tokio::sync::Mutex<()>,
}

struct State {
    version: &'static str,
    family: Family,
    /// Deploys are called failed and the former file is put back, though the engine runs the new one.
    false_errors: bool,
    deploy_takes: Duration,
    rollout: Duration,
    stacks: BTreeMap<u64, Record>,
    next_stack: u64,
    swarm: SwarmEngine,
    /// By environment.
    composes: BTreeMap<u64, ComposeEngine>,
    /// Tokens of an earlier process are not known any more.
    process: u64,
    logins: VecDeque<Instant>,
    logins_in_all: usize,
    banned: bool,
    /// It is started anew once more as soon as somebody has logged in.
    restarts_after_login: bool,
    mishaps: Vec<(String, Mishap)>,
    requests: Vec<String>,
    puts: Vec<Put>,
    clock: i64,
    /// Calls under way, and the most there were.
    at_once: usize,
    most_at_once: usize,
    answers_take: Duration,
    /// Files of repositories by address, with the password that is asked for.
    repositories: BTreeMap<String, (String, Option<String>)>,
    /// What else is in them, by address and path.
    beside: BTreeMap<(String, String), String>,
    /// The whole name of the branch that each is cloned at where nobody names one; `refs/heads/main` without.
    branches: BTreeMap<String, String>,
    /// Whoever asks is no administrator, and these stacks were not given to it.
    hidden: Option<BTreeSet<u64>>,
    /// Environments whose engine does not answer.
    engines_down: BTreeSet<u64>,
    /// Somebody else writes to the services in the midst of the next deploy.
    meddled: bool,
    /// Nobody made an administrator in time: it waits to be started again.
    lacks_administrator: bool,
    /// A backup goes on, and writes wait for it.
    backs_up: bool,
    /// What the registry answers an engine that has no login to it.
    registry_refuses: Option<u16>,
    /// How long a container takes to be restarted: it is up while it is told to end.
    restart_takes: Duration,
    pull_fails: Option<String>,
}

/// A stack as it is kept.
#[derive(Debug, Clone)]
struct Record {
    name: String,
    kind: u64,
    environment: u64,
    env: Value,
    file: String,
    /// What the file was before the last write, to be put back if that fails. There is one alone.
    backup: String,
    status: u64,
    update_date: i64,
    git: Value,
    auto_update: Value,
    said: String,
    /// What a git stack, or a newer Portainer, keeps of whether services are removed that the file does not have.
    option: Value,
    /// It was kept in git, and is not any more.
    cut_off: bool,
    /// The webhook of a stack that is not in git, which the business edition has.
    webhook: String,
}

impl FakePortainer {
    /// Starts one whose engine takes about `rollout` for each rollout.
    pub fn start(family: Family, rollout: Duration) -> Result<Self> {
        let state = State {
            version: match family {
                Family::First => "1.24.2",
                Family::Old => "2.14.2",
                Family::Synchronous => "2.23.0",
                Family::Asynchronous => "2.45.0",
            },
            family,
            false_errors: false,
            deploy_takes: Duration::from_millis(30),
            rollout,
            stacks: BTreeMap::new(),
            next_stack: 1,
            swarm: SwarmEngine::default(),
            composes: BTreeMap::new(),
            process: 1,
            logins: VecDeque::new(),
            logins_in_all: 0,
            banned: false,
            restarts_after_login: false,
            mishaps: Vec::new(),
            requests: Vec::new(),
            puts: Vec::new(),
            clock: 1_795_000_000,
            at_once: 0,
            most_at_once: 0,
            answers_take: Duration::ZERO,
            repositories: BTreeMap::new(),
            beside: BTreeMap::new(),
            branches: BTreeMap::new(),
            hidden: None,
            engines_down: BTreeSet::new(),
            meddled: false,
            lacks_administrator: false,
            backs_up: false,
            registry_refuses: None,
            restart_takes: Duration::ZERO,
            pull_fails: None,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), deploying: tokio::sync::Mutex::new(()) });
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.context("build the fake Portainer's runtime")?;
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("bind the fake Portainer")?;
        listener.set_nonblocking(true).context("prepare the fake Portainer's socket")?;
        let address = listener.local_addr().context("read the fake Portainer's port")?.to_string();
        let of_it = Arc::clone(&shared);
        runtime.spawn(async move {
            // Without a listener every caller is refused, and the tests say so.
            if let Ok(listener) = TcpListener::from_std(listener) {
                connections::accept_all(listener, of_it).await;
            }
        });
        Ok(Self { address, shared, runtime: Some(runtime) })
    }

    /// `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes a stack that runs what its file says.
    pub fn add_stack(&self, environment: u64, name: &str, file: &str, env: Value) -> u64 {
        self.shared.add_stack(environment, name, file, env)
    }

    /// The environment in which a stack is recorded, by the stack's name.
    pub fn environment_of(&self, name: &str) -> Option<u64> {
        let state = self.shared.state();
        let record = state.stacks.values().find(|record| record.name == name);
        record.map(|record| record.environment)
    }

    fn change(&self, stack: u64, change: impl FnOnce(&mut Record)) {
        if let Some(record) = self.shared.state().stacks.get_mut(&stack) {
            change(record);
        }
    }

    /// The file of a stack as it is stored.
    pub fn file(&self, stack: u64) -> String {
        self.shared.state().stacks.get(&stack).map(|record| record.file.clone()).unwrap_or_default()
    }

    /// The variables of a stack.
    pub fn env(&self, stack: u64) -> Value {
        self.shared.state().stacks.get(&stack).map(|record| record.env.clone()).unwrap_or_default()
    }

    /// Whether there is a record of a stack.
    pub fn has_stack(&self, name: &str) -> bool {
        self.shared.state().stacks.values().any(|record| record.name == name)
    }

    /// Whether tasks and the network of a stack that was stopped or removed are still there.
    pub fn is_leaving(&self, stack: &str) -> bool {
        self.shared.state().swarm.is_leaving(stack)
    }

    /// The image that a service is meant to run, as the engine knows it; empty where there is none.
    pub fn image(&self, environment: u64, stack: &str, service: &str) -> String {
        let state = self.shared.state();
        match environment {
            COMPOSE | ATTIC => state
                .composes
                .get(&environment)
                .map(|engine| engine.image(stack, service))
                .unwrap_or_default(),
            _ => state.swarm.image(&format!("{stack}_{service}")),
        }
    }

    /// What is to come of the next request whose method and path hold `part`.
    pub fn befall_next(&self, part: &str, mishap: Mishap) {
        self.shared.state().mishaps.push((part.to_owned(), mishap));
    }

    /// What is to come of the `n`th request from now on, the next one being the first.
    pub fn befall_nth(&self, n: usize, mishap: Mishap) {
        let mut state = self.shared.state();
        let number = state.requests.len() + n;
        state.mishaps.push((format!("#{number}"), mishap));
    }

    /// From now on every deploy is called failed, and its file is put back, though the engine runs it.
    pub fn call_deploys_failed(&self) {
        self.shared.state().false_errors = true;
    }

    /// From now on the docker command takes so long.
    pub fn deploy_slowly(&self, takes: Duration) {
        self.shared.state().deploy_takes = takes;
    }

    /// From now on every answer takes so long.
    pub fn answer_slowly(&self, takes: Duration) {
        self.shared.state().answers_take = takes;
    }

    /// Most calls that were under way at once.
    pub fn most_at_once(&self) -> usize {
        self.shared.state().most_at_once
    }

    /// As a restart does: no token of a login is known any more. Access tokens are.
    pub fn restart(&self) {
        self.shared.state().process += 1;
    }

    /// It is started anew once more as soon as somebody has logged in, before that login is of any use.
    pub fn restart_after_login(&self) {
        self.shared.state().restarts_after_login = true;
    }

    /// How often somebody tried to log in.
    pub fn logins(&self) -> usize {
        self.shared.state().logins_in_all
    }

    /// Whether nobody may log in any more.
    pub fn is_banned(&self) -> bool {
        self.shared.state().banned
    }

    /// Every write of a stack that was begun.
    pub fn puts(&self) -> Vec<Put> {
        self.shared.state().puts.clone()
    }

    /// Method and path of every request.
    pub fn requests(&self) -> Vec<String> {
        self.shared.state().requests.clone()
    }

    /// What a tag points to from now on.
    pub fn push(&self, image: &str, digest: &str) {
        self.shared.state().swarm.registry.insert(image.to_owned(), digest.to_owned());
    }
}

impl Drop for FakePortainer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
