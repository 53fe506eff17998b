//! The marks kept on a service, in its labels. Service labels, not container labels: changing them
//! replaces no task.

use proto::{ImageRef, JobId};
use serde_json::Value;

use super::service::UpdateState;
use crate::target::Standing;

/// The job that was applied last, written in one write with its image.
pub(super) const JOB: &str = "longshore.job";
/// The job whose image is about to be written. An engine that rolls a service back restores the labels of
/// the earlier spec, so this one, written before, still tells that the job was tried.
pub(super) const TRYING: &str = "longshore.trying";
/// The last image that had converged before the last change. The engine's own `PreviousSpec` is not it: after
/// an update of an update it names one that never ran well.
pub(super) const GOOD: &str = "longshore.good";

/// What the labels say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fence {
    pub(super) job: Option<JobId>,
    pub(super) trying: Option<JobId>,
    pub(super) good: Option<ImageRef>,
}

impl Fence {
    /// Reads the labels of a spec. One that makes no sense counts as absent: people edit labels by hand.
    pub(super) fn read(labels: &Value) -> Fence {
        let text = |name: &str| labels.get(name).and_then(Value::as_str);
        Fence {
            job: text(JOB).and_then(|id| id.parse().ok()),
            trying: text(TRYING).and_then(|id| id.parse().ok()),
            good: text(GOOD).and_then(|image| image.parse().ok()),
        }
    }

    /// Where `id` stands, given what the engine says of its last update.
    ///
    /// The write of `trying` clears the engine's update status, so a rollback seen beside it was that of the
    /// job it names. One still under way is watched to its end like any rollout.
    pub(super) fn standing(&self, id: JobId, update: Option<UpdateState>) -> Standing {
        match self.job {
            Some(job) if job > id => Standing::Newer(job),
            Some(job) if job == id => Standing::Applied,
            Some(_) | None if self.trying != Some(id) => Standing::Open,
            Some(_) | None => match update {
                Some(UpdateState::RollbackStarted) => Standing::Applied,
                Some(UpdateState::RollbackCompleted | UpdateState::RollbackPaused) => Standing::RolledBack,
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
        let fence = |job, trying| Fence { job, trying, good: None };
        for (fence, update, standing) in [
            (fence(None, None), None, Standing::Open),
            (fence(None, None), Some(U::RollbackCompleted), Standing::Open),
            (fence(Some(old), None), Some(U::Updating), Standing::Open),
            (fence(Some(old), Some(mine)), None, Standing::Open),
            (fence(Some(old), Some(mine)), Some(U::Completed), Standing::Open),
            (fence(Some(old), Some(mine)), Some(U::RollbackStarted), Standing::Applied),
            (fence(Some(old), Some(mine)), Some(U::RollbackCompleted), Standing::RolledBack),
            (fence(None, Some(mine)), Some(U::RollbackPaused), Standing::RolledBack),
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
        assert_eq!(Fence::read(&labels), Fence { job: None, trying: Some(id), good: None });
        assert_eq!(Fence::read(&Value::Null), Fence::default());
    }
}
