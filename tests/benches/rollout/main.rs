//! How soon a deploy is known to have come true, beside `docker service update` on the same service, and what it costs
//! the engine.
//!
//! `tests/run --exec cargo bench --offline -p tests --bench rollout`; what is measured and what came out: docs/speed.md.

mod crowd;
mod first_call;
mod race;
mod stage;
mod tap;

use anyhow::Result;

fn main() -> Result<()> {
    // `cargo test --benches` only wants to know that it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let kept = runtime.block_on(async {
        let mut kept = race::run().await?;
        first_call::run().await?;
        kept &= crowd::run().await?;
        anyhow::Ok(kept)
    })?;
    anyhow::ensure!(
        kept,
        "a figure is beyond its bound: run it again on a quiet machine before looking further"
    );
    Ok(())
}

/// The middle one.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
