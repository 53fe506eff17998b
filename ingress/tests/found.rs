//! Targets that workers tell of, and sightings.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod support;

use std::sync::Arc;

use proto::{
    Catalogue, CauseKind, Inventory, Job, JobId, Listing, ListingFault, Operation, PoolName, Sighting, State,
    TargetGates,
};
use queue::Queue;
use support::{SOON, Server, eventually, faulty::Faulty};

const TEXT: &str = r#"
sources: {push: {kind: plain, open: true, loopback_only: true}, look: {kind: poll, every: 1h}}
systems: {swarm: {kind: swarm, discover: labels}, other: {kind: swarm}}
targets: {declared: {at: other, follow: "declared:*"}}
"#;
const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn catalogue(targets: &[(&str, &str, TargetGates)]) -> Catalogue {
    let listing = |(name, follow, gates): &(&str, &str, TargetGates)| Listing {
        target: name.parse().unwrap(),
        kind: "swarm-service".to_owned(),
        follows: vec![follow.parse().unwrap()],
        gates: gates.clone(),
        discovered: true,
    };
    let (thing, text, hint) = ("service `x`".to_owned(), "wrong".to_owned(), "mend it".to_owned());
    Catalogue::of(Inventory {
        pool: PoolName::default(),
        system: "swarm".to_owned(),
        kind: "swarm".to_owned(),
        targets: targets.iter().map(listing).collect(),
        faults: vec![ListingFault::no_target(thing, text, hint)],
        unsearched: false,
    })
}

fn open() -> TargetGates {
    TargetGates::default()
}

async fn until_it_knows(server: &Server, name: &str, it_does: bool) {
    eventually(|| async {
        let told = server.get("/v1/targets").await.json();
        let targets = told["targets"].as_array().unwrap();
        targets.iter().any(|target| target["target"] == name) == it_does
    })
    .await;
}

#[tokio::test]
async fn a_push_for_what_nobody_told_yet_is_kept_until_somebody_does() {
    let queue = Faulty::serving(&["default"]).await;
    let server = Server::with(Arc::clone(&queue), TEXT).await.ready().await;
    let body = r#"{"image":"acme/web:2"}"#;
    let answer = server.post("/hooks/push", body).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let kept = answer.json();
    assert_eq!(kept["jobs"], serde_json::json!([]));
    assert!(kept["kept"].as_str().unwrap().contains("`swarm`"), "{kept}");
    // What is declared needs no word of anybody.
    assert_eq!(server.post("/hooks/push", r#"{"image":"declared:1"}"#).await.status, 202);

    server.queue.list(&catalogue(&[("web", "acme/web:*", open())])).await.unwrap();
    until_it_knows(&server, "default/web", true).await;
    let job = until_published(&queue, 2).await.remove(1);
    assert_eq!(job.target.to_string(), "default/web");
    assert_eq!((job.cause.kind, job.cause.source.as_deref()), (CauseKind::Hook, Some("push")));
    assert_eq!(server.hook("/hooks/push", body).await.target.to_string(), "default/web");
    let told = server.get("/v1/targets").await.json();
    assert_eq!(told["faults"][0]["thing"], "service `x`", "{told}");

    server.queue.list(&catalogue(&[])).await.unwrap();
    until_it_knows(&server, "default/web", false).await;
    let answer = server.post("/hooks/push", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    server.stop().await;
}

/// Newest wins: what waited for the word of a worker was wished before whatever came meanwhile.
#[tokio::test]
async fn what_was_kept_stays_below_what_was_wished_since() {
    let queue = Faulty::serving(&["default"]).await;
    let server = Server::with(Arc::clone(&queue), TEXT).await.ready().await;
    let answer = server.post("/hooks/push", r#"{"image":"acme/web:1"}"#).await;
    assert!(answer.json()["kept"].is_string(), "{}", answer.text());
    // They are looked at in turn: with the second, the first was found to have to wait.
    see(&queue, &format!("declared:1@{DIGEST}"), "a").await;
    until_published(&queue, 1).await;
    let told = catalogue(&[("web", "acme/web:*", open()), ("web-twin", "acme/web:*", open())]);
    server.queue.list(&told).await.unwrap();
    until_it_knows(&server, "default/web", true).await;
    let newest = server.post("/v1/jobs", r#"{"target":"web","image":"acme/web:2"}"#).await.json();
    // Both get their jobs at once, in the order of their names.
    let of = |name: &str| -> Vec<JobId> {
        queue.published().iter().filter(|job| job.target.name() == name).map(|job| job.id).collect()
    };
    eventually(|| async { !of("web-twin").is_empty() }).await;
    let last = of("web").into_iter().max().map(|id| id.to_string());
    assert_eq!(last.as_deref(), newest["jobs"][0]["id"].as_str(), "{newest}");
    server.stop().await;
}

#[tokio::test]
async fn a_push_that_somebody_takes_is_kept_for_those_whom_nobody_told_of() {
    let queue = Faulty::serving(&["default"]).await;
    let server = Server::with(Arc::clone(&queue), TEXT).await.ready().await;
    let answer = server.post("/hooks/push", r#"{"image":"declared:1"}"#).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let answer = answer.json();
    assert_eq!(answer["jobs"].as_array().map(Vec::len), Some(1), "{answer}");
    assert!(answer["kept"].as_str().unwrap().contains("`swarm`"), "{answer}");

    let told = catalogue(&[("web", "declared:*", open()), ("api", "acme/api:*", open())]);
    server.queue.list(&told).await.unwrap();
    until_it_knows(&server, "default/web", true).await;
    let targets: Vec<_> = until_published(&queue, 2).await.iter().map(|job| job.target.to_string()).collect();
    assert_eq!(targets, ["default/declared", "default/web"]);
    // Whom everybody was told of, nothing waits for any more.
    let answer = server.post("/hooks/push", r#"{"image":"declared:2"}"#).await.json();
    assert_eq!(
        (answer["jobs"].as_array().map(Vec::len), &answer["kept"]),
        (Some(2), &serde_json::Value::Null)
    );
    server.stop().await;
}

#[tokio::test]
async fn a_message_that_somebody_takes_is_kept_for_those_whom_nobody_told_of() {
    let queue = Faulty::serving(&["default"]).await;
    let server = Server::with(Arc::clone(&queue), TEXT).await.ready().await;
    queue.submit(r#"{"image":"declared:1"}"#.into()).await.unwrap();
    assert_eq!(until_published(&queue, 1).await[0].target.name(), "declared");
    server.queue.list(&catalogue(&[("web", "declared:*", open())])).await.unwrap();
    let jobs = until_published(&queue, 2).await;
    let targets: Vec<_> = jobs.iter().map(|job| job.target.name()).collect();
    assert_eq!(targets, ["declared", "web"]);
    assert_eq!(jobs[1].cause.kind, CauseKind::Amqp);
    server.stop().await;
}

#[tokio::test]
async fn a_target_that_asks_for_approval_gets_jobs_that_wait_for_it() {
    let server = Server::with(Faulty::serving(&["default"]).await, TEXT).await.ready().await;
    let gates = TargetGates { approve: true, ..open() };
    server.queue.list(&catalogue(&[("web", "acme/web:*", gates)])).await.unwrap();
    until_it_knows(&server, "default/web", true).await;
    let job = server.hook("/hooks/push", r#"{"image":"acme/web:2"}"#).await;
    assert!(job.gates.approve);
    server.stop().await;
}

#[tokio::test]
async fn a_source_that_polls_is_no_hook() {
    let server = Server::with(Faulty::serving(&["default"]).await, TEXT).await.ready().await;
    assert_eq!(server.post("/hooks/look", r#"{"image":"acme/web:2"}"#).await.status, 404);
    server.stop().await;
}

fn sighting(image: &str, delivery: &str) -> Sighting {
    Sighting {
        image: image.parse().unwrap(),
        service: None,
        kind: CauseKind::Poll,
        source: Some("look".to_owned()),
        delivery: Some(delivery.to_owned()),
        by: None,
        elsewhere_at: None,
        wished: None,
        served: Vec::new(),
    }
}

async fn see(queue: &Arc<Faulty>, image: &str, delivery: &str) {
    queue.submit(sighting(image, delivery).encode().into()).await.unwrap();
}

/// Waits until nothing is in hand or waits on the intake: a marker of a sighting was made a job.
async fn until_published(queue: &Arc<Faulty>, count: usize) -> Vec<Job> {
    eventually(|| async { queue.published().len() >= count }).await;
    queue.published()
}

#[tokio::test]
async fn a_sighting_becomes_a_job_and_its_repeat_does_not() {
    let queue = Faulty::serving(&["default"]).await;
    let server = Server::with(Arc::clone(&queue), TEXT).await.ready().await;
    let image = format!("declared:1@{DIGEST}");
    see(&queue, &image, "a").await;
    let job = until_published(&queue, 1).await.remove(0);
    assert_eq!((job.cause.kind, job.cause.source.as_deref()), (CauseKind::Poll, Some("look")));
    let Operation::SetImage { image: wished, .. } = &job.operation else { panic!("{job:?}") };
    assert_eq!(wished.to_string(), format!("docker.io/library/{image}"));

    // The same look told twice; and a later look at the same thing, after it failed.
    see(&queue, &image, "a").await;
    server.reach(&job, &[State::Started, State::Failed]).await;
    server.reached(&job, State::Failed).await;
    see(&queue, &image, "b").await;
    let other = format!("declared:1@sha256:{}", "b".repeat(64));
    see(&queue, &other, "c").await;
    let published = until_published(&queue, 2).await;
    assert_eq!(published.len(), 2, "{published:?}");

    // What the tag was before is news when something else was in between.
    see(&queue, &image, "d").await;
    let published = until_published(&queue, 3).await;
    assert_eq!(published.len(), 3, "{published:?}");
    server.stop().await;
}

/// Whoever starts the server anew a week after a rollback gets no job that undoes it.
#[tokio::test]
async fn what_was_rolled_back_long_ago_is_no_news_to_a_server_that_starts() {
    let queue = Faulty::serving(&["default"]).await;
    let server = Server::with(Arc::clone(&queue), TEXT).await.ready().await;
    let image = format!("declared:1.4.0@{DIGEST}");
    see(&queue, &image, "a").await;
    let job = until_published(&queue, 1).await.remove(0);
    server.reach(&job, &[State::Started, State::Succeeded]).await;
    server.reached(&job, State::Succeeded).await;
    server.stop().await;
    queue.age_up_to(&job, State::Succeeded).await;

    let server = Server::with(Arc::clone(&queue), TEXT).await.ready().await;
    see(&queue, &image, "b").await;
    see(&queue, &format!("declared:1.5.0@sha256:{}", "b".repeat(64)), "c").await;
    until_published(&queue, 2).await;
    see(&queue, &format!("declared:1.6.0@sha256:{}", "c".repeat(64)), "d").await;
    let published = until_published(&queue, 3).await;
    let images: Vec<_> = published.iter().filter_map(|job| job.operation.image()?.tag()).collect();
    assert_eq!(images, ["1.4.0", "1.5.0", "1.6.0"], "only what is new");
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_sighting_is_laid_aside_with_the_reason() {
    let queue = Faulty::serving(&["default"]).await;
    let server = Server::with(Arc::clone(&queue), TEXT).await.ready().await;
    queue.submit(r#"{"tagret":"declared","image":"declared:1"}"#.into()).await.unwrap();
    eventually(|| async { !queue.dead_letters().await.unwrap().is_empty() }).await;
    let letters = queue.dead_letters().await.unwrap();
    assert_eq!((letters.len(), letters[0].pool.as_ref()), (1, None));
    assert_eq!(letters[0].reason.code, "undecodable");
    assert!(letters[0].reason.text.contains("no key `tagret`"), "{:?}", letters[0].reason);
    assert!(queue.published().is_empty());
    server.stop().await;
}

#[tokio::test]
async fn what_was_told_is_known_while_the_broker_is_away() {
    let data = tempfile::tempdir().unwrap();
    let queue = Faulty::serving(&["default"]).await;
    let server = Server::keeping(Arc::clone(&queue), data.path(), TEXT).await.ready().await;
    server.queue.list(&catalogue(&[("web", "acme/web:*", open())])).await.unwrap();
    until_it_knows(&server, "default/web", true).await;
    let kept = data.path().join("catalogues.json");
    eventually(|| async { kept.exists() }).await;
    server.stop().await;

    queue.there.send_replace(false);
    let server = Server::keeping(queue, data.path(), TEXT).await;
    let answered = tokio::time::timeout(SOON, async {
        loop {
            let answer = server.post("/hooks/push", r#"{"image":"acme/web:2"}"#).await;
            if answer.status == 202 {
                return;
            }
            assert_eq!(answer.status, 503, "{}", answer.text());
        }
    });
    answered.await.expect("the push is never taken");
    server.stop().await;
}

#[tokio::test]
async fn a_window_that_nobody_declared_deploys_nothing_and_says_so() {
    let gates = || TargetGates { window: Some("nights".to_owned()), ..open() };
    let queue = Faulty::serving(&["default"]).await;
    let server = Server::with(Arc::clone(&queue), TEXT).await.ready().await;
    let told = catalogue(&[("web", "acme/web:*", gates()), ("api", "acme/api:*", open())]);
    queue.list(&told).await.unwrap();
    until_it_knows(&server, "default/api", true).await;
    let answer = server.post("/hooks/push", r#"{"image":"acme/web:2"}"#).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.json()["ignored"].as_str().unwrap().contains("the window `nights`"), "{}", answer.text());
    let wish = r#"{"target":"web","image":"acme/web:2"}"#;
    server.post("/v1/jobs", wish).await.is_problem(404, "unknown-target");
    let listed = server.get("/v1/targets").await.json();
    let faults = listed["faults"].as_array().unwrap();
    assert!(faults.iter().any(|fault| fault["text"].as_str().unwrap().contains("`nights`")), "{listed}");
    assert!(queue.published().is_empty());

    let declared = format!("{TEXT}windows: {{nights: {{from: \"20:00\", to: \"06:00\", zone: UTC}}}}\n");
    let server = Server::with(Arc::clone(&queue), &declared).await.ready().await;
    let job = server.hook("/hooks/push", r#"{"image":"acme/web:2"}"#).await;
    assert_eq!(job.gates.window.as_ref().map(|window| window.name.as_str()), Some("nights"));
}
