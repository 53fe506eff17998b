//! The marks kept on a workload, in its own annotations: those of the pods' template would replace pods.
//!
//! A deployment's annotations are copied onto the replica set of the template that stands beside them, and
//! `kubectl rollout undo` brings them back with that template: the marks then tell of the older job, as they should.
//! That a newer one was tried is still to be seen, on the replica set that it made. The other kinds keep their
//! annotations when they are undone.

use proto::{Digest, ImageRef, JobId, Operation};
use serde_json::Value;

use super::object::Workload;
use crate::target::Standing;

/// The job whose image was written last.
const JOB: &str = "longshore.job";
/// The last image that ran well before that one.
const GOOD: &str = "longshore.good";
/// The digests that did not hold, newest first.
const BAD: &str = "longshore.bad";
/// The job whose image was taken back.
const BACK: &str = "longshore.back";
/// The job that last said whether the workload is to run, or ran it anew.
pub(super) const RUNNING: &str = "longshore.running";
/// The job that last looked the image's tag up again.
pub(super) const REDEPLOYED: &str = "longshore.redeployed";
/// How many pods ran before the workload was stopped.
pub(super) const REPLICAS: &str = "longshore.replicas";
/// When the controller had given up the rollout before ours: its word may stand for a while.
const GIVEN_UP: &str = "longshore.given-up";
/// Why a revision was made, as `kubectl rollout history` shows it.
pub(super) const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

/// What stands below this in the annotations is Longshore's own note.
pub(super) const OWN: &str = "longshore.";
/// So many digests are remembered of a container.
const MOST_BAD: usize = 8;

/// What is noted of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fence {
    pub(super) job: Option<JobId>,
    pub(super) good: Option<ImageRef>,
    pub(super) bad: Vec<Digest>,
    pub(super) back: Option<JobId>,
}

/// What an operation overwrites on a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Concern {
    /// The image.
    Image,
    /// Whether it runs.
    Running,
    /// The content behind the image's tag.
    Redeploy,
}

/// An annotation of one container.
fn of(mark: &str, container: &str) -> String {
    format!("{mark}/{container}")
}

/// The annotation that names the job whose image a container was given last.
pub(super) fn job_key(container: &str) -> String {
    of(JOB, container)
}

impl Fence {
    /// Reads the annotations. One that makes no sense counts as absent: people edit them by hand.
    pub(super) fn read(annotations: &Value, container: &str) -> Fence {
        let text = |mark: &str| annotations[of(mark, container)].as_str();
        Fence {
            job: text(JOB).and_then(|id| id.parse().ok()),
            good: text(GOOD).and_then(|image| image.parse().ok()),
            bad: text(BAD).unwrap_or_default().split(' ').filter_map(|digest| digest.parse().ok()).collect(),
            back: text(BACK).and_then(|id| id.parse().ok()),
        }
    }

    pub(super) fn of(workload: &Workload, container: &str) -> Fence {
        Fence::read(&workload.raw["metadata"]["annotations"], container)
    }

    pub(super) fn is_bad(&self, image: &ImageRef) -> bool {
        image.digest().is_some_and(|digest| self.bad.contains(digest))
    }

    pub(super) fn note_bad(&mut self, image: &ImageRef) {
        self.forget_bad(image);
        if let Some(digest) = image.digest() {
            self.bad.insert(0, digest.clone());
            self.bad.truncate(MOST_BAD);
        }
    }

    pub(super) fn forget_bad(&mut self, image: &ImageRef) {
        self.bad.retain(|bad| Some(bad) != image.digest());
    }

    /// The annotations that say this; those that say nothing are taken away.
    pub(super) fn written(&self, container: &str) -> Vec<(String, Option<String>)> {
        let bad: Vec<&str> = self.bad.iter().map(Digest::as_str).collect();
        vec![
            (of(JOB, container), self.job.map(|job| job.to_string())),
            (of(GOOD, container), self.good.as_ref().map(ToString::to_string)),
            (of(BAD, container), (!bad.is_empty()).then(|| bad.join(" "))),
            (of(BACK, container), self.back.map(|job| job.to_string())),
        ]
    }
}

impl Concern {
    /// What an operation on a workload overwrites; none for what is not carried out on one.
    pub(super) fn of(operation: &Operation) -> Option<Concern> {
        match operation {
            Operation::SetImage { .. } | Operation::Rollback { .. } => Some(Concern::Image),
            Operation::Start | Operation::Stop | Operation::Restart => Some(Concern::Running),
            Operation::Redeploy => Some(Concern::Redeploy),
            Operation::DeployStack(_)
            | Operation::DeployGit(_)
            | Operation::Migrate { .. }
            | Operation::RemoveStack { .. }
            | Operation::PruneImages { .. }
            | Operation::Hold { .. }
            | Operation::Release { .. }
            | Operation::Cancel { .. } => None,
        }
    }

    /// The job whose mark stands there.
    pub(super) fn mark(self, workload: &Workload, container: &str) -> Option<JobId> {
        match self {
            Concern::Image => Fence::of(workload, container).job,
            Concern::Running => workload.annotation(RUNNING)?.parse().ok(),
            Concern::Redeploy => workload.annotation(REDEPLOYED)?.parse().ok(),
        }
    }

    /// Where `id` stands against that mark; `tried`: its own write was undone by somebody else since.
    pub(super) fn standing(self, mark: Option<JobId>, id: JobId, tried: bool) -> Standing {
        match (self, mark) {
            (_, Some(job)) if job > id => Standing::Newer(job),
            (_, Some(job)) if job == id => Standing::Applied,
            (Concern::Image, _) if tried => Standing::Applied,
            (Concern::Image | Concern::Running | Concern::Redeploy, _) => Standing::Open,
        }
    }
}

/// The note on a rollout that was given up before the next write, where there is something to note or to forget.
pub(super) fn given_up_before(workload: &Workload) -> Option<(String, Option<String>)> {
    let noted = workload.annotation(GIVEN_UP);
    let given_up = workload.given_up();
    (given_up != noted).then(|| (GIVEN_UP.to_owned(), given_up.map(str::to_owned)))
}

/// Whether the controller's word that it gave up is that on the rollout before ours. Where a former template comes back,
/// it stands until the first pod is up.
pub(super) fn is_given_up_before(workload: &Workload) -> bool {
    workload.given_up().is_some() && workload.given_up() == workload.annotation(GIVEN_UP)
}

/// The newest job that left a mark of any kind.
pub(super) fn last_job(workload: &Workload) -> Option<JobId> {
    let images = workload.containers().filter_map(|container| Fence::of(workload, container.name).job);
    let others = [RUNNING, REDEPLOYED].into_iter().filter_map(|mark| workload.annotation(mark)?.parse().ok());
    images.chain(others).max()
}

#[cfg(test)]
mod tests {
    use proto::Timestamp;
    use serde_json::json;

    use super::*;

    #[test]
    fn marks_come_back_as_they_went_and_nonsense_is_nothing() {
        let id = JobId::mint(Timestamp::from_second(1_700_000_000).unwrap(), None);
        let mut fence =
            Fence { job: Some(id), good: Some("acme/web:1".parse().unwrap()), ..Fence::default() };
        for digit in 0..10 {
            let image: ImageRef = format!("a@sha256:{}", digit.to_string().repeat(64)).parse().unwrap();
            fence.note_bad(&image);
            fence.note_bad(&image);
            assert!(fence.is_bad(&image));
        }
        assert_eq!(fence.bad.len(), MOST_BAD);
        let mut annotations = json!({});
        for (name, value) in fence.written("web") {
            annotations[name] = json!(value);
        }
        assert_eq!(Fence::read(&annotations, "web"), fence);
        assert_eq!(Fence::read(&annotations, "other"), Fence::default());
        let nonsense = json!({"longshore.job/web": "yesterday", "longshore.good/web": "no image!", "longshore.bad/web": 3});
        assert_eq!(Fence::read(&nonsense, "web"), Fence::default());
    }

    #[test]
    fn standing_follows_the_marks() {
        let old = JobId::mint(Timestamp::from_second(1_700_000_000).unwrap(), None);
        let mine = old.successor();
        let newer = mine.successor();
        for (concern, mark, tried, standing) in [
            (Concern::Image, None, false, Standing::Open),
            (Concern::Image, Some(old), false, Standing::Open),
            // Somebody undid it: it is not written again.
            (Concern::Image, Some(old), true, Standing::Applied),
            (Concern::Image, Some(mine), false, Standing::Applied),
            (Concern::Image, Some(newer), true, Standing::Newer(newer)),
            (Concern::Running, Some(old), true, Standing::Open),
            (Concern::Running, Some(newer), false, Standing::Newer(newer)),
        ] {
            assert_eq!(concern.standing(mark, mine, tried), standing, "{concern:?} {mark:?}");
        }
    }
}
