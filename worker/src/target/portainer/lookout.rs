//! One look at a Portainer for all rollouts that are watched there. Each by itself would make half a dozen calls a
//! second, and Portainer takes two at a time.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    sync::Mutex as AsyncMutex,
    time::{Instant, sleep_until},
};

use super::{answer::Call, client::Client, objects::Stack};
use crate::target::{TargetError, swarm::Sight};

/// While no more are watched, each asks for its own alone.
const FEW: usize = 2;
/// Between two calls for the same while more are watched: all who look meanwhile are answered by the one that is due.
const EVERY_OF_MANY: Duration = Duration::from_millis(800);
/// A service that nobody asked for since is not watched any more.
const WATCHED_FOR: Duration = Duration::from_secs(15);
/// Of more services than these all tasks are listed: an address has its limits.
const MOST_NAMED: usize = 100;
/// Nodes come and go seldom.
const NODES_LAST: Duration = Duration::from_secs(10);

/// What is looked at on one Portainer, for everyone who watches there.
#[derive(Default)]
pub(super) struct Lookout {
    stacks: Shared<Vec<Stack>>,
    environments: Mutex<HashMap<u64, Arc<Engine>>>,
}

/// What is looked at on the engine of one environment.
#[derive(Default)]
struct Engine {
    watching: AtomicUsize,
    /// The services that are watched, and when somebody asked for each last.
    asked_for: Mutex<HashMap<String, Instant>>,
    services: Shared<Vec<Value>>,
    current: Shared<HashMap<String, Vec<Value>>>,
    all: Shared<HashMap<String, Vec<Value>>>,
    nodes: AsyncMutex<Option<(Instant, Value)>>,
}

/// Somebody watches on an environment for as long as this is held.
pub(super) struct Seat(Arc<Engine>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.watching.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lookout {
    /// Whoever watches on this environment says so.
    pub(super) fn seat(&self, environment: u64) -> Seat {
        let engine = Arc::clone(locked(&self.environments).entry(environment).or_default());
        engine.watching.fetch_add(1, Ordering::Relaxed);
        Seat(engine)
    }

    /// All stacks, as they are now.
    pub(super) async fn stacks(&self, client: &Client) -> Result<Arc<Vec<Stack>>, TargetError> {
        let engines: Vec<Arc<Engine>> = locked(&self.environments).values().map(Arc::clone).collect();
        let watching: usize = engines.iter().map(|engine| engine.watching.load(Ordering::Relaxed)).sum();
        self.stacks.get((client.system(), every(watching)), client.stacks()).await
    }
}

impl Seat {
    /// The services of a swarm's stack, as they are now.
    pub(super) async fn services(&self, client: &Client, stack: &Stack) -> Result<Vec<Value>, TargetError> {
        let label = stack.kind.label();
        let list = |filters: Option<Value>| async move {
            let call = Call::read("show what runs", "services");
            let listed = client.docker(stack.environment, ("services", filters), call).await?;
            Ok(listed.as_array().cloned().unwrap_or_default())
        };
        if self.0.watching.load(Ordering::Relaxed) <= FEW {
            return list(Some(json!({"label": [format!("{label}={}", stack.name)]}))).await;
        }
        let all = self.0.services.get((client.system(), EVERY_OF_MANY), list(None)).await?;
        let is_of_it = |service: &&Value| service["Spec"]["Labels"][label] == stack.name.as_str();
        Ok(all.iter().filter(is_of_it).cloned().collect())
    }

    /// The tasks of a service, as they are now.
    pub(super) async fn sight(
        &self,
        client: &Client,
        (environment, service): (u64, &str),
    ) -> Result<Sight, TargetError> {
        locked(&self.0.asked_for).insert(service.to_owned(), Instant::now());
        let system = (client.system(), every(self.0.watching.load(Ordering::Relaxed)));
        let current = self.0.current.get(system, self.0.tasks(client, environment, true)).await?;
        let all = self.0.all.get(system, self.0.tasks(client, environment, false)).await?;
        let of = |listed: &HashMap<String, Vec<Value>>| {
            Value::Array(listed.get(service).cloned().unwrap_or_default())
        };
        Ok(Sight { current: of(&current), all: of(&all), nodes: self.0.nodes(client, environment).await })
    }
}

impl Engine {
    /// The tasks of all services that are watched, by service.
    async fn tasks(
        &self,
        client: &Client,
        environment: u64,
        current: bool,
    ) -> Result<HashMap<String, Vec<Value>>, TargetError> {
        let named: Vec<String> = {
            let mut asked_for = locked(&self.asked_for);
            asked_for.retain(|_, at| at.elapsed() < WATCHED_FOR);
            asked_for.keys().cloned().collect()
        };
        let is_alone = named.len() == 1;
        let named = if named.len() > MOST_NAMED { Vec::new() } else { named };
        let listed = match self.list(client, environment, (&named, current)).await {
            // One of them is gone: the engine then tells nothing of the others.
            Err(TargetError::NotFound { .. }) if !is_alone => {
                self.list(client, environment, (&[], current)).await?
            }
            listed => listed?,
        };
        let mut tasks: HashMap<String, Vec<Value>> = HashMap::new();
        for task in listed.as_array().into_iter().flatten() {
            let service = task["ServiceID"].as_str().unwrap_or_default().to_owned();
            tasks.entry(service).or_default().push(task.clone());
        }
        Ok(tasks)
    }

    async fn list(
        &self,
        client: &Client,
        environment: u64,
        (named, current): (&[String], bool),
    ) -> Result<Value, TargetError> {
        let mut filters = json!({});
        if !named.is_empty() {
            filters["service"] = json!(named);
        }
        if current {
            filters["_up-to-date"] = json!(["true"]);
        }
        let call = Call::read("show what runs", "tasks");
        client.docker(environment, ("tasks", Some(filters)), call).await
    }

    /// Not everybody may see the nodes; without, none counts as down.
    async fn nodes(&self, client: &Client, environment: u64) -> Value {
        let mut known = self.nodes.lock().await;
        if let Some((at, nodes)) = known.as_ref()
            && at.elapsed() < NODES_LAST
        {
            return nodes.clone();
        }
        let call = Call::read("show what runs", "nodes");
        let nodes = client.docker(environment, ("nodes", None), call).await.unwrap_or_default();
        *known = Some((Instant::now(), nodes.clone()));
        nodes
    }
}

fn every(watching: usize) -> Duration {
    if watching <= FEW { Duration::ZERO } else { EVERY_OF_MANY }
}

/// An answer that everyone takes who asked before its call was begun.
struct Shared<T>(AsyncMutex<Option<Last<T>>>);

struct Last<T> {
    begun: Instant,
    found: Result<Arc<T>, String>,
}

impl<T> Default for Shared<T> {
    fn default() -> Shared<T> {
        Shared(AsyncMutex::new(None))
    }
}

impl<T> Shared<T> {
    async fn get(
        &self,
        (system, every): (&str, Duration),
        call: impl Future<Output = Result<T, TargetError>>,
    ) -> Result<Arc<T>, TargetError> {
        let asked = Instant::now();
        let mut last = self.0.lock().await;
        if let Some(last) = last.as_ref().filter(|last| last.begun >= asked) {
            return last
                .found
                .clone()
                .map_err(|why| TargetError::Unreachable { system: system.to_owned(), source: why.into() });
        }
        if let Some(last) = last.as_ref() {
            sleep_until(last.begun + every).await;
        }
        let begun = Instant::now();
        let found = call.await.map(Arc::new);
        let told = found.as_ref().map(Arc::clone).map_err(ToString::to_string);
        *last = Some(Last { begun, found: told });
        found
    }
}

/// What it guards is whole at every moment, also where a holder panicked.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_asks_while_a_call_is_under_way_shares_the_next() {
        let shared: Shared<usize> = Shared::default();
        let calls = AtomicUsize::new(0);
        let ask = || {
            shared.get(("p", Duration::ZERO), async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Ok(calls.fetch_add(1, Ordering::Relaxed))
            })
        };
        let told = futures::future::join_all((0..20).map(|_| ask())).await;
        assert_eq!(calls.load(Ordering::Relaxed), 2, "the first, and one for all others");
        assert!(told.iter().all(Result::is_ok));
        assert_eq!(*ask().await.unwrap(), 2, "what was asked for later is called for anew");
    }
}
