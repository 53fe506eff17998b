//! A stack whose text is in git: made of a repository, its settings, and what is there now deployed again. Whatever such
//! a call leaves out is emptied by Portainer, so everything that is to stay is sent back.

use std::time::Duration;

use async_trait::async_trait;
use proto::{GitStack, Given, ImageRef, JobId, ask::Plan};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::Instant};

use super::{
    PortainerStack,
    answer::{Call, Failure, last_lines},
    asked::About,
    client::GitUpdate,
    objects::{Env, Stack, StackKind, Status, normalized},
    place::Where,
    write::Waits,
};
use crate::target::{Found, Outcome, Progress, Standing, TargetError, Wanted};

const ATTEMPTED: &str = "deploy the stack from git";

/// A stack that is to be of a repository, where it is there.
struct FoundGit {
    target: PortainerStack,
    git: GitStack,
    stack: Option<Box<Stack>>,
    environment: u64,
}

impl PortainerStack {
    pub(super) async fn read_for_git(&self, git: &GitStack) -> Result<Box<dyn Found>, TargetError> {
        let (stack, environment) = match self.find().await? {
            Where::Here(stack) => {
                self.refuse_another_repository(&stack, git)?;
                let environment = stack.environment;
                (Some(stack), environment)
            }
            Where::Nowhere(_) if git.settings_only => {
                let why = format!("there is no stack `{}` whose settings could change", self.name);
                return Err(self.portainer.refused(ATTEMPTED, why));
            }
            Where::Nowhere(environment) => (None, environment.id),
        };
        Ok(Box::new(FoundGit { target: self.clone(), git: git.clone(), stack, environment }))
    }

    /// Portainer keeps repository and path of a stack for as long as the stack is there.
    fn refuse_another_repository(&self, stack: &Stack, git: &GitStack) -> Result<(), TargetError> {
        let refused = |why: String| Err(self.portainer.refused(ATTEMPTED, why));
        let name = &self.name;
        let Some(stored) = &stack.git else {
            return refused(format!("the file of the stack `{name}` is kept in Portainer and not in git"));
        };
        let same = |one: &str, other: &str| {
            let bare = |url: &str| url.trim_end_matches('/').trim_end_matches(".git").to_owned();
            bare(one) == bare(other)
        };
        if !same(stored["URL"].as_str().unwrap_or_default(), &git.url) {
            return refused(format!(
                "the stack `{name}` is of another repository; remove it first to make it of this one"
            ));
        }
        match (&git.file, stored["ConfigFilePath"].as_str()) {
            (Some(wished), Some(stored)) if wished != stored => refused(format!(
                "the stack `{name}` has the file `{stored}` of the repository, which Portainer cannot change to `{wished}`"
            )),
            (Some(_) | None, _) => Ok(()),
        }
    }

    pub(super) async fn planned_git(&self, git: &GitStack) -> Result<Plan, TargetError> {
        let note = match self.find().await? {
            Where::Nowhere(_) => "the stack is made of the repository".to_owned(),
            Where::Here(stack) => {
                self.refuse_another_repository(&stack, git)?;
                match git.settings_only {
                    true => "the settings of the stack are changed, and nothing is deployed".to_owned(),
                    false => {
                        "the settings of the stack are changed, and what is in the repository now is deployed"
                            .to_owned()
                    }
                }
            }
        };
        Ok(Plan { changes: Vec::new(), notes: vec![note] })
    }

    /// Watches what was deployed from git; of mere settings there is nothing to watch.
    pub(super) async fn watch_git(
        &self,
        wanted: &Wanted,
        given_up: Option<proto::Reason>,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        if let proto::Operation::DeployGit(git) = &wanted.job.operation
            && git.settings_only
        {
            return Ok(Outcome::of(crate::target::End::Converged));
        }
        self.watch_everything(wanted, given_up, progress).await
    }

    /// What became of a deploy that nobody answered: it counts as done once its date is another one, or while
    /// Portainer is at work on it.
    async fn is_deployed_since(&self, before: &Stack, patience: Duration) -> Result<bool, TargetError> {
        let begun = Instant::now();
        let mut waits = Waits::new(&self.name);
        loop {
            match self.portainer.client.stack(before.id, &self.name).await {
                Ok(now) if now.updated_at != before.updated_at || now.status == Status::Deploying => {
                    return Ok(true);
                }
                Err(error) if begun.elapsed() >= patience => return Err(error),
                Ok(_) if begun.elapsed() >= patience => return Ok(false),
                Ok(_) | Err(_) => waits.go_on().await,
            }
        }
    }

    /// Has what is in git now deployed. `stack`: as it was read last. Its date is taken afresh: whatever else moved it must
    /// not pass for this deploy.
    pub(super) async fn deploy_from_git(
        &self,
        stack: &Stack,
        update: &GitUpdate<'_>,
        job: JobId,
    ) -> Result<(), Failure> {
        let client = &self.portainer.client;
        let now = client.stack(stack.id, &self.name).await.map_err(Failure::NotAsked)?;
        if !now.is_as_read(stack) {
            return Err(Failure::NotAsked(TargetError::Conflict));
        }
        let (asked, about) = (Instant::now(), About::Stack(stack.id));
        self.note_asked(about.clone(), job, Some(&now));
        let deployed = match client.redeploy_git(&now, update).await {
            Ok(_) => Ok(()),
            Err(failure) if !failure.is_in_doubt() => Err(failure),
            Err(failure) => match self.is_deployed_since(&now, self.patience(&failure, asked)).await {
                Ok(true) => Ok(()),
                Ok(false) => Err(failure),
                Err(error) => Err(Failure::NotAsked(error)),
            },
        };
        self.portainer.asked.settle(&about, deployed.is_ok());
        deployed
    }

    /// The stack that somebody made meanwhile. After what `failed` it is waited for while it may be under way: the record
    /// comes after the deploy.
    pub(super) async fn made_meanwhile(
        &self,
        failed: &Failure,
        asked: Instant,
    ) -> Result<Option<Stack>, TargetError> {
        let begun = Instant::now();
        let patience = if failed.is_in_doubt() { self.patience(failed, asked) } else { Duration::ZERO };
        let mut waits = Waits::new(&self.name);
        loop {
            match self.find().await {
                Ok(Where::Here(stack)) => return Ok(Some(*stack)),
                Ok(Where::Nowhere(_)) if begun.elapsed() >= patience => return Ok(None),
                Err(error) if begun.elapsed() >= patience => return Err(error),
                Ok(Where::Nowhere(_)) | Err(_) => waits.go_on().await,
            }
        }
    }
}

impl FoundGit {
    fn secret(&self, named: &str) -> Result<&str, TargetError> {
        let secret = self.target.portainer.secrets.get(named).map(config::Secret::expose);
        secret.ok_or_else(|| {
            let why = format!("there is no secret `{named}` in the worker's configuration");
            self.target.portainer.refused(ATTEMPTED, why)
        })
    }

    fn env(&self, former: &Env) -> Result<Env, TargetError> {
        let mut env = former.clone();
        for (name, given) in &self.git.env {
            let value = match given {
                Given::Value(value) => value.as_str(),
                Given::Secret(named) => self.secret(&named.from)?,
            };
            env.set(name, value);
        }
        Ok(env)
    }

    /// Who reads the repository: as wished, else as stored, whose password Portainer keeps where an empty one is sent.
    fn login(&self, stored: Option<&Value>) -> Result<Option<(String, String)>, TargetError> {
        let login = stored.and_then(|git| git.get("Authentication")).filter(|login| login.is_object());
        let known = login.map(|login| login["Username"].as_str().unwrap_or_default().to_owned());
        let refused = |why: String| Err(self.target.portainer.refused(ATTEMPTED, why));
        match (&self.git.username, &self.git.password, known) {
            (Some(username), Some(password), _) => {
                Ok(Some((username.clone(), self.secret(&password.from)?.to_owned())))
            }
            (None, Some(password), Some(known)) => Ok(Some((known, self.secret(&password.from)?.to_owned()))),
            (None, Some(_), None) => {
                refused("there is a `password` for the repository and no `username`; give both".to_owned())
            }
            // The password that is stored is that user's.
            (Some(username), None, Some(known)) if *username == known => Ok(Some((known, String::new()))),
            (Some(username), None, _) => refused(format!(
                "no password is stored for `{username}`; give a `password` beside this `username`, or leave it out to have the \
                 repository read as before"
            )),
            (None, None, known) => Ok(known.map(|known| (known, String::new()))),
        }
    }

    fn auto_update(&self, stored: &Value) -> Value {
        match self.git.every_s {
            Some(seconds) => {
                let mut update = if stored.is_object() { stored.clone() } else { json!({}) };
                update["Interval"] = json!(format!("{seconds}s"));
                update
            }
            None => stored.clone(),
        }
    }

    async fn create(&self, job: JobId) -> Result<(), TargetError> {
        let (target, client) = (&self.target, &self.target.portainer.client);
        let (env, login) = (self.env(&Env::default())?, self.login(None)?);
        let swarm = target.swarm_of(self.environment).await?;
        let kind = if swarm.is_some() { StackKind::Swarm } else { StackKind::Compose };
        target.refuse_to_make_over(ATTEMPTED, (self.environment, kind, &target.name), None).await?;
        let body = json!({
            "Name": normalized(&target.name),
            "RepositoryURL": self.git.url,
            "RepositoryReferenceName": self.git.reference.as_deref().unwrap_or_default(),
            "RepositoryAuthentication": login.is_some(),
            "RepositoryUsername": login.as_ref().map(|(username, _)| username),
            "RepositoryPassword": login.as_ref().map(|(_, password)| password),
            // Without it, a swarm's is not found.
            "ComposeFile": self.git.file.as_deref().unwrap_or("docker-compose.yml"),
            "AdditionalFiles": self.git.more_files,
            "AutoUpdate": self.auto_update(&Value::Null),
            "Env": env.to_json(),
        });
        target.wait_while_it_is_made(self.environment).await?;
        let (asked, making) = (Instant::now(), target.making_in(self.environment));
        target.note_asked(making.clone(), job, None);
        let created = client.create_from_git(self.environment, swarm.as_deref(), body).await;
        let Err(failure) = created else {
            target.portainer.asked.settle(&making, true);
            return Ok(());
        };
        let in_doubt = failure.is_in_doubt();
        let made = target.made_meanwhile(&failure, asked).await;
        target.portainer.asked.settle(&making, in_doubt && matches!(made, Ok(Some(_))));
        let made = made?;
        let what = format!("environment of the stack `{}`", target.name);
        let error = failure.of(client.system(), Call::write(ATTEMPTED, &what));
        match made {
            Some(stack) if in_doubt => target.refuse_another_repository(&stack, &self.git),
            // Somebody else was quicker.
            Some(_) => Err(TargetError::Conflict),
            None => {
                let mut error = self.told(error, &env);
                if let TargetError::Refused { answer, .. } = &mut error {
                    answer.extend(target.left_by_create((self.environment, kind)).await);
                }
                Err(error)
            }
        }
    }

    /// Settings first, then what is there now; settings alone deploy nothing.
    async fn update(&self, stack: &Stack, job: JobId) -> Result<(), TargetError> {
        let target = &self.target;
        // Before the settings are written, which move its date.
        if target.was_made_for(stack, job) || target.has_been_asked(stack, job).await? {
            return Ok(());
        }
        let client = &target.portainer.client;
        if stack.kind == StackKind::Kubernetes {
            return Err(target.portainer.refused(ATTEMPTED, "it is a stack of Kubernetes"));
        }
        let stored = stack.git.clone().unwrap_or_default();
        let reference = self.git.reference.as_deref().or_else(|| stored["ReferenceName"].as_str());
        let (env, login) = (self.env(&stack.env)?, self.login(Some(&stored))?);
        let update = GitUpdate {
            reference: reference.unwrap_or_default(),
            login: login.as_ref().map(|(username, password)| (username.as_str(), password.as_str())),
            env: &env,
            skip_tls: stored["TLSSkipVerify"].as_bool().unwrap_or_default(),
            auto_update: self.auto_update(&stack.auto_update),
        };
        if !self.git.settings_only {
            target.refuse_by_status(stack, &proto::Operation::Redeploy)?;
        }
        // The same settings twice are the same settings: no answer is no harm.
        client.set_git(stack, &update).await.map_err(|failure| self.meaning(failure, &env))?;
        if self.git.settings_only {
            return Ok(());
        }
        // The settings moved its date.
        let stack = &client.stack(stack.id, &target.name).await?;
        target.refuse_by_status(stack, &proto::Operation::Redeploy)?;
        target.wait_out_rollouts(stack).await?;
        let deployed = target.deploy_from_git(stack, &update, job).await;
        deployed.map_err(|failure| with_settings_told(self.meaning(failure, &env)))
    }

    fn meaning(&self, failure: Failure, env: &Env) -> TargetError {
        let what = format!("stack `{}`", self.target.name);
        let system = self.target.portainer.client.system();
        self.told(failure.of(system, Call::write(ATTEMPTED, &what)), env)
    }

    fn told(&self, error: TargetError, env: &Env) -> TargetError {
        let TargetError::Refused { system, attempted, answer } = error else { return error };
        let answer = self.target.without_values(env, &last_lines(&answer));
        TargetError::Refused { system, attempted, answer }
    }
}

/// What was done before a deploy was refused stays done.
fn with_settings_told(mut error: TargetError) -> TargetError {
    if let TargetError::Refused { answer, .. } = &mut error {
        answer.push_str("; the settings of the stack are the new ones already");
    }
    error
}

#[async_trait]
impl Found for FoundGit {
    /// What is in git is not ours to mark: which job is newer, the history tells.
    fn standing(&self, _: JobId) -> Standing {
        Standing::Open
    }

    fn image(&self) -> Option<ImageRef> {
        None
    }

    fn before(&self) -> Option<ImageRef> {
        None
    }

    async fn apply(self: Box<Self>, wanted: &Wanted) -> Result<(), TargetError> {
        match &self.stack {
            Some(stack) => self.update(stack, wanted.job.id).await,
            None => self.create(wanted.job.id).await,
        }
    }
}
