//! A fleet whose processes are started one by one, and one rehearsed target `web`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use proto::{Event, JobId, State};
use serde_json::{Value, json};
use tests::broker::{Broker, Subscriber};
use tests::clock::Clock;
use tests::fleet::{Engine, Fleet};
use tests::http;
use tests::ledger::Ledger;
use tests::process::{Process, longshore};
use tests::shown;
use tests::wait::eventually;

pub(crate) const LONG: Duration = Duration::from_secs(120);

/// Processes on one queue; those that were stopped or killed are gone.
pub(crate) struct Stage {
    pub(crate) fleet: Fleet,
    pub(crate) ledger: Ledger,
    engine: Engine,
}

/// How the target is rehearsed: its keys but for `at`.
pub(crate) fn sections(target: &str) -> String {
    format!("systems:\n  lab: {{kind: rehearsal}}\ntargets:\n  web: {{at: lab, {target}}}\n")
}

impl Stage {
    /// Nothing runs yet.
    pub(crate) async fn prepare(engine: Engine, target: &str) -> Stage {
        let fleet = Fleet::prepare(engine).await.unwrap();
        fleet.configure(&sections(target)).unwrap();
        Stage { fleet, ledger: Ledger::default(), engine }
    }

    /// Another place on the same broker: a second ingress.
    pub(crate) async fn beside(&self, target: &str) -> Stage {
        let fleet = Fleet::prepare_on(self.broker().clone()).await.unwrap();
        fleet.configure(&sections(target)).unwrap();
        Stage { fleet, ledger: Ledger::default(), engine: self.engine }
    }

    pub(crate) fn broker(&self) -> &Broker {
        self.fleet.broker.as_ref().unwrap()
    }

    /// Starts whatever takes jobs in and carries them out: one process or two.
    pub(crate) async fn start(&self) -> Vec<Process> {
        match self.engine {
            Engine::Broker => vec![self.worker().await, self.ingress(None).await],
            Engine::Embedded => vec![self.up(None).await],
        }
    }

    /// The one process of the embedded queue.
    pub(crate) async fn up(&self, clock: Option<&Clock>) -> Process {
        let up = self.process("longshore", &["up"], "longshore.yaml", clock);
        self.is_ready().await;
        up
    }

    /// How many jobs are listed.
    pub(crate) async fn listed(&self) -> usize {
        let page = http::answer(self.fleet.get("/v1/jobs?limit=100")).await.unwrap().1;
        page["jobs"].as_array().unwrap().len()
    }

    pub(crate) async fn ingress(&self, clock: Option<&Clock>) -> Process {
        let ingress = self.process("longshore-ingress", &[], "longshore.yaml", clock);
        self.is_ready().await;
        ingress
    }

    /// A worker that serves its pool.
    pub(crate) async fn worker(&self) -> Process {
        self.worker_with("longshore.yaml").await
    }

    /// A worker with another configuration of the same directory.
    pub(crate) async fn other_worker(&self, target: &str) -> Process {
        let usual = std::fs::read_to_string(self.fleet.folder().join("longshore.yaml")).unwrap();
        let (head, _) = usual.split_once("systems:").unwrap();
        std::fs::write(self.fleet.folder().join("other.yaml"), format!("{head}{}", sections(target)))
            .unwrap();
        self.worker_with("other.yaml").await
    }

    async fn worker_with(&self, file: &str) -> Process {
        let worker = self.process("longshore-worker", &[], file, None);
        worker.wait_for_line("the worker starts", LONG).await.unwrap();
        let served = eventually(LONG, "the worker to serve its pool", || async {
            self.broker().find_consumer("longshore.jobs.default").await
        });
        served.await.unwrap();
        worker
    }

    fn process(&self, name: &str, arguments: &[&str], file: &str, clock: Option<&Clock>) -> Process {
        let mut command = longshore(name).unwrap();
        command.args(arguments).arg("--config").arg(self.fleet.folder().join(file));
        command.current_dir(self.fleet.folder());
        if let Some(clock) = clock {
            clock.give_to(&mut command);
        }
        Process::start(command).unwrap()
    }

    async fn is_ready(&self) {
        let ready = eventually(LONG, "the ingress to be ready", || async {
            let (status, body) = http::answer(self.fleet.get("/readyz")).await?;
            ensure!(status.is_success() && body["status"] == "ready", "{status} {body}");
            Ok(())
        });
        ready.await.unwrap();
    }

    /// Wishes an image of the target, tagged `tag`, with `more` in the body.
    pub(crate) async fn wish(&mut self, tag: &str, more: Value) -> JobId {
        let mut body = json!({"target": "web", "image": format!("acme/web:{tag}")});
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        self.post(&body).await
    }

    /// Wishes something else of the target.
    pub(crate) async fn wish_to(&mut self, operation: Value) -> JobId {
        self.post(&json!({"target": "web", "operation": operation})).await
    }

    async fn post(&mut self, body: &Value) -> JobId {
        // With the broker, the first worker's pool may only just exist.
        let answer = eventually(LONG, "the wish to be accepted", || async {
            let (status, answer) = http::answer(self.fleet.post("/v1/jobs", body)).await?;
            ensure!(status == 202, "{status} {answer}");
            Ok(answer)
        });
        self.ledger.accept_answer(&answer.await.unwrap()).unwrap()[0]
    }

    /// Whether the ingress has heard of a job: from then on its ids are above that one's.
    pub(crate) async fn has_heard_of(&self, job: JobId) {
        let heard = eventually(LONG, "the ingress to hear of a job", || async {
            let page = http::answer(self.fleet.get("/v1/jobs?limit=100")).await?.1;
            let jobs = page["jobs"].as_array().context("find the jobs")?;
            ensure!(jobs.iter().any(|known| known["id"] == job.to_string()), "{page}");
            Ok(())
        });
        heard.await.unwrap();
    }

    async fn shown(&self, job: JobId) -> Result<(State, Vec<Event>)> {
        let (status, body) = http::answer(self.fleet.get(&format!("/v1/jobs/{job}"))).await?;
        ensure!(status.is_success(), "{status} {body}");
        let state = serde_json::from_value(body["state"].clone()).context("read the state")?;
        let events = body["events"].as_array().context("find the events")?;
        let events = events.iter().map(|event| serde_json::from_value(event.clone()));
        Ok((state, events.collect::<Result<_, _>>().context("read the events")?))
    }

    /// What was said of a job up to and with `state`, once it was.
    pub(crate) async fn until_said(&self, job: JobId, state: State) -> Event {
        let what = format!("{job} to be {state}");
        let said = eventually(LONG, &what, || async {
            let (_, events) = self.shown(job).await?;
            let found = events.iter().find(|event| event.state() == state).cloned();
            found.with_context(|| format!("{:?}", events.iter().map(Event::state).collect::<Vec<_>>()))
        });
        said.await.unwrap()
    }

    /// The same once it was said so many times: each of them.
    pub(crate) async fn until_said_times(&self, job: JobId, state: State, times: usize) -> Vec<Event> {
        let what = format!("{job} to be {state} {times} times");
        let said = eventually(LONG, &what, || async {
            let (_, events) = self.shown(job).await?;
            let states: Vec<State> = events.iter().map(Event::state).collect();
            let found: Vec<Event> = events.into_iter().filter(|event| event.state() == state).collect();
            ensure!(found.len() >= times, "{states:?}");
            Ok(found)
        });
        said.await.unwrap()
    }

    /// The end of a job, and every state before it.
    pub(crate) async fn end(&self, job: JobId) -> (Event, Vec<State>) {
        let what = format!("{job} to end");
        let ended = eventually(LONG, &what, || async {
            let (_, events) = self.shown(job).await?;
            let end = events.iter().position(|event| event.state().is_end()).context("no end yet")?;
            Ok((events[end].clone(), events[..end].iter().map(Event::state).collect()))
        });
        ended.await.unwrap()
    }

    pub(crate) async fn ends(&self, job: JobId, state: State) -> Event {
        let (end, _) = self.end(job).await;
        assert_eq!(end.state(), state, "{end:?}");
        end
    }

    /// Where the rehearsed target keeps its mark.
    pub(crate) fn mark_file(&self) -> PathBuf {
        self.fleet.folder().join("data/rehearsal/default.web.json")
    }

    /// The target's mark: what it runs, and which job it was that wished so.
    pub(crate) fn mark(&self) -> String {
        std::fs::read_to_string(self.mark_file()).unwrap_or_default()
    }

    /// Waits until the target runs the image tagged `tag`.
    pub(crate) async fn runs(&self, tag: &str) {
        let what = format!("the target to run {tag}");
        let runs = eventually(LONG, &what, || async {
            let mark: Value = serde_json::from_str(&self.mark()).context("read the mark")?;
            ensure!(
                mark["image"].as_str().is_some_and(|image| image.ends_with(&format!(":{tag}"))),
                "{mark}"
            );
            Ok(())
        });
        runs.await.unwrap();
    }

    /// Hears what is said from now on.
    pub(crate) async fn subscribe(&self, key: &str) -> Subscriber {
        self.broker().subscribe("longshore.events", key).await.unwrap()
    }

    /// The whole history; every accepted job has its end in it, and nothing is wrong with any.
    pub(crate) async fn account(&self) -> Vec<Event> {
        let (history, account) = shown::account(&self.fleet, &self.ledger, LONG).await.unwrap();
        account.assert_clean();
        history
    }
}
