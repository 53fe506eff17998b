//! For how long tasks have waited that no node takes.
//!
//! An engine makes the new task while the old one still stops, and has neither its port nor its memory for it until that
//! is gone. Such a wait is as long as the service's own grace period, and says nothing of the nodes.

use std::{collections::HashMap, time::Duration};

use bollard::models::{Task, TaskState};
use tokio::time::Instant;

use super::tasks::{Count, Nodes, is_pending};

/// How often it is asked whether old tasks are still on their way out.
const ASKED_EVERY: Duration = Duration::from_secs(10);

/// The tasks that wait, each since when.
#[derive(Debug, Default)]
pub(super) struct Placing {
    waiting: HashMap<String, Instant>,
    asked: Option<Instant>,
}

impl Placing {
    /// Notes which tasks of the current spec wait `now`.
    pub(super) fn note(&mut self, count: &Count, current: &[Task], now: Instant) {
        let known = std::mem::take(&mut self.waiting);
        if count.unplaced.is_none() {
            return;
        }
        let mut waiting: Vec<String> =
            current.iter().filter(|task| is_pending(task)).filter_map(|task| task.id.clone()).collect();
        if waiting.is_empty() {
            // What is not even made, since it fits nowhere.
            waiting.push(String::new());
        }
        let noted = waiting.into_iter().map(|id| {
            let since = known.get(&id).copied().unwrap_or(now);
            (id, since)
        });
        self.waiting = noted.collect();
    }

    /// For how long the one has that has waited longest.
    pub(super) fn longest(&self, now: Instant) -> Duration {
        self.waiting.values().map(|since| now.duration_since(*since)).max().unwrap_or_default()
    }

    /// Whether it is time to ask for all tasks of the service; it counts as asked.
    pub(super) fn asks(&mut self, now: Instant) -> bool {
        let is_due = self.asked.is_none_or(|asked| now.duration_since(asked) >= ASKED_EVERY);
        let asks = is_due && self.longest(now) >= ASKED_EVERY;
        if asks {
            self.asked = Some(now);
        }
        asks
    }

    /// Of `all` tasks of the service, some may still be stopping: what waits, waits for those, and begins anew.
    pub(super) fn heed(&mut self, all: &[Task], nodes: &Nodes, now: Instant) {
        if all.iter().any(|task| is_stopping(task) && !nodes.is_down(task)) {
            self.waiting.values_mut().for_each(|since| *since = now);
        }
    }
}

/// Whether it was told to go, and has not yet. One that never came to a node has nothing to stop.
fn is_stopping(task: &Task) -> bool {
    let told_to_go = task.desired_state.is_some_and(|desired| desired > TaskState::RUNNING);
    let state = task.status.as_ref().and_then(|status| status.state);
    told_to_go && state.is_some_and(|state| (TaskState::ASSIGNED..=TaskState::RUNNING).contains(&state))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::target::swarm::watch::PLACED_WITHIN;

    fn task(id: &str, desired: &str, state: &str) -> Task {
        let status = json!({"State": state, "Err": "no suitable node"});
        let task = json!({"ID": id, "Slot": 1, "NodeID": "n", "DesiredState": desired, "Status": status});
        serde_json::from_value(task).unwrap()
    }

    fn waiting() -> Count {
        let unplaced = Some("no suitable node".to_owned());
        Count { running: 0, wanted: 1, youngest: None, failing: Vec::new(), waiting: None, unplaced }
    }

    #[test]
    fn who_waits_for_what_still_stops_does_not_wait_for_a_node() {
        let (mut placing, begun) = (Placing::default(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        let (new, stopping) = (task("new", "running", "pending"), task("old", "shutdown", "running"));
        for second in 0..=45 {
            placing.note(&waiting(), std::slice::from_ref(&new), at(second));
            if placing.asks(at(second)) {
                placing.heed(&[new.clone(), stopping.clone()], &Nodes::default(), at(second));
            }
            assert!(placing.longest(at(second)) < PLACED_WITHIN, "at {second} s");
        }
        // It is gone; and what was never begun is not waited for.
        let gone = [task("old", "shutdown", "shutdown"), task("older", "shutdown", "pending")];
        for second in 46..=75 {
            placing.note(&waiting(), std::slice::from_ref(&new), at(second));
            if placing.asks(at(second)) {
                placing.heed(&gone, &Nodes::default(), at(second));
            }
        }
        assert!(placing.longest(at(75)) >= PLACED_WITHIN, "{placing:?}");
    }

    #[test]
    fn each_task_has_a_clock_of_its_own() {
        let (mut placing, begun) = (Placing::default(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        placing.note(&waiting(), &[task("one", "running", "pending")], at(0));
        placing.note(&waiting(), &[task("two", "running", "pending")], at(16));
        assert_eq!(placing.longest(at(32)), Duration::from_secs(16));
        placing.note(&Count { unplaced: None, ..waiting() }, &[], at(33));
        assert_eq!(placing.longest(at(40)), Duration::ZERO);
        // What fits nowhere has no task.
        placing.note(&waiting(), &[], at(40));
        placing.note(&waiting(), &[], at(71));
        assert!(placing.longest(at(71)) >= PLACED_WITHIN);
    }
}
