//! What is done to a stack as a whole: start, stop, restart, redeploy, remove. Nothing of it can carry a mark; which job
//! is newer, the history tells.

use std::time::Duration;

use async_trait::async_trait;
use proto::{ImageRef, JobId, Operation, Tasks};
use serde_json::Value;
use tokio::{sync::mpsc, time::sleep};

use super::{
    PortainerStack,
    accept::attempted,
    answer::{Call, Failure},
    client::{Client, GitUpdate},
    live::Live,
    objects::{Stack, Status},
    place::Where,
    watch::{Watched, passes},
    write::{Writing, Written},
};
use crate::target::{End, Found, Outcome, Progress, Standing, TargetError, Wanted};

const LOOK_EVERY: Duration = Duration::from_secs(1);
const UNREAD: &str = "what is left cannot be read";

/// A stack whose state is to change.
struct FoundState {
    target: PortainerStack,
    stack: Stack,
    image: Option<ImageRef>,
}

/// A stack that is to be removed, or that is gone already.
struct FoundRemoval {
    target: PortainerStack,
    stack: Option<Stack>,
    marks: super::fence::Marks,
    force: bool,
}

impl PortainerStack {
    pub(super) async fn read_for_state(&self) -> Result<Box<dyn Found>, TargetError> {
        let stack = self.found().await?;
        Ok(Box::new(FoundState { target: self.clone(), stack, image: None }))
    }

    pub(super) async fn read_to_remove(&self, force: bool) -> Result<Box<dyn Found>, TargetError> {
        let (stack, text) = match self.find().await? {
            Where::Here(stack) => {
                let text = match stack.git {
                    Some(_) => String::new(),
                    None => self.portainer.client.file(&stack).await?,
                };
                (Some(*stack), text)
            }
            Where::Nowhere(_) => (None, String::new()),
        };
        let marks = super::fence::Marks::read(&text);
        Ok(Box::new(FoundRemoval { target: self.clone(), stack, marks, force }))
    }

    /// Waits until nothing of the stack runs, and, where it was to be removed, there is no record of it.
    pub(super) async fn watch_until_gone(
        &self,
        wanted: &Wanted,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let mut output: Vec<String> = Vec::new();
        let mut last: Option<Stack> = None;
        loop {
            let (stack, environment) = match self.find().await {
                Ok(Where::Here(stack)) => (Some(*stack), None),
                Ok(Where::Nowhere(environment)) => (None, Some(environment)),
                Err(error) if passes(&error) => {
                    sleep(LOOK_EVERY).await;
                    continue;
                }
                Err(error) => return Err(error),
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
            sleep(LOOK_EVERY).await;
        }
    }

    /// Watches until every service that stays up runs what the file names.
    pub(super) async fn watch_everything(
        &self,
        wanted: &Wanted,
        given_up: Option<proto::Reason>,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        if let Some(why) = self.portainer.take_refusal(wanted.job.id) {
            let text = format!("Portainer's deploy was refused: {why}");
            let reason = proto::Reason::new(proto::reason::REFUSED, text);
            let output = why.lines().map(str::to_owned).collect();
            return Ok(Outcome { end: End::Failed(reason), tasks: None, output, notes: Vec::new() });
        }
        let stack = self.found().await?;
        let watched: Watched = match stack.git {
            // Its file is not ours to read: what runs is what the engine was told.
            Some(_) => self.live(&stack).await?.images(&stack),
            None => {
                let ground = self.ground_of(stack, &wanted.job.operation).await?;
                let live = self.live(&ground.stack).await?;
                let stays =
                    |name: &String| live.swarm_service(&ground.stack, name).is_none_or(|it| !it.is_job());
                let names = ground.file.services().map(str::to_owned).filter(stays);
                names.filter_map(|name| Some((name.clone(), ground.image(&name)?))).collect()
            }
        };
        self.watch_to_an_end(wanted, (watched, false), given_up, progress).await
    }
}

impl FoundState {
    async fn set_running(&self, runs: bool) -> Result<(), TargetError> {
        let client = &self.target.portainer.client;
        let is_so = match self.stack.status {
            Status::Inactive => !runs,
            Status::Active | Status::Unknown | Status::Deploying | Status::Error => runs,
        };
        if is_so {
            return Ok(());
        }
        let Err(failure) = client.set_running(&self.stack, runs).await else { return Ok(()) };
        // It stands that way already: 409 and 400 are Portainer's words for that.
        if matches!(&failure, Failure::Answered(answer) if matches!(answer.status.as_u16(), 400 | 409)) {
            let now = client.stack(self.stack.id, &self.stack.name).await?;
            let stands = if runs { now.status != Status::Inactive } else { now.status == Status::Inactive };
            if stands {
                return Ok(());
            }
        }
        Err(self.meaning(client, failure, if runs { "start the stack" } else { "stop the stack" }))
    }

    fn meaning(&self, client: &Client, failure: Failure, attempted: &'static str) -> TargetError {
        let what = format!("stack `{}`", self.stack.name);
        failure.of(client.system(), Call::write(attempted, &what))
    }

    /// Replaces every task or container by one of the same.
    async fn restart(&self) -> Result<(), TargetError> {
        let client = &self.target.portainer.client;
        let environment = self.stack.environment;
        match self.target.live(&self.stack).await? {
            Live::Swarm(services) => {
                for service in services.iter().filter(|service| !service.is_job()) {
                    let call = Call::write("restart a service", service.name());
                    let path = format!("services/{}/update", service.id());
                    let query =
                        [("version", service.version().to_string()), ("registryAuthFrom", "spec".to_owned())];
                    client.have_docker(environment, (&path, &query, &service.forced()), call).await?;
                }
            }
            Live::Compose(containers) => {
                for container in &containers {
                    let call = Call::write("restart a container", &container.service);
                    let path = format!("containers/{}/restart", container.id);
                    client.have_docker(environment, (&path, &[], &Value::Null), call).await?;
                }
            }
        }
        Ok(())
    }

    /// What is in git now, with settings and credentials kept.
    async fn redeploy_git(&self) -> Result<(), TargetError> {
        let (client, stack) = (&self.target.portainer.client, &self.stack);
        let git = stack.git.clone().unwrap_or_default();
        let login = git.get("Authentication").filter(|login| login.is_object());
        let username = login.map(|login| login["Username"].as_str().unwrap_or_default());
        let update = GitUpdate {
            reference: git["ReferenceName"].as_str().unwrap_or_default(),
            // With an empty password the stored one is used.
            login: username.map(|username| (username, "")),
            env: &stack.env,
            skip_tls: git["TLSSkipVerify"].as_bool().unwrap_or_default(),
            auto_update: stack.auto_update.clone(),
        };
        let Err(failure) = client.redeploy_git(stack, &update).await else { return Ok(()) };
        if failure.is_in_doubt() && self.target.is_deployed_since(stack).await? {
            return Ok(());
        }
        Err(self.meaning(client, failure, "redeploy the stack"))
    }

    /// The same text again, tags looked up anew; of a stack in git, what is there now.
    async fn redeploy(&self, wanted: &Wanted) -> Result<(), TargetError> {
        let portainer = &self.target.portainer;
        self.target.refuse_by_status(&self.stack, &wanted.job.operation)?;
        self.target.wait_out_rollouts(&self.stack).await?;
        if self.stack.git.is_some() {
            return self.redeploy_git().await;
        }
        let ground = self.target.ground_of(self.stack.clone(), &wanted.job.operation).await?;
        let text = ground.file.text();
        let (stack, env) = (&ground.stack, &ground.stack.env);
        let writing = Writing { stack, before: text, text, env, prune: stack.prune, pull: true };
        if let Written::Refused(why) = self.target.write(&writing).await? {
            portainer.note_refusal(wanted.job.id, why);
        }
        Ok(())
    }
}

#[async_trait]
impl Found for FoundState {
    fn standing(&self, _: JobId) -> Standing {
        Standing::Open
    }

    fn image(&self) -> Option<ImageRef> {
        self.image.clone()
    }

    fn before(&self) -> Option<ImageRef> {
        None
    }

    async fn apply(self: Box<Self>, wanted: &Wanted) -> Result<(), TargetError> {
        match &wanted.job.operation {
            Operation::Start => self.set_running(true).await,
            Operation::Stop => self.set_running(false).await,
            Operation::Restart if self.stack.status == Status::Inactive => self.set_running(true).await,
            Operation::Restart => self.restart().await,
            Operation::Redeploy => self.redeploy(wanted).await,
            operation @ (Operation::SetImage { .. }
            | Operation::Rollback { .. }
            | Operation::DeployStack(_)
            | Operation::RemoveStack { .. }
            | Operation::DeployGit(_)
            | Operation::Migrate { .. }
            | Operation::PruneImages { .. }
            | Operation::Hold { .. }
            | Operation::Release { .. }
            | Operation::Cancel { .. }) => {
                Err(self.target.portainer.refused(attempted(operation), "that is not done this way"))
            }
        }
    }
}

#[async_trait]
impl Found for FoundRemoval {
    /// A newer mark of any kind says that somebody wants the stack.
    fn standing(&self, id: JobId) -> Standing {
        match self.marks.newest() {
            Some(newest) if newest > id => Standing::Newer(newest),
            Some(_) | None => Standing::Open,
        }
    }

    fn image(&self) -> Option<ImageRef> {
        None
    }

    fn before(&self) -> Option<ImageRef> {
        None
    }

    async fn apply(self: Box<Self>, _: &Wanted) -> Result<(), TargetError> {
        const ATTEMPTED: &str = "remove the stack";
        let Some(stack) = &self.stack else { return Ok(()) };
        if self.marks == super::fence::Marks::default() && !self.force {
            let answer = format!(
                "the stack `{}` was not deployed by Longshore; remove it all the same with `force`",
                self.target.name
            );
            return Err(self.target.portainer.refused(ATTEMPTED, answer));
        }
        let client = &self.target.portainer.client;
        let Err(failure) = client.delete(stack).await else { return Ok(()) };
        let in_doubt = failure.is_in_doubt();
        let what = format!("stack `{}`", stack.name);
        let error = failure.of(client.system(), Call::write(ATTEMPTED, &what));
        // Read before it is said to have failed.
        let is_gone = matches!(self.target.find().await, Ok(Where::Nowhere(_)));
        if is_gone && (in_doubt || matches!(error, TargetError::NotFound { .. })) {
            Ok(())
        } else {
            Err(error)
        }
    }
}
