//! Values of a stack's variables are told to nobody: Portainer repeats what the docker command says, and that quotes
//! them. What Portainer answers is rid of them in the client, before it is cut short; this is for what else is told.

use std::sync::PoisonError;

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

    /// Notes the variables that were read.
    pub(super) fn note_variables(&self, env: &Env) {
        env.clone_into(&mut self.variables.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn variables(&self) -> Env {
        self.variables.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a watch came to, without the values of the stack's variables: engines quote them too.
    pub(super) async fn told(&self, outcome: Outcome) -> Outcome {
        match outcome.end {
            End::Failed(_) | End::RolledBack(_) => {}
            End::Converged | End::Superseded { .. } => return outcome,
        }
        let before = self.variables();
        // Somebody may have changed them since. Where nobody can be asked, those that are known are hidden.
        let now = match self.find().await {
            Ok(Where::Here(stack)) => stack.env,
            Ok(Where::Nowhere(_)) | Err(_) => Env::default(),
        };
        let hidden = Redaction::of_values(before.values().chain(now.values()));
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

#[cfg(test)]
mod tests {
    use proto::{Reason, reason};

    use super::*;
    use crate::target::portainer::{Portainer, PortainerSettings};

    /// Nobody listens at the address: what was read before is all that is known.
    #[tokio::test]
    async fn values_are_hidden_also_where_the_stack_cannot_be_read_any_more() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let text = format!("system: {{url: 'http://{}', api_key: k}}", free.local_addr().unwrap());
        drop(free);
        let document = config::Document::parse("longshore.yaml", &text).unwrap();
        let node = document.root().get("system").unwrap();
        let settings = node.read::<PortainerSettings>(&mut config::Faults::new()).unwrap();
        let stack = Portainer::new("docks", &settings).unwrap().stack("shop");
        stack.note_variables(&Env::of([("PASSWORD".to_owned(), "sup3rs3cret".to_owned())].into_iter()));
        let why = Reason::new(reason::ROLLOUT_FAILED, "exec: \"sup3rs3cret\": not found");
        let output = vec!["web: sup3rs3cret".to_owned()];
        let told = stack.told(Outcome { output, ..Outcome::failed(why) }).await;
        assert!(!format!("{told:?}").contains("sup3r"), "{told:?}");
        assert!(format!("{told:?}").contains("not found"), "{told:?}");
    }
}
