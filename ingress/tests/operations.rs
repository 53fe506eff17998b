//! Rollbacks to a job, and plans: what an ingress adds to them, and what it asks the workers.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

mod support;

use proto::{Event, ImageChange, Job, Operation, State};
use queue::{Queue, Standing};
use serde_json::{Value, json};
use support::{Server, http::Answer};

const IMAGE: &str =
    "docker.io/library/a:1@sha256:457f4aa83fc9a6663ab9d1b0a6e2dce25a12a943ed5bf2c1747c58d48bbb4917";

async fn post(server: &Server, path: &str, body: Value) -> Answer {
    server.post(path, body.to_string()).await
}

async fn accepted(server: &Server, body: Value) -> Job {
    let answer = post(server, "/v1/jobs", body).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    server.job(&answer.json()["jobs"][0])
}

/// Says that a job succeeded with an image.
async fn succeed(server: &Server, job: &Job) {
    let mut event = Event::of(job, State::Succeeded, 1, 0);
    event.data.image = Some(ImageChange { from: None, to: Some(IMAGE.parse().unwrap()) });
    server.queue.emit(&event).await.unwrap();
    server.reached(job, State::Succeeded).await;
}

#[tokio::test]
async fn a_rollback_to_a_job_brings_the_image_with_which_that_job_succeeded() {
    let server = Server::start().await;
    let former = accepted(&server, json!({"target": "demo", "image": "a:1"})).await;
    let rollback = json!({"target": "demo", "operation": {"type": "rollback", "job": former.id}});
    post(&server, "/v1/jobs", rollback.clone()).await.is_problem(422, "bad-job");
    succeed(&server, &former).await;

    let job = accepted(&server, rollback).await;
    let expected =
        Operation::Rollback { service: None, job: Some(former.id), image: Some(IMAGE.parse().unwrap()) };
    assert_eq!(job.operation, expected);
    assert_eq!(job.slots[0].as_str(), "image:docker.io/library/a");
    let other = json!({"target": "twin", "operation": {"type": "rollback", "job": former.id}});
    post(&server, "/v1/jobs", other).await.is_problem(404, "unknown-job");
    let named = json!({"target": "demo", "operation": {"type": "rollback", "image": "a:2"}});
    post(&server, "/v1/jobs", named).await.is_problem(422, "bad-job");

    let path = "/v1/targets/default/demo/rollback";
    let answer = post(&server, path, json!({"job": former.id})).await;
    assert_eq!((answer.status, answer.json()["jobs"].as_array().map(Vec::len)), (202, Some(1)));
    let plain = server.post(path, "").await;
    assert_eq!(plain.status, 202, "{}", plain.text());
    post(&server, path, json!({"jobs": 1})).await.is_problem(422, "bad-job");
    post(&server, "/v1/targets/default/nobody/rollback", json!({})).await.is_problem(404, "unknown-target");
}

#[tokio::test]
async fn a_plan_is_asked_of_a_worker_and_makes_no_job() {
    let server = Server::start().await;
    let path = "/v1/targets/default/twin/plan";
    post(&server, path, json!({"image": "both:1"})).await.is_problem(503, "no-worker-alive");
    let mut questions = server.queue.questions(&"default".parse().unwrap()).await.unwrap();
    let change = json!({"of": "service web", "field": "Image", "from": "both:0", "to": "both:1"});
    for (answer, status, slug) in [
        (json!({"answer": "plan", "changes": [change], "notes": ["replaces its one task"]}), 200, ""),
        (json!({"answer": "failed", "reason": {"code": "refused", "text": "s refuses"}}), 422, "would-fail"),
        (
            json!({"answer": "failed", "reason": {"code": "unreachable", "text": "cannot reach s"}}),
            503,
            "target-unreadable",
        ),
        (json!({"answer": "unknown-question"}), 503, "no-answer"),
    ] {
        let answering = async {
            let question = questions.next().await.unwrap();
            let asked: Value = serde_json::from_slice(question.body()).unwrap();
            let operation = json!({"type": "set-image", "image": "docker.io/library/both:1"});
            assert_eq!(asked, json!({"ask": "plan", "target": "default/twin", "operation": operation}));
            question.answer(answer.to_string().into()).await;
        };
        let body = json!({"image": "both:1"});
        let (told, ()) = tokio::join!(post(&server, path, body), answering);
        match status {
            200 => {
                let told = told.json();
                assert_eq!((&told["changes"], &told["target"]), (&json!([change]), &json!("default/twin")));
                assert_eq!(told["notes"], json!(["replaces its one task"]));
            }
            _ => told.is_problem(status, slug),
        }
    }
    post(&server, path, json!({"image": "both"})).await.is_problem(422, "bad-image");
    post(&server, path, json!({"operation": {"type": "fly"}})).await.is_problem(422, "unknown-operation");
    assert_eq!(server.get("/v1/jobs").await.json()["jobs"], json!([]));
}

#[tokio::test]
async fn the_text_of_a_stack_is_taken_as_it_is_and_what_cannot_be_one_is_refused() {
    let server = Server::start().await;
    let of = |operation: Value| json!({"target": "demo", "operation": operation});
    let text = json!({
        "type": "deploy-stack", "compose": "services: {}", "env": {"A": "b", "KEY": {"from": "key"}}, "prune": true
    });
    let job = accepted(&server, of(text.clone())).await;
    assert_eq!(serde_json::to_value(&job.operation).unwrap(), text);
    assert_eq!(job.slots.iter().map(|slot| slot.as_str()).collect::<Vec<_>>(), ["*"]);
    let removal = accepted(&server, of(json!({"type": "remove-stack"}))).await;
    assert_eq!(removal.operation, Operation::RemoveStack { force: false });
    for wrong in [
        json!({"type": "deploy-stack"}),
        json!({"type": "deploy-stack", "compose": " "}),
        json!({"type": "deploy-stack", "compose": "a", "env": {"LD_PRELOAD": "x"}}),
        json!({"type": "deploy-stack", "compose": "a", "env": {"A": 1}}),
        json!({"type": "deploy-stack", "compose": "a", "files": {"/etc/passwd": "x"}}),
        json!({"type": "deploy-stack", "compose": "a", "pruned": true}),
        json!({"type": "deploy-stack", "compose": "secrets: {s: {file: ./db.txt}}", "files": {"db.txt": "pw"}}),
        json!({"type": "deploy-stack", "compose": "x".repeat(500_000)}),
        json!({"type": "remove-stack", "volumes": true}),
    ] {
        post(&server, "/v1/jobs", of(wrong)).await.is_problem(422, "bad-job");
    }
}

#[tokio::test]
async fn a_job_for_which_no_worker_is_running_says_so_in_every_answer() {
    let server = Server::start().await;
    server.queue.standing.send_replace(Some(Standing { workers: 0, waiting: 0 }));
    let body = json!({"target": "demo", "image": "a:1"});
    let job = accepted(&server, body.clone()).await;
    let path = format!("/v1/jobs/{}", job.id);
    // The pools are looked at every few seconds.
    support::eventually(|| async { !server.get(&path).await.json()["waits"].is_null() }).await;
    let told = server.get(&path).await.json();
    let text = told["waits"]["text"].as_str().unwrap();
    assert!(text.contains("no worker of the pool `default` is running"), "{told}");
    let waited = post(&server, "/v1/jobs?wait=1ms", body).await.json();
    assert_eq!(waited["jobs"][0]["waits"]["code"], "no-worker", "{waited}");
    server.reach(&job, &[State::Started]).await;
    server.reached(&job, State::Started).await;
    assert!(server.get(&path).await.json()["waits"].is_null());
}
