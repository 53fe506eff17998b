//! One push travels the whole way on real parts: registry → hook → queue → worker → swarm → events.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::broker::Subscriber;
use tests::engine::{Engine, Image, Service};
use tests::environment::unique;
use tests::fleet::{self, Fleet};
use tests::http;
use tests::registry::{Notifications, Registry};
use tests::sse::EventStream;
use tests::wait::eventually;

const SOON: Duration = Duration::from_secs(30);
const ROLLOUT: Duration = Duration::from_secs(90);
const KEY: &str = "of-the-registry-that-tells-of-pushes";

/// A fleet, a registry that tells it of pushes, and a service `web` that follows a repository there.
struct Stage {
    fleet: Fleet,
    engine: Engine,
    registry: Registry,
    repository: String,
    service: Service,
    first: Image,
}

impl Stage {
    async fn new(on: fleet::Engine, repository: &str, tells: bool) -> Result<Stage> {
        let mut fleet = Fleet::prepare(on).await?;
        let engine = Engine::of_the_run()?;
        let notifications = Notifications {
            url: fleet.url("/hooks/registry"),
            headers: vec![("Authorization".to_owned(), format!("Bearer {KEY}"))],
        };
        let registry = Registry::start_with(if tells { vec![notifications] } else { Vec::new() }).await?;
        let first = engine.push_app(&registry, repository, "base").await?;
        let options = ["--replicas", "2", "--update-monitor", "1s", "--update-parallelism", "1"];
        let service = engine.create_service(&unique("web"), &first.reference, &options).await?;
        std::fs::write(fleet.folder().join("key"), KEY)?;
        fleet.configure(&format!(
            "sources:\n  registry: {{kind: distribution, key_file: {folder}/key}}\n  \
             aliyun: {{kind: aliyun-acr, key_file: {folder}/key, registry: \"{host}\"}}\n\
             systems:\n  swarm: {{kind: swarm, host: \"{docker}\"}}\n\
             targets:\n  web: {{at: swarm, service: {service}, follow: \"{host}/{repository}:v*\"}}\n",
            folder = fleet.folder().display(),
            host = registry.host(),
            docker = engine.host(),
            service = service.name,
        ))?;
        fleet.start().await?;
        Ok(Stage { fleet, engine, registry, repository: repository.to_owned(), service, first })
    }

    async fn push(&self, tag: &str) -> Result<Image> {
        self.engine.push_app(&self.registry, &self.repository, tag).await
    }

    async fn assert_runs(&self, image: &Image) {
        assert_eq!(self.service.image().await.unwrap(), image.pinned());
        let running = eventually(SOON, "both tasks to run the image", || async {
            let running = self.service.running_images().await?;
            ensure!(running.len() == 2, "{running:?}");
            Ok(running)
        });
        for image_of_task in running.await.unwrap() {
            assert!(image_of_task.starts_with(&image.reference), "{image_of_task}");
        }
    }
}

#[tokio::test]
async fn a_push_rolls_the_service_on_the_embedded_queue() {
    push_rolls_the_service(fleet::Engine::Embedded).await;
}

#[tokio::test]
async fn a_push_rolls_the_service_on_the_broker() {
    push_rolls_the_service(fleet::Engine::Broker).await;
}

async fn push_rolls_the_service(on: fleet::Engine) {
    let stage = Stage::new(on, &unique("app"), true).await.unwrap();
    let subscriber = subscribe(&stage.fleet).await;
    let mut live = stage.fleet.events("/v1/events").await.unwrap();

    let pushed = stage.push("v2").await.unwrap();
    let seen = read_until_end(&mut live).await;
    assert_life(&seen, &stage.first, &pushed);
    assert!(
        seen.iter().any(|event| event["data"]["state"] == "progress"),
        "live readers see progress: {seen:?}"
    );
    stage.assert_runs(&pushed).await;

    let id = seen[0]["data"]["job"]["id"].as_str().unwrap();
    let label = stage.service.inspect().await.unwrap()["Spec"]["Labels"]["longshore.job"].clone();
    assert_eq!(label, id);
    assert_told_by_the_api(&stage.fleet, id, &stage.first, &pushed).await;
    if let Some(subscriber) = subscriber {
        let heard = hear_until_end(subscriber).await;
        assert!(heard.iter().any(|event| event["data"]["state"] == "progress"), "{heard:?}");
        assert_life(&heard, &stage.first, &pushed);
    }
}

#[tokio::test]
async fn an_aliyun_trigger_rolls_the_service_on_the_embedded_queue() {
    aliyun_rolls_the_service(fleet::Engine::Embedded).await;
}

#[tokio::test]
async fn an_aliyun_trigger_rolls_the_service_on_the_broker() {
    aliyun_rolls_the_service(fleet::Engine::Broker).await;
}

/// The sample as Aliyun documents it, its tag and digest those of a real image. It names no registry and writes
/// the repository with a capital: the source's setting and the parser see to both.
async fn aliyun_rolls_the_service(on: fleet::Engine) {
    let stage = Stage::new(on, "namespace/repotest", false).await.unwrap();
    let pushed = stage.push("v2").await.unwrap();
    let mut body: Value = serde_json::from_str(include_str!("../payloads/aliyun-acr-push.json")).unwrap();
    body["push_data"]["tag"] = json!("v2");
    body["push_data"]["digest"] = json!(pushed.digest);

    let request = stage.fleet.post(&format!("/hooks/aliyun?key={KEY}"), &body);
    let (status, accepted) = http::answer(request).await.unwrap();
    assert_eq!((status.as_u16(), accepted["jobs"].as_array().map(Vec::len)), (202, Some(1)), "{accepted}");
    let id = accepted["jobs"][0]["id"].as_str().unwrap();
    let mut stream = stage.fleet.events(&format!("/v1/jobs/{id}/events")).await.unwrap();
    assert_life(&read_until_end(&mut stream).await, &stage.first, &pushed);
    stage.assert_runs(&pushed).await;
}

#[tokio::test]
async fn a_missing_image_fails_with_the_words_of_the_registry() {
    let stage = Stage::new(fleet::Engine::Embedded, &unique("app"), false).await.unwrap();
    let missing = format!("{}/{}:v9", stage.registry.host(), stage.repository);
    let end = deploy(&stage.fleet, &missing).await;
    assert_eq!(
        (&end["data"]["state"], &end["data"]["reason"]["code"]),
        (&json!("failed"), &json!("image-not-found"))
    );
    assert!(end["data"]["reason"]["text"].as_str().unwrap().contains("manifest unknown"), "{end}");
    stage.assert_runs(&stage.first).await;

    let other = json!({"target": "web", "image": stage.first.reference, "service": "another"});
    let end = deploy_with(&stage.fleet, &other).await;
    assert_eq!(
        (&end["data"]["state"], &end["data"]["reason"]["code"]),
        (&json!("rejected"), &json!("refused"))
    );
    stage.assert_runs(&stage.first).await;
}

#[tokio::test]
async fn a_swarm_that_is_down_is_waited_for() {
    let engine = Engine::of_the_run().unwrap();
    let registry = Registry::start().await.unwrap();
    let repository = unique("app");
    let first = engine.push_app(&registry, &repository, "v1").await.unwrap();
    let service = engine.create_service(&unique("web"), &first.reference, &[]).await.unwrap();
    let second = engine.push_app(&registry, &repository, "v2").await.unwrap();
    let mut fleet = Fleet::prepare(fleet::Engine::Embedded).await.unwrap();
    let socket = fleet.folder().join("engine.sock");
    fleet
        .configure(&format!(
            "systems:\n  swarm: {{kind: swarm, host: \"unix://{}\"}}\ntargets:\n  web: {{at: swarm, service: {}}}\n",
            socket.display(),
            service.name
        ))
        .unwrap();
    fleet.start().await.unwrap();

    let id = accept(&fleet, &second.reference).await;
    let mut stream = fleet.events(&format!("/v1/jobs/{id}/events")).await.unwrap();
    let down = read_until(&mut stream, |event| event["data"]["state"] == "retrying").await;
    let down = &down.last().unwrap()["data"];
    assert_eq!((&down["reason"]["code"], &down["counted"]), (&json!("unreachable"), &json!(true)));
    std::os::unix::fs::symlink(engine.host().trim_start_matches("unix://"), &socket).unwrap();
    let end = read_until_end(&mut stream).await.pop().unwrap();
    assert_eq!(end["data"]["state"], "succeeded", "{end}");
    assert_eq!(service.image().await.unwrap(), second.pinned());
}

#[tokio::test]
async fn what_was_accepted_survives_a_sudden_death_on_the_embedded_queue() {
    sudden_death(fleet::Engine::Embedded).await;
}

#[tokio::test]
async fn what_was_accepted_survives_a_sudden_death_on_the_broker() {
    sudden_death(fleet::Engine::Broker).await;
}

async fn sudden_death(on: fleet::Engine) {
    let mut stage = Stage::new(on, &unique("app"), false).await.unwrap();
    let pushed = stage.push("v2").await.unwrap();
    let id = accept(&stage.fleet, &pushed.reference).await;
    let mut stream = stage.fleet.events(&format!("/v1/jobs/{id}/events")).await.unwrap();
    read_until(&mut stream, |event| event["data"]["state"] == "started").await;
    stage.fleet.kill().await.unwrap();
    stage.fleet.start().await.unwrap();

    let mut stream = stage.fleet.events(&format!("/v1/jobs/{id}/events")).await.unwrap();
    let seen = read_until_end(&mut stream).await;
    assert_eq!(seen.first().unwrap()["data"]["state"], "accepted", "the history is still there");
    assert_eq!(seen.last().unwrap()["data"]["state"], "succeeded", "{seen:?}");
    stage.assert_runs(&pushed).await;
}

async fn accept(fleet: &Fleet, image: &str) -> String {
    accept_with(fleet, &json!({"target": "web", "image": image})).await
}

async fn accept_with(fleet: &Fleet, body: &Value) -> String {
    let request = fleet.post("/v1/jobs", body);
    let (status, accepted) = http::answer(request).await.unwrap();
    assert_eq!(status.as_u16(), 202, "{accepted}");
    accepted["jobs"][0]["id"].as_str().unwrap().to_owned()
}

async fn deploy(fleet: &Fleet, image: &str) -> Value {
    deploy_with(fleet, &json!({"target": "web", "image": image})).await
}

async fn deploy_with(fleet: &Fleet, body: &Value) -> Value {
    let id = accept_with(fleet, body).await;
    let mut stream = fleet.events(&format!("/v1/jobs/{id}/events")).await.unwrap();
    read_until_end(&mut stream).await.pop().unwrap()
}

/// A plain subscriber, as anybody may write one; there is nobody to subscribe to without a broker.
async fn subscribe(fleet: &Fleet) -> Option<Subscriber> {
    let broker = fleet.broker.as_ref()?;
    Some(broker.subscribe("longshore.events", "*.default.web").await.unwrap())
}

async fn hear_until_end(mut subscriber: Subscriber) -> Vec<Value> {
    let mut heard = Vec::new();
    loop {
        let message = subscriber.next(ROLLOUT).await.unwrap();
        let state = message.body["data"]["state"].as_str().unwrap().to_owned();
        assert_eq!(message.routing_key, format!("{state}.default.web"));
        heard.push(message.body);
        if is_end(heard.last().unwrap()) {
            return heard;
        }
    }
}

async fn read_until(stream: &mut EventStream, what: impl Fn(&Value) -> bool) -> Vec<Value> {
    let mut seen = Vec::new();
    loop {
        let sent =
            stream.next(ROLLOUT).await.unwrap().unwrap_or_else(|| panic!("the stream ended after {seen:?}"));
        seen.push(serde_json::from_str(&sent.data).unwrap());
        if what(seen.last().unwrap()) {
            return seen;
        }
    }
}

async fn read_until_end(stream: &mut EventStream) -> Vec<Value> {
    read_until(stream, is_end).await
}

fn is_end(event: &Value) -> bool {
    matches!(
        event["data"]["state"].as_str(),
        Some("succeeded" | "rolled-back" | "failed" | "dead" | "superseded" | "rejected" | "cancelled")
    )
}

/// accepted → started → progress… → succeeded, as CloudEvents, with both digests and the time it took.
fn assert_life(events: &[Value], from: &Image, to: &Image) {
    let states: Vec<_> = events.iter().map(|event| event["data"]["state"].as_str().unwrap()).collect();
    let mut without_progress: Vec<_> = states.iter().copied().filter(|state| *state != "progress").collect();
    // A repeat of what was said before is no fault: readers drop it by its id.
    without_progress.dedup();
    assert_eq!(without_progress, ["accepted", "started", "succeeded"], "{states:?}");
    for event in events {
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["source"], "/longshore");
        assert_eq!(event["subject"], "default/web");
        assert_eq!(event["type"], format!("longshore.job.{}", event["data"]["state"].as_str().unwrap()));
    }
    let end = &events.last().unwrap()["data"];
    assert_eq!(end["image"]["from"], from.pinned());
    assert_eq!(end["image"]["to"], to.pinned());
    assert_eq!(end["tasks"], json!({"running": 2, "wanted": 2}));
    assert!(end["took_ms"].as_u64().is_some_and(|ms| ms > 0), "{end}");
}

async fn assert_told_by_the_api(fleet: &Fleet, id: &str, from: &Image, to: &Image) {
    let (status, job) = http::answer(fleet.get(&format!("/v1/jobs/{id}"))).await.unwrap();
    assert_eq!((status.as_u16(), &job["state"], &job["id"]), (200, &json!("succeeded"), &json!(id)));
    assert_life(job["events"].as_array().unwrap(), from, to);
    let mut stream = fleet.events(&format!("/v1/jobs/{id}/events")).await.unwrap();
    assert_life(&read_until_end(&mut stream).await, from, to);
    assert!(stream.next(SOON).await.unwrap().is_none(), "the stream of a job that ended closes");
}
