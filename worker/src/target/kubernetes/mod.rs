//! Kubernetes: a target is one workload, changed by a patch of exactly the image of one of its containers, on the
//! condition that nobody else changed it, and watched until its pods truly run.

pub(in crate::target) mod answer;
mod apply;
mod back;
pub(in crate::target) mod client;
mod connect;
mod decide;
pub(in crate::target) mod edit;
mod fence;
mod kind;
mod kubeconfig;
mod lifecycle;
mod look;
mod object;
mod plan;
mod pods;
mod resolve;
mod rollout;
mod settings;
mod watch;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use proto::{
    ImageRef, Job, JobId, Operation, Reason,
    ask::{Plan, TargetNow},
};
use tokio::sync::mpsc;

use self::{
    client::{Access, Client, http},
    object::Workload,
    resolve::Digests,
};
use super::{
    Found, Outcome, Progress, Target, TargetError, Wanted,
    swarm::{Policy, Registries},
};
use crate::settings::Registry;

pub use kind::{WorkloadKind, WorkloadName, WorkloadNameError};
pub use settings::KubernetesSettings;

const MOST_FLOORS: usize = 1000;

/// What is known of the workload that a job wrote, or was found to have written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Floor {
    /// The generation that our own write was answered with; 0 where another worker wrote.
    generation: u64,
    /// Which workload that was: one that was made anew under its name is another.
    uid: Option<String>,
}

/// One cluster. Cheap to clone; clones share the places.
#[derive(Clone)]
pub struct Kubernetes {
    client: Arc<Client>,
    digests: Arc<Digests>,
    /// What our own writes were answered with, until the watch of the job has ended.
    floors: Arc<Mutex<BTreeMap<JobId, Floor>>>,
}

/// One workload of a cluster.
#[derive(Clone)]
pub struct KubernetesWorkload {
    kubernetes: Kubernetes,
    place: WorkloadName,
    container: Option<String>,
    policy: Policy,
}

impl Kubernetes {
    /// A cluster that messages call `name`. Nothing is connected yet.
    ///
    /// # Errors
    /// When its address or credentials cannot be used.
    pub fn new(name: &str, settings: &KubernetesSettings) -> Result<Kubernetes, TargetError> {
        let unusable = |source: Box<dyn std::error::Error + Send + Sync>| TargetError::Unreachable {
            system: name.to_owned(),
            source,
        };
        let door = settings.door().map_err(|wrong| unusable(wrong.into()))?;
        if door.trust.insecure {
            tracing::warn!(
                system = name,
                "any certificate is taken for this cluster (insecure_tls, or its kubeconfig's \
                 insecure-skip-tls-verify): whoever stands in between can read its credentials; give the certificate \
                 of its authority instead"
            );
        }
        if door.base.starts_with("http://") {
            tracing::warn!(
                system = name,
                "this cluster is asked without TLS: whoever listens can read its credentials"
            );
        }
        let http = http(&door.base, &door.trust).map_err(unusable)?;
        let access = Access { base: door.base, http, credential: door.credential };
        Ok(Kubernetes::over(Client::new(name, access, settings.at_once)?))
    }

    /// A cluster that is reached by these calls.
    pub(in crate::target) fn over(client: Client) -> Kubernetes {
        let digests = Digests::new(BTreeMap::new(), Registries::default());
        Kubernetes { client: Arc::new(client), digests: Arc::new(digests), floors: Arc::default() }
    }

    /// The same with the registries of the configuration, and what they are called where images are pulled.
    #[must_use]
    pub(crate) fn with(self, registries: BTreeMap<String, Registry>, keys: Registries) -> Kubernetes {
        Kubernetes { digests: Arc::new(Digests::new(registries, keys)), ..self }
    }

    /// One of its workloads; without a container, its only one.
    #[must_use]
    pub fn workload(&self, place: &WorkloadName, container: Option<&str>) -> KubernetesWorkload {
        KubernetesWorkload {
            kubernetes: self.clone(),
            place: place.clone(),
            container: container.map(str::to_owned),
            policy: Policy::default(),
        }
    }

    fn floors(&self) -> MutexGuard<'_, BTreeMap<JobId, Floor>> {
        self.floors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_written(&self, job: JobId, written: &Workload) {
        self.note(job, Floor { generation: written.generation(), uid: written.uid().map(str::to_owned) });
    }

    /// The workload is watched from now on; where a former worker wrote it, only its identity is known.
    fn note_watched(&self, job: JobId, watched: &Workload) {
        if !self.floors().contains_key(&job) {
            self.note(job, Floor { generation: 0, uid: watched.uid().map(str::to_owned) });
        }
    }

    fn note(&self, job: JobId, floor: Floor) {
        let mut floors = self.floors();
        floors.insert(job, floor);
        // Of a job whose watch was broken off nobody says that it has ended.
        if floors.len() > MOST_FLOORS {
            floors.pop_first();
        }
    }

    /// No status of a generation before this one tells of what the job wrote.
    fn floor(&self, job: JobId) -> u64 {
        self.floors().get(&job).map(|floor| floor.generation).unwrap_or_default()
    }

    /// Whether somebody deleted what the job wrote, and made another under its name.
    fn is_another(&self, job: JobId, workload: &Workload) -> bool {
        let floors = self.floors();
        let written = floors.get(&job).and_then(|floor| floor.uid.as_deref());
        written.zip(workload.uid()).is_some_and(|(written, stands)| written != stands)
    }

    fn forget_floor(&self, job: JobId) {
        self.floors().remove(&job);
    }
}

impl KubernetesWorkload {
    /// The same with what its target asks of rollouts.
    #[must_use]
    pub fn with(self, policy: Policy) -> KubernetesWorkload {
        KubernetesWorkload { policy, ..self }
    }

    fn system(&self) -> &str {
        self.kubernetes.client.system()
    }

    /// Our own refusal: by it, nothing was touched.
    fn refused(&self, attempted: &'static str, why: impl Into<String>) -> TargetError {
        TargetError::Declined { system: self.system().to_owned(), attempted, why: why.into() }
    }
}

#[async_trait]
impl Target for KubernetesWorkload {
    fn pulled_as(&self, image: &ImageRef) -> ImageRef {
        self.kubernetes.digests.pulled_as(image)
    }

    async fn resolve(&self, image: &ImageRef) -> Result<ImageRef, TargetError> {
        self.kubernetes.digests.look_up(image).await
    }

    async fn read(&self, job: &Job) -> Result<Box<dyn Found>, TargetError> {
        self.found(job).await
    }

    async fn look(&self) -> Result<TargetNow, TargetError> {
        self.now().await
    }

    async fn plan(&self, operation: &Operation) -> Result<Plan, TargetError> {
        self.planned(operation).await
    }

    fn accepts(&self, operation: &Operation) -> Result<(), String> {
        lifecycle::accepts(self.place.kind, operation)
    }

    async fn watch(
        &self,
        wanted: &Wanted,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        Box::pin(self.watched(wanted, None, progress)).await
    }

    async fn give_up(
        &self,
        wanted: &Wanted,
        reason: Reason,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        Box::pin(self.watched(wanted, Some(reason), progress)).await
    }
}
