//! Whether a text that runs is still what the stack's file says: Portainer's last writer wins, whoever that is.

use proto::{Operation, Reason, reason};

use super::{PortainerStack, fence::without_marks, ground::Ground, patience::patiently};
use crate::target::{End, Outcome, TargetError, Wanted};

impl PortainerStack {
    /// The end of a text that runs, where the file is no longer that.
    ///
    /// # Errors
    /// [`TargetError::Conflict`] where an older job wrote over it: it is to be written again.
    pub(super) async fn where_it_stands(
        &self,
        wanted: &Wanted,
        outcome: Outcome,
    ) -> Result<Outcome, TargetError> {
        let Operation::DeployStack(text) = &wanted.job.operation else { return Ok(outcome) };
        if outcome.end != End::Converged {
            return Ok(outcome);
        }
        let ground = patiently(|| self.ground(&wanted.job.operation)).await?;
        let id = wanted.job.id;
        let (by, reason) = match ground.marks.stack {
            Some(stack) if stack == id && !is_edited(&ground, &text.compose) => return Ok(outcome),
            Some(newer) if newer > id => {
                let why = "a newer job wrote the stack during the rollout";
                (Some(newer), Reason::new(reason::NEWER_WISH, why))
            }
            Some(older) if older < id => return Err(TargetError::Conflict),
            Some(_) | None => {
                let why = "somebody else changed the stack's file during the rollout";
                (None, Reason::new(reason::CHANGED_ELSEWHERE, why))
            }
        };
        Ok(Outcome { end: End::Superseded { by, reason }, ..outcome })
    }
}

/// Whether somebody edited what a job wrote. What a newer job brought to a service is its own.
fn is_edited(ground: &Ground, written: &str) -> bool {
    let is_touched = ground.marks.services.values().any(|mark| Some(mark.job) > ground.marks.stack);
    !is_touched && without_marks(ground.file.text()) != without_marks(written)
}
