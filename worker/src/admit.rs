//! What ends a job, or makes it wait, before its target is touched.

use std::{sync::Arc, time::Duration};

use proto::{Hold, ImageRef, Job, JobId, Operation, Reason, State, Timestamp, reason};

use crate::{
    conclusion::{Attempt, Conclusion, Telling},
    execute::{Executor, SEEN_WITHIN, Step, end, left},
    hold::{self, Why},
    schedule::{left_until, pause_while_held},
    sight::Sight,
    target::{Found, Target, TargetError},
    upward::goes_upward,
    verdict::conclude_error,
};

/// How long a job may be unknown to its pool: a configuration may still be on its way to the workers.
const UNKNOWN_FOR: Duration = Duration::from_secs(600);

/// Pause before a job is looked at again that waits for something outside it.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

impl Executor {
    /// The target of a job that is to be carried out now.
    pub(crate) async fn admitted(&self, attempt: &Attempt) -> Step<Arc<dyn Target>> {
        let job = &attempt.job;
        self.hold(job).await?;
        if let Operation::Cancel { job: other } = job.operation {
            return Err(self.cancel(attempt, other).await?);
        }
        let target = self.admit(job)?;
        self.still_on_hold(job, &*target).await?;
        Ok(target)
    }

    /// The image that an operation means that names none itself. Where the target does not tell whether what is to be gone
    /// back to held, or what that is, the history does.
    pub(crate) fn meant(&self, found: &dyn Found, job: &Job) -> Result<Option<ImageRef>, TargetError> {
        let operation = &job.operation;
        match found.in_question(operation) {
            Some((job, error)) if self.index.end_of(job).is_some_and(|end| end != State::Succeeded) => {
                return Err(error);
            }
            Some(_) | None => {}
        }
        match found.meant(operation) {
            Err(error @ TargetError::Refused { .. }) if goes_back(operation) => {
                let stands = if found.has_no_marks() { found.images() } else { Vec::new() };
                let known = || stands.iter().find_map(|stands| self.index.ran_before(&job.target, stands));
                // Whoever died at it had found it.
                let before = found.tried(job.id).or_else(known);
                before.filter(|before| !found.is_bad(before)).map(Some).ok_or(error)
            }
            meant => meant,
        }
    }

    /// How a job ended in other hands. Whoever had it may have died a moment after saying so, which may not have been
    /// read yet: without a look it would be said again, perhaps in other words.
    pub(crate) async fn said_by_others(&self, job: &Job) -> Step<Option<State>> {
        self.chronicle.catch_up(SEEN_WITHIN).await.map_err(|error| left(&error))?;
        Ok(self.index.end_of(job.id))
    }

    /// A job that may not run yet waits. Meanwhile it ends where it is called off, where a newer wish was
    /// carried out, or where it waited too long; its deadline does not run.
    pub(crate) async fn hold(&self, job: &Job) -> Step<()> {
        self.not_pushed_again(job)?;
        let Some(hold) = job.hold(Timestamp::now()) else { return Ok(()) };
        // One that began while its window was open may have written: it is held only after a look at the target.
        if matches!(hold, Hold::ForWindow { .. }) && self.index.is_under_way(job.id) {
            return Ok(());
        }
        // What was approved and has run cannot be called off by the name of the one that was held.
        self.superseded_by_what_ran(job)?;
        self.called_off(job)?;
        let sight = self.image_now(job).await;
        Err(self.held_by(job, hold, &sight))
    }

    /// A target is not written while its window is closed, whenever the job began.
    pub(crate) fn in_window(&self, job: &Job) -> Step<()> {
        match job.hold(Timestamp::now()) {
            Some(hold @ Hold::ForWindow { .. }) => Err(self.held_by(job, hold, &self.image_told(job))),
            Some(Hold::Until(_) | Hold::ForApproval(_)) | None => Ok(()),
        }
    }

    /// What ends a job, or makes it wait, though nothing newer stands on its target. Where a part of it is written
    /// already, it goes on to the rest: half of a wish is nobody's wish.
    pub(crate) fn may_write(&self, job: &Job, found: &dyn Found) -> Step<()> {
        let in_part = found.stands_in_part(job.id);
        if !in_part {
            self.called_off(job)?;
        }
        self.superseded(job)?;
        if !in_part {
            goes_upward(job, found)?;
            self.in_window(job)?;
            self.not_put_on_hold(job, found)?;
        }
        in_time(job)
    }

    fn held_by(&self, job: &Job, hold: Hold, sight: &Sight) -> Conclusion {
        match hold::why(job, hold) {
            Why::Waits(reason) => {
                let reason = sight.told_in(reason);
                let told = self.index.is_held(job.id, &reason);
                let pause = pause_while_held(left_until(hold.ends()));
                let after = match hold {
                    // Who approves one wants to see that its place is taken.
                    Hold::ForApproval(_) => pause.min(LOOK_AGAIN),
                    Hold::Until(_) | Hold::ForWindow { .. } if matches!(sight, Sight::NotYet(_)) => {
                        pause.min(LOOK_AGAIN)
                    }
                    Hold::Until(_) | Hold::ForWindow { .. } => pause,
                };
                Conclusion::Held { after, reason, image: sight.image(), told }
            }
            Why::Expired(reason) => match self.index.stands_for(job.id) {
                // It was approved in time, and what was made of it waits for its window.
                Some(made) => superseded_by(made),
                None => end(State::Rejected, reason),
            },
        }
    }

    /// Ends what need not be carried out, before the target is touched.
    pub(crate) fn admit(&self, job: &Job) -> Step<Arc<dyn Target>> {
        // One that began before may have left its mark on the target: it is ended only after a look there.
        if !self.index.has_started(job.id) {
            self.called_off(job)?;
            self.superseded(job)?;
            in_time(job)?;
            self.after_the_higher(job)?;
        }
        let begun = self.index.has_started(job.id);
        let target = self
            .fleet
            .target(&job.target)
            .ok_or_else(|| self.out_of_reach(job, unknown_target(job, begun)))?;
        let refused = |why: String| end(State::Rejected, Reason::new(reason::REFUSED, why));
        let accepted =
            target.accepts(&job.operation).and_then(|()| self.fleet.gives(&job.target, &job.operation));
        accepted.map_err(|why| self.out_of_reach(job, refused(why)))?;
        Ok(target)
    }

    /// What was said while we waited for the lock counts too.
    pub(crate) fn admit_again(&self, job: &Job) -> Step<()> {
        match self.index.end_of(job.id) {
            Some(state) => Err(Conclusion::Copy(state)),
            None => Ok(()),
        }
    }

    /// Ends a job that a newer wish makes needless. Asked for as long as its target is untouched.
    pub(crate) fn superseded(&self, job: &Job) -> Step<()> {
        self.index.newer_than(job).map_or(Ok(()), |newer| Err(superseded_by(newer)))
    }

    /// Ends a job that is held once a newer wish was carried out.
    pub(crate) fn superseded_by_what_ran(&self, job: &Job) -> Step<()> {
        self.index.newer_carried_out(job).map_or(Ok(()), |newer| Err(superseded_by(newer)))
    }

    /// What becomes of a job whose target there is no way to look at any more: where a newer wish has ended, that
    /// is what counts.
    fn out_of_reach(&self, job: &Job, otherwise: Conclusion) -> Conclusion {
        self.index.newer_ended(job).map_or(otherwise, superseded_by)
    }

    /// What an error comes to when the target is read. Nothing that is gone can carry a mark: then the history
    /// tells who is superseded.
    pub(crate) fn unreadable(&self, attempt: &Attempt, error: &TargetError) -> Conclusion {
        let is_gone = matches!(error, TargetError::NotFound { .. });
        self.superseded(&attempt.job)
            .err()
            .filter(|_| is_gone)
            .unwrap_or_else(|| conclude_error(attempt, error))
    }
}

fn superseded_by(newer: JobId) -> Conclusion {
    let reason = Reason::new(reason::NEWER_WISH, format!("the newer job {newer} takes its place"));
    Telling::new(State::Superseded).reason(reason).by(Some(newer)).conclude()
}

/// Ends a job whose deadline passed before it could be carried out.
pub(crate) fn in_time(job: &Job) -> Step<()> {
    if left_until(job.deadline).is_zero() {
        let reason = Reason::new(reason::DEADLINE, "its deadline passed before it could be carried out");
        return Err(end(
            State::Dead,
            reason.hint(format!("deploy `{}` again if it is still wanted", job.target)),
        ));
    }
    Ok(())
}

/// `begun`: some worker began with it, and may have written.
fn unknown_target(job: &Job, begun: bool) -> Conclusion {
    let reason = Reason::new(
        reason::UNKNOWN_TARGET,
        format!("no worker of the pool `{}` knows the target `{}`", job.target.pool(), job.target.name()),
    )
    .hint("declare it under `targets` in the workers' configuration, or mend the name; `longshore targets` lists them");
    let known_by = job.may_run_since(Timestamp::now()).checked_add(UNKNOWN_FOR).unwrap_or(Timestamp::MAX);
    if left_until(known_by).is_zero() {
        if begun {
            let text = format!(
                "its target is gone, and nobody can tell what became of what was begun: {}",
                reason.text
            );
            return end(State::Dead, Reason { text, ..reason });
        }
        return end(State::Rejected, reason);
    }
    Conclusion::Again { after: LOOK_AGAIN, counted: false, reason }
}

/// Whether it goes back to what ran before, whatever that was.
fn goes_back(operation: &Operation) -> bool {
    matches!(operation, Operation::Rollback { image: None, .. })
}
