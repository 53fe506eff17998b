//! One push told several times: by manifest, by a sender that tries again, to several ingresses.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

mod support;

use std::sync::Arc;

use proto::{CauseKind, Job, Reason, Sighting, State, reason};
use queue::Queue;
use serde_json::{Value, json};
use support::{Server, TOKEN, eventually, faulty::Faulty, http::Call};

const TEXT: &str = r#"
ingress: {repeats_within: 30s}
sources:
  ci: {kind: plain, key: sesame}
  other: {kind: plain, key: sesame}
  quay: {kind: quay, key: sesame}
  hub: {kind: dockerhub, key: sesame}
  registry: {kind: distribution, key: sesame}
  github: {kind: github, key: sesame}
  harbor: {kind: harbor, key: sesame}
systems: {s: {kind: rehearsal}}
targets:
  web: {at: s, follow: ["acme/web:*", "quay.io/acme/web:*", "r.lan:5000/acme/web:*", "ghcr.io/acme/web:*", "harbor.lan/acme/web:*"]}
  aged: {at: s, follow: "acme/aged:*", min_age: 1h}
"#;

fn digest(letter: &str) -> String {
    format!("sha256:{}", letter.repeat(64))
}

async fn start(text: &str) -> Server {
    Server::with(Faulty::serving(&["default"]).await, text).await.ready().await
}

/// Posts to a source, and gives the ids of the jobs it was answered with.
async fn push(server: &Server, source: &str, body: &Value) -> Vec<String> {
    push_with(server, source, body, &[]).await
}

async fn push_with(server: &Server, source: &str, body: &Value, headers: &[(&str, &str)]) -> Vec<String> {
    let call = Call::post(&format!("/hooks/{source}?key=sesame"), body.to_string());
    let call = headers.iter().fold(call, |call, (name, value)| call.header(name, value));
    let answer = server.call(call).await;
    assert!([200, 202].contains(&answer.status), "{}", answer.text());
    let jobs = answer.json()["jobs"].as_array().unwrap().clone();
    jobs.iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
}

fn image(reference: &str) -> Value {
    json!({"image": reference})
}

fn published(server: &Server) -> Vec<Job> {
    server.queue.published()
}

#[tokio::test]
async fn one_key_is_one_wish_with_whatever_program_it_is_sent() {
    let server = start(TEXT).await;
    let ask = async |program: &str, key: &str, image: &str| {
        let body = json!({"target": "web", "image": image}).to_string();
        let call = Call::post("/v1/jobs", body).bearer(TOKEN).header("Idempotency-Key", key);
        server.call(call.header("User-Agent", program)).await
    };
    let (first, program) = (ask("curl/8", "a", "acme/web:1").await, "longshore/0.1.0");
    assert_eq!(first.status, 202, "{}", first.text());
    for program in [program, "Apache-HttpClient/4"] {
        let again = ask(program, "a", "acme/web:1").await;
        assert_eq!(again.json()["jobs"][0]["id"], first.json()["jobs"][0]["id"], "{program}");
    }
    // Begun with the command line, and the other way round; another body is refused whoever sends it.
    let (first, again) = (ask(program, "b", "acme/web:2").await, ask("curl/8", "b", "acme/web:2").await);
    assert_eq!(again.json()["jobs"][0]["id"], first.json()["jobs"][0]["id"]);
    ask("curl/8", "b", "acme/web:3").await.is_problem(422, "idempotency-key-reused");
    let kinds: Vec<CauseKind> = published(&server).iter().map(|job| job.cause.kind).collect();
    assert_eq!(kinds, [CauseKind::Api, CauseKind::Cli], "how it was asked for is told all the same");
}

#[tokio::test]
async fn the_same_digest_is_one_push_and_another_is_another() {
    let server = start(TEXT).await;
    let (a, b) = (
        image(&format!("acme/web:latest@{}", digest("a"))),
        image(&format!("acme/web:latest@{}", digest("b"))),
    );
    let first = push(&server, "ci", &a).await;
    assert_eq!((first.len(), push(&server, "ci", &a).await), (1, first.clone()));
    // Also once it has run.
    let job = published(&server).remove(0);
    server.reach(&job, &[State::Started, State::Succeeded]).await;
    server.reached(&job, State::Succeeded).await;
    assert_eq!(push(&server, "ci", &a).await, first);
    let second = push(&server, "ci", &b).await;
    assert_ne!(second, first);
    assert_eq!(push(&server, "ci", &b).await, second);
    // Set back.
    let third = push(&server, "ci", &a).await;
    assert!(third != first && third != second);
    assert_ne!(push(&server, "other", &a).await, third, "another source means it");
    assert_eq!(published(&server).len(), 4);
    // Which did not hold.
    let job = published(&server).remove(3);
    server.reach(&job, &[State::Started, State::Failed]).await;
    server.reached(&job, State::Failed).await;
    push(&server, "other", &a).await;
    assert_eq!(published(&server).len(), 5);
}

#[tokio::test]
async fn without_a_digest_it_is_one_push_until_a_worker_has_looked_the_tag_up() {
    let server = start(TEXT).await;
    let body =
        json!({"repository": "acme/web", "docker_url": "quay.io/acme/web", "updated_tags": ["latest"]});
    let first = push(&server, "quay", &body).await;
    let again = futures::future::join_all((0..5).map(|_| push(&server, "quay", &body))).await;
    assert!(first.len() == 1 && again.iter().all(|again| *again == first), "{first:?} {again:?}");
    let job = published(&server).remove(0);
    server.queue.emit(&proto::Event::of(&job, State::Started, 1, 0)).await.unwrap();
    // The ingress asks the history, and does not answer from what it has seen of it.
    assert_ne!(push(&server, "quay", &body).await, first);
    assert_eq!(published(&server).len(), 2);
    // What has to be of an age is not told apart from what was pushed since.
    push(&server, "ci", &image("acme/aged:1")).await;
    push(&server, "ci", &image("acme/aged:1")).await;
    assert_eq!(published(&server).len(), 4);
}

#[tokio::test]
async fn after_the_window_the_same_push_deploys_again() {
    let pinned = image(&format!("acme/web:1@{}", digest("a")));
    let server = start(&TEXT.replace("30s", "1s")).await;
    let first = push(&server, "ci", &pinned).await;
    eventually(|| async { push(&server, "ci", &pinned).await != first }).await;
    assert_eq!(published(&server).len(), 2);

    let server = start(&TEXT.replace("30s", "0s")).await;
    assert_ne!(push(&server, "ci", &pinned).await, push(&server, "ci", &pinned).await);
}

#[tokio::test]
async fn the_manifests_of_an_image_for_several_platforms_are_one_push() {
    let server = start(TEXT).await;
    let child = |id: &str, digest: &str| {
        json!({"id": id, "action": "push", "request": {"host": "r.lan:5000"}, "target": {"repository": "acme/web",
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest}})
    };
    let mut index = child("e-3", &digest("c"));
    index["target"]["mediaType"] = json!("application/vnd.oci.image.index.v1+json");
    index["target"]["tag"] = json!("1");
    for event in [child("e-1", &digest("a")), child("e-2", &digest("b")), index.clone(), index] {
        push(&server, "registry", &json!({"events": [event]})).await;
    }
    assert_eq!(published(&server).len(), 1, "a registry");

    let package = |tag: &str, digest: &str| {
        let version =
            json!({"version": digest, "container_metadata": {"tag": {"name": tag, "digest": digest}}});
        json!({"action": "published", "package": {"name": "web", "package_type": "CONTAINER", "owner": {"login": "Acme"},
            "package_version": version}})
    };
    for (n, (tag, letter)) in [("", "a"), ("", "b"), ("2", "c"), ("", "d")].into_iter().enumerate() {
        let guid = format!("guid-{n}");
        let headers = [("x-github-event", "package"), ("x-github-delivery", guid.as_str())];
        push_with(&server, "github", &package(tag, &digest(letter)), &headers).await;
    }
    assert_eq!(published(&server).len(), 2, "GitHub");

    let artifact = |tag: &str, digest: &str| {
        let resource =
            json!({"tag": tag, "digest": digest, "resource_url": format!("harbor.lan/acme/web:{tag}")});
        json!({"type": "PUSH_ARTIFACT", "occur_at": 1_700_000_000, "operator": "ci", "event_data": {"resources": [resource],
            "repository": {"name": "web", "namespace": "acme", "repo_full_name": "acme/web", "repo_type": "private"}}})
    };
    let (a, c) = (digest("a"), digest("c"));
    for body in [artifact(&a, &a), artifact("3", &c), artifact("3", &c)] {
        push(&server, "harbor", &body).await;
    }
    assert_eq!(published(&server).len(), 3, "Harbor");

    let body = json!({"push_data": {"tag": "4", "pushed_at": 1_700_000_000, "images": []}, "repository": {"repo_name": "acme/web"}});
    for _ in 0..6 {
        push(&server, "hub", &body).await;
    }
    assert_eq!(published(&server).len(), 4, "Docker Hub");
}

#[tokio::test]
async fn another_ingress_knows_what_the_history_tells() {
    let queue = Faulty::serving(&["default"]).await;
    let one = Server::with(Arc::clone(&queue), TEXT).await.ready().await;
    let other = Server::with(Arc::clone(&queue), TEXT).await.ready().await;
    let named = json!({"image": "acme/web:1", "id": "build-7"});
    let pinned = image(&format!("acme/web:2@{}", digest("a")));
    for (body, jobs) in [(&named, 1), (&pinned, 2)] {
        let first = push(&one, "ci", body).await;
        eventually(|| async { other.get(&format!("/v1/jobs/{}", first[0])).await.status == 200 }).await;
        assert_eq!(push(&other, "ci", body).await, first);
        assert_eq!(queue.published().len(), jobs);
    }
}

async fn see(queue: &Arc<Faulty>, image: &str, delivery: &str) {
    let (source, delivery) = (Some("look".to_owned()), Some(delivery.to_owned()));
    let image = image.parse().unwrap();
    let sighting = Sighting {
        image,
        service: None,
        kind: CauseKind::Poll,
        source,
        delivery,
        by: None,
        elsewhere_at: None,
        wished: None,
        served: Vec::new(),
    };
    queue.submit(sighting.encode().into()).await.unwrap();
}

#[tokio::test]
async fn a_hook_and_a_look_at_the_registry_are_one_deploy_whichever_comes_first() {
    let server = start(TEXT).await;
    let (first, second) = (format!("acme/web:1@{}", digest("a")), format!("acme/web:1@{}", digest("b")));
    let named = |image: &str| json!({"image": image, "id": image});
    push(&server, "ci", &named(&first)).await;
    see(&server.queue, &first, "look-1").await;
    see(&server.queue, &second, "look-2").await;
    eventually(|| async { published(&server).len() >= 2 }).await;
    let jobs = published(&server);
    assert_eq!((jobs.len(), jobs[1].cause.kind), (2, CauseKind::Poll), "{jobs:?}");
    assert_eq!(push(&server, "ci", &named(&second)).await, [jobs[1].id.to_string()]);
    assert_eq!(published(&server).len(), 2);
    // What the hook tells without a digest may be newer than what was seen.
    push(&server, "ci", &image("acme/web:1")).await;
    assert_eq!(published(&server).len(), 3);
}

#[tokio::test]
async fn a_key_that_comes_with_more_or_less_than_before_is_refused() {
    let server = Server::start().await;
    let call = |body: &str| Call::post("/v1/jobs", body).bearer(TOKEN).header("idempotency-key", "k-2");
    let (demo, twin) = (r#"{"target":"demo","image":"demo:2"}"#, r#"{"target":"twin","image":"demo:2"}"#);
    let one = server.call(call(demo)).await;
    assert_eq!(one.status, 202, "{}", one.text());
    server.call(call(&format!("[{demo},{twin}]"))).await.is_problem(422, "idempotency-key-reused");
    assert_eq!(server.queue.published().len(), 1, "nothing new is deployed under a key that is used up");
    assert_eq!(server.call(call(&format!("[{demo}]"))).await.json()["jobs"], one.json()["jobs"]);
    let other = |body: &str| Call::post("/v1/jobs", body).bearer(TOKEN).header("idempotency-key", "k-3");
    let two = server.call(other(&format!("[{demo},{twin}]"))).await;
    assert_eq!(two.status, 202, "{}", two.text());
    server.call(other(demo)).await.is_problem(422, "idempotency-key-reused");
    let turned = server.call(other(&format!("[{twin},{demo}]"))).await;
    assert_eq!((turned.status, &turned.json()["chain"]), (202, &two.json()["chain"]));
    assert_eq!(server.queue.published().len(), 3);
}

#[tokio::test]
async fn a_key_means_the_same_deploy_after_that_was_replayed() {
    let server = Server::start().await;
    let deadline = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(50);
    let body = json!({"target": "demo", "image": "demo:2", "deadline": deadline}).to_string();
    let call = || Call::post("/v1/jobs", &body).bearer(TOKEN).header("idempotency-key", "k-4");
    let one = server.call(call()).await;
    assert_eq!(one.status, 202, "{}", one.text());
    let job = server.job(&one.json()["jobs"][0]);
    server.reach(&job, &[State::Started, State::Dead]).await;
    let (pool, why) = ("default".parse().unwrap(), Reason::new(reason::UNREACHABLE, "no route to the dock"));
    server.queue.bury(job.encode().into(), &pool, 3, &why).await.unwrap();
    server.reached(&job, State::Dead).await;
    let replay = server.post(&format!("/v1/jobs/{}/replay", job.id), "").await;
    assert_eq!(replay.status, 202, "{}", replay.text());
    // It was nobody's sending, and its time began anew.
    let replay = server.job(&replay.json()["jobs"][0]);
    assert_eq!(replay.cause, job.cause);
    assert!(replay.deadline > job.deadline);
    let again = server.call(call()).await;
    assert_eq!((again.status, &again.json()["jobs"]), (202, &one.json()["jobs"]), "{}", again.text());
}
