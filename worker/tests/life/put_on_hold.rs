//! Targets that somebody put on hold.

use std::time::Duration;

use jiff::SignedDuration;
use proto::{CauseKind, Job, Operation, State, Timestamp};

use crate::stage::{Stage, carried_out, code, job, rehearsal, wish};

async fn ended(stage: &Stage, job: &Job) -> State {
    carried_out(stage, job).await.state()
}

#[tokio::test]
async fn what_brings_an_image_waits_while_the_target_is_on_hold_and_what_mends_does_not() {
    let stage = Stage::new(&rehearsal("10ms", "")).await;
    for image in ["demo:1", "demo:2"] {
        assert_eq!(ended(&stage, &job("demo", image)).await, State::Succeeded);
    }
    assert_eq!(ended(&stage, &wish(Operation::Hold { image: None })).await, State::Succeeded);

    let mut waits = job("demo", "demo:3");
    waits.deadline = Timestamp::now() + Duration::from_secs(20);
    stage.accept(&waits).await;
    let said = stage.until_said(&waits, State::Held).await;
    assert_eq!(code(&said), "on-hold");
    let hint = said.data.reason.and_then(|reason| reason.hint).unwrap();
    assert!(hint.contains("`longshore target release default/demo`"), "{hint}");
    let rollback = wish(Operation::Rollback { service: None, job: None, image: None });
    assert_eq!(ended(&stage, &rollback).await, State::Succeeded);
    let mut by_name = job("demo", "demo:4");
    by_name.cause.kind = CauseKind::Release;
    assert_eq!(ended(&stage, &by_name).await, State::Succeeded);
    assert!(stage.mark().contains("demo:4"));
    // What was asked for before that is needless now; the next one waits like the first.
    assert_eq!(stage.end(&waits).await.state(), State::Superseded);
    let mut waits = job("demo", "demo:5");
    waits.deadline = Timestamp::now() + Duration::from_secs(20);
    stage.accept(&waits).await;
    stage.until_said(&waits, State::Held).await;
    let passed = waits.deadline.duration_since(Timestamp::now()) + SignedDuration::from_secs(1);
    tokio::time::sleep(Duration::try_from(passed).unwrap()).await;

    assert_eq!(ended(&stage, &wish(Operation::Release { image: None })).await, State::Succeeded);
    // Its deadline passed while it was held: that is not counted.
    assert_eq!(stage.end(&waits).await.state(), State::Succeeded);
    let held = stage.states(&waits).iter().filter(|state| **state == State::Held).count();
    assert_eq!(held, 1, "said once");
    assert!(stage.mark().contains("demo:5"));
}
