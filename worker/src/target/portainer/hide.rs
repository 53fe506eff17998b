//! Values of a stack's variables are told to nobody: Portainer repeats what the docker command says, and that quotes
//! them. What Portainer answers is rid of them in the client, before it is cut short; this is for what else is told.

use super::{PortainerStack, objects::Env, place::Where};
use crate::{
    redaction::Redaction,
    target::{End, Outcome},
};

impl PortainerStack {
    /// Words without the values of these variables.
    pub(super) fn without_values(&self, env: &Env, words: &str) -> String {
        Redaction::of_values(env.values()).text(words)
    }

    /// What a watch came to, without the values of the stack's variables: engines quote them too.
    pub(super) async fn told(&self, outcome: Outcome) -> Outcome {
        match outcome.end {
            End::Failed(_) | End::RolledBack(_) => {}
            End::Converged | End::Superseded { .. } => return outcome,
        }
        let Ok(Where::Here(stack)) = self.find().await else { return outcome };
        let hidden = Redaction::of_values(stack.env.values());
        Outcome {
            end: match outcome.end {
                End::Failed(why) => End::Failed(hidden.reason(why)),
                End::RolledBack(why) => End::RolledBack(hidden.reason(why)),
                other @ (End::Converged | End::Superseded { .. }) => other,
            },
            output: outcome.output.iter().map(|line| hidden.text(line)).collect(),
            ..outcome
        }
    }
}
