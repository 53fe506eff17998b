//! What is done to a stack as a whole: start, stop, restart, redeploy. Nothing of it can carry a mark; which job
//! is newer, the history tells.

use std::time::Duration;

use async_trait::async_trait;
use proto::{ImageRef, JobId, Operation};
use tokio::time::Instant;

use super::{
    PortainerStack,
    accept::attempted,
    answer::{Call, Failure},
    asked::About,
    client::{Client, GitUpdate},
    objects::{Stack, Status},
    write::{COMES_WITHIN, Waits, Writing, Written},
};
use crate::target::{Found, Standing, TargetError, Wanted};

/// A Portainer that dies under a start leaves a stack so, and then neither starts nor stops it.
const RUNS_THOUGH_STOPPED: &str =
    "it runs, and Portainer calls it stopped: update the stack in Portainer, which puts that right";

/// A stack whose state is to change.
struct FoundState {
    target: PortainerStack,
    stack: Stack,
    image: Option<ImageRef>,
}

impl PortainerStack {
    pub(super) async fn read_for_state(&self) -> Result<Box<dyn Found>, TargetError> {
        let stack = self.found().await?;
        Ok(Box::new(FoundState { target: self.clone(), stack, image: None }))
    }
}

impl FoundState {
    async fn set_running(&self, runs: bool, job: JobId) -> Result<(), TargetError> {
        let is_so = match self.stack.status {
            Status::Inactive => !runs,
            Status::Active | Status::Unknown | Status::Deploying | Status::Error => runs,
        };
        if is_so {
            return Ok(());
        }
        let about = About::Stack(self.stack.id);
        self.target.note_asked(about.clone(), job, Some(&self.stack));
        let done = self.ask_to_run(runs).await;
        self.target.portainer.asked.settle(&about, done.is_ok());
        done
    }

    async fn ask_to_run(&self, runs: bool) -> Result<(), TargetError> {
        let client = &self.target.portainer.client;
        let asked = Instant::now();
        let Err(failure) = client.set_running(&self.stack, runs).await else { return Ok(()) };
        // 409 and 400 are Portainer's words for what stands that way already.
        let stands_so =
            matches!(&failure, Failure::Answered(answer) if matches!(answer.status.as_u16(), 400 | 409));
        let patience = match (stands_so, failure.is_in_doubt()) {
            (false, false) => Duration::ZERO,
            (false, true) => self.target.patience(&failure, asked),
            // What runs while the record says that it is stopped may be a start that is under way.
            (true, _) if runs && !self.target.live(&self.stack).await?.is_empty() => client.longest_deploy(),
            (true, _) => COMES_WITHIN,
        };
        if !patience.is_zero() && self.becomes(runs, patience).await? {
            return Ok(());
        }
        let error = self.meaning(client, failure, if runs { "start the stack" } else { "stop the stack" });
        if stands_so
            && runs
            && let TargetError::Refused { system, attempted, answer } = error
        {
            let answer = format!("{answer}; {RUNS_THOUGH_STOPPED}");
            return Err(TargetError::Refused { system, attempted, answer });
        }
        Err(error)
    }

    /// Whether the record comes to say that the stack runs, or that it is stopped: it does so last. A start is a deploy,
    /// takes its turn as one, and a second one behind it would go into the first one's rollouts.
    async fn becomes(&self, runs: bool, patience: Duration) -> Result<bool, TargetError> {
        let (begun, client) = (Instant::now(), &self.target.portainer.client);
        let mut waits = Waits::new(&self.stack.name);
        loop {
            match client.stack(self.stack.id, &self.stack.name).await {
                Ok(now) if (now.status != Status::Inactive) == runs => return Ok(true),
                Ok(_) if begun.elapsed() >= patience => return Ok(false),
                Err(error) if begun.elapsed() >= patience => return Err(error),
                Ok(_) | Err(_) => waits.go_on().await,
            }
        }
    }

    fn meaning(&self, client: &Client, failure: Failure, attempted: &'static str) -> TargetError {
        let what = format!("stack `{}`", self.stack.name);
        failure.of(client.system(), Call::write(attempted, &what))
    }

    /// What is in git now, with settings and credentials kept.
    async fn redeploy_git(&self, job: JobId) -> Result<(), TargetError> {
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
        let deployed = self.target.deploy_from_git(stack, &update, job).await;
        deployed.map_err(|failure| self.meaning(client, failure, "redeploy the stack"))
    }

    /// The same text again, tags looked up anew; of a stack in git, what is there now.
    async fn redeploy(&self, wanted: &Wanted) -> Result<(), TargetError> {
        let portainer = &self.target.portainer;
        self.target.refuse_by_status(&self.stack, &wanted.job.operation)?;
        self.target.wait_out_rollouts(&self.stack).await?;
        if self.stack.git.is_some() {
            return self.redeploy_git(wanted.job.id).await;
        }
        let ground = self.target.ground_of(self.stack.clone(), &wanted.job.operation).await?;
        let text = ground.file.text();
        let (stack, env) = (&ground.stack, &ground.stack.env);
        let writing = Writing { stack, before: text, text, env, prune: stack.prune, pull: true };
        // The text is the one that stands there already: nothing but the date tells that it was deployed again.
        let about = About::Stack(stack.id);
        self.target.note_asked(about.clone(), wanted.job.id, Some(stack));
        let written = self.target.write(&writing).await;
        portainer.asked.settle(&about, written.is_ok());
        if let Written::Refused(why) = written? {
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
        let job = wanted.job.id;
        if self.target.has_been_asked(&self.stack, job).await? {
            return Ok(());
        }
        match &wanted.job.operation {
            Operation::Start => self.set_running(true, job).await,
            Operation::Stop => self.set_running(false, job).await,
            Operation::Restart if self.stack.status == Status::Inactive => self.set_running(true, job).await,
            Operation::Restart => {
                self.target.restart(&self.stack).await?;
                // Nothing that is to be seen of it would keep the next attempt from doing so again.
                let about = About::Stack(self.stack.id);
                self.target.note_asked(about.clone(), job, None);
                self.target.portainer.asked.settle(&about, true);
                Ok(())
            }
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
