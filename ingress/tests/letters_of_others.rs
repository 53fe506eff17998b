//! Decisions on dead letters beside others: of two ingresses in the same moment one is told that it decided.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

mod support;

use proto::{Event, Job, JobId, Reason, State, Timestamp, reason};
use queue::{Closed, Queue};
use support::{Server, http::Answer};

async fn dead(server: &Server) -> Job {
    let job = server.hook("/hooks/demo", r#"{"image":"demo:2"}"#).await;
    let why = Reason::new(reason::UNREACHABLE, "no route to the dock");
    server.reach(&job, &[State::Started, State::Dead]).await;
    let body = job.encode().into();
    server.queue.bury(body, job.target.pool(), 3, &why).await.unwrap();
    server.reached(&job, State::Dead).await;
    job
}

async fn decide(server: &Server, job: &Job, what: &str) -> Answer {
    server.post(&format!("/v1/jobs/{}/{what}", job.id), "").await
}

#[tokio::test]
async fn a_discard_that_comes_second_is_told_so() {
    let replay = JobId::mint(Timestamp::now(), None);
    for (how, named) in [
        (Closed::Replayed { by: replay }, Some(replay.to_string())),
        (Closed::Discarded { by: Some("somebody else".to_owned()) }, None),
    ] {
        let server = Server::start().await;
        let job = dead(&server).await;
        server.queue.close_elsewhere(how);
        let second = decide(&server, &job, "discard").await;
        second.is_problem(409, "already-closed");
        let text = second.text();
        assert!(named.is_none_or(|named| text.contains(&named)), "{text}");
    }
}

/// It is said that the replay was accepted before its letter is closed: whoever closes that first still hears of it.
#[tokio::test]
async fn a_discard_beside_a_replay_that_has_begun_is_told_so() {
    let server = Server::start().await;
    let job = dead(&server).await;
    let id = JobId::mint(Timestamp::now(), Some(job.id));
    let replay = Job { id, replays: Some(job.id), ..job.clone() };
    server.queue.emit(&Event::of(&replay, State::Accepted, 0, 0)).await.unwrap();
    let second = decide(&server, &job, "discard").await;
    second.is_problem(409, "already-closed");
    assert!(second.text().contains(&id.to_string()), "{}", second.text());
}

/// What another ingress has just decided is told for that, and not for a letter that is still on its way.
#[tokio::test]
async fn a_letter_that_another_ingress_has_just_closed_is_told_to_be_closed() {
    let server = Server::start().await;
    let job = dead(&server).await;
    for letter in server.queue.dead_letters().await.unwrap() {
        server.queue.close_letter(letter.id, Closed::Discarded { by: None }).await.unwrap();
    }
    for what in ["replay", "discard", "replay?force=true"] {
        decide(&server, &job, what).await.is_problem(409, "already-closed");
    }
    assert_eq!(server.queue.published().len(), 1, "nothing was carried out for it");
}

/// It could be replayed, once it is known that the fleet logs in as that user too.
#[tokio::test]
async fn what_another_login_left_is_discarded_only_by_force() {
    let server = Server::start().await;
    dead(&server).await;
    server.queue.letters_left_by("longshore-old");
    let page = server.get("/v1/jobs?state=dead").await.json();
    let name = page["unreadable"][0]["letter"]["name"].as_str().unwrap().to_owned();
    let refused = server.post(&format!("/v1/jobs/{name}/discard"), "").await;
    refused.is_problem(409, "unreadable");
    let hint = refused.json()["hint"].as_str().unwrap().to_owned();
    assert!(hint.contains("logins") && hint.contains("--force"), "{hint}");
    assert_eq!(server.get("/v1/jobs?state=dead").await.json(), page, "it still waits");
    let forced = server.post(&format!("/v1/jobs/{name}/discard?force=true"), "").await;
    assert_eq!(forced.status, 200, "{}", forced.text());
    assert_eq!(server.queue.dead_letters().await.unwrap(), []);
}
