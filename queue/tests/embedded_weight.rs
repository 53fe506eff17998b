//! A hundred thousand jobs that wait, left by a process that was killed: they are there in a moment, and in little
//! memory.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use proto::PoolName;
use queue::{Queue, Settlement, embedded::Embedded};

const DIRECTORY: &str = "QUEUE_WEIGHT_DIRECTORY";
const PART: &str = "QUEUE_WEIGHT_PART";
const JOBS: usize = 100_000;

/// Bytes of one job, as it usually is.
const BODY: usize = 1024;

/// How long it may take to be back, from the call to the first job taken.
const OPEN_WITHIN: Duration = Duration::from_secs(1);

/// KiB that a process may need at most that opens the queue and works with it: its program and its cache.
const MOST_MEMORY: u64 = 64 * 1024;

#[test]
fn a_hundred_thousand_jobs_are_back_within_a_second_after_a_kill_and_in_little_memory() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Ok(dir) = std::env::var(DIRECTORY) {
        let dir = Path::new(&dir);
        return match std::env::var(PART).unwrap().as_str() {
            "fill" => runtime.block_on(fill_until_killed(dir)),
            _ => runtime.block_on(open_and_work(dir)),
        };
    }
    let dir = tempfile::TempDir::new().unwrap();
    let mut filling = part("fill", dir.path());
    let mut lines = BufReader::new(filling.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("filled")), "the child ended by itself");
    filling.kill().unwrap();
    filling.wait().unwrap();
    assert!(part("work", dir.path()).wait_with_output().unwrap().status.success());
}

fn part(name: &str, dir: &Path) -> Child {
    let test = "a_hundred_thousand_jobs_are_back_within_a_second_after_a_kill_and_in_little_memory";
    let stdout = if name == "fill" { Stdio::piped() } else { Stdio::inherit() };
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(DIRECTORY, dir).env(PART, name).stdout(stdout);
    command.spawn().unwrap()
}

fn pool() -> PoolName {
    "weight".parse().unwrap()
}

async fn fill_until_killed(dir: &Path) {
    let queue = Embedded::open(dir).unwrap();
    drop(queue.take(&pool(), 1).await.unwrap());
    let (pool, body) = (pool(), Bytes::from(vec![b'x'; BODY]));
    let publishing = stream::iter(0..JOBS).map(|_| queue.publish_body(&pool, body.clone()));
    let published = publishing.buffer_unordered(512).filter(|done| std::future::ready(done.is_ok())).count();
    assert_eq!(published.await, JOBS);
    println!("filled");
    std::future::pending().await
}

async fn open_and_work(dir: &Path) {
    let opening = Instant::now();
    let queue = Embedded::open(dir).unwrap();
    let mut takings = queue.take(&pool(), 64).await.unwrap();
    let first = takings.next().await.unwrap();
    let opened = opening.elapsed();
    first.settle(Settlement::Ack).await.unwrap();
    for _ in 0..2_000 {
        takings.next().await.unwrap().settle(Settlement::Ack).await.unwrap();
    }
    let memory = peak_memory();
    println!("{JOBS} jobs: open after a kill in {opened:?}, {memory} KiB at most");
    assert!(opened < OPEN_WITHIN, "{opened:?}");
    assert!(memory < MOST_MEMORY, "{memory} KiB");
    queue.close().await;
}

/// The most memory that this process ever had, in KiB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}
