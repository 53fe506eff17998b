//! How fast both engines carry words, each figure beside a baseline measured in the same run.
//!
//! `tests/run --exec cargo bench --offline -p queue`; what is measured and what came out: docs/speed.md. With the
//! argument `embedded` only that engine is measured, which needs no broker.

mod disk;
mod engine;
mod figures;
mod raw;

use std::time::Duration;

use anyhow::{Context, Result};
use figures::{Comparison, Floor};
use proto::{Cause, CauseKind, ChainId, Gates, Job, JobId, Operation, Timestamp};

/// Measurements of one figure; baseline and ours take turns, and the median of the ratios counts: a noisy
/// neighbour meets both.
const ROUNDS: usize = 7;

/// The same of the embedded engine: each takes a moment only, and a disk's syncs are of any length.
const ROUNDS_ON_DISK: usize = 21;

/// Callers at once.
const CALLERS: usize = 64;

/// Messages of one measurement.
const MESSAGES: usize = 6_400;

/// Publishes of one measurement that waits for the disk each time.
const SYNCED: usize = 200;

/// Messages sent one after another to time each.
const TIMED: usize = 500;

/// Bytes of a job as it travels.
const BODY: usize = 1024;

fn main() -> Result<()> {
    // `cargo test --benches` only wants to know that it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let only_embedded = std::env::args().any(|argument| argument == "embedded");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let results = runtime.block_on(async {
        let mut results = if only_embedded { Vec::new() } else { rabbitmq().await?.into() };
        results.extend(embedded().await?);
        anyhow::Ok(results)
    })?;
    let mut is_kept = true;
    for comparison in &results {
        println!("{comparison}");
        is_kept &= comparison.is_kept();
    }
    anyhow::ensure!(
        is_kept,
        "a figure is beyond its bound: run it again on a quiet machine before looking further"
    );
    Ok(())
}

async fn rabbitmq() -> Result<[Comparison; 3]> {
    let uri = std::env::var("LONGSHORE_TEST_AMQP")
        .context("LONGSHORE_TEST_AMQP names no broker: run this through tests/run --exec")?;
    let raw = raw::Raw::open(&uri).await?;
    let amqp = engine::amqp(&uri).await?;
    let mut publish =
        Comparison::rates("publish on RabbitMQ, 64 callers", "raw lapin, confirmed", Floor(0.8));
    let mut take = Comparison::rates("take and settle on RabbitMQ", "raw consume and ack", Floor(0.5));
    for _ in 0..ROUNDS {
        publish.baseline(raw.publish(MESSAGES).await?);
        publish.ours(amqp.publish(MESSAGES).await?);
        take.baseline(raw.take(MESSAGES).await?);
        take.ours(amqp.take(MESSAGES).await?);
    }
    let mut delay =
        Comparison::delays("published until taken on RabbitMQ", "raw lapin", Duration::from_millis(1));
    for _ in 0..ROUNDS {
        delay.baseline(raw.median_delay(TIMED).await?);
        delay.ours(amqp.median_delay(TIMED).await?);
    }
    Ok([publish, take, delay])
}

async fn embedded() -> Result<[Comparison; 2]> {
    let folder = tempfile::tempdir().context("make a directory")?;
    let embedded = engine::embedded(folder.path()).await?;
    let mut publish = Comparison::rates("publish embedded, 64 callers", "one fsync each", Floor(10.0));
    let mut take = Comparison::rates("take and settle embedded, one by one", "one fsync each", Floor(0.25));
    for _ in 0..ROUNDS_ON_DISK {
        publish.baseline(disk::write_and_sync(folder.path(), SYNCED).await?);
        publish.ours(embedded.publish(MESSAGES).await?);
        take.baseline(disk::write_and_sync(folder.path(), SYNCED).await?);
        take.ours(embedded.take(SYNCED).await?);
    }
    Ok([publish, take])
}

/// A job of [`BODY`] bytes for a target of the default pool.
fn job() -> Result<Job> {
    let id = JobId::mint(Timestamp::now(), None);
    let operation = Operation::SetImage { image: "acme/web:1".parse()?, service: None };
    let mut job = Job {
        version: Job::VERSION,
        id,
        chain: ChainId::of(id),
        target: "web".parse()?,
        slots: operation.slots(),
        operation,
        cause: Cause { kind: CauseKind::Api, source: None, by: Some(String::new()), delivery: None },
        accepted_at: Timestamp::now(),
        not_before: None,
        deadline: Timestamp::now() + Duration::from_secs(3600),
        gates: Gates::default(),
        replays: None,
        traceparent: None,
    };
    let length = job.encode().len();
    job.cause.by = Some("x".repeat(BODY.saturating_sub(length)));
    Ok(job)
}

/// So many jobs, made before the clock runs.
fn jobs(count: usize) -> Result<Vec<Job>> {
    (0..count).map(|_| job()).collect()
}
