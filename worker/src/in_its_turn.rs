//! Wishes that wait for another job to leave their target.
//!
//! Whoever waits so takes over once the other has had its time. A wish that could not be carried out would take a
//! rollout away from its watch for nothing: it waits for the other's end instead.

use std::time::Duration;

use proto::{Job, Reason};

use crate::{
    conclusion::Conclusion,
    execute::{Executor, Step},
    target::{Standing, Target, TargetError, Wanted},
    verdict::{Verdict, verdict},
};

/// Pause before such a wish is looked at again: each look asks its registry.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

impl Executor {
    /// Whether a wish that finds its target at work could be carried out as things stand. Looked at once: one that
    /// was said to wait was found to be so.
    pub(crate) async fn could_be_written(&self, job: &Job, target: &dyn Target) -> Step<()> {
        if self.index.waits(job.id) {
            return Ok(());
        }
        let Err(error) = self.tried_out(job, target).await else { return Ok(()) };
        let (reason, asked) = match verdict(&error) {
            Verdict::DecideAnew => return Ok(()),
            Verdict::Retry { reason, after } => (reason, after),
            Verdict::Snooze { reason, after } => (reason, Some(after)),
            Verdict::GiveUp { reason, .. } => (reason, None),
        };
        let text = format!(
            "it waits for the job at work on `{}`, and could not follow it: {}",
            job.target, reason.text
        );
        let reason = Reason { text, ..reason };
        Err(Conclusion::Again { after: asked.unwrap_or(LOOK_AGAIN), counted: false, reason })
    }

    /// Everything up to the write.
    async fn tried_out(&self, job: &Job, target: &dyn Target) -> Result<(), TargetError> {
        // What stands there may be in the making: what is missing is told under the lock.
        let Ok(found) = target.read(job).await else { return Ok(()) };
        if found.standing(job.id) != Standing::Open {
            return Ok(());
        }
        let wished = match self.wished_image(job) {
            Some(image) => Some(target.pulled_as(&image)),
            None => self.meant(&*found, job)?,
        };
        let image = match wished {
            Some(image) => Some(target.resolve(&image).await?),
            None => None,
        };
        found.would_take(&Wanted { job: job.clone(), image }).await
    }
}
