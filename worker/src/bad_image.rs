//! Images that were rolled back: they are not deployed again until somebody says so.
//!
//! The target itself remembers them, and the history which wish for one is held: who deploys with another tool wipes
//! what stands on the target, and has released nothing. A wish for one is held, one for each target and image: a source that sees the
//! same image again and again would else fill the queue with it.

use std::time::Duration;

use proto::{CauseKind, ImageChange, ImageRef, Job, JobId, Operation, Reason, State, Timestamp, reason};

use crate::{
    conclusion::{Conclusion, Telling},
    execute::{Executor, Step, end},
    schedule::{left_until, pause_while_held},
    target::{Found, Target},
};

/// Pause before one that was just said to be held is looked at once more: another may have been said to be held for the
/// same image in the same moment, and only one of them is to stay.
const LOOK_ONCE_MORE: Duration = Duration::from_secs(2);

impl Executor {
    /// Before the target is written: a wish for an image that was rolled back there is held.
    pub(crate) fn not_on_hold(&self, job: &Job, found: &dyn Found, change: &ImageChange) -> Step<()> {
        let is_bad = |image: &&ImageRef| found.is_bad(image) || self.is_kept(job, found, image);
        let Some(image) = change.to.as_ref().filter(is_bad) else { return Ok(()) };
        let released = match job.cause.kind {
            CauseKind::Release => true,
            CauseKind::Hook
            | CauseKind::Api
            | CauseKind::Cli
            | CauseKind::Amqp
            | CauseKind::Poll
            | CauseKind::Replay
            | CauseKind::Approve => false,
        };
        // Who rolls back to an image by name has seen what became of it; who holds or releases one deploys none.
        let passes = matches!(
            job.operation,
            Operation::Rollback { .. } | Operation::Hold { .. } | Operation::Release { .. }
        );
        if released || passes {
            return Ok(());
        }
        self.called_off(job)?;
        if let Some(earlier) = image.digest().and_then(|digest| self.index.held_for(job, digest)) {
            return Err(held_already(earlier));
        }
        Err(self.held(job, change))
    }

    /// One that was held for its image, or for its target, is looked at again: is it still on hold? Nothing is said
    /// meanwhile.
    pub(crate) async fn still_on_hold(&self, job: &Job, target: &dyn Target) -> Step<()> {
        let (image, put_on_hold) = (self.index.held_image(job.id), self.is_put_on_hold(job));
        if image.is_none() && !put_on_hold {
            return Ok(());
        }
        self.called_off(job)?;
        self.superseded_by_what_ran(job)?;
        match self.on_hold(job, target).await {
            // Who cannot be asked now is asked next time.
            Err(()) => {
                Err(image.map_or_else(|| self.still_put_on_hold(job), |change| self.held(job, &change)))
            }
            Ok(on_hold) => on_hold,
        }
    }

    /// A wish that waits for its turn takes over from the one at work: not one that will be held.
    pub(crate) async fn not_held_in_its_turn(&self, job: &Job, target: &dyn Target) -> Step<()> {
        self.on_hold(job, target).await.unwrap_or(Ok(()))
    }

    /// The outer error: the target or the registry cannot be asked.
    async fn on_hold(&self, job: &Job, target: &dyn Target) -> Result<Step<()>, ()> {
        let found = target.read(job).await.map_err(drop)?;
        if let Err(waits) = self.not_put_on_hold(job, &*found) {
            return Ok(Err(waits));
        }
        let may_be_bad = found.remembers_bad() || self.index.held_image(job.id).is_some();
        let Some(wished) = self.wished_image(job).filter(|_| may_be_bad) else { return Ok(Ok(())) };
        let image = target.resolve(&target.pulled_as(&wished)).await.map_err(drop)?;
        let change = ImageChange { from: found.image(), to: Some(image) };
        Ok(self.not_on_hold(job, &*found, &change))
    }

    /// Whether the image is held still though the target does not remember it any more. One that runs there by now is
    /// held by nothing.
    fn is_kept(&self, job: &Job, found: &dyn Found, image: &ImageRef) -> bool {
        let runs = || found.image().is_some_and(|runs| runs.digest() == image.digest());
        image.digest().is_some_and(|digest| self.index.keeps(job, digest)) && !runs()
    }

    fn held(&self, job: &Job, change: &ImageChange) -> Conclusion {
        let longest = job.accepted_at.checked_add(Job::LONGEST_HOLD).unwrap_or(Timestamp::MAX);
        let until = job.gates.hold_until.unwrap_or(longest);
        let left = left_until(until);
        let what = change.to.as_ref().map_or_else(|| "its image".to_owned(), |image| image.familiar());
        if left.is_zero() {
            let text = format!("{what} was on hold, and nobody released it until {until}");
            let hint = format!("deploy a newer image to `{}`", job.target);
            return end(State::Rejected, Reason::new(reason::HOLD_EXPIRED, text).hint(hint));
        }
        // The target remembers the image, not who put it there.
        let text =
            format!("{what} is on hold here: it was rolled back before, or somebody put it on hold by name");
        let hint = format!(
            "deploy a newer image, or have this one tried again: `longshore target release {}`",
            job.target
        );
        let told = self.index.held_image(job.id).is_some_and(|held| held.to == change.to);
        let pause = pause_while_held(left);
        Conclusion::Held {
            after: if told { pause } else { pause.min(LOOK_ONCE_MORE) },
            reason: Reason::new(reason::BAD_IMAGE, text).hint(hint),
            image: Some(Box::new(change.clone())),
            told,
        }
    }
}

fn held_already(earlier: JobId) -> Conclusion {
    let text = format!("the job {earlier} for the very same image is held already");
    let reason = Reason::new(reason::HELD_ALREADY, text);
    Telling::new(State::Superseded).reason(reason).by(Some(earlier)).conclude()
}
