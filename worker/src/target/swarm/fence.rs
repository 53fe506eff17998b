//! The marks kept on a service, in its labels. Service labels, not container labels: changing them
//! replaces no task.

use proto::{Digest, ImageRef, JobId};
use serde_json::Value;

use super::service::UpdateState;
use crate::target::Standing;

/// The job that was applied last, written in one write with its image.
pub(super) const JOB: &str = "longshore.job";
/// The job whose image is about to be written. An engine that rolls a service back restores the labels of
/// the earlier spec, so this one, written before, still tells that the job was tried.
pub(super) const TRYING: &str = "longshore.trying";
/// The image that the job named in [`TRYING`] was about to bring.
pub(super) const TRYING_IMAGE: &str = "longshore.trying-image";
/// The job whose image was rolled back, by the engine or by us.
pub(super) const BACK: &str = "longshore.back";
/// The digests that were rolled back, newest first: they are not deployed again until somebody says so.
pub(super) const BAD: &str = "longshore.bad";
/// All labels that are ours.
pub(super) const ALL: [&str; 6] = [JOB, TRYING, TRYING_IMAGE, GOOD, BACK, BAD];
/// So many digests are remembered.
const MOST_BAD: usize = 8;
/// The last image that had converged before the last change. The engine's own `PreviousSpec` is not it: after
/// an update of an update it names one that never ran well.
pub(super) const GOOD: &str = "longshore.good";

/// What the labels say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fence {
    pub(super) job: Option<JobId>,
    pub(super) trying: Option<JobId>,
    pub(super) good: Option<ImageRef>,
    pub(super) trying_image: Option<ImageRef>,
    pub(super) back: Option<JobId>,
    pub(super) bad: Vec<Digest>,
}

impl Fence {
    /// Reads the labels of a spec. One that makes no sense counts as absent: people edit labels by hand.
    pub(super) fn read(labels: &Value) -> Fence {
        let text = |name: &str| labels.get(name).and_then(Value::as_str);
        Fence {
            job: text(JOB).and_then(|id| id.parse().ok()),
            trying: text(TRYING).and_then(|id| id.parse().ok()),
            good: text(GOOD).and_then(|image| image.parse().ok()),
            trying_image: text(TRYING_IMAGE).and_then(|image| image.parse().ok()),
            back: text(BACK).and_then(|id| id.parse().ok()),
            bad: text(BAD).unwrap_or_default().split(' ').filter_map(|digest| digest.parse().ok()).collect(),
        }
    }

    /// Whether the image was rolled back before.
    pub(super) fn is_bad(&self, image: &ImageRef) -> bool {
        image.digest().is_some_and(|digest| self.bad.contains(digest))
    }

    /// The text of [`BAD`] with `image` added.
    pub(super) fn with_bad(&self, image: &ImageRef) -> String {
        let others = self.bad.iter().filter(|bad| Some(*bad) != image.digest());
        let all = image.digest().into_iter().chain(others).take(MOST_BAD);
        all.map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    /// The text of [`BAD`] with `images` at its end, as far as they are not in it yet and there is room.
    pub(super) fn with_older_bad<'a>(&self, images: impl Iterator<Item = &'a ImageRef>) -> Option<String> {
        let mut all: Vec<&Digest> = self.bad.iter().collect();
        for digest in images.filter_map(ImageRef::digest) {
            if all.len() < MOST_BAD && !all.contains(&digest) {
                all.push(digest);
            }
        }
        let is_more = all.len() > self.bad.len();
        is_more.then(|| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    }

    /// The text of [`BAD`] without `image`, where that changes it.
    pub(super) fn without_bad(&self, image: &ImageRef) -> Option<String> {
        let others = self.bad.iter().filter(|bad| Some(*bad) != image.digest());
        let others = || others.clone().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        self.is_bad(image).then(others)
    }

    /// Where `id` stands, given what the engine says of its last update.
    ///
    /// The write of `trying` clears the engine's update status, so a rollback seen beside it was that of the
    /// job it names. It is watched like any rollout, also when it is over: the marks are written after it.
    pub(super) fn standing(&self, id: JobId, update: Option<UpdateState>) -> Standing {
        match self.job {
            Some(job) if job > id => Standing::Newer(job),
            Some(job) if job == id => Standing::Applied,
            Some(_) | None if self.trying != Some(id) => Standing::Open,
            Some(_) | None => match update {
                Some(
                    UpdateState::RollbackStarted
                    | UpdateState::RollbackCompleted
                    | UpdateState::RollbackPaused,
                ) => Standing::Applied,
                Some(UpdateState::Updating | UpdateState::Paused | UpdateState::Completed) | None => {
                    Standing::Open
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::Timestamp;
    use serde_json::json;

    use super::*;

    #[test]
    fn standing_follows_the_marks() {
        use UpdateState as U;
        let old = JobId::mint(Timestamp::from_second(1_700_000_000).unwrap(), None);
        let mine = old.successor();
        let newer = mine.successor();
        let fence = |job, trying| Fence { job, trying, ..Fence::default() };
        for (fence, update, standing) in [
            (fence(None, None), None, Standing::Open),
            (fence(None, None), Some(U::RollbackCompleted), Standing::Open),
            (fence(Some(old), None), Some(U::Updating), Standing::Open),
            (fence(Some(old), Some(mine)), None, Standing::Open),
            (fence(Some(old), Some(mine)), Some(U::Completed), Standing::Open),
            (fence(Some(old), Some(mine)), Some(U::RollbackStarted), Standing::Applied),
            (fence(Some(old), Some(mine)), Some(U::RollbackCompleted), Standing::Applied),
            (fence(None, Some(mine)), Some(U::RollbackPaused), Standing::Applied),
            (fence(Some(old), Some(newer)), Some(U::RollbackCompleted), Standing::Open),
            (fence(Some(mine), Some(mine)), Some(U::Completed), Standing::Applied),
            (fence(Some(newer), Some(mine)), Some(U::RollbackCompleted), Standing::Newer(newer)),
        ] {
            assert_eq!(fence.standing(mine, update), standing, "{fence:?} {update:?}");
        }
    }

    #[test]
    fn labels_that_make_no_sense_count_as_absent() {
        let id = JobId::mint(Timestamp::from_second(1_700_000_000).unwrap(), None);
        let labels = json!({JOB: "yesterday", TRYING: id.to_string(), GOOD: "no image!", "other": "x"});
        assert_eq!(Fence::read(&labels), Fence { trying: Some(id), ..Fence::default() });
        assert_eq!(Fence::read(&Value::Null), Fence::default());
    }
}
