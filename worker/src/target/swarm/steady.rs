//! Since when all tasks of a service have run, or have not.

use std::{collections::BTreeSet, time::Duration};

use bollard::models::Task;
use tokio::time::Instant;

use super::tasks::is_up;

/// What was seen last, and since when it has been so.
#[derive(Debug, Default)]
pub(super) struct Steady {
    last: Option<(Seen, Instant)>,
}

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// All run: these. A task that came down and was made anew between two looks leaves all of them running, not the
    /// same ones.
    All(BTreeSet<String>),
    NotAll,
}

impl Steady {
    /// Notes what is seen `now`; for how long it has been so without a break.
    pub(super) fn note(&mut self, complete: bool, tasks: &[Task], now: Instant) -> Duration {
        let running = || tasks.iter().filter(|task| is_up(task)).filter_map(|task| task.id.clone());
        let seen = if complete { Seen::All(running().collect()) } else { Seen::NotAll };
        let since = match &self.last {
            Some((before, since)) if *before == seen => *since,
            Some(_) | None => now,
        };
        self.last = Some((seen, since));
        now.duration_since(since)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn running(ids: &[&str]) -> Vec<Task> {
        let task = |id: &&str| {
            let status = json!({"State": "running"});
            serde_json::from_value(json!({"ID": id, "DesiredState": "running", "Status": status})).unwrap()
        };
        ids.iter().map(task).collect()
    }

    #[test]
    fn a_task_that_is_replaced_between_two_looks_breaks_it() {
        let (mut steady, begun) = (Steady::default(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(steady.note(true, &running(&["a", "b"]), at(0)), Duration::ZERO);
        assert_eq!(steady.note(true, &running(&["b", "a"]), at(4)), Duration::from_secs(4));
        assert_eq!(steady.note(true, &running(&["a", "c"]), at(5)), Duration::ZERO);
        assert_eq!(steady.note(true, &running(&["a", "c"]), at(7)), Duration::from_secs(2));
        // Down is down, whichever of them still run.
        assert_eq!(steady.note(false, &running(&["a"]), at(8)), Duration::ZERO);
        assert_eq!(steady.note(false, &running(&["c"]), at(11)), Duration::from_secs(3));
    }
}
