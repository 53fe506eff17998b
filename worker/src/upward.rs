//! Versions that go upward only: a push of a lower one than what runs is turned away.
//!
//! The ingress says which jobs are bound by it; what runs only the target can tell.

use proto::{ImageRef, Job, Reason, State, reason};

use crate::{
    conclusion::Conclusion,
    execute::{BUSY_PAUSE, Executor, Step, end},
    target::Found,
};

/// Ends a job that would bring a lower version than the one its target is meant to run. What ran before that does not
/// count: who rolled it back wants the versions above what stands there now.
pub(crate) fn goes_upward(job: &Job, found: &dyn Found) -> Step<()> {
    let Some(wished) = job.operation.image().filter(|_| job.gates.upward) else { return Ok(()) };
    match found.image().filter(|runs| wished.is_lower_version_than(runs)) {
        Some(runs) => Err(downgrade(job, wished, &runs)),
        None => Ok(()),
    }
}

impl Executor {
    /// Of two pushes that wait for the same target the higher version goes first, though it is older: the lower one
    /// would take its place, and then stand where it should not.
    pub(crate) fn after_the_higher(&self, job: &Job) -> Step<()> {
        let Some(higher) = self.index.higher_waiting(job) else { return Ok(()) };
        let text = format!("the job {higher} for a higher version goes first");
        Err(Conclusion::Again { after: BUSY_PAUSE, counted: false, reason: Reason::new(reason::BUSY, text) })
    }
}

fn downgrade(job: &Job, wished: &ImageRef, runs: &ImageRef) -> Conclusion {
    let target = &job.target;
    let tag = wished.tag().unwrap_or_default();
    let text = format!(
        "`{target}` runs {}, and {tag} is lower: what it follows goes upward only",
        runs.by_tag().familiar()
    );
    let hint = format!(
        "to go back all the same: `longshore deploy {target} --image {}`; to follow lower versions too, set \
         `allow_downgrade: true` beside the target's `tags`, or the label `longshore.allow-downgrade=true`",
        wished.by_tag().familiar()
    );
    end(State::Rejected, Reason::new(reason::DOWNGRADE, text).hint(hint))
}
