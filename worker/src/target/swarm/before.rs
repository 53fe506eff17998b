//! What ran well before a rollout that is under way, or was given up half-way, when it is taken over.
//!
//! What a rollout of ours replaces is noted when it is announced. Where somebody else began one, or ours only ran the
//! same image anew, nobody noted anything: the spec before it and the tasks that were made of that tell. The same holds
//! of what somebody else brought to a good end.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use bollard::models::{Task, TaskState};
use proto::{ImageRef, Timestamp};

use super::{
    apply::FoundService,
    lives::{Containers, lives_of},
    lookout::Which,
    service::{Mode, Service, UpdateState, same_image},
    tasks,
    watch::window,
};
use crate::target::TargetError;

impl FoundService {
    /// The image that ran well before the change under way, as it is to be noted before `next` is written.
    pub(super) async fn good_before(&self, next: Option<&ImageRef>) -> Result<Option<String>, TargetError> {
        match self.worth_noting(next).await? {
            Some(good) => Ok(Some(good)),
            None => Ok(self.ran_before(next).await?.map(|image| image.to_string())),
        }
    }

    /// The image that ran well before the one that stands there, where somebody else brought that; `next` is to follow.
    pub(super) async fn ran_before(&self, next: Option<&ImageRef>) -> Result<Option<ImageRef>, TargetError> {
        match Box::pin(self.ran_by_the_former_spec(next)).await? {
            Some(image) => Ok(Some(image)),
            None => Ok(Box::pin(self.ran_before_another()).await?.cloned()),
        }
    }

    async fn ran_by_the_former_spec(&self, next: Option<&ImageRef>) -> Result<Option<ImageRef>, TargetError> {
        let Some(former) = self.service.previous().filter(|former| is_unnoted(&self.service, former)) else {
            return Ok(None);
        };
        let Some(image) = former.image() else { return Ok(None) };
        let lookout = &self.target.swarm.lookout;
        let current = lookout.tasks(&self.service.id, Which::Current).await?;
        let mut made = lookout.tasks(&self.service.id, Which::All).await?;
        let of_now: HashSet<_> = current.into_iter().filter_map(|task| task.id).collect();
        made.retain(|task| task.id.as_ref().is_none_or(|id| !of_now.contains(id)));
        if !self.ran_well(&made, (former.mode(), &image)).await {
            return Ok(None);
        }
        let pinned = self.target.pinned_by(&made, &image).await;
        Ok(is_told_apart(&pinned, next).then_some(pinned))
    }

    /// Whether what the engine went back to ran well before the rollout that it gave up.
    pub(super) async fn ran_before_the_rollback(&self) -> Result<bool, TargetError> {
        let began: Option<Timestamp> = self.service.update_started_at().and_then(|at| at.parse().ok());
        let (Some(began), Some(image)) = (began, self.service.image()) else { return Ok(false) };
        let mut made = self.target.swarm.lookout.tasks(&self.service.id, Which::All).await?;
        made.retain(|task| made_at(task).is_some_and(|made| made < began));
        Ok(self.ran_well(&made, (self.service.mode(), &image)).await)
    }

    async fn ran_well(&self, made: &[Task], what: (Mode, &ImageRef)) -> bool {
        let window = window(&self.service, self.target.policy.stable);
        let now = self.target.swarm.lookout.now().await;
        all_stayed_up(self.target.client(), made, what, (window, now)).await
    }
}

/// Whether every task that was made of a spec stayed up for the window, or does. What is no more is asked of the engine.
pub(super) async fn all_stayed_up(
    engine: &dyn Containers,
    made: &[Task],
    what: (Mode, &ImageRef),
    (window, now): (Duration, Timestamp),
) -> bool {
    let is_it = |task: &&Task| tasks::image(task).is_some_and(|it| same_image(&it, what.1));
    let is_over = |task: &&Task| is_it(task) && !tasks::is_up(task);
    let gone = made.iter().filter(is_over).filter_map(tasks::container);
    let lives = lives_of(engine, gone, now).await;
    ran_well(made, what, (window, now), &lives)
}

/// For how long containers have run, where that could be told.
type Lives = HashMap<String, Duration>;

fn made_at(task: &Task) -> Option<Timestamp> {
    task.created_at.as_ref()?.parse().ok()
}

/// Whether an image without a digest can be told from the one that is to follow it.
pub(super) fn is_told_apart(image: &ImageRef, next: Option<&ImageRef>) -> bool {
    image.digest().is_some() || next.is_none_or(|next| next.by_tag() != *image)
}

/// Whether a change is under way, or was given up half-way, or was made by somebody else, whose beginning nobody noted.
fn is_unnoted(service: &Service, former: &Service) -> bool {
    let fence = &service.fence;
    let brings_another = former.image() != service.image();
    let is_announced = fence.trying_image.as_ref().is_some_and(|image| service.runs(image));
    match service.update() {
        Some(UpdateState::Updating | UpdateState::Paused) => {
            !(brings_another && is_announced && fence.good.is_some())
        }
        Some(UpdateState::Completed) | None => brings_another && !is_announced,
        // There is no spec before one that an engine went back to.
        Some(UpdateState::RollbackStarted | UpdateState::RollbackPaused | UpdateState::RollbackCompleted) => {
            false
        }
    }
}

/// Whether every task that was made of a spec stayed up for `window`, or does: the last one in each place.
fn ran_well(
    made: &[Task],
    (mode, image): (Mode, &ImageRef),
    (window, now): (Duration, Timestamp),
    lives: &Lives,
) -> bool {
    let wanted = match mode {
        Mode::Replicated(0) | Mode::Job => return false,
        Mode::Replicated(count) => count,
        Mode::Global => 1,
    };
    let mut last: HashMap<String, &Task> = HashMap::new();
    for task in made.iter().filter(|task| tasks::image(task).is_some_and(|it| same_image(&it, image))) {
        let place = match (mode, task.slot, &task.node_id) {
            (Mode::Global, _, Some(node)) => node.clone(),
            (_, slot, _) => slot.unwrap_or_default().to_string(),
        };
        let kept = last.entry(place).or_insert(task);
        if task.created_at > kept.created_at {
            *kept = task;
        }
    }
    last.len() as u64 >= wanted && last.values().all(|task| stayed_up(task, (window, now), lives))
}

/// Whether it runs, or did until it was told to go, for so long. One that never had a container did not.
fn stayed_up(task: &Task, (window, now): (Duration, Timestamp), lives: &Lives) -> bool {
    let Some(status) = &task.status else { return false };
    let told = tasks::container(task).and_then(|container| lives.get(container)).copied();
    let life = || told.or_else(|| tasks::life(task));
    let up_for = || Duration::try_from(now.duration_since(tasks::at(task)?)).ok();
    let lived = match status.state {
        Some(TaskState::RUNNING) if tasks::is_up(task) => up_for(),
        // What is told to go notes the time of that while it is still there, though not at once.
        Some(TaskState::RUNNING) => up_for().max(life()),
        Some(TaskState::SHUTDOWN) => life(),
        Some(_) | None => None,
    };
    tasks::container(task).is_some() && lived.is_some_and(|lived| lived >= window)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const WINDOW: Duration = Duration::from_secs(5);

    /// Made and seen last at so many seconds.
    fn task(slot: u64, image: &str, state: &str, (made, at): (u32, u32)) -> Task {
        serde_json::from_value(json!({
            "ID": format!("{slot}-{made}"), "Slot": slot, "NodeID": "n", "CreatedAt": format!("2026-01-01T00:00:{made:02}Z"),
            "Spec": {"ContainerSpec": {"Image": image}}, "DesiredState": state,
            "Status": {
                "State": state, "Timestamp": format!("2026-01-01T00:00:{at:02}Z"),
                "ContainerStatus": {"ContainerID": "c"},
            },
        }))
        .unwrap()
    }

    #[test]
    fn what_ran_before_is_told_by_the_last_task_in_each_place() {
        let image: ImageRef = "r.lan/web:1".parse().unwrap();
        let now: Timestamp = "2026-01-01T00:00:50Z".parse().unwrap();
        let of = |made: &[Task]| ran_well(made, (Mode::Replicated(2), &image), (WINDOW, now), &Lives::new());
        let runs = |slot| task(slot, "r.lan/web:1", "running", (10, 12));
        let replaced = task(1, "r.lan/web:1", "shutdown", (10, 30));
        assert!(of(&[runs(1), runs(2)]));
        assert!(of(&[replaced.clone(), runs(2)]), "half of it is replaced");
        assert!(!of(&[runs(1)]), "one of two");
        let mut told_to_go = task(1, "r.lan/web:1", "running", (10, 49));
        assert!(!of(&[told_to_go.clone(), runs(2)]), "it came up a second ago");
        told_to_go.desired_state = Some(TaskState::SHUTDOWN);
        assert!(of(&[told_to_go, runs(2)]));
        let mut not_yet = runs(1);
        not_yet.desired_state = Some(TaskState::SHUTDOWN);
        assert!(of(&[not_yet, runs(2)]), "its node has not told that it knows");
        let crashed = task(1, "r.lan/web:1", "failed", (5, 8));
        assert!(of(&[crashed, replaced.clone(), runs(2)]), "it came up at last");
        let fell = task(1, "r.lan/web:1", "failed", (31, 33));
        assert!(!of(&[replaced, fell, runs(2)]));
        let pulled = Lives::from([("c".to_owned(), Duration::from_secs(1))]);
        let began_late = [task(1, "r.lan/web:1", "shutdown", (10, 30)), runs(2)];
        assert!(
            of(&began_late) && !ran_well(&began_late, (Mode::Replicated(2), &image), (WINDOW, now), &pulled)
        );
        let soon = task(1, "r.lan/web:1", "shutdown", (10, 14));
        assert!(!of(&[soon, runs(2)]), "replaced before it was believed");
        assert!(!of(&[runs(1), task(2, "r.lan/web:2", "running", (10, 12))]));
    }

    #[test]
    fn what_our_own_rollout_replaces_was_noted_before_and_nobody_notes_anothers() {
        let service = |image: &str, labels: Value, update: &str, former: &str| {
            let spec = |image: &str, labels: &Value| json!({"Labels": labels, "TaskTemplate": {"ContainerSpec": {"Image": image}}});
            Service::from_raw(json!({
                "ID": "x", "Version": {"Index": 1}, "Spec": spec(image, &labels), "PreviousSpec": spec(former, &json!({})),
                "UpdateStatus": {"State": update},
            }))
            .unwrap()
        };
        let of = |service: &Service| is_unnoted(service, &service.previous().unwrap());
        let (one, two) = ("r.lan/web:1", "r.lan/web:2");
        let ours = json!({"longshore.trying-image": two, "longshore.good": one});
        let again = json!({"longshore.trying-image": one, "longshore.good": "r.lan/web:0"});
        for (service, unnoted) in [
            (service(two, json!({}), "updating", one), true),
            (service(two, json!({}), "paused", one), true),
            (service(two, ours.clone(), "updating", one), false),
            (service("r.lan/web:3", ours, "updating", two), true),
            // A restart notes nothing: the image is the one that ran well.
            (service(one, again, "updating", one), true),
            // Somebody else's; ours; a change of something else.
            (service(two, json!({}), "completed", one), true),
            (service(two, json!({"longshore.trying-image": two}), "completed", one), false),
            (service(two, json!({}), "completed", two), false),
            (service(two, json!({}), "rollback_started", one), false),
        ] {
            assert_eq!(of(&service), unnoted, "{service:?}");
        }
    }
}
