//! Jobs that nobody is left to end, and letters that nobody told of.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use jiff::SignedDuration;
use proto::{Event, Gates, Job, JobId, Reason, State, Timestamp, reason};
use queue::{DeadLetter, Queue, Standing};
use serde_json::{Value, json};
use support::{Server, TEXT, eventually, faulty::Faulty};

/// A job may take a second, and a second later nobody is waited for any more.
fn text() -> String {
    let hasty = TEXT.replace("{at: s, follow: \"demo:*\"}", "{at: s, follow: \"demo:*\", deadline: 1s}");
    assert_ne!(hasty, TEXT);
    format!("{hasty}ingress: {{overdue_after: 1s}}\n")
}

async fn start(queue: &Arc<Faulty>) -> Server {
    Server::with(queue.clone(), &text()).await.ready().await
}

/// Each of another tag: told again, the same push is the same job.
async fn push(server: &Server) -> Job {
    static TAG: AtomicU32 = AtomicU32::new(0);
    let tag = TAG.fetch_add(1, Ordering::Relaxed);
    server.hook("/hooks/demo", &format!(r#"{{"image":"demo:{tag}"}}"#)).await
}

async fn letters(queue: &Faulty) -> Vec<DeadLetter> {
    queue.dead_letters().await.unwrap()
}

async fn shown(server: &Server, id: JobId) -> Value {
    server.get(&format!("/v1/jobs/{id}")).await.json()
}

fn end(shown: &Value) -> &Value {
    shown["events"].as_array().unwrap().last().unwrap()
}

/// Says that a job is held, as a worker would.
async fn held(queue: &Faulty, job: &Job, why: &'static str) {
    let mut event = Event::of(job, State::Held, 0, 1);
    event.data.reason = Some(Reason::new(why, "it waits"));
    queue.emit(&event).await.unwrap();
}

async fn bury(queue: &Faulty, body: impl Into<Vec<u8>>) {
    let why = Reason::new(reason::GIVEN_UP, "it came back too often");
    queue.bury(body.into().into(), &"default".parse().unwrap(), 4, &why).await.unwrap();
}

#[tokio::test]
async fn a_job_that_no_worker_began_is_given_up() {
    let queue = Faulty::serving(&["default"]).await;
    let server = start(&queue).await;
    let job = push(&server).await;
    server.reached(&job, State::Dead).await;
    let shown = shown(&server, job.id).await;
    let end = end(&shown);
    assert!(Timestamp::now() > job.deadline + Duration::from_secs(1), "not before its time");
    assert_eq!(end["data"]["reason"]["code"], reason::NO_WORKER);
    assert_eq!((&end["data"]["attempt"], &end["data"]["job"]["id"]), (&json!(0), &json!(job.id)));
    assert_eq!(shown["letter"]["reason"]["code"], reason::NO_WORKER);
    assert_eq!(shown["letter"]["body"]["text"].as_str().unwrap().as_bytes(), job.encode());
    let again = server.post(&format!("/v1/jobs/{}/replay", job.id), "").await;
    assert_eq!(again.status, 202, "{}", again.text());
}

#[tokio::test]
async fn a_job_that_was_begun_and_never_ended_is_given_up() {
    let queue = Faulty::serving(&["default"]).await;
    let server = start(&queue).await;
    let job = push(&server).await;
    for (attempt, state) in [(1, State::Started), (1, State::Retrying), (2, State::Started)] {
        queue.emit(&Event::of(&job, state, attempt, 7)).await.unwrap();
    }
    server.reached(&job, State::Dead).await;
    let shown = shown(&server, job.id).await;
    assert_eq!(end(&shown)["data"]["reason"]["code"], reason::NO_END);
    assert_eq!(shown["letter"]["attempts"], 2);
}

#[tokio::test]
async fn a_job_whose_time_came_and_no_worker_is_given_up() {
    let queue = Faulty::serving(&["default"]).await;
    let server = start(&queue).await;
    let at = Timestamp::now() + Duration::from_secs(1);
    let wish = format!("{{\"target\":\"demo\",\"image\":\"demo:2\",\"not_before\":\"{at}\"}}");
    let (silent, retried) = (server.hook("/v1/jobs", &wish).await, server.hook("/v1/jobs", &wish).await);
    held(&queue, &silent, reason::NOT_BEFORE).await;
    held(&queue, &retried, reason::NOT_BEFORE).await;
    server.reach(&retried, &[State::Retrying]).await;
    // That one was put off tells of a worker that had it in hand.
    for (job, why) in [(&silent, reason::NO_WORKER), (&retried, reason::NO_END)] {
        server.reached(job, State::Dead).await;
        assert!(Timestamp::now() > job.deadline + Duration::from_secs(1), "not before its time");
        assert_eq!(end(&shown(&server, job.id).await)["data"]["reason"]["code"], why);
    }
}

#[tokio::test]
async fn an_approval_that_nobody_gave_in_time_is_given_up() {
    let queue = Faulty::serving(&["default"]).await;
    let server = start(&queue).await;
    let mut job = push(&server).await;
    job.id = JobId::mint(Timestamp::now(), Some(job.id));
    let hold_until = Some(Timestamp::now() + Duration::from_secs(1));
    job.gates = Gates { approve: true, hold_until, ..Gates::default() };
    server.reach(&job, &[State::Accepted]).await;
    held(&queue, &job, reason::NEEDS_APPROVAL).await;
    server.reached(&job, State::Dead).await;
    assert_eq!(end(&shown(&server, job.id).await)["data"]["reason"]["code"], reason::NO_WORKER);
}

#[tokio::test]
async fn who_ended_or_is_held_is_left_alone() {
    let queue = Faulty::serving(&["default"]).await;
    let server = start(&queue).await;
    let (done, on_hold) = (push(&server).await, push(&server).await);
    server.reach(&done, &[State::Started, State::Succeeded]).await;
    // Said once more, by a process that never heard it confirmed.
    queue.emit(&Event::of(&done, State::Accepted, 0, 0)).await.unwrap();
    // Held by what only a worker knows, as its target is.
    held(&queue, &on_hold, "on-hold").await;
    let mut unapproved = push(&server).await;
    server.reach(&unapproved, &[State::Cancelled]).await;
    unapproved.id = JobId::mint(Timestamp::now(), Some(unapproved.id));
    unapproved.gates.approve = true;
    server.reach(&unapproved, &[State::Accepted]).await;
    held(&queue, &unapproved, reason::NEEDS_APPROVAL).await;
    let last = push(&server).await;
    server.reached(&last, State::Dead).await;
    for (job, state) in [(&done, "succeeded"), (&on_hold, "held"), (&unapproved, "held")] {
        assert_eq!(shown(&server, job.id).await["state"], state);
    }
    assert_eq!(letters(&queue).await.len(), 1);
}

#[tokio::test]
async fn one_that_cannot_be_looked_up_holds_up_nobody() {
    let queue = Faulty::serving(&["default"]).await;
    let server = start(&queue).await;
    let (old, new) = (push(&server).await, push(&server).await);
    queue.hide_what_is_before(&new, State::Accepted).await;
    server.reached(&new, State::Dead).await;
    assert_eq!(queue.said(&old), [State::Accepted]);
}

#[tokio::test]
async fn one_that_cannot_be_laid_aside_holds_up_nobody() {
    let queue = Faulty::serving(&["default"]).await;
    let server = start(&queue).await;
    let (old, new) = (push(&server).await, push(&server).await);
    queue.refuse_to_bury(old.id);
    server.reached(&new, State::Dead).await;
    assert_eq!(queue.said(&old), [State::Accepted], "nobody is said to be dead who was not laid aside");
}

#[tokio::test]
async fn a_letter_that_cannot_be_closed_holds_up_nobody() {
    let queue = Faulty::serving(&["default"]).await;
    let server = start(&queue).await;
    let (done, untold) = (push(&server).await, push(&server).await);
    server.reach(&done, &[State::Started, State::Succeeded]).await;
    queue.keep_letters_open();
    bury(&queue, done.encode()).await;
    bury(&queue, untold.encode()).await;
    let overdue = push(&server).await;
    server.reached(&untold, State::Dead).await;
    server.reached(&overdue, State::Dead).await;
}

#[tokio::test]
async fn a_job_of_a_week_ago_is_given_up_by_an_ingress_that_was_started_since() {
    let queue = Faulty::serving(&["default"]).await;
    let first = Server::on(queue.clone()).await.ready().await;
    let mut job = push(&first).await;
    job.id = JobId::mint(Timestamp::now(), Some(job.id));
    job.accepted_at = Timestamp::now() - SignedDuration::from_hours(7 * 24 + 1);
    job.gates.approve = true;
    first.reach(&job, &[State::Accepted]).await;
    held(&queue, &job, reason::NEEDS_APPROVAL).await;
    first.stop().await;
    queue.age_up_to(&job, State::Held).await;
    let server = start(&queue).await;
    eventually(|| async { queue.said(&job).contains(&State::Dead) }).await;
    server.reached(&job, State::Dead).await;
}

#[tokio::test]
async fn several_that_find_the_same_job_say_one_end() {
    let queue = Faulty::serving(&["default"]).await;
    let servers = [start(&queue).await, start(&queue).await, start(&queue).await];
    let jobs = [push(&servers[0]).await, push(&servers[1]).await];
    for server in &servers {
        for job in &jobs {
            server.reached(job, State::Dead).await;
            let shown = shown(server, job.id).await;
            let name = &end(&shown)["id"];
            let expected = Event::of(job, State::Dead, 0, 0).id;
            assert_eq!(name, &json!(expected), "the same utterance, whoever says it");
        }
    }
    // However many letters there are, a decision is one for all.
    for job in &jobs {
        let discarded = servers[2].post(&format!("/v1/jobs/{}/discard", job.id), "").await;
        assert_eq!(discarded.status, 200, "{}", discarded.text());
    }
    assert_eq!(letters(&queue).await, []);
}

#[tokio::test]
async fn a_letter_that_nobody_told_of_is_told() {
    let queue = Faulty::serving(&["default"]).await;
    let first = Server::on(queue.clone()).await.ready().await;
    let job = push(&first).await;
    first.stop().await;
    bury(&queue, job.encode()).await;
    let newer = JobId::mint(Timestamp::now(), Some(job.id));
    bury(&queue, format!("{{\"version\":9,\"id\":\"{newer}\",\"target\":\"demo\"}}")).await;
    bury(&queue, "no job").await;
    let server = start(&queue).await;
    server.reached(&job, State::Dead).await;
    let told = shown(&server, job.id).await;
    assert_eq!(end(&told)["data"]["reason"]["code"], reason::GIVEN_UP);
    assert_eq!(end(&told)["data"]["attempt"], 4);
    eventually(|| async { queue.said_of(newer).contains(&State::Dead) }).await;
    eventually(|| async { shown(&server, newer).await["events"].as_array().unwrap().len() == 1 }).await;
    assert_eq!(letters(&queue).await.len(), 3, "all of them wait for a decision");
}

#[tokio::test]
async fn a_void_letter_is_closed() {
    let queue = Faulty::serving(&["default"]).await;
    let server = start(&queue).await;
    let done = push(&server).await;
    server.reach(&done, &[State::Started, State::Succeeded]).await;
    bury(&queue, done.encode()).await;
    let dead = push(&server).await;
    server.reach(&dead, &[State::Dead]).await;
    bury(&queue, dead.encode()).await;
    server.reached(&dead, State::Dead).await;
    let answer = server.post(&format!("/v1/jobs/{}/replay", dead.id), "").await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let replay = server.job(&answer.json()["jobs"][0]);
    server.reach(&replay, &[State::Started, State::Succeeded]).await;
    // A copy that a worker lays aside long after.
    bury(&queue, dead.encode()).await;
    eventually(|| async { letters(&queue).await.is_empty() }).await;
    assert_eq!(shown(&server, done.id).await["state"], "succeeded");
}

#[tokio::test]
async fn nobody_is_given_up_while_the_broker_is_away() {
    let queue = Faulty::serving(&["default"]).await;
    let server = start(&queue).await;
    let job = push(&server).await;
    queue.there.send_replace(false);
    let overdue = job.deadline + Duration::from_secs(2);
    eventually(|| async { Timestamp::now() > overdue }).await;
    assert_eq!(queue.said(&job), [State::Accepted]);
    // A worker that is back as soon as the broker is knows better.
    queue.there.send_replace(true);
    server.reach(&job, &[State::Started, State::Succeeded]).await;
    server.reached(&job, State::Succeeded).await;
    let next = push(&server).await;
    server.reached(&next, State::Dead).await;
    assert_eq!(queue.said(&job), [State::Accepted, State::Started, State::Succeeded]);
}

/// Whoever began a job, or holds it, comes back to it; one that waits in no queue any more has nobody.
#[tokio::test]
async fn a_job_that_waits_and_of_which_nothing_is_heard_is_published_once_more() {
    let queue = Faulty::serving(&["default"]).await;
    let text = format!("{TEXT}ingress: {{overdue_after: 1s, resend_after: 1s}}\n");
    let server = Server::with(queue.clone(), &text).await.ready().await;
    let (begun, done) = (push(&server).await, push(&server).await);
    server.reach(&done, &[State::Started, State::Succeeded]).await;
    queue.emit(&Event::of(&done, State::Accepted, 0, 0)).await.unwrap();
    server.reach(&begun, &[State::Started]).await;
    let made = async |target: &str| {
        let answer = server.post("/v1/jobs", format!(r#"{{"target":"{target}","image":"both:1"}}"#)).await;
        server.job(&answer.json()["jobs"][0])
    };
    let (waits, on_hold) = (made("twin").await, made("other").await);
    held(&queue, &on_hold, reason::ON_HOLD).await;
    server.reached(&on_hold, State::Held).await;
    let published = |job: &Job| queue.published().iter().filter(|other| other == &job).count();
    // Until its pool is known to have workers that have nothing to do, it may well wait in its queue.
    queue.standing.send_replace(Some(Standing { workers: 1, waiting: 0 }));
    eventually(|| async { published(&waits) >= 3 }).await;
    assert_eq!((published(&begun), published(&on_hold), published(&done)), (1, 1, 1));
    let shown = shown(&server, waits.id).await;
    let told = &shown["events"][1]["data"];
    assert_eq!((&told["reason"]["code"], &told["counted"]), (&json!(reason::UNHEARD), &json!(false)));
    assert_eq!(shown["state"], "retrying");
}
