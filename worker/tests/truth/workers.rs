//! Workers that can be killed: each has a runtime of its own, and whatever it was about ends with that.

use std::{sync::Arc, time::Duration};

use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use crate::{case::Case, stage::Stage};

/// Threads of one worker.
const THREADS: usize = 2;

/// How the workers of one round fare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// One works alone.
    Alone,
    /// Two share the work.
    Two,
    /// Two do, and one is killed so long after the first deploy; another comes in its place.
    TwoOneKilled(Duration),
}

/// All workers of one round.
pub(crate) struct Workers {
    running: Vec<Runtime>,
}

impl Fate {
    /// In a soak there are two, and in every other round one of them dies, each time at another moment. A worker that dies
    /// leaves a mark on every job it had, and a job with two marks is set apart from all others: one death is what a round
    /// full of jobs can take.
    pub(crate) fn of(round: u32, is_soak: bool) -> Fate {
        match (is_soak, round % 2) {
            (false, _) => Fate::Alone,
            (true, 1) => Fate::Two,
            (true, _) => Fate::TwoOneKilled(Duration::from_secs(3) * round),
        }
    }

    /// Whether every reason comes in the very words of its case: who takes a job up from the dead tells of the tasks that he
    /// finds, and not of what he did not see.
    pub(crate) fn keeps_words(self) -> bool {
        !matches!(self, Fate::TwoOneKilled(_))
    }

    /// Whether a case has one end alone in such a round.
    pub(crate) fn decides(self, case: &Case) -> bool {
        self.keeps_words() || !case.is_interfered_with()
    }

    /// For the account of a round.
    pub(crate) fn told(self) -> String {
        match self {
            Fate::Alone => String::new(),
            Fate::Two => ", two workers".to_owned(),
            Fate::TwoOneKilled(after) => {
                format!(", two workers, one killed after {} s", after.as_secs())
            }
        }
    }
}

impl Workers {
    pub(crate) fn start(stage: &Stage, configuration: &str, fate: Fate) -> Workers {
        let count = if fate == Fate::Alone { 1 } else { 2 };
        Workers { running: (0..count).map(|_| start(stage, configuration)).collect() }
    }

    /// Lets befall them what is to.
    pub(crate) async fn meet(&mut self, stage: &Stage, configuration: &str, fate: Fate) {
        if let Fate::TwoOneKilled(after) = fate {
            tokio::time::sleep(after).await;
            self.running.remove(0).shutdown_background();
            self.running.push(start(stage, configuration));
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.running.drain(..).for_each(Runtime::shutdown_background);
    }
}

fn start(stage: &Stage, configuration: &str) -> Runtime {
    let runtime = Builder::new_multi_thread().worker_threads(THREADS).enable_all().build().unwrap();
    let (settings, queue) = (stage.settings(configuration), Arc::clone(&stage.queue));
    runtime.spawn(async move { worker::run(settings, queue, CancellationToken::new()).await.unwrap() });
    runtime
}
