//! What runs of a stack though its file has it no more. Portainer removes that from a swarm alone, and there only where it
//! is told to (`Prune`); from Compose only the newest do.

use proto::{Operation, Reason, reason};

use super::{PortainerStack, ground::Ground, live::Live, patience::patiently, text::StackFile};
use crate::target::{End, Outcome, TargetError, Wanted};

impl PortainerStack {
    /// The end of a text that runs, with what it was to remove, or what is left beside it.
    pub(super) async fn with_what_is_left(
        &self,
        wanted: &Wanted,
        outcome: Outcome,
    ) -> Result<Outcome, TargetError> {
        let Operation::DeployStack(text) = &wanted.job.operation else { return Ok(outcome) };
        if outcome.end != End::Converged {
            return Ok(outcome);
        }
        let ground = patiently(|| self.ground(&wanted.job.operation)).await?;
        let live = patiently(|| self.live(&ground.stack)).await?;
        let left = left_over(&ground, &live);
        if left.is_empty() {
            return Ok(outcome);
        }
        let names = left.join(", ");
        Ok(match text.prune {
            true => {
                let why = format!(
                    "the text runs, but {names}, which it does not have, was to be removed and runs on"
                );
                let reason = Reason::new(reason::ROLLOUT_FAILED, why);
                let hint = "this Portainer does not remove services of such a stack: remove what is left where it runs";
                Outcome { end: End::Failed(reason.hint(hint)), ..outcome }
            }
            false => {
                let why = format!("{names} runs on, which the text does not have");
                let note =
                    Reason::new(LEFT_OVER, why).hint("deploy it with `--prune`, or remove it where it runs");
                Outcome { notes: [outcome.notes, vec![note]].concat(), ..outcome }
            }
        })
    }

    /// What is to be said of services that a text added which was taken back, and that run on.
    pub(super) async fn what_runs_on(&self, operation: &Operation) -> Option<String> {
        let ground = self.ground(operation).await.ok()?;
        let live = self.live(&ground.stack).await.ok()?;
        let left = left_over(&ground, &live);
        let names = left.join(", ");
        (!left.is_empty())
            .then(|| format!("{names} is in no text any more and still runs: remove it where it runs"))
    }
}

/// A code of its own: nothing of it failed.
const LEFT_OVER: &str = "left-over";

/// The services that run and that the file does not have.
fn left_over(ground: &Ground, live: &Live) -> Vec<String> {
    let known: Vec<&str> = ground.file.services().collect();
    let mut left: Vec<String> = live.services(&ground.stack);
    left.retain(|name| !known.contains(&name.as_str()));
    left.into_iter().map(|name| format!("`{name}`")).collect()
}

/// Whether a text has services that `former` has not.
pub(super) fn adds_services(text: &StackFile, former: &StackFile) -> bool {
    let known: Vec<&str> = former.services().collect();
    text.services().any(|name| !known.contains(&name))
}
