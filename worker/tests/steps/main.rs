//! A worker is killed outright at each step of an attempt, another takes the job up: the job ends once, and its
//! target ends as if nothing had happened.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

#[path = "half_way.rs"]
mod half_way;
#[path = "../swarm/lab.rs"]
#[allow(dead_code, reason = "shared with another test program")]
mod lab;
#[path = "../swarm/registry.rs"]
#[allow(dead_code, reason = "shared with another test program")]
mod registry;
#[path = "secrets.rs"]
mod secrets;
#[path = "texts.rs"]
mod texts;

use std::{
    collections::BTreeSet,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use futures::{StreamExt, stream};
use proto::{Event, ImageRef, State};
use queue::{Entry, Settings as QueueSettings, Since};
use serde_json::{Value, json};
use tempfile::TempDir;
use worker::{steps, target::Target};

use crate::{
    lab::{STAYS_UP, Service, environment, job, swarm},
    registry::Registry,
};

const PATIENCE: Duration = Duration::from_secs(180);
const KILLED: i32 = 9;
/// So many workers and services at the same time.
const AT_ONCE: usize = 8;

/// What becomes of the job where nobody dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// The image holds.
    Good,
    /// It does not, and the engine rolls back.
    EngineGoesBack,
    /// It does not, and we roll back.
    WeGoBack,
}

/// One worker's death: in which life, and where.
struct Death<'a> {
    life: Life,
    step: String,
    images: &'a [ImageRef; 3],
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_may_die_at_any_step() {
    let registry = Registry::start();
    let images = [
        registry.push("steps:old", STAYS_UP),
        registry.push("steps:new", STAYS_UP),
        registry.push("steps:bad", &["false"]),
    ];
    let ways_back = ["undone", "wentback"];
    let mut deaths = Vec::new();
    for step in steps::names() {
        if !ways_back.contains(&step.as_str()) {
            deaths.push((Life::Good, step.clone()));
        }
    }
    for life in [Life::EngineGoesBack, Life::WeGoBack] {
        for step in ways_back.into_iter().chain(["announced", "applied", "watched", "said"]) {
            deaths.push((life, step.to_owned()));
        }
    }
    let named: BTreeSet<&str> = deaths.iter().map(|(_, step)| step.as_str()).collect();
    assert_eq!(named.len(), steps::names().count(), "a step without a death");
    let dying = deaths.into_iter().map(|(life, step)| Death { life, step, images: &images }.die_and_go_on());
    let told: Vec<Result<(), String>> = stream::iter(dying).buffer_unordered(AT_ONCE).collect().await;
    let wrong: Vec<String> = told.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

impl Death<'_> {
    async fn die_and_go_on(self) -> Result<(), String> {
        let service = Service::create(&self.images[0].to_string(), |spec| self.shape(spec)).await;
        let folder = self.prepare(&service);
        let first = run(&folder, Some(&self.step)).await;
        if first.signal() != Some(KILLED) {
            return Err(format!("{:?} {}: not reached, {first}", self.life, self.step));
        }
        let second = run(&folder, None).await;
        let ends = ends_of(&folder).await;
        let wrong = self.look(&service, &ends).await;
        if second.success() && wrong.is_empty() {
            return Ok(());
        }
        Err(format!("{:?} {}: {second}; {}; {ends:?}", self.life, self.step, wrong.join("; ")))
    }

    fn shape(&self, spec: &mut Value) {
        spec["Mode"]["Replicated"]["Replicas"] = json!(1);
        spec["UpdateConfig"]["Monitor"] = json!(15_000_000_000u64);
        match self.life {
            Life::Good => spec["UpdateConfig"]["Monitor"] = json!(2_000_000_000u64),
            Life::EngineGoesBack => spec["UpdateConfig"]["FailureAction"] = json!("rollback"),
            Life::WeGoBack => {}
        }
        spec["RollbackConfig"] = json!({"Parallelism": 0, "Monitor": 100_000_000});
    }

    /// A folder with the worker's configuration and its job.
    fn prepare(&self, service: &Service) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let host = environment("LONGSHORE_TEST_DOCKER");
        let rollback = self.life == Life::WeGoBack;
        let text = format!(
            "systems:\n  swarm: {{kind: swarm, host: \"{host}\"}}\n\
             targets:\n  web: {{at: swarm, service: {}, rollback: {rollback}}}\n",
            service.name
        );
        std::fs::write(folder.path().join("longshore.yaml"), text).unwrap();
        let job = serde_json::to_vec(&job(self.image())).unwrap();
        std::fs::write(folder.path().join("job.json"), job).unwrap();
        folder
    }

    fn image(&self) -> &ImageRef {
        if self.life == Life::Good { &self.images[1] } else { &self.images[2] }
    }

    /// What is not as it must be.
    async fn look(&self, service: &Service, ends: &[Event]) -> Vec<String> {
        let mut wrong = Vec::new();
        let expected = if self.life == Life::Good { State::Succeeded } else { State::RolledBack };
        let distinct: BTreeSet<String> = ends.iter().map(|end| format!("{:?}", end.id)).collect();
        if distinct.len() != 1 || ends.iter().any(|end| end.state() != expected) {
            wrong.push(format!("it must end once, {expected}"));
        }
        let pinned = swarm().service("any").resolve(self.image()).await.unwrap();
        let stands = service.image().await;
        let old = self.images[0].to_string();
        let (runs, bad) = match self.life {
            Life::Good => (stands == pinned.to_string(), None),
            Life::EngineGoesBack | Life::WeGoBack => {
                (stands == old, pinned.digest().map(ToString::to_string))
            }
        };
        if !runs {
            wrong.push(format!("{stands} stands there"));
        }
        let noted = service.label("longshore.bad").await;
        if noted != bad {
            wrong.push(format!("{noted:?} is noted as bad"));
        }
        wrong
    }
}

/// Runs a worker until its job has ended or it has died.
async fn run(folder: &TempDir, dies_at: Option<&str>) -> ExitStatus {
    let mut worker = tokio::process::Command::new(program());
    worker.arg(folder.path()).stdin(Stdio::null()).kill_on_drop(true);
    if let Some(step) = dies_at {
        worker.env(steps::DIES_AT, step);
    }
    let mut worker = worker.spawn().unwrap();
    tokio::time::timeout(PATIENCE, worker.wait()).await.expect("the worker does not end").unwrap()
}

/// Built beside the tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("examples/worker_that_dies")
}

/// Every end that was said.
async fn ends_of(folder: &TempDir) -> Vec<Event> {
    events_of(folder).await.into_iter().filter(|event| event.state().is_end()).collect()
}

/// Everything that was said.
async fn events_of(folder: &TempDir) -> Vec<Event> {
    let queue = queue::open(&QueueSettings::Embedded, &folder.path().join("queue")).await.unwrap();
    let mut history = queue.history(Since::Start).await.unwrap();
    let mut events = Vec::new();
    // Nothing is said any more: what has been said is there at once.
    while let Ok(Ok(recorded)) = tokio::time::timeout(Duration::from_secs(2), history.next()).await {
        if let Entry::Event(event) = recorded.entry {
            events.push(*event);
        }
    }
    events
}
