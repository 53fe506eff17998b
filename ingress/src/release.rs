//! Releasing what a target holds: an image that was rolled back there once is tried again.

use std::time::Duration;

use jiff::Timestamp;
use proto::{Cause, CauseKind, ImageRef, Job, JobId, Operation, State, TargetName, reason};

use crate::{decide::Refusal, ingress::Ingress, timeline, view::Filter};

/// So many held jobs of one target are looked at: there is one for each image that was rolled back.
const MOST_HELD: usize = 20;

/// How long the new job may take where its target is not declared here.
const DEADLINE: Duration = Duration::from_secs(60 * 60);

impl Ingress {
    /// Makes a job of the newest one that is held on `target` because its image was rolled back there. It deploys
    /// that very image; the held one ends once it was carried out.
    pub(crate) async fn release(&self, target: &TargetName, by: String) -> Result<Job, Refusal> {
        self.know_all().await?;
        let _turn = self.letters.turn().await;
        let filter = Filter { target: Some(target.clone()), states: vec![State::Held], ..Filter::default() };
        let (held, _) = self.view.page(&filter, MOST_HELD);
        for (job, _) in held {
            let Some(image) = self.held_image(job.id).await? else { continue };
            if let Some(under_way) = self.released_before(&job) {
                return Ok(under_way);
            }
            let deadline = self.known.targets().get(target).map_or(DEADLINE, |target| target.deadline);
            return Ok(self.intake.add(|id, now| released(&job, image, (id, now, deadline), by)).await?);
        }
        Err(Refusal::NothingHeld(target.clone()))
    }

    /// The image for which a job is held, where that is why.
    async fn held_image(&self, id: JobId) -> Result<Option<ImageRef>, Refusal> {
        let Some(found) = timeline::of(&self.queue, &self.view, id).await? else { return Ok(None) };
        let held = found.events.into_iter().rev().map(|(_, event)| event).find(|event| {
            let why = event.data.reason.as_ref().map(|reason| reason.code.as_ref());
            event.state() == State::Held && why == Some(reason::BAD_IMAGE)
        });
        Ok(held.and_then(|event| event.data.image?.to))
    }

    /// The job that stands for a held one, where it has not ended.
    fn released_before(&self, held: &Job) -> Option<Job> {
        let by = self.view.replayed().get(&held.id).copied()?;
        let (job, state) = self.view.get(by)?;
        (!state.is_end()).then_some(job)
    }
}

/// The held job once more, for the image that it was held for.
fn released(
    held: &Job,
    image: ImageRef,
    (id, now, deadline): (JobId, Timestamp, Duration),
    by: String,
) -> Job {
    let service = match &held.operation {
        Operation::SetImage { service, .. } | Operation::Rollback { service, .. } => service.clone(),
        Operation::DeployStack(_)
        | Operation::RemoveStack { .. }
        | Operation::Start
        | Operation::Stop
        | Operation::Restart
        | Operation::Redeploy
        | Operation::DeployGit(_)
        | Operation::Migrate { .. }
        | Operation::PruneImages { .. }
        | Operation::Cancel { .. } => None,
    };
    let operation = Operation::SetImage { image, service };
    let job = Job {
        id,
        slots: operation.slots(),
        operation,
        cause: Cause { kind: CauseKind::Release, by: Some(by), delivery: None, ..held.cause.clone() },
        accepted_at: now,
        not_before: None,
        replays: Some(held.id),
        ..held.clone()
    };
    job.lasting(deadline)
}
