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
    let told = Told::of(&ours, &theirs);
    println!("{replicas} replicas, monitor {monitor}: {told}");
    Ok(told.is_kept())
}

/// What came of all turns, in seconds.
struct Told {
    ours: f64,
    theirs: f64,
    /// By how much we were later in each turn: in the middle, and at worst.
    later: (f64, f64),
    /// The slowest turn of each: an engine's own time for a rollout differs from turn to turn.
    slowest: (f64, f64),
    /// By how much the command's own turns differ.
    spread: f64,
}

impl Told {
    fn of(ours: &[f64], theirs: &[f64]) -> Told {
        let later: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| ours - theirs).collect();
        let most = |all: &[f64]| all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let least = |all: &[f64]| all.iter().copied().fold(f64::INFINITY, f64::min);
        Told {
            ours: median(ours.to_vec()),
            theirs: median(theirs.to_vec()),
            later: (median(later.clone()), most(&later)),
            slowest: (most(ours), most(theirs)),
            spread: most(theirs) - least(theirs),
        }
    }

    /// In the middle no later than allowed, and at worst no later than the command at its worst.
    fn is_kept(&self) -> bool {
        let bound = MOST_LATER.as_secs_f64();
        self.later.0 <= bound && self.slowest.0 <= self.slowest.1 + bound
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "hook to `succeeded` {:.2} s beside {:.2} s (docker service update): {:+.2} s, in one turn {:+.2} s; slowest \
             {:.2} s beside {:.2} s, where the command's own turns differ by {:.2} s; at most +{:.2} either way: {}",
            self.ours,
            self.theirs,
            self.later.0,
            self.later.1,
            self.slowest.0,
            self.slowest.1,
            self.spread,
            MOST_LATER.as_secs_f64(),
            if self.is_kept() { "kept" } else { "NOT KEPT" },
        )
    }
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
