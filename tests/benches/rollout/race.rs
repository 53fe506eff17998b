//! The same service updated by the docker command and by a hook, in turns.

use std::time::{Duration, Instant};

use anyhow::Result;
use tests::fleet;

use crate::{median, stage::Stage};

/// Updates by each of the two.
const ROUNDS: usize = 5;

/// How much later than the docker command's end we may say that it is done.
const MOST_LATER: Duration = Duration::from_millis(100);

/// Replicas, and for how long the engine is to watch each new task.
const CASES: [(&str, &str); 4] = [("2", "0s"), ("2", "5s"), ("10", "0s"), ("10", "5s")];

/// Whether every bound was kept.
pub(crate) async fn run() -> Result<bool> {
    let mut kept = true;
    for (replicas, monitor) in CASES {
        kept &= race(replicas, monitor).await?;
    }
    Ok(kept)
}

async fn race(replicas: &str, monitor: &str) -> Result<bool> {
    let options = ["--replicas", replicas, "--update-monitor", monitor, "--update-parallelism", "0"];
    let host = tests::engine::Engine::of_the_run()?.host().to_owned();
    let mut stage = Stage::new(fleet::Engine::Embedded, &host, (1, &options)).await?;
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        theirs.push(by_command(&mut stage).await?);
        ours.push(by_hook(&mut stage).await?);
    }
    let later: Vec<f64> = ours.iter().zip(&theirs).map(|(ours, theirs)| ours - theirs).collect();
    let is_kept = median(later.clone()) <= MOST_LATER.as_secs_f64();
    println!(
        "{replicas} replicas, monitor {monitor}: hook to `succeeded` {:.2} s beside {:.2} s (docker service update): \
         {:+.2} s, from {:+.2} to {:+.2}, at most +{:.2}: {}",
        median(ours),
        median(theirs),
        median(later.clone()),
        later.iter().copied().fold(f64::INFINITY, f64::min),
        later.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        MOST_LATER.as_secs_f64(),
        if is_kept { "kept" } else { "NOT KEPT" },
    );
    Ok(is_kept)
}

/// How long the docker command takes that waits for the rollout.
async fn by_command(stage: &mut Stage) -> Result<f64> {
    let (image, name) = (stage.next_image(), stage.services[0].name.clone());
    let began = Instant::now();
    stage.engine.docker(&["service", "update", "--quiet", "--image", &image, &name]).await?;
    Ok(began.elapsed().as_secs_f64())
}

/// How long it takes from a push's hook until all subscribers know that it runs.
async fn by_hook(stage: &mut Stage) -> Result<f64> {
    let image = stage.next_image();
    let mut live = stage.fleet.events("/v1/events").await?;
    let began = Instant::now();
    stage.hook(&image).await?;
    stage.until_ended(&mut live, 1).await?;
    Ok(began.elapsed().as_secs_f64())
}
