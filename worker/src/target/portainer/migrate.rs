//! Moving a stack to another environment: Portainer deploys it there, and takes it away where it was.

use std::time::Duration;

use async_trait::async_trait;
use proto::{
    ImageRef, JobId, Reason,
    ask::{Change, Plan},
};
use tokio::{sync::mpsc, time::Instant};

use super::{
    PortainerStack,
    answer::{Call, last_lines},
    asked::About,
    objects::{Environment, Stack, StackKind, normalized},
    restart::REDEPLOY,
    write::Waits,
};
use crate::target::{End, Found, Outcome, Progress, Standing, TargetError, Wanted};

const ATTEMPTED: &str = "move the stack";

/// The code of the note that a target's configuration has to follow.
const MOVED: &str = "moved";

/// A stack that is to move, or that has moved.
struct FoundMove {
    target: PortainerStack,
    to: Environment,
    name: String,
    /// None once it stands there.
    stack: Option<Box<Stack>>,
}

impl PortainerStack {
    /// The same stack as it is called in another environment.
    fn over_there(&self, (environment, name): (&str, Option<&str>)) -> PortainerStack {
        let system = self.portainer.client.system().to_owned();
        let portainer = self.portainer.beside(&system, Some(environment.to_owned()));
        let name = name.unwrap_or(&self.name).to_owned();
        // Its variables move with it.
        PortainerStack { portainer, name, ..self.clone() }
    }

    pub(super) async fn read_to_migrate(
        &self,
        (environment, name): (&str, Option<&str>),
    ) -> Result<Box<dyn Found>, TargetError> {
        let refused = |why: String| self.portainer.refused(ATTEMPTED, why);
        let ours = self.portainer.environment().await?;
        let there = self.over_there((environment, name));
        let to = there.portainer.environment().await?;
        if to.id == ours.id {
            return Err(refused(format!("it is in the environment `{}` already", to.name)));
        }
        let all = self.portainer.client.stacks().await?;
        let here = self.pick(&all, ours.id).filter(|stack| stack.environment == ours.id).cloned();
        // By the name alone: a number would be that of the one which is to move.
        let is_taken = |stack: &&Stack| {
            stack.environment == to.id
                && here.as_ref().is_none_or(|here| here.id != stack.id)
                && normalized(&stack.name) == there.name_of(here.as_ref())
        };
        let taken = all.iter().find(is_taken);
        let stack = match (here, taken) {
            (Some(_), Some(taken)) => {
                let (name, environment) = (&taken.name, &to.name);
                return Err(refused(format!("there is a stack `{name}` in `{environment}` already")));
            }
            (Some(stack), None) if stack.kind == StackKind::Kubernetes => {
                return Err(refused("it is one of Kubernetes".to_owned()));
            }
            (Some(stack), None) => Some(Box::new(stack)),
            (None, Some(_)) => None,
            // Says what is missing.
            (None, None) => Some(Box::new(self.found().await?)),
        };
        let name = there.name_of(stack.as_deref());
        Ok(Box::new(FoundMove { target: self.clone(), to, name, stack }))
    }

    /// What it is called in the other environment. Portainer would take any text, and its engine would not.
    fn name_of(&self, here: Option<&Stack>) -> String {
        let is_number = self.name.trim_start_matches('#').parse::<u64>().is_ok();
        match here {
            Some(stack) if is_number => normalized(&stack.name),
            Some(_) | None => normalized(&self.name),
        }
    }

    pub(super) async fn planned_migration(&self, to: (&str, Option<&str>)) -> Result<Plan, TargetError> {
        let ours = self.portainer.environment().await?;
        let there = self.over_there(to).portainer.environment().await?;
        self.read_to_migrate(to).await?;
        let change = Change {
            of: format!("stack {}", self.name),
            field: "environment".to_owned(),
            from: Some(ours.name.into()),
            to: Some(there.name.into()),
        };
        let notes = vec!["volumes stay where they are".to_owned()];
        Ok(Plan { changes: vec![change], notes })
    }

    /// Watches the stack where it moved to.
    pub(super) async fn watch_migrated(
        &self,
        to: (&str, Option<&str>),
        wanted: &Wanted,
        given_up: Option<Reason>,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let there = self.over_there(to);
        let mut outcome = there.watch_everything(wanted, given_up, progress).await?;
        if outcome.end == End::Converged {
            let environment = there.portainer.environment().await?.name;
            let text = format!(
                "the stack is in the environment `{environment}` now; its volumes stayed where they were"
            );
            let hint = "declare the target on a system with that `environment` in the workers' configuration";
            outcome.notes.push(Reason::new(MOVED, text).hint(hint));
        }
        if let End::Failed(reason) = outcome.end {
            outcome.end = End::Failed(self.half_moved(&there, reason).await?);
        }
        Ok(outcome)
    }

    /// What is said of a stack whose record has moved, and which does not run where it stands now.
    async fn half_moved(
        &self,
        there: &PortainerStack,
        Reason { code, text, hint }: Reason,
    ) -> Result<Reason, TargetError> {
        let (here, there) = (self.portainer.environment().await?, there.portainer.environment().await?.name);
        // Not to know it is no harm.
        let left = self.unrecorded(&here).await.unwrap_or_default();
        let mut text = format!("Portainer has the stack in the environment `{there}` now, and there {text}");
        if !left.all().is_empty() {
            text.push_str(&format!("; in `{}` run {} still", here.name, left.all().join(", ")));
        }
        let redeploy =
            || format!("declare the target on a system with `environment: {there}`; there, {REDEPLOY}");
        let hint = hint.filter(|hint| hint != REDEPLOY).unwrap_or_else(redeploy);
        Ok(Reason { code, text, hint: Some(hint) })
    }
}

impl FoundMove {
    async fn go(&self, stack: &Stack, job: JobId) -> Result<(), TargetError> {
        let (target, client) = (&self.target, &self.target.portainer.client);
        if target.has_been_asked(stack, job).await? {
            return Ok(());
        }
        target.refuse_by_status(stack, &proto::Operation::Redeploy)?;
        let swarm = target.swarm_of(self.to.id).await?;
        if stack.kind == StackKind::Swarm && swarm.is_none() {
            let why = format!("it is a stack of a swarm, and `{}` has none", self.to.name);
            return Err(target.portainer.refused(ATTEMPTED, why));
        }
        self.refuse_to_move_over(stack).await?;
        target.wait_out_rollouts(stack).await?;
        let (asked, about) = (Instant::now(), About::Stack(stack.id));
        target.note_asked(about.clone(), job, Some(stack));
        let moved = client.migrate(stack, (self.to.id, swarm.as_deref(), &self.name)).await;
        let arrived = match &moved {
            Err(failure) if failure.is_in_doubt() => {
                self.has_arrived(stack, target.patience(failure, asked)).await
            }
            Ok(_) | Err(_) => Ok(false),
        };
        target.portainer.asked.settle(&about, false);
        let Err(failure) = moved else { return Ok(()) };
        if arrived? {
            return Ok(());
        }
        let what = format!("stack `{}`", target.name);
        let error = failure.of(client.system(), Call::write(ATTEMPTED, &what));
        let TargetError::Refused { system, attempted, answer } = error else { return Err(error) };
        let answer = target.without_values(&stack.env, &last_lines(&answer));
        let answer = format!("{answer}; look whether it runs in both environments now");
        Err(TargetError::Refused { system, attempted, answer })
    }

    /// There, too, nothing of that name may run.
    async fn refuse_to_move_over(&self, stack: &Stack) -> Result<(), TargetError> {
        let there = self.target.over_there((&format!("#{}", self.to.id), Some(&self.name)));
        there.refuse_to_make_over(ATTEMPTED, (self.to.id, stack.kind, &self.name), None).await
    }

    /// Whether a move that nobody answered came about. Its record says so only once all is done.
    async fn has_arrived(&self, stack: &Stack, patience: Duration) -> Result<bool, TargetError> {
        let begun = Instant::now();
        let mut waits = Waits::new(&self.target.name);
        loop {
            match self.target.portainer.client.stack(stack.id, &self.target.name).await {
                Ok(now) if now.environment == self.to.id => return Ok(true),
                Err(error) if begun.elapsed() >= patience => return Err(error),
                Ok(_) if begun.elapsed() >= patience => return Ok(false),
                Ok(_) | Err(_) => waits.go_on().await,
            }
        }
    }
}

#[async_trait]
impl Found for FoundMove {
    /// A stack that stands there and no longer here has moved.
    fn standing(&self, _: JobId) -> Standing {
        match self.stack {
            Some(_) => Standing::Open,
            None => Standing::Applied,
        }
    }

    fn image(&self) -> Option<ImageRef> {
        None
    }

    fn before(&self) -> Option<ImageRef> {
        None
    }

    async fn apply(self: Box<Self>, wanted: &Wanted) -> Result<(), TargetError> {
        match &self.stack {
            Some(stack) => self.go(stack, wanted.job.id).await,
            None => Ok(()),
        }
    }
}
