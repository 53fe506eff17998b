//! Whether tasks that an engine calls running still have a process.
//!
//! An engine under load notices the exit of a container many seconds late, sometimes later than a service's monitor
//! or a target's window. Before success is said, the youngest tasks on the engine's own node are looked at. What runs
//! on other nodes cannot be: there the engine's word has to do.

use bollard::models::{Task, TaskState};

use super::client::Client;

/// So many tasks are looked at: an image that does not stay up shows that in any of them.
const MOST_LOOKED_AT: usize = 2;

/// A container that is said to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Running {
    node: String,
    container: String,
}

/// The containers of the tasks that are said to run, the youngest first.
pub(super) fn running(tasks: &[Task]) -> Vec<Running> {
    let is_running = |task: &&Task| {
        task.desired_state == Some(TaskState::RUNNING)
            && task.status.as_ref().and_then(|status| status.state) == Some(TaskState::RUNNING)
    };
    let mut tasks: Vec<&Task> = tasks.iter().filter(is_running).collect();
    // In RFC 3339 with a fixed form, the order of texts is that of times.
    tasks.sort_by_key(|task| std::cmp::Reverse(task.created_at.clone()));
    let container = |task: &Task| task.status.as_ref()?.container_status.as_ref()?.container_id.clone();
    let running = |task: &&Task| Some(Running { node: task.node_id.clone()?, container: container(task)? });
    tasks.iter().filter_map(running).collect()
}

/// Those of them that run on the node `here`.
pub(super) fn containers<'a>(running: &'a [Running], here: &'a str) -> impl Iterator<Item = &'a str> {
    running.iter().filter(move |running| running.node == here).map(|running| running.container.as_str())
}

impl Client {
    /// Whether one of the tasks is down though it is said to run.
    pub(super) async fn any_is_down(&self, running: &[Running]) -> bool {
        let Some(here) = self.own_node().await else { return false };
        let looks = containers(running, &here).take(MOST_LOOKED_AT).map(|container| self.is_down(container));
        futures::future::join_all(looks).await.contains(&true)
    }
}
