//! How many hooks a second are answered once they are kept, beside the least that could answer them so.
//!
//! `tests/run --exec cargo bench --offline -p tests --bench hooks`, with `-- broker` or `-- embedded` that part alone; what is measured and what came out: docs/speed.md.

mod bare;
mod callers;
mod hooks;
mod ours;
mod package;
mod processor;

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::callers::Callers;
use crate::hooks::Hooks;
use crate::processor::Spent;

/// Has this program measure that part alone.
const BROKER: &str = "broker";
const EMBEDDED: &str = "embedded";

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
        Some(bare::ARGUMENT) => {
            runtime.block_on(bare::serve(arguments.get(2).context("no broker is named")?))
        }
        _ => {
            let is_left_out = |part| arguments.iter().any(|argument| argument == part);
            runtime.block_on(measure(!is_left_out(EMBEDDED), !is_left_out(BROKER)))
        }
    }
}

async fn measure(on_broker_too: bool, embedded_too: bool) -> Result<()> {
    let broker = !on_broker_too || on_broker().await?;
    let embedded = !embedded_too || embedded().await?;
    ensure!(
        broker && embedded,
        "a figure is beyond its bound: run it again on a quiet machine before looking further"
    );
    Ok(())
}

async fn on_broker() -> Result<bool> {
    let declared = ours::declared().await?;
    let fleet = ours::on_broker().await?;
    let idle = fleet.memory()?;
    let bare = bare::start(&declared).await?;
    let beside = ("bare axum and lapin", Callee { address: bare.address(), process: bare.id()? });
    let own = Callee { address: fleet.address(), process: fleet.id()? };
    let ratio = in_turns("on RabbitMQ", beside, own).await?;
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
    let beside =
        ("Debian's webhook, not durable", Callee { address: package.address(), process: package.id()? });
    let own = Callee { address: fleet.address(), process: fleet.id()? };
    let ratio = in_turns("embedded", beside, own).await?;
    tell_delays("embedded", fleet.address()).await?;
    println!("one fsync: {:.2} ms, the median of {}", hooks::fsync()?.as_secs_f64() * 1e3, hooks::SYNCS);
    println!("memory of webhook after it: {:.1} MiB", mebibytes(package.memory()?));
    Ok(ratio >= LEAST_EMBEDDED)
}

/// Who answers hooks.
#[derive(Clone, Copy)]
struct Callee<'a> {
    address: &'a str,
    process: u32,
}

impl Callee<'_> {
    /// Hooks that it answers a second, and what that takes of the processors.
    async fn answer(self) -> Result<(f64, Spent)> {
        let callers = Callers::connect(self.address).await?;
        let hooks = Hooks::signed(COUNT);
        let before = Spent::by(self.process)?;
        let rate = callers.send(hooks).await?;
        Ok((rate, Spent::by(self.process)?.since(before)))
    }
}

/// The median of ours by the baseline's.
async fn in_turns(what: &str, (beside, baseline): (&str, Callee<'_>), ours: Callee<'_>) -> Result<f64> {
    let (mut theirs, mut own, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut they_spent, mut we_spent) = (Spent::default(), Spent::default());
    for _ in 0..ROUNDS {
        let (their_rate, they) = baseline.answer().await?;
        let (own_rate, we) = ours.answer().await?;
        they_spent += they;
        we_spent += we;
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
    let hooks = COUNT * ROUNDS;
    println!("processor time of one: {} beside {}", we_spent.on_each_of(hooks), they_spent.on_each_of(hooks));
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
