//! Wishes compete only for the same thing, and a wish can be called off until it touches its target.

use std::time::Duration;

use proto::{JobId, State};
use serde_json::{Value, json};
use tests::fleet::Engine;
use tokio::time::{Instant, sleep};

use super::stage::Stage;

const ROUNDS: usize = 12;

fn mark_of(stage: &Stage) -> Value {
    serde_json::from_str(&stage.mark()).unwrap()
}

#[tokio::test]
async fn stop_then_start_ends_running_on_the_embedded_queue() {
    stop_then_start(Engine::Embedded).await;
}

#[tokio::test]
async fn stop_then_start_ends_running_on_the_broker() {
    stop_then_start(Engine::Broker).await;
}

async fn stop_then_start(engine: Engine) {
    let mut stage = Stage::prepare(engine, "takes: 300ms").await;
    let _processes = stage.start().await;
    for _ in 0..ROUNDS {
        stage.wish_to(json!({"type": "stop"})).await;
        let start = stage.wish_to(json!({"type": "start"})).await;
        stage.ends(start, State::Succeeded).await;
        assert_eq!(mark_of(&stage)["running"], true);
    }
    stage.account().await;
    assert_eq!(mark_of(&stage)["running"], true);
}

/// The workers of one pool pass the jobs between them while one after the other dies.
#[tokio::test]
async fn stop_then_start_ends_running_whatever_the_workers_do_on_the_broker() {
    let mut stage = Stage::prepare(Engine::Broker, "takes: 300ms").await;
    let (mut workers, _ingress) = ([stage.worker().await, stage.worker().await], stage.ingress(None).await);
    let mut last: Option<JobId> = None;
    for round in 0..ROUNDS {
        stage.wish_to(json!({"type": "stop"})).await;
        last = Some(stage.wish_to(json!({"type": "start"})).await);
        sleep(Duration::from_millis(100)).await;
        let worker = &mut workers[round % 2];
        worker.kill().await.unwrap();
        *worker = stage.worker().await;
    }
    stage.ends(last.unwrap(), State::Succeeded).await;
    stage.account().await;
    assert_eq!(mark_of(&stage)["running"], true);
}

#[tokio::test]
async fn a_restart_never_swallows_an_image_on_the_embedded_queue() {
    restart_beside_image(Engine::Embedded).await;
}

#[tokio::test]
async fn a_restart_never_swallows_an_image_on_the_broker() {
    restart_beside_image(Engine::Broker).await;
}

async fn restart_beside_image(engine: Engine) {
    let mut stage = Stage::prepare(engine, "takes: 500ms").await;
    let _processes = stage.start().await;
    for round in 0..3u64 {
        let image = stage.wish(&round.to_string(), json!({})).await;
        let restart = stage.wish_to(json!({"type": "restart"})).await;
        stage.ends(image, State::Succeeded).await;
        stage.ends(restart, State::Succeeded).await;
        assert_eq!(mark_of(&stage)["restarts"], round + 1);
        stage.runs(&round.to_string()).await;
    }
    stage.account().await;
}

#[tokio::test]
async fn a_newer_job_takes_over_a_rollout_after_its_time_on_the_embedded_queue() {
    takes_over(Engine::Embedded).await;
}

#[tokio::test]
async fn a_newer_job_takes_over_a_rollout_after_its_time_on_the_broker() {
    takes_over(Engine::Broker).await;
}

async fn takes_over(engine: Engine) {
    let mut stage = Stage::prepare(engine, "takes: 40s").await;
    let _processes = stage.start().await;
    let older = stage.wish("1", json!({})).await;
    stage.until_said(older, State::Started).await;
    let begin = Instant::now();
    let newer = stage.wish("2", json!({})).await;
    let end = stage.ends(older, State::Superseded).await;
    assert_eq!(end.data.by, Some(newer));
    let (had, takes) = (begin.elapsed(), Duration::from_secs(40));
    assert!(had > Duration::from_secs(8) && had < takes, "the older had {had:?}");
    assert_eq!(end.data.image.unwrap().to.unwrap().tag(), Some("1"), "it had reached its target");
    stage.ends(newer, State::Succeeded).await;
    stage.runs("2").await;
    stage.account().await;
}

#[tokio::test]
async fn a_cancel_ends_what_has_not_begun_and_nothing_else_on_the_embedded_queue() {
    cancels(Engine::Embedded).await;
}

#[tokio::test]
async fn a_cancel_ends_what_has_not_begun_and_nothing_else_on_the_broker() {
    cancels(Engine::Broker).await;
}

async fn cancels(engine: Engine) {
    let mut stage = Stage::prepare(engine, "takes: 12s").await;
    let _processes = stage.start().await;
    let cancel = |job: JobId| json!({"type": "cancel", "job": job});
    let running = stage.wish("1", json!({})).await;
    stage.runs("1").await;
    // Of another kind, it waits for the target without taking it over.
    let waiting = stage.wish_to(json!({"type": "stop"})).await;
    stage.until_said(waiting, State::Retrying).await;
    let (early, late) = (stage.wish_to(cancel(waiting)).await, stage.wish_to(cancel(running)).await);
    let (end, states) = stage.end(waiting).await;
    assert_eq!((end.state(), end.data.by), (State::Cancelled, Some(early)));
    assert!(!states.contains(&State::Started), "{states:?}");
    stage.ends(early, State::Succeeded).await;
    stage.ends(running, State::Succeeded).await;
    let end = stage.ends(late, State::Rejected).await;
    assert_eq!(end.data.reason.unwrap().code, "too-late");
    assert_eq!(mark_of(&stage)["running"], true);
    stage.account().await;
}
