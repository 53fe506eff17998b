//! When a job comes again, and that its worker answers for it.

use std::time::Duration;

use axum::{Router, http::StatusCode, routing::get};
use proto::{Event, EventId, Operation, State, Timestamp};

use crate::stage::{Stage, code, job, rehearsal};

/// A worker's configuration with an engine that cannot serve now, and says when to come back.
async fn busy_engine(retry_after: &'static str) -> String {
    let refuse = move || async move {
        (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", retry_after)], r#"{"message":"upgrading"}"#)
    };
    let engine = Router::new()
        .route("/version", get(|| async { r#"{"ApiVersion":"1.41"}"# }))
        .route("/v1.41/services/{name}", get(refuse));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, engine).await.unwrap() });
    format!(
        "systems:\n  dock: {{kind: swarm, host: 'tcp://{address}'}}\ntargets:\n  demo: {{at: dock, service: web}}\n"
    )
}

#[tokio::test]
async fn a_system_that_names_a_time_is_not_asked_before() {
    let configuration = busy_engine("7").await;
    let stage = Stage::new(&configuration).await;
    let job = job("demo", "demo:1");
    stage.accept(&job).await;
    let retrying = stage.until_said(&job, State::Retrying).await;
    assert_eq!((code(&retrying), retrying.data.counted), ("unavailable", Some(true)));
    let events = stage.until(&job, |events| count(events, State::Started) == 2).await;
    let again = events.iter().rfind(|event| event.state() == State::Started).unwrap();
    let pause = again.time.duration_since(retrying.time);
    assert!(pause >= jiff::SignedDuration::from_secs(7), "{pause:?}");
}

#[tokio::test]
async fn a_system_that_names_a_time_after_the_deadline_is_not_waited_for() {
    let configuration = busy_engine("86400").await;
    let stage = Stage::new(&configuration).await;
    let job = job("demo", "demo:1");
    stage.accept(&job).await;
    let end = stage.end(&job).await;
    assert_eq!((end.state(), code(&end)), (State::Dead, "unavailable"));
    let text = end.data.reason.unwrap().text;
    assert!(text.contains("upgrading") && text.contains("deadline"), "{text}");
}

#[tokio::test]
async fn the_deadline_caps_the_attempts_at_a_system_that_stays_down() {
    let stage = Stage::new("systems:\n  dock: {kind: swarm, host: 'tcp://127.0.0.1:9'}\ntargets:\n  demo: {at: dock, service: web}\n").await;
    let mut job = job("demo", "demo:1");
    job.deadline = Timestamp::now() + Duration::from_secs(12);
    stage.accept(&job).await;
    let end = stage.end(&job).await;
    assert_eq!((end.state(), code(&end), end.data.attempt), (State::Dead, "unreachable", 2));
}

#[tokio::test]
async fn a_rollout_longer_than_a_delivery_is_held_is_taken_up_again_without_a_second_write() {
    let configuration = rehearsal("6s", "").replace("grace: 100ms", "grace: 100ms, delivery_hold: 600ms");
    let stage = Stage::new(&configuration).await;
    let mut job = job("demo", "demo:1");
    job.operation = Operation::Restart;
    job.slots = job.operation.slots();
    stage.accept(&job).await;
    let end = stage.end(&job).await;
    assert_eq!((end.state(), end.data.attempt), (State::Succeeded, 1), "{end:?}");
    assert!(stage.mark().contains(r#""restarts": 1"#), "{}", stage.mark());
    let events = stage.until(&job, |_| true).await;
    assert!(count(&events, State::Started) >= 3, "{events:#?}");
    let snoozed = events.iter().filter(|event| event.state() == State::Retrying);
    assert!(snoozed.clone().all(|event| event.data.counted == Some(false) && code(event) == "interrupted"));
    assert_eq!(count(&events, State::Retrying) + 1, count(&events, State::Started));
    assert_eq!(marks(&events), [], "every start is answered for");
}

fn count(events: &[Event], state: State) -> usize {
    events.iter().filter(|event| event.state() == state).count()
}

/// Every `started` that nothing answers: it would count as a crash.
fn marks(events: &[Event]) -> Vec<EventId> {
    let answered = |id: EventId| events.iter().any(|event| event.data.started == Some(id));
    let started = events.iter().filter(|event| event.state() == State::Started).map(|event| event.id);
    started.filter(|id| !answered(*id)).collect()
}

#[tokio::test]
async fn a_job_that_was_begun_is_not_refused_though_its_target_is_gone() {
    let stage = Stage::new(&rehearsal("10ms", "")).await;
    let mut begun = job("nowhere", "demo:1");
    begun.accepted_at = Timestamp::now() - Duration::from_secs(601);
    stage.say(&begun, State::Started).await;
    stage.accept(&begun).await;
    let end = stage.end(&begun).await;
    assert_eq!((end.state(), code(&end)), (State::Dead, "unknown-target"));
    assert!(end.data.reason.unwrap().text.contains("its target is gone"));
}
