//! A running ingress for tests, and a plain HTTP caller of it.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

#[path = "../../../tests/src/description.rs"]
pub mod description;
pub mod faulty;
pub mod http;
mod shortened;

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use config::{Document, Faults};
use ingress::{IngressError, Listeners, Settings, TokenHash};
use proto::{Event, Job, State};
use queue::{Queue, SpoolSettings, Spooling};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

use faulty::Faulty;
use http::{Answer, Call};

pub const TOKEN: &str = "lsh_test";
pub const SOON: Duration = Duration::from_secs(30);

/// The configuration most tests use.
pub const TEXT: &str = r#"
sources:
  demo: {kind: plain, open: true, loopback_only: true}
  keyed: {kind: plain, key: sesame}
  acr: {kind: aliyun-acr, key: sesame, registry: "127.0.0.1:5000"}
  registry: {kind: distribution, authorization: "Bearer sesame"}
systems:
  s: {kind: rehearsal}
  far: {kind: rehearsal, pool: office}
targets:
  demo: {at: s, follow: "demo:*"}
  twin: {at: s, follow: "both:*", deadline: 10m}
  other: {at: s, follow: ["both:*", "127.0.0.1:5000/namespace/repotest:*"]}
  hub: {at: s, follow: "registry.git.erxes.io/foo/bar:*"}
  remote: {at: far, follow: "remote:*"}
"#;

/// A served ingress; it stops when dropped.
pub struct Server {
    pub address: SocketAddr,
    /// Where it takes hooks alone, if it does.
    pub hooks: Option<SocketAddr>,
    pub queue: Arc<Faulty>,
    spool: Option<Arc<Spooling>>,
    stop: Option<DropGuard>,
    running: JoinHandle<Result<(), IngressError>>,
}

impl Server {
    pub async fn start() -> Server {
        let server = Server::on(Faulty::serving(&["default"]).await).await;
        // Under load the first hook would be told that it is starting.
        eventually(|| async { server.get("/readyz").await.status == 200 }).await;
        server
    }

    pub async fn on(queue: Arc<Faulty>) -> Server {
        Server::with(queue, TEXT).await
    }

    pub async fn with(queue: Arc<Faulty>, text: &str) -> Server {
        Server::run(queue, None, text, None, None).await
    }

    /// With a second listener, for hooks alone.
    pub async fn with_hooks_listener(queue: Arc<Faulty>, text: &str) -> Server {
        let hooks = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Server::run(queue, None, text, None, Some(hooks)).await
    }

    /// Keeps jobs in `data` while the queue is away.
    pub async fn beside_a_spool(queue: Arc<Faulty>, data: &Path, settings: SpoolSettings) -> Server {
        let engine: Arc<dyn Queue> = queue.clone();
        let spool = Spooling::open(engine, data, settings).await.unwrap();
        Server::run(queue, Some(spool), TEXT, None, None).await
    }

    /// Keeps in `data` what workers tell, and jobs while the queue is away.
    pub async fn keeping(queue: Arc<Faulty>, data: &Path, text: &str) -> Server {
        let engine: Arc<dyn Queue> = queue.clone();
        let spool = Spooling::open(engine, data, SpoolSettings::default()).await.unwrap();
        Server::run(queue, Some(spool), text, Some(data), None).await
    }

    async fn run(
        queue: Arc<Faulty>,
        spool: Option<Arc<Spooling>>,
        text: &str,
        data: Option<&Path>,
        hooks: Option<TcpListener>,
    ) -> Server {
        let mut faults = Faults::new();
        let document = Document::parse("test.yaml", text).unwrap();
        let settings = Settings::read(&document, &mut faults);
        let settings = settings.unwrap_or_else(|| panic!("{faults}")).with_admin_token(TokenHash::of(TOKEN));
        let settings = match data {
            Some(data) => settings.with_data(data),
            None => settings,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let hooks_address = hooks.as_ref().map(|hooks| hooks.local_addr().unwrap());
        let listeners = Listeners { all: listener, hooks };
        let stop = CancellationToken::new();
        let shared: Arc<dyn Queue> = match &spool {
            Some(spool) => spool.clone(),
            None => queue.clone(),
        };
        let running = tokio::spawn(ingress::run(settings, shared, spool.clone(), listeners, stop.clone()));
        Server { address, hooks: hooks_address, queue, spool, stop: Some(stop.drop_guard()), running }
    }

    /// Waits until hooks are taken.
    pub async fn ready(self) -> Server {
        eventually(|| async { self.get("/readyz").await.status == 200 }).await;
        self
    }

    pub async fn stop(mut self) {
        drop(self.stop.take());
        tokio::time::timeout(SOON, self.running).await.unwrap().unwrap().unwrap();
        if let Some(spool) = self.spool {
            spool.close().await;
        }
    }

    /// Without a token.
    pub async fn call(&self, call: Call) -> Answer {
        http::send(self.address, call).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Call::get(path).bearer(TOKEN)).await
    }

    pub async fn post(&self, path: &str, body: impl Into<String>) -> Answer {
        self.call(Call::post(path, body).bearer(TOKEN)).await
    }

    /// Says that a job reached these states, as a worker would.
    pub async fn reach(&self, job: &Job, states: &[State]) {
        for state in states {
            self.queue.emit(&Event::of(job, *state, 1, 0)).await.unwrap();
        }
    }

    /// Waits until the server shows the job in this state.
    pub async fn reached(&self, job: &Job, state: State) {
        eventually(|| async {
            self.get(&format!("/v1/jobs/{}", job.id)).await.json()["state"] == state.as_str()
        })
        .await;
    }

    /// Posts to a hook and gives the one job that came of it.
    pub async fn hook(&self, path: &str, body: &str) -> Job {
        let answer = self.post(path, body).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        self.job(&answer.json()["jobs"][0])
    }

    /// The published job that an answer tells of.
    pub fn job(&self, told: &Value) -> Job {
        let published = self.queue.published();
        let id = told["id"].as_str().unwrap();
        published.into_iter().find(|job| job.id.to_string() == id).unwrap()
    }
}

/// Asks again until it is so.
pub async fn eventually<F: Future<Output = bool>>(is_so: impl Fn() -> F) {
    let asking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, asking).await.expect("it did not come to be so in time");
}
