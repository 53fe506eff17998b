//! Deliveries that GitHub could not hand over, from a GitHub of the test's own to jobs.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

#[allow(dead_code, unreachable_pub, reason = "this test uses a part of it")]
#[path = "../../tests/src/fake_github.rs"]
mod fake_github;
#[allow(dead_code, unreachable_pub, reason = "this test uses a part of it")]
#[path = "../../tests/src/fake_http.rs"]
mod fake_http;
mod support;

use std::{sync::Arc, time::Duration};

use fake_github::{Attempt, FakeGithub, TOKEN, digest, push};
use fake_http::Mishap;
use jiff::{SignedDuration, Timestamp};
use proto::{Job, State};
use support::{
    Server, eventually,
    faulty::Faulty,
    http::{Answer, Call},
};

/// A source that asks `github` as often as that, and a target for what it tells of.
fn text(github: &FakeGithub, every: &str) -> String {
    format!(
        "sources:\n  hub: {{kind: github, key: sesame, image: \"ghcr.io/acme/web:{{tag}}\", backfill: {}}}\n\
         systems: {{s: {{kind: rehearsal}}}}\n\
         targets:\n  web: {{at: s, follow: \"ghcr.io/acme/web:*\"}}\n  api: {{at: s, follow: \"acme/api:*\"}}\n",
        github.section(every)
    )
}

fn attempt(guid: &str, minutes_ago: i64, status_code: u16, tag: &str) -> Attempt {
    let delivered_at = Timestamp::now() - SignedDuration::from_mins(minutes_ago);
    let (guid, event) = (guid.to_owned(), "package".to_owned());
    Attempt { guid, event, delivered_at, status_code, payload: push(tag, &digest("a")) }
}

async fn serving(github: &FakeGithub, every: &str) -> Server {
    Server::with(Faulty::serving(&["default"]).await, &text(github, every)).await.ready().await
}

/// What a counter of the source says.
async fn counted(server: &Server, name: &str) -> u64 {
    let text = server.get("/metrics").await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.split(' ').next_back()?.parse().ok());
    line.unwrap_or_default()
}

async fn settled(server: &Server, fate: &str, count: u64) {
    let name = format!("longshore_missed_deliveries_total{{source=\"hub\",result=\"{fate}\"}}");
    eventually(|| async { counted(server, &name).await >= count }).await;
    assert_eq!(counted(server, &name).await, count, "{fate}");
}

async fn failures(server: &Server) -> u64 {
    counted(server, "longshore_missed_deliveries_failures_total{source=\"hub\"}").await
}

async fn hook(server: &Server, guid: &str, tag: &str) -> Answer {
    let call = Call::post("/hooks/hub?key=sesame", push(tag, &digest("a")).to_string());
    server.call(call.header("x-github-event", "package").header("x-github-delivery", guid)).await
}

fn tags(jobs: &[Job]) -> Vec<String> {
    jobs.iter().map(|job| job.operation.image().unwrap().tag().unwrap().to_string()).collect()
}

#[tokio::test]
async fn what_was_missed_is_fetched_once_oldest_first_over_all_pages() {
    let github = FakeGithub::start().unwrap();
    github.tried(attempt("too-old", 3 * 24 * 60 + 5, 0, "0"));
    github.tried(attempt("a", 50, 0, "1"));
    github.tried(attempt("came", 45, 202, "2"));
    github.tried(attempt("b", 40, 503, "3"));
    github.tried(Attempt { event: "issues".to_owned(), ..attempt("other", 35, 0, "4") });
    github.tried(attempt("untagged", 32, 0, ""));
    github.tried(attempt("a", 30, 502, "1"));
    github.tried(attempt("came-later", 25, 0, "5"));
    github.tried(attempt("came-later", 20, 200, "5"));
    let server = serving(&github, "1s").await;
    settled(&server, "deployed", 2).await;
    settled(&server, "ignored", 1).await;
    let published = server.queue.published();
    assert_eq!(tags(&published), ["1", "3"]);
    assert!(published[0].id < published[1].id);
    for (job, minutes) in published.iter().zip([50, 40]) {
        let age = Timestamp::now().duration_since(job.id.time());
        assert_eq!(age.as_mins(), minutes, "an id is of the time at which it was tried first");
        assert!(Timestamp::now().duration_since(job.accepted_at).as_mins() < 5);
        assert_eq!(job.cause.source.as_deref(), Some("hub"));
        assert_eq!(server.queue.said(job), [State::Accepted]);
    }
    assert_eq!(published[0].cause.delivery.as_deref(), Some("a"));
    assert_eq!(github.fetched(), 3);

    // A redelivery by hand, and further looks.
    let again = hook(&server, "a", "1").await;
    assert_eq!(again.json()["jobs"][0]["id"], published[0].id.to_string());
    let looked = github.listed();
    eventually(|| async { github.listed() > looked + 10 }).await;
    assert_eq!((server.queue.published().len(), github.fetched()), (2, 3));
}

#[tokio::test]
async fn what_came_some_other_way_or_too_late_makes_no_job() {
    let github = FakeGithub::start().unwrap();
    let server = serving(&github, "1s").await;
    // Answered here, and nobody heard it there.
    assert_eq!(hook(&server, "known", "7").await.status, 202);
    github.tried(attempt("known", 10, 0, "7"));
    settled(&server, "known", 1).await;
    github.tried(attempt("old", 20, 0, "6"));
    settled(&server, "outdated", 1).await;
    assert_eq!(tags(&server.queue.published()), ["7"]);

    // What is newer did not hold, or is for something else: then the older one is wanted.
    let job = server.queue.published().remove(0);
    server.reach(&job, &[State::Started, State::RolledBack]).await;
    server.reached(&job, State::RolledBack).await;
    server.post("/v1/jobs", r#"{"target":"api","image":"acme/api:1"}"#).await;
    github.tried(attempt("wanted", 15, 0, "5"));
    settled(&server, "deployed", 1).await;
    assert_eq!(tags(&server.queue.published()), ["7", "1", "5"]);
}

#[tokio::test]
async fn a_newer_wish_of_a_person_is_newer_too() {
    let github = FakeGithub::start().unwrap();
    let server = serving(&github, "1s").await;
    server.post("/v1/jobs", r#"{"target":"web","image":"ghcr.io/acme/web:9"}"#).await;
    github.tried(attempt("old", 20, 0, "6"));
    settled(&server, "outdated", 1).await;
    assert_eq!(tags(&server.queue.published()), ["9"]);
}

#[tokio::test]
async fn the_time_of_a_wish_is_told_by_githubs_clock_against_ours() {
    let github = FakeGithub::start().unwrap();
    github.set_ahead(30 * 60);
    // Ten minutes ago, by its clock.
    github.tried(attempt("a", -20, 0, "1"));
    let server = serving(&github, "1s").await;
    settled(&server, "deployed", 1).await;
    let age = Timestamp::now().duration_since(server.queue.published()[0].id.time());
    assert!((9..=11).contains(&age.as_mins()), "{age}");
}

#[tokio::test]
async fn an_api_that_is_away_limits_or_talks_nonsense_is_asked_again() {
    let github = FakeGithub::start().unwrap();
    github.tried(attempt("a", 50, 0, "1"));
    github.tried(attempt("b", 40, 0, "2"));
    github.tried(attempt("c", 30, 0, "3"));
    for mishap in [
        Mishap::Instead(502, "<html>Bad Gateway</html>"),
        Mishap::Instead(200, "<html>Unicorn!</html>"),
        Mishap::CutBefore,
        Mishap::Instead(401, "{}"),
        Mishap::Instead(404, "{}"),
        Mishap::Instead(301, ""),
    ] {
        github.befall_next("/deliveries", mishap);
    }
    // Half-way: what was taken before stays taken.
    github.befall_next("/deliveries/2", Mishap::Later(403, "{\"message\":\"secondary rate limit\"}", 1));
    let server = serving(&github, "1s").await;
    settled(&server, "deployed", 3).await;
    assert_eq!(tags(&server.queue.published()), ["1", "2", "3"]);
    assert_eq!(failures(&server).await, 7);
    assert_eq!(github.fetched(), 4, "each once, and one that was refused");
}

#[tokio::test]
async fn a_delivery_that_cannot_be_read_stops_no_other() {
    let github = FakeGithub::start().unwrap();
    github.tried(Attempt { payload: serde_json::Value::Null, ..attempt("empty", 50, 0, "1") });
    github.tried(Attempt { payload: "no json".into(), ..attempt("text", 45, 0, "1") });
    github.tried(attempt("gone", 40, 0, "2"));
    github.tried(attempt("good", 30, 0, "3"));
    github.befall_next("/deliveries/3", Mishap::Instead(404, "{}"));
    let server = serving(&github, "1s").await;
    settled(&server, "deployed", 1).await;
    settled(&server, "unusable", 3).await;
    assert_eq!(tags(&server.queue.published()), ["3"]);
}

#[tokio::test]
async fn what_the_queue_refuses_waits_and_what_was_looked_at_is_kept_over_a_restart() {
    let (github, data) = (FakeGithub::start().unwrap(), tempfile::tempdir().unwrap());
    github.tried(attempt("a", 50, 0, "1"));
    let queue = Faulty::serving(&["default"]).await;
    queue.refuse([queue::QueueError::Full]);
    let server = Server::keeping(Arc::clone(&queue), data.path(), &text(&github, "1s")).await.ready().await;
    settled(&server, "deployed", 1).await;
    assert_eq!((tags(&queue.published()), github.fetched()), (vec!["1".to_owned()], 2));
    eventually(|| async { data.path().join("backfill-hub.json").exists() }).await;
    let kept = || std::fs::read_to_string(data.path().join("backfill-hub.json")).unwrap();
    eventually(|| async { kept().contains("\"looked_until\":\"") }).await;
    assert!(!kept().contains(TOKEN), "{}", kept());
    server.stop().await;

    github.tried(attempt("b", 1, 0, "2"));
    let queue = queue.reopen().await;
    let server = Server::keeping(Arc::clone(&queue), data.path(), &text(&github, "1h")).await.ready().await;
    settled(&server, "deployed", 1).await;
    assert_eq!((tags(&queue.published()), github.fetched()), (vec!["2".to_owned()], 3));
}

#[tokio::test]
async fn a_lost_memory_is_harmless() {
    let github = FakeGithub::start().unwrap();
    github.tried(attempt("a", 30 * 60, 0, "1"));
    github.tried(attempt("b", 50, 0, "2"));
    let server = serving(&github, "1h").await;
    settled(&server, "deployed", 2).await;
    let queue = server.queue.clone();
    server.stop().await;
    let queue = queue.reopen().await;
    let again = Server::with(Arc::clone(&queue), &text(&github, "1h")).await.ready().await;
    settled(&again, "known", 2).await;
    assert!(queue.published().is_empty(), "{:?}", queue.published());
}

#[tokio::test]
async fn it_is_looked_again_once_hooks_can_be_taken_again() {
    let github = FakeGithub::start().unwrap();
    let server = serving(&github, "1h").await;
    eventually(|| async { github.listed() == 1 }).await;
    github.tried(attempt("a", 1, 503, "1"));
    // Away until it has been seen to be.
    let listed = eventually(|| async {
        server.queue.there.send_replace(false);
        eventually(|| async { server.get("/readyz").await.status == 503 }).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        server.queue.there.send_replace(true);
        eventually(|| async { server.get("/readyz").await.status == 200 }).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        github.listed() > 1
    });
    listed.await;
    settled(&server, "deployed", 1).await;
}
