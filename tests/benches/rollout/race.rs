//! The same service updated by the docker command and by a hook, in turns.

use std::time::{Duration, Instant};

use anyhow::Result;
use tests::fleet;

use crate::figures::{judged, median, median_of, most};
use crate::stage::Stage;

/// How much later than the docker command's end we may say that it is done.
const MOST_LATER: Duration = Duration::from_millis(100);

/// How much of the command's time we may take where there is nothing to wait for. It counts its seconds down all the same.
const MOST_OF_A_WAIT_FOR_NOTHING: f64 = 0.5;

/// Tasks of the service, for how long the engine is to watch each new one, and what is asked of us.
const CASES: [(&str, &str, Bound); 5] = [
    ("2", "0s", Bound::NoLater),
    ("2", "5s", Bound::NoLater),
    ("10", "0s", Bound::NoLater),
    ("10", "5s", Bound::NoLater),
    ("0", "5s", Bound::Ahead),
];

#[derive(Clone, Copy)]
enum Bound {
    /// Both wait for the engine.
    NoLater,
    /// The command waits for nothing.
    Ahead,
}

/// Whether every bound was kept.
pub(crate) async fn run(turns: usize) -> Result<bool> {
    let mut kept = true;
    for (replicas, monitor, bound) in CASES {
        let (ours, theirs) = race((replicas, monitor), turns).await?;
        println!(
            "{replicas} tasks, monitor {monitor}: hook to `succeeded` {:.2} s beside {:.2} s (docker service update), medians of \
             {turns}",
            median(ours.clone()),
            median(theirs.clone()),
        );
        kept &= match bound {
            Bound::NoLater => is_no_later(&ours, &theirs),
            Bound::Ahead => is_ahead(&ours, &theirs),
        };
    }
    Ok(kept)
}

/// Seconds of each turn: ours, and the command's.
async fn race((replicas, monitor): (&str, &str), turns: usize) -> Result<(Vec<f64>, Vec<f64>)> {
    let options = ["--replicas", replicas, "--update-monitor", monitor, "--update-parallelism", "0"];
    let host = tests::engine::Engine::of_the_run()?.host().to_owned();
    let mut stage = Stage::new(fleet::Engine::Embedded, &host, (1, &options)).await?;
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..turns {
        theirs.push(by_command(&mut stage).await?);
        ours.push(by_hook(&mut stage).await?);
    }
    Ok((ours, theirs))
}

/// In the middle no later than allowed, and at worst no later than the command at its worst: an engine's own time for a
/// rollout differs from turn to turn.
fn is_no_later(ours: &[f64], theirs: &[f64]) -> bool {
    let bound = MOST_LATER.as_secs_f64();
    let later = median_of(ours, theirs, |ours, theirs| ours - theirs);
    let latest = most(&ours.iter().zip(theirs).map(|(ours, theirs)| ours - theirs).collect::<Vec<_>>());
    let middle = judged(
        &format!(
            "    later than the command {later:+.2} s, in one turn {latest:+.2} s; in the middle at most +{bound}"
        ),
        later <= bound,
    );
    let (slowest, slowest_of_theirs) = (most(ours), most(theirs));
    let spread = slowest_of_theirs + most(&theirs.iter().map(|figure| -figure).collect::<Vec<_>>());
    let at_worst = judged(
        &format!(
            "    slowest turn {slowest:.2} s beside {slowest_of_theirs:.2} s, where the command's own turns differ by \
             {spread:.2} s; at most +{bound}"
        ),
        slowest <= slowest_of_theirs + bound,
    );
    middle && at_worst
}

fn is_ahead(ours: &[f64], theirs: &[f64]) -> bool {
    let ratio = median_of(ours, theirs, |ours, theirs| ours / theirs);
    judged(
        &format!(
            "    ahead where the command waits for nothing: {ratio:.2} times its time in the middle, at most \
             {MOST_OF_A_WAIT_FOR_NOTHING}"
        ),
        ratio <= MOST_OF_A_WAIT_FOR_NOTHING,
    )
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
