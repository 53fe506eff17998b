//! What could not be carried out: listed, shown, replayed, discarded; and jobs that are called off.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

mod support;

use std::sync::Arc;

use proto::{Event, Job, JobId, Operation, Reason, State, reason};
use queue::{Queue, QueueError, SpoolSettings};
use serde_json::{Value, json};
use support::{
    Server, TOKEN, eventually,
    faulty::Faulty,
    http::{Answer, Call},
};

const PUSH: &str = r#"{"image":"demo:2"}"#;

fn why() -> Reason {
    Reason::new(reason::UNREACHABLE, "no route to the dock").hint("mend the bridge")
}

/// Lets a job die as a worker does: said first, then laid aside.
async fn die(server: &Server, job: &Job) {
    server.reach(job, &[State::Started]).await;
    let mut event = Event::of(job, State::Dead, 3, 0);
    event.data.reason = Some(why());
    server.queue.emit(&event).await.unwrap();
    bury(server, job.encode()).await;
    server.reached(job, State::Dead).await;
}

async fn bury(server: &Server, body: impl Into<Vec<u8>>) {
    let pool = "default".parse().unwrap();
    server.queue.bury(body.into().into(), &pool, 3, &why()).await.unwrap();
}

async fn dead(server: &Server) -> Job {
    let job = server.hook("/hooks/demo", PUSH).await;
    die(server, &job).await;
    job
}

async fn decide(server: &Server, name: impl std::fmt::Display, what: &str) -> Answer {
    server.post(&format!("/v1/jobs/{name}/{what}"), "").await
}

async fn listed(server: &Server) -> Vec<String> {
    let page = server.get("/v1/jobs?state=dead").await;
    assert_eq!(page.status, 200, "{}", page.text());
    names(&page.json())
}

fn names(page: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let jobs = page["jobs"].as_array().unwrap().iter().map(|job| text(&job["id"]));
    let unreadable = page["unreadable"].as_array().into_iter().flatten();
    jobs.chain(unreadable.map(|letter| text(&letter["letter"]["name"]))).collect()
}

#[tokio::test]
async fn a_dead_job_is_listed_and_shown_with_its_letter() {
    let server = Server::start().await;
    assert_eq!(listed(&server).await, [""; 0]);
    let job = dead(&server).await;
    let other = server.hook("/hooks/demo", PUSH).await;
    let page = server.get("/v1/jobs?state=dead").await.json();
    let entry = &page["jobs"][0];
    assert_eq!((page["jobs"].as_array().unwrap().len(), &entry["id"]), (1, &json!(job.id)));
    assert_eq!((&entry["state"], &entry["letter"]["attempts"]), (&json!("dead"), &json!(3)));
    assert_eq!(entry["letter"]["reason"], serde_json::to_value(why()).unwrap());
    assert_eq!(entry["letter"].get("body"), None, "bodies are not listed");

    let shown = server.get(&format!("/v1/jobs/{}", job.id)).await.json();
    let body = shown["letter"]["body"]["text"].as_str().unwrap();
    assert_eq!(body.as_bytes(), job.encode(), "the body as it was");
    assert_eq!((&shown["state"], &shown["letter"]["attempts"]), (&json!("dead"), &json!(3)));
    let name = shown["letter"]["name"].as_str().unwrap();
    assert_eq!(server.get(&format!("/v1/jobs/{name}")).await.json()["id"], json!(job.id));
    let alive = server.get(&format!("/v1/jobs/{}", other.id)).await.json();
    assert_eq!(alive.get("letter"), None);
    for (query, count) in [("&target=demo", 1), ("&target=twin", 0), ("&limit=1", 1)] {
        let page = server.get(&format!("/v1/jobs?state=dead{query}")).await.json();
        assert_eq!(page["jobs"].as_array().unwrap().len(), count, "{query}");
    }
    for query in ["&before=x", &format!("&before={}", job.id), "&limit=0", "&sort=up"] {
        server.get(&format!("/v1/jobs?state=dead{query}")).await.is_problem(400, "bad-query");
    }
}

#[tokio::test]
async fn many_dead_jobs_are_listed_in_pages_each_once() {
    let server = Server::start().await;
    let mut died = Vec::new();
    for _ in 0..5 {
        died.push(dead(&server).await.id.to_string());
    }
    // A copy of the second, as a crash leaves it, and something else in between.
    let copy: JobId = died[1].parse().unwrap();
    let copy = server.queue.published().into_iter().find(|job| job.id == copy).unwrap();
    bury(&server, copy.encode()).await;
    bury(&server, "no job").await;
    let (mut seen, mut next) = (Vec::new(), String::new());
    loop {
        let page = server.get(&format!("/v1/jobs?state=dead&limit=2{next}")).await.json();
        seen.extend(names(&page));
        let Some(before) = page.get("next") else { break };
        next = format!("&before={}", before.as_str().unwrap());
    }
    let unreadable: Vec<String> = seen.extract_if(.., |name| name.starts_with("letter-")).collect();
    assert_eq!(unreadable.len(), 1);
    died.reverse();
    assert_eq!(seen, died);
}

#[tokio::test]
async fn a_replay_is_a_new_job_that_says_what_it_replays() {
    let server = Server::start().await;
    let body = r#"{"target":"twin","image":"demo:2"}"#;
    let answer = server.call(
        Call::post("/v1/jobs", body)
            .bearer(TOKEN)
            .header("idempotency-key", "k")
            .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    );
    let job = server.job(&answer.await.json()["jobs"][0]);
    die(&server, &job).await;
    bury(&server, job.encode()).await;

    let answer = decide(&server, job.id, "replay").await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let new = server.job(&answer.json()["jobs"][0]);
    assert!(answer.json()["jobs"][0]["status_url"].as_str().unwrap().ends_with(&new.id.to_string()));
    assert!(new.id > job.id && new.accepted_at > job.accepted_at);
    assert_eq!(new.deadline.duration_since(new.accepted_at).as_secs(), 600, "the target's own");
    let expected = Job {
        id: new.id,
        replays: Some(job.id),
        accepted_at: new.accepted_at,
        deadline: new.deadline,
        ..job.clone()
    };
    assert_eq!(new, expected, "everything else is kept");
    assert_eq!(answer.json()["chain"], json!(job.chain));
    assert_eq!(server.queue.said(&new), [State::Accepted]);

    assert_eq!(listed(&server).await, [""; 0], "all its letters are closed");
    let again = decide(&server, job.id, "replay").await;
    again.is_problem(409, "already-closed");
    assert!(again.text().contains(&new.id.to_string()), "{}", again.text());
    decide(&server, job.id, "discard").await.is_problem(409, "already-closed");
    assert_eq!(server.get(&format!("/v1/jobs/{}", job.id)).await.json()["state"], "dead");
    // A replay that dies is replayed like any other.
    die(&server, &new).await;
    let third = decide(&server, new.id, "replay").await;
    assert_eq!(server.job(&third.json()["jobs"][0]).replays, Some(new.id));
}

#[tokio::test]
async fn an_older_wish_is_put_over_a_newer_one_only_by_force() {
    for (states, refused) in [
        (&[][..], true),
        (&[State::Started], true),
        (&[State::Started, State::Succeeded], true),
        (&[State::Started, State::Failed], true),
        (&[State::Started, State::RolledBack], false),
        (&[State::Superseded], false),
    ] {
        let server = Server::start().await;
        let job = dead(&server).await;
        let newer = server.hook("/hooks/demo", r#"{"image":"demo:3"}"#).await;
        server.reach(&newer, states).await;
        let answer = decide(&server, job.id, "replay").await;
        if !refused {
            assert_eq!(answer.status, 202, "{states:?}: {}", answer.text());
            continue;
        }
        answer.is_problem(409, "newer-applied");
        assert!(answer.text().contains(&newer.id.to_string()), "{}", answer.text());
        assert!(answer.json()["hint"].as_str().unwrap().contains("--force"), "{}", answer.text());
        assert_eq!(listed(&server).await, [job.id.to_string()], "it still waits");
        decide(&server, job.id, "replay?force=yes").await.is_problem(400, "bad-query");
        decide(&server, job.id, "replay?froce=true").await.is_problem(400, "bad-query");
        assert_eq!(decide(&server, job.id, "replay?force=true").await.status, 202);
    }
}

#[tokio::test]
async fn what_is_for_another_thing_stands_in_nobody_s_way() {
    let server = Server::start().await;
    let job = dead(&server).await;
    for body in [
        r#"{"target":"twin","image":"demo:3"}"#,
        r#"{"target":"demo","image":"other:3"}"#,
        r#"{"target":"demo","operation":{"type":"restart"}}"#,
    ] {
        let answer = server.post("/v1/jobs", body).await;
        server.reach(&server.job(&answer.json()["jobs"][0]), &[State::Started, State::Succeeded]).await;
    }
    assert_eq!(decide(&server, job.id, "replay").await.status, 202);
    // The replay itself is newer than whatever died before it.
    let service = r#"{"target":"demo","image":"demo:3","service":"web"}"#;
    let answer = server.post("/v1/jobs", service).await;
    let of_a_service = server.job(&answer.json()["jobs"][0]);
    die(&server, &of_a_service).await;
    assert_eq!(decide(&server, of_a_service.id, "replay").await.status, 202);
}

#[tokio::test]
async fn a_job_that_was_forgotten_is_judged_by_the_whole_history() {
    let server = Server::start().await.ready().await;
    let (job, other) =
        (dead(&server).await, server.post("/v1/jobs", r#"{"target":"twin","image":"a:1"}"#).await);
    let other = server.job(&other.json()["jobs"][0]);
    die(&server, &other).await;
    let newer = server.hook("/hooks/demo", r#"{"image":"demo:3"}"#).await;
    server.reach(&newer, &[State::Started, State::Succeeded]).await;
    // As many as an ingress remembers come after it.
    let mut last = newer.clone();
    for _ in 0..20 {
        let batch = (0..500).map(|_| {
            last = Job { id: last.id.successor(), target: "other".parse().unwrap(), ..last.clone() };
            let event = Event::of(&last, State::Accepted, 0, 0);
            let queue = server.queue.clone();
            async move { queue.emit(&event).await.unwrap() }
        });
        futures::future::join_all(batch).await;
    }
    let total = |state: &str| format!("/v1/jobs?state={state}&limit=500");
    eventually(|| async { server.get(&total("succeeded")).await.json()["jobs"] == json!([]) }).await;
    let refused = decide(&server, job.id, "replay").await;
    refused.is_problem(409, "newer-applied");
    assert!(refused.text().contains(&newer.id.to_string()), "{}", refused.text());
    assert_eq!(decide(&server, other.id, "replay").await.status, 202);
    assert_eq!(decide(&server, job.id, "replay?force=true").await.status, 202);
}

#[tokio::test]
async fn a_discarded_job_is_listed_no_more_and_stays_dead() {
    let server = Server::start().await;
    let (job, other) = (dead(&server).await, dead(&server).await);
    bury(&server, job.encode()).await;
    let discarded = decide(&server, job.id, "discard").await;
    assert_eq!(discarded.status, 200, "{}", discarded.text());
    assert_eq!(discarded.json()["id"], json!(job.id));
    assert_eq!(discarded.json()["letters"].as_array().unwrap().len(), 2);
    assert_eq!(listed(&server).await, [other.id.to_string()]);
    let shown = server.get(&format!("/v1/jobs/{}", job.id)).await.json();
    assert_eq!((&shown["state"], shown.get("letter")), (&json!("dead"), None));
    decide(&server, job.id, "discard").await.is_problem(409, "already-closed");
    decide(&server, job.id, "replay").await.is_problem(409, "already-closed");
}

#[tokio::test]
async fn only_what_is_dead_is_replayed_or_discarded() {
    let server = Server::start().await;
    let job = server.hook("/hooks/demo", PUSH).await;
    server.reach(&job, &[State::Started]).await;
    for what in ["replay", "discard"] {
        decide(&server, job.id, what).await.is_problem(409, "not-dead");
    }
    server.reach(&job, &[State::Succeeded]).await;
    server.reached(&job, State::Succeeded).await;
    // A letter of a job that ended otherwise is void.
    bury(&server, job.encode()).await;
    assert_eq!(listed(&server).await, [""; 0]);
    for what in ["replay", "discard", "replay?force=true"] {
        decide(&server, job.id, what).await.is_problem(409, "not-dead");
        for name in ["7", "letter-99", "01890a5d-ac96-774b-bcce-b302099a8057"] {
            decide(&server, name, what).await.is_problem(404, "unknown-job");
        }
    }
    let dying = server.hook("/hooks/demo", PUSH).await;
    server.reach(&dying, &[State::Dead]).await;
    let early = decide(&server, dying.id, "replay").await;
    early.is_problem(503, "unavailable");
    bury(&server, dying.encode()).await;
    assert_eq!(decide(&server, dying.id, "replay").await.status, 202);
}

#[tokio::test]
async fn what_cannot_be_read_is_listed_shown_and_discarded_by_the_name_of_its_letter() {
    let server = Server::start().await;
    let model = server.hook("/hooks/demo", PUSH).await;
    let mut newer = serde_json::to_value(&model).unwrap();
    let id = JobId::mint(proto::Timestamp::now(), Some(model.id));
    newer["id"] = json!(id);
    newer["version"] = json!(9);
    bury(&server, "no json").await;
    bury(&server, b"\xff\xfe").await;
    bury(&server, newer.to_string()).await;
    let page = server.get("/v1/jobs?state=dead").await.json();
    let names = names(&page);
    assert_eq!(names.len(), 3);
    assert_eq!(page["unreadable"][0]["id"], json!(id));
    let shown = async |name: &str| server.get(&format!("/v1/jobs/{name}")).await.json();
    assert_eq!(shown(&names[2]).await["letter"]["body"], json!({"text": "no json"}));
    assert_eq!(shown(&names[1]).await["letter"]["body"], json!({"base64": "//4="}));
    let by_id = shown(&id.to_string()).await;
    assert_eq!((&by_id["id"], &by_id["letter"]["body"]), (&json!(id), &json!({"text": newer.to_string()})));
    for name in [&names[0], &names[1], &id.to_string()] {
        decide(&server, name, "replay").await.is_problem(409, "unreadable");
    }
    for name in [&names[1], &id.to_string(), &names[2]] {
        assert_eq!(decide(&server, name, "discard").await.status, 200);
    }
    assert_eq!(listed(&server).await, [""; 0]);
    decide(&server, &names[2], "discard").await.is_problem(404, "unknown-job");
    // Who followed it hears the end.
    let said = server.queue.said_of(id);
    assert_eq!(said, [State::Dead]);
}

#[tokio::test]
async fn a_job_is_called_off_by_a_job() {
    let server = Server::start().await;
    let job = server.hook("/hooks/demo", PUSH).await;
    let answer = decide(&server, job.id, "cancel").await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let cancel = server.job(&answer.json()["jobs"][0]);
    assert_eq!((&cancel.operation, &cancel.target), (&Operation::Cancel { job: job.id }, &job.target));
    assert_eq!((cancel.cause.by.as_deref(), cancel.slots.len()), (Some("admin"), 0));
    assert!(cancel.deadline > job.deadline && cancel.id > job.id && cancel.chain != job.chain);
    let again = decide(&server, job.id, "cancel").await.json();
    assert_eq!(again["jobs"][0]["id"], json!(cancel.id), "the one under way is named");
    decide(&server, cancel.id, "cancel").await.is_problem(409, "not-cancellable");
    server.reach(&job, &[State::Cancelled]).await;
    server.reached(&job, State::Cancelled).await;
    let late = decide(&server, job.id, "cancel").await;
    late.is_problem(409, "already-ended");
    assert!(late.text().contains("cancelled"), "{}", late.text());
    decide(&server, "01890a5d-ac96-774b-bcce-b302099a8057", "cancel").await.is_problem(404, "unknown-job");
    decide(&server, "letter-1", "cancel").await.is_problem(404, "unknown-job");
}

#[tokio::test]
async fn every_decision_wants_a_token_and_nothing_beside_it() {
    let server = Server::start().await;
    let job = dead(&server).await;
    for what in ["replay", "discard", "cancel"] {
        let path = format!("/v1/jobs/{}/{what}", job.id);
        server.call(Call::post(&path, "")).await.is_problem(401, "missing-token");
        server.call(Call::post(&path, "").bearer("x")).await.is_problem(401, "wrong-token");
        server.post(&path, r#"{"force":true}"#).await.is_problem(400, "bad-query");
        server.post(&format!("{path}?wait=3s"), "").await.is_problem(400, "bad-query");
        server.get(&path).await.is_problem(405, "method-not-allowed");
    }
    assert_eq!(listed(&server).await, [job.id.to_string()]);
    assert_eq!(server.queue.published().len(), 1);
}

#[tokio::test]
async fn a_replay_that_the_queue_refuses_leaves_the_letter_and_two_at_once_make_one() {
    let server = Server::start().await;
    let job = dead(&server).await;
    server.queue.refuse([QueueError::Full]);
    decide(&server, job.id, "replay").await.is_problem(503, "queue-full");
    assert_eq!(listed(&server).await, [job.id.to_string()]);
    let (one, two) = tokio::join!(decide(&server, job.id, "replay"), decide(&server, job.id, "replay"));
    let mut codes = [one.status, two.status];
    codes.sort_unstable();
    assert_eq!(codes, [202, 409]);
    assert_eq!(server.queue.published().len(), 2);
}

#[tokio::test]
async fn while_the_broker_is_away_nothing_is_decided_and_nothing_is_lost() {
    let queue: Arc<Faulty> = Faulty::serving(&["default"]).await;
    let data = tempfile::tempdir().unwrap();
    let settings = SpoolSettings::default();
    let server = Server::beside_a_spool(queue.clone(), data.path(), settings).await.ready().await;
    let job = dead(&server).await;
    let open = server.hook("/hooks/demo", PUSH).await;
    queue.there.send_replace(false);
    for (id, what) in [(job.id, "replay"), (job.id, "discard"), (open.id, "cancel")] {
        decide(&server, id, what).await.is_problem(503, "broker-away");
    }
    server.get("/v1/jobs?state=dead").await.is_problem(503, "broker-away");
    server.get("/v1/jobs/letter-1").await.is_problem(503, "broker-away");
    assert_eq!(server.get(&format!("/v1/jobs/{}", job.id)).await.json()["state"], "dead");
    queue.there.send_replace(true);
    eventually(|| async { decide(&server, open.id, "cancel").await.status == 202 }).await;
    assert_eq!(listed(&server).await, [job.id.to_string()]);
    decide(&server, job.id, "replay").await.is_problem(409, "newer-applied");
    assert_eq!(decide(&server, job.id, "replay?force=true").await.status, 202);
}
