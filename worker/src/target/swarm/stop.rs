//! Watching a service stop.

use std::time::Duration;

use bollard::models::{Task, TaskState};
use proto::{Reason, Tasks, reason};
use tokio::{sync::mpsc, time::sleep};

use super::{
    SwarmService,
    lifecycle::Concern,
    lookout::Which,
    service::{Mode, Service},
};
use crate::target::{End, Outcome, Progress, TargetError, Wanted};

const LOOK_EVERY: Duration = Duration::from_secs(1);

impl SwarmService {
    /// Watches until no task runs any more.
    pub(super) async fn watch_stop(
        &self,
        wanted: &Wanted,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let mut output: Vec<String> = Vec::new();
        loop {
            let service = self.client().service(&self.name).await?;
            if let Some(end) = changed(&service, wanted) {
                return Ok(Outcome { end, tasks: None, output });
            }
            let tasks = self.swarm.lookout.tasks(&service.id, Which::All).await?;
            let left = tasks.iter().filter(|task| may_run(task)).count() as u64;
            let line = match left {
                0 => "stopped: no task runs".to_owned(),
                1 => "1 task is still to stop".to_owned(),
                left => format!("{left} tasks are still to stop"),
            };
            if output.last() != Some(&line) {
                output.push(line.clone());
                let tasks = Tasks { running: left, wanted: 0 };
                // Nobody waits for progress: where the reader lags, a step is left out.
                let _ = progress.try_send(Progress { tasks, line });
            }
            if left == 0 {
                let tasks = Some(Tasks { running: 0, wanted: 0 });
                return Ok(Outcome { end: End::Converged, tasks, output });
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

/// Whether somebody else wished otherwise meanwhile.
fn changed(service: &Service, wanted: &Wanted) -> Option<End> {
    match Concern::Running.mark(service) {
        Some(newer) if newer > wanted.job.id => {
            let text = "a newer job changed whether the service runs";
            Some(End::Superseded { by: Some(newer), reason: Reason::new(reason::NEWER_WISH, text) })
        }
        Some(_) | None if service.mode() == Mode::Replicated(0) => None,
        Some(_) | None => {
            let text = "somebody else scaled the service up while it stopped";
            Some(End::Superseded { by: None, reason: Reason::new(reason::CHANGED_ELSEWHERE, text) })
        }
    }
}

/// Whether a container of the task may be there. The states are in the order of a life.
fn may_run(task: &Task) -> bool {
    let state = task.status.as_ref().and_then(|status| status.state);
    state.is_none_or(|state| state <= TaskState::RUNNING)
}
