//! A deploy whose message was taken out of the broker is carried out all the same: the history knows what was wished.

use std::time::Duration;

use anyhow::{Result, ensure};
use lapin::options::QueueDeleteOptions;
use serde_json::{Value, json};
use tests::fleet::{Engine, Fleet};
use tests::http;
use tests::wait::eventually;

const LONG: Duration = Duration::from_secs(120);

const SECTIONS: &str = "\
ingress: {overdue_after: 5s, resend_after: 6s}
worker: {takeover_after: 10m}
systems: {lab: {kind: rehearsal}}
targets: {web: {at: lab, takes: 15s}}
";

async fn wish(fleet: &Fleet, image: &str) -> Result<String> {
    let request = fleet.post("/v1/jobs", &json!({"target": "web", "image": image}));
    let (status, body) = http::answer(request.header("Idempotency-Key", image)).await?;
    ensure!(status == 202, "{status} {body}");
    Ok(body["jobs"][0]["id"].as_str().unwrap().to_owned())
}

async fn reaches(fleet: &Fleet, id: &str, state: &str) -> Value {
    eventually(LONG, &format!("{id} to be {state}"), || async {
        let (_, body) = http::answer(fleet.get(&format!("/v1/jobs/{id}"))).await?;
        ensure!(body["state"] == state, "{body}");
        Ok(body)
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_deploy_whose_message_was_deleted_with_its_queue_is_handed_to_the_workers_again() {
    let mut fleet = Fleet::prepare(Engine::Broker).await.unwrap();
    fleet.configure(SECTIONS).unwrap();
    fleet.start().await.unwrap();
    let first = eventually(LONG, "the pool to be served", || wish(&fleet, "acme/web:1")).await.unwrap();
    reaches(&fleet, &first, "started").await;
    let second = wish(&fleet, "acme/web:2").await.unwrap();
    reaches(&fleet, &second, "retrying").await;

    // It goes between its queue and this one, until the first is done.
    let channel = fleet.broker.as_ref().unwrap().connect().await.unwrap().create_channel().await.unwrap();
    eventually(LONG, "its message to be deleted", || async {
        let options = QueueDeleteOptions::default();
        let deleted = channel.queue_delete("longshore.retry.default.5s".into(), options).await?;
        ensure!(deleted == 1, "{deleted} messages were in it");
        Ok(())
    })
    .await
    .unwrap();

    reaches(&fleet, &first, "succeeded").await;
    let done = reaches(&fleet, &second, "succeeded").await;
    let told = done["events"].as_array().unwrap().iter().map(|event| &event["data"]);
    let again: Vec<&Value> = told.filter(|data| data["reason"]["code"] == "unheard").collect();
    assert_eq!((again.len(), &again[0]["counted"]), (1, &json!(false)), "{done:#}");
    let (_, page) = http::answer(fleet.get("/v1/jobs?state=dead")).await.unwrap();
    assert_eq!(page["jobs"], json!([]), "nothing was given up");
    fleet.kill().await.unwrap();
}
