//! The numbers of an ingress, as those see them who watch it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

mod support;

use proto::{Event, Reason, State, reason};
use queue::{Queue, Standing};
use support::{Server, eventually, http::Call};

const PUSH: &str = r#"{"image":"demo:2"}"#;

/// Waits until all these lines are told.
async fn comes_to_tell(server: &Server, lines: &[&str]) {
    eventually(|| async {
        let text = server.call(Call::get("/metrics")).await.text();
        lines.iter().all(|line| text.lines().any(|told| told == *line))
    })
    .await;
}

#[tokio::test]
async fn jobs_are_counted_by_how_they_stand_and_how_they_ended() {
    let server = Server::start().await;
    let job = server.hook("/hooks/demo", PUSH).await;
    comes_to_tell(
        &server,
        &["longshore_jobs_open{state=\"accepted\"} 1", "longshore_jobs_ended_total{state=\"failed\"} 0"],
    )
    .await;
    let text = server.call(Call::get("/metrics")).await.text();
    let oldest = format!(
        "longshore_jobs_oldest_timestamp_seconds{{state=\"accepted\"}} {}",
        job.accepted_at.as_second()
    );
    assert!(text.lines().any(|told| told == oldest), "{oldest}:\n{text}");
    server.reach(&job, &[State::Started, State::Failed, State::Failed]).await;
    comes_to_tell(
        &server,
        &[
            "longshore_jobs_open{state=\"accepted\"} 0",
            "longshore_jobs_open{state=\"started\"} 0",
            "longshore_jobs_ended_total{state=\"failed\"} 1",
            "longshore_jobs_ended_total{state=\"succeeded\"} 0",
        ],
    )
    .await;
}

#[tokio::test]
async fn the_dead_are_counted_until_somebody_decides() {
    let server = Server::start().await;
    comes_to_tell(
        &server,
        &["longshore_dead_letters 0", "longshore_broker_available 1", "longshore_ready 1"],
    )
    .await;
    let job = server.hook("/hooks/demo", PUSH).await;
    let why = Reason::new(reason::UNREACHABLE, "no route to the dock");
    // Two letters of one job are one that somebody has to decide about.
    for _ in 0..2 {
        server.queue.bury(job.encode().into(), job.target.pool(), 3, &why).await.unwrap();
    }
    let mut dead = Event::of(&job, State::Dead, 3, 0);
    dead.data.reason = Some(why);
    server.queue.emit(&dead).await.unwrap();
    comes_to_tell(&server, &["longshore_dead_letters 1", "longshore_jobs_ended_total{state=\"dead\"} 1"])
        .await;
    assert_eq!(server.post(&format!("/v1/jobs/{}/discard", job.id), "").await.status, 200);
    comes_to_tell(&server, &["longshore_dead_letters 0"]).await;
}

#[tokio::test]
async fn pools_are_told_while_they_can_be_seen() {
    let server = Server::start().await;
    server.queue.standing.send_replace(Some(Standing { workers: 2, waiting: 7 }));
    comes_to_tell(
        &server,
        &["longshore_pool_workers{pool=\"default\"} 2", "longshore_pool_waiting_jobs{pool=\"default\"} 7"],
    )
    .await;
    server.queue.there.send_replace(false);
    eventually(|| async {
        !server.call(Call::get("/metrics")).await.text().contains("longshore_pool_workers{")
    })
    .await;
}
