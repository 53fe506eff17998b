//! A broker that is away for minutes: whoever waits for it pauses for as long as it ever does, and is back at once all
//! the same.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tests::broker::Broker;
use tests::fault_proxy::FaultProxy;
use tests::fleet::Fleet;
use tests::http;
use tests::wait::eventually;
use tokio::time::sleep;

const SOON: Duration = Duration::from_secs(30);

/// Beyond the two minutes after which the pauses between two tries are at their longest.
const OUTAGE: Duration = Duration::from_secs(130);

/// From when a broker that was away takes connections until a new job was carried out.
const BACK_IN_SERVICE: Duration = Duration::from_secs(5);

const SECTIONS: &str = "systems:\n  lab: {kind: rehearsal}\ntargets:\n  web: {at: lab, takes: 20ms}\n";

#[tokio::test]
async fn after_an_outage_of_minutes_a_job_is_carried_out_within_five_seconds() {
    let broker = Broker::own_virtual_host().await.unwrap();
    let mut before_broker = FaultProxy::start(&broker.host().unwrap()).await.unwrap();
    let through = broker.through(&before_broker.address()).unwrap();
    let mut fleet = Fleet::prepare_on(through).await.unwrap();
    fleet.configure(SECTIONS).unwrap();
    fleet.start().await.unwrap();
    // Its pool's queue is there, but on the way through the proxy perhaps not yet bound.
    eventually(SOON, "a first job", || deploy(&fleet, "before")).await.unwrap();

    before_broker.refuse().await;
    before_broker.cut();
    eventually(SOON, "the ingress to keep jobs", || async {
        let (_, body) = http::answer(fleet.get("/readyz")).await?;
        ensure!(body["status"] == "spooling", "{body}");
        Ok(())
    })
    .await
    .unwrap();
    sleep(OUTAGE).await;

    before_broker.restore().unwrap();
    let back = Instant::now();
    deploy(&fleet, "after").await.unwrap();
    let took = back.elapsed();
    println!("back in service {took:.2?} after an outage of {OUTAGE:?}");
    assert!(took < BACK_IN_SERVICE, "{took:?}; the fleet said:\n{}", fleet.lines().join("\n"));
}

/// A job, waited for until it succeeded.
async fn deploy(fleet: &Fleet, tag: &str) -> Result<()> {
    let body = json!({"target": "web", "image": format!("acme/web:{tag}")});
    let (_, answer) = http::answer(fleet.post("/v1/jobs?wait=30s", &body)).await?;
    let id =
        answer["jobs"][0]["id"].as_str().with_context(|| format!("find the job in {answer}"))?.to_owned();
    eventually(SOON, "the job to succeed", || async {
        let (_, job) = http::answer(fleet.get(&format!("/v1/jobs/{id}"))).await?;
        ensure!(job["state"] == "succeeded", "{job}");
        Ok(())
    })
    .await
}
