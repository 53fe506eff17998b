//! A fleet whose programs come and go one by one, and what its history says of their starts.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use proto::{Event, EventId, JobId, State};
use serde_json::{Value, json};
use tests::broker::Broker;
use tests::fleet::{Engine, Fleet};
use tests::http;
use tests::ledger::{Account, Ledger};
use tests::process::{Process, longshore};
use tests::shown;
use tests::wait::eventually;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(super) const SOON: Duration = Duration::from_secs(30);
pub(super) const LONG: Duration = Duration::from_secs(180);

/// As systemd has it, unless told otherwise.
const RESTART_AFTER: Duration = Duration::from_millis(100);

pub(super) struct Stage {
    pub(super) fleet: Fleet,
    pub(super) ledger: Ledger,
}

/// A program that is started again whenever it dies, as a service manager does. Dropping it kills it.
pub(super) struct Kept {
    keeping: JoinHandle<()>,
    deaths: watch::Receiver<usize>,
    last_words: Arc<Mutex<Vec<String>>>,
}

impl Kept {
    pub(super) fn start(command: impl Fn() -> Result<Command> + Send + 'static) -> Kept {
        let (died, deaths) = watch::channel(0);
        let last_words: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&last_words);
        let keeping = tokio::spawn(async move {
            loop {
                let mut process = Process::start(command().unwrap()).unwrap();
                let ended = process.wait(LONG).await;
                kept.lock().unwrap().extend(process.lines().into_iter().chain([format!("{ended:?}")]));
                died.send_modify(|deaths| *deaths += 1);
                tokio::time::sleep(RESTART_AFTER).await;
            }
        });
        Kept { keeping, deaths, last_words }
    }

    pub(super) fn deaths(&self) -> usize {
        *self.deaths.borrow()
    }

    /// All that was said by those that died.
    pub(super) fn last_words(&self) -> String {
        self.last_words.lock().unwrap().join("\n")
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.keeping.abort();
    }
}

impl Stage {
    /// Nothing runs yet. `worker` is how workers work; each of the targets is a name and how it is rehearsed.
    pub(super) async fn prepare(on: Engine, worker: &str, targets: &str) -> Result<Stage> {
        Stage::place(Fleet::prepare(on).await?, worker, targets)
    }

    pub(super) async fn prepare_on(broker: Broker, worker: &str, targets: &str) -> Result<Stage> {
        Stage::place(Fleet::prepare_on(broker).await?, worker, targets)
    }

    fn place(fleet: Fleet, worker: &str, targets: &str) -> Result<Stage> {
        fleet.configure(&format!(
            "worker: {{{worker}}}\nsystems:\n  lab: {{kind: rehearsal}}\ntargets:\n{targets}"
        ))?;
        Ok(Stage { fleet, ledger: Ledger::default() })
    }

    /// How one of its programs is started.
    pub(super) fn command(
        &self,
        name: &'static str,
        arguments: &'static [&str],
    ) -> impl Fn() -> Result<Command> + Send + 'static {
        let file = self.fleet.folder().join("longshore.yaml");
        move || {
            let mut command = longshore(name)?;
            command.args(arguments).arg("--config").arg(&file);
            Ok(command)
        }
    }

    pub(super) fn ingress(&self) -> Result<Process> {
        Process::start(self.command("longshore-ingress", &[])()?)
    }

    pub(super) fn worker(&self) -> Result<Process> {
        Process::start(self.command("longshore-worker", &[])()?)
    }

    pub(super) fn up(&self) -> Result<Process> {
        Process::start(self.command("longshore", &["up"])()?)
    }

    /// Waits until jobs are taken: the ingress answers, and a worker has served the pool.
    pub(super) async fn is_ready(&self) -> Result<()> {
        eventually(LONG, "the fleet to be ready", || async {
            let (status, body) = http::answer(self.fleet.get("/readyz")).await?;
            ensure!(status.is_success() && body["status"] == "ready", "{status} {body}");
            let Some(broker) = &self.fleet.broker else { return Ok(()) };
            broker.find_consumer("longshore.jobs.default").await
        })
        .await
    }

    /// Has a new image taken for each of the targets, all in one request.
    pub(super) async fn deploy(&mut self, targets: impl IntoIterator<Item = String>) -> Result<Vec<JobId>> {
        let jobs: Vec<Value> =
            targets.into_iter().map(|target| json!({"target": target, "image": "acme/web:1"})).collect();
        self.post(json!(jobs)).await
    }

    /// Has each of the targets restarted: what a second write would show.
    pub(super) async fn restart(&mut self, targets: impl IntoIterator<Item = String>) -> Result<Vec<JobId>> {
        let job = |target| json!({"target": target, "operation": {"type": "restart"}});
        let jobs: Vec<Value> = targets.into_iter().map(job).collect();
        self.post(json!(jobs)).await
    }

    async fn post(&mut self, jobs: Value) -> Result<Vec<JobId>> {
        let answer = eventually(SOON, "the jobs to be taken", || async {
            let (status, answer) = http::answer(self.fleet.post("/v1/jobs", &jobs)).await?;
            ensure!(status == 202, "{status} {answer}");
            Ok(answer)
        });
        self.ledger.accept_answer(&answer.await?)
    }

    /// Waits until each of the jobs has this state.
    pub(super) async fn until(&self, jobs: &[JobId], state: State) -> Result<()> {
        for job in jobs {
            eventually(LONG, &format!("{job} to be {state}"), || async {
                let (status, shown) = http::answer(self.fleet.get(&format!("/v1/jobs/{job}"))).await?;
                ensure!(status.is_success() && shown["state"] == state.as_str(), "{status} {shown}");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Waits until each of the jobs was begun, whatever became of it since.
    pub(super) async fn until_begun(&self, jobs: &[JobId]) -> Result<()> {
        for job in jobs {
            eventually(LONG, &format!("{job} to be begun"), || async {
                let (status, shown) = http::answer(self.fleet.get(&format!("/v1/jobs/{job}"))).await?;
                let events = shown["events"].as_array().into_iter().flatten();
                let is_begun = events.into_iter().any(|event| event["type"] == "longshore.job.started");
                ensure!(is_begun, "{status} {shown}");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Waits for all ends, and gives the history with the account of it. No program may die meanwhile.
    pub(super) async fn history(&self) -> Result<(Vec<Event>, Account)> {
        shown::account(&self.fleet, &self.ledger, LONG).await
    }

    /// How often the target was restarted.
    pub(super) fn restarts(&self, target: &str) -> Result<u64> {
        let file = self.fleet.folder().join(format!("data/rehearsal/default.{target}.json"));
        let mark = std::fs::read(&file).with_context(|| format!("read {}", file.display()))?;
        let mark: Value = serde_json::from_slice(&mark).context("read a mark")?;
        mark["restarts"].as_u64().context("find the restarts")
    }
}

/// Targets `web-0`, `web-1`, …
pub(super) fn webs(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(|number| format!("web-{number}")).collect()
}

/// The lines of such targets in the file, each rehearsed as told.
pub(super) fn lines(numbers: impl IntoIterator<Item = usize>, rehearsed: &str) -> String {
    webs(numbers).iter().map(|name| format!("  {name}: {{at: lab, {rehearsed}}}\n")).collect()
}

/// Every `started` that nothing answers, which counts as a crash.
pub(super) fn marks(history: &[Event]) -> Vec<(JobId, EventId)> {
    let answered: HashSet<EventId> = history.iter().filter_map(|event| event.data.started).collect();
    let started = history.iter().filter(|event| event.state() == State::Started);
    started.filter(|event| !answered.contains(&event.id)).map(|event| (event.job_id(), event.id)).collect()
}

/// Waits until the history holds no mark. An answer may come after the job's end.
pub(super) async fn no_mark_stays(stage: &Stage) -> Result<Vec<Event>> {
    eventually(LONG, "every start to be answered for", || async {
        let (history, _) = stage.history().await?;
        let marks = marks(&history);
        ensure!(marks.is_empty(), "{} marks: {marks:?}", marks.len());
        Ok(history)
    })
    .await
}

/// Nobody was suspected of a crash.
pub(super) fn nobody_is_suspected(history: &[Event]) -> Result<()> {
    for event in history {
        let code = event.data.reason.as_ref().map_or("", |reason| &reason.code);
        ensure!(!event.data.alone && code != "quarantined" && code != "poison", "suspected: {event:#?}");
    }
    Ok(())
}
