//! A wish with a time before which it is not to run, made over the API.

use std::time::Duration;

use proto::{State, Timestamp};
use serde_json::json;
use tests::fleet::Engine;

use super::stage::Stage;

#[tokio::test]
async fn a_wish_waits_for_its_time_and_supersedes_nobody_meanwhile_on_the_embedded_queue() {
    waits_for_its_time(Engine::Embedded).await;
}

#[tokio::test]
async fn a_wish_waits_for_its_time_and_supersedes_nobody_meanwhile_on_the_broker() {
    waits_for_its_time(Engine::Broker).await;
}

async fn waits_for_its_time(engine: Engine) {
    let mut stage = Stage::prepare(engine, "takes: 3s, deadline: 20s").await;
    let _processes = stage.start().await;
    // The older one is on its way when the newer is made, and is not taken over by it.
    let older = stage.wish("1", json!({})).await;
    stage.until_said(older, State::Started).await;
    let time = Timestamp::now() + Duration::from_secs(25);
    let held = stage.wish("2", json!({"not_before": time})).await;
    let said = stage.until_said(held, State::Held).await;
    assert_eq!(said.job().unwrap().deadline, time + Duration::from_secs(20), "the hold does not use it up");
    stage.ends(older, State::Succeeded).await;
    stage.runs("1").await;
    let (end, states) = stage.end(held).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    assert_eq!(states, [State::Accepted, State::Held, State::Started]);
    assert!(stage.until_said(held, State::Started).await.time >= time);
    stage.runs("2").await;
    stage.account().await;
}

#[tokio::test]
async fn a_held_wish_is_superseded_once_a_newer_one_has_run_on_the_broker() {
    let mut stage = Stage::prepare(Engine::Broker, "takes: 20ms").await;
    let _processes = stage.start().await;
    let time = Timestamp::now() + Duration::from_secs(28);
    let held = stage.wish("1", json!({"not_before": time})).await;
    stage.until_said(held, State::Held).await;
    let newer = stage.wish("2", json!({})).await;
    stage.ends(newer, State::Succeeded).await;
    let (end, states) = stage.end(held).await;
    assert_eq!((end.state(), end.data.by), (State::Superseded, Some(newer)));
    assert_eq!(states, [State::Accepted, State::Held]);
    assert!(end.time < time, "it did not wait for nothing");
    stage.runs("2").await;
    stage.account().await;
}
