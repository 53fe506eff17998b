//! A service of a test's own on the engine, and the steps of a deploy.

use std::{
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use proto::{Cause, CauseKind, ChainId, Gates, ImageRef, Job, JobId, Operation, Timestamp};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use worker::target::{
    Found, Outcome, Progress, Standing, Target, TargetError, Wanted,
    swarm::{Registries, Swarm, SwarmService, SwarmSettings},
};

/// Longest wait for anything a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// A command that stays up.
pub(crate) const STAYS_UP: &[&str] = &["sleep", "1000000"];

/// A variable that `tests/run` sets.
pub(crate) fn environment(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run tests through tests/run"))
}

/// Runs the docker CLI on the test's engine and returns what it prints.
pub(crate) fn docker(arguments: &[&str]) -> String {
    let done = Command::new("docker")
        .args(arguments)
        .env("DOCKER_HOST", environment("LONGSHORE_TEST_DOCKER"))
        .output()
        .unwrap_or_else(|error| panic!("cannot start docker: {error}; run tests through tests/run"));
    assert!(done.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// The settings of a swarm reached at `host`.
pub(crate) fn settings(host: &str) -> SwarmSettings {
    serde_json::from_value(json!({"host": host})).unwrap()
}

/// The test's swarm, with no keys to registries.
pub(crate) fn swarm() -> Swarm {
    Swarm::new("swarm", &settings(&environment("LONGSHORE_TEST_DOCKER")), Registries::default()).unwrap()
}

/// A service, removed when dropped.
pub(crate) struct Service {
    pub(crate) name: String,
}

impl Service {
    /// Two tasks, one replaced after the other, one second of monitoring, paused on failure; `edit` changes that.
    pub(crate) async fn create(image: &str, edit: impl FnOnce(&mut Value)) -> Service {
        Service::create_named(unique_name(), image, edit).await
    }

    /// The same under a name of the test's own.
    pub(crate) async fn create_named(name: String, image: &str, edit: impl FnOnce(&mut Value)) -> Service {
        let mut spec = json!({
            "TaskTemplate": {
                "ContainerSpec": {"Image": image, "StopGracePeriod": 0, "Init": true},
                "RestartPolicy": {"Condition": "any", "Delay": 200_000_000}
            },
            "Mode": {"Replicated": {"Replicas": 2}},
            "UpdateConfig": {
                "Parallelism": 1, "FailureAction": "pause", "Monitor": 1_000_000_000, "MaxFailureRatio": 0,
                "Order": "stop-first"
            }
        });
        edit(&mut spec);
        let service = Service { name };
        spec["Name"] = json!(service.name);
        engine_post("/services/create", &spec).await;
        service.wait_for("its tasks to run", Service::all_run).await;
        service
    }

    /// The engine's raw JSON.
    pub(crate) async fn inspect(&self) -> Value {
        engine_get(&format!("/services/{}", self.name)).await
    }

    /// Writes the spec as somebody else would, and once more where the engine itself wrote the service meanwhile.
    pub(crate) async fn edit_by_hand(&self, edit: impl Fn(&mut Value)) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let service = self.inspect().await;
            let mut spec = service["Spec"].clone();
            edit(&mut spec);
            let path = format!("/services/{}/update?version={}", self.name, service["Version"]["Index"]);
            let Err(answer) = try_post(&path, &spec).await else { return };
            let is_stale = answer.contains("update out of sequence");
            assert!(is_stale && Instant::now() < deadline, "POST {path}: {answer}");
        }
    }

    /// The tasks that are meant to run.
    pub(crate) async fn tasks(&self) -> Vec<Value> {
        let filters = json!({"service": [self.name], "desired-state": ["running"]}).to_string();
        let mut url = reqwest::Url::parse("http://x/tasks").unwrap();
        url.query_pairs_mut().append_pair("filters", &filters);
        let tasks = engine_get(&format!("/tasks?{}", url.query().unwrap())).await;
        tasks.as_array().unwrap().clone()
    }

    pub(crate) async fn label(&self, name: &str) -> Option<String> {
        self.inspect().await["Spec"]["Labels"][name].as_str().map(str::to_owned)
    }

    pub(crate) async fn state_of_update(&self) -> Option<String> {
        self.inspect().await["UpdateStatus"]["State"].as_str().map(str::to_owned)
    }

    pub(crate) async fn image(&self) -> String {
        self.inspect().await["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"].as_str().unwrap().to_owned()
    }

    pub(crate) fn target(&self) -> SwarmService {
        swarm().service(&self.name)
    }

    /// Waits until the engine is at work on an update.
    pub(crate) async fn wait_until_it_rolls(&self) {
        self.wait_for("its update to begin", async |service| {
            service.state_of_update().await.as_deref() == Some("updating")
        })
        .await;
    }

    pub(crate) async fn wait_for(&self, what: &str, holds: impl AsyncFn(&Service) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self).await {
            if Instant::now() >= deadline {
                let tasks = docker(&["service", "ps", "--no-trunc", &self.name]);
                let newest: Vec<&str> = tasks.lines().take(8).collect();
                panic!("{} waited for {what} in vain:\n{}", self.name, newest.join("\n"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn all_run(&self) -> bool {
        let service = self.inspect().await;
        if service["Spec"]["Mode"].get("ReplicatedJob").is_some() {
            return true;
        }
        let replicas = &service["Spec"]["Mode"]["Replicated"]["Replicas"];
        let wanted = replicas.as_u64().unwrap_or(1) as usize;
        let tasks = self.tasks().await;
        tasks.len() == wanted && tasks.iter().all(|task| task["Status"]["State"] == "running")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let host = environment("LONGSHORE_TEST_DOCKER");
        let _ = Command::new("docker").args(["service", "rm", &self.name]).env("DOCKER_HOST", host).output();
    }
}

pub(crate) fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("swarm-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A wish for an image, newer than every one before it.
pub(crate) fn job(image: &ImageRef) -> Job {
    static HIGHEST: Mutex<Option<JobId>> = Mutex::new(None);
    let mut highest = HIGHEST.lock().unwrap();
    let id = JobId::mint(Timestamp::now(), *highest);
    *highest = Some(id);
    drop(highest);
    let operation = Operation::SetImage { image: image.clone(), service: None };
    let now = Timestamp::now();
    Job {
        version: Job::VERSION,
        id,
        chain: ChainId::of(id),
        target: "web".parse().unwrap(),
        slots: operation.slots(),
        operation,
        cause: Cause { kind: CauseKind::Api, source: None, by: None, delivery: None },
        accepted_at: now,
        not_before: None,
        deadline: now + Duration::from_secs(3600),
        gates: Gates::default(),
        replays: None,
        traceparent: None,
    }
}

/// A job with its image resolved.
pub(crate) async fn wanted(target: &SwarmService, image: &ImageRef) -> Wanted {
    Wanted { job: job(image), image: Some(target.resolve(image).await.unwrap()) }
}

/// Reads the service, finds nothing in the way, and writes.
pub(crate) async fn apply(target: &SwarmService, wanted: &Wanted) -> Result<(), TargetError> {
    let found: Box<dyn Found> = target.read(&wanted.job).await?;
    assert_eq!(found.standing(wanted.job.id), Standing::Open);
    found.apply(wanted).await
}

/// Watches to the end, with all that was said on the way.
pub(crate) async fn watch(
    target: &SwarmService,
    wanted: &Wanted,
) -> Result<(Outcome, Vec<Progress>), TargetError> {
    let (sender, mut progress) = mpsc::channel(1000);
    let outcome = tokio::time::timeout(PATIENCE, target.watch(wanted, &sender)).await.unwrap()?;
    drop(sender);
    let mut said = Vec::new();
    while let Some(step) = progress.recv().await {
        said.push(step);
    }
    Ok((outcome, said))
}

/// As a worker does it: where the engine changed the service meanwhile, as it does after an update's end, it is read again.
pub(crate) async fn deploy(target: &SwarmService, wanted: &Wanted) -> Outcome {
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = apply(target, wanted).await {
        assert!(matches!(error, TargetError::Conflict) && Instant::now() < deadline, "{error:?}");
    }
    watch(target, wanted).await.unwrap().0
}

async fn engine_get(path: &str) -> Value {
    let answer = engine().get(format!("http://localhost/v1.41{path}")).send().await.unwrap();
    let status = answer.status();
    let body = answer.text().await.unwrap();
    assert!(status.is_success(), "GET {path}: {status} {body}");
    serde_json::from_str(&body).unwrap()
}

async fn engine_post(path: &str, body: &Value) {
    try_post(path, body).await.unwrap_or_else(|answer| panic!("POST {path}: {answer}"));
}

/// # Errors
/// What the engine answered where it did not do it.
async fn try_post(path: &str, body: &Value) -> Result<(), String> {
    let answer = engine().post(format!("http://localhost/v1.41{path}")).json(body).send().await.unwrap();
    let status = answer.status();
    if status.is_success() { Ok(()) } else { Err(format!("{status} {}", answer.text().await.unwrap())) }
}

/// The engine, not by way of the code under test.
fn engine() -> reqwest::Client {
    let host = environment("LONGSHORE_TEST_DOCKER");
    let path =
        host.strip_prefix("unix://").expect("LONGSHORE_TEST_DOCKER must be a unix:// socket").to_owned();
    // Fails when another test was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().tls_certs_only([]).unix_socket(path).build().unwrap()
}

/// The image a wish brings, pinned.
pub(crate) fn pinned(wanted: &Wanted) -> &ImageRef {
    wanted.image.as_ref().unwrap()
}
