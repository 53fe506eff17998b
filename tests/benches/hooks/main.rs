//! How many hooks a second are answered once they are kept, beside the least that could answer them so.
//!
//! `tests/run --exec cargo bench --offline -p tests --bench hooks`; what is measured and what came out: docs/speed.md.

mod bare;
mod callers;
mod hooks;
mod ours;
mod package;

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::callers::Callers;
use crate::hooks::Hooks;

/// Measurements of one figure; baseline and ours take turns, and the median of the ratios counts.
const ROUNDS: usize = 5;

/// Hooks of one measurement.
const COUNT: usize = 6_400;

/// Hooks a second where it is measured how long each takes, and for how long they come.
const PACE: u32 = 500;
const PACED: Duration = Duration::from_secs(5);

/// Of what the bare handler does over RabbitMQ.
const LEAST_ON_BROKER: f64 = 0.8;
/// Of what Debian's `webhook` does, which keeps nothing.
const LEAST_EMBEDDED: f64 = 1.0;
/// Bytes of the idle ingress.
const MOST_IDLE: u64 = 12 * 1024 * 1024;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match arguments.get(1).map(String::as_str) {
        // `cargo test --benches` only wants to know that it starts.
        _ if arguments.iter().any(|argument| argument == "--test") => Ok(()),
        Some(bare::ARGUMENT) => runtime.block_on(bare::serve()),
        _ => runtime.block_on(measure()),
    }
}

async fn measure() -> Result<()> {
    let broker = on_broker().await?;
    let embedded = embedded().await?;
    ensure!(
        broker && embedded,
        "a figure is beyond its bound: run it again on a quiet machine before looking further"
    );
    Ok(())
}

async fn on_broker() -> Result<bool> {
    let fleet = ours::on_broker().await?;
    let idle = fleet.memory()?;
    let bare = bare::start().await?;
    let ratio = in_turns("on RabbitMQ", "bare axum and lapin", bare.address(), fleet.address()).await?;
    let loaded = fleet.memory()?;
    tell_delays("on RabbitMQ", fleet.address()).await?;
    println!(
        "memory of the ingress: {:.1} MiB idle, {:.1} MiB after {} hooks (at most {} MiB idle)",
        mebibytes(idle),
        mebibytes(loaded),
        COUNT * ROUNDS,
        MOST_IDLE >> 20,
    );
    Ok(ratio >= LEAST_ON_BROKER && idle < MOST_IDLE)
}

async fn embedded() -> Result<bool> {
    let fleet = ours::embedded().await?;
    let package = package::start().await?;
    let ratio =
        in_turns("embedded", "Debian's webhook, not durable", package.address(), fleet.address()).await?;
    tell_delays("embedded", fleet.address()).await?;
    println!("one fsync: {:.2} ms, the median of {}", hooks::fsync()?.as_secs_f64() * 1e3, hooks::SYNCS);
    println!("memory of webhook after it: {:.1} MiB", mebibytes(package.memory()?));
    Ok(ratio >= LEAST_EMBEDDED)
}

/// The median of ours by the baseline's.
async fn in_turns(what: &str, beside: &str, baseline: &str, ours: &str) -> Result<f64> {
    let (mut theirs, mut own, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let their_rate = Callers::connect(baseline).await?.send(Hooks::signed(COUNT)).await?;
        let own_rate = Callers::connect(ours).await?.send(Hooks::signed(COUNT)).await?;
        ratios.push(own_rate / their_rate);
        theirs.push(their_rate);
        own.push(own_rate);
    }
    let ratio = median(ratios);
    println!(
        "hooks {what}: {:.0}/s beside {:.0}/s ({beside}): {ratio:.2} times, medians",
        median(own),
        median(theirs)
    );
    Ok(ratio)
}

/// How long a hook takes when they come at a pace, counted from when it was due.
async fn tell_delays(what: &str, address: &str) -> Result<()> {
    let count = PACE as usize * usize::try_from(PACED.as_secs())?;
    let mut delays = Callers::connect(address).await?.paced(Hooks::signed(count), PACE).await?;
    delays.sort_unstable();
    let at = |share: usize| {
        delays.get(delays.len() * share / 100).copied().unwrap_or_default().as_secs_f64() * 1e3
    };
    println!("hooks {what} at {PACE}/s: p50 {:.2} ms, p99 {:.2} ms", at(50), at(99));
    Ok(())
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The middle one.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
