//! Watching a stack as a whole: until nothing of it runs any more, or until everything runs that it is to run.

use proto::{Operation, Reason, Tasks, reason};
use tokio::{sync::mpsc, time::Instant};

use super::{
    PortainerStack,
    objects::{Stack, Status},
    patience::{Patience, patiently},
    place::Where,
    watch::Watched,
    write::COMES_WITHIN,
};
use crate::target::{End, Outcome, Progress, TargetError, Wanted};

const UNREAD: &str = "what is left cannot be read";

impl PortainerStack {
    /// Waits until nothing of the stack runs, and, where it was to be removed, there is no record of it.
    pub(super) async fn watch_until_gone(
        &self,
        wanted: &Wanted,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let mut output: Vec<String> = Vec::new();
        let mut last: Option<Stack> = None;
        let mut patience = Patience::begin();
        loop {
            let (stack, environment) = match patience.of(self.find().await)? {
                Some(Where::Here(stack)) => (Some(*stack), None),
                Some(Where::Nowhere(environment)) => (None, Some(environment)),
                None => {
                    Patience::rest().await;
                    continue;
                }
            };
            let is_stopped = match (&stack, &wanted.job.operation) {
                (None, _) => true,
                (Some(stack), Operation::Stop) => stack.status == Status::Inactive,
                (Some(_), _) => false,
            };
            last = stack.or(last);
            let (left, line) = match (&last, environment) {
                (Some(stack), _) => self.left(stack).await.unwrap_or_else(|_| (1, UNREAD.to_owned())),
                // Without a swarm there are no tasks.
                (None, Some(environment)) => {
                    self.tasks_left(environment.id, &self.name).await.unwrap_or_default()
                }
                (None, None) => (0, String::new()),
            };
            if is_stopped && left == 0 {
                output.push("nothing of the stack runs".to_owned());
                let tasks = Some(Tasks { running: 0, wanted: 0 });
                return Ok(Outcome { end: End::Converged, tasks, output, notes: Vec::new() });
            }
            if !is_stopped && left > 0 && matches!(wanted.job.operation, Operation::Stop) {
                // Somebody started it again, or Portainer's own work undid the stop.
                return Err(TargetError::Conflict);
            }
            if output.last() != Some(&line) {
                output.push(line.clone());
                // Nobody waits for progress: where the reader lags, a step is left out.
                let _ = progress.try_send(Progress { tasks: Tasks { running: left, wanted: 0 }, line });
            }
            Patience::rest().await;
        }
    }

    /// The end of a text: one that does not hold is taken back where the target says so.
    pub(super) async fn watch_text(
        &self,
        wanted: &Wanted,
        given_up: Option<Reason>,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let outcome = self.watch_everything(wanted, given_up, progress).await?;
        let outcome = Box::pin(self.where_it_stands(wanted, outcome)).await?;
        let outcome = Box::pin(self.with_what_is_left(wanted, outcome)).await?;
        self.settle_text(wanted, outcome, progress).await
    }

    /// Watches until every service that stays up runs what the file names.
    pub(super) async fn watch_everything(
        &self,
        wanted: &Wanted,
        given_up: Option<Reason>,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let operation = &wanted.job.operation;
        if let Some(why) = self.portainer.take_refusal(wanted.job.id) {
            let text = format!("Portainer's deploy was refused: {why}");
            let output = why.lines().map(str::to_owned).collect();
            let end = End::Failed(Reason::new(reason::REFUSED, text));
            return Ok(Outcome { end, tasks: None, output, notes: Vec::new() });
        }
        let stack = self.done_deploying(&given_up).await?;
        if stack.status == Status::Error && is_deployed_by_portainer(operation) {
            return Ok(Outcome::failed(self.called_failed(&stack)));
        }
        if stack.git.is_some() && given_up.is_none() && !self.comes_up(&stack).await? {
            return Ok(Outcome::failed(nothing_there()));
        }
        let watched = patiently(|| self.watched_of(&stack, operation)).await?;
        self.watch_to_an_end(wanted, (watched, false), given_up, progress).await
    }

    /// The stack once Portainer is done with it. From 2.44 on it answers before it deploys: until then, what runs is what
    /// ran before.
    async fn done_deploying(&self, given_up: &Option<Reason>) -> Result<Stack, TargetError> {
        loop {
            let stack = patiently(|| self.found()).await?;
            if stack.status != Status::Deploying || given_up.is_some() {
                return Ok(stack);
            }
            Patience::rest().await;
        }
    }

    /// Whether the engine has anything of a stack, at once or soon. What it is to have is not ours to read in git.
    async fn comes_up(&self, stack: &Stack) -> Result<bool, TargetError> {
        let begun = Instant::now();
        while patiently(|| self.live(stack)).await?.is_empty() {
            if begun.elapsed() >= COMES_WITHIN {
                return Ok(false);
            }
            Patience::rest().await;
        }
        Ok(true)
    }

    /// What Portainer calls failed it has not deployed, or not as a whole; what runs well then is what ran before.
    fn called_failed(&self, stack: &Stack) -> Reason {
        let said = stack.said.as_deref().unwrap_or("it does not say why");
        let said = self.without_values(&stack.env, said);
        Reason::new(reason::REFUSED, format!("Portainer's deploy failed: {said}"))
            .hint("look at the stack in Portainer: what ran before may run on, or part of what was wished")
    }

    async fn watched_of(&self, stack: &Stack, operation: &Operation) -> Result<Watched, TargetError> {
        let live = self.live(stack).await?;
        if stack.git.is_some() {
            // Its file is not ours to read: what runs is what the engine was told.
            return Ok(live.images(stack));
        }
        let ground = self.ground_of(stack.clone(), operation).await?;
        let stays = |name: &String| live.swarm_service(stack, name).is_none_or(|it| !it.is_job());
        let names = ground.file.services().map(str::to_owned).filter(stays);
        Ok(names.filter_map(|name| Some((name.clone(), ground.image(&name)?))).collect())
    }
}

/// What is said of a deploy that Portainer calls done, and of which nothing runs.
fn nothing_there() -> Reason {
    let text = "Portainer calls the stack deployed, and its engine has nothing of it: nothing runs";
    Reason::new(reason::ROLLOUT_FAILED, text)
        .hint("look at the file in the repository: it may name no service, or not be the file of this stack")
}

/// Whether an operation is one that Portainer itself carries out by a deploy.
fn is_deployed_by_portainer(operation: &Operation) -> bool {
    match operation {
        Operation::DeployStack(_)
        | Operation::DeployGit(_)
        | Operation::Redeploy
        | Operation::Migrate { .. }
        | Operation::SetImage { .. }
        | Operation::Rollback { .. } => true,
        Operation::Start
        | Operation::Stop
        | Operation::Restart
        | Operation::RemoveStack { .. }
        | Operation::PruneImages { .. }
        | Operation::Hold { .. }
        | Operation::Release { .. }
        | Operation::Cancel { .. } => false,
    }
}
