//! Two ingresses on one broker, and one that is killed while it makes the jobs of a delivery.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use reqwest::Client;
use serde_json::{Value, json};
use tests::fleet::{Engine, Fleet};
use tests::process::{Process, longshore};
use tests::wait::eventually;
use tests::{http, ports};

use super::{SOON, comes_to, ids, image_of, jobs_of};

const TARGETS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// An ingress beside a fleet's own, with the same configuration.
struct Replica {
    process: Process,
    file: PathBuf,
    url: String,
    client: Client,
}

async fn fleet() -> Fleet {
    let mut fleet = Fleet::prepare(Engine::Broker).await.unwrap();
    let target = |name: &&str| format!("  {name}: {{at: lab, takes: 20ms, follow: \"acme/web:*\"}}\n");
    let targets: String = TARGETS.iter().map(target).collect();
    let sections = format!(
        "sources:\n  ci: {{kind: plain, open: true, loopback_only: true}}\nsystems: {{lab: {{kind: rehearsal}}}}\ntargets:\n{targets}"
    );
    fleet.configure(&sections).unwrap();
    fleet.start().await.unwrap();
    fleet
}

impl Replica {
    async fn beside(fleet: &Fleet) -> Replica {
        let address = format!("127.0.0.1:{}", ports::take_two().unwrap());
        let text = std::fs::read_to_string(fleet.folder().join("longshore.yaml")).unwrap();
        let data = fleet.folder().join("data").display().to_string();
        let text = text
            .replace(&fleet.address, &address)
            .replace(&format!("data: {data}"), &format!("data: {data}-2"));
        let file = fleet.folder().join("replica.yaml");
        std::fs::write(&file, text).unwrap();
        let (url, client) = (format!("http://{address}"), http::client().unwrap());
        let replica = Replica { process: ingress(&file), file, url, client };
        replica.ready().await;
        replica
    }

    async fn ready(&self) {
        let ready = eventually(SOON, "the ingress to be ready", || async {
            let response = self.client.get(format!("{}/readyz", self.url)).send().await?;
            ensure!(response.status().is_success(), "{}", response.status());
            Ok(())
        });
        ready.await.unwrap_or_else(|error| panic!("{error:#}\n{}", self.process.lines().join("\n")));
    }

    async fn kill_and_start(&mut self) {
        self.process.kill().await.unwrap();
        self.process = ingress(&self.file);
        self.ready().await;
    }

    /// Pushes to this one; the ids of the jobs it was answered with.
    async fn push(&self, body: &Value) -> anyhow::Result<Vec<String>> {
        let request = self.client.post(format!("{}/hooks/ci", self.url)).json(body);
        let (status, answer) = http::answer(request).await?;
        ensure!(status == 202, "{status}: {answer}");
        Ok(ids(&answer))
    }
}

fn ingress(file: &PathBuf) -> Process {
    let mut command = longshore("longshore-ingress").unwrap();
    command.arg("--config").arg(file);
    Process::start(command).unwrap()
}

#[tokio::test]
async fn two_ingresses_know_one_delivery_on_the_broker() {
    let fleet = fleet().await;
    let replica = Replica::beside(&fleet).await;
    let body = json!({"image": "acme/web:1", "id": "build-1"});
    let first = replica.push(&body).await.unwrap();
    assert_eq!(first.len(), TARGETS.len());
    for id in &first {
        comes_to(&fleet, id, &["succeeded"]).await;
    }
    let (status, again) = http::answer(fleet.post("/hooks/ci", &body)).await.unwrap();
    assert_eq!((status.as_u16(), ids(&again)), (202, first.clone()));

    // At the very same time neither can know of the other: both take it, and the targets end where they should.
    let body = json!({"image": "acme/web:2", "id": "build-2"});
    let theirs = async { http::answer(fleet.post("/hooks/ci", &body)).await };
    let (theirs, ours) = tokio::join!(theirs, replica.push(&body));
    let (theirs, ours) = (ids(&theirs.unwrap().1), ours.unwrap());
    for id in theirs.iter().chain(&ours) {
        comes_to(&fleet, id, &["succeeded", "superseded"]).await;
    }
    for target in TARGETS {
        let newest = jobs_of(&fleet, target).await.remove(0);
        assert_eq!(
            (&newest["state"], image_of(&newest)),
            (&json!("succeeded"), json!("docker.io/acme/web:2"))
        );
    }
}

#[tokio::test]
async fn an_ingress_killed_between_the_jobs_of_a_delivery_loses_none_on_the_broker() {
    let fleet = fleet().await;
    let mut replica = Replica::beside(&fleet).await;
    for (round, wait) in [1_u64, 4, 9].into_iter().enumerate() {
        let body = json!({"image": format!("acme/web:{round}"), "id": format!("build-{round}")});
        {
            let pushing = replica.push(&body);
            // Somewhere between its coming and its answer.
            let _ = tokio::time::timeout(Duration::from_millis(wait), pushing).await;
        }
        replica.kill_and_start().await;
        let jobs = eventually(SOON, "the sender's retry to be taken", || replica.push(&body)).await.unwrap();
        assert_eq!(jobs.len(), TARGETS.len());
        for id in &jobs {
            comes_to(&fleet, id, &["succeeded", "superseded"]).await;
        }
        assert_eq!(replica.push(&body).await.unwrap(), jobs, "once more");
        for target in TARGETS {
            let jobs = jobs_of(&fleet, target).await;
            let image = json!(format!("docker.io/acme/web:{round}"));
            assert_eq!(
                (&jobs[0]["state"], image_of(&jobs[0])),
                (&json!("succeeded"), image.clone()),
                "{jobs:?}"
            );
            let of_round = jobs.iter().filter(|job| image_of(job) == image).count();
            assert!((1..=2).contains(&of_round), "{jobs:?}");
        }
    }
}
