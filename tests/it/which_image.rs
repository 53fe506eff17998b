//! Which image is deployed that waited: the one its tag pointed to when it began to, whatever was pushed meanwhile.

use std::time::Duration;

use anyhow::ensure;
use proto::ImageRef;
use serde_json::{Value, json};
use tests::fake_swarm::FakeSwarm;
use tests::fleet::{Engine, Fleet};
use tests::http;
use tests::wait::eventually;

const LONG: Duration = Duration::from_secs(120);

/// A fleet with one service that takes pushes without a digest.
struct Stage {
    fleet: Fleet,
    dock: FakeSwarm,
}

impl Stage {
    async fn new(engine: Engine, gate: &str) -> Stage {
        let dock = FakeSwarm::start(Duration::from_millis(200)).unwrap();
        dock.add("web", &format!("docker.io/acme/app:1@sha256:{}", "a".repeat(64)));
        let mut fleet = Fleet::prepare(engine).await.unwrap();
        let sections = format!(
            "sources:\n  hub: {{kind: plain, open: true, loopback_only: true}}\n\
             systems:\n  dock: {{kind: swarm, host: 'tcp://{}'}}\n\
             targets:\n  web: {{at: dock, service: web, follow: \"acme/app:*\", {gate}}}\n",
            dock.address()
        );
        fleet.configure(&sections).unwrap();
        fleet.start().await.unwrap();
        Stage { fleet, dock }
    }

    /// Pushes an image by its tag; the job that came of it.
    async fn push(&self, image: &str) -> String {
        let taken = eventually(LONG, "the push to be taken", || async {
            let (status, taken) =
                http::answer(self.fleet.post("/hooks/hub", &json!({"image": image}))).await?;
            ensure!(status == 202, "{status}: {taken}");
            Ok(taken)
        });
        taken.await.unwrap()["jobs"][0]["id"].as_str().unwrap().to_owned()
    }

    /// What is shown of a job once it is in this state.
    async fn comes_to(&self, job: &str, state: &str) -> Value {
        let what = format!("{job} to be {state}");
        let shown = eventually(LONG, &what, || async {
            let (_, shown) = http::answer(self.fleet.get(&format!("/v1/jobs/{job}"))).await?;
            ensure!(shown["state"] == state, "{shown}");
            Ok(shown)
        });
        shown.await.unwrap()
    }

    /// The image that a held job is told to wait with.
    async fn told(&self, job: &str) -> ImageRef {
        let shown = self.comes_to(job, "held").await;
        let mut events = shown["events"].as_array().unwrap().iter();
        let held = events.rfind(|event| event["data"]["state"] == "held").unwrap();
        let image: ImageRef = held["data"]["image"]["to"].as_str().unwrap().parse().unwrap();
        assert!(image.digest().is_some(), "{held}");
        assert!(shown["held"]["text"].as_str().unwrap().ends_with(&image.familiar()), "{shown}");
        image
    }

    fn runs(&self) -> ImageRef {
        let spec = self.dock.spec("web").unwrap();
        spec["TaskTemplate"]["ContainerSpec"]["Image"].as_str().unwrap().parse().unwrap()
    }
}

#[tokio::test]
async fn what_is_approved_is_what_was_told_on_the_embedded_queue() {
    is_what_was_told(Engine::Embedded).await;
}

#[tokio::test]
async fn what_is_approved_is_what_was_told_on_the_broker() {
    is_what_was_told(Engine::Broker).await;
}

async fn is_what_was_told(engine: Engine) {
    let stage = Stage::new(engine, "approve: true").await;
    let held = stage.push("acme/app:2").await;
    let told = stage.told(&held).await;
    stage.dock.push_again();
    let (status, approved) =
        http::answer(stage.fleet.post(&format!("/v1/jobs/{held}/approve"), &json!({}))).await.unwrap();
    assert_eq!(status, 202, "{approved}");
    let shown = stage.comes_to(approved["jobs"][0]["id"].as_str().unwrap(), "succeeded").await;
    assert_eq!(shown["operation"]["image"], told.to_string());
    assert_eq!(stage.runs(), told);
}

#[tokio::test]
async fn what_comes_of_age_is_what_was_told_on_the_embedded_queue() {
    comes_of_age(Engine::Embedded).await;
}

#[tokio::test]
async fn what_comes_of_age_is_what_was_told_on_the_broker() {
    comes_of_age(Engine::Broker).await;
}

async fn comes_of_age(engine: Engine) {
    let mut stage = Stage::new(engine, "min_age: 45s").await;
    let job = stage.push("acme/app:2").await;
    let told = stage.told(&job).await;
    stage.dock.push_again();
    // Those who carry it out know it from the history alone.
    stage.fleet.kill().await.unwrap();
    stage.fleet.start().await.unwrap();
    stage.comes_to(&job, "succeeded").await;
    assert_eq!(stage.runs(), told);
}
