//! A job in words of a newer version waits its time out, whatever happens to the workers meanwhile.

use std::time::Duration;

use anyhow::ensure;
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};
use serde_json::Value;
use tests::fleet::{Engine, Fleet};
use tests::http;
use tests::wait::eventually;

const LONG: Duration = Duration::from_secs(120);

const WAITS: &str = "a job for a newer worker waits";

/// What is left of its ten minutes is less than one pause: the worker that snoozes it is not the one that buries it.
#[tokio::test]
async fn a_job_of_a_newer_version_is_laid_aside_though_its_workers_die_in_between() {
    let mut fleet = Fleet::prepare(Engine::Broker).await.unwrap();
    let sections = "systems: {lab: {kind: rehearsal}}\ntargets: {web: {at: lab}}\n";
    fleet.configure(sections).unwrap();
    fleet.start().await.unwrap();
    let newer = r#"{"version":2,"what":"only they know"}"#;
    let mut headers = FieldTable::default();
    headers.insert("longshore-set-aside".into(), AMQPValue::LongLongInt(599_000));
    let properties = BasicProperties::default().with_headers(headers);
    let broker = fleet.broker.clone().unwrap();
    broker.publish_with("longshore.jobs", "default.web", newer.as_bytes(), properties).await.unwrap();
    fleet.process("longshore-worker").unwrap().wait_for_line(WAITS, LONG).await.unwrap();
    eventually(LONG, "it to be on its way round", || async {
        let waiting = broker.messages_in("longshore.retry.default.30s").await?;
        ensure!(waiting == 1, "{waiting}");
        Ok(())
    })
    .await
    .unwrap();

    fleet.kill().await.unwrap();
    fleet.start().await.unwrap();
    let unreadable = eventually(LONG, "it to be laid aside", || async {
        let (_, page) = http::answer(fleet.get("/v1/jobs?state=dead")).await?;
        let unreadable = page["unreadable"].as_array().cloned().unwrap_or_default();
        ensure!(unreadable.len() == 1, "{page}");
        Ok(unreadable)
    });
    let letter = &unreadable.await.unwrap()[0]["letter"];
    assert_eq!(
        (&letter["reason"]["code"], &letter["attempts"]),
        (&Value::from("unknown-words"), &Value::from(1))
    );
    assert!(!fleet.lines().join("\n").contains(WAITS), "it did not begin to wait anew");
    fleet.kill().await.unwrap();
}
