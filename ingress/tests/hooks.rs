//! Hooks over HTTP: what deploys, what is ignored, and what is refused with which words.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

mod support;

use std::time::{Duration, Instant};

use proto::{CauseKind, State};
use queue::QueueError;
use serde_json::{Value, json};
use support::{
    Server, TEXT, eventually,
    faulty::{Faulty, Step},
    http::{self, Call},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

fn payload(file: &str) -> String {
    std::fs::read_to_string(format!("{}/tests/payloads/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[tokio::test]
async fn a_push_makes_one_job_for_each_follower() {
    let server = Server::start().await;
    let answer = server.call(Call::post("/hooks/demo", r#"{"image":"both:2"}"#)).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let body = answer.json();
    let keys: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["chain", "jobs"]);
    let jobs = body["jobs"].as_array().unwrap();
    let targets: Vec<&Value> = jobs.iter().map(|job| &job["target"]).collect();
    assert_eq!(targets, ["default/other", "default/twin"]);
    let published = server.queue.published();
    assert_eq!(published.len(), 2);
    for (told, job) in jobs.iter().zip(&published) {
        assert_eq!(told.as_object().unwrap().keys().collect::<Vec<_>>(), ["id", "target", "status_url"]);
        assert_eq!(told["id"], job.id.to_string());
        assert_eq!(told["status_url"], format!("http://{}/v1/jobs/{}", server.address, job.id));
        assert_eq!(body["chain"], job.chain.to_string());
        assert_eq!((job.cause.kind, job.cause.source.as_deref()), (CauseKind::Hook, Some("demo")));
        assert_eq!(job.operation.image().unwrap().to_string(), "docker.io/library/both:2");
        assert_eq!(server.queue.said(job), [State::Accepted]);
    }
    assert!(published[0].id < published[1].id);
    let minutes =
        |index: usize| (published[index].deadline - published[index].accepted_at).get_seconds() / 60;
    assert_eq!((minutes(0), minutes(1)), (60, 10));
}

#[tokio::test]
async fn status_urls_follow_the_configured_url_or_the_host_that_was_called() {
    let server = Server::start().await;
    let call = Call::post("/hooks/demo", r#"{"image":"demo:2"}"#).header("host", "deploy.lan:81");
    let url = server.call(call).await.json()["jobs"][0]["status_url"].as_str().unwrap().to_owned();
    assert!(url.starts_with("http://deploy.lan:81/v1/jobs/"), "{url}");
    let long = TEXT.replace("sesame", "open-sesame-open-sesame");
    let text = format!("public_url: https://deploy.acme.cn/x/\n{long}");
    let server = Server::with(Faulty::serving(&["default"]).await, &text).await;
    let url =
        server.post("/hooks/demo", r#"{"image":"demo:2"}"#).await.json()["jobs"][0]["status_url"].clone();
    assert!(url.as_str().unwrap().starts_with("https://deploy.acme.cn/x/v1/jobs/"), "{url}");
}

#[tokio::test]
async fn a_service_is_passed_on() {
    let server = Server::start().await;
    let job = server.hook("/hooks/demo", r#"{"image":"demo:2","service":"web"}"#).await;
    assert_eq!(serde_json::to_value(&job.operation).unwrap()["service"], "web");
    assert_eq!(job.slots[0].as_str(), "image:web");
}

/// A slip of whoever writes the call must not turn a deploy of one into a deploy of all.
#[tokio::test]
async fn a_key_that_is_misspelt_or_belongs_elsewhere_deploys_to_nobody() {
    let server = Server::start().await;
    for (body, hint) in [
        (r#"{"target":"twin","image":"both:2"}"#, "/v1/jobs"),
        (r#"{"image":"both:2","servcie":"web"}"#, "`service`"),
    ] {
        let refused = server.post("/hooks/demo", body).await;
        refused.is_problem(422, "bad-job");
        assert!(refused.json()["hint"].as_str().unwrap().contains(hint), "{}", refused.text());
    }
    assert!(server.queue.published().is_empty());
}

#[tokio::test]
async fn a_trace_goes_on_into_the_job() {
    let server = Server::start().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    server.call(Call::post("/hooks/demo", r#"{"image":"demo:2"}"#).header("traceparent", trace)).await;
    assert_eq!(server.queue.published()[0].traceparent.as_deref(), Some(trace));
}

#[tokio::test]
async fn keys_open_from_the_url_and_from_headers() {
    let server = Server::start().await;
    let body = r#"{"image":"demo:2"}"#;
    // Each its own push.
    let push = |tag: u8| format!(r#"{{"image":"demo:{tag}"}}"#);
    for call in [
        Call::post("/hooks/keyed?key=sesame", push(1)),
        Call::post("/hooks/keyed/sesame", push(2)),
        Call::post("/hooks/keyed", push(3)).header("x-longshore-key", "sesame"),
        Call::post("/hooks/keyed", push(4)).bearer("sesame"),
    ] {
        assert_eq!(server.call(call).await.status, 202);
    }
    for call in [Call::post("/hooks/keyed", body), Call::post("/hooks/keyed?key=", body)] {
        server.call(call).await.is_problem(401, "missing-key");
    }
    for call in [
        Call::post("/hooks/keyed?key=x", body),
        Call::post("/hooks/keyed/x", body),
        Call::post("/hooks/keyed", body).header("x-longshore-key", "sesame2"),
        Call::post("/hooks/keyed", body).bearer(support::TOKEN),
        Call::post("/hooks/registry", body).bearer("wrong"),
    ] {
        server.call(call).await.is_problem(401, "wrong-key");
    }
    assert_eq!(server.queue.published().len(), 4);
}

#[tokio::test]
async fn a_wrong_key_is_refused_before_the_body_has_come() {
    let server = Server::start().await;
    for (path, status) in [
        ("/hooks/keyed?key=x", "401"),
        ("/hooks/keyed/x", "401"),
        ("/hooks/keyed", "401"),
        ("/hooks/nobody", "404"),
    ] {
        let mut connection = TcpStream::connect(server.address).await.unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{{");
        connection.write_all(head.as_bytes()).await.unwrap();
        let mut line = String::new();
        // Sooner than a body that does not come is given up.
        let mut connection = BufReader::new(connection);
        let answer = timeout(Duration::from_secs(5), connection.read_line(&mut line)).await;
        answer.unwrap_or_else(|_| panic!("{path}: no answer")).unwrap();
        assert!(line.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {line}");
    }
}

#[tokio::test]
async fn a_loopback_source_is_closed_to_what_comes_through_a_proxy_or_a_page() {
    let server = Server::start().await;
    for header in ["x-forwarded-for", "origin"] {
        let call = Call::post("/hooks/demo", r#"{"image":"demo:2"}"#).header(header, "https://evil.example");
        server.call(call).await.is_problem(403, "loopback-only");
    }
}

#[tokio::test]
async fn registries_deploy_the_digest_they_pushed() {
    let server = Server::start().await;
    let job = server.hook("/hooks/acr?key=sesame", &payload("aliyun-acr-push.json")).await;
    assert_eq!(
        job.operation.image().unwrap().to_string(),
        "127.0.0.1:5000/namespace/repotest:latest@sha256:457f4aa83fc9a6663ab9d1b0a6e2dce25a12a943ed5bf2c1747c58d48bbb4917"
    );
    let push = Call::post("/hooks/registry", payload("distribution-push.json"))
        .header("content-type", "application/vnd.docker.distribution.events.v2+json")
        .bearer("sesame");
    let answer = server.call(push).await;
    let job = server.job(&answer.json()["jobs"][0]);
    assert_eq!(job.target.to_string(), "default/hub");
    assert_eq!(job.cause.delivery.as_deref(), Some("d83e8796-7ba5-46ad-b239-d88473e21b2b"));
}

#[tokio::test]
async fn a_delivery_that_is_sent_again_makes_no_second_job_even_after_a_restart() {
    let server = Server::start().await;
    let body = payload("distribution-push.json");
    let call = || Call::post("/hooks/registry", body.clone()).bearer("sesame");
    let (first, second) = tokio::join!(server.call(call()), server.call(call()));
    assert_eq!((first.status, second.status), (202, 202));
    assert_eq!(first.json(), second.json());
    assert_eq!(server.queue.published().len(), 1);
    let queue = server.queue.clone();
    server.stop().await;
    let again = Server::on(queue.reopen().await).await;
    assert_eq!(again.call(call()).await.json()["jobs"][0]["id"], first.json()["jobs"][0]["id"]);
    assert!(again.queue.published().is_empty());
    let other = body.replace("d83e8796", "d83e8797");
    assert_eq!(again.call(Call::post("/hooks/registry", other).bearer("sesame")).await.status, 202);
    assert_eq!(again.queue.published().len(), 1);
}

#[tokio::test]
async fn what_deploys_nothing_is_200_with_the_reason() {
    let server = Server::start().await;
    let ignored = |answer: http::Answer| {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let body = answer.json();
        assert_eq!(body["jobs"], json!([]));
        body["ignored"].as_str().unwrap().to_owned()
    };
    let why = ignored(server.post("/hooks/demo", r#"{"image":"acme/blog:7"}"#).await);
    assert_eq!(why, "no target follows acme/blog:7");
    for file in ["distribution-pull.json", "distribution-delete.json", "distribution-push-docs.json"] {
        ignored(server.call(Call::post("/hooks/registry", payload(file)).bearer("sesame")).await);
    }
    let bad = payload("aliyun-acr-push.json").replace("\"latest\"", "\"sha256:x y\"");
    let why = ignored(server.post("/hooks/acr?key=sesame", bad).await);
    assert!(why.contains("`sha256:x y` is no tag"), "{why}");
    assert!(server.queue.published().is_empty());
}

#[tokio::test]
async fn bad_input_has_its_status_and_its_words() {
    let server = Server::start().await;
    for body in ["", "image=demo:2", "{\"image\":\"demo:2\"", &"[".repeat(100_000)] {
        server.post("/hooks/demo", body).await.is_problem(400, "not-json");
    }
    server.post("/hooks/acr?key=sesame", "x").await.is_problem(400, "not-json");
    for body in
        [r#"{"image":"demo"}"#, r#"{"image":"De mo:1"}"#, r#"{"image":"demo:1","service":5}"#, "[]", "7"]
    {
        server.post("/hooks/demo", body).await.is_problem(422, "bad-image");
    }
    let large = format!("{{\"image\":\"demo:2\",\"x\":\"{}\"}}", "x".repeat(1024 * 1024));
    server.post("/hooks/demo", large).await.is_problem(413, "too-large");
    server.post("/hooks/nobody", "{}").await.is_problem(404, "unknown-source");
    server.post("/hooks/nobody/key", "{}").await.is_problem(404, "unknown-source");
    server.post("/hooks", "{}").await.is_problem(404, "not-found");
    server.post("/hooks/a/b/c", "{}").await.is_problem(404, "not-found");
    let wrong = server.get("/hooks/keyed/sesame").await;
    wrong.is_problem(405, "method-not-allowed");
    assert_eq!(wrong.header("allow"), Some("POST"));
    assert!(!wrong.text().contains("sesame"), "{}", wrong.text());
    for path in ["/hooks/keyed/sesame/", "/hooks/keyed/x/sesame", "/hooks//sesame", "//hooks/keyed/sesame"] {
        let nothing = server.post(path, "{}").await;
        assert_eq!(nothing.status, 404, "{path}: {}", nothing.text());
        assert!(!nothing.text().contains("sesame"), "{path}: {}", nothing.text());
    }
    assert!(server.queue.published().is_empty());
    assert_eq!(server.post("/hooks/demo", r#"{"image":"demo:2"}"#).await.status, 202);
}

#[tokio::test]
async fn a_queue_whose_file_is_damaged_is_told_to_whoever_watches() {
    let server = Server::start().await.ready().await;
    let gauge = async || {
        let metrics = server.get("/metrics").await.text();
        metrics.lines().find(|line| line.starts_with("longshore_queue_damaged")).map(str::to_owned)
    };
    assert_eq!(gauge().await.as_deref(), Some("longshore_queue_damaged 0"));
    server.queue.damaged.send_replace(true);
    let answer = server.get("/readyz").await;
    assert_eq!((answer.status, answer.json()), (503, json!({"status": "damaged"})));
    assert_eq!(gauge().await.as_deref(), Some("longshore_queue_damaged 1"));
}

#[tokio::test]
async fn a_queue_that_takes_nothing_is_503_and_loses_nothing_silently() {
    let server = Server::start().await.ready().await;
    let push = || server.post("/hooks/demo", r#"{"image":"demo:2"}"#);
    server.post("/hooks/demo", r#"{"image":"remote:2"}"#).await.is_problem(503, "no-worker");
    server.queue.refuse([QueueError::Full]);
    push().await.is_problem(503, "queue-full");
    server.queue.refuse([QueueError::Storage { attempted: "write", source: "disk-7 broke".into() }]);
    let failed = push().await;
    failed.is_problem(503, "unavailable");
    assert!(!failed.text().contains("disk-7"), "{}", failed.text());
    server.queue.there.send_replace(false);
    push().await.is_problem(503, "unavailable");
    server.get("/readyz").await.text().contains("unavailable").then_some(()).unwrap();
    assert!(server.queue.published().is_empty());
    server.queue.there.send_replace(true);
    assert_eq!(push().await.status, 202);
}

#[tokio::test]
async fn what_nobody_confirmed_is_published_again_with_the_same_id() {
    let server = Server::start().await;
    let unconfirmed = || QueueError::Unconfirmed { attempted: "take a job" };
    server.queue.refuse([unconfirmed(), unconfirmed()]);
    let job = server.hook("/hooks/demo", r#"{"image":"demo:2"}"#).await;
    assert_eq!(server.queue.published(), [job]);
}

#[tokio::test]
async fn one_refused_target_does_not_stop_the_others() {
    let text = TEXT.replace("remote:*", "both:*");
    let server = Server::with(Faulty::serving(&["default"]).await, &text).await;
    let answer = server.post("/hooks/demo", r#"{"image":"both:2"}"#).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(answer.json()["jobs"].as_array().unwrap().len(), 2);
    let refused = json!([{"target": "office/remote", "why": "no worker has ever served the pool `office`"}]);
    assert_eq!(answer.json()["refused"], refused);
}

#[tokio::test]
async fn what_was_refused_for_now_is_made_when_a_named_delivery_comes_again() {
    let text = TEXT.replace("both:*", "registry.git.erxes.io/foo/bar:*").replace("remote:*", "both:*");
    let server = Server::with(Faulty::serving(&["default"]).await, &text).await.ready().await;
    server.post("/v1/jobs", r#"{"target":"demo","image":"x:1"}"#).await;
    let call = || Call::post("/hooks/registry", payload("distribution-push.json")).bearer("sesame");
    server.queue.refuse([QueueError::Full]);
    let partly = server.call(call()).await;
    partly.is_problem(503, "queue-full");
    let taken = server.queue.published().split_off(1);
    assert_eq!(taken.len(), 2);
    for job in &taken {
        assert!(partly.text().contains(&job.id.to_string()), "{}", partly.text());
    }
    let whole = server.call(call()).await;
    assert_eq!((whole.status, whole.json().get("refused")), (202, None), "{}", whole.text());
    assert_eq!(whole.json()["jobs"].as_array().unwrap().len(), 3);
    assert_eq!(server.queue.published().len(), 4, "the missing job was made, and no other");
}

#[tokio::test]
async fn a_sender_without_names_is_not_asked_to_come_again_for_the_rest() {
    let server = Server::start().await.ready().await;
    server.hook("/hooks/demo", r#"{"image":"demo:1"}"#).await;
    server.queue.refuse([QueueError::Full]);
    let answer = server.post("/hooks/demo", r#"{"image":"both:2"}"#).await;
    assert_eq!((answer.status, answer.json()["refused"].as_array().map(Vec::len)), (202, Some(1)));
}

#[tokio::test]
async fn a_job_is_taken_even_when_the_history_does_not_show_it() {
    let server = Server::start().await.ready().await;
    server.queue.swallow_accepted();
    let began = Instant::now();
    let mut jobs = vec![server.hook("/hooks/demo", r#"{"image":"demo:2"}"#).await];
    for n in 0..12 {
        let answer = server.post("/v1/jobs", format!(r#"{{"target":"demo","image":"demo:{n}"}}"#)).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        jobs.push(server.job(&answer.json()["jobs"][0]));
    }
    // It may take five seconds to be seen: if each of them waited for that, twelve would take a minute.
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    for job in jobs {
        let shown = server.get(&format!("/v1/jobs/{}", job.id)).await.json();
        assert_eq!((&shown["state"], &shown["events"]), (&json!("accepted"), &json!([])));
    }
}

#[tokio::test]
async fn hooks_wait_for_the_history_at_start() {
    let queue = Faulty::serving(&["default"]).await;
    queue.there.send_replace(false);
    let server = Server::on(queue).await;
    server.post("/hooks/demo", r#"{"image":"demo:2"}"#).await.is_problem(503, "starting");
    assert_eq!(server.get("/readyz").await.json(), json!({"status": "starting"}));
    assert_eq!(server.get("/healthz").await.status, 200);
    server.queue.there.send_replace(true);
    let server = server.ready().await;
    assert_eq!(server.post("/hooks/demo", r#"{"image":"demo:2"}"#).await.status, 202);
}

#[tokio::test]
async fn first_the_job_then_accepted_then_the_answer() {
    let server = Server::start().await.ready().await;
    let (queue, address) = (&server.queue, server.address);
    queue.confirms_jobs.send_replace(false);
    queue.confirms_events.send_replace(false);
    let call = Call::post("/hooks/demo", r#"{"image":"demo:2"}"#);
    let mut answer = tokio::spawn(async move { http::send(address, call).await.unwrap() });
    let a_while = Duration::from_millis(300);

    eventually(|| async { !queue.steps().is_empty() }).await;
    assert!(timeout(a_while, &mut answer).await.is_err(), "answered before the job was confirmed");
    let [Step::Arrived(id)] = queue.steps()[..] else { panic!("{:?}", queue.steps()) };

    queue.confirms_jobs.send_replace(true);
    let all = [Step::Arrived(id), Step::Confirmed(id), Step::Said(id, State::Accepted)];
    eventually(|| async { queue.steps() == all }).await;
    assert!(timeout(a_while, &mut answer).await.is_err(), "answered before `accepted` was confirmed");

    queue.confirms_events.send_replace(true);
    assert_eq!(answer.await.unwrap().status, 202);
    assert_eq!(queue.steps(), all);
}
