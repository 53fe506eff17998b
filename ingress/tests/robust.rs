//! Callers who mean harm, or do it: slow, large, deep, packed, many.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

mod support;

use std::{net::SocketAddr, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use proto::State;
use queue::Queue;
use support::{
    SOON, Server, TEXT, TOKEN, eventually,
    faulty::Faulty,
    http::{self, Call, Events},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

async fn server(limits: &str) -> Server {
    let text = format!("{TEXT}limits: {{{limits}}}\n");
    Server::with(Faulty::serving(&["default"]).await, &text).await.ready().await
}

async fn connect(address: SocketAddr, sent: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    stream
}

/// A connection that is not closed again, as one too many would be.
async fn held(address: SocketAddr) -> TcpStream {
    loop {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let heard = timeout(Duration::from_millis(200), stream.read(&mut [0])).await;
        if heard.is_err() {
            return stream;
        }
    }
}

/// Everything that is answered until the connection is closed.
async fn answered(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    // A reset ends it as well.
    let _ = timeout(SOON, stream.read_to_end(&mut text)).await.expect("the connection was not closed");
    String::from_utf8_lossy(&text).into_owned()
}

async fn is_served(address: SocketAddr) -> bool {
    let asked = http::send(address, Call::get("/nothing"));
    matches!(timeout(Duration::from_millis(300), asked).await, Ok(Ok(answer)) if answer.status == 404)
}

#[tokio::test]
async fn a_head_that_never_ends_is_given_up() {
    let server = server("head_within: 400ms").await;
    let stream = connect(server.address, "GET / HTTP/1.1\r\nhost: x\r\nx-slow: ").await;
    let (mut read, mut write) = stream.into_split();
    let dribbling = tokio::spawn(async move {
        while write.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut text = Vec::new();
    let _ = timeout(SOON, read.read_to_end(&mut text)).await.expect("the connection was not closed");
    dribbling.abort();
    // One that asks nothing is no better.
    answered(&mut connect(server.address, "").await).await;
}

#[tokio::test]
async fn a_body_that_never_ends_is_answered_in_time() {
    let server = server("body_within: 400ms").await;
    for head in ["content-length: 100", "transfer-encoding: chunked"] {
        let head = format!("POST /hooks/demo HTTP/1.1\r\nhost: x\r\n{head}\r\n\r\n");
        let mut stream = connect(server.address, &head).await;
        let told = answered(&mut stream).await;
        assert!(told.starts_with("HTTP/1.1 408 "), "{told}");
        assert!(told.contains("/problems/too-slow") && told.contains("within 400ms"), "{told}");
    }
    assert!(server.queue.published().is_empty());
}

#[tokio::test]
async fn heads_are_bounded_in_size_and_number() {
    let server = server("").await;
    let large = format!("x: {}\r\n", "x".repeat(20_000));
    let many: String = (0..150).map(|number| format!("x-{number}: 1\r\n")).collect();
    for headers in [large, many] {
        let mut stream =
            connect(server.address, &format!("GET / HTTP/1.1\r\nhost: x\r\n{headers}\r\n")).await;
        let told = answered(&mut stream).await;
        assert!(told.starts_with("HTTP/1.1 431 "), "{told}");
    }
    let path = "x".repeat(20_000);
    let told = answered(&mut connect(server.address, &format!("GET /{path} HTTP/1.1\r\n\r\n")).await).await;
    assert!(told.starts_with("HTTP/1.1 431 ") || told.starts_with("HTTP/1.1 414 "), "{told}");
}

#[tokio::test]
async fn bodies_are_bounded_whether_they_say_their_size_or_not() {
    let server = server("").await;
    let head = "POST /hooks/demo HTTP/1.1\r\nhost: x\r\n";
    // Refused for what it says, before anything of it has come.
    let mut stream = connect(server.address, &format!("{head}content-length: 5000000000\r\n\r\n")).await;
    let mut start = [0; 12];
    timeout(SOON, stream.read_exact(&mut start)).await.unwrap().unwrap();
    assert_eq!(&start, b"HTTP/1.1 413");
    let mut stream = connect(server.address, &format!("{head}transfer-encoding: chunked\r\n\r\n")).await;
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    for _ in 0..200 {
        if stream.write_all(chunk.as_bytes()).await.is_err() {
            break;
        }
    }
    let mut start = [0; 12];
    if timeout(SOON, stream.read_exact(&mut start)).await.unwrap().is_ok() {
        assert_eq!(&start, b"HTTP/1.1 413");
    }
    assert!(server.queue.published().is_empty());
}

#[tokio::test]
async fn what_is_nested_too_deep_is_refused() {
    let kinds = ingress::Kind::ALL.iter().map(|kind| kind.name()).filter(|kind| *kind != "poll");
    let kinds: Vec<&str> = kinds.collect();
    let sources: String =
        kinds.iter().map(|kind| format!("  {kind}: {{kind: {kind}, open: true}}\n")).collect();
    let text = TEXT.replace("sources:\n", &format!("sources:\n{sources}"));
    let server = Server::with(Faulty::serving(&["default"]).await, &text).await.ready().await;
    let depth = 100_000;
    let deep = [
        "[".repeat(depth),
        "{\"a\":".repeat(depth),
        format!("{}{}", "[".repeat(depth), "]".repeat(depth)),
        format!("{{\"image\":{}1{}}}", "[".repeat(depth), "]".repeat(depth)),
    ];
    for body in &deep {
        for kind in &kinds {
            // Those that read no body have nothing to refuse.
            let answer = server.call(Call::post(&format!("/hooks/{kind}"), body)).await;
            let no_body = *kind == "portainer" && answer.status < 300;
            assert!(no_body || answer.status == 400, "{kind}: {} {}", answer.status, answer.text());
        }
        for path in ["jobs", "targets/default/demo/plan", "targets/default/demo/rollback", "targets/find"] {
            server.post(&format!("/v1/{path}"), body).await.is_problem(400, "not-json");
        }
    }
    // What lies in another body is read the same way.
    for data in &deep {
        let wrapped =
            serde_json::json!({"message": {"data": BASE64_STANDARD.encode(data), "messageId": "1"}});
        let answer = server.call(Call::post("/hooks/google-ar", wrapped.to_string())).await;
        assert!([200, 400].contains(&answer.status), "{}", answer.text());
    }
    assert!(server.queue.published().is_empty());
}

#[tokio::test]
async fn nothing_is_unpacked() {
    let server = server("").await;
    let body = r#"{"image":"demo:2"}"#;
    for coding in ["gzip", "deflate, gzip", "br", "zstd", "x"] {
        let answer = server.call(Call::post("/hooks/demo", body).header("content-encoding", coding)).await;
        answer.is_problem(415, "encoded-body");
        assert_eq!(answer.header("accept-encoding"), Some("identity"));
    }
    assert!(server.queue.published().is_empty());
    let plain = Call::post("/hooks/demo", body).header("content-encoding", "identity");
    assert_eq!(server.call(plain).await.status, 202);
}

#[tokio::test]
async fn connections_are_bounded_on_each_listener_of_its_own() {
    let text = format!("{TEXT}limits: {{connections: 3}}\n");
    let server = Server::with_hooks_listener(Faulty::serving(&["default"]).await, &text).await.ready().await;
    let hooks = server.hooks.unwrap();
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(connect(hooks, "POST ").await);
    }
    eventually(|| async { !is_served(hooks).await }).await;
    assert_eq!(server.get("/healthz").await.status, 200);
    waiting.pop();
    eventually(|| is_served(hooks)).await;
}

#[tokio::test]
async fn one_address_has_its_share_of_connections() {
    let server = server("connections_per_client: 2, loopback: true, clients: {per_second: 0}").await;
    let one = held(server.address).await;
    let _other = held(server.address).await;
    eventually(|| async { !is_served(server.address).await }).await;
    drop(one);
    eventually(|| is_served(server.address)).await;
}

#[tokio::test]
async fn one_address_has_its_share_of_streams() {
    let server = server("streams_per_client: 1, loopback: true, clients: {per_second: 0}").await;
    let job = server.hook("/hooks/demo", r#"{"image":"demo:2"}"#).await;
    let own = format!("/v1/jobs/{}/events", job.id);
    let first = Events::open(server.address, Call::get("/v1/events").bearer(TOKEN)).await;
    for path in ["/v1/events", &own] {
        server.get(path).await.is_problem(429, "too-many-streams");
    }
    drop(first);
    let is_free = || async {
        let answer = http::open(server.address, Call::get("/v1/events").bearer(TOKEN)).await.unwrap();
        answer.status() == 200
    };
    eventually(is_free).await;
}

#[tokio::test]
async fn a_reader_that_reads_nothing_is_given_up() {
    let limits = "streams_per_client: 1, loopback: true, clients: {per_second: 0}, answer_within: 400ms";
    let server = server(limits).await;
    let job = server.hook("/hooks/demo", r#"{"image":"demo:2"}"#).await;
    let call = format!("GET /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\r\n");
    let mut stream = connect(server.address, &call).await;
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    server.get("/v1/events").await.is_problem(429, "too-many-streams");
    let mut said = 0;
    // More than what the sockets hold.
    while said < 1_500 {
        for _ in 0..100 {
            said += 1;
            let mut event = proto::Event::of(&job, State::Retrying, said, 0);
            event.data.output = vec!["x".repeat(8_000)];
            server.queue.emit(&event).await.unwrap();
        }
    }
    let is_free = || async {
        let answer = http::open(server.address, Call::get("/v1/events").bearer(TOKEN)).await.unwrap();
        answer.status() == 200
    };
    eventually(is_free).await;
}

#[tokio::test]
async fn whoever_hangs_on_does_not_keep_the_server_from_its_end() {
    let text = format!("{TEXT}limits: {{body_within: 2s}}\n");
    let server = Server::with_hooks_listener(Faulty::serving(&["default"]).await, &text).await.ready().await;
    let hooks = server.hooks.unwrap();
    let mut open = Vec::new();
    for address in [server.address, hooks] {
        open.push(connect(address, "").await);
        open.push(connect(address, "POST /hooks/demo HTTP/1.1\r\nx: ").await);
        open.push(
            connect(address, "POST /hooks/demo HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n").await,
        );
    }
    assert!(is_served(hooks).await);
    // Those who have asked have their time, and no more.
    timeout(Duration::from_secs(15), server.stop()).await.unwrap();
}
