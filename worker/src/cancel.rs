//! Calling a job off.
//!
//! A cancel is heard by every worker through the history; the one that holds the other job ends it, and only before
//! it touched its target. The cancel itself waits to see what came of that. What waits for its time is held by nobody:
//! the cancel ends it itself.

use proto::{Event, Job, JobId, Reason, State, reason};

use crate::{
    admit::in_time,
    conclusion::{Attempt, Conclusion, Telling},
    execute::{BUSY_PAUSE, Executor, SEEN_WITHIN, Step, end, left},
};

impl Executor {
    /// Ends a job that was called off. Asked for as long as its target is untouched.
    pub(crate) fn called_off(&self, job: &Job) -> Step<()> {
        match self.index.cancelled_by(job.id) {
            Some(by) => Err(Telling::new(State::Cancelled).reason(called_off_by(by)).by(Some(by)).conclude()),
            None => Ok(()),
        }
    }

    /// Carries out a cancel: tells what became of the other job, once that is known.
    pub(crate) async fn cancel(&self, attempt: &Attempt, other: JobId) -> Step<Conclusion> {
        in_time(&attempt.job)?;
        if self.index.end_of(other).is_none() {
            self.end_held(attempt, other).await?;
        }
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

    /// Ends the other job where it is held and was never begun: it may not be looked at for minutes. Nobody begins it
    /// meanwhile, since that takes the lock of its target.
    async fn end_held(&self, attempt: &Attempt, other: JobId) -> Step<()> {
        let Some(held) = self.index.held_and_untouched(other) else { return Ok(()) };
        let Ok(Some(lock)) = self.queue.lock(&held.target).await else { return Ok(()) };
        attempt.hold((lock, None));
        self.hear_all(attempt).await?;
        if self.index.held_and_untouched(other).is_none() {
            return Ok(());
        }
        let mut event = Event::of(&held, State::Cancelled, 0, 0);
        event.data.reason = Some(called_off_by(attempt.job.id));
        event.data.by = Some(attempt.job.id);
        self.chronicle.say(&event, SEEN_WITHIN).await.map(drop).map_err(|error| left(&error))
    }
}

fn called_off_by(by: JobId) -> Reason {
    Reason::new(reason::CANCELLED, format!("it was called off by {by}"))
}
