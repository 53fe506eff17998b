//! A service's rollout as it is seen through somebody else's door to the engine: the same judgement, none of the
//! marks. Whoever looks here keeps its marks elsewhere.

mod before;

use std::time::Duration;

use bollard::models::{Node, Task};
use proto::{ImageRef, Tasks, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::{sync::mpsc, time::Instant};

use super::{
    ages::Ages,
    good::is_proven,
    lives::{Containers, note_who_never_ran},
    placing::Placing,
    report::Report,
    service::{Mode, Service, UpdateState, same_image},
    steady::Steady,
    tasks::{Count, Counting, Failing, Nodes},
    watch::{Decision, Owner, Snapshot, window},
};
use crate::target::{End, Outcome, Progress};

/// A service of a swarm, as the engine tells of it.
#[derive(Debug, Clone)]
pub(in crate::target) struct SeenService(Service);

/// What is seen of a service at one moment, as the engine's JSON.
#[derive(Debug, Clone, Default)]
pub(in crate::target) struct Sight {
    /// The tasks of the current spec.
    pub(in crate::target) current: Value,
    /// The tasks of all specs.
    pub(in crate::target) all: Value,
    /// The nodes; empty where they are not to be seen.
    pub(in crate::target) nodes: Value,
}

/// One rollout, as far as it was seen.
pub(in crate::target) struct SeenRollout<'a> {
    report: Report<'a>,
    stable: Option<Duration>,
    steady: Steady,
    completed: Option<Instant>,
    falling: Option<Instant>,
    placing: Placing,
    by_hand: bool,
    ages: Ages,
    /// What was seen at the end.
    last: Option<Snapshot>,
}

impl SeenService {
    /// Takes the engine's answer; none where it lacks what every service has.
    pub(in crate::target) fn from_raw(raw: Value) -> Option<SeenService> {
        Service::from_raw(raw).map(SeenService)
    }

    pub(in crate::target) fn id(&self) -> &str {
        &self.0.id
    }

    pub(in crate::target) fn version(&self) -> u64 {
        self.0.index
    }

    pub(in crate::target) fn name(&self) -> &str {
        self.0.name()
    }

    /// The image that its spec names.
    pub(in crate::target) fn image(&self) -> Option<ImageRef> {
        self.0.image()
    }

    /// The spec with which all its tasks are replaced by ones of the same.
    pub(in crate::target) fn forced(&self) -> Value {
        self.0.edited(&super::service::Edit { force: true, ..super::service::Edit::default() })
    }

    /// Whether it runs to an end instead of staying up.
    pub(in crate::target) fn is_job(&self) -> bool {
        self.0.mode() == Mode::Job
    }

    /// Whether the engine is at work on it: a write now would disarm what watches the rollout.
    pub(in crate::target) fn is_rolling(&self) -> bool {
        matches!(self.0.update(), Some(UpdateState::Updating | UpdateState::RollbackStarted))
    }

    /// How long a rollout may rest between two tasks: the pause that it is given, and the time that a new task is watched.
    pub(in crate::target) fn pauses_for(&self) -> Duration {
        self.0.pauses_for()
    }

    /// Whether the engine went, or goes, back to the spec before.
    pub(in crate::target) fn went_back(&self) -> bool {
        matches!(
            self.0.update(),
            Some(UpdateState::RollbackStarted | UpdateState::RollbackCompleted | UpdateState::RollbackPaused)
        )
    }

    /// Whether what its spec names came up and stayed so: no update is under way or ended badly, and the tasks prove it,
    /// those that came down by how long they truly ran. An engine tells of no update where a service was made as it is, or
    /// where a write of something else wiped it.
    pub(in crate::target) async fn ran_well(
        &self,
        sight: &Sight,
        stable: Option<Duration>,
        engine: &dyn Containers,
    ) -> bool {
        let is_settled = matches!(self.0.update(), None | Some(UpdateState::Completed));
        let Some(image) = self.image().filter(|_| is_settled) else { return false };
        let window = window(&self.0, stable);
        let mut count = self.count(&image, sight, &Ages::default());
        note_who_never_ran(engine, &mut count.failing, window, Timestamp::now()).await;
        is_proven(&self.0, &count, window)
    }

    /// The tasks that run `image` and how many should.
    pub(in crate::target) fn tasks(&self, sight: &Sight) -> Option<Tasks> {
        let image = self.image()?;
        Some(self.count(&image, sight, &Ages::default()).tasks())
    }

    fn count(&self, image: &ImageRef, sight: &Sight, ages: &Ages) -> Count {
        let nodes = Nodes::of(list::<Node>(&sight.nodes));
        let counting = self.counting(image, &nodes, ages);
        let (current, all) = (list::<Task>(&sight.current), list::<Task>(&sight.all));
        let mut count = counting.count(&current, &all);
        if count.failing.is_empty() && !count.complete() {
            count.failing = counting.failing(&all.iter().collect::<Vec<&Task>>());
        }
        count
    }

    /// What came down with its engine.
    fn lost(&self, image: &ImageRef, sight: &Sight, ages: &Ages) -> Vec<Failing> {
        let nodes = Nodes::of(list::<Node>(&sight.nodes));
        self.counting(image, &nodes, ages).lost(&list::<Task>(&sight.current))
    }

    /// The same of whatever the engine remembers, the update under way or the last one aside.
    fn counting_of_all<'a>(&'a self, image: &'a ImageRef, nodes: &'a Nodes, ages: &'a Ages) -> Counting<'a> {
        Counting { since: None, ..self.counting(image, nodes, ages) }
    }

    fn counting<'a>(&'a self, image: &'a ImageRef, nodes: &'a Nodes, ages: &'a Ages) -> Counting<'a> {
        Counting {
            service: self.0.name(),
            mode: self.0.mode(),
            image,
            nodes,
            since: self.0.update_started_at().and_then(|at| at.parse().ok()),
            now: Timestamp::now(),
            ages,
        }
    }
}

impl<'a> SeenRollout<'a> {
    /// Of a service that is called so where it is told of.
    pub(in crate::target) fn new(
        service: &str,
        stable: Option<Duration>,
        progress: &'a mpsc::Sender<Progress>,
    ) -> SeenRollout<'a> {
        SeenRollout {
            report: Report::of_service(service, progress),
            stable,
            steady: Steady::default(),
            completed: None,
            falling: None,
            placing: Placing::default(),
            by_hand: false,
            ages: Ages::default(),
            last: None,
        }
    }

    /// What a look comes to: none while it goes on. `image` is what the service is to run, as its spec names it.
    pub(in crate::target) fn look(
        &mut self,
        service: &SeenService,
        image: &ImageRef,
        sight: &Sight,
    ) -> Option<(End, Tasks)> {
        let snapshot = self.snapshot(service, image, sight);
        match snapshot.decide() {
            Decision::Ended(end) => {
                let tasks = snapshot.count.tasks();
                self.last = Some(snapshot);
                Some((end, tasks))
            }
            Decision::Goes(line) => {
                if let Some(why) = snapshot.why_it_rolls_back() {
                    self.report.note_rollback(why);
                }
                self.report.say(snapshot.count.tasks(), line, Instant::now());
                None
            }
        }
    }

    /// The rollout as it ended, with what was told of it.
    pub(in crate::target) fn close(self, end: End) -> Outcome {
        let tasks = self.last.as_ref().map(|last| last.count.tasks());
        let output = self.last.map(|last| self.report.close(&last, &end)).unwrap_or_default();
        Outcome { tasks, output, ..Outcome::of(end) }
    }

    fn snapshot(&mut self, service: &SeenService, image: &ImageRef, sight: &Sight) -> Snapshot {
        let now = Instant::now();
        let current = list::<Task>(&sight.current);
        self.ages.note(&current, std::time::Instant::now());
        let count = service.count(image, sight, &self.ages);
        self.placing.note(&count, &current, now);
        self.placing.heed(&list::<Task>(&sight.all), &Nodes::of(list::<Node>(&sight.nodes)), now);
        let complete = count.complete();
        let lasted = self.steady.note(complete, &current, now);
        let raw = &service.0;
        let update = raw.update();
        let message = raw.update_message().to_owned();
        self.by_hand |= message.contains("manually requested rollback");
        let is_completed = matches!(update, Some(UpdateState::Completed | UpdateState::RollbackCompleted));
        since_when(&mut self.completed, is_completed, now);
        let completed_for = self.completed.map(|since| now.duration_since(since));
        let completed_at = raw.update_completed_at().and_then(|at| at.parse().ok());
        let runs = raw.image().is_some_and(|runs| same_image(&runs, image));
        let fell_lately = count.fell_since(raw.updated_at().and_then(|at| at.parse().ok()));
        Snapshot {
            owner: match (runs, service.went_back()) {
                (true, _) => Owner::Ours,
                (false, true) => Owner::TakenBack,
                (false, false) => Owner::Other,
            },
            update,
            message,
            window: window(raw, self.stable),
            replaced_none: false,
            // What runs there is looked at by whoever asks; how many were meant to is not remembered.
            emptied: false,
            by_hand: self.by_hand,
            // Not every task is to be seen through somebody else's door: that none failed proves nothing.
            by_itself: true,
            fell_after: is_completed && count.fell_after(completed_at),
            fell_lately,
            falling_for: since_when(&mut self.falling, fell_lately, now),
            lost: service.lost(image, sight, &self.ages),
            unplaced_for: self.placing.longest(now),
            steady_for: if complete { lasted } else { Duration::ZERO },
            unsteady_for: if complete { Duration::ZERO } else { lasted.min(completed_for.unwrap_or(lasted)) },
            count,
        }
    }
}

/// The items of a list that can be read.
pub(super) fn list<T: DeserializeOwned>(value: &Value) -> Vec<T> {
    let items = value.as_array().into_iter().flatten();
    items.filter_map(|item| serde_json::from_value(item.clone()).ok()).collect()
}

/// Keeps since when something has held without a break; for how long that is.
fn since_when(since: &mut Option<Instant>, holds: bool, now: Instant) -> Duration {
    if !holds {
        *since = None;
        return Duration::ZERO;
    }
    now.duration_since(*since.get_or_insert(now))
}
