//! Watching a stack as a whole: until nothing of it runs any more, or until everything runs that it is to run.

use std::collections::BTreeMap;

use proto::{ImageRef, Operation, Reason, Tasks, reason};
use tokio::{sync::mpsc, time::Instant};

use super::{
    PortainerStack,
    image::meant,
    live::Live,
    objects::{Env, Stack, Status, normalized},
    overwritten::Keeps,
    patience::{Patience, patiently},
    place::Where,
    text::StackFile,
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
                    self.tasks_left(environment.id, &normalized(&self.name)).await.unwrap_or_default()
                }
                (None, None) => (0, String::new()),
            };
            if is_stopped && left == 0 {
                output.push("nothing of the stack runs".to_owned());
                let tasks = Some(Tasks { running: 0, wanted: 0 });
                return Ok(Outcome { tasks, output, ..Outcome::of(End::Converged) });
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
            return Ok(Outcome { output, ..Outcome::of(end) });
        }
        let stack = self.done_deploying(&given_up).await?;
        if stack.status == Status::Error && is_deployed_by_portainer(operation) {
            return Box::pin(self.watch_called_failed(wanted, &stack, given_up, progress)).await;
        }
        let mut to_watch = patiently(|| self.to_watch(&stack, operation)).await?;
        if to_watch.is_known_by_what_runs() && given_up.is_none() {
            if !self.comes_up(&stack).await? {
                return Ok(Outcome::failed(nothing_there()));
            }
            to_watch = patiently(|| self.to_watch(&stack, operation)).await?;
        }
        let is_text = matches!(operation, Operation::DeployStack(_));
        let keeps = if is_text { Keeps::Text } else { Keeps::Nothing };
        self.watch_to_an_end(wanted, (to_watch.services, keeps), given_up, progress).await
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

    async fn to_watch(&self, stack: &Stack, operation: &Operation) -> Result<ToWatch, TargetError> {
        let live = self.live(stack).await?;
        if stack.git.is_some() {
            // Its file is not ours to read: what runs is what the engine was told.
            let images: BTreeMap<String, ImageRef> = live.images(stack).into_iter().collect();
            let with_image = |name: String| (name.clone(), images.get(&name).cloned());
            let services = live.staying(stack).into_iter().map(with_image).collect();
            return Ok(ToWatch { services, is_to_run: true });
        }
        let ground = self.ground_of(stack.clone(), operation).await?;
        let mut to_watch = ToWatch::of((&ground.file, &stack.env), (stack, &live));
        if matches!(operation, Operation::Restart) {
            // What ran is to run again, whatever the file says by now.
            to_watch.services.iter_mut().for_each(|(_, image)| *image = None);
        }
        Ok(to_watch)
    }
}

/// What is to be seen to run.
pub(super) struct ToWatch {
    pub(super) services: Watched,
    /// Whether anything is to run at all.
    is_to_run: bool,
}

impl ToWatch {
    /// What a file and its variables come to beside what there is: every service that stays up, also where its image
    /// cannot be told from the text.
    pub(super) fn of((file, env): (&StackFile, &Env), (stack, live): (&Stack, &Live)) -> ToWatch {
        let stays = |name: &&str| live.swarm_service(stack, name).is_none_or(|it| !it.is_job());
        let is_to_run = |name: &&str| !file.is_idle(name) || live.has_any_of(stack, name);
        let image = |name: &str| file.image(name).and_then(|image| meant(image, env));
        let services = file.services().filter(stays).filter(is_to_run);
        ToWatch {
            services: services.map(|name| (name.to_owned(), image(name))).collect(),
            is_to_run: file.services().any(|name| !file.is_idle(name)),
        }
    }

    /// Whether the engine alone tells what is to run. That it has nothing to watch is no success.
    fn is_known_by_what_runs(&self) -> bool {
        self.is_to_run && self.services.iter().all(|(_, image)| image.is_none())
    }
}

/// What is said of a deploy that Portainer calls done, and of which nothing runs.
fn nothing_there() -> Reason {
    let text = "Portainer calls the stack deployed, and its engine has nothing of it: nothing runs";
    Reason::new(reason::ROLLOUT_FAILED, text)
        .hint("look at the stack's file: it may name no service, or what it builds may have come to nothing")
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
