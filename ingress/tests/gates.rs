//! What holds a deploy back: approval, window, minimum age.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

mod support;

use std::{sync::Arc, time::Duration};

use proto::{CauseKind, Event, EventId, ImageChange, Job, Reason, State, reason};
use queue::Queue;
use serde_json::json;
use support::{Server, TOKEN, faulty::Faulty, http::Answer, http::Call};

const TEXT: &str = r#"
sources:
  demo: {kind: plain, open: true, loopback_only: true}
systems:
  s: {kind: rehearsal}
targets:
  shop: {at: s, follow: "shop:*", approve: true, window: nights, deadline: 10m}
  aged: {at: s, follow: "aged:*", min_age: 2h}
  free: {at: s, follow: "free:*"}
  versions: {at: s, follow: {image: versions, tags: {semver: ">=1"}}}
  asked: {at: s, follow: {image: asked, tags: {semver: ">=1"}}, approve: true}
windows:
  nights: {from: "20:00", to: "06:00", zone: Asia/Shanghai}
"#;

async fn server() -> Server {
    Server::with(Faulty::serving(&["default"]).await, TEXT).await.ready().await
}

async fn approve(server: &Server, job: &Job, query: &str) -> Answer {
    server.post(&format!("/v1/jobs/{}/approve{query}", job.id), "").await
}

/// A job of `shop` that a worker holds.
async fn held(server: &Server, tag: &str) -> Job {
    let job = server.hook("/hooks/demo", &format!("{{\"image\":\"shop:{tag}\"}}")).await;
    let mut event = Event::of(&job, State::Held, 0, 1);
    event.data.reason =
        Some(Reason::new(reason::NEEDS_APPROVAL, "it waits to be approved").hint("approve it"));
    server.queue.emit(&event).await.unwrap();
    server.reached(&job, State::Held).await;
    job
}

#[tokio::test]
async fn an_approval_makes_one_job_that_keeps_the_other_gates() {
    let server = server().await;
    let job = held(&server, "1").await;
    assert!(job.gates.approve);
    let listed = server.get("/v1/jobs?state=held").await.json();
    assert_eq!(listed["jobs"][0]["held"]["text"], "it waits to be approved", "{listed}");

    let answer = approve(&server, &job, "").await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let made = server.job(&answer.json()["jobs"][0]);
    assert_eq!((made.cause.kind, made.cause.by.as_deref()), (CauseKind::Approve, Some("admin")));
    assert_eq!((made.chain, made.replays, &made.operation), (job.chain, Some(job.id), &job.operation));
    assert!(!made.gates.approve && made.gates.window == job.gates.window && made.gates.window.is_some());
    assert!(made.id > job.id);
    assert_eq!(made.deadline, made.may_run_from() + Duration::from_secs(600), "counted anew");
    let shown = server.get(&format!("/v1/jobs/{}", made.id)).await.json();
    assert_eq!(shown["events"][0]["data"]["job"]["cause"]["by"], "admin", "{shown}");

    // Whoever approves it again, here or elsewhere, at whatever time.
    let id = json!(made.id);
    let other = Server::with(Arc::clone(&server.queue), TEXT).await.ready().await;
    for server in [&server, &other] {
        assert_eq!(approve(server, &job, "").await.json()["jobs"][0]["id"], id);
    }
    // What was approved is called off by its own name: the held one could not stop it.
    let answer = server.post(&format!("/v1/jobs/{}/cancel", job.id), "").await;
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert!(answer.json()["hint"].as_str().unwrap().contains(&made.id.to_string()), "{}", answer.text());
    server.reach(&made, &[State::Started, State::Succeeded]).await;
    server.reached(&made, State::Succeeded).await;
    assert_eq!(approve(&server, &job, "").await.json()["jobs"][0]["id"], id);
    server.reach(&job, &[State::Superseded]).await;
    server.reached(&job, State::Superseded).await;
    assert_eq!(approve(&server, &job, "").await.json()["jobs"][0]["id"], id);
    let jobs = server.queue.published();
    assert_eq!(jobs.iter().filter(|made| made.replays == Some(job.id)).count(), 1);
}

/// What a worker says of a job that waits, with the image that its tag was found to point to.
fn held_with(job: &Job, code: &'static str, image: &str) -> Event {
    let mut event = Event::of(job, State::Held, 0, 1);
    event.data.reason = Some(Reason::new(code, "it waits"));
    event.data.image = Some(ImageChange { from: None, to: Some(image.parse().unwrap()) });
    event
}

fn image_of(job: &Job) -> String {
    job.operation.image().unwrap().to_string()
}

#[tokio::test]
async fn what_is_approved_is_the_image_that_was_told_first() {
    let server = server().await;
    let job = server.hook("/hooks/demo", r#"{"image":"shop:1"}"#).await;
    let told = ["a", "b"].map(|hex| format!("docker.io/library/shop:1@sha256:{}", hex.repeat(64)));
    for (image, n) in told.iter().zip(1..) {
        let event = Event {
            id: EventId::of(job.id, State::Held, 0, n),
            ..held_with(&job, reason::NEEDS_APPROVAL, image)
        };
        server.queue.emit(&event).await.unwrap();
    }
    server.reached(&job, State::Held).await;
    // The same push again is no repetition of one whose image is fixed by now.
    let again = server.hook("/hooks/demo", r#"{"image":"shop:1"}"#).await;
    assert_ne!(again.id, job.id);
    server.reach(&again, &[State::Cancelled]).await;
    server.reached(&again, State::Cancelled).await;
    // Another ingress knows it from the history alone.
    let other = Server::with(Arc::clone(&server.queue), TEXT).await.ready().await;
    other.reached(&job, State::Held).await;
    let answer = approve(&other, &job, "").await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let made = other.job(&answer.json()["jobs"][0]);
    assert_eq!((image_of(&made), made.slots), (told[0].clone(), job.slots));
}

#[tokio::test]
async fn what_came_of_age_and_died_is_replayed_as_the_image_that_it_was() {
    let server = server().await;
    let job = server.hook("/hooks/demo", r#"{"image":"aged:1"}"#).await;
    let told = format!("docker.io/library/aged:1@sha256:{}", "a".repeat(64));
    server.queue.emit(&held_with(&job, reason::NOT_BEFORE, &told)).await.unwrap();
    server.reached(&job, State::Held).await;
    // As a worker lets one die: said first, then laid aside.
    server.reach(&job, &[State::Started, State::Dead]).await;
    let (pool, why) = ("default".parse().unwrap(), Reason::new(reason::UNREACHABLE, "no route to the dock"));
    server.queue.bury(job.encode().into(), &pool, 3, &why).await.unwrap();
    server.reached(&job, State::Dead).await;
    let answer = server.post(&format!("/v1/jobs/{}/replay", job.id), "").await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(image_of(&server.job(&answer.json()["jobs"][0])), told);
}

#[tokio::test]
async fn what_is_called_off_is_not_let_go_behind_it() {
    let server = server().await;
    let job = held(&server, "1").await;
    // No worker is there to carry it out.
    let answer = server.post(&format!("/v1/jobs/{}/cancel", job.id), "").await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let cancel = server.job(&answer.json()["jobs"][0]);
    for query in ["", "?force=true"] {
        let refused = approve(&server, &job, query).await;
        refused.is_problem(409, "called-off");
        assert!(refused.text().contains(&cancel.id.to_string()), "{}", refused.text());
    }
    // Nor where another ingress knows of it from the history alone.
    let other = Server::with(Arc::clone(&server.queue), TEXT).await.ready().await;
    approve(&other, &job, "").await.is_problem(409, "called-off");
    // It came to nothing: the job goes on waiting, and can be approved.
    server.reach(&cancel, &[State::Rejected]).await;
    server.reached(&cancel, State::Rejected).await;
    assert_eq!(approve(&server, &job, "").await.status, 202);
}

#[tokio::test]
async fn one_whose_job_never_ran_is_approved_anew() {
    let server = server().await;
    let job = held(&server, "1").await;
    let first = server.job(&approve(&server, &job, "").await.json()["jobs"][0]);
    server.reach(&first, &[State::Cancelled]).await;
    server.reached(&first, State::Cancelled).await;
    let second = server.job(&approve(&server, &job, "").await.json()["jobs"][0]);
    assert!(second.id > first.id && second.replays == Some(job.id));
}

#[tokio::test]
async fn an_older_one_than_what_runs_needs_force() {
    let server = server().await;
    let (older, newer) = (held(&server, "1").await, held(&server, "2").await);
    // The newer one, which waits as well, would give way to it.
    approve(&server, &older, "").await.is_problem(409, "newer-applied");
    let second = server.job(&approve(&server, &newer, "").await.json()["jobs"][0]);
    server.reach(&second, &[State::Started, State::Succeeded]).await;
    server.reached(&second, State::Succeeded).await;
    approve(&server, &older, "").await.is_problem(409, "newer-applied");
    let forced = approve(&server, &older, "?force=true").await;
    assert_eq!(forced.status, 202, "{}", forced.text());
    assert!(server.job(&forced.json()["jobs"][0]).id > second.id);
}

#[tokio::test]
async fn a_newer_one_that_no_worker_has_looked_at_yet_is_not_overtaken_without_force() {
    let server = server().await;
    let older = server.hook("/hooks/demo", r#"{"image":"shop:1"}"#).await;
    let newer = server.hook("/hooks/demo", r#"{"image":"shop:2"}"#).await;
    // As long as no worker is there, neither is called held; then the older one is.
    let refused = approve(&server, &older, "").await;
    refused.is_problem(409, "newer-applied");
    assert!(refused.text().contains(&newer.id.to_string()), "{}", refused.text());
    server.reach(&older, &[State::Held]).await;
    server.reached(&older, State::Held).await;
    approve(&server, &older, "").await.is_problem(409, "newer-applied");
    let forced = approve(&server, &older, "?force=true").await;
    assert_eq!(forced.status, 202, "{}", forced.text());
}

#[tokio::test]
async fn what_waits_for_no_approval_is_refused() {
    let server = server().await;
    let free = server.hook("/hooks/demo", r#"{"image":"free:1"}"#).await;
    approve(&server, &free, "").await.is_problem(409, "needs-no-approval");
    server.reach(&free, &[State::Started, State::Succeeded]).await;
    server.reached(&free, State::Succeeded).await;
    approve(&server, &free, "").await.is_problem(409, "already-ended");
    let rejected = held(&server, "1").await;
    server.reach(&rejected, &[State::Rejected]).await;
    server.reached(&rejected, State::Rejected).await;
    approve(&server, &rejected, "").await.is_problem(409, "already-ended");
    let unknown = "/v1/jobs/0199f3a0-5d7c-7aa0-b6f0-3a2f5d1c9e42/approve";
    server.post(unknown, "").await.is_problem(404, "unknown-job");
    server.post("/v1/jobs/x/approve", "").await.is_problem(404, "unknown-job");
    approve(&server, &free, "?now=true").await.is_problem(400, "bad-query");
    server.call(Call::post(unknown, "")).await.is_problem(401, "missing-token");
}

#[tokio::test]
async fn jobs_carry_their_window_and_what_mends_carries_none() {
    let server = server().await;
    let job = held(&server, "1").await;
    let window = job.gates.window.as_ref().unwrap();
    assert_eq!((window.name.as_str(), window.periods.len()), ("nights", 1));
    assert_eq!(job.deadline, window.opens(job.accepted_at).unwrap() + Duration::from_secs(600));
    let now = server.post("/v1/jobs", r#"{"target":"shop","image":"shop:3","now":true}"#).await;
    let now = server.job(&now.json()["jobs"][0]);
    assert!(now.gates.window.is_none() && now.gates.approve, "{now:?}");
    for operation in ["stop", "start", "restart", "rollback"] {
        let wish = json!({"target": "shop", "operation": {"type": operation}}).to_string();
        let answer = server.post("/v1/jobs", wish).await;
        let job = server.job(&answer.json()["jobs"][0]);
        assert!(job.gates.is_open(), "{operation} {:?}", job.gates);
    }
    let wrong = r#"{"target":"shop","image":"shop:3","now":"yes"}"#;
    server.post("/v1/jobs", wrong).await.is_problem(422, "bad-job");
}

#[tokio::test]
async fn an_image_waits_for_its_age_and_the_same_call_again_makes_no_second_job() {
    let server = server().await;
    let two_hours = Duration::from_secs(7200);
    let pushed = server.hook("/hooks/demo", r#"{"image":"aged:1"}"#).await;
    assert_eq!(pushed.not_before, Some(pushed.accepted_at + two_hours));
    assert_eq!(pushed.deadline, pushed.accepted_at + two_hours + Duration::from_secs(3600));
    let call = || {
        let call = Call::post("/v1/jobs", r#"{"target":"aged","image":"aged:2"}"#);
        server.call(call.bearer(TOKEN).header("Idempotency-Key", "once"))
    };
    let (first, second) = (call().await.json(), call().await.json());
    assert_eq!(first["jobs"][0]["id"], second["jobs"][0]["id"], "{first} {second}");
    let now = server.post("/v1/jobs", r#"{"target":"aged","image":"aged:3","now":true}"#).await;
    assert_eq!(server.job(&now.json()["jobs"][0]).not_before, None);
    let targets = server.get("/v1/targets").await.json();
    let gates = |name: &str| {
        let targets = targets["targets"].as_array().unwrap();
        targets.iter().find(|target| target["target"] == format!("default/{name}")).unwrap()["gates"].clone()
    };
    assert_eq!(gates("aged"), json!({"min_age_s": 7200}));
    assert_eq!(gates("shop"), json!({"approve": true, "window": "nights"}));
}

#[tokio::test]
async fn a_wish_may_say_until_when_and_in_which_version() {
    let server = server().await;
    let after = |hours: u64| proto::Timestamp::now() + Duration::from_secs(hours * 3600);
    let ask = |target: &str, deadline| {
        let wish = json!({"version": 1, "target": target, "image": "x:1", "deadline": deadline});
        let server = &server;
        async move { server.post("/v1/jobs", wish.to_string()).await }
    };
    let until = after(1);
    let taken = ask("free", until).await;
    assert_eq!(taken.status, 202, "{}", taken.text());
    assert_eq!(server.job(&taken.json()["jobs"][0]).deadline, until);
    // Counted from when it may run: two hours from now.
    ask("aged", after(1)).await.is_problem(422, "bad-job");
    assert_eq!(ask("aged", after(25)).await.status, 202);
    ask("free", after(25)).await.is_problem(422, "bad-job");
    // What is shown of a job is not what is asked for.
    let shown = server.get("/v1/jobs?limit=1").await.json()["jobs"][0].clone();
    let refused = server.post("/v1/jobs", shown.to_string()).await;
    refused.is_problem(422, "bad-job");
    assert!(refused.text().contains("is given by Longshore"), "{}", refused.text());
}

#[tokio::test]
async fn what_was_overtaken_is_listed_without_a_way_to_undo_the_newer() {
    let server = server().await;
    let job = held(&server, "1").await;
    let why = async || server.get("/v1/jobs?state=held").await.json()["jobs"][0]["held"].clone();
    assert_eq!(why().await["hint"], "approve it");
    let now = json!({"target": "shop", "image": "shop:2", "now": true});
    let answer = server.post("/v1/jobs", now.to_string()).await;
    let newer = server.job(&answer.json()["jobs"][0]);
    assert_eq!(why().await["hint"], "approve it", "it has not begun");
    server.reach(&newer, &[State::Started]).await;
    server.reached(&newer, State::Started).await;
    let told = why().await;
    assert!(told["text"].as_str().unwrap().contains(&format!("{} is being deployed", newer.id)), "{told}");
    assert_eq!(told["hint"], json!(null));
    server.reach(&newer, &[State::Succeeded]).await;
    server.reached(&newer, State::Succeeded).await;
    let told = why().await;
    assert!(told["text"].as_str().unwrap().contains(&format!("overtaken by {}", newer.id)), "{told}");
    assert_eq!(told["hint"], json!(null));
    let shown = server.get(&format!("/v1/jobs/{}", job.id)).await.json();
    assert_eq!((&shown["state"], &shown["held"]), (&json!("held"), &told));
}

#[tokio::test]
async fn a_push_of_a_version_goes_upward_and_what_a_person_asks_for_does_not() {
    let server = server().await;
    let pushed = server.hook("/hooks/demo", r#"{"image":"versions:1.4.2"}"#).await;
    assert!(pushed.gates.upward && !pushed.is_gated(), "it waits for nothing");
    assert!(!server.hook("/hooks/demo", r#"{"image":"free:1.4.2"}"#).await.gates.upward);
    let answer = server.post("/v1/jobs", r#"{"target":"versions","image":"versions:1.0.0"}"#).await;
    assert!(!server.job(&answer.json()["jobs"][0]).gates.upward, "{}", answer.text());

    for (query, upward) in [("", true), ("?force=true", false)] {
        let held =
            server.hook("/hooks/demo", &format!(r#"{{"image":"asked:1.4.2","id":"of{query}"}}"#)).await;
        server.reach(&held, &[State::Held]).await;
        server.reached(&held, State::Held).await;
        let answer = approve(&server, &held, query).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        let made = server.job(&answer.json()["jobs"][0]);
        assert_eq!((made.replays, made.gates.upward), (Some(held.id), upward), "{query}");
    }
}
