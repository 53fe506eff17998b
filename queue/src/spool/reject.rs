//! The end of jobs that were kept for a pool that nobody serves.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use proto::{Event, PoolName, Reason, State, reason};

use super::shelf::{Kept, Reading};
use crate::{Chronicle, Queue, QueueError, SayError, Since};

/// How long a rejection may take to be seen in the history.
const SEEN_WITHIN: Duration = Duration::from_secs(10);

/// How far the clocks of this machine and of the history may differ.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(2);

/// Ends jobs that nobody will carry out. Nobody else says so: it must be seen in the history.
pub(super) async fn reject(engine: &Arc<dyn Queue>, jobs: Vec<Reading>) -> (Vec<Kept>, Option<QueueError>) {
    let since = Since::Time(Timestamp::now() - CLOCKS_DIFFER);
    let chronicle = Chronicle::follow(Arc::clone(engine), since, |_| {});
    let chronicle = &chronicle;
    let saying = jobs.iter().map(|reading| async move {
        let accepted = Event::of(&reading.job, State::Accepted, 0, 0);
        chronicle.say(&accepted, SEEN_WITHIN).await?;
        let mut rejected = Event::of(&reading.job, State::Rejected, 0, 0);
        rejected.data.reason = Some(no_worker(reading.job.target.pool()));
        chronicle.say(&rejected, SEEN_WITHIN).await
    });
    let said = join_all(saying).await;
    let (mut done, mut unsaid) = (Vec::new(), None);
    for (Reading { kept, job }, said) in jobs.into_iter().zip(said) {
        match said {
            Ok(_) => {
                tracing::warn!(job = %job.id, target = %job.target, "rejected a kept job: no worker ever served its pool");
                done.push(kept);
            }
            Err(SayError::Queue(error)) => unsaid = unsaid.or(Some(error)),
            Err(SayError::Unseen(_)) => {
                unsaid = unsaid.or(Some(QueueError::Unconfirmed { attempted: "say an event" }));
            }
        }
    }
    (done, unsaid)
}

fn no_worker(pool: &PoolName) -> Reason {
    let text = format!(
        "the job was accepted while the broker was away, and no worker has ever served the pool `{pool}`"
    );
    let hint =
        format!("start a worker whose configuration has a system in the pool `{pool}`, then deploy again");
    Reason::new(reason::NO_WORKER, text).hint(hint)
}
