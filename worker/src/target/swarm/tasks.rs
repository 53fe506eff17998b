//! Counting the tasks of a service, as the docker CLI does.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use bollard::models::{Node, NodeSpecAvailabilityEnum, NodeState, Task, TaskState};
use proto::{ImageRef, Tasks, Timestamp};
use serde_json::Value;

use super::{
    ages::Ages,
    lost::came_down_with_its_engine,
    service::{Mode, image_named, same_image},
};

/// Of a service that runs on every node that fits an engine makes no task that could say so itself.
pub(super) const FITS_NOWHERE: &str = "it is to run on every node that fits (global mode), and none does";
/// A task that lived longer before it came down was not in a loop worth waiting for.
const LONGEST_LOOP: Duration = Duration::from_secs(60);

/// The nodes of a swarm, as far as tasks need to know them.
#[derive(Debug, Clone, Default)]
pub(super) struct Nodes {
    names: HashMap<String, String>,
    down: HashSet<String>,
    /// Those that take tasks.
    active: HashSet<String>,
    /// When each was changed last, by the managers' clock: also when its engine comes back.
    changed: HashMap<String, Timestamp>,
    /// What those run on, as the engine writes it.
    platforms: Vec<Value>,
}

/// A task that did not come up, or did not stay up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failing {
    /// `web.2`, or for a global service `web.<node>`.
    pub(super) task: String,
    pub(super) node: Option<String>,
    pub(super) state: TaskState,
    /// The engine's words.
    pub(super) error: String,
    pub(super) at: Option<Timestamp>,
    /// How long it lived, from when it was made.
    pub(super) life: Option<Duration>,
    /// None where it did not come to that.
    pub(super) container: Option<String>,
}

/// The tasks of a service at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) running: u64,
    pub(super) wanted: u64,
    /// For how long the youngest of the running ones has run, by the nodes' clocks.
    pub(super) youngest: Option<Duration>,
    /// Newest first.
    pub(super) failing: Vec<Failing>,
    /// What a task that is not yet running waits for, in the engine's words.
    pub(super) waiting: Option<String>,
    /// The same of a task that no node takes.
    pub(super) unplaced: Option<String>,
}

impl Nodes {
    pub(super) fn of(nodes: Vec<Node>) -> Nodes {
        let mut known = Nodes::default();
        for node in nodes {
            let Some(id) = node.id else { continue };
            let changed = node.updated_at.as_ref().and_then(|at| at.parse().ok());
            known.changed.extend(changed.map(|at| (id.clone(), at)));
            if node.status.and_then(|status| status.state) == Some(NodeState::DOWN) {
                known.down.insert(id.clone());
            }
            if node.spec.and_then(|spec| spec.availability) == Some(NodeSpecAvailabilityEnum::ACTIVE) {
                let platform =
                    node.description.as_ref().and_then(|description| description.platform.as_ref());
                known.platforms.extend(platform.and_then(|platform| serde_json::to_value(platform).ok()));
                known.active.insert(id.clone());
            }
            if let Some(name) = node.description.and_then(|description| description.hostname) {
                known.names.insert(id, name);
            }
        }
        known
    }

    /// What the nodes that take tasks run on, as far as they say it.
    pub(super) fn platforms(&self) -> &[Value] {
        &self.platforms
    }

    /// Whether the task is on a node that does not answer.
    pub(super) fn is_down(&self, task: &Task) -> bool {
        task.node_id.as_ref().is_some_and(|id| self.is_node_down(id))
    }

    pub(super) fn is_node_down(&self, id: &str) -> bool {
        self.down.contains(id)
    }

    pub(super) fn name_of(&self, id: &str) -> String {
        self.names.get(id).cloned().unwrap_or_else(|| id.to_owned())
    }

    pub(super) fn changed_at(&self, id: &str) -> Option<Timestamp> {
        self.changed.get(id).copied()
    }
}

impl Count {
    pub(super) fn complete(&self) -> bool {
        self.running >= self.wanted
    }

    /// The longest life of a task that came down: what crashes in a loop is up for no longer than that. A loop
    /// that takes minutes is not waited for.
    pub(super) fn longest_life(&self) -> Duration {
        let longest = self.failing.iter().filter_map(|failing| failing.life).max();
        longest.unwrap_or_default().min(LONGEST_LOOP)
    }

    /// Whether a task came down after `time`.
    pub(super) fn fell_after(&self, time: Option<Timestamp>) -> bool {
        let Some(time) = time else { return false };
        self.failing.iter().any(|failing| failing.at.is_some_and(|at| at > time))
    }

    /// Leaves out the tasks that came down between `from` and `until`.
    pub(super) fn forget(&mut self, from: Timestamp, until: Timestamp) {
        self.failing.retain(|failing| failing.at.is_none_or(|at| at <= from || at >= until));
    }

    /// Whether a task came down since `time`; where either moment is not told, it may have been.
    pub(super) fn fell_since(&self, time: Option<Timestamp>) -> bool {
        let is_since = |at: Option<Timestamp>| at.zip(time).is_none_or(|(at, time)| at >= time);
        self.failing.iter().any(|failing| is_since(failing.at))
    }

    pub(super) fn tasks(&self) -> Tasks {
        Tasks { running: self.running, wanted: self.wanted }
    }
}

/// What is counted.
pub(super) struct Counting<'a> {
    pub(super) service: &'a str,
    pub(super) mode: Mode,
    /// The image they must run.
    pub(super) image: &'a ImageRef,
    pub(super) nodes: &'a Nodes,
    /// Failures before this belong to an earlier rollout.
    pub(super) since: Option<Timestamp>,
    /// By the engine's clock.
    pub(super) now: Timestamp,
    /// What was seen of the tasks before.
    pub(super) ages: &'a Ages,
}

impl Counting<'_> {
    /// Counts the tasks made from the current spec (`current`); `all` tells on which nodes a global service
    /// is meant to run.
    ///
    /// In each slot the task with the lowest desired state counts, as a replaced one lingers beside its
    /// successor; tasks on nodes that are down do not count, nor do those of another image.
    pub(super) fn count(&self, current: &[Task], all: &[Task]) -> Count {
        let ours: Vec<&Task> =
            current.iter().filter(|task| !self.nodes.is_down(task) && self.runs_the_image(task)).collect();
        let is_there = |task: &Task| is_meant_to_run(task) && !self.nodes.is_down(task);
        let fits_nowhere = self.mode == Mode::Global
            && !current.iter().chain(all).any(is_there)
            && self.left_down(&ours).next().is_none();
        let mut slots: HashMap<&str, &Task> = HashMap::new();
        let keys: Vec<String> = ours.iter().map(|task| self.slot(task)).collect();
        for (key, task) in keys.iter().zip(&ours) {
            let kept = slots.entry(key).or_insert(task);
            if rank(task) < rank(kept) {
                *kept = task;
            }
        }
        let running: Vec<&Task> = slots.values().copied().filter(|task| is_up(task)).collect();
        Count {
            running: running.len() as u64,
            wanted: self.wanted(all, &ours),
            youngest: running.iter().filter_map(|task| self.age(task)).min(),
            failing: self.failing(&ours),
            waiting: slots.values().find_map(|task| self.waits_for(task)),
            unplaced: match fits_nowhere {
                true => Some(FITS_NOWHERE.to_owned()),
                false => slots.values().filter(|task| is_pending(task)).find_map(|task| self.waits_for(task)),
            },
        }
    }

    /// Tasks of the image that failed, newest first; not those that came down with their engines.
    pub(super) fn failing(&self, tasks: &[&Task]) -> Vec<Failing> {
        self.came_down(tasks, |task| !came_down_with_its_engine(task, self.nodes))
    }

    /// The same of those that `counts`.
    pub(super) fn came_down(&self, tasks: &[&Task], counts: impl Fn(&Task) -> bool) -> Vec<Failing> {
        let mut failing: Vec<Failing> = tasks
            .iter()
            .filter(|task| self.runs_the_image(task) && counts(task))
            .filter_map(|task| self.failure(task))
            .filter(|failing| self.since.is_none_or(|since| failing.at.is_none_or(|at| at >= since)))
            .collect();
        failing.sort_by_key(|failing| std::cmp::Reverse(failing.at));
        failing
    }

    /// The nodes where it came down and, by its restart policy, stays down: it is meant to run there all the same.
    fn left_down<'a>(&self, current: &[&'a Task]) -> impl Iterator<Item = &'a str> {
        let mut newest: HashMap<&str, &Task> = HashMap::new();
        for task in current {
            let Some(node) = task.node_id.as_deref().filter(|node| self.nodes.active.contains(*node)) else {
                continue;
            };
            let kept = newest.entry(node).or_insert(task);
            if task.created_at > kept.created_at {
                *kept = task;
            }
        }
        newest.into_iter().filter(|(_, task)| fell(task)).map(|(node, _)| node)
    }

    fn wanted(&self, all: &[Task], current: &[&Task]) -> u64 {
        match self.mode {
            Mode::Replicated(replicas) => replicas,
            // The engine makes a task on every node that fits at once, so the tasks tell the nodes.
            Mode::Global => {
                let meant = all
                    .iter()
                    .chain(current.iter().copied())
                    .filter(|task| is_meant_to_run(task) && !self.nodes.is_down(task));
                let nodes = meant.filter_map(|task| task.node_id.as_deref()).chain(self.left_down(current));
                // A service that is to run everywhere and runs nowhere has not converged.
                nodes.collect::<HashSet<_>>().len().max(1) as u64
            }
            // Refused before anything was written.
            Mode::Job => 0,
        }
    }

    fn slot(&self, task: &Task) -> String {
        match self.mode {
            Mode::Replicated(_) | Mode::Job => task.slot.unwrap_or_default().to_string(),
            Mode::Global => task.node_id.clone().unwrap_or_default(),
        }
    }

    fn runs_the_image(&self, task: &Task) -> bool {
        image(task).is_some_and(|image| same_image(&image, self.image))
    }

    fn age(&self, task: &Task) -> Option<Duration> {
        let since = at(task)?;
        let told = Duration::try_from(self.now.duration_since(since)).unwrap_or_default();
        Some(self.ages.at_most(task).map_or(told, |seen| seen.min(told)))
    }

    fn failure(&self, task: &Task) -> Option<Failing> {
        let status = task.status.as_ref()?;
        let state = status.state.filter(|state| ended_by_itself(*state))?;
        let error = [&status.err, &status.message].into_iter().flatten().find(|text| !text.is_empty());
        Some(Failing {
            task: self.name(task),
            node: task.node_id.as_ref().map(|id| self.nodes.name_of(id)),
            state,
            error: error.cloned().unwrap_or_default(),
            at: at(task),
            life: life(task),
            container: container(task).map(str::to_owned),
        })
    }

    fn waits_for(&self, task: &Task) -> Option<String> {
        let status = task.status.as_ref()?;
        let error = status.err.as_ref().filter(|error| !error.is_empty() && !is_up(task))?;
        Some(format!("{}: {error}", self.name(task)))
    }

    fn name(&self, task: &Task) -> String {
        match (self.mode, task.slot, &task.node_id) {
            (Mode::Replicated(_) | Mode::Job, Some(slot), _) => format!("{}.{slot}", self.service),
            (_, _, Some(node)) => format!("{}.{}", self.service, self.nodes.name_of(node)),
            (_, _, None) => self.service.to_owned(),
        }
    }
}

/// The image it was made to run.
pub(super) fn image(task: &Task) -> Option<ImageRef> {
    image_named(task.spec.as_ref()?.container_spec.as_ref()?.image.as_deref()?)
}

pub(super) fn container(task: &Task) -> Option<&str> {
    task.status.as_ref()?.container_status.as_ref()?.container_id.as_deref().filter(|id| !id.is_empty())
}

/// When it came to its state, by its node's clock.
pub(super) fn at(task: &Task) -> Option<Timestamp> {
    task.status.as_ref()?.timestamp.as_ref()?.parse().ok()
}

/// Whether a task in that state came down without being told to. One that exits with 0 is no better here: a
/// service is to stay up.
fn ended_by_itself(state: TaskState) -> bool {
    matches!(state, TaskState::FAILED | TaskState::REJECTED | TaskState::COMPLETE)
}

/// Whether it came down without being told to.
pub(super) fn fell(task: &Task) -> bool {
    task.status.as_ref().and_then(|status| status.state).is_some_and(ended_by_itself)
}

pub(super) fn is_pending(task: &Task) -> bool {
    task.status.as_ref().and_then(|status| status.state) == Some(TaskState::PENDING)
}

/// For how long it was there, of one that is no more.
pub(super) fn life(task: &Task) -> Option<Duration> {
    let made: Timestamp = task.created_at.as_ref()?.parse().ok()?;
    Duration::try_from(at(task)?.duration_since(made)).ok()
}

fn is_meant_to_run(task: &Task) -> bool {
    task.desired_state.is_some_and(|desired| desired <= TaskState::RUNNING)
}

pub(super) fn is_up(task: &Task) -> bool {
    is_meant_to_run(task) && task.status.as_ref().and_then(|status| status.state) == Some(TaskState::RUNNING)
}

/// Lowest desired state first, then lowest observed: the order of the engine's states is that of a life.
fn rank(task: &Task) -> (Option<TaskState>, Option<TaskState>) {
    (task.desired_state, task.status.as_ref().and_then(|status| status.state))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn task(node: &str, (desired, state): (&str, &str), made: u32) -> Task {
        serde_json::from_value(json!({
            "ID": format!("{node}-{made}"), "NodeID": node, "DesiredState": desired,
            "CreatedAt": format!("2026-01-01T00:00:{made:02}Z"), "Status": {"State": state},
            "Spec": {"ContainerSpec": {"Image": "r.lan/web:1"}},
        }))
        .unwrap()
    }

    fn nodes(availability: &str) -> Nodes {
        let node = |id: &str, availability: &str| {
            let spec = json!({"Availability": availability});
            serde_json::from_value(json!({"ID": id, "Spec": spec, "Status": {"State": "ready"}})).unwrap()
        };
        Nodes::of(vec![node("a", "active"), node("b", availability)])
    }

    #[test]
    fn a_global_service_is_meant_for_the_node_where_it_stays_down() {
        let image: ImageRef = "r.lan/web:1".parse().unwrap();
        let (up, stopped) = (("running", "running"), ("shutdown", "shutdown"));
        let (failed, exited) = (("shutdown", "failed"), ("shutdown", "complete"));
        let count = |tasks: &[Task], nodes: &Nodes| {
            let counting = Counting {
                service: "web",
                mode: Mode::Global,
                image: &image,
                nodes,
                since: None,
                now: Timestamp::now(),
                ages: &Ages::default(),
            };
            let count = counting.count(tasks, tasks);
            (count.running, count.wanted, count.unplaced.is_some())
        };
        for (b, (running, wanted)) in [
            (vec![task("b", failed, 1)], (1, 2)),
            (vec![task("b", exited, 1)], (1, 2)),
            (vec![task("b", failed, 1), task("b", up, 2)], (2, 2)),
            // Told to go: the node was drained, or the constraint excludes it.
            (vec![task("b", stopped, 1)], (1, 1)),
            (vec![task("b", exited, 1), task("b", stopped, 2)], (1, 1)),
        ] {
            let tasks: Vec<Task> = [task("a", up, 1)].into_iter().chain(b).collect();
            assert_eq!(count(&tasks, &nodes("active")), (running, wanted, false), "{tasks:?}");
        }
        let fell = [task("a", up, 1), task("b", failed, 1)];
        assert_eq!(count(&fell, &nodes("drain")), (1, 1, false));
        // A node took it, and it does not stay up there: that is no want of nodes.
        assert_eq!(count(&[task("a", exited, 1)], &nodes("active")), (0, 1, false));
        assert_eq!(count(&[task("a", stopped, 1)], &nodes("active")), (0, 1, true));
    }
}
