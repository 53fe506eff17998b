//! Docker Swarm: a target is a service, written as raw JSON on the condition that nobody else changed it,
//! and watched until it truly runs.

mod alive;
mod answer;
mod apply;
mod back;
mod client;
pub(crate) mod discover;
mod fence;
mod labels;
mod look;
mod platform;
mod registry;
mod report;
mod rollout;
mod service;
mod settings;
mod tasks;
mod watch;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use proto::{ImageRef, Job, Operation, Reason, ask::TargetNow};
use tokio::sync::mpsc;

use self::{
    answer::{RegistryAnswer, registry_answer},
    apply::FoundService,
    client::{Client, RegistryRefusal, Write},
    service::{Edit, Service},
};
use super::{Found, Outcome, Progress, Target, TargetError, Wanted};

pub use registry::Registries;
pub use settings::{Discover, SwarmHost, SwarmHostError, SwarmSettings};

/// One swarm, reached through one of its managers. Cheap to clone; clones share the sessions.
#[derive(Clone)]
pub struct Swarm {
    client: Arc<Client>,
    registries: Arc<Registries>,
}

/// One service of a swarm.
#[derive(Clone)]
pub struct SwarmService {
    swarm: Swarm,
    name: String,
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
        let client = Client::new(name, settings.host.clone(), at_once)?;
        Ok(Swarm { client: Arc::new(client), registries: Arc::new(registries) })
    }

    /// Its service of that full name (in a stack: `<stack>_<service>`).
    #[must_use]
    pub fn service(&self, name: &str) -> SwarmService {
        SwarmService { swarm: self.clone(), name: name.to_owned(), policy: Policy::default() }
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

    /// After a rollout that began under another mark: ours goes on the service now that it is over. Whether
    /// that succeeds changes nothing about the rollout.
    async fn leave_mark(&self, service: &Service, wanted: &Wanted) {
        if service.fence.job.is_some_and(|job| job >= wanted.job.id) {
            return;
        }
        let spec = service.edited(&Edit { job: Some(wanted.job.id), ..Edit::default() });
        if let Err(error) = self.client().write(Write { service, spec: &spec, registry_key: None }).await {
            tracing::warn!(service = self.name, job = %wanted.job.id, %error, "the service could not be marked");
        }
    }

    /// The image that a wish brings; what brings none is not carried out on a service yet.
    fn wanted_image<'a>(&self, wanted: &'a Wanted) -> Result<&'a ImageRef, TargetError> {
        wanted.image.as_ref().ok_or_else(|| TargetError::Refused {
            system: self.client().system().to_owned(),
            attempted: "change the service",
            answer: format!("`{}` is not carried out on Swarm services", wanted.job.operation.type_name()),
        })
    }

    fn look_up_failed(&self, image: &ImageRef, refusal: RegistryRefusal) -> TargetError {
        let RegistryRefusal { status, message: answer, retry_after } = refusal;
        let system = image.repository().host().to_owned();
        match registry_answer(status, &answer) {
            Some(RegistryAnswer::NoSuchImage) => TargetError::ImageNotFound { image: image.clone(), answer },
            Some(RegistryAnswer::CredentialsRefused) => TargetError::CredentialsRefused { system, answer },
            Some(RegistryAnswer::Unavailable) => TargetError::Unavailable { system, answer, retry_after },
            None => TargetError::Refused { system, attempted: "look up the image", answer },
        }
    }
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
        self.refuse_other_platforms(image, &answer).await?;
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
            Operation::SetImage { service: Some(service), .. } if *service != self.name => {
                Err(format!("the target is the service `{}`, and the job is for `{service}`", self.name))
            }
            Operation::SetImage { .. } => Ok(()),
            Operation::Start | Operation::Stop | Operation::Restart | Operation::Cancel { .. } => {
                Err(format!("`{}` is not carried out on Swarm services", operation.type_name()))
            }
        }
    }

    async fn read(&self, _: &Job) -> Result<Box<dyn Found>, TargetError> {
        let service = self.client().service(&self.name).await?;
        Ok(Box::new(FoundService { target: self.clone(), service }))
    }

    async fn look(&self) -> Result<TargetNow, TargetError> {
        self.now().await
    }

    async fn watch(
        &self,
        wanted: &Wanted,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        self.watch_to_the_end(wanted, self.wanted_image(wanted)?, progress).await
    }

    async fn give_up(
        &self,
        wanted: &Wanted,
        reason: Reason,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        self.out_of_time(wanted, reason, progress).await
    }
}
