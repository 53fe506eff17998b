//! Portainer: a target is one of its stacks, whose file is edited in the one place that names the image, and which is
//! watched through the Docker engine behind it. What Portainer itself says of a deploy proves nothing.

mod about;
mod accept;
mod answer;
mod apply;
mod asked;
mod back;
mod back_text;
mod called_failed;
mod client;
mod connect;
mod container;
mod deploy;
mod fence;
#[cfg(test)]
mod fuzzing;
mod git;
mod good;
mod ground;
mod hide;
mod image;
mod left_over;
mod lifecycle;
mod listing;
mod live;
mod look;
mod lookout;
mod migrate;
mod objects;
mod overwritten;
mod patience;
mod place;
mod removal;
mod resolve;
mod restart;
mod rollouts;
mod settings;
mod take_over;
mod text;
mod unrecorded;
mod untouched;
mod veil;
mod watch;
mod watch_compose;
mod watch_whole;
mod write;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use async_trait::async_trait;
use proto::{
    ImageRef, Job, JobId, Operation, Reason,
    ask::{Plan, TargetNow},
};
use tokio::sync::mpsc;

use self::{
    asked::Asked,
    back_text::Former,
    client::Client,
    objects::{Env, Environment},
    rollouts::GivenUp,
};
use super::{
    Found, Outcome, Progress, Target, TargetError, Wanted,
    swarm::{Policy, Registries, Secrets},
};

pub use settings::{PortainerSettings, PortainerUrl, PortainerUrlError};

/// One Portainer. Cheap to clone; clones share the places and the login.
#[derive(Clone)]
pub struct Portainer {
    client: Arc<Client>,
    /// The environment as the configuration names it.
    named: Option<String>,
    known: Arc<tokio::sync::Mutex<Option<(Instant, Environment)>>>,
    registries: Arc<Registries>,
    secrets: Arc<Secrets>,
    /// What a deploy was refused with, until the job's watch tells it.
    refusals: Arc<Mutex<HashMap<JobId, String>>>,
    /// By stack, what stood before a job's text, until its watch came to an end.
    formers: Arc<Mutex<HashMap<u64, (JobId, Former)>>>,
    /// What it was asked for, and nobody knows yet what became of it.
    asked: Arc<Asked>,
    /// Rollouts that nobody waits for.
    given_up: Arc<GivenUp>,
}

/// One stack of a Portainer.
#[derive(Clone)]
pub struct PortainerStack {
    portainer: Portainer,
    name: String,
    policy: Policy,
    /// Its variables as they were read last: their values are hidden also where it cannot be read.
    variables: Arc<Mutex<Env>>,
}

impl Portainer {
    /// A Portainer that messages call `name`. Nothing is connected yet.
    ///
    /// # Errors
    /// When its address or credentials cannot be used.
    pub fn new(name: &str, settings: &PortainerSettings) -> Result<Portainer, TargetError> {
        let client = Client::new(name, settings)?;
        if settings.insecure_tls.unwrap_or_default() {
            tracing::warn!(
                system = name,
                "any certificate is taken for this Portainer (insecure_tls): whoever stands in between can read its \
                 credentials; give `ca_file` instead"
            );
        }
        if settings.url.as_str().starts_with("http://") {
            tracing::warn!(
                system = name,
                "this Portainer is asked without TLS: whoever listens can read its credentials"
            );
        }
        Ok(Portainer {
            client: Arc::new(client),
            named: settings.environment.clone(),
            known: Arc::default(),
            registries: Arc::default(),
            secrets: Arc::default(),
            refusals: Arc::default(),
            asked: Arc::default(),
            given_up: Arc::default(),
            formers: Arc::default(),
        })
    }

    /// Another environment of the same Portainer, which messages call `name`: one login and one bound for both.
    #[must_use]
    pub fn beside(&self, name: &str, environment: Option<String>) -> Portainer {
        Portainer {
            client: Arc::new(self.client.named(name)),
            named: environment,
            known: Arc::default(),
            ..self.clone()
        }
    }

    /// What messages call it.
    pub(crate) fn system(&self) -> &str {
        self.client.system()
    }

    /// A number that all systems on this very Portainer share.
    pub(crate) fn line(&self) -> usize {
        self.client.line()
    }

    /// The same with keys to registries, and the secrets that stacks may ask for.
    #[must_use]
    pub fn with(self, registries: Registries, secrets: Secrets) -> Portainer {
        Portainer { registries: Arc::new(registries), secrets: Arc::new(secrets), ..self }
    }

    /// Its stack of that name or number.
    #[must_use]
    pub fn stack(&self, name: &str) -> PortainerStack {
        let (policy, variables) = Default::default();
        PortainerStack { portainer: self.clone(), name: name.to_owned(), policy, variables }
    }

    fn note_refusal(&self, job: JobId, why: String) {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).insert(job, why);
    }

    /// Notes what a text is about to be written over. The first note of a job counts: later ones find its own text.
    fn note_former(&self, stack: u64, job: JobId, former: Former) {
        let mut formers = self.formers.lock().unwrap_or_else(PoisonError::into_inner);
        if formers.get(&stack).is_none_or(|(noted, _)| *noted != job) {
            formers.insert(stack, (job, former));
        }
    }

    fn former(&self, job: JobId) -> Option<Former> {
        let formers = self.formers.lock().unwrap_or_else(PoisonError::into_inner);
        formers.values().find(|(noted, _)| *noted == job).map(|(_, former)| former.clone())
    }

    fn take_former(&self, job: JobId) -> Option<Former> {
        let mut formers = self.formers.lock().unwrap_or_else(PoisonError::into_inner);
        let stack = formers.iter().find_map(|(stack, (noted, _))| (*noted == job).then_some(*stack))?;
        formers.remove(&stack).map(|(_, former)| former)
    }

    fn take_refusal(&self, job: JobId) -> Option<String> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).remove(&job)
    }
}

impl PortainerStack {
    /// The same with what its target asks of rollouts.
    #[must_use]
    pub fn with(self, policy: Policy) -> PortainerStack {
        PortainerStack { policy, ..self }
    }
}

#[async_trait]
impl Target for PortainerStack {
    fn pulled_as(&self, image: &ImageRef) -> ImageRef {
        self.portainer.registries.pulled_as(image)
    }

    async fn resolve(&self, image: &ImageRef) -> Result<ImageRef, TargetError> {
        self.look_up(image).await
    }

    async fn read(&self, job: &Job) -> Result<Box<dyn Found>, TargetError> {
        self.read_for(job).await
    }

    async fn look(&self) -> Result<TargetNow, TargetError> {
        self.now().await
    }

    async fn plan(&self, operation: &Operation) -> Result<Plan, TargetError> {
        self.planned(operation).await
    }

    fn accepts(&self, operation: &Operation) -> Result<(), String> {
        accept::accepts(operation)
    }

    /// Portainer knows no versions: the last writer wins, whoever that is.
    fn refuses_stale_writes(&self, _: &Operation) -> bool {
        false
    }

    /// A stack is one file.
    fn writes_as_a_whole(&self, operation: &Operation) -> bool {
        match operation {
            Operation::SetImage { .. }
            | Operation::Rollback { .. }
            | Operation::DeployStack(_)
            | Operation::Redeploy => true,
            Operation::RemoveStack { .. }
            | Operation::DeployGit(_)
            | Operation::Migrate { .. }
            | Operation::Start
            | Operation::Stop
            | Operation::Restart
            | Operation::PruneImages { .. }
            | Operation::Hold { .. }
            | Operation::Release { .. }
            | Operation::Cancel { .. } => false,
        }
    }

    async fn watch(
        &self,
        wanted: &Wanted,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let outcome = Box::pin(self.watched(wanted, None, progress)).await;
        if matches!(outcome, Ok(_) | Err(TargetError::Conflict)) {
            self.portainer.asked.forget(wanted.job.id);
        }
        Ok(self.told(outcome?).await)
    }

    async fn give_up(
        &self,
        wanted: &Wanted,
        reason: Reason,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let outcome = Box::pin(self.watched(wanted, Some(reason), progress)).await?;
        Ok(self.told(outcome).await)
    }
}
