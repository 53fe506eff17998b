//! The second listener: hooks, and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

mod support;

use support::{
    Server, TEXT, TOKEN,
    faulty::Faulty,
    http::{self, Call},
};

#[tokio::test]
async fn hooks_are_taken_and_nothing_else_is_there() {
    let server = Server::with_hooks_listener(Faulty::serving(&["default"]).await, TEXT).await.ready().await;
    let hooks = server.hooks.unwrap();
    let pushed =
        http::send(hooks, Call::post("/hooks/keyed?key=sesame", r#"{"image":"demo:2"}"#)).await.unwrap();
    assert_eq!(pushed.status, 202, "{}", pushed.text());
    let pushed = http::send(hooks, Call::post("/hooks/keyed/sesame", r#"{"image":"demo:3"}"#)).await.unwrap();
    assert_eq!(pushed.status, 202, "{}", pushed.text());
    // What is linked can be read where the link leads.
    let link = pushed.json()["jobs"][0]["status_url"].as_str().unwrap().to_owned();
    let path = link.strip_prefix(&format!("http://{}", server.address)).unwrap_or_else(|| panic!("{link}"));
    assert_eq!(server.get(path).await.status, 200);
    let wrong = http::send(hooks, Call::post("/hooks/keyed?key=x", r#"{"image":"demo:2"}"#)).await.unwrap();
    wrong.is_problem(401, "wrong-key");
    http::send(hooks, Call::get("/hooks/keyed")).await.unwrap().is_problem(405, "method-not-allowed");
    for path in [
        "/",
        "/v1/jobs",
        "/v1/targets",
        "/v1/events",
        "/metrics",
        "/readyz",
        "/healthz",
        "/openapi.json",
        "/problems/bad-image",
        "/hooks",
        "/hooks/",
    ] {
        let nothing = http::send_anywhere(hooks, Call::get(path).bearer(TOKEN)).await.unwrap();
        nothing.is_problem(404, "not-found");
    }
    let wish = Call::post("/v1/jobs", r#"{"target":"demo","image":"demo:9"}"#).bearer(TOKEN);
    http::send_anywhere(hooks, wish).await.unwrap().is_problem(404, "not-found");
    assert_eq!(server.queue.published().len(), 2);
    server.stop().await;
    assert!(http::send(hooks, Call::get("/")).await.is_err(), "it still listens");
}
