//! For how long tasks can have run, by the one clock that is certain: this worker's own, from when it saw them come up.
//!
//! What nodes note is the time of their own clocks. Where those are behind, or this worker's is ahead, a task looks older
//! than it is, and a window that is not over looks over.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bollard::models::Task;
use proto::Timestamp;

use super::tasks::is_up;

/// The engine is asked for its time again after so long: clocks are set.
const CLOCK_LASTS: Duration = Duration::from_secs(60);

/// What was seen of the tasks of one service.
#[derive(Debug, Default)]
pub(super) struct Ages {
    looked: Option<Instant>,
    /// The tasks that run, with the last look at which they did not; none where there was no look before.
    up: HashMap<String, Option<Instant>>,
}

impl Ages {
    /// Notes which of the tasks run `now`.
    pub(super) fn note(&mut self, tasks: &[Task], now: Instant) {
        let known = std::mem::take(&mut self.up);
        let ids = tasks.iter().filter(|task| is_up(task)).filter_map(|task| task.id.clone());
        self.up = ids.map(|id| (id.clone(), known.get(&id).copied().unwrap_or(self.looked))).collect();
        self.looked = Some(now);
    }

    /// The most that a running task can have run; none where it did at the first look already.
    pub(super) fn at_most(&self, task: &Task) -> Option<Duration> {
        let not_yet = *self.up.get(task.id.as_ref()?)?;
        not_yet.map(|not_yet| not_yet.elapsed())
    }
}

/// An engine's clock, as it was read at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EngineClock {
    told: Timestamp,
    at: Instant,
}

impl EngineClock {
    /// The engine said `told` to a question that was asked when it was `asked` here, and is answered now. A clock that
    /// goes as ours does is ours; one that says nothing is taken for that.
    pub(super) fn read(told: Option<Timestamp>, asked: Timestamp) -> EngineClock {
        let (answered, at) = (Timestamp::now(), Instant::now());
        let told = told.filter(|told| !(asked..=answered).contains(told)).unwrap_or(answered);
        EngineClock { told, at }
    }

    pub(super) fn is_old(&self) -> bool {
        self.at.elapsed() >= CLOCK_LASTS
    }

    pub(super) fn now(&self) -> Timestamp {
        self.told.checked_add(self.at.elapsed()).unwrap_or(self.told)
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::{TaskState, TaskStatus};
    use proto::ImageRef;

    use super::*;
    use crate::target::swarm::{
        service::Mode,
        tasks::{Counting, Nodes},
    };

    const MINUTE: Duration = Duration::from_secs(60);

    fn task(id: &str, state: TaskState, since: Timestamp) -> Task {
        let spec = serde_json::json!({"ContainerSpec": {"Image": "r.lan/web:1"}});
        Task {
            id: Some(id.to_owned()),
            slot: Some(1),
            spec: serde_json::from_value(spec).unwrap(),
            desired_state: Some(TaskState::RUNNING),
            status: Some(TaskStatus {
                state: Some(state),
                timestamp: Some(since.to_string()),
                ..TaskStatus::default()
            }),
            ..Task::default()
        }
    }

    fn youngest(tasks: &[Task], ages: &Ages) -> Duration {
        let image: ImageRef = "r.lan/web:1".parse().unwrap();
        let counting = Counting {
            service: "web",
            mode: Mode::Replicated(1),
            image: &image,
            nodes: &Nodes::default(),
            since: None,
            now: Timestamp::now(),
            ages,
        };
        counting.count(tasks, &[]).youngest.unwrap()
    }

    #[test]
    fn a_task_that_was_seen_to_come_up_is_no_older_than_that() {
        // By the clock of its node, which is a minute behind.
        let since = Timestamp::now() - MINUTE;
        let mut ages = Ages::default();
        ages.note(&[task("a", TaskState::STARTING, since)], Instant::now());
        let up = [task("a", TaskState::RUNNING, since)];
        ages.note(&up, Instant::now());
        ages.note(&up, Instant::now());
        assert!(youngest(&up, &ages) < MINUTE / 2, "{:?}", youngest(&up, &ages));
        // One that ran when a worker came to it is as old as its node says.
        let mut late = Ages::default();
        late.note(&up, Instant::now());
        late.note(&up, Instant::now());
        assert!(youngest(&up, &late) >= MINUTE);
        // Seen long ago, it is believed.
        let mut long = Ages::default();
        long.note(&[], Instant::now().checked_sub(MINUTE).unwrap());
        long.note(&up, Instant::now());
        assert!(youngest(&up, &long) >= MINUTE);
    }

    #[test]
    fn an_engines_clock_is_taken_where_it_differs_from_ours() {
        let asked = Timestamp::now();
        for told in [asked - MINUTE, asked + MINUTE] {
            let clock = EngineClock::read(Some(told), asked);
            let off = clock.now().duration_since(told);
            assert!(Duration::try_from(off).unwrap() < MINUTE / 2, "{off}");
            assert!(!clock.is_old());
        }
        for told in [None, Some(asked)] {
            let clock = EngineClock::read(told, asked);
            assert!(clock.now() >= asked && clock.now() <= Timestamp::now(), "{told:?}");
        }
    }
}
