//! A Docker Engine that manages a swarm, as far as workers can tell: what they ask of one over TCP, its conditional
//! writes, its slow rollouts, and its bad days. Behind it is nothing but a record of all that was written, which
//! outlives every worker.

mod answers;
mod connections;
mod record;
mod service;
mod services;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{broadcast, watch};

use self::services::Services;

pub use self::record::{Ran, Record, Write};

/// Events that a slow reader may lag behind.
const EVENTS_KEPT: usize = 4096;

/// A tag that ends so is an image whose tasks are rejected.
pub const BAD: &str = "-bad";

/// A tag that ends so is one that its registry does not have.
pub const MISSING: &str = "-missing";

/// What befalls its answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mishap {
    /// Nothing.
    #[default]
    None,
    /// Each comes so much later.
    Late(Duration),
    /// The connection breaks in the midst of every third.
    CutShort,
    /// What is written is carried out, and the connection breaks before a word of answer. Half of the writes.
    WritesUnanswered,
}

/// A fake engine on a port of its own of 127.0.0.1, with a thread of its own. Dropping it ends it.
pub struct FakeSwarm {
    address: String,
    engine: Arc<Engine>,
    runtime: Option<Runtime>,
}

/// What its connections and rollouts share.
struct Engine {
    services: Mutex<Services>,
    events: broadcast::Sender<Arc<Value>>,
    mishap: watch::Sender<Mishap>,
    /// Answers that a mishap might have befallen, and those that it did.
    concerned: AtomicU64,
    broken_off: AtomicU64,
    rollout: Duration,
}

impl FakeSwarm {
    /// Starts one whose rollouts take about `rollout` each.
    pub fn start(rollout: Duration) -> Result<Self> {
        let engine = Arc::new(Engine {
            services: Mutex::default(),
            events: broadcast::Sender::new(EVENTS_KEPT),
            mishap: watch::Sender::new(Mishap::None),
            concerned: AtomicU64::new(0),
            broken_off: AtomicU64::new(0),
            rollout,
        });
        // Not on the test's own thread, which may have a load to send.
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.context("build the fake engine's runtime")?;
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("bind the fake engine")?;
        listener.set_nonblocking(true).context("prepare the fake engine's socket")?;
        let address = listener.local_addr().context("read the fake engine's port")?.to_string();
        let of_engine = Arc::clone(&engine);
        runtime.spawn(async move {
            // Without a listener every caller is refused, and the tests say so.
            if let Ok(listener) = TcpListener::from_std(listener) {
                connections::accept_all(listener, of_engine).await;
            }
        });
        Ok(Self { address, engine, runtime: Some(runtime) })
    }

    /// Where it listens: `127.0.0.1:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Adds a service of two tasks that runs `image`.
    pub fn add(&self, name: &str, image: &str) {
        self.engine.services().add(name, image);
    }

    /// The same with labels: those of a stack, or of a follow.
    pub fn add_labelled(&self, name: &str, image: &str, labels: Value) {
        self.engine.services().add_labelled(name, image, labels);
    }

    /// From now on it has no leader to write this service with; with none named it has one for all.
    pub fn refuse_writes_to(&self, service: Option<&str>) {
        self.engine.services().refused = service.map(str::to_owned);
    }

    /// From now on every tag of its registry points to other content.
    pub fn push_again(&self) {
        self.engine.services().pushes += 1;
    }

    /// Removes a service, as somebody does by hand.
    pub fn remove(&self, service: &str) {
        self.engine.services().remove(service);
    }

    /// From now on its answers fare so.
    pub fn befall(&self, mishap: Mishap) {
        self.engine.mishap.send_replace(mishap);
    }

    /// How many answers were broken off so far.
    pub fn broken_off(&self) -> u64 {
        self.engine.broken_off.load(Ordering::Relaxed)
    }

    /// How many writes were carried out so far.
    pub fn writes(&self) -> usize {
        self.engine.services().record.writes.len()
    }

    /// All that was done so far.
    pub fn record(&self) -> Record {
        self.engine.services().record.clone()
    }

    /// The spec of a service as it stands.
    pub fn spec(&self, service: &str) -> Option<Value> {
        self.engine.services().find(service).map(|service| service.spec.clone())
    }
}

impl Drop for FakeSwarm {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Engine {
    fn services(&self) -> MutexGuard<'_, Services> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
