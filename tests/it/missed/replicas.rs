//! Two ingresses on one broker, and one that is killed while it makes the jobs of a delivery.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use reqwest::Client;
use serde_json::{Value, json};
use tests::fault_proxy::FaultProxy;
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
        Replica::beside_through(fleet, None).await
    }

    /// The same, which reaches the broker through a proxy.
    async fn beside_through(fleet: &Fleet, proxy: Option<&FaultProxy>) -> Replica {
        let address = format!("127.0.0.1:{}", ports::take_two().unwrap());
        let text = std::fs::read_to_string(fleet.folder().join("longshore.yaml")).unwrap();
        let data = fleet.folder().join("data").display().to_string();
        let text = text
            .replace(&fleet.address, &address)
            .replace(&format!("data: {data}"), &format!("data: {data}-2"));
        let broker = fleet.broker.as_ref().unwrap().host().unwrap();
        let text = proxy.map_or(text.clone(), |proxy| text.replace(&broker, &proxy.address()));
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

    async fn start_again(&mut self) {
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

/// How long the broker's way to the replica takes, each way: between two of its jobs there is time to see the first.
const SLOW: Duration = Duration::from_secs(1);

/// A pool for each target, so that the jobs of one push are published one after the other: a process that has published to
/// none of them yet waits for each pool's first.
async fn fleet_of_pools() -> Fleet {
    let mut fleet = Fleet::prepare(Engine::Broker).await.unwrap();
    let systems = TARGETS.iter().map(|name| format!("  lab-{name}: {{kind: rehearsal, pool: p{name}}}\n"));
    let targets = TARGETS
        .iter()
        .map(|name| format!("  {name}: {{at: lab-{name}, takes: 20ms, follow: \"acme/web:*\"}}\n"));
    let sections = format!(
        "sources:\n  ci: {{kind: plain, open: true, loopback_only: true}}\nsystems:\n  lab: {{kind: rehearsal}}\n{}targets:\n{}",
        systems.collect::<String>(),
        targets.collect::<String>()
    );
    fleet.configure(&sections).unwrap();
    fleet.start().await.unwrap();
    let broker = fleet.broker.as_ref().unwrap();
    for name in TARGETS {
        let queue = format!("longshore.jobs.p{name}");
        eventually(SOON, "each pool to be served", || broker.find_consumer(&queue)).await.unwrap();
    }
    fleet
}

/// The jobs that were made, by the fleet's own ingress, which the killed one tells nothing: workers say what they start.
async fn made(fleet: &Fleet) -> Vec<Value> {
    let mut all = Vec::new();
    for name in TARGETS {
        all.extend(jobs_of(fleet, &format!("p{name}/{name}")).await);
    }
    all
}

#[tokio::test]
async fn an_ingress_killed_after_two_of_five_jobs_loses_none_on_the_broker() {
    let fleet = fleet_of_pools().await;
    let mut proxy = FaultProxy::start(&fleet.broker.as_ref().unwrap().host().unwrap()).await.unwrap();
    let mut replica = Replica::beside_through(&fleet, Some(&proxy)).await;
    let body = json!({"image": "acme/web:1", "id": "build-1"});
    proxy.delay(SLOW);
    {
        let two_are_made = eventually(SOON, "two jobs to be made", || async {
            let made = made(&fleet).await;
            ensure!(made.len() >= 2, "{made:?}");
            Ok(())
        });
        tokio::select! {
            made = two_are_made => made.unwrap(),
            answered = replica.push(&body) => panic!("all were made before it could be killed: {answered:?}"),
        }
    }
    proxy.stall();
    replica.process.kill().await.unwrap();
    let first: Vec<Value> = made(&fleet).await.into_iter().map(|job| job["id"].clone()).collect();
    assert_eq!(first.len(), 2, "it was killed after two of five");

    proxy.restore().unwrap();
    replica.start_again().await;
    let jobs = eventually(SOON, "the sender's retry to be taken", || replica.push(&body)).await.unwrap();
    assert_eq!(jobs.len(), TARGETS.len());
    assert!(first.iter().all(|id| jobs.iter().any(|job| id == job)), "those two are not made again");
    for id in &jobs {
        comes_to(&fleet, id, &["succeeded"]).await;
    }
    assert_eq!(replica.push(&body).await.unwrap(), jobs, "once more");
    let made = made(&fleet).await;
    let targets: BTreeSet<_> = made.iter().map(|job| job["target"].to_string()).collect();
    assert_eq!(targets.len(), TARGETS.len(), "one for each target: {made:?}");
    // The one that was on its way to the queue when it was killed, of which nobody was told, may have come there: the same
    // image for one target a second time, which changes nothing.
    assert!(made.len() <= TARGETS.len() + 1, "{made:?}");
}
