#![doc = include_str!("../README.md")]

mod admit;
mod answers;
mod aside;
mod attend;
mod bad_image;
mod bad_text;
mod cancel;
mod catalogue;
mod conclusion;
mod connect;
mod copies;
mod discovery;
mod exchange;
mod execute;
mod fleet;
mod half_way;
mod hold;
mod in_its_turn;
mod index;
mod late;
mod memo;
#[cfg(test)]
mod model;
mod neighbours;
mod poll;
mod put_on_hold;
mod quarantine;
mod questions;
mod read_back;
mod redaction;
mod remind;
mod rooms;
mod roster;
mod schedule;
mod serve;
mod settings;
mod sight;
#[cfg(feature = "steps")]
pub mod steps;
#[cfg(not(feature = "steps"))]
mod steps;
mod stop;
mod survey;
pub mod target;
#[cfg(test)]
mod testing;
mod twins;
mod unread;
mod upward;
mod verdict;

use std::{sync::Arc, time::Duration};

use proto::Timestamp;
use queue::{Chronicle, Queue, Reached, Since};
use tokio::sync::{mpsc, watch};

use crate::{
    catalogue::Heard,
    exchange::{Beside, Lasting, Pools},
    execute::Executor,
    index::Index,
    verdict::chain,
};

pub use connect::{Connected, connect, connect_registries};
pub use exchange::Prepared;
pub use settings::{Limits, NamedSecret, Registry, Settings, SystemKind, TypedTarget};
pub use stop::Stop;
pub use survey::{Survey, SurveyError, survey};

/// How long nothing may be read of the history before that is said aloud and tried again; and how often it is said how
/// far it is read.
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
    let (_none, changes) = mpsc::channel(1);
    run_following(Prepared::new(&settings)?, changes, queue, stop).await;
    Ok(())
}

/// As [`run`], going on with each configuration that comes out of `changes`: what is taken from then on is carried out
/// under it, what was begun ends under the one it was begun under. How far back the history is read stays as it was.
pub async fn run_following(
    first: Prepared,
    changes: mpsc::Receiver<Prepared>,
    queue: Arc<dyn Queue>,
    stop: impl Into<Stop>,
) {
    let stop = stop.into();
    let pools = first.fleet.pools();
    tracing::info!(targets = first.fleet.len(), pools = pools.len(), "the worker starts");
    let since = Timestamp::now() - first.window;
    let index = Arc::new(Index::new(since));
    let lasting = Lasting::default();
    let chronicle = follow_history(&queue, (&index, &lasting.heard), since);
    // Ends with this function.
    let mut beside = Beside::begin(&first.fleet);
    let roster = first.fleet.roster();
    tokio::select! {
        ((), ()) = async { tokio::join!(read_history(&chronicle), roster.looked_through(LOOKED_WITHIN)) } => {}
        () = stop.asked.cancelled() => return,
    }
    let polling = first.polling.clone();
    let executor = Arc::new(Executor::new((queue, chronicle, index), first));
    beside.go_on(&executor, &lasting, polling.as_ref());
    let executors = watch::Sender::new(Arc::clone(&executor));
    let mut pools = Pools::new(executors.subscribe(), stop.clone());
    pools.serve(executor.fleet.pools());
    exchange::follow(changes, &executors, (&mut pools, &mut beside), &lasting, &stop).await;
    pools.ended().await;
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

/// No job is taken before all that was said is known: an older one might overwrite a newer. However much that is, it
/// is read to its end.
async fn read_history(chronicle: &Chronicle) {
    let still_at = |reached: Reached| {
        let until = reached.said_at.map(tracing::field::display);
        tracing::info!(
            entries = reached.entries,
            until,
            "the history is still being read, no job is taken yet"
        );
    };
    while let Err(error) = chronicle.read_up(CATCH_UP_WITHIN, still_at).await {
        tracing::warn!(error = chain(&error), "the history cannot be read yet, trying again");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
