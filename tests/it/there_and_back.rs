//! A directory that goes from the embedded queue to RabbitMQ and back: what has ended stays so, and what is newest
//! stays newest.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use proto::{JobId, State};
use serde_json::{Value, json};
use tests::broker::Broker;
use tests::fleet::{Engine, Fleet};
use tests::http;
use tests::process::{Process, longshore};
use tests::wait::eventually;

const LONG: Duration = Duration::from_secs(120);

struct Stage {
    fleet: Fleet,
    broker: Broker,
    up: Option<Process>,
}

impl Stage {
    async fn prepare() -> Result<Stage> {
        let (fleet, broker) = (Fleet::prepare(Engine::Embedded).await?, Broker::own_virtual_host().await?);
        Ok(Stage { fleet, broker, up: None })
    }

    /// Stops what runs, and starts `up` on the queue that is named, with a target that ends so.
    async fn goes_on(&mut self, on: Engine, ends: &str) -> Result<()> {
        self.stop().await?;
        self.fleet.broker = (on == Engine::Broker).then(|| self.broker.clone());
        self.fleet.configure(&format!(
            "ingress: {{overdue_after: 2s}}\nworker: {{grace: 0s}}\nsystems:\n  lab: {{kind: rehearsal}}\n\
             targets:\n  web: {{at: lab, takes: 0s, ends: {ends}}}\n  slow: {{at: lab, takes: 30s}}\n"
        ))?;
        let mut command = longshore("longshore")?;
        command.arg("up").arg("--config").arg(self.fleet.folder().join("longshore.yaml"));
        let up = Process::start(command)?;
        eventually(LONG, "`up` to be ready", || async {
            let (status, body) = http::answer(self.fleet.get("/readyz")).await?;
            ensure!(status == 200 && body == json!({"status": "ready"}), "{status} {body}");
            Ok(())
        })
        .await?;
        self.up = Some(up);
        Ok(())
    }

    async fn stop(&mut self) -> Result<()> {
        if let Some(mut up) = self.up.take() {
            let status = up.stop(LONG).await?;
            ensure!(status.success(), "{status}: {}", up.lines().join("\n"));
        }
        Ok(())
    }

    async fn wish(&self, target: &str, image: &str) -> Result<JobId> {
        eventually(LONG, "the pool to be served", || async {
            let request = self.fleet.post("/v1/jobs", &json!({"target": target, "image": image}));
            let key = format!("{target} {image}");
            let (status, body) = http::answer(request.header("Idempotency-Key", &key)).await?;
            ensure!(status == 202, "{status} {body}");
            body["jobs"][0]["id"].as_str().context("find the job")?.parse().context("read the job's id")
        })
        .await
    }

    async fn ends(&self, id: JobId, state: State) -> Result<Value> {
        eventually(LONG, &format!("{id} to be {state}"), || async {
            let (_, body) = http::answer(self.fleet.get(&format!("/v1/jobs/{id}"))).await?;
            ensure!(body["state"] == state.as_str(), "{body}");
            Ok(body)
        })
        .await
    }

    async fn dead(&self) -> Result<Vec<String>> {
        let (_, page) = http::answer(self.fleet.get("/v1/jobs?state=dead")).await?;
        let jobs = page["jobs"].as_array().with_context(|| format!("list the dead: {page}"))?;
        Ok(jobs.iter().filter_map(|job| Some(job["id"].as_str()?.to_owned())).collect())
    }

    async fn lists_dead(&self, expected: &[JobId]) -> Result<()> {
        let expected: Vec<String> = expected.iter().map(JobId::to_string).collect();
        eventually(LONG, "the dead to be listed", || async {
            let dead = self.dead().await?;
            ensure!(dead == expected, "{dead:?}");
            Ok(())
        })
        .await
    }

    async fn refuses_to_replay(&self, id: JobId, newer: JobId) -> Result<()> {
        let (status, body) =
            http::answer(self.fleet.post(&format!("/v1/jobs/{id}/replay"), &json!({}))).await?;
        ensure!(status == 409 && body["type"] == "/problems/newer-applied", "{status} {body}");
        ensure!(body.to_string().contains(&newer.to_string()), "{body}");
        Ok(())
    }

    async fn runs(&self, image: &str) -> Result<()> {
        let (_, body) = http::answer(self.fleet.get("/v1/targets/default/web")).await?;
        ensure!(body.to_string().contains(image), "{body}");
        Ok(())
    }
}

#[tokio::test]
async fn a_directory_that_goes_to_the_broker_and_back_ends_on_the_newest() {
    let mut stage = Stage::prepare().await.unwrap();
    stage.goes_on(Engine::Embedded, "dead").await.unwrap();
    let dead = stage.wish("web", "acme/web:1").await.unwrap();
    stage.ends(dead, State::Dead).await.unwrap();
    stage.goes_on(Engine::Embedded, "succeeded").await.unwrap();
    let first = stage.wish("web", "acme/web:2").await.unwrap();
    stage.ends(first, State::Succeeded).await.unwrap();
    let cut_off = stage.wish("slow", "acme/slow:1").await.unwrap();
    stage.ends(cut_off, State::Started).await.unwrap();

    stage.goes_on(Engine::Broker, "succeeded").await.unwrap();
    stage.lists_dead(&[dead]).await.unwrap();
    stage.refuses_to_replay(dead, first).await.unwrap();
    let shown = stage.ends(first, State::Succeeded).await.unwrap();
    let events = shown["events"].as_array().unwrap();
    assert!(events.iter().any(|event| event["data"]["state"] == "succeeded"), "{shown:#}");
    let second = stage.wish("web", "acme/web:3").await.unwrap();
    assert!(second > first && second > cut_off);
    stage.ends(second, State::Succeeded).await.unwrap();
    stage.ends(cut_off, State::Succeeded).await.unwrap();

    stage.goes_on(Engine::Embedded, "succeeded").await.unwrap();
    for id in [first, second, cut_off] {
        stage.ends(id, State::Succeeded).await.unwrap();
    }
    stage.runs("acme/web:3").await.unwrap();
    let third = stage.wish("web", "acme/web:4").await.unwrap();
    assert!(third > second);
    stage.ends(third, State::Succeeded).await.unwrap();
    stage.lists_dead(&[]).await.unwrap();

    stage.goes_on(Engine::Broker, "succeeded").await.unwrap();
    stage.ends(third, State::Succeeded).await.unwrap();
    stage.lists_dead(&[dead]).await.unwrap();
    stage.refuses_to_replay(dead, third).await.unwrap();
    stage.runs("acme/web:4").await.unwrap();
    stage.stop().await.unwrap();
}
