//! Server-sent events: live, from the beginning, and resumed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

mod support;

use ingress::{Scope, tokens};
use proto::State;
use support::{
    Server, TOKEN, eventually,
    faulty::Faulty,
    http::{Call, Events, Message},
};

async fn open(server: &Server, path: &str, after: Option<&str>) -> Events {
    let call = Call::get(path).bearer(TOKEN);
    let call = after.map(|id| Call::get(path).bearer(TOKEN).header("last-event-id", id)).unwrap_or(call);
    Events::open(server.address, call).await
}

fn states(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.data["data"]["state"].as_str().unwrap()).collect()
}

async fn rest(events: &mut Events) -> Vec<Message> {
    let mut messages = Vec::new();
    while let Some(message) = events.next().await {
        messages.push(message);
    }
    messages
}

#[tokio::test]
async fn what_a_stream_or_a_list_does_not_take_is_refused() {
    let server = Server::start().await;
    for path in ["/v1/events?target=demo", "/v1/targets?pool=office"] {
        server.get(path).await.is_problem(400, "bad-query");
    }
}

#[tokio::test]
async fn a_jobs_stream_begins_with_its_past_goes_on_live_and_ends_with_it() {
    let server = Server::start().await;
    let job = server.hook("/hooks/demo", r#"{"image":"demo:2"}"#).await;
    let other = server.hook("/hooks/demo", r#"{"image":"demo:3"}"#).await;
    server.reach(&job, &[State::Started]).await;
    let mut events = open(&server, &format!("/v1/jobs/{}/events", job.id), None).await;
    let mut messages = vec![events.next().await.unwrap(), events.next().await.unwrap()];
    server.reach(&other, &[State::Started]).await;
    server.reach(&job, &[State::Progress]).await;
    messages.push(events.next().await.unwrap());
    server.reach(&job, &[State::Succeeded]).await;
    messages.extend(rest(&mut events).await);
    assert_eq!(states(&messages), ["accepted", "started", "progress", "succeeded"]);
    let places: Vec<Option<u64>> =
        messages.iter().map(|m| m.id.as_ref().map(|id| id.parse().unwrap())).collect();
    assert!(places[0] < places[1] && places[1] < places[3] && places[2].is_none(), "{places:?}");
    for message in &messages {
        assert_eq!(message.event, message.data["type"].as_str().unwrap());
        assert_eq!(message.data["specversion"], "1.0");
    }
}

#[tokio::test]
async fn a_jobs_stream_is_resumed_and_an_ended_one_is_not_asked_for_again() {
    let server = Server::start().await;
    let job = server.hook("/hooks/demo", r#"{"image":"demo:2"}"#).await;
    server.reach(&job, &[State::Started, State::Retrying, State::Succeeded]).await;
    let path = format!("/v1/jobs/{}/events", job.id);
    let whole = rest(&mut open(&server, &path, None).await).await;
    assert_eq!(states(&whole), ["accepted", "started", "retrying", "succeeded"]);
    let resumed = rest(&mut open(&server, &path, whole[1].id.as_deref()).await).await;
    assert_eq!(resumed, whole[2..]);
    let last = whole[3].id.as_deref().unwrap();
    let over = server.call(Call::get(&path).bearer(TOKEN).header("last-event-id", last)).await;
    assert_eq!(over.status, 204);
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    server.get(&format!("/v1/jobs/{id}/events")).await.is_problem(404, "unknown-job");
}

#[tokio::test]
async fn all_events_come_live_and_are_resumed_without_gap_or_repeat() {
    let server = Server::start().await.ready().await;
    let early = server.hook("/hooks/demo", r#"{"image":"demo:1"}"#).await;
    let mut events = open(&server, "/v1/events", None).await;
    let job = server.hook("/hooks/demo", r#"{"image":"demo:2"}"#).await;
    server.reach(&job, &[State::Started]).await;
    let heard = [events.next().await.unwrap(), events.next().await.unwrap()];
    assert_eq!(states(&heard), ["accepted", "started"]);
    assert_eq!(heard[0].data["data"]["job"]["id"], job.id.to_string());
    drop(events);
    server.reach(&early, &[State::Started, State::Failed]).await;
    server.reach(&job, &[State::Succeeded]).await;
    server.reached(&job, State::Succeeded).await;
    let mut resumed = open(&server, "/v1/events", heard[0].id.as_deref()).await;
    let mut missed = Vec::new();
    for _ in 0..4 {
        missed.push(resumed.next().await.unwrap());
    }
    assert_eq!(missed[0], heard[1]);
    assert_eq!(states(&missed), ["started", "started", "failed", "succeeded"]);
    let next = server.hook("/hooks/demo", r#"{"image":"demo:3"}"#).await;
    let live = resumed.next().await.unwrap();
    assert_eq!(live.data["data"]["job"]["id"], next.id.to_string());
}

#[tokio::test]
async fn a_reader_that_fell_behind_misses_nothing() {
    let server = Server::start().await.ready().await;
    let job = server.hook("/hooks/demo", r#"{"image":"demo:1"}"#).await;
    let mut events = open(&server, "/v1/events", None).await;
    // Larger than what sockets and feed hold together, while nobody reads.
    for first in (0..2_000).step_by(500) {
        let emits = (first..first + 500).map(|attempt| retrying(&server, &job, attempt));
        futures::future::join_all(emits).await;
    }
    let mut heard = Vec::new();
    while heard.len() < 2_000 {
        heard.push(events.next().await.unwrap());
    }
    let place = |message: &Message| message.id.as_ref().unwrap().parse::<u64>().unwrap();
    assert!(heard.is_sorted_by(|one, next| place(one) < place(next)));
    let mut attempts: Vec<u64> = heard.iter().map(|m| m.data["data"]["attempt"].as_u64().unwrap()).collect();
    attempts.sort_unstable();
    assert_eq!(attempts, (0..2_000).collect::<Vec<_>>());
}

/// What was said before the stream was opened is no more theirs than what is said now.
#[tokio::test]
async fn whoever_catches_up_slowly_hears_nothing_more_once_the_token_is_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.yaml");
    let scope =
        Scope { targets: vec!["*".to_owned()], operations: vec!["read".to_owned()], sources: Vec::new() };
    let made = tokens::create(&file, "reader", scope, None).unwrap();
    let text = format!("{}access: {{tokens_file: {}}}\n", support::TEXT, file.display());
    let server = Server::with(Faulty::serving(&["default"]).await, &text).await.ready().await;
    let job = server.hook("/hooks/demo", r#"{"image":"demo:1"}"#).await;
    for first in (0..2_000).step_by(500) {
        futures::future::join_all((first..first + 500).map(|attempt| retrying(&server, &job, attempt))).await;
    }
    let ask = |path: &str| Call::get(path).bearer(made.token.expose());
    let call = ask("/v1/events").header("last-event-id", "1");
    let mut events = Events::open(server.address, call).await;
    events.next().await.unwrap();
    tokens::revoke(&file, "reader").unwrap();
    eventually(|| async { server.call(ask("/v1/session")).await.status == 401 }).await;
    // The stream is looked at every two seconds, when there is something to tell.
    tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
    let heard = rest(&mut events).await.len();
    assert!(heard < 1_900, "{heard} were told, as many as sockets hold were on their way");
}

async fn retrying(server: &Server, job: &proto::Job, attempt: u32) {
    let mut event = proto::Event::of(job, State::Retrying, attempt, 0);
    event.data.output = vec!["x".repeat(8_000)];
    queue::Queue::emit(&*server.queue, &event).await.unwrap();
}

#[tokio::test]
async fn a_reader_from_far_behind_is_told_while_the_history_is_read() {
    let server = Server::start().await.ready().await;
    let mut events = open(&server, "/v1/events", None).await;
    let job = server.hook("/hooks/demo", r#"{"image":"demo:1"}"#).await;
    let first = events.next().await.unwrap();
    drop(events);
    for attempt in 0..3_000 {
        queue::Queue::emit(&*server.queue, &proto::Event::of(&job, State::Retrying, attempt, 0))
            .await
            .unwrap();
    }
    server.reach(&job, &[State::Failed]).await;
    server.reached(&job, State::Failed).await;
    server.queue.shown.send_replace(1_000);
    let mut resumed = open(&server, "/v1/events", first.id.as_deref()).await;
    let mut attempts = Vec::new();
    while attempts.len() < 3_000 {
        if attempts.len() == 900 {
            server.queue.shown.send_replace(usize::MAX);
        }
        let message = resumed.next().await.unwrap();
        attempts.push(message.data["data"]["attempt"].as_u64().unwrap());
    }
    assert_eq!(attempts, (0..3_000).collect::<Vec<_>>());
    assert_eq!(states(&[resumed.next().await.unwrap()]), ["failed"]);
}

#[tokio::test]
async fn streams_end_when_the_server_stops() {
    let server = Server::start().await.ready().await;
    let mut events = open(&server, "/v1/events", None).await;
    server.stop().await;
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn a_place_that_the_history_never_had_keeps_nobody_waiting() {
    let server = Server::start().await.ready().await;
    let mut events = open(&server, "/v1/events", Some("18446744073709551615")).await;
    let job = server.hook("/hooks/demo", r#"{"image":"demo:1"}"#).await;
    let heard = events.next().await.unwrap();
    assert_eq!(heard.data["data"]["job"]["id"], job.id.to_string());
    server.reach(&job, &[State::Started, State::Succeeded]).await;
    server.reached(&job, State::Succeeded).await;
    let path = format!("/v1/jobs/{}/events", job.id);
    let whole = rest(&mut open(&server, &path, Some("18446744073709551615")).await).await;
    assert_eq!(states(&whole), ["accepted", "started", "succeeded"]);
}
