//! What comes in over the broker: who may ask for what, what is made of it once, and what is laid aside.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod support;

use std::sync::Arc;

use proto::{CauseKind, Job, Operation, State};
use queue::{Envelope, Queue, QueueError};
use serde_json::{Value, json};

use support::{Server, eventually, faulty::Faulty};

const TEXT: &str = r#"
sources:
  push: {kind: plain, open: true, loopback_only: true}
systems:
  s: {kind: rehearsal}
  far: {kind: rehearsal, pool: office}
targets:
  web: {at: s, follow: "acme/web:*"}
  api: {at: s, follow: "acme/api:*"}
  shop: {at: s, follow: "acme/shop:*"}
  remote: {at: far}
access:
  amqp:
    ci: {targets: [web, api, "office/*"]}
    ops: {targets: "*", operations: "*"}
"#;

async fn stage() -> (Arc<Faulty>, Server) {
    let queue = Faulty::serving(&["default"]).await;
    let server = Server::with(Arc::clone(&queue), TEXT).await.ready().await;
    (queue, server)
}

fn from(user: &str, id: &str) -> Envelope {
    Envelope { user: Some(user.to_owned()), id: Some(id.to_owned()), ..Envelope::default() }
}

fn deploy(target: &str, image: &str) -> Value {
    json!({"target": target, "image": image})
}

async fn published(queue: &Faulty, count: usize) -> Vec<Job> {
    eventually(|| async { queue.published().len() >= count }).await;
    queue.published()
}

/// The reasons of all dead letters, once there are so many.
async fn reasons(queue: &Faulty, count: usize) -> Vec<proto::Reason> {
    eventually(|| async { queue.dead_letters().await.unwrap().len() >= count }).await;
    queue.dead_letters().await.unwrap().into_iter().map(|letter| letter.reason).collect()
}

/// Waits until all that was sent is settled: what is sent last is a push that makes a job.
async fn until_settled(queue: &Faulty) {
    let before = queue.published().len();
    queue.send(json!({"image": format!("acme/shop:{before}")}).to_string(), Envelope::default()).await;
    eventually(|| async { queue.published().len() > before }).await;
}

#[tokio::test]
async fn who_is_listed_may_ask_for_jobs_as_over_http() {
    let (queue, server) = stage().await;
    let body = json!([
        deploy("web", "acme/web:2"),
        {"target": "api", "operation": {"type": "set-image", "image": "acme/api:3", "service": "x"}},
    ]);
    let mut envelope = from("ci", "m-1");
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    envelope.headers = vec![("traceparent".to_owned(), trace.to_owned())];
    queue.send(body.to_string(), envelope).await;
    let jobs = published(&queue, 2).await;
    assert_eq!(jobs.iter().map(|job| job.target.name()).collect::<Vec<_>>(), ["web", "api"]);
    assert_eq!(jobs[0].chain, jobs[1].chain);
    for job in &jobs {
        assert_eq!((job.cause.kind, job.cause.by.as_deref()), (CauseKind::Amqp, Some("ci")));
        assert_eq!((job.cause.delivery.as_deref(), job.traceparent.as_deref()), (Some("m-1"), Some(trace)));
    }
    for job in &jobs {
        eventually(|| async { queue.said(job).contains(&State::Accepted) }).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_message_that_comes_again_makes_the_same_jobs_once() {
    let (queue, server) = stage().await;
    let both = json!([deploy("web", "acme/web:2"), deploy("api", "acme/api:3")]).to_string();
    queue.send(both.clone(), from("ci", "m-1")).await;
    let first = published(&queue, 2).await;
    queue.send(both.clone(), from("ci", "m-1")).await;
    until_settled(&queue).await;
    assert_eq!(queue.published().len(), 3);

    // Another's message of the same id is another; so is the same with another id.
    queue.send(both.clone(), from("ops", "m-1")).await;
    published(&queue, 5).await;
    queue.send(both, from("ci", "m-2")).await;
    let all = published(&queue, 7).await;
    assert!(all[2..].iter().all(|job| job.id > first[1].id));

    // The same id with something else in it is a mistake.
    queue.send(deploy("web", "acme/web:9").to_string(), from("ci", "m-1")).await;
    let reason = reasons(&queue, 1).await.remove(0);
    assert_eq!(reason.code, "key-reused");
    assert!(reason.text.contains("`m-1`") && reason.text.ends_with("sent by `ci`"), "{reason:?}");
    server.stop().await;
}

#[tokio::test]
async fn what_was_half_done_is_finished_when_it_comes_again() {
    let (queue, server) = stage().await;
    let both = json!([deploy("web", "acme/web:2"), deploy("api", "acme/api:3")]).to_string();
    // Jobs of a pool that has taken one go side by side.
    queue.send(deploy("web", "acme/web:1").to_string(), from("ci", "m-0")).await;
    published(&queue, 1).await;
    // The one is refused for now and the other made: so much was done when it comes again.
    queue.refuse([QueueError::Full]);
    queue.send(both.clone(), from("ci", "m-1")).await;
    published(&queue, 2).await;
    queue.send(both, from("ci", "m-1")).await;
    let jobs = published(&queue, 3).await;
    until_settled(&queue).await;
    let mut names: Vec<_> = queue.published().iter().map(|job| job.target.name().to_owned()).collect();
    names.sort();
    assert_eq!(names, ["api", "shop", "web", "web"]);
    assert_eq!(jobs[1].chain, jobs[2].chain, "one cause");
    server.stop().await;
}

#[tokio::test]
async fn what_nobody_may_is_laid_aside_with_the_reason() {
    let (queue, server) = stage().await;
    let web = deploy("web", "acme/web:2").to_string();
    let nobody = Envelope { id: Some("m".to_owned()), ..Envelope::default() };
    let cases = [
        (web.clone(), nobody, "who sent it"),
        (format!("{web} "), from("stranger", "m"), "may only tell of images; sent by `stranger`"),
        (deploy("shop", "acme/shop:2").to_string(), from("ci", "m"), "may not `set-image` on `default/shop`"),
        (
            json!([deploy("web", "acme/web:2"), deploy("shop", "acme/shop:2")]).to_string(),
            from("ci", "n"),
            "may not `set-image` on `default/shop`",
        ),
        (
            json!({"target": "web", "operation": {"type": "stop"}}).to_string(),
            from("ci", "m"),
            "may not `stop` on `default/web`",
        ),
    ];
    for (count, (body, envelope, told)) in cases.into_iter().enumerate() {
        queue.send(body, envelope).await;
        let reason = reasons(&queue, count + 1).await.remove(count);
        assert_eq!(reason.code, "not-allowed", "{reason:?}");
        assert!(reason.text.contains(told) && reason.hint.is_some(), "{reason:?}");
    }
    assert!(queue.published().is_empty(), "not even a part of them");
    server.stop().await;
}

#[tokio::test]
async fn a_job_of_others_is_not_called_off_through_a_target_of_ones_own() {
    let queue = Faulty::serving(&["default"]).await;
    let text =
        TEXT.replace("ci: {targets: [web, api, \"office/*\"]}", "ci: {targets: [web], operations: \"*\"}");
    let server = Server::with(Arc::clone(&queue), &text).await.ready().await;
    let theirs = server.hook("/hooks/push", r#"{"image":"acme/api:1"}"#).await;
    let cancel =
        |id: String| json!({"target": "web", "operation": {"type": "cancel", "job": id}}).to_string();
    queue.send(cancel(theirs.id.to_string()), from("ci", "m")).await;
    assert_eq!(reasons(&queue, 1).await[0].code, "not-allowed");
    queue.send(cancel(proto::JobId::mint(proto::Timestamp::now(), None).to_string()), from("ci", "n")).await;
    assert_eq!(reasons(&queue, 2).await[1].code, "not-allowed");
    let own = server.hook("/hooks/push", r#"{"image":"acme/web:1"}"#).await;
    queue.send(cancel(own.id.to_string()), from("ci", "o")).await;
    let jobs = published(&queue, 3).await;
    assert!(matches!(jobs[2].operation, Operation::Cancel { job } if job == own.id));
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_used_says_why_and_names_no_job() {
    let (queue, server) = stage().await;
    let job = server.hook("/hooks/push", r#"{"image":"acme/web:1"}"#).await;
    let mut stolen: Value = serde_json::to_value(&job).unwrap();
    stolen["target"] = json!("default/web");
    let cases = [
        ("no JSON at all".to_owned(), "undecodable", "not JSON, see line 1"),
        (
            deploy("nothing", "acme/web:1").to_string(),
            "unknown-target",
            "there is no target `default/nothing`",
        ),
        (deploy("web", "acme/web").to_string(), "undecodable", "names no tag"),
        (json!([]).to_string(), "undecodable", "the array is empty"),
        (json!({"target": "web", "operation": {"type": "explode"}}).to_string(), "undecodable", "`explode`"),
        // Ids are ours to give, and a job of somebody else's is nobody's to end.
        (stolen.to_string(), "undecodable", "`id` is given by Longshore"),
    ];
    for (count, (body, code, told)) in cases.iter().enumerate() {
        queue.send(body.clone(), from("ops", "m")).await;
        let reason = reasons(&queue, count + 1).await.remove(count);
        assert!(reason.code == *code && reason.text.contains(told), "{body}: {reason:?}");
        assert!(reason.text.ends_with("; sent by `ops`"), "{reason:?}");
    }
    let page = server.get("/v1/jobs?state=dead").await.json();
    assert_eq!(page["jobs"], json!([]));
    assert_eq!(page["unreadable"].as_array().unwrap().len(), cases.len());
    let letter = page["unreadable"][0]["letter"]["name"].as_str().unwrap().to_owned();
    let shown = server.get(&format!("/v1/jobs/{letter}")).await.json();
    assert_eq!(shown["letter"]["body"]["text"], stolen.to_string());
    assert_eq!(server.post(&format!("/v1/jobs/{letter}/replay"), "").await.status, 409);
    assert_eq!(server.get(&format!("/v1/jobs/{}", job.id)).await.json()["state"], "accepted");
    assert_eq!(server.post(&format!("/v1/jobs/{letter}/discard"), "").await.status, 200);
    assert_eq!(queue.published().len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn images_are_taken_from_anybody_in_every_form() {
    let (queue, server) = stage().await;
    let event = json!({"specversion": "1.0", "id": "7", "source": "ci", "type": "x.pushed",
        "data": {"image": "acme/api:2"}});
    let diun = json!({"diun_version": "4.33.0", "status": "update", "image": "docker.io/acme/web:4",
        "digest": format!("sha256:{}", "a".repeat(64))});
    for body in [json!({"image": "acme/web:2"}), event, diun] {
        queue.send(body.to_string(), Envelope::default()).await;
    }
    let jobs = published(&queue, 3).await;
    let told: Vec<_> = jobs.iter().map(|job| (job.target.name(), job.cause.delivery.as_deref())).collect();
    assert_eq!(told, [("web", None), ("api", Some("ci 7")), ("web", None)]);
    assert!(jobs.iter().all(|job| job.cause.kind == CauseKind::Amqp && job.cause.by.is_none()));
    queue.send(r#"{"image":"acme/web:5"}"#, from("stranger", "m")).await;
    assert_eq!(published(&queue, 4).await[3].cause.by.as_deref(), Some("stranger"));
    server.stop().await;
}

#[tokio::test]
async fn what_the_queue_cannot_take_now_is_taken_later() {
    let (queue, server) = stage().await;
    // A worker that comes serves the pool, and the job is made at the next look.
    drop(queue.take(&"office".parse().unwrap(), 1).await.unwrap());
    queue.refuse([QueueError::NoPool("office".parse().unwrap())]);
    queue.send(deploy("office/remote", "acme/web:2").to_string(), from("ci", "m-1")).await;
    let jobs = published(&queue, 1).await;
    assert_eq!(
        (jobs[0].target.to_string(), jobs[0].cause.by.as_deref()),
        ("office/remote".to_owned(), Some("ci"))
    );
    assert!(queue.dead_letters().await.unwrap().is_empty());

    queue.refuse([QueueError::Unconfirmed { attempted: "take a job" }]);
    queue.send(deploy("web", "acme/web:2").to_string(), from("ci", "m-2")).await;
    assert_eq!(published(&queue, 2).await.len(), 2);
    server.stop().await;
}
