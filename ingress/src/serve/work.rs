//! Whether a connection has something to do: a request runs, or an answer waits to be taken.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::sleep;

/// Pause before it is looked again; a request that was just sent arrives in it.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What a connection does.
#[derive(Debug, Clone, Default)]
pub(super) struct Work(Arc<AtomicUsize>);

/// A piece of it, until this is dropped.
#[derive(Debug)]
pub(super) struct Begun(Work);

impl Work {
    pub(super) fn begin(&self) -> Begun {
        self.0.fetch_add(1, Ordering::Relaxed);
        Begun(self.clone())
    }

    /// Returns once there is nothing to do, a moment from now at the earliest.
    pub(super) async fn is_done(&self) {
        loop {
            sleep(LOOK_EVERY).await;
            if self.0.load(Ordering::Relaxed) == 0 {
                return;
            }
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
