//! An end before all was written: a target whose parts are written one after the other may stand half-way then, and
//! what was written is not left alone.

use std::convert::Infallible;

use proto::{ImageChange, Reason, State, reason};
use tokio::sync::mpsc;

use crate::{
    conclusion::{Attempt, Conclusion, Telling, tell},
    execute::{Executor, GIVEN_UP_WITHIN, Step},
    target::{Outcome, Target, TargetError, Wanted},
    verdict::conclude_error,
};

impl Executor {
    /// What an attempt comes to that did not write all it should. Where it ends the job, and part of the target
    /// stands as the job made it, that is undone or watched first, and told.
    pub(crate) async fn end_half_way(
        &self,
        attempt: &Attempt,
        target: &dyn Target,
        conclusion: Conclusion,
    ) -> Step<Conclusion> {
        let job = &attempt.job;
        let telling = match conclusion {
            Conclusion::End(telling) if may_stand_half_way(&telling) => telling,
            other @ (Conclusion::End(_)
            | Conclusion::Again { .. }
            | Conclusion::Held { .. }
            | Conclusion::Guarded { .. }
            | Conclusion::Release(_)
            | Conclusion::Copy(_)
            | Conclusion::Left(_)) => return Ok(other),
        };
        if !target.writes_in_parts(&job.operation) {
            return Ok(Conclusion::End(telling));
        }
        let found = match target.read(job).await {
            Ok(found) => found,
            // Nothing is left that could be half-way.
            Err(TargetError::NotFound { .. }) => return Ok(Conclusion::End(telling)),
            Err(error) => return Ok(conclude_error(attempt, &error)),
        };
        if !found.stands_in_part(job.id) {
            return Ok(Conclusion::End(telling));
        }
        // A newer wish that was overwritten in part comes first; one that is still to come overwrites that part.
        self.undo_if_late(attempt, target).await?;
        if telling.state == State::Superseded {
            return Ok(Conclusion::End(telling));
        }
        Ok(self.follow_what_was_written(attempt, target, *telling).await)
    }

    async fn follow_what_was_written(
        &self,
        attempt: &Attempt,
        target: &dyn Target,
        telling: Telling,
    ) -> Conclusion {
        let why =
            telling.reason.clone().unwrap_or_else(|| Reason::new(reason::INTERRUPTED, "it was cut off"));
        let wanted = Wanted { job: attempt.job.clone(), image: None };
        let (progress, told) = mpsc::channel(8);
        let ending = target.end_half_way(&wanted, why.clone(), &progress);
        let ending = async {
            tokio::time::timeout(GIVEN_UP_WITHIN, ending).await.unwrap_or_else(|_| Ok(Outcome::failed(why)))
        };
        let ended = tokio::select! {
            ended = ending => ended,
            never = self.tell_progress(attempt, told) => match never as Infallible {},
        };
        match ended {
            Ok(outcome) => {
                let change = telling.image.clone().unwrap_or(ImageChange { from: None, to: None });
                let mut ended = tell(outcome, change);
                ended.image = telling.image;
                // What could not be carried out waits among the dead letters all the same.
                if ended.state == State::Failed && telling.state == State::Dead {
                    ended.state = State::Dead;
                }
                ended.conclude()
            }
            Err(error) => conclude_error(attempt, &error),
        }
    }
}

/// Whether the end says nothing of what stands on the target.
fn may_stand_half_way(telling: &Telling) -> bool {
    match telling.state {
        State::Failed | State::Dead | State::Cancelled | State::Rejected | State::Superseded => true,
        State::RolledBack
        | State::Succeeded
        | State::Accepted
        | State::Held
        | State::Started
        | State::Progress
        | State::Retrying => false,
    }
}
