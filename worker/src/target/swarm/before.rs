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
    passed::PassedOver,
    service::{Mode, Service, UpdateState, same_image},
    tasks,
    watch::window,
};
use crate::target::TargetError;

/// What is known to have stood on a service before the image of now, where nobody of ours noted it.
#[derive(Debug, Clone, Default)]
pub(super) struct Before {
    /// The last one that ran well.
    pub(super) image: Option<ImageRef>,
    /// A newer one, which is not known to have done so.
    pub(super) passed: Option<PassedOver>,
}

/// What the tasks that were made of a spec tell of its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// It ran well.
    RanWell,
    /// Each task stayed up until it was told to go, which one was after so short a time: too short to be believed.
    Short { lasted: Duration, asked: Duration },
    /// Not everywhere did it stay up, or not everywhere had it come up.
    DidNot,
}

/// For how long tasks are to have stayed up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    window: Duration,
    /// An engine that calls an update completed has watched each task for so long. That is less than the window where
    /// its monitor is shorter than it takes to notice that a task came down: of a task that is over and whose container
    /// tells how long it ran, nothing is left to be noticed.
    watched: Duration,
    now: Timestamp,
}

impl Asked {
    /// Of what was rolled out as `service` says.
    pub(super) fn of(service: &Service, stable: Option<Duration>, now: Timestamp) -> Asked {
        Asked { window: window(service, stable), watched: stable.unwrap_or_else(|| service.monitor()), now }
    }
}

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
        Ok(self.stood_before(next).await?.image)
    }

    /// The same with what was passed over.
    pub(super) async fn stood_before(&self, next: Option<&ImageRef>) -> Result<Before, TargetError> {
        let former = Box::pin(self.by_the_former_spec(next)).await?;
        match former.image {
            Some(_) => Ok(former),
            None => Ok(Before { image: Box::pin(self.ran_before_another()).await?.cloned(), ..former }),
        }
    }

    async fn by_the_former_spec(&self, next: Option<&ImageRef>) -> Result<Before, TargetError> {
        let Some(former) = self.service.previous().filter(|former| is_unnoted(&self.service, former)) else {
            return Ok(Before::default());
        };
        let Some(image) = former.image() else { return Ok(Before::default()) };
        let lookout = &self.target.swarm.lookout;
        let current = lookout.tasks(&self.service.id, Which::Current).await?;
        let mut made = lookout.tasks(&self.service.id, Which::All).await?;
        let of_now: HashSet<_> = current.into_iter().filter_map(|task| task.id).collect();
        made.retain(|task| task.id.as_ref().is_none_or(|id| !of_now.contains(id)));
        match self.told_by(&made, &former, &image).await {
            Told::RanWell => {
                let pinned = self.target.pinned_by(&made, &image).await;
                Ok(Before { image: is_told_apart(&pinned, next).then_some(pinned), passed: None })
            }
            told @ (Told::Short { .. } | Told::DidNot) => {
                let is_another = !self.service.runs(&image);
                Ok(Before { image: None, passed: is_another.then_some(PassedOver { image, told }) })
            }
        }
    }

    /// Whether what the engine went back to ran well before the rollout that it gave up.
    pub(super) async fn ran_before_the_rollback(&self) -> Result<bool, TargetError> {
        let began: Option<Timestamp> = self.service.update_started_at().and_then(|at| at.parse().ok());
        let (Some(began), Some(image)) = (began, self.service.image()) else { return Ok(false) };
        let mut made = self.target.swarm.lookout.tasks(&self.service.id, Which::All).await?;
        made.retain(|task| made_at(task).is_some_and(|made| made < began));
        Ok(self.told_by(&made, &self.service, &image).await == Told::RanWell)
    }

    async fn told_by(&self, made: &[Task], rolled_out: &Service, image: &ImageRef) -> Told {
        let now = self.target.swarm.lookout.now().await;
        let asked = Asked::of(rolled_out, self.target.policy.stable, now);
        told_by(self.target.client(), made, (rolled_out.mode(), image), asked).await
    }
}

/// What the tasks that were made of a spec tell. What is no more is asked of the engine.
pub(super) async fn told_by(
    engine: &dyn Containers,
    made: &[Task],
    what: (Mode, &ImageRef),
    asked: Asked,
) -> Told {
    let is_over = |task: &&Task| is_of(task, what.1) && !tasks::is_up(task);
    let gone = made.iter().filter(is_over).filter_map(tasks::container);
    let lives = lives_of(engine, gone, asked.now).await;
    told(made, what, asked, &lives)
}

fn is_of(task: &Task, image: &ImageRef) -> bool {
    tasks::image(task).is_some_and(|it| same_image(&it, image))
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

/// What the last task in each place tells, of those that were made of a spec.
fn told(made: &[Task], (mode, image): (Mode, &ImageRef), asked: Asked, lives: &Lives) -> Told {
    let wanted = match mode {
        Mode::Replicated(0) | Mode::Job => return Told::DidNot,
        Mode::Replicated(count) => count,
        Mode::Global => 1,
    };
    let made: Vec<&Task> = made.iter().filter(|task| is_of(task, image)).collect();
    let mut last: HashMap<String, &Task> = HashMap::new();
    for task in &made {
        let place = match (mode, task.slot, &task.node_id) {
            (Mode::Global, _, Some(node)) => node.clone(),
            (_, slot, _) => slot.unwrap_or_default().to_string(),
        };
        let kept = last.entry(place).or_insert(task);
        if task.created_at > kept.created_at {
            *kept = task;
        }
    }
    let stays: Option<Vec<Stay>> = last.values().map(|task| stay(task, asked.now, lives)).collect();
    let Some(stays) = stays.filter(|stays| stays.len() as u64 >= wanted) else { return Told::DidNot };
    let none_fell = !made.iter().any(|task| tasks::fell(task));
    let is_enough = |stay: &Stay| {
        stay.lasted >= asked.window || none_fell && stay.is_exact && stay.lasted >= asked.watched
    };
    match stays.iter().filter(|stay| !is_enough(stay)).map(|stay| stay.lasted).min() {
        None => Told::RanWell,
        Some(lasted) => Told::Short { lasted, asked: asked.window },
    }
}

/// For how long a task ran until it was told to go, or has.
#[derive(Debug, Clone, Copy)]
struct Stay {
    lasted: Duration,
    /// Its container said so. The task itself tells only for how long it was there, the pull of its image included, and
    /// of one that is taken for running nobody asked that.
    is_exact: bool,
}

/// None of one that came down by itself, or never had a container.
fn stay(task: &Task, now: Timestamp, lives: &Lives) -> Option<Stay> {
    let told = lives.get(tasks::container(task)?).copied();
    let life = || told.or_else(|| tasks::life(task));
    let up_for = || Duration::try_from(now.duration_since(tasks::at(task)?)).ok();
    let lasted = match task.status.as_ref()?.state {
        Some(TaskState::RUNNING) if tasks::is_up(task) => up_for(),
        // What is told to go notes the time of that while it is still there, though not at once.
        Some(TaskState::RUNNING) => up_for().max(life()),
        Some(TaskState::SHUTDOWN) => life(),
        Some(_) | None => None,
    };
    Some(Stay { lasted: lasted?, is_exact: told.is_some() })
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
        let asked = Asked { window: WINDOW, watched: WINDOW, now };
        let told_by = |made: &[Task], lives: &Lives| told(made, (Mode::Replicated(2), &image), asked, lives);
        let of = |made: &[Task]| told_by(made, &Lives::new()) == Told::RanWell;
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
        assert!(of(&began_late), "its container is gone: the task tells for how long it was there");
        let second = Duration::from_secs(1);
        assert_eq!(told_by(&began_late, &pulled), Told::Short { lasted: second, asked: WINDOW });
        let soon = task(1, "r.lan/web:1", "shutdown", (10, 14));
        assert!(!of(&[soon, runs(2)]), "replaced before it was believed");
        assert!(!of(&[runs(1), task(2, "r.lan/web:2", "running", (10, 12))]));
    }

    #[test]
    fn what_an_engine_watched_for_less_than_a_window_ran_well_where_its_container_tells_and_none_fell() {
        let image: ImageRef = "r.lan/web:1".parse().unwrap();
        let now: Timestamp = "2026-01-01T00:00:50Z".parse().unwrap();
        let seconds = Duration::from_secs;
        let asked = Asked { window: seconds(3), watched: seconds(1), now };
        let lives = |lasted| Lives::from([("c".to_owned(), lasted)]);
        let told_by = |made: &[Task], lives| told(made, (Mode::Replicated(1), &image), asked, &lives);
        let replaced = task(1, "r.lan/web:1", "shutdown", (10, 12));
        let made = [replaced.clone()];
        let short = |lasted| Told::Short { lasted, asked: seconds(3) };
        assert_eq!(told_by(&made, lives(Duration::from_millis(1_200))), Told::RanWell);
        assert_eq!(told_by(&made, lives(Duration::from_millis(900))), short(Duration::from_millis(900)));
        assert_eq!(told_by(&made, Lives::new()), short(seconds(2)), "who knows how long it took to begin");
        let fell = task(1, "r.lan/web:1", "failed", (7, 9));
        assert_eq!(told_by(&[fell.clone(), replaced], lives(seconds(2))), short(seconds(2)), "a crash loop");
        assert_eq!(told_by(&[fell], lives(seconds(2))), Told::DidNot);
        let up = task(1, "r.lan/web:1", "running", (46, 48));
        assert_eq!(told_by(&[up], Lives::new()), short(seconds(2)), "its exit may not be noticed yet");
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
