//! What was read of a workload, and the one conditional write that brings what is wanted.

use std::time::Duration;

use async_trait::async_trait;
use proto::{ImageRef, JobId, Operation};
use tokio::time::sleep;

use super::{
    KubernetesWorkload,
    answer::meaning,
    client::Patch,
    edit::Edit,
    fence::{Concern, Fence, given_up_before},
    lifecycle::attempted,
    object::Workload,
    rollout::{Stage, stage},
};
use crate::{
    target::{Found, Standing, TargetError, Wanted, wire::Call},
    verdict::chance,
};

/// In a rollout the status changes every few hundred milliseconds, and each change refuses our write.
const LONGEST_PAUSE_AFTER_CONFLICT: Duration = Duration::from_millis(250);

/// A workload as it was read, to be decided on and written once.
pub(super) struct FoundWorkload {
    pub(super) target: KubernetesWorkload,
    pub(super) workload: Workload,
    /// The container that the job concerns.
    pub(super) container: String,
    pub(super) concern: Concern,
    /// The job's own write was undone by somebody since.
    pub(super) tried: bool,
}

#[async_trait]
impl Found for FoundWorkload {
    fn standing(&self, id: JobId) -> Standing {
        self.concern.standing(self.concern.mark(&self.workload, &self.container), id, self.tried)
    }

    fn image(&self) -> Option<ImageRef> {
        self.workload.image(&self.container)
    }

    fn before(&self) -> Option<ImageRef> {
        self.fence().good
    }

    fn remembers_bad(&self) -> bool {
        !self.fence().bad.is_empty()
    }

    fn is_bad(&self, image: &ImageRef) -> bool {
        self.fence().is_bad(image) && !self.workload.names(&self.container, image)
    }

    fn meant(&self, operation: &Operation) -> Result<Option<ImageRef>, TargetError> {
        self.image_meant(operation)
    }

    async fn apply(self: Box<Self>, wanted: &Wanted) -> Result<(), TargetError> {
        self.refuse_what_cannot_be_watched(&wanted.job.operation)?;
        self.refuse_what_is_scaled_by_others(&wanted.job.operation).await?;
        let edit = self.edit(&wanted.job.operation, wanted.job.id, wanted.image.as_ref())?;
        self.target.write(&self.workload, &edit, wanted).await.map(drop)
    }
}

impl FoundWorkload {
    pub(super) fn fence(&self) -> Fence {
        Fence::of(&self.workload, &self.container)
    }

    /// Whether what stands there has converged: then it is what one goes back to.
    pub(super) fn runs_well(&self) -> bool {
        let any = self.workload.tasks().is_none_or(|tasks| tasks.wanted > 0 && tasks.running == tasks.wanted);
        any && stage(&self.workload, 0) == Stage::Complete
    }

    fn refuse_what_cannot_be_watched(&self, operation: &Operation) -> Result<(), TargetError> {
        let rolls = !matches!(operation, Operation::Start | Operation::Stop);
        let place = &self.target.place;
        if rolls && self.workload.is_paused() {
            let why = format!(
                "the rollouts of the {place} are paused, and what is written would wait; resume them first, as with \
                 `kubectl rollout resume`"
            );
            return Err(self.target.refused(attempted(operation), why));
        }
        if rolls && !self.workload.replaces_pods() {
            let why = format!(
                "the pods of the {place} are replaced only when somebody deletes them (updateStrategy OnDelete), so \
                 nothing could be said of how it went; set its updateStrategy to RollingUpdate"
            );
            return Err(self.target.refused(attempted(operation), why));
        }
        Ok(())
    }
}

impl KubernetesWorkload {
    /// Writes on the condition that nobody wrote since `workload` was read. Without an answer nothing is written again:
    /// whoever comes next reads first, and finds the mark where it arrived.
    pub(super) async fn write(
        &self,
        workload: &Workload,
        edit: &Edit,
        wanted: &Wanted,
    ) -> Result<Workload, TargetError> {
        let what = self.place.to_string();
        let call = Call::write(attempted(&wanted.job.operation), &what);
        let mut edit = edit.clone();
        edit.annotations.extend(given_up_before(workload));
        let patch = edit.patch(workload);
        let written = self.kubernetes.client.patch(&self.place.path(), (Patch::StrategicMerge, &patch)).await;
        let written = match written.map_err(|failure| meaning(failure, self.system(), call)) {
            Ok(object) => Workload::new(self.place.kind, object),
            Err(error) => {
                if matches!(error, TargetError::Conflict) {
                    sleep(LONGEST_PAUSE_AFTER_CONFLICT.mul_f64(chance())).await;
                }
                return Err(error);
            }
        };
        self.kubernetes.note_written(wanted.job.id, &written);
        match &edit.image {
            // It was written, and what was made of it rolls out: that is no refusal.
            Some((container, image)) if !written.runs(container, image) => Err(TargetError::Rewritten {
                system: self.system().to_owned(),
                wanted: image.familiar(),
                stored: written.container(container).map(|it| it.image).unwrap_or_default().to_owned(),
            }),
            Some(_) | None => Ok(written),
        }
    }
}
