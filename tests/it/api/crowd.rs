//! Ten thousand connections at once, that ask nothing, half of a question, or half of a body.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tests::{
    fleet::{Engine, Fleet},
    http,
    wait::eventually,
};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

use super::memory;

const CONNECTIONS: usize = 10_000;
/// What one connection may cost the server, in bytes: the half head that it holds, and what serves it.
const EACH: usize = 32 * 1024;
const SOON: Duration = Duration::from_secs(60);

const SECTIONS: &str = "
sources: {demo: {kind: plain, open: true, loopback_only: true}}
systems: {stage: {kind: rehearsal}}
targets: {demo: {at: stage, follow: 'demo:*'}}
limits: {connections: 10100, head_within: 5m, body_within: 5m}
";

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_open_connections_are_survived_in_bounded_memory() {
    allow_files(CONNECTIONS as u64 + 500).unwrap();
    let mut fleet = Fleet::prepare(Engine::Embedded).await.unwrap();
    fleet.configure(SECTIONS).unwrap();
    fleet.start().await.unwrap();
    push(&fleet, "demo:1").await.unwrap();
    let idle = memory(&fleet).unwrap();
    let crowd = crowd(&fleet).await.unwrap();
    let first = settled(&fleet).await.unwrap();
    push(&fleet, "demo:2").await.unwrap();
    drop(crowd);
    gone(&fleet).await.unwrap();
    let again = self::crowd(&fleet).await.unwrap();
    let second = settled(&fleet).await.unwrap();
    push(&fleet, "demo:3").await.unwrap();
    drop(again);
    gone(&fleet).await.unwrap();
    let kib = |bytes: usize| bytes / 1024;
    println!(
        "crowd: idle {} KiB, with 10,000 connections {} KiB, once more {} KiB",
        kib(idle),
        kib(first),
        kib(second)
    );
    assert!(first < idle + CONNECTIONS * EACH, "{} KiB each", kib(first.saturating_sub(idle)) / CONNECTIONS);
    // What the first crowd took was given back, or is used again.
    // One that kept what each connection held would double it.
    assert!(second < first + (first - idle) / 2, "it grows: from {} to {} KiB", kib(first), kib(second));
}

async fn push(fleet: &Fleet, image: &str) -> Result<()> {
    let (status, told) = http::answer(fleet.post("/hooks/demo", &json!({"image": image}))).await?;
    ensure!(status == 202, "{status}: {told}");
    Ok(())
}

async fn crowd(fleet: &Fleet) -> Result<Vec<TcpStream>> {
    let connect = |number: usize| async move {
        let mut stream = TcpStream::connect(&fleet.address).await.context("connect")?;
        let sent = match number % 4 {
            0 => String::new(),
            1 | 2 => format!("POST /hooks/demo HTTP/1.1\r\nhost: x\r\nx: {}", "x".repeat(4_000)),
            _ => format!(
                "POST /hooks/demo HTTP/1.1\r\nhost: x\r\ncontent-length: 9000\r\n\r\n{}",
                "x".repeat(4_000)
            ),
        };
        stream.write_all(sent.as_bytes()).await.context("send")?;
        Ok(stream)
    };
    stream::iter(0..CONNECTIONS).map(connect).buffer_unordered(100).try_collect().await
}

/// The memory once all connections are there and what they sent was read.
async fn settled(fleet: &Fleet) -> Result<usize> {
    eventually(SOON, "the server to have all connections", || async {
        let open = open_files(fleet)?;
        ensure!(open >= CONNECTIONS, "{open} files are open");
        Ok(())
    })
    .await?;
    // It has settled once it has not grown for a while.
    let grown_no_more = async {
        let mut last = memory(fleet)?;
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = memory(fleet)?;
            if now <= last + last / 50 {
                return Ok(now);
            }
            last = now;
        }
    };
    timeout(SOON, grown_no_more).await.context("the server's memory grows on and on")?
}

async fn gone(fleet: &Fleet) -> Result<()> {
    eventually(SOON, "the connections to be gone", || async {
        let open = open_files(fleet)?;
        ensure!(open < 200, "{open} files are open");
        Ok(())
    })
    .await
}

fn open_files(fleet: &Fleet) -> Result<usize> {
    let folder = format!("/proc/{}/fd", fleet.process("longshore")?.id()?);
    Ok(std::fs::read_dir(folder).context("count open files")?.count())
}

/// Lets this process have so many files open.
fn allow_files(wanted: u64) -> Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < wanted) {
        let maximum = maximum.map(|maximum| maximum.max(wanted));
        let raised = Rlimit { current: Some(wanted), maximum };
        setrlimit(Resource::Nofile, raised)
            .context("raise how many files may be open: `ulimit -n 10500` has to work")?;
    }
    Ok(())
}
