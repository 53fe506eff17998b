use reqwest::StatusCode;
use serde_json::json;

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::fake_swarm::{BAD, FakeSwarm, Mishap};
use crate::http;
use crate::wait::eventually;

const SOON: Duration = Duration::from_secs(20);
const OLD: &str = "acme/app:1@sha256:aa";

struct Caller {
    swarm: FakeSwarm,
    http: reqwest::Client,
}

impl Caller {
    fn new() -> Caller {
        let swarm = FakeSwarm::start(Duration::from_millis(100)).unwrap();
        swarm.add("web", OLD);
        Caller { swarm, http: http::client().unwrap() }
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = http::answer(self.http.get(self.url(path))).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    async fn write(&self, version: &Value, spec: &Value) -> Result<(StatusCode, Value)> {
        let id = self.get("services/web").await["ID"].as_str().unwrap().to_owned();
        let url = self.url(&format!("services/{id}/update?version={version}&registryAuthFrom=spec"));
        http::answer(self.http.post(url).json(spec)).await
    }

    async fn write_image(&self, image: &str) -> Result<(StatusCode, Value)> {
        let service = self.get("services/web").await;
        let mut spec = service["Spec"].clone();
        spec["TaskTemplate"]["ContainerSpec"]["Image"] = json!(image);
        self.write(&service["Version"]["Index"], &spec).await
    }

    async fn comes_to(&self, state: &str) -> Value {
        eventually(SOON, state, || async {
            let service = self.get("services/web").await;
            anyhow::ensure!(service["UpdateStatus"]["State"] == state, "{service}");
            Ok(service)
        })
        .await
        .unwrap()
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/v1.41/{path}", self.swarm.address())
    }
}

#[tokio::test]
async fn a_write_on_stale_ground_is_refused_as_engines_refuse_it() {
    let caller = Caller::new();
    let service = caller.get("services/web").await;
    let (version, mut spec) = (service["Version"]["Index"].clone(), service["Spec"].clone());
    spec["Labels"] = json!({"longshore.job": "b"});
    assert_eq!(caller.write(&version, &spec).await.unwrap().0, StatusCode::OK);
    spec["Labels"] = json!({"longshore.job": "a"});
    let (status, body) = caller.write(&version, &spec).await.unwrap();
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(body["message"].as_str().unwrap().contains("update out of sequence"), "{body}");
    let version = caller.get("services/web").await["Version"]["Index"].clone();
    assert_eq!(caller.write(&version, &spec).await.unwrap().0, StatusCode::OK);
    let record = caller.swarm.record();
    assert_eq!((record.writes.len(), record.out_of_sequence), (2, 1));
    assert_eq!(record.older_over_newer().len(), 1, "{:?}", record.writes);
}

#[tokio::test]
async fn a_rollout_replaces_one_task_after_the_other_and_a_bad_image_pauses_it() {
    let caller = Caller::new();
    caller.write_image("acme/app:2@sha256:bb").await.unwrap();
    let service = caller.comes_to("completed").await;
    let id = service["ID"].as_str().unwrap();
    let filters = format!("%7B%22service%22%3A%5B%22{id}%22%5D%2C%22_up-to-date%22%3A%5B%22true%22%5D%7D");
    let tasks = caller.get(&format!("tasks?filters={filters}")).await;
    let images: Vec<_> =
        tasks.as_array().unwrap().iter().map(|task| &task["Spec"]["ContainerSpec"]).collect();
    assert_eq!(images, [&json!({"Image": "acme/app:2@sha256:bb"}); 2]);
    let now = proto::Timestamp::now();
    let record = caller.swarm.record();
    assert!(record.ran("web", "acme/app:2@sha256:bb", now), "{record:?}");
    assert!(!record.ran("web", "acme/app:2@sha256:bb", now - SOON), "{record:?}");

    caller.write_image(&format!("acme/app:3{BAD}@sha256:cc")).await.unwrap();
    caller.comes_to("paused").await;
    assert!(caller.swarm.record().ran.iter().all(|ran| !ran.image.contains(BAD)));
}

#[tokio::test]
async fn a_write_may_be_carried_out_and_never_answered() {
    let caller = Caller::new();
    caller.swarm.befall(Mishap::WritesUnanswered);
    let mut unanswered = 0;
    for n in 0..6 {
        unanswered += usize::from(caller.write_image(&format!("acme/app:{n}@sha256:dd")).await.is_err());
        let image =
            caller.get("services/web").await["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"].clone();
        assert_eq!(image, format!("acme/app:{n}@sha256:dd"));
    }
    assert!(unanswered > 0 && caller.swarm.broken_off() == unanswered as u64, "{unanswered}");
}

#[tokio::test]
async fn answers_may_break_off() {
    let caller = Caller::new();
    caller.swarm.befall(Mishap::CutShort);
    let mut broken = 0;
    for _ in 0..9 {
        broken += u64::from(http::answer(caller.http.get(caller.url("nodes"))).await.is_err());
    }
    assert_eq!((broken, caller.swarm.broken_off()), (3, 3));
}
