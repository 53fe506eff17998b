//! One look at an engine for all rollouts that are watched there: one stream of events, one list of tasks.
//!
//! Each rollout by itself would ask for its own tasks twice a second; a hundred at once would keep a manager busy with
//! nothing else.

mod allowance;
mod seat;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bollard::models::Task;
use proto::Timestamp;
use tokio::{sync::Mutex as AsyncMutex, time::Instant};

use self::allowance::Allowance;
use super::{ages::EngineClock, client::Client, tasks::Nodes};
use crate::target::TargetError;

pub(super) use seat::Seat;

/// Between lists, in the long run, however few rollouts are watched: an engine has other things to do.
const EVERY: Duration = Duration::from_secs(1);

/// Nodes come and go seldom.
const NODES_LAST: Duration = Duration::from_secs(10);
/// Of more services than these all tasks are listed: an address has its limits.
const MOST_NAMED: usize = 100;

/// Tasks by the id of their service.
type Listed = Arc<HashMap<String, Vec<Task>>>;

/// Which tasks of a service are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// Those made from its current spec.
    Current,
    /// Those of earlier specs too, as far as the engine remembers them.
    All,
}

/// What watches one engine.
pub(super) struct Lookout {
    client: Arc<Client>,
    seats: Arc<Mutex<seat::Seats>>,
    allowance: AsyncMutex<Allowance>,
    current: AsyncMutex<Option<Look>>,
    all: AsyncMutex<Option<Look>>,
    nodes: AsyncMutex<Option<(Instant, Nodes)>>,
    clock: AsyncMutex<Option<EngineClock>>,
}

/// The last list, and when it was asked for.
struct Look {
    begun: Instant,
    found: Result<Listed, String>,
}

impl Lookout {
    pub(super) fn new(client: Arc<Client>) -> Lookout {
        Lookout {
            client,
            seats: Arc::default(),
            allowance: AsyncMutex::new(Allowance::new(Instant::now())),
            current: AsyncMutex::default(),
            all: AsyncMutex::default(),
            nodes: AsyncMutex::default(),
            clock: AsyncMutex::default(),
        }
    }

    /// A seat from which the service with this id is watched. What is read of the service after it was taken misses
    /// no event.
    pub(super) fn seat(&self, id: &str) -> Seat {
        Seat::take(&self.seats, id)
    }

    /// How often it is worth asking again. A little more seldom than is allowed: what is saved is there when an end is
    /// near.
    pub(super) fn pause(&self) -> Duration {
        EVERY.mul_f64(1.25)
    }

    /// The same where all runs, and nothing but time is waited for: the end wants two lists, one when the engine says that it
    /// is done, and one when the window is over, and either would else wait its turn for up to [`EVERY`].
    pub(super) fn pause_while_steady(&self) -> Duration {
        EVERY.mul_f64(2.0)
    }

    /// Waits until one more list may be asked for, of whatever an engine has many of.
    pub(super) async fn turn(&self) {
        self.allowance.lock().await.take(EVERY).await;
    }

    /// The nodes, as they were a few seconds ago at most.
    pub(super) async fn nodes(&self) -> Result<Nodes, TargetError> {
        let mut known = self.nodes.lock().await;
        match &*known {
            Some((at, nodes)) if at.elapsed() < NODES_LAST => Ok(nodes.clone()),
            Some(_) | None => {
                let at = Instant::now();
                let nodes = Nodes::of(self.client.nodes().await?);
                *known = Some((at, nodes.clone()));
                Ok(nodes)
            }
        }
    }

    /// The nodes, as they are.
    pub(super) async fn nodes_now(&self) -> Result<Nodes, TargetError> {
        *self.nodes.lock().await = None;
        self.nodes().await
    }

    /// The time by the engine's clock; by ours where it does not tell.
    pub(super) async fn now(&self) -> Timestamp {
        let mut known = self.clock.lock().await;
        let clock = match *known {
            Some(clock) if !clock.is_old() => clock,
            Some(_) | None => {
                let asked = Timestamp::now();
                EngineClock::read(self.client.time().await, asked)
            }
        };
        *known = Some(clock);
        clock.now()
    }

    /// The tasks of a service as they are now. Everyone who asks while a list is on its way, or may not be asked for
    /// yet, is answered by the same one.
    pub(super) async fn tasks(&self, id: &str, which: Which) -> Result<Vec<Task>, TargetError> {
        // Seated before it asks: whatever list is begun from now on has this service too.
        let _seat = self.seat(id);
        let asked = Instant::now();
        let mut last = match which {
            Which::Current => self.current.lock().await,
            Which::All => self.all.lock().await,
        };
        let listed = match &*last {
            Some(look) if look.begun >= asked => look.found.clone(),
            Some(_) | None => {
                self.turn().await;
                let begun = Instant::now();
                let found = self.list(which).await;
                let told = found.as_ref().map(Arc::clone).map_err(ToString::to_string);
                *last = Some(Look { begun, found: told });
                return found.map(|listed| of(&listed, id));
            }
        };
        match listed {
            Ok(listed) => Ok(of(&listed, id)),
            Err(why) => {
                Err(TargetError::Unreachable { system: self.client.system().to_owned(), source: why.into() })
            }
        }
    }

    /// The tasks of all services that are watched.
    async fn list(&self, which: Which) -> Result<Listed, TargetError> {
        let ids = locked(&self.seats).watched();
        let named = if ids.len() > MOST_NAMED { Vec::new() } else { ids };
        let is_alone = named.len() == 1;
        let tasks = match self.client.tasks(&named, which).await {
            // One of them is gone: the engine then tells nothing of the others.
            Err(TargetError::NotFound { .. }) if !is_alone => self.client.tasks(&[], which).await?,
            tasks => tasks?,
        };
        let mut listed: HashMap<String, Vec<Task>> = HashMap::new();
        for task in tasks {
            listed.entry(task.service_id.clone().unwrap_or_default()).or_default().push(task);
        }
        Ok(Arc::new(listed))
    }
}

fn of(listed: &Listed, id: &str) -> Vec<Task> {
    listed.get(id).cloned().unwrap_or_default()
}

/// What it guards is whole at every moment, also where a holder panicked.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
