//! Counting the tasks of a service, as the docker CLI does.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use bollard::models::{Node, NodeState, Task, TaskState};
use proto::{ImageRef, Tasks, Timestamp};

use super::{
    ages::Ages,
    service::{Mode, same_image},
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
            if node.status.and_then(|status| status.state) == Some(NodeState::DOWN) {
                known.down.insert(id.clone());
            }
            if let Some(name) = node.description.and_then(|description| description.hostname) {
                known.names.insert(id, name);
            }
        }
        known
    }

    /// Whether the task is on a node that does not answer.
    pub(super) fn is_down(&self, task: &Task) -> bool {
        task.node_id.as_ref().is_some_and(|id| self.is_node_down(id))
    }

    pub(super) fn is_node_down(&self, id: &str) -> bool {
        self.down.contains(id)
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
        let is_there = |task: &Task| is_meant_to_run(task) && !self.nodes.is_down(task);
        let fits_nowhere = self.mode == Mode::Global && !current.iter().chain(all).any(is_there);
        let ours: Vec<&Task> =
            current.iter().filter(|task| !self.nodes.is_down(task) && self.runs_the_image(task)).collect();
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
            wanted: self.wanted(all, &slots),
            youngest: running.iter().filter_map(|task| self.age(task)).min(),
            failing: self.failing(&ours),
            waiting: slots.values().find_map(|task| self.waits_for(task)),
            unplaced: match fits_nowhere {
                true => Some(FITS_NOWHERE.to_owned()),
                false => slots.values().filter(|task| is_pending(task)).find_map(|task| self.waits_for(task)),
            },
        }
    }

    /// Tasks of the image that failed, newest first.
    pub(super) fn failing(&self, tasks: &[&Task]) -> Vec<Failing> {
        let mut failing: Vec<Failing> = tasks
            .iter()
            .filter(|task| self.runs_the_image(task))
            .filter_map(|task| self.failure(task))
            .filter(|failing| self.since.is_none_or(|since| failing.at.is_none_or(|at| at >= since)))
            .collect();
        failing.sort_by_key(|failing| std::cmp::Reverse(failing.at));
        failing
    }

    fn wanted(&self, all: &[Task], current: &HashMap<&str, &Task>) -> u64 {
        match self.mode {
            Mode::Replicated(replicas) => replicas,
            // The engine makes a task on every node that fits at once, so the tasks tell the nodes.
            Mode::Global => {
                let meant = all
                    .iter()
                    .chain(current.values().copied())
                    .filter(|task| is_meant_to_run(task) && !self.nodes.is_down(task));
                let nodes = meant.filter_map(|task| task.node_id.as_deref()).collect::<HashSet<_>>();
                // A service that is to run everywhere and runs nowhere has not converged.
                nodes.len().max(1) as u64
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
            node: task.node_id.as_ref().map(|id| self.node_name(id)),
            state,
            error: error.cloned().unwrap_or_default(),
            at: at(task),
            life: life(task),
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
            (_, _, Some(node)) => format!("{}.{}", self.service, self.node_name(node)),
            (_, _, None) => self.service.to_owned(),
        }
    }

    fn node_name(&self, id: &str) -> String {
        self.nodes.names.get(id).cloned().unwrap_or_else(|| id.to_owned())
    }
}

/// The image it was made to run.
pub(super) fn image(task: &Task) -> Option<ImageRef> {
    task.spec.as_ref()?.container_spec.as_ref()?.image.as_deref()?.parse().ok()
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

fn is_pending(task: &Task) -> bool {
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
