//! Images that were rolled back and wait to be released.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

mod support;

use proto::{CauseKind, Event, ImageChange, ImageRef, Job, Reason, State, reason};
use queue::Queue;
use serde_json::json;
use support::{Server, http::Answer};

async fn release(server: &Server, target: &str) -> Answer {
    server.post(&format!("/v1/targets/default/{target}/release"), "").await
}

/// Says that a job is held, as a worker does.
async fn hold(server: &Server, job: &Job, code: &'static str, image: Option<&ImageRef>) {
    server.reach(job, &[State::Started]).await;
    let mut event = Event::of(job, State::Held, 0, 1);
    event.data.reason = Some(Reason::new(code, "it waits"));
    event.data.image = image.map(|to| ImageChange { from: None, to: Some(to.clone()) });
    server.queue.emit(&event).await.unwrap();
    server.reached(job, State::Held).await;
}

#[tokio::test]
async fn a_held_image_is_released_by_a_job_of_its_own() {
    let server = Server::start().await;
    release(&server, "demo").await.is_problem(409, "nothing-held");
    let job = server.hook("/hooks/demo", r#"{"image":"demo:2"}"#).await;
    hold(&server, &job, reason::NEEDS_APPROVAL, None).await;
    // That one waits for an approval.
    release(&server, "demo").await.is_problem(409, "nothing-held");

    let image: ImageRef = format!("demo:2@sha256:{}", "7".repeat(64)).parse().unwrap();
    hold(&server, &job, reason::BAD_IMAGE, Some(&image)).await;
    let answer = release(&server, "demo").await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let released = server.job(&answer.json()["jobs"][0]);
    assert_eq!(released.operation.image(), Some(&image), "the very image that is held");
    assert_eq!((released.cause.kind, released.cause.by.as_deref()), (CauseKind::Release, Some("admin")));
    assert_eq!((released.chain, released.replays), (job.chain, Some(job.id)));
    assert!(released.id > job.id && released.deadline > job.deadline);
    let again = release(&server, "demo").await.json();
    assert_eq!(again["jobs"][0]["id"], json!(released.id), "the one under way is named");
    release(&server, "no%20name").await.is_problem(404, "unknown-target");
}
