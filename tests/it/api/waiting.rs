//! Callers who wait: longer than what is between lasts, over restarts, and without reading.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::join_all;
use serde_json::{Value, json};
use tests::{
    fault_proxy::FaultProxy,
    fleet::{Engine, Fleet},
    http,
    sse::EventStream,
    wait::eventually,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const SOON: Duration = Duration::from_secs(60);

const SECTIONS: &str = "
sources: {demo: {kind: plain, open: true, loopback_only: true}}
systems: {stage: {kind: rehearsal}}
targets: {slow: {at: stage, takes: 3s}, demo: {at: stage, follow: 'demo:*', takes: 20ms}}
";

async fn fleet() -> Result<Fleet> {
    let mut fleet = Fleet::prepare(Engine::Embedded).await?;
    fleet.configure(SECTIONS)?;
    fleet.start().await?;
    Ok(fleet)
}

#[tokio::test]
async fn a_wait_that_is_cut_off_is_taken_up_again_with_the_same_key() {
    let fleet = fleet().await.unwrap();
    let proxy = FaultProxy::start(&fleet.address).await.unwrap();
    let wish = json!({"target": "slow", "image": "demo:1"});
    let ask = |url: String| fleet.post_to(&url, &wish).header("idempotency-key", "of-a-pipeline");
    let path = "/v1/jobs?wait=60s";
    let url = format!("http://{}{path}", proxy.address());
    let patient = tokio::spawn(http::answer(ask(url)));
    let id = eventually(SOON, "the job to be made", || async {
        let (_, page) = http::answer(fleet.get("/v1/jobs")).await?;
        page["jobs"][0]["id"].as_str().map(str::to_owned).context("no job yet")
    })
    .await
    .unwrap();
    proxy.cut();
    assert!(patient.await.unwrap().is_err(), "the proxy let an answer through");
    let (status, told) = http::answer(ask(fleet.url(path))).await.unwrap();
    let job = &told["jobs"][0];
    assert_eq!(
        (status.as_u16(), &job["id"], &job["state"]),
        (200, &json!(id), &json!("succeeded")),
        "{told}"
    );
    let (_, page) = http::answer(fleet.get("/v1/jobs")).await.unwrap();
    assert_eq!(page["jobs"].as_array().unwrap().len(), 1, "{page}");
}

#[tokio::test]
async fn a_stream_and_a_key_go_on_after_a_restart() {
    let mut fleet = fleet().await.unwrap();
    let wish = json!({"target": "demo", "image": "demo:1"});
    let ask = |fleet: &Fleet, wish: &Value| {
        http::answer(fleet.post("/v1/jobs?wait=60s", wish).header("idempotency-key", "one"))
    };
    let mut events = fleet.events("/v1/events").await.unwrap();
    let (status, first) = ask(&fleet, &wish).await.unwrap();
    assert_eq!(status.as_u16(), 200, "{first}");
    let heard = events.next(SOON).await.unwrap().unwrap();
    assert_eq!(heard.event, "longshore.job.accepted");
    drop(events);
    fleet.kill().await.unwrap();
    fleet.start().await.unwrap();
    let mut events =
        EventStream::open(fleet.get("/v1/events").header("last-event-id", &heard.id)).await.unwrap();
    let mut missed = Vec::new();
    while missed.last().is_none_or(|event| event != "longshore.job.succeeded") {
        missed.push(events.next(SOON).await.unwrap().unwrap().event);
    }
    assert!(!missed.contains(&heard.event), "{missed:?}");
    let (status, again) = ask(&fleet, &wish).await.unwrap();
    assert_eq!((status.as_u16(), &again["jobs"][0]["id"]), (200, &first["jobs"][0]["id"]), "{again}");
    let (status, refused) = ask(&fleet, &json!({"target": "demo", "image": "demo:2"})).await.unwrap();
    assert_eq!((status.as_u16(), &refused["type"]), (422, &json!("/problems/idempotency-key-reused")));
}

#[tokio::test]
async fn readers_that_do_not_read_hold_no_memory() {
    let fleet = fleet().await.unwrap();
    let open = || async {
        let mut stream = TcpStream::connect(&fleet.address).await.context("connect")?;
        let token = std::fs::read_to_string(fleet.folder().join("token"))?;
        let call = format!("GET /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n");
        stream.write_all(call.as_bytes()).await?;
        let mut start = [0; 12];
        stream.read_exact(&mut start).await?;
        ensure!(&start == b"HTTP/1.1 200", "{}", String::from_utf8_lossy(&start));
        Ok(stream)
    };
    push(&fleet, 100).await.unwrap();
    let before = super::memory(&fleet).unwrap();
    let readers: Result<Vec<TcpStream>> = join_all((0..200).map(|_| open())).await.into_iter().collect();
    let readers = readers.unwrap();
    push(&fleet, 300).await.unwrap();
    let after = super::memory(&fleet).unwrap();
    println!("readers: {} KiB before, {} KiB with 200 that do not read", before / 1024, after / 1024);
    // Each has what a connection takes and a few messages; the events themselves would be ten times that.
    assert!(after < before + (60 << 20), "from {} to {} KiB", before / 1024, after / 1024);
    drop(readers);
}

async fn push(fleet: &Fleet, count: usize) -> Result<()> {
    let wishes: Vec<Value> =
        (0..count).map(|number| json!({"target": "demo", "image": format!("demo:{number}")})).collect();
    let (status, told) = http::answer(fleet.post("/v1/jobs?wait=60s", &json!(wishes))).await?;
    ensure!(status == 200, "{status}: {told}");
    Ok(())
}
