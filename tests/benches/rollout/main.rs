//! How soon a deploy is known to have come true, beside `docker service update` on the same service, and what it costs
//! the engine.
//!
//! `tests/run --exec cargo bench --offline -p tests --bench rollout`; with `-- race`, `-- first-call` or `-- crowd` that part
//! alone, with `turns=N` so many turns. What is measured and what came out: docs/speed.md.

mod crowd;
mod figures;
mod first_call;
mod race;
mod stage;
mod tap;

use anyhow::{Context, Result};

/// Updates by each of the two, which take turns; the medians of the turns count.
const TURNS: usize = 5;

/// The parts, as they are named for being measured alone.
const PARTS: [&str; 3] = ["race", "first-call", "crowd"];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    // `cargo test --benches` only wants to know that it starts.
    if arguments.iter().any(|argument| argument == "--test") {
        return Ok(());
    }
    let named: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|argument| PARTS.contains(argument)).collect();
    let turns = match arguments.iter().find_map(|argument| argument.strip_prefix("turns=")) {
        Some(turns) => turns.parse().context("`turns=` wants a number")?,
        None => TURNS,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let kept = runtime.block_on(measure(&named, turns))?;
    anyhow::ensure!(
        kept,
        "a figure is beyond its bound: run it again on a quiet machine before looking further"
    );
    Ok(())
}

/// Whether every bound was kept.
async fn measure(named: &[&str], turns: usize) -> Result<bool> {
    let mut kept = true;
    for part in PARTS.into_iter().filter(|part| named.is_empty() || named.contains(part)) {
        kept &= match part {
            "race" => race::run(turns).await?,
            "first-call" => first_call::run(turns).await?,
            _ => crowd::run().await?,
        };
    }
    Ok(kept)
}
