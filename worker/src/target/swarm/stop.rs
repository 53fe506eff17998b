//! Watching a service stop.

use std::time::Duration;

use bollard::models::{Node, Task, TaskState};
use proto::{Reason, Tasks, reason};
use serde_json::Value;
use tokio::{sync::mpsc, time::sleep};

use super::{
    SwarmService,
    lifecycle::Concern,
    lookout::Which,
    seen::list,
    service::{Mode, Service},
    tasks::Nodes,
};
use crate::target::{End, Outcome, Progress, TargetError, Wanted};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The lines that a terminal event carries at most.
const MOST_LINES: usize = 40;

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
                return Ok(Outcome { output, ..Outcome::of(end) });
            }
            let tasks = self.swarm.lookout.tasks(&service.id, Which::All).await?;
            let (left, line) = still_running(&tasks, &self.swarm.lookout.nodes().await?);
            if output.last() != Some(&line) {
                keep(&mut output, &line);
                let tasks = Tasks { running: left, wanted: 0 };
                // Nobody waits for progress: where the reader lags, a step is left out.
                let _ = progress.try_send(Progress { tasks, line });
            }
            if left == 0 {
                let tasks = Some(Tasks { running: 0, wanted: 0 });
                return Ok(Outcome { tasks, output, ..Outcome::of(End::Converged) });
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

/// The same of tasks and nodes as an engine tells them; without nodes, none counts as down.
pub(in crate::target) fn tasks_to_stop(tasks: &Value, nodes: &Value) -> (u64, String) {
    still_running(&list::<Task>(tasks), &Nodes::of(list::<Node>(nodes)))
}

/// How many tasks are still to stop, and a line on that. What is on nodes that are down is not waited for: an engine
/// believes for a day that it runs.
fn still_running(tasks: &[Task], nodes: &Nodes) -> (u64, String) {
    let (away, left): (Vec<&Task>, Vec<&Task>) =
        tasks.iter().filter(|task| may_run(task)).partition(|task| nodes.is_down(task));
    let line = match left.len() {
        0 => "stopped: no task runs".to_owned(),
        1 => "1 task is still to stop".to_owned(),
        left => format!("{left} tasks are still to stop"),
    };
    let line = not_counted(away.len()).map_or(line.clone(), |more| format!("{line}; {more}"));
    (left.len() as u64, line)
}

/// A word on tasks of nodes that are down, where there are any.
pub(super) fn not_counted(tasks: usize) -> Option<String> {
    match tasks {
        0 => None,
        1 => Some("1 task is on a node that is down, and goes when that comes back".to_owned()),
        many => Some(format!("{many} tasks are on nodes that are down, and go when those come back")),
    }
}

/// Adds a line; of a long story the middle is left out.
pub(super) fn keep(output: &mut Vec<String>, line: &str) {
    if output.len() == MOST_LINES {
        output.remove(MOST_LINES / 2);
    }
    output.push(line.to_owned());
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

#[cfg(test)]
mod tests {
    use bollard::models::{NodeState, NodeStatus, TaskStatus};

    use super::*;

    #[test]
    fn tasks_on_nodes_that_are_down_are_not_waited_for() {
        let node = |id: &str, state| Node {
            id: Some(id.to_owned()),
            status: Some(NodeStatus { state: Some(state), ..NodeStatus::default() }),
            ..Node::default()
        };
        let nodes = Nodes::of(vec![node("up", NodeState::READY), node("gone", NodeState::DOWN)]);
        let task = |node: &str, state| Task {
            node_id: Some(node.to_owned()),
            status: Some(TaskStatus { state: Some(state), ..TaskStatus::default() }),
            ..Task::default()
        };
        let mut tasks = vec![task("gone", TaskState::RUNNING), task("up", TaskState::SHUTDOWN)];
        let away = "1 task is on a node that is down, and goes when that comes back";
        assert_eq!(still_running(&tasks, &nodes), (0, format!("stopped: no task runs; {away}")));
        tasks.push(task("up", TaskState::RUNNING));
        assert_eq!(still_running(&tasks, &nodes), (1, format!("1 task is still to stop; {away}")));
    }

    #[test]
    fn a_long_story_loses_its_middle() {
        let mut lines = Vec::new();
        (0..100).for_each(|line| keep(&mut lines, &line.to_string()));
        assert_eq!((lines.len(), lines[0].as_str(), lines[39].as_str()), (40, "0", "99"));
    }
}
