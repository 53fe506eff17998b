//! How often one address and one source may ask.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

mod support;

use support::{
    Server, TEXT,
    faulty::Faulty,
    http::{Answer, Call},
};

const BODY: &str = r#"{"image":"nobody/follows:1"}"#;

async fn server(limits: &str) -> Server {
    let text = format!("{TEXT}limits: {{{limits}}}\n");
    Server::with(Faulty::serving(&["default"]).await, &text).await.ready().await
}

async fn push(server: &Server, path: &str, from: &str) -> Answer {
    server.call(Call::post(path, BODY).header("x-forwarded-for", from)).await
}

#[tokio::test]
async fn one_address_may_ask_so_often_and_is_told_when_to_come_back() {
    let server = server("clients: {per_second: 1, burst: 20}, loopback: true").await;
    let mut refused = None;
    for _ in 0..60 {
        let answer = server.call(Call::post("/hooks/demo", BODY)).await;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("nothing was refused");
    refused.is_problem(429, "too-many-requests");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.call(Call::get(path)).await.status, 200);
    }
    tokio::time::sleep(std::time::Duration::from_secs(wait)).await;
    let metrics = server.call(Call::get("/metrics")).await;
    assert!(metrics.text().contains("longshore_hooks_refused_total{reason=\"too-many-requests\"} 1\n"));
}

#[tokio::test]
async fn this_machine_may_ask_as_often_as_it_likes_unless_it_passes_on() {
    let server = server("clients: {per_second: 1, burst: 1}").await;
    for _ in 0..10 {
        assert_eq!(server.call(Call::post("/hooks/demo", BODY)).await.status, 200);
    }
    // Nobody said that this proxy is to be believed: all behind it are one.
    push(&server, "/hooks/keyed?key=sesame", "198.51.100.1").await;
    push(&server, "/hooks/keyed?key=sesame", "198.51.100.2").await.is_problem(429, "too-many-requests");
}

#[tokio::test]
async fn those_behind_a_trusted_proxy_are_told_apart() {
    let server = server("clients: {per_second: 1, burst: 1}, trusted_proxies: [127.0.0.1]").await;
    for from in ["198.51.100.1", "198.51.100.2", "1.2.3.4, 198.51.100.3"] {
        assert_eq!(push(&server, "/hooks/keyed?key=sesame", from).await.status, 200, "{from}");
    }
    // What it writes itself does not make it another.
    push(&server, "/hooks/keyed?key=sesame", "5.6.7.8, 198.51.100.3")
        .await
        .is_problem(429, "too-many-requests");
}

#[tokio::test]
async fn one_source_may_push_so_often_and_strangers_use_up_nothing() {
    let limits = "clients: {per_second: 0}, sources: {per_second: 1, burst: 2}, loopback: true";
    let server = server(limits).await;
    for _ in 0..10 {
        let stranger = server.call(Call::post("/hooks/keyed?key=x", BODY)).await;
        stranger.is_problem(401, "wrong-key");
    }
    let mut told = Vec::new();
    for _ in 0..12 {
        told.push(server.call(Call::post("/hooks/keyed?key=sesame", BODY)).await);
    }
    assert_eq!((told[0].status, told[1].status), (200, 200));
    let refused = told.iter().find(|answer| answer.status != 200).expect("nothing was refused");
    refused.is_problem(429, "too-many-requests");
    assert_eq!(server.call(Call::post("/hooks/demo", BODY)).await.status, 200);
}

#[tokio::test]
async fn a_hook_may_be_as_large_as_is_said_and_a_call_may_not() {
    let usual = server("loopback: false").await;
    let large = serde_json::json!({"image": "unknown:1", "id": "x".repeat(1_500_000)}).to_string();
    let refused = usual.call(Call::post("/hooks/demo", large.clone())).await;
    refused.is_problem(413, "too-large");
    assert!(refused.text().contains("limits.body"), "{}", refused.text());
    let server = server("body: 2MiB").await;
    assert_eq!(server.call(Call::post("/hooks/demo", large.clone())).await.status, 200);
    server.post("/v1/jobs", large).await.is_problem(413, "too-large");
}
