//! A pool that was declared a moment ago, when its worker or the broker died: what was taken for it is carried out or
//! told as dead, and what cannot be taken is refused.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lapin::types::FieldTable;
use proto::reason;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::broker::Broker;
use tests::fleet::Fleet;
use tests::http;
use tests::own_broker::OwnBroker;
use tests::process::{Process, longshore};
use tests::wait::eventually;

const LONG: Duration = Duration::from_secs(120);

/// How many jobs are accepted for the young pool.
const JOBS: usize = 12;

/// An ingress that runs on, and workers that come and go. The pool `far` is served only by a worker that is told so.
struct Stage {
    fleet: Fleet,
    _ingress: Process,
}

impl Stage {
    async fn start(broker: Broker, deadline: &str) -> Result<Stage> {
        let fleet = Fleet::prepare_on(broker).await?;
        let far: String =
            (0..JOBS).map(|n| format!("  far-{n}: {{at: far, takes: 0s, deadline: {deadline}}}\n")).collect();
        fleet.configure(&format!(
            "ingress: {{overdue_after: 2s}}\nworker: {{grace: 0s}}\nsystems:\n  lab: {{kind: rehearsal}}\n  \
             far: {{kind: rehearsal, pool: far}}\ntargets:\n  web: {{at: lab, takes: 0s}}\n{far}"
        ))?;
        let stage = Stage { _ingress: start("longshore-ingress", &fleet)?, fleet };
        eventually(LONG, "the ingress to be ready", || async {
            let (status, body) = http::answer(stage.fleet.get("/readyz")).await?;
            ensure!(status.is_success() && body["status"] == "ready", "{status} {body}");
            Ok(())
        })
        .await?;
        Ok(stage)
    }

    fn worker(&self) -> Result<Process> {
        start("longshore-worker", &self.fleet)
    }

    async fn post(&self, body: &Value) -> Result<(StatusCode, Value)> {
        http::answer(self.fleet.post("/v1/jobs", body)).await
    }

    /// Posts until it is taken, and gives the job.
    async fn is_taken(&self, target: &str) -> Result<String> {
        let what = format!("a job for {target} to be taken");
        let answer = eventually(LONG, &what, || async {
            let (status, body) = self.post(&wish(target)).await?;
            ensure!(status == StatusCode::ACCEPTED, "{status} {body}");
            Ok(body)
        });
        job_of(&answer.await?)
    }

    async fn state(&self, job: &str) -> Result<String> {
        let (status, body) = http::answer(self.fleet.get(&format!("/v1/jobs/{job}"))).await?;
        let state = body["state"].as_str().with_context(|| format!("{status} {body}"))?;
        Ok(state.to_owned())
    }

    async fn comes_to(&self, job: &str, states: &[&str]) -> Result<String> {
        eventually(LONG, &format!("{job} to be one of {states:?}"), || async {
            let state = self.state(job).await?;
            ensure!(states.contains(&state.as_str()), "it is {state}");
            Ok(state)
        })
        .await
    }

    /// The dead that are listed, with the reason of each.
    async fn dead(&self) -> Result<Vec<(String, String)>> {
        let (status, page) = http::answer(self.fleet.get("/v1/jobs?state=dead")).await?;
        let jobs = page["jobs"].as_array().with_context(|| format!("{status} {page}"))?;
        let text = |value: &Value| value.as_str().map(str::to_owned).with_context(|| format!("{page}"));
        jobs.iter().map(|job| Ok((text(&job["id"])?, text(&job["letter"]["reason"]["code"])?))).collect()
    }

    /// A pool that exists, jobs that were taken for it, and nobody who serves it.
    async fn young_pool(&self) -> Result<Vec<String>> {
        let mut worker = self.worker()?;
        let first = self.is_taken("far-0").await?;
        self.comes_to(&first, &["succeeded"]).await?;
        worker.kill().await?;
        let mut jobs = Vec::new();
        for n in 0..JOBS {
            jobs.push(self.is_taken(&format!("far-{n}")).await?);
        }
        Ok(jobs)
    }
}

fn start(program: &str, fleet: &Fleet) -> Result<Process> {
    let mut command = longshore(program)?;
    command.arg("--config").arg(fleet.folder().join("longshore.yaml")).current_dir(fleet.folder());
    Process::start(command)
}

fn wish(target: &str) -> Value {
    json!({"target": format!("far/{target}"), "image": "acme/far:1"})
}

fn job_of(answer: &Value) -> Result<String> {
    let id = answer["jobs"][0]["id"].as_str().with_context(|| format!("find the job in {answer}"))?;
    Ok(id.to_owned())
}

/// A worker that died between declaring its queue and binding it leaves it as it is here: there, and reached by nothing.
#[tokio::test]
async fn a_pool_whose_worker_died_before_its_queue_was_bound_is_bound_by_who_publishes() {
    let stage = Stage::start(Broker::own_virtual_host().await.unwrap(), "1h").await.unwrap();
    let broker = stage.fleet.broker.as_ref().unwrap();
    let mut worker = stage.worker().unwrap();
    let web = json!({"target": "web", "image": "acme/web:1"});
    eventually(LONG, "both pools to be served", || async {
        broker.find_consumer("longshore.jobs.far").await?;
        let (status, body) = stage.post(&web).await?;
        ensure!(status == StatusCode::ACCEPTED, "{status} {body}");
        Ok(())
    })
    .await
    .unwrap();
    worker.kill().await.unwrap();
    let connection = broker.connect().await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let key = "far.*".into();
    channel
        .queue_unbind("longshore.jobs.far".into(), "longshore.jobs".into(), key, FieldTable::default())
        .await
        .unwrap();

    // The broker says that nothing took it; its queue is there, so whoever publishes binds it.
    let alone = job_of(&taken(&stage, wish("far-0")).await).unwrap();
    let both = taken(&stage, json!([web, wish("far-1")])).await;
    let beside = both["jobs"][1]["id"].as_str().unwrap().to_owned();
    eventually(LONG, "both jobs to wait for a worker", || async {
        let waiting = broker.messages_in("longshore.jobs.far").await?;
        ensure!(waiting == 2, "{waiting} wait");
        Ok(())
    })
    .await
    .unwrap();

    let _next = stage.worker().unwrap();
    for job in [alone, beside] {
        stage.comes_to(&job, &["succeeded"]).await.unwrap();
    }
}

async fn taken(stage: &Stage, body: Value) -> Value {
    let (status, answer) = stage.post(&body).await.unwrap();
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    answer
}

/// The broker itself forgets the young queue, which it does in some kills and here for certain.
#[tokio::test]
async fn jobs_of_a_young_pool_that_the_broker_forgot_are_told_as_dead_and_can_be_replayed() {
    let mut broker = OwnBroker::start().await.unwrap();
    let stage = Stage::start(broker.broker(), "5s").await.unwrap();
    broker.keep_declarations().await.unwrap();
    let jobs = stage.young_pool().await.unwrap();
    broker.kill().await.unwrap();
    broker.start_again().await.unwrap();
    eventually(LONG, "the young queue to be gone", || async {
        let listed = broker.control(&["--quiet", "list_queues", "name"]).await?;
        if listed.lines().any(|name| name == "longshore.jobs.far") {
            broker.control(&["delete_queue", "longshore.jobs.far"]).await?;
        }
        Ok(())
    })
    .await
    .unwrap();

    for job in &jobs {
        stage.comes_to(job, &["dead"]).await.unwrap();
    }
    let told: BTreeSet<_> = jobs.iter().map(|job| (job.clone(), reason::NO_WORKER.to_owned())).collect();
    eventually(LONG, "each to be listed as dead", || async {
        let dead = stage.dead().await?;
        ensure!(dead.len() == jobs.len() && dead.into_iter().collect::<BTreeSet<_>>() == told);
        Ok(())
    })
    .await
    .unwrap();
    let _worker = stage.worker().unwrap();
    let replayed = eventually(LONG, "a replay to be taken", || async {
        let (status, body) =
            http::answer(stage.fleet.post(&format!("/v1/jobs/{}/replay", jobs[0]), &json!({}))).await?;
        ensure!(status == StatusCode::ACCEPTED, "{status} {body}");
        job_of(&body)
    });
    stage.comes_to(&replayed.await.unwrap(), &["succeeded"]).await.unwrap();
}

/// Whatever the broker makes of it: nothing hangs, and nothing is gone without a word.
#[tokio::test]
async fn jobs_of_a_young_pool_are_carried_out_or_told_as_dead_after_the_broker_was_killed() {
    let mut broker = OwnBroker::start().await.unwrap();
    let stage = Stage::start(broker.broker(), "30s").await.unwrap();
    broker.keep_declarations().await.unwrap();
    let jobs = stage.young_pool().await.unwrap();
    broker.kill().await.unwrap();
    broker.start_again().await.unwrap();
    let _worker = stage.worker().unwrap();
    let mut died = BTreeSet::new();
    for job in &jobs {
        // One whose deadline passes while it is at work has failed.
        if stage.comes_to(job, &["succeeded", "dead", "failed"]).await.unwrap() == "dead" {
            died.insert(job.clone());
        }
    }
    println!("{} of {} were carried out", jobs.len() - died.len(), jobs.len());
    eventually(LONG, "each of the dead to be listed", || async {
        let listed: BTreeSet<String> = stage.dead().await?.into_iter().map(|(job, _)| job).collect();
        ensure!(listed == died, "{listed:?} and not {died:?}");
        Ok(())
    })
    .await
    .unwrap();
}
