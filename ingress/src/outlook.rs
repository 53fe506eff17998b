//! What an ingress looks at again and again, for those who watch it: the pools, and what died.

use std::{
    sync::{Arc, Mutex, PoisonError},
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
    pub(crate) pools: Arc<Pools>,
    /// How many dead jobs somebody has to decide about; none before they were counted once.
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
        let (mut counted, mut again): (Option<(u64, Instant)>, bool) = (None, false);
        loop {
            let changes = ingress.view.deaths() + ingress.letters.closings();
            let has_changed = counted.is_none_or(|(at, _)| at != changes);
            let is_old = counted.is_none_or(|(_, when)| when.elapsed() >= COUNT_EVERY);
            if (has_changed || again || is_old) && ingress.queue.is_readable() {
                match count_the_dead(ingress).await {
                    Ok(dead) => {
                        counted = Some((changes, Instant::now()));
                        *self.dead.lock().unwrap_or_else(PoisonError::into_inner) = Some(dead);
                    }
                    // They are all still there: what was counted last is nearer to it than nothing.
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::debug!(error, "the dead jobs could not be counted");
                        counted = None;
                    }
                }
                // A death is said before its letter is written.
                again = has_changed;
            }
            sleep(LOOK_EVERY).await;
        }
    }
}
