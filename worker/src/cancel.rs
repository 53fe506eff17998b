//! Calling a job off.
//!
//! A cancel is heard by every worker through the history; only the one that holds the other job can end it, and
//! only before it touched its target. The cancel itself waits to see what came of that.

use proto::{Job, JobId, Reason, State, reason};

use crate::{
    admit::in_time,
    conclusion::{Conclusion, Telling},
    execute::{BUSY_PAUSE, Executor, Step, end},
};

impl Executor {
    /// Ends a job that was called off. Asked for as long as its target is untouched.
    pub(crate) fn called_off(&self, job: &Job) -> Step<()> {
        match self.index.cancelled_by(job.id) {
            Some(by) => {
                let reason = Reason::new(reason::CANCELLED, format!("it was called off by {by}"));
                Err(Telling::new(State::Cancelled).reason(reason).by(Some(by)).conclude())
            }
            None => Ok(()),
        }
    }

    /// Carries out a cancel: tells what became of the other job, once that is known.
    pub(crate) fn cancel(&self, job: &Job, other: JobId) -> Step<Conclusion> {
        in_time(job)?;
        match self.index.end_of(other) {
            Some(State::Cancelled) => Ok(Telling::new(State::Succeeded).conclude()),
            Some(state) => {
                let text = format!("it came too late: the job {other} ended `{state}`");
                Ok(end(State::Rejected, Reason::new(reason::TOO_LATE, text)))
            }
            None => {
                let text = format!("the job {other} has not ended yet");
                let reason = Reason::new(reason::BUSY, text);
                Ok(Conclusion::Again { after: BUSY_PAUSE, counted: false, reason })
            }
        }
    }
}
