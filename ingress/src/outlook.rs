//! What an ingress looks at again and again, for those who watch it: the pools, and what died.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{http::count_the_dead, ingress::Ingress, pools::Pools};

/// How often it is looked whether something died, or was replayed or discarded here, since the letters were counted.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How often they are counted all the same: others discard and replay them too.
const COUNT_EVERY: Duration = Duration::from_secs(5 * 60);

/// As things stood at the last look.
#[derive(Debug, Default)]
pub(crate) struct Outlook {
    pub(crate) pools: Pools,
    /// How many dead jobs somebody has to decide about; none while that is not known.
    dead: Mutex<Option<usize>>,
}

impl Outlook {
    /// Looks again and again, until it is dropped.
    pub(crate) async fn keep(&self, ingress: &Ingress) {
        tokio::join!(self.pools.keep(ingress), self.keep_counting(ingress));
    }

    /// How many dead jobs wait to be replayed or discarded, as far as is known.
    pub(crate) fn dead(&self) -> Option<usize> {
        *self.dead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn keep_counting(&self, ingress: &Ingress) {
        let mut counted: Option<(u64, Instant)> = None;
        loop {
            let changes = ingress.view.deaths() + ingress.letters.closings();
            let is_due = counted.is_none_or(|(at, when)| at != changes || when.elapsed() >= COUNT_EVERY);
            if is_due && ingress.queue.is_readable() {
                let dead = count_the_dead(ingress).await;
                if let Err(error) = &dead {
                    tracing::debug!(
                        error = error as &dyn std::error::Error,
                        "the dead jobs could not be counted"
                    );
                }
                counted = dead.is_ok().then(|| (changes, Instant::now()));
                *self.dead.lock().unwrap_or_else(PoisonError::into_inner) = dead.ok();
            }
            sleep(LOOK_EVERY).await;
        }
    }
}
