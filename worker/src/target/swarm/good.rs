//! Which image ran well, and how it is noted so that it can be found again.
//!
//! A tag may name other content by the time the image is needed, and will where somebody pushes to the same tag again and
//! again. So an image is noted with the digest that its tasks run, and one of which only the tag is known is not taken
//! for a way back from an image of that tag.

use std::time::Duration;

use bollard::models::Task;
use proto::{ImageRef, Operation};

use super::{
    SwarmService,
    apply::FoundService,
    before::is_told_apart,
    lifecycle::{RAN, attempted},
    lookout::Which,
    service::{Mode, Service, UpdateState, same_image},
    tasks::{self, Count, Failing, is_up},
    watch::window,
};
use crate::target::{Target, TargetError};

/// What came down after a longer life than this, and than the window, had been believed before.
const SHORT_LIFE: Duration = Duration::from_secs(60);

impl FoundService {
    /// The image that runs well now, as it is to be noted before `next` is written.
    pub(super) async fn worth_noting(&self, next: Option<&ImageRef>) -> Result<Option<String>, TargetError> {
        let Some(stands) = self.service.image() else { return Ok(None) };
        if let Some(ran) = self.ran_when_stopped(&stands) {
            return Ok(Some(ran));
        }
        if !self.runs_well(&stands).await? {
            return Ok(None);
        }
        let tasks = match stands.digest() {
            Some(_) => Vec::new(),
            None => self.target.swarm.lookout.tasks(&self.service.id, Which::Current).await?,
        };
        let pinned = self.target.pinned_by(&tasks, &stands).await;
        Ok(is_told_apart(&pinned, next).then(|| pinned.to_string()))
    }

    /// A service without tasks proves nothing; what it ran well before it was stopped was noted then.
    pub(super) fn ran_when_stopped(&self, stands: &ImageRef) -> Option<String> {
        let ran: ImageRef = self.service.label(RAN)?.parse().ok()?;
        let is_it = same_image(&ran, stands) || (stands.digest().is_none() && *stands == ran.by_tag());
        is_it.then(|| ran.to_string())
    }

    /// Whether what stands on the service has converged, by the same count as a rollout's.
    async fn runs_well(&self, stands: &ImageRef) -> Result<bool, TargetError> {
        let went_back = match self.service.update() {
            Some(UpdateState::Completed) | None => false,
            Some(UpdateState::RollbackCompleted) => true,
            Some(
                UpdateState::Updating
                | UpdateState::Paused
                | UpdateState::RollbackStarted
                | UpdateState::RollbackPaused,
            ) => return Ok(false),
        };
        let window = window(&self.service, self.target.policy.stable);
        let count = self.target.count(&self.service, stands).await?;
        if !is_proven(&self.service, &count, window) {
            return Ok(false);
        }
        if !went_back || self.service.fence.good.is_none() {
            return Ok(true);
        }
        // What an engine rolls back to may itself never have converged: a known good image stays, until it has.
        let is_believed = count.youngest.is_some_and(|youngest| youngest > believed_after(window));
        Ok(is_believed || Box::pin(self.ran_before_the_rollback()).await?)
    }

    /// Refuses a rollback to what runs already, where that is all that is known of what ran before.
    pub(super) fn refuse_a_way_to_the_same(
        &self,
        operation: &Operation,
        image: &ImageRef,
    ) -> Result<(), TargetError> {
        let good = self.service.fence.good.as_ref().filter(|_| self.pins_good(operation));
        match good.filter(|_| self.service.runs(image)) {
            Some(good) => Err(self.target.refused(attempted(operation), known_by_tag_only(good))),
            None => Ok(()),
        }
    }

    /// Whether the operation goes back to what ran well, and of that no digest is known until it is written.
    pub(super) fn pins_good(&self, operation: &Operation) -> bool {
        let is_by_tag = self.service.fence.good.as_ref().is_some_and(|good| good.digest().is_none());
        is_by_tag && matches!(operation, Operation::Rollback { image: None, .. })
    }
}

impl SwarmService {
    /// The image with the digest that its tasks run; as it is where it has one, or where none can be told: only what
    /// is on the engine's own node can be looked at.
    pub(super) async fn pinned_by(&self, tasks: &[Task], image: &ImageRef) -> ImageRef {
        if image.digest().is_some() {
            return image.clone();
        }
        let Some(here) = self.client().own_node().await else { return image.clone() };
        let is_here = |task: &&Task| {
            task.node_id.as_deref() == Some(&*here)
                && tasks::image(task).is_some_and(|it| same_image(&it, image))
        };
        let mut held: Vec<&Task> = tasks.iter().filter(is_here).collect();
        // One that runs is sure to have its container still; the youngest of the others may.
        held.sort_by_key(|task| std::cmp::Reverse((is_up(task), task.created_at.clone())));
        let Some(container) = held.into_iter().find_map(tasks::container) else { return image.clone() };
        let known = self.client().digests_of(container).await;
        let digest = known
            .iter()
            .filter_map(|it| it.parse::<ImageRef>().ok())
            .find(|it| it.repository() == image.repository())
            .and_then(|it| it.digest().cloned());
        digest.map_or(image.clone(), |digest| image.with_digest(digest))
    }

    /// The last image that ran well, where it is another than the one that did not hold: `before` where that is known,
    /// or else what was noted.
    ///
    /// # Errors
    /// Why there is none, for people.
    pub(super) async fn good_of(
        &self,
        service: &Service,
        failed: &ImageRef,
        before: Option<&ImageRef>,
    ) -> Result<ImageRef, String> {
        let is_another = |good: &ImageRef| !same_image(good, failed) && !service.fence.is_bad(good);
        let unknown = || "no other image is known to have run well".to_owned();
        let mut known = before.into_iter().chain(&service.fence.good).cloned();
        let good = known.find(is_another).ok_or_else(unknown)?;
        if good.digest().is_some() {
            return Ok(good);
        }
        if good == failed.by_tag() {
            return Err(known_by_tag_only(&good));
        }
        match self.resolve(&good).await {
            Ok(pinned) if is_another(&pinned) => Ok(pinned),
            Ok(_) => Err(known_by_tag_only(&good)),
            // The nodes may have it, or reach a registry that we do not.
            Err(_) => Ok(good),
        }
    }
}

/// Whether what stands there ran well, given its tasks of this moment.
pub(super) fn is_proven(service: &Service, count: &Count, window: Duration) -> bool {
    // With nothing meant to run, nothing is proven; nor where no node takes a service that is to run on all.
    if count.wanted == 0 || (count.running == 0 && service.mode() == Mode::Global) {
        return false;
    }
    // What came down after it had been believed is no crash loop: it says nothing of the image.
    let fell_soon = fell_soon(&count.failing, window);
    if count.complete() {
        // Nor while it may be up between two crashes.
        return !fell_soon || count.youngest.unwrap_or_default() > count.longest_life();
    }
    // Tasks that move to another node, or are made anew, take nothing from what the engine had watched to a good end.
    let is_ours = service.fence.trying_image.as_ref().is_some_and(|image| service.runs(image));
    service.update() == Some(UpdateState::Completed) && is_ours && !fell_soon
}

/// Whether one came down before it had been believed.
pub(super) fn fell_soon(failing: &[Failing], window: Duration) -> bool {
    let lived = believed_after(window);
    failing.iter().any(|failing| failing.life.is_none_or(|life| life <= lived))
}

/// What ran for longer than this had been believed.
pub(in crate::target) fn believed_after(window: Duration) -> Duration {
    SHORT_LIFE.max(window)
}

/// Whether the service stands as it did when `good` was noted: with that very content, or by its tag where somebody
/// wrote no digest, and the image that did not hold is of another tag.
pub(super) fn stands_as(service: &Service, good: &ImageRef, failed: &ImageRef) -> bool {
    let by_tag = |stands: ImageRef| is_tag_of(&stands, good) && !is_tag_of(&stands, failed);
    service.runs(good) || service.image().is_some_and(by_tag)
}

/// Whether `stands` has no digest, and is what the tag of `image` names.
pub(super) fn is_tag_of(stands: &ImageRef, image: &ImageRef) -> bool {
    stands.digest().is_none() && *stands == image.by_tag()
}

/// Why an image without a digest is no way back.
pub(super) fn known_by_tag_only(good: &ImageRef) -> String {
    format!("what ran before is known only as `{}`, which names the newer image now", good.familiar())
}

/// Why a service of that name is not rolled back, and what to do about it.
pub(super) fn nothing_ran_before(name: &str) -> String {
    nothing_ran_before_on(&format!("`{name}`"))
}

/// The same of what is not one service.
pub(super) fn nothing_ran_before_on(what: &str) -> String {
    format!(
        "no image is known that {what} ran well before the one it has now; name the job that brought the one you mean, with \
         `--to`"
    )
}

#[cfg(test)]
mod tests {
    use bollard::models::TaskState;
    use serde_json::{Value, json};

    use super::*;
    use crate::target::swarm::fence;

    const WINDOW: Duration = Duration::from_secs(5);

    fn digest(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    fn service(image: &str, labels: Value, update: &str) -> Service {
        let spec = json!({"Labels": labels, "TaskTemplate": {"ContainerSpec": {"Image": image}}});
        let raw =
            json!({"ID": "x", "Version": {"Index": 1}, "Spec": spec, "UpdateStatus": {"State": update}});
        Service::from_raw(raw).unwrap()
    }

    fn count(running: u64, wanted: u64, lives: &[u64]) -> Count {
        let failing = |life: &u64| Failing {
            task: "web.1".to_owned(),
            node: None,
            state: TaskState::FAILED,
            error: "exit (1)".to_owned(),
            at: None,
            life: Some(Duration::from_secs(*life)),
            container: None,
        };
        let failing = lives.iter().map(failing).collect();
        Count { running, wanted, youngest: Some(WINDOW), failing, waiting: None, unplaced: None }
    }

    #[test]
    fn what_was_watched_to_a_good_end_ran_well_though_a_task_is_made_anew() {
        let image = format!("r.lan/web:2@{}", digest('2'));
        let ours = json!({fence::TRYING_IMAGE: image});
        let (completed, by_hand) = (service(&image, ours.clone(), "completed"), json!({}));
        for (service, count, proven) in [
            (&completed, count(2, 2, &[]), true),
            // A node is drained; a task crashed after days.
            (&completed, count(1, 2, &[]), true),
            (&completed, count(1, 2, &[100_000]), true),
            // A crash loop, which an engine that goes on over failures calls completed.
            (&completed, count(1, 2, &[3]), false),
            (&completed, count(1, 2, &[100_000, 3]), false),
            (&completed, count(2, 2, &[9]), false),
            // Killed after days, and up again since a moment.
            (&completed, count(2, 2, &[100_000]), true),
            (&completed, count(2, 2, &[100_000, 9]), false),
            (&completed, count(0, 0, &[]), false),
            // Nobody watched it.
            (&service(&image, by_hand.clone(), "completed"), count(1, 2, &[]), false),
            (&service(&image, by_hand, "completed"), count(2, 2, &[100_000]), true),
            (&service(&image, ours, ""), count(1, 2, &[]), false),
        ] {
            assert_eq!(is_proven(service, &count, WINDOW), proven, "{service:?} {count:?}");
        }
    }

    #[test]
    fn a_tag_stands_for_what_ran_well_unless_the_image_that_did_not_hold_has_it() {
        let image =
            |tag: &str, digit| -> ImageRef { format!("r.lan/web:{tag}@{}", digest(digit)).parse().unwrap() };
        let (good, failed) = (image("1", '1'), image("2", '2'));
        let standing = |text: &str| service(text, json!({}), "rollback_completed");
        assert!(stands_as(&standing(&good.to_string()), &good, &failed));
        assert!(stands_as(&standing("r.lan/web:1"), &good, &failed));
        assert!(!stands_as(&standing("r.lan/web:3"), &good, &failed));
        assert!(!stands_as(&standing(&failed.to_string()), &good, &failed));
        // A tag that was moved: the engine went back to what does not hold.
        assert!(!stands_as(&standing("r.lan/web:1"), &good, &image("1", '2')));
    }
}
