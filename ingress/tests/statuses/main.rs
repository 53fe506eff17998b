//! Every answer that the API's description has is one that the server gives, but for those that are listed here.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

#[path = "../support/mod.rs"]
mod support;
mod tour;
mod workers;

use std::{path::Path, sync::Arc};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ingress::{Scope, tokens};
use proto::{Event, Job, Reason, State, reason};
use queue::Queue;
use serde_json::{Value, json};
use support::{
    Server, TOKEN,
    faulty::Faulty,
    http::{self, Call, Events},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use tour::Tour;
use workers::what_workers_answer;

const NOBODY: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const JSON: &str = "{\"image\":\"demo:1\"}";
const USER: &str = r#"{"user":"anna","password":"correct horse battery"}"#;

/// What cannot be brought about here, and why.
const NEVER: &[(&str, u16, &str)] = &[
    ("*", 500, "a fault of the server's own"),
    ("showSession", 403, "an identity that no rule fits: `tests/it/access/identities.rs`"),
    ("logIn", 503, "the bodies of all requests together are too large: `http/body.rs`"),
    ("refreshSession", 503, "the same"),
    ("register", 503, "the same"),
];

const SECTIONS: &str = r#"
sources:
  demo: {kind: plain, open: true, loopback_only: true}
  keyed: {kind: plain, key: sesame}
  look: {kind: diun, open: true, loopback_only: true}
  looked: {kind: diun, key: sesame}
  bus: {kind: cloudevents, open: true, loopback_only: true}
  asked: {kind: cloudevents, key: sesame}
systems: {s: {kind: rehearsal}, far: {kind: rehearsal, pool: office}}
targets:
  demo: {at: s, follow: "demo:*"}
  held: {at: s, follow: "held:*", approve: true}
  remote: {at: far, follow: "remote:*"}
"#;

async fn serving(more: &str) -> Server {
    Server::with(Faulty::serving(&["default"]).await, &format!("{SECTIONS}{more}")).await.ready().await
}

#[tokio::test]
async fn every_code_that_is_described_is_answered_or_listed_here() {
    let folder = tempfile::tempdir().unwrap();
    let server = serving(&access(folder.path())).await;
    let mut tour = Tour::new();
    strangers(&mut tour, &server).await;
    those_who_may_little(&mut tour, &server, folder.path()).await;
    an_issuer_that_is_away(&mut tour, &server).await;
    what_cannot_be_read(&mut tour, &server).await;
    what_is_not_there(&mut tour, &server).await;
    people(&mut tour, &server).await;
    hooks(&mut tour, &server).await;
    wishes(&mut tour, &server).await;
    decisions(&mut tour, &server).await;
    what_workers_answer(&mut tour, &server).await;
    streams(&mut tour, &server).await;
    the_server_itself(&mut tour, &server).await;
    slow_bodies(&mut tour, folder.path()).await;
    too_many(&mut tour).await;
    let unseen = tour.unseen();
    let listed = |(id, code): &&(String, u16)| {
        NEVER.iter().any(|(operation, never, _)| (*operation == "*" || operation == id) && never == code)
    };
    let (listed, missing): (Vec<_>, Vec<_>) = unseen.iter().partition(listed);
    println!("statuses: {} seen, {} never: {listed:?}", tour.seen.len(), listed.len());
    assert!(missing.is_empty(), "described, and never answered: {missing:?}");
}

fn access(folder: &Path) -> String {
    let (tokens, users) = (folder.join("tokens.yaml"), folder.join("users.yaml"));
    format!(
        "access:\n  tokens_file: {}\n  users_file: {}\n  session_key: {}\n  registration: {{role: viewer}}\n  oidc:\n    \
         ci: {{kind: other, issuer: 'http://127.0.0.1:1', audience: us, rules: [{{claims: {{sub: x}}, targets: ['*'], operations: ['*']}}]}}\n",
        tokens.display(),
        users.display(),
        "k".repeat(32),
    )
}

async fn strangers(tour: &mut Tour, server: &Server) {
    for operation in tour.that_answer(401) {
        let path = match operation.path.contains("{key}") {
            true => operation.at(operation.source(true), "", "").replace("sesame", "guessed"),
            false => operation.at(operation.source(true), NOBODY, "demo"),
        };
        let body = match operation.id.as_str() {
            "logIn" => USER,
            "refreshSession" => r#"{"refresh_token":"x"}"#,
            _ => JSON,
        };
        let call = Call::new(&operation.method, &path, body);
        let answer = tour.ask(server, &operation, call.header("webhook-request-origin", "x")).await;
        assert_eq!(answer.status, 401, "{}: {}", operation.id, answer.text());
    }
}

/// With a token that opens nothing of it; from elsewhere, where there is no token.
async fn those_who_may_little(tour: &mut Tour, server: &Server, folder: &Path) {
    let sources = vec!["nothing".to_owned()];
    let scope = Scope { targets: vec!["nobody".to_owned()], operations: Vec::new(), sources };
    let narrow = tokens::create(&folder.join("tokens.yaml"), "narrow", scope, None);
    let narrow = narrow.unwrap();
    support::eventually(|| async {
        server.call(Call::get("/v1/session").bearer(narrow.token.expose())).await.status == 200
    })
    .await;
    let job = server.hook("/hooks/demo", JSON).await.id.to_string();
    for operation in tour.that_answer(403) {
        let call = operation.call(&operation.at(operation.source(false), &job, "demo"));
        let call = match operation.id.as_str() {
            "createJobs" => Call::post("/v1/jobs", r#"{"target":"demo","image":"demo:1"}"#),
            _ => call,
        };
        let call = call.bearer(narrow.token.expose()).header("origin", "http://elsewhere.example.org");
        tour.ask(server, &operation, call).await;
    }
}

/// Whoever comes with an identity of an issuer that cannot be asked.
async fn an_issuer_that_is_away(tour: &mut Tour, server: &Server) {
    let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let head = part(json!({"alg": "RS256", "kid": "1", "typ": "JWT"}));
    let identity = format!("{head}.{}.eA", part(json!({"iss": "http://127.0.0.1:1", "sub": "x"})));
    for operation in tour.that_answer(503) {
        let path = operation.at(operation.source(true), NOBODY, "demo").replace("sesame", "guessed");
        tour.ask(server, &operation, operation.call(&path).bearer(&identity)).await;
    }
}

/// Bodies and queries that are wrong in themselves.
async fn what_cannot_be_read(tour: &mut Tour, server: &Server) {
    for operation in tour.that_answer(400) {
        let path = operation.usual();
        for call in [
            operation.call(&format!("{path}?nonsense=%ff")),
            Call::new(&operation.method, &path, "{").bearer(TOKEN),
        ] {
            tour.ask(server, &operation, call.bearer(TOKEN)).await;
        }
    }
    for operation in tour.that_answer(413) {
        let call = Call::new(&operation.method, &operation.usual(), vec![b' '; 1_100_000]).bearer(TOKEN);
        tour.ask(server, &operation, call).await;
    }
    for operation in tour.that_answer(415) {
        let call = operation.call(&operation.usual()).bearer(TOKEN).header("content-encoding", "gzip");
        let answer = tour.ask(server, &operation, call).await;
        assert_eq!(answer.status, 415, "{}", operation.id);
    }
    for operation in tour.that_answer(422) {
        let call = Call::new(&operation.method, &operation.usual(), "{\"imaeg\":1}").bearer(TOKEN);
        tour.ask(server, &operation, call).await;
    }
}

async fn what_is_not_there(tour: &mut Tour, server: &Server) {
    for operation in tour.that_answer(404) {
        let path = operation.at("nobody", NOBODY, "no%20name").replace("bad-image", "nothing");
        tour.ask(server, &operation, operation.call(&path).bearer(TOKEN)).await;
    }
    for operation in tour.that_answer(405) {
        let call = Call::new(&operation.method, &operation.at("demo", "", ""), "");
        assert_eq!(tour.ask(server, &operation, call).await.status, 405, "{}", operation.id);
    }
}

async fn people(tour: &mut Tour, server: &Server) {
    let register = "/v1/session/register";
    tour.gets(server, "register", register, r#"{"user":"!","password":"correct horse battery"}"#, 422).await;
    tour.gets(server, "register", register, USER, 201).await;
    tour.gets(server, "register", register, USER, 409).await;
    let pair = tour.gets(server, "logIn", "/v1/session", USER, 200).await.json();
    let more = json!({"refresh_token": pair["refresh_token"]}).to_string();
    tour.gets(server, "refreshSession", "/v1/session/refresh", &more, 200).await;
    tour.gets(server, "showSession", "/v1/session", "", 200).await;
    let out = tour.operation("logOut");
    let call = Call::new("DELETE", "/v1/session", "").bearer(pair["access_token"].as_str().unwrap());
    assert_eq!(tour.ask(server, &out, call).await.status, 204);
}

async fn hooks(tour: &mut Tour, server: &Server) {
    let diun = |image: &str, status: &str| {
        json!({"diun_version": "4", "status": status, "image": image, "hostname": "h"}).to_string()
    };
    for key in ["", "/any"] {
        let id =
            |with: &str, without: &str| if key.is_empty() { without.to_owned() } else { with.to_owned() };
        let (push, get, may) =
            (id("pushWithKey", "push"), id("pushByGetWithKey", "pushByGet"), id("mayPushWithKey", "mayPush"));
        let at = |source: &str| format!("/hooks/{source}{key}");
        tour.gets(server, &push, &at("demo"), r#"{"image":"demo:7"}"#, 202).await;
        tour.gets(server, &push, &at("demo"), r#"{"image":"nobody:7"}"#, 200).await;
        tour.gets(server, &push, &at("demo"), r#"{"image":"demo"}"#, 422).await;
        tour.gets(server, &push, &at("demo"), r#"{"image":"remote:7"}"#, 503).await;
        tour.gets(server, &get, &at("look"), &diun("demo:8", "update"), 202).await;
        tour.gets(server, &get, &at("look"), &diun("demo:8", "unchanged"), 200).await;
        tour.gets(server, &get, &at("look"), &diun("remote:8", "update"), 503).await;
        let operation = tour.operation(&may);
        let call = operation.call(&at("bus"));
        assert_eq!(tour.ask(server, &operation, call).await.status, 200);
    }
}

/// Says that the next job that is made ends well, as its worker does.
fn ending(server: &Server) -> JoinHandle<()> {
    let (queue, before) = (Arc::clone(&server.queue), server.queue.published().len());
    tokio::spawn(async move {
        support::eventually(|| async { queue.published().len() > before }).await;
        let job = queue.published()[before].clone();
        for state in [State::Started, State::Succeeded] {
            queue.emit(&Event::of(&job, state, 1, 0)).await.unwrap();
        }
    })
}

async fn wishes(tour: &mut Tour, server: &Server) {
    let target = "/v1/targets/default/demo";
    for (id, path, body) in [
        ("createJobs", "/v1/jobs".to_owned(), r#"{"target":"demo","image":"demo:9"}"#),
        ("rollBack", format!("{target}/rollback"), ""),
        ("holdTarget", format!("{target}/hold"), ""),
    ] {
        tour.gets(server, id, &path, body, 202).await;
        let worker = ending(server);
        tour.gets(server, id, &format!("{path}?wait=60s"), body, 200).await;
        worker.await.unwrap();
    }
    tour.gets(server, "createJobs", "/v1/jobs", r#"{"target":"nobody","image":"demo:9"}"#, 404).await;
    tour.gets(server, "listJobs", "/v1/jobs", "", 200).await;
}

/// A job that says what its worker would.
async fn told(server: &Server, image: &str, states: &[State], why: &'static str) -> Job {
    let job = server.hook("/hooks/demo", &json!({"image": image}).to_string()).await;
    for state in states {
        let mut event = Event::of(&job, *state, 1, 0);
        event.data.reason = Some(Reason::new(why, "told by the test"));
        server.queue.emit(&event).await.unwrap();
    }
    server.reached(&job, *states.last().unwrap()).await;
    job
}

async fn dead(server: &Server, image: &str) -> Job {
    let job = told(server, image, &[State::Started, State::Dead], reason::UNREACHABLE).await;
    let why = Reason::new(reason::UNREACHABLE, "no route to the dock");
    server.queue.bury(job.encode().into(), &"default".parse().unwrap(), 3, &why).await.unwrap();
    job
}

async fn decisions(tour: &mut Tour, server: &Server) {
    let at = |job: &Job, what: &str| format!("/v1/jobs/{}/{what}", job.id);
    let ended = told(server, "demo:20", &[State::Started, State::Succeeded], reason::BUSY).await;
    for (id, what) in [
        ("replayJob", "replay"),
        ("discardJob", "discard"),
        ("cancelJob", "cancel"),
        ("approveJob", "approve"),
    ] {
        tour.gets(server, id, &at(&ended, what), "", 409).await;
    }
    tour.gets(server, "showJob", &format!("/v1/jobs/{}", ended.id), "", 200).await;
    for (id, what, code) in [("replayJob", "replay", 202), ("discardJob", "discard", 200)] {
        let job = dead(server, &format!("demo:2{code}")).await;
        tour.gets(server, id, &at(&job, what), "", code).await;
    }
    let waits = told(server, "held:1", &[State::Held], reason::NEEDS_APPROVAL).await;
    tour.gets(server, "cancelJob", &at(&waits, "cancel"), "", 202).await;
    let waits = told(server, "held:2", &[State::Held], reason::NEEDS_APPROVAL).await;
    tour.gets(server, "approveJob", &at(&waits, "approve"), "", 202).await;
    let release = |target: &str| format!("/v1/targets/default/{target}/release");
    tour.gets(server, "releaseTarget", &release("held"), "", 409).await;
    let job = server.hook("/hooks/demo", r#"{"image":"held:3"}"#).await;
    let mut event = Event::of(&job, State::RolledBack, 1, 0);
    let image = format!("held:3@sha256:{}", "7".repeat(64)).parse().unwrap();
    event.data.image = Some(proto::ImageChange { from: None, to: Some(image) });
    server.reach(&job, &[State::Started]).await;
    server.queue.emit(&event).await.unwrap();
    server.reached(&job, State::RolledBack).await;
    tour.gets(server, "releaseTarget", &release("held"), "", 202).await;
}

async fn streams(tour: &mut Tour, server: &Server) {
    let job = told(server, "demo:30", &[State::Started, State::Succeeded], reason::BUSY).await;
    let path = format!("/v1/jobs/{}/events", job.id);
    for (id, path) in [("followAll", "/v1/events"), ("followJob", path.as_str())] {
        let response = http::open(server.address, Call::get(path).bearer(TOKEN)).await.unwrap();
        tour.seen.insert((id.to_owned(), response.status().as_u16()));
    }
    let mut events = Events::open(server.address, Call::get(&path).bearer(TOKEN)).await;
    let mut last = None;
    while let Some(message) = events.next().await {
        last = message.id.or(last);
    }
    let operation = tour.operation("followJob");
    let call = Call::get(&path).bearer(TOKEN).header("last-event-id", &last.unwrap());
    assert_eq!(tour.ask(server, &operation, call).await.status, 204);
}

async fn the_server_itself(tour: &mut Tour, server: &Server) {
    for (id, path) in [
        ("isAlive", "/healthz"),
        ("isReady", "/readyz"),
        ("metrics", "/metrics"),
        ("describe", "/openapi.json"),
        ("problem", "/problems/bad-image"),
        ("page", "/"),
    ] {
        tour.gets(server, id, path, "", 200).await;
    }
    let queue = Faulty::serving(&["default"]).await;
    queue.there.send_replace(false);
    let blind = Server::with(queue, SECTIONS).await;
    tour.gets(&blind, "isReady", "/readyz", "", 503).await;
    // Nobody is asked to enter themselves there.
    tour.gets(&blind, "register", "/v1/session/register", USER, 403).await;
}

/// The head of a request whose body never comes.
async fn slow_bodies(tour: &mut Tour, folder: &Path) {
    let server = serving(&format!("limits: {{body_within: 300ms}}\n{}", access(folder))).await;
    let job = server.hook("/hooks/demo", JSON).await.id.to_string();
    for operation in tour.that_answer(408) {
        let path = operation.at(operation.source(false), &job, "demo");
        let head = format!(
            "{} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: 100\r\n\r\n",
            operation.method
        );
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut text = Vec::new();
        let _ = timeout(support::SOON, stream.read_to_end(&mut text))
            .await
            .expect("the connection was not closed");
        let code = String::from_utf8_lossy(&text).split(' ').nth(1).and_then(|code| code.parse().ok());
        tour.seen.insert((operation.id.clone(), code.unwrap_or_default()));
    }
}

async fn too_many(tour: &mut Tour) {
    let server = serving("limits: {clients: {per_second: 1, burst: 1}, loopback: true}\n").await;
    for operation in tour.that_answer(429) {
        let mut code = 0;
        for _ in 0..50 {
            let call = operation.call(&operation.usual()).bearer(TOKEN);
            let response = http::open(server.address, call).await.unwrap();
            code = response.status().as_u16();
            if code == 429 {
                break;
            }
        }
        tour.seen.insert((operation.id.clone(), code));
    }
}
