#![doc = include_str!("../README.md")]

mod admit;
mod answers;
mod bad_image;
mod cancel;
mod conclusion;
mod execute;
mod fleet;
mod index;
mod late;
#[cfg(test)]
mod model;
mod quarantine;
mod questions;
mod read_back;
mod schedule;
mod serve;
mod settings;
#[cfg(feature = "steps")]
pub mod steps;
#[cfg(not(feature = "steps"))]
mod steps;
mod stop;
pub mod target;
#[cfg(test)]
mod testing;
mod verdict;

use std::{sync::Arc, time::Duration};

use proto::Timestamp;
use queue::{Chronicle, Queue, Since};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use crate::{execute::Executor, fleet::Fleet, index::Index, verdict::chain};

pub use settings::{Limits, Registry, Settings, SystemKind, TypedTarget};
pub use stop::Stop;

/// How long one try to read the history may take before it is said aloud and tried again.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(30);

/// How long a worker that stops tries to say what became of jobs while the queue was away.
const LAST_ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// Why a worker cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// A system's settings cannot work.
    #[error("cannot use the system `{system}`")]
    System {
        /// Which.
        system: String,
        /// Why not.
        #[source]
        source: Box<target::TargetError>,
    },
}

/// Works until `stop`: takes the jobs of its pools, carries them out, says what became of them.
///
/// # Errors
/// When the settings cannot work. A queue or a system that is away is waited for.
pub async fn run(
    settings: Settings,
    queue: Arc<dyn Queue>,
    stop: impl Into<Stop>,
) -> Result<(), WorkerError> {
    let fleet = Fleet::new(&settings)?;
    let (limits, window) = (settings.limits, settings.window);
    work(fleet, limits, window, queue, stop.into()).await;
    Ok(())
}

async fn work(fleet: Fleet, limits: Limits, window: Duration, queue: Arc<dyn Queue>, stop: Stop) {
    let pools = fleet.pools().clone();
    tracing::info!(targets = fleet.len(), pools = pools.len(), "the worker starts");
    let since = Timestamp::now() - window;
    let index = Arc::new(Index::new(since));
    let chronicle = follow_history(&queue, &index, since);
    tokio::select! {
        () = read_history(&chronicle) => {}
        () = stop.asked.cancelled() => return,
    }
    let executor = Arc::new(Executor {
        queue,
        chronicle,
        index,
        fleet,
        limits,
        quarantine: quarantine::Quarantine::default(),
        answers: answers::Answers::default(),
    });
    let serving = TaskTracker::new();
    // Ends with this function: a worker that finishes its jobs still answers.
    let mut answering = JoinSet::new();
    for pool in pools {
        answering.spawn(questions::answer(Arc::clone(&executor), pool.clone()));
        serving.spawn(serve::serve(Arc::clone(&executor), pool, stop.clone()));
    }
    serving.close();
    serving.wait().await;
    executor.answers.given(LAST_ANSWERS_WITHIN).await;
    tracing::info!("the worker has stopped");
}

fn follow_history(queue: &Arc<dyn Queue>, index: &Arc<Index>, since: Timestamp) -> Chronicle {
    let index = Arc::clone(index);
    Chronicle::follow(Arc::clone(queue), Since::Time(since), move |recorded| index.read(recorded))
}

/// No job is taken before all that was said is known: an older one might overwrite a newer.
async fn read_history(chronicle: &Chronicle) {
    while let Err(error) = chronicle.catch_up(CATCH_UP_WITHIN).await {
        tracing::warn!(error = chain(&error), "the history cannot be read yet, trying again");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
