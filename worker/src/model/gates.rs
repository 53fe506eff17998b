//! Where a worker's attempts wait until the test lets them take their next step.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use proto::TargetName;
use tokio::sync::{Semaphore, watch};

/// How long a step that was let is waited for. It may be taken later all the same.
const STEP_WITHIN: Duration = Duration::from_millis(15);

/// The gates of all workers, one for each of them and target.
#[derive(Debug)]
pub(super) struct Gates {
    steps: Mutex<HashMap<(usize, TargetName), Arc<Semaphore>>>,
    /// Workers whose gates stand open.
    open: Vec<watch::Sender<bool>>,
}

impl Gates {
    pub(super) fn new(workers: usize) -> Gates {
        Gates { steps: Mutex::default(), open: (0..workers).map(|_| watch::Sender::new(false)).collect() }
    }

    /// Waits for leave to take one step.
    pub(super) async fn pass(&self, worker: usize, target: &TargetName) {
        let (steps, mut open) = (self.steps(worker, target), self.open[worker].subscribe());
        tokio::select! {
            step = steps.acquire() => step.unwrap().forget(),
            opened = open.wait_for(|open| *open) => drop(opened),
        }
    }

    /// Gives leave for so many steps, and waits a moment for them to be taken.
    pub(super) async fn let_pass(&self, worker: usize, target: &TargetName, steps: usize) {
        let gate = self.steps(worker, target);
        gate.add_permits(steps);
        let taken = async {
            while gate.available_permits() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let _ = tokio::time::timeout(STEP_WITHIN, taken).await;
    }

    /// Opens or closes all gates of a worker.
    pub(super) fn set_open(&self, worker: usize, open: bool) {
        self.open[worker].send_replace(open);
    }

    fn steps(&self, worker: usize, target: &TargetName) -> Arc<Semaphore> {
        let mut steps = self.steps.lock().unwrap();
        let gate = steps.entry((worker, target.clone())).or_insert_with(|| Arc::new(Semaphore::new(0)));
        Arc::clone(gate)
    }
}
