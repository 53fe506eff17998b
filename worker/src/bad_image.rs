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
pub(crate) const LOOK_ONCE_MORE: Duration = Duration::from_secs(2);

/// Pause before one is looked at again whose target could not be asked.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

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
            return Err(held_already(earlier, &held_reason(job, change)));
        }
        Err(self.held(job, change))
    }

    /// One that was held for its image, or for its target, is looked at again: is it still on hold? Nothing is said
    /// meanwhile.
    pub(crate) async fn still_on_hold(&self, job: &Job, target: &dyn Target) -> Step<()> {
        let (image, put_on_hold) = (self.index.held_image(job.id), self.is_put_on_hold(job));
        if image.is_none() && !put_on_hold && !self.is_text_on_hold(job) {
            return Ok(());
        }
        self.called_off(job)?;
        self.superseded_by_what_ran(job)?;
        match self.on_hold(job, target).await {
            // Who cannot be asked now is asked next time.
            Err(()) => {
                self.held_while_nobody_can_tell(job)?;
                Err(self.still_put_on_hold(job))
            }
            Ok(on_hold) => on_hold,
        }
    }

    /// One that was held for its image stays held while its target cannot be asked, or another job is at work there:
    /// what stands there then may be that very image, which proves nothing.
    pub(crate) fn held_while_nobody_can_tell(&self, job: &Job) -> Step<()> {
        let Some(reason) = self.index.why_held(job.id).filter(|why| why.code == reason::BAD_IMAGE) else {
            return Ok(());
        };
        let (until, image) = (job.held_until(), self.index.held_image(job.id).map(Box::new));
        let left = left_until(until);
        if left.is_zero() {
            return Err(expired(job, until, &reason.text));
        }
        let told = self.index.is_held(job.id, &reason);
        Err(Conclusion::Held { after: pause_while_held(left).min(LOOK_AGAIN), reason, image, told })
    }

    /// A wish that waits for its turn takes over from the one at work: not one that will be held.
    pub(crate) async fn not_held_in_its_turn(&self, job: &Job, target: &dyn Target) -> Step<()> {
        self.on_hold(job, target).await.unwrap_or(Ok(()))
    }

    /// The outer error: the target or the registry cannot be asked.
    async fn on_hold(&self, job: &Job, target: &dyn Target) -> Result<Step<()>, ()> {
        let mut found = target.read(job).await.map_err(drop)?;
        found.heed(&self.index.on_hold(&job.target));
        if let Err(waits) = self.not_put_on_hold(job, &*found) {
            return Ok(Err(waits));
        }
        if let Err(waits) = self.no_text_on_hold(job, &*found).await.map_err(drop)? {
            return Ok(Err(waits));
        }
        let may_be_bad = found.remembers_bad() || self.index.held_image(job.id).is_some();
        let named = self.wished_image(job).map(|image| target.pulled_as(&image));
        let wished = named.or_else(|| redeployed(job, &*found));
        let Some(wished) = wished.filter(|_| may_be_bad) else { return Ok(Ok(())) };
        let image = target.resolve(&wished).await.map_err(drop)?;
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
        let until = job.held_until();
        let left = left_until(until);
        if left.is_zero() {
            return expired(job, until, &held_reason(job, change).text);
        }
        let said = self.index.held_image(job.id).filter(|_| self.index.is_said_to_be_held(job.id));
        let told = said.is_some_and(|said| said.to == change.to);
        let pause = pause_while_held(left);
        Conclusion::Held {
            after: if told { pause } else { pause.min(LOOK_ONCE_MORE) },
            reason: held_reason(job, change),
            image: Some(Box::new(change.clone())),
            told,
        }
    }
}

/// The image of which a redeploy looks up the tag.
fn redeployed(job: &Job, found: &dyn Found) -> Option<ImageRef> {
    let is_it = matches!(job.operation, Operation::Redeploy);
    is_it.then(|| found.meant(&job.operation).ok().flatten()).flatten()
}

/// The end of one that was held to the last; `why`: what it waited for.
pub(crate) fn expired(job: &Job, until: Timestamp, why: &str) -> Conclusion {
    let text = format!("{why}; nobody released it until {until}");
    let hint = format!("deploy a newer image to `{}`", job.target);
    end(State::Rejected, Reason::new(reason::HOLD_EXPIRED, text).hint(hint))
}

fn held_reason(job: &Job, change: &ImageChange) -> Reason {
    // The target remembers the image, not who put it there.
    let text = format!(
        "{} is on hold here: it was rolled back before, or somebody put it on hold by name",
        told_of(change)
    );
    let hint = format!(
        "deploy a newer image, or have this one tried again: `longshore target release {}`",
        job.target
    );
    Reason::new(reason::BAD_IMAGE, text).hint(hint)
}

fn told_of(change: &ImageChange) -> String {
    change.to.as_ref().map_or_else(|| "its image".to_owned(), |image| image.familiar())
}

/// The end of one for which `earlier` waits already; `why`: what that one waits for, which whoever asked again reads too.
pub(crate) fn held_already(earlier: JobId, why: &Reason) -> Conclusion {
    let text = format!("{}; the job {earlier} waits for the very same already", why.text);
    let reason = Reason { code: reason::HELD_ALREADY.into(), text, ..why.clone() };
    Telling::new(State::Superseded).reason(reason).by(Some(earlier)).conclude()
}
