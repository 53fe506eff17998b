#![doc = include_str!("../README.md")]

mod admit;
mod answers;
mod bad_image;
mod cancel;
mod catalogue;
mod conclusion;
mod connect;
mod discovery;
mod execute;
mod fleet;
mod half_way;
mod hold;
mod index;
mod late;
#[cfg(test)]
mod model;
mod neighbours;
mod poll;
mod quarantine;
mod questions;
mod read_back;
mod redaction;
mod rooms;
mod roster;
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
mod unread;
mod verdict;

use std::{sync::Arc, time::Duration};

use proto::Timestamp;
use queue::{Chronicle, Queue, Since};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use crate::{
    catalogue::Heard, execute::Executor, fleet::Fleet, index::Index, poll::Polling, redaction::Redaction,
    verdict::chain,
};

pub use connect::{Connected, connect};
pub use settings::{Limits, NamedSecret, Registry, Settings, SystemKind, TypedTarget};
pub use stop::Stop;

/// How long one try to read the history may take before it is said aloud and tried again.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(30);

/// How long the first job waits until it is known which targets there are.
const LOOKED_WITHIN: Duration = Duration::from_secs(5);

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
    let registries = settings.registries.clone();
    let polling = settings.poll.clone().map(|settings| Polling { settings, registries });
    let (limits, window) = (settings.limits, settings.window);
    let redaction = Redaction::of(&settings.secrets);
    work((fleet, redaction), (limits, window, polling), queue, stop.into()).await;
    Ok(())
}

async fn work(
    (fleet, redaction): (Fleet, Redaction),
    (limits, window, polling): (Limits, Duration, Option<Polling>),
    queue: Arc<dyn Queue>,
    stop: Stop,
) {
    let pools = fleet.pools().clone();
    tracing::info!(targets = fleet.len(), pools = pools.len(), "the worker starts");
    let since = Timestamp::now() - window;
    let index = Arc::new(Index::new(since));
    let heard = Arc::new(Heard::default());
    let chronicle = follow_history(&queue, (&index, &heard), since);
    let roster = Arc::clone(fleet.roster());
    // Ends with this function.
    let mut looking = JoinSet::new();
    for (system, swarm) in roster.searched() {
        looking.spawn(discovery::discover(Arc::clone(&roster), system.clone(), swarm.clone()));
    }
    for (system, rancher) in fleet.ranchers() {
        let (roster, system, rancher) = (Arc::clone(&roster), system.clone(), rancher.clone());
        looking.spawn(async move { rancher.mind_key(|warning| roster.warned(&system, warning)).await });
    }
    tokio::select! {
        ((), ()) = async { tokio::join!(read_history(&chronicle), roster.looked_through(LOOKED_WITHIN)) } => {}
        () = stop.asked.cancelled() => return,
    }
    looking.spawn(catalogue::tell(Arc::clone(&queue), heard, roster.inventories()));
    let executor = Arc::new(Executor {
        queue,
        chronicle,
        index,
        fleet,
        limits,
        quarantine: quarantine::Quarantine::default(),
        answers: answers::Answers::default(),
        unread: unread::Unread::default(),
        redaction,
    });
    let serving = TaskTracker::new();
    // Ends with this function: a worker that finishes its jobs still answers.
    let mut answering = JoinSet::new();
    for pool in pools {
        if let Some(polling) = polling.clone() {
            looking.spawn(poll::poll(Arc::clone(&executor), pool.clone(), polling));
        }
        answering.spawn(questions::answer(Arc::clone(&executor), pool.clone()));
        serving.spawn(serve::serve(Arc::clone(&executor), pool, stop.clone()));
    }
    serving.close();
    serving.wait().await;
    executor.answers.given(LAST_ANSWERS_WITHIN).await;
    tracing::info!("the worker has stopped");
}

fn follow_history(
    queue: &Arc<dyn Queue>,
    (index, heard): (&Arc<Index>, &Arc<Heard>),
    since: Timestamp,
) -> Chronicle {
    let (index, heard) = (Arc::clone(index), Arc::clone(heard));
    Chronicle::follow(Arc::clone(queue), Since::Time(since), move |recorded| {
        index.read(recorded);
        heard.read(recorded);
    })
}

/// No job is taken before all that was said is known: an older one might overwrite a newer.
async fn read_history(chronicle: &Chronicle) {
    while let Err(error) = chronicle.catch_up(CATCH_UP_WITHIN).await {
        tracing::warn!(error = chain(&error), "the history cannot be read yet, trying again");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
