//! What is answered while the broker is away, and what becomes of it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

mod support;

use std::{sync::Arc, time::Duration};

use proto::{Event, Job, JobId, Reason, State, Timestamp, reason};
use queue::{Queue, SpoolSettings};
use serde_json::{Value, json};
use support::{
    Server, TOKEN, eventually,
    faulty::Faulty,
    http::{Answer, Call, Events},
};
use tempfile::TempDir;

const PUSH: &str = r#"{"image":"demo:2"}"#;

/// The longest that anybody waits for an answer while the broker is away.
const PROMPT: Duration = Duration::from_secs(2);

async fn server(queue: &Arc<Faulty>, data: &TempDir) -> Server {
    Server::beside_a_spool(queue.clone(), data.path(), SpoolSettings::default()).await
}

/// Long enough for a short history to be read on a busy machine.
const READ_WITHIN: Duration = Duration::from_secs(60);

async fn away() -> (Arc<Faulty>, TempDir) {
    let queue = Faulty::serving(&["default"]).await;
    queue.there.send_replace(false);
    (queue, TempDir::new().unwrap())
}

async fn push(server: &Server) -> JobId {
    let answer = server.post("/hooks/demo", PUSH).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.json()["jobs"][0]["id"].as_str().unwrap().parse().unwrap()
}

/// Another push where the history may have to be read first: whoever comes too soon is told to come again.
async fn push_in_time(server: &Server) -> JobId {
    let pushing = async {
        loop {
            let answer = server.post("/hooks/demo", r#"{"image":"demo:of-another-tag"}"#).await;
            if answer.status != 503 {
                assert_eq!(answer.status, 202, "{}", answer.text());
                return answer.json()["jobs"][0]["id"].as_str().unwrap().parse().unwrap();
            }
            answer.is_problem(503, "starting");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(READ_WITHIN, pushing).await.expect("the history is read in time")
}

async fn promptly(asking: impl Future<Output = Answer>) -> Answer {
    tokio::time::timeout(PROMPT, asking).await.expect("no prompt answer")
}

async fn readiness(server: &Server) -> (u16, Value) {
    let answer = promptly(server.get("/readyz")).await;
    (answer.status, answer.json())
}

async fn metrics(server: &Server) -> String {
    let answer = server.call(Call::get("/metrics")).await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    answer.text()
}

fn published(queue: &Faulty) -> Vec<JobId> {
    queue.published().iter().map(|job| job.id).collect()
}

#[tokio::test]
async fn what_died_on_the_embedded_queue_is_still_seen_on_the_broker() {
    let (queue, data) = (Faulty::serving(&["default"]).await, TempDir::new().unwrap());
    let first = server(&queue, &data).await.ready().await;
    let id = push(&first).await;
    first.stop().await;
    let job = queue.published().into_iter().find(|job| job.id == id).unwrap();
    let left = queue::open(&queue::Settings::default(), data.path()).await.unwrap();
    let why = Reason::new(reason::UNREACHABLE, "no route to the dock");
    left.bury(job.encode().into(), job.target.pool(), 3, &why).await.unwrap();
    left.close().await;
    drop(left);

    let second = server(&queue, &data).await.ready().await;
    let dead = || async { second.get("/v1/jobs?state=dead").await.json()["jobs"][0].clone() };
    eventually(|| async { dead().await["id"] == json!(id) }).await;
    let letter = &dead().await["letter"];
    assert_eq!((&letter["attempts"], &letter["reason"]["code"]), (&json!(3), &json!(reason::UNREACHABLE)));
}

#[tokio::test]
async fn hooks_are_taken_while_the_broker_is_away_and_handed_over_when_it_is_back() {
    let (queue, data) = away().await;
    queue.there.send_replace(true);
    let server = server(&queue, &data).await.ready().await;
    assert_eq!(readiness(&server).await, (200, json!({"status": "ready"})));
    queue.there.send_replace(false);
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(push(&server).await);
    }
    let (status, body) = readiness(&server).await;
    assert_eq!((status, &body["status"], &body["spooled"]), (200, &json!("spooling"), &json!(5)));
    assert!(body["bytes"].as_u64() > Some(0) && body["since"].is_string(), "{body}");
    server.post("/hooks/demo", "no json").await.is_problem(400, "not-json");
    let text = metrics(&server).await;
    for line in [
        "longshore_broker_available 0",
        "longshore_spooled_jobs 5",
        "# TYPE longshore_spooled_bytes gauge",
        "longshore_jobs_accepted_total 5",
        "longshore_hooks_refused_total{reason=\"not-json\"} 1",
    ] {
        assert!(text.lines().any(|told| told == line), "{line}:\n{text}");
    }
    assert_eq!(published(&queue), []);

    queue.there.send_replace(true);
    eventually(|| async { readiness(&server).await == (200, json!({"status": "ready"})) }).await;
    assert_eq!(published(&queue), ids);
    let text = metrics(&server).await;
    for line in ["longshore_broker_available 1", "longshore_spooled_jobs 0"] {
        assert!(text.lines().any(|told| told == line), "{line}:\n{text}");
    }
    for job in queue.published() {
        assert_eq!(queue.said(&job), [State::Accepted]);
    }
}

#[tokio::test]
async fn a_start_without_the_broker_takes_hooks_with_ids_above_those_kept() {
    let (queue, data) = away().await;
    let first = server(&queue, &data).await.ready().await;
    let kept = push(&first).await;
    first.stop().await;

    let second = server(&queue, &data).await.ready().await;
    assert_eq!(readiness(&second).await.1["spooled"], 1);
    let later = push(&second).await;
    assert!(later > kept);
    // What another process kept before is known here.
    let shown = promptly(second.get(&format!("/v1/jobs/{kept}"))).await.json();
    assert_eq!((&shown["state"], &shown["events"]), (&json!("accepted"), &json!([])));
    queue.there.send_replace(true);
    eventually(|| async { published(&queue).len() == 2 }).await;
    assert_eq!(published(&queue), [kept, later]);
}

#[tokio::test]
async fn a_delivery_that_was_kept_makes_no_second_job_after_a_restart() {
    let (queue, data) = away().await;
    let body = std::fs::read_to_string(format!(
        "{}/tests/payloads/distribution-push.json",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap();
    let call = || Call::post("/hooks/registry", body.clone()).bearer("sesame");
    let first = server(&queue, &data).await.ready().await;
    let answer = first.call(call()).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    first.stop().await;
    let second = server(&queue, &data).await.ready().await;
    assert_eq!(second.call(call()).await.json()["jobs"][0]["id"], answer.json()["jobs"][0]["id"]);
    assert_eq!(readiness(&second).await.1["spooled"], 1);
}

#[tokio::test]
async fn ids_rise_above_the_history_once_the_broker_is_back() {
    let (queue, data) = away().await;
    queue.there.send_replace(true);
    let first = server(&queue, &data).await.ready().await;
    let job = first.hook("/hooks/demo", PUSH).await;
    // The id of an ingress whose clock is a day ahead.
    let ahead = Job { id: JobId::mint(Timestamp::now() + Duration::from_secs(24 * 3600), None), ..job };
    queue.emit(&Event::of(&ahead, State::Accepted, 0, 0)).await.unwrap();
    first.stop().await;

    queue.there.send_replace(false);
    let second = server(&queue, &data).await.ready().await;
    assert!(push(&second).await < ahead.id);
    queue.there.send_replace(true);
    assert!(push_in_time(&second).await > ahead.id, "it waits until the history was read");
}

#[tokio::test]
async fn a_full_spool_is_503_and_says_when_to_come_back() {
    let (queue, data) = away().await;
    let bounds = SpoolSettings { jobs: 2, ..SpoolSettings::default() };
    let server = Server::beside_a_spool(queue.clone(), data.path(), bounds).await.ready().await;
    let kept = [push(&server).await, push(&server).await];
    let refused = promptly(server.post("/hooks/demo", PUSH)).await;
    refused.is_problem(503, "queue-full");
    let (status, body) = readiness(&server).await;
    assert_eq!((status, &body["status"], &body["spooled"]), (503, &json!("full"), &json!(2)));
    assert!(metrics(&server).await.contains("longshore_hooks_refused_total{reason=\"queue-full\"} 1\n"));
    queue.there.send_replace(true);
    eventually(|| async { readiness(&server).await == (200, json!({"status": "ready"})) }).await;
    assert_eq!(published(&queue), kept);
    push(&server).await;
}

#[tokio::test]
async fn several_jobs_for_which_there_is_no_room_are_not_taken_in_part() {
    let (queue, data) = away().await;
    let bounds = SpoolSettings { jobs: 2, ..SpoolSettings::default() };
    let server = Server::beside_a_spool(queue.clone(), data.path(), bounds).await.ready().await;
    let wish = |tag: u8| json!({"target": "demo", "image": format!("demo:{tag}")});
    let three = json!([wish(1), wish(2), wish(3)]).to_string();
    promptly(server.post("/v1/jobs", three)).await.is_problem(503, "queue-full");
    assert_eq!(readiness(&server).await.1["spooled"].as_u64().unwrap_or(0), 0, "nothing is kept of them");
    let two = promptly(server.post("/v1/jobs", json!([wish(1), wish(2)]).to_string())).await;
    assert_eq!(two.status, 202, "{}", two.text());
}

#[tokio::test]
async fn jobs_are_shown_and_followed_while_the_broker_is_away() {
    let (queue, data) = away().await;
    queue.there.send_replace(true);
    let server = server(&queue, &data).await.ready().await;
    let begun = server.hook("/hooks/demo", PUSH).await;
    server.reach(&begun, &[State::Started]).await;
    server.reached(&begun, State::Started).await;
    queue.there.send_replace(false);
    let kept = push(&server).await;

    for (id, state) in [(kept, "accepted"), (begun.id, "started")] {
        let shown = promptly(server.get(&format!("/v1/jobs/{id}"))).await;
        assert_eq!(shown.status, 200, "{}", shown.text());
        assert_eq!((&shown.json()["state"], &shown.json()["events"]), (&json!(state), &json!([])));
    }
    let unknown = JobId::mint(Timestamp::now(), None);
    promptly(server.get(&format!("/v1/jobs/{unknown}"))).await.is_problem(503, "history-unread");

    let open = async |id: JobId| {
        Events::open(server.address, Call::get(&format!("/v1/jobs/{id}/events")).bearer(TOKEN)).await
    };
    let (mut of_kept, mut of_begun) = (open(kept).await, open(begun.id).await);
    queue.there.send_replace(true);
    eventually(|| async { published(&queue).contains(&kept) }).await;
    let job = queue.published().into_iter().find(|job| job.id == kept).unwrap();
    server.reach(&job, &[State::Started, State::Succeeded]).await;
    server.reach(&begun, &[State::Succeeded]).await;
    // Nothing is left out, also of what was said before.
    for events in [&mut of_kept, &mut of_begun] {
        let mut states = Vec::new();
        while let Some(message) = events.next().await {
            states.push(message.data["data"]["state"].as_str().unwrap().to_owned());
        }
        assert_eq!(states, ["accepted", "started", "succeeded"]);
    }
}
