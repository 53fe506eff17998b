//! What runs under the name of a stack that Portainer has no record of. Where Compose runs stacks, Portainer makes one over
//! it without a word: what the text has is replaced, and the rest goes with the first deploy that fails.

use tokio::time::{Instant, sleep};

use super::{
    PortainerStack,
    objects::{StackKind, normalized},
    place::Where,
    write::{COMES_WITHIN, LOOK_EVERY},
};
use crate::target::TargetError;

const OVER_SERVICES: &str = "Portainer makes no stack over them, so remove them first: `longshore stack remove --force` \
                             takes them away";

impl PortainerStack {
    /// Makes sure that nothing of the stack that is to be made runs already. `adopts`: whether somebody said that it may be
    /// taken over; none where nobody can.
    ///
    /// # Errors
    /// [`TargetError::Declined`] with the names of what runs; [`TargetError::Conflict`] where a stack appears meanwhile.
    pub(super) async fn refuse_to_make_over(
        &self,
        attempted: &'static str,
        (environment, kind, name): (u64, StackKind, &str),
        adopts: Option<bool>,
    ) -> Result<(), TargetError> {
        if adopts.unwrap_or_default() && kind == StackKind::Compose {
            return Ok(());
        }
        let name = normalized(name);
        let begun = Instant::now();
        // One that is being made runs before it is recorded.
        let there = loop {
            let there = self.runs_as((environment, kind, &name)).await?;
            if there.is_empty() {
                return Ok(());
            }
            if matches!(self.find().await, Ok(Where::Here(_))) {
                return Err(TargetError::Conflict);
            }
            if begun.elapsed() >= COMES_WITHIN {
                break there.join(", ");
            }
            sleep(LOOK_EVERY).await;
        };
        let mend = match kind {
            // Of another environment that command knows nothing.
            StackKind::Swarm if environment == self.portainer.environment().await?.id => OVER_SERVICES,
            StackKind::Compose if adopts.is_some() => {
                "take them over with `--adopt` (`\"adopt\": true`), or remove them first"
            }
            StackKind::Compose => "remove them first",
            StackKind::Swarm | StackKind::Kubernetes => {
                "Portainer makes no stack over them, so remove them first"
            }
        };
        let why = format!(
            "{there} run under the name `{name}` already, and Portainer has no stack of them; {mend}"
        );
        Err(self.portainer.refused(attempted, why))
    }
}
