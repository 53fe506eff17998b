//! Writing a stack. Portainer has no conditional write, answers late or never, and what it answers is not what became
//! of it: whatever is in doubt is read, and nothing is written twice blindly.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    PortainerStack,
    answer::{Call, Failure, last_lines},
    client::Update,
    objects::{Env, Stack, Status},
    patience::patiently,
};
use crate::target::TargetError;

/// How long it is looked for what became of a write that nobody answered.
pub(super) const DOUBTED_FOR: Duration = Duration::from_secs(30);
/// How long a file that nothing came of yet may stay as it was.
const COMES_WITHIN: Duration = Duration::from_secs(5);
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a rollout under way is waited for before it is written over.
const ROLLS_FOR: Duration = Duration::from_secs(120);
/// How long Portainer's own work on a stack is waited for.
const DEPLOYS_FOR: Duration = Duration::from_secs(60);

/// A write, and what it stands on.
pub(super) struct Writing<'a> {
    pub(super) stack: &'a Stack,
    /// The file as it was read.
    pub(super) before: &'a str,
    pub(super) text: &'a str,
    pub(super) env: &'a Env,
    pub(super) prune: bool,
    pub(super) pull: bool,
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Written {
    /// Portainer has the file, and has told the engine, or is about to.
    Taken,
    /// What the docker command refused it with. Some of it may have been done.
    Refused(String),
}

impl PortainerStack {
    /// Waits until no service of the stack is in a rollout: written again, the engine would no longer watch over it.
    pub(super) async fn wait_out_rollouts(&self, stack: &Stack) -> Result<(), TargetError> {
        let until = Instant::now() + ROLLS_FOR;
        while !self.live(stack).await?.rolling().is_empty() && Instant::now() < until {
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Writes the stack.
    ///
    /// # Errors
    /// [`TargetError::Conflict`] where somebody else's write came between.
    pub(super) async fn write(&self, writing: &Writing<'_>) -> Result<Written, TargetError> {
        let Writing { text, env, prune, pull, .. } = *writing;
        // The last moment at which it can be seen that somebody else was here: at the variables, which are sent back
        // as they were read, or at the file.
        let client = &self.portainer.client;
        if !client.stack(writing.stack.id, &self.name).await?.is_as_read(writing.stack)
            || client.file(writing.stack).await? != writing.before
        {
            return Err(TargetError::Conflict);
        }
        let update = Update { text, env, prune, pull };
        let Err(failure) = self.portainer.client.update(writing.stack, &update).await else {
            return self.read_back(writing).await;
        };
        if failure.is_in_doubt() {
            return self.find_out(writing).await;
        }
        if matches!(&failure, Failure::Answered(answer) if answer.status.as_u16() == 409) {
            self.wait_for_portainer(writing.stack).await?;
            return Err(TargetError::Conflict);
        }
        let out_of_sequence = matches!(&failure, Failure::Answered(answer) if answer.words().contains("update out of sequence"));
        if out_of_sequence {
            // Somebody changed a service at that very moment.
            sleep(LOOK_EVERY).await;
            return Err(TargetError::Conflict);
        }
        let what = format!("stack `{}`", self.name);
        let is_of_a_deploy = matches!(&failure, Failure::Answered(answer) if answer.status.as_u16() == 500);
        let error = failure.of(self.portainer.client.system(), Call::write("update the stack", &what));
        if is_of_a_deploy && let TargetError::Refused { answer, .. } = &error {
            return self.read_refusal(writing, answer).await;
        }
        Err(error)
    }

    /// A success proves our text only where the file is ours.
    async fn read_back(&self, writing: &Writing<'_>) -> Result<Written, TargetError> {
        let client = &self.portainer.client;
        let file = patiently(|| client.file(writing.stack)).await?;
        if file == writing.text {
            return Ok(Written::Taken);
        }
        let stack = patiently(|| client.stack(writing.stack.id, &self.name)).await?;
        match stack.status {
            // It put the former file back, which the watch looks into.
            Status::Error if file == writing.before => Ok(Written::Taken),
            Status::Unknown | Status::Active | Status::Inactive | Status::Deploying | Status::Error => {
                Err(TargetError::Conflict)
            }
        }
    }

    /// Of two writes at once one gets the other's error.
    async fn read_refusal(&self, writing: &Writing<'_>, words: &str) -> Result<Written, TargetError> {
        let client = &self.portainer.client;
        let file = patiently(|| client.file(writing.stack)).await?;
        let refused = || Written::Refused(self.without_values(writing.env, &last_lines(words)));
        match file {
            file if file == writing.before => Ok(refused()),
            // Versions before 2.16 keep the file that was refused.
            file if file == writing.text => Ok(refused()),
            _ => Err(TargetError::Conflict),
        }
    }

    /// Reads what became of a write that nobody answered.
    async fn find_out(&self, writing: &Writing<'_>) -> Result<Written, TargetError> {
        let begun = Instant::now();
        let mut was_ours = false;
        loop {
            let stack = self.portainer.client.stack(writing.stack.id, &self.name).await;
            let file = self.portainer.client.file(writing.stack).await;
            match (stack, file) {
                (Ok(stack), Ok(file)) if file == writing.text => {
                    was_ours = true;
                    let is_done =
                        stack.updated_at != writing.stack.updated_at || stack.status == Status::Deploying;
                    if is_done {
                        return Ok(Written::Taken);
                    }
                    if begun.elapsed() >= DOUBTED_FOR {
                        // The same text again proves nothing by standing there.
                        let is_another = writing.text != writing.before;
                        return if is_another { Ok(Written::Taken) } else { Err(self.no_answer()) };
                    }
                }
                (Ok(_), Ok(file)) if file == writing.before => {
                    // It failed and was put back, or it never came: either way it is to be decided anew.
                    if was_ours || begun.elapsed() >= COMES_WITHIN {
                        return Err(self.no_answer());
                    }
                }
                (Ok(_), Ok(_)) => return Err(TargetError::Conflict),
                (Err(error), _) | (_, Err(error)) if begun.elapsed() >= DOUBTED_FOR => return Err(error),
                (Err(_), _) | (_, Err(_)) => {}
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn no_answer(&self) -> TargetError {
        TargetError::NoAnswer {
            system: self.portainer.client.system().to_owned(),
            attempted: "update the stack",
        }
    }

    /// Waits until Portainer is done with what it does to the stack.
    async fn wait_for_portainer(&self, stack: &Stack) -> Result<(), TargetError> {
        let until = Instant::now() + DEPLOYS_FOR;
        loop {
            let stack = self.portainer.client.stack(stack.id, &self.name).await?;
            if stack.status != Status::Deploying {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(TargetError::Busy { system: self.portainer.client.system().to_owned() });
            }
            sleep(LOOK_EVERY).await;
        }
    }
}
