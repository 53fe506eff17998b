//! Targets that somebody put on hold: whatever would bring another image waits until they are released.
//!
//! The target itself remembers it, and the history: who deploys with another tool wipes what stands on the target, and
//! has released nothing. A rollback mends something and does not wait, nor does what somebody released by
//! name.

use std::time::Duration;

use proto::{CauseKind, Job, JobId, Operation, Reason, State, Timestamp, reason};

use crate::{
    conclusion::Conclusion,
    execute::{Executor, Step, end},
    schedule::{left_until, pause_while_held},
    target::Found,
};

/// Pause before such a job is looked at again: who releases a target wants to see that it goes on.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// What a plan tells of such a job.
pub(crate) const WOULD_WAIT: &str = "the target is on hold: the job would wait until it is released";

impl Executor {
    /// Before the target is written: a wish for an image waits while the target is on hold.
    pub(crate) fn not_put_on_hold(&self, job: &Job, found: &dyn Found) -> Step<()> {
        let on_hold = found.on_hold().or_else(|| self.index.target_on_hold(&job.target));
        match on_hold.filter(|_| waits(job)) {
            Some(by) => {
                self.called_off(job)?;
                Err(self.put_on_hold(job, by))
            }
            None => Ok(()),
        }
    }

    /// Whether it was said last of `job` that it waits for its target to be released.
    pub(crate) fn is_put_on_hold(&self, job: &Job) -> bool {
        self.index.is_held_for(job.id, reason::ON_HOLD)
    }

    /// The deadline that `job` goes by: a hold does not use it up.
    pub(crate) fn deadline_of(&self, job: &Job) -> Timestamp {
        let now = Timestamp::now();
        let deadline = job.deadline_at(now).max(self.index.deadline_said(job.id).unwrap_or(Timestamp::MIN));
        if !self.is_put_on_hold(job) {
            return deadline;
        }
        let lasts = job.deadline.duration_since(job.may_run_from());
        deadline.max(now.checked_add(lasts).unwrap_or(Timestamp::MAX))
    }

    /// The same once more, where the target cannot be asked now.
    pub(crate) fn still_put_on_hold(&self, job: &Job) -> Conclusion {
        self.held_until_released(job, format!("`{}` is on hold", job.target))
    }

    fn put_on_hold(&self, job: &Job, by: JobId) -> Conclusion {
        self.held_until_released(job, format!("`{}` was put on hold by the job {by}", job.target))
    }

    fn held_until_released(&self, job: &Job, why: String) -> Conclusion {
        let until = job.held_until();
        let left = left_until(until);
        if left.is_zero() {
            let text = format!("{why}, and nobody released it until {until}");
            let hint = format!("release it (`longshore target release {}`), then deploy again", job.target);
            return end(State::Rejected, Reason::new(reason::HOLD_EXPIRED, text).hint(hint));
        }
        let hint = format!("let it be deployed again: `longshore target release {}`", job.target);
        Conclusion::Held {
            after: pause_while_held(left).min(LOOK_AGAIN),
            reason: Reason::new(reason::ON_HOLD, why).hint(hint),
            image: None,
            told: self.is_put_on_hold(job),
        }
    }
}

/// Whether a hold keeps it: whatever may bring another image. Who starts, stops or rolls back mends something.
fn waits(job: &Job) -> bool {
    brings_an_image(&job.operation) && job.cause.kind != CauseKind::Release
}

/// Whether it may bring another image.
pub(crate) fn brings_an_image(operation: &Operation) -> bool {
    match operation {
        Operation::SetImage { .. }
        | Operation::DeployStack(_)
        | Operation::DeployGit(_)
        | Operation::Redeploy => true,
        Operation::RemoveStack { .. }
        | Operation::Migrate { .. }
        | Operation::Start
        | Operation::Stop
        | Operation::Restart
        | Operation::Rollback { .. }
        | Operation::PruneImages { .. }
        | Operation::Hold { .. }
        | Operation::Release { .. }
        | Operation::Cancel { .. } => false,
    }
}
