//! Tasks that came down with the engine they ran on: restarted, or gone for a while. They prove nothing of their image.
//!
//! An engine tells of what it lost only once it is back, in its own words or as an exit by a signal. The swarm notes when
//! it came back as the last change of its node; a node is changed for other causes too, as when a network reaches it, so
//! that alone says nothing.

use std::time::Duration;

use bollard::models::{Task, TaskState};
use proto::Timestamp;

use super::tasks::{Counting, Failing, Nodes, at};

/// How an engine tells that a container is no more which it did not stop itself.
const NO_MORE: &str = "No such container";
/// How it tells of those that it killed with itself, or found dead.
const KILLED: [&str; 3] = ["exit (137)", "exit (143)", "exit (255)"];
/// What it killed itself, in its right mind.
const UNHEALTHY: &str = "unhealthy container";
/// How long before and after an engine's return a task may be noted as fallen that fell with it: nodes note the time by
/// their own clocks, and one that has much to look after comes to it late.
const NOTED_BEFORE: Duration = Duration::from_secs(10);
const NOTED_AFTER: Duration = Duration::from_secs(30);

/// What a rollout that did not hold is to be laid to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// What was to run.
    Image,
    /// Every task that came down did so with its engine.
    Engine,
    /// No node could make a container of it.
    Node,
    /// Nothing of it came down of itself: its time was over before, or the engine gave up for tasks that it stopped.
    Nobody,
}

impl Failing {
    /// Whether its node could not make it, as for want of the image, of a key to the registry, or of a folder: what is
    /// in the image was not tried.
    pub(super) fn never_began(&self) -> bool {
        self.state == TaskState::REJECTED && self.container.is_none()
    }
}

impl Counting<'_> {
    /// Tasks of the image that came down with their engines, newest first.
    pub(super) fn lost(&self, tasks: &[Task]) -> Vec<Failing> {
        let all: Vec<&Task> = tasks.iter().collect();
        self.came_down(&all, |task| came_down_with_its_engine(task, self.nodes))
    }
}

/// Whether a task that came down did so with its engine.
pub(super) fn came_down_with_its_engine(task: &Task, nodes: &Nodes) -> bool {
    let words = task.status.as_ref().and_then(|status| status.err.as_deref()).unwrap_or_default();
    let was_killed = KILLED.iter().any(|code| words.contains(code)) && !words.contains(UNHEALTHY);
    words.starts_with(NO_MORE) || was_killed && fell_when_its_node_came_back(task, nodes).unwrap_or(false)
}

fn fell_when_its_node_came_back(task: &Task, nodes: &Nodes) -> Option<bool> {
    let back = nodes.changed_at(task.node_id.as_deref()?)?;
    let made: Timestamp = task.created_at.as_ref()?.parse().ok()?;
    let (from, until) = (back.checked_sub(NOTED_BEFORE).ok()?, back.checked_add(NOTED_AFTER).ok()?);
    Some(made < back && (from..=until).contains(&at(task)?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_falls_when_its_engine_comes_back_fell_with_it() {
        let node = json!({"ID": "n", "UpdatedAt": "2026-01-01T00:10:00Z", "Status": {"State": "ready"}});
        let nodes = Nodes::of(vec![serde_json::from_value(node).unwrap()]);
        let fell = |(made, at): (&str, &str), words: &str| {
            let task = json!({
                "NodeID": "n", "CreatedAt": format!("2026-01-01T00:{made}Z"),
                "Status": {"State": "failed", "Timestamp": format!("2026-01-01T00:{at}Z"), "Err": words},
            });
            came_down_with_its_engine(&serde_json::from_value(task).unwrap(), &nodes)
        };
        let exit = "task: non-zero exit (137)";
        assert!(fell(("09:00", "10:01"), exit));
        assert!(fell(("09:00", "09:58"), exit), "clocks differ");
        assert!(!fell(("09:00", "10:01"), "task: non-zero exit (1)"), "by itself");
        assert!(!fell(("09:00", "10:01"), "task: non-zero exit (143): dockerexec: unhealthy container"));
        assert!(!fell(("09:00", "09:30"), exit), "before it was gone");
        assert!(!fell(("09:00", "11:00"), exit), "it ran on");
        assert!(fell(("09:59", "10:02"), exit), "it came up a moment before");
        assert!(!fell(("10:00", "10:02"), exit), "made since");
        assert!(fell(("10:30", "11:00"), "No such container: web.1.abc"));
    }
}
