//! Docker Swarm: a target is a service, written as raw JSON on the condition that nobody else changed it,
//! and watched until it truly runs.

mod ages;
mod alive;
mod answer;
mod apply;
mod back;
mod before;
mod client;
mod content;
mod deploy;
pub(crate) mod discover;
mod effect;
mod elsewhere;
mod emptied;
mod fence;
mod good;
mod hold;
mod labels;
mod lifecycle;
mod lives;
mod look;
mod lookout;
mod lost;
mod passed;
mod placing;
mod plan;
mod platform;
mod prune;
mod redeploy;
mod registry;
mod remind;
mod report;
mod rollout;
mod seen;
mod service;
mod settings;
mod stack;
mod steady;
mod stood;
mod stop;
mod tasks;
mod tls;
mod watch;

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use proto::{
    ImageRef, Job, Operation, Reason,
    ask::{Plan, TargetNow},
    reason,
};
use tokio::sync::mpsc;

use self::{
    answer::{RegistryAnswer, registry_answer},
    apply::FoundService,
    client::{Client, RegistryRefusal, Write},
    lifecycle::Concern,
    lookout::Lookout,
    platform::Built,
    rollout::Rollout,
    service::{Edit, Service},
};
use super::{End, Found, OnHold, Outcome, Progress, Target, TargetError, Wanted};

pub use deploy::Secrets;
pub use deploy::command_is_here;
pub(crate) use deploy::sweep;
pub(in crate::target) use good::believed_after;
pub(in crate::target) use lives::Containers;
pub(in crate::target) use proto::variables::replaced;
pub use registry::Registries;
pub(in crate::target) use seen::{SeenRollout, SeenService, Sight};
pub use settings::{Discover, SwarmHost, SwarmHostError, SwarmSettings};
pub use stack::SwarmStack;
pub(in crate::target) use stack::end::standing_of_all;
pub(crate) use stack::full_name;
pub(in crate::target) use stop::tasks_to_stop;

/// One swarm, reached through one of its managers. Cheap to clone; clones share the sessions
/// and the look at it.
#[derive(Clone)]
pub struct Swarm {
    client: Arc<Client>,
    lookout: Arc<Lookout>,
    registries: Arc<Registries>,
    built: Arc<Built>,
    command: Arc<deploy::Command>,
}

/// One service of a swarm.
#[derive(Clone)]
pub struct SwarmService {
    swarm: Swarm,
    name: String,
    /// How it is called within its stack, where it was named by that.
    short: Option<String>,
    policy: Policy,
}

/// What a target asks of its rollouts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    /// How long new tasks have to stay up; the service's own monitor where it does not say.
    pub stable: Option<Duration>,
    /// Whether a rollout that failed is taken back to the image that ran well before.
    pub rollback: bool,
}

impl Swarm {
    /// A swarm that messages call `name`. Nothing is connected yet.
    ///
    /// # Errors
    /// When its sessions cannot be set up.
    pub fn new(name: &str, settings: &SwarmSettings, registries: Registries) -> Result<Swarm, TargetError> {
        let at_once = settings.at_once.map_or(settings::DEFAULT_AT_ONCE, std::num::NonZeroUsize::get);
        let tls = tls::configured(settings)
            .map_err(|wrong| TargetError::Unreachable { system: name.to_owned(), source: Box::new(wrong) })?;
        let client = Arc::new(Client::new(name, (settings.host.clone(), tls), at_once)?);
        let lookout = Arc::new(Lookout::new(Arc::clone(&client)));
        let command = Arc::new(deploy::Command::of(settings));
        let registries = Arc::new(registries);
        Ok(Swarm { client, lookout, registries, built: Arc::default(), command })
    }

    /// The same with a directory for what the docker command needs while it runs, and the secrets that stacks may
    /// ask for.
    #[must_use]
    pub fn with_stacks(self, rooms: &Path, secrets: Secrets) -> Swarm {
        Swarm { command: Arc::new(self.command.with(rooms, secrets)), ..self }
    }

    /// Which swarm it is, whatever its address.
    ///
    /// # Errors
    /// When it cannot be asked, or is no manager.
    pub(crate) async fn cluster(&self) -> Result<String, TargetError> {
        self.client.cluster().await
    }

    /// Its service of that full name (in a stack: `<stack>_<service>`).
    #[must_use]
    pub fn service(&self, name: &str) -> SwarmService {
        SwarmService { swarm: self.clone(), name: name.to_owned(), short: None, policy: Policy::default() }
    }

    /// The service that the stack `stack` calls `service`.
    #[must_use]
    pub fn service_of(&self, stack: &str, service: &str) -> SwarmService {
        let name = full_name(stack, service);
        SwarmService { short: Some(service.to_owned()), ..self.service(&name) }
    }

    /// All services of a stack.
    #[must_use]
    pub fn stack(&self, name: &str) -> SwarmStack {
        SwarmStack::new(self.clone(), name)
    }
}

impl SwarmService {
    /// The same with what its target asks of rollouts.
    #[must_use]
    pub fn with(self, policy: Policy) -> SwarmService {
        SwarmService { policy, ..self }
    }

    fn client(&self) -> &Client {
        &self.swarm.client
    }

    async fn watch_concern(
        &self,
        wanted: &Wanted,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let image = match (Concern::of(&wanted.job.operation), &wanted.job.operation) {
            (_, Operation::Stop) => return self.watch_stop(wanted, progress).await,
            (_, operation) if hold::is_hold(operation) => return self.watch_hold(operation).await,
            (Concern::Nothing, operation) => return self.prune(operation).await,
            (Concern::Image | Concern::Stack, _) => {
                return self.watch_to_the_end(wanted, self.wanted_image(wanted)?, progress).await;
            }
            (Concern::Redeploy, _) => return self.watch_redeploy(wanted, progress).await,
            (Concern::Running, _) => self.image_to_watch(wanted).await?,
        };
        let (outcome, ..) = Rollout::begin(self, (wanted, &image), progress).await?.watch().await?;
        Ok(outcome)
    }

    /// After a rollout in which somebody wiped our marks: they go on the service again now that it is over, `good` with
    /// them. Not where that would cost the engine its way back. Whether it succeeds changes nothing about the rollout.
    async fn leave_mark(
        &self,
        service: &Service,
        (wanted, image): (&Wanted, &ImageRef),
        good: Option<&ImageRef>,
    ) {
        let Some(id) = redeploy::image_mark(wanted) else { return };
        if service.fence.job.is_some() || !service.was_relabelled() {
            return;
        }
        let (job, good) = (Some(id), good.map(ToString::to_string));
        let edit =
            Edit { job, trying: job, trying_image: Some(image), good: good.as_deref(), ..Edit::default() };
        let spec = service.edited(&edit);
        if let Err(error) = self.client().write(Write { service, spec: &spec, registry_key: None }).await {
            tracing::warn!(service = self.name, job = %wanted.job.id, %error, "the service could not be marked");
        }
    }

    /// The image that a wish brings.
    fn wanted_image<'a>(&self, wanted: &'a Wanted) -> Result<&'a ImageRef, TargetError> {
        wanted.image.as_ref().ok_or_else(|| self.refused("update the service", "the job brings no image"))
    }

    /// Whether a job's word for a service means this one.
    fn is_called(&self, name: &str) -> bool {
        name == self.name || self.short.as_deref() == Some(name)
    }

    fn refused(&self, attempted: &'static str, answer: impl Into<String>) -> TargetError {
        TargetError::Refused { system: self.client().system().to_owned(), attempted, answer: answer.into() }
    }

    fn look_up_failed(&self, image: &ImageRef, refusal: RegistryRefusal) -> TargetError {
        let RegistryRefusal { status, message, retry_after } = refusal;
        let answer = answer::said_once(message);
        let system = image.repository().host().to_owned();
        match registry_answer(status, &answer) {
            Some(RegistryAnswer::NoSuchImage) => TargetError::ImageNotFound { image: image.clone(), answer },
            Some(RegistryAnswer::CredentialsRefused) => TargetError::CredentialsRefused { system, answer },
            Some(RegistryAnswer::Unavailable) => TargetError::Unavailable { system, answer, retry_after },
            None => TargetError::Refused { system, attempted: "look up the image", answer },
        }
    }
}

/// A service that was there when it was written, and is not any more while that is watched: somebody removed it.
fn removed(error: TargetError, operation: &Operation) -> Result<Outcome, TargetError> {
    if !matches!(error, TargetError::NotFound { .. }) || Concern::of(operation) == Concern::Nothing {
        return Err(error);
    }
    let reason = Reason::new(reason::CHANGED_ELSEWHERE, "somebody removed it during the rollout");
    Ok(Outcome::of(End::Superseded { by: None, reason }))
}

#[async_trait]
impl Target for SwarmService {
    fn pulled_as(&self, image: &ImageRef) -> ImageRef {
        self.swarm.registries.pulled_as(image)
    }

    /// Asks the registry through the engine, with our key to it. An image with a digest is looked up by it.
    async fn resolve(&self, image: &ImageRef) -> Result<ImageRef, TargetError> {
        let repository = image.repository();
        // With both, engines look up the tag and compare; the digest alone is what is meant.
        let reference = match (image.digest(), image.tag()) {
            (Some(digest), _) => format!("{repository}@{digest}"),
            (None, Some(tag)) => format!("{repository}:{tag}"),
            (None, None) => repository.to_string(),
        };
        let key = self.swarm.registries.header_for(repository);
        let answer = match self.client().distribution(&reference, key).await? {
            Ok(answer) => answer,
            Err(refusal) => return Err(self.look_up_failed(image, refusal)),
        };
        Box::pin(self.note_platforms(image, &answer)).await?;
        let digest = answer.pointer("/Descriptor/digest").and_then(serde_json::Value::as_str);
        match digest.and_then(|digest| digest.parse().ok()) {
            Some(digest) => Ok(image.with_digest(digest)),
            None => Err(TargetError::BadAnswer {
                system: self.client().system().to_owned(),
                attempted: "look up the image",
                answer: answer::cut(answer.to_string()),
            }),
        }
    }

    fn accepts(&self, operation: &Operation) -> Result<(), String> {
        match operation {
            Operation::SetImage { service: Some(service), .. }
            | Operation::Rollback { service: Some(service), .. }
                if !self.is_called(service) =>
            {
                Err(format!("the target is the service `{}`, and the job is for `{service}`", self.name))
            }
            Operation::Rollback { job: Some(job), image: None, .. } => {
                Err(lifecycle::image_is_not_said(*job))
            }
            Operation::SetImage { .. }
            | Operation::Rollback { .. }
            | Operation::Start
            | Operation::Stop
            | Operation::Restart
            | Operation::Redeploy
            | Operation::PruneImages { .. }
            | Operation::Hold { .. }
            | Operation::Release { .. } => Ok(()),
            Operation::DeployGit(_) | Operation::Migrate { .. } => {
                Err(format!("`{}` is not carried out on services of a swarm", operation.type_name()))
            }
            Operation::DeployStack(_) | Operation::RemoveStack { .. } => Err(format!(
                "the target is one service, and `{}` is for whole stacks; declare the stack as a target of its own, as in \
                 `shop: {{at: swarm, stack: shop}}`",
                operation.type_name()
            )),
            Operation::Cancel { .. } => {
                Err(format!("`{}` is not carried out on Swarm services", operation.type_name()))
            }
        }
    }

    async fn remind(&self, on_hold: &OnHold) -> Result<bool, TargetError> {
        let service = self.client().service(&self.name).await?;
        self.remind_of(&service, on_hold).await
    }

    async fn plan(&self, operation: &Operation) -> Result<Plan, TargetError> {
        let service = self.client().service(&self.name).await?;
        self.planned(service, operation).await
    }

    async fn read(&self, job: &Job) -> Result<Box<dyn Found>, TargetError> {
        let service = self.client().service(&self.name).await?;
        let before = Box::pin(self.before_for(&job.operation, &service)).await?;
        let concern = Concern::of(&job.operation);
        Ok(Box::new(FoundService { target: self.clone(), service, concern, before, known_bad: Vec::new() }))
    }

    async fn look(&self) -> Result<TargetNow, TargetError> {
        self.now().await
    }

    async fn images(&self) -> Result<Vec<ImageRef>, TargetError> {
        let service = self.client().service(&self.name).await?;
        Ok(self.image_with_content(&service).await?.into_iter().collect())
    }

    async fn watch(
        &self,
        wanted: &Wanted,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        Box::pin(self.watch_concern(wanted, progress))
            .await
            .or_else(|error| removed(error, &wanted.job.operation))
    }

    async fn give_up(
        &self,
        wanted: &Wanted,
        reason: Reason,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let given_up = match Concern::of(&wanted.job.operation) {
            Concern::Image | Concern::Stack => Box::pin(self.out_of_time(wanted, reason, progress)).await,
            Concern::Redeploy => self.redeploy_out_of_time(wanted, reason, progress).await,
            Concern::Running | Concern::Nothing => Ok(Outcome::failed(reason)),
        };
        given_up.or_else(|error| removed(error, &wanted.job.operation))
    }
}
