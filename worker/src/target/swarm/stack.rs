//! A stack as one target: each of its services that a job concerns is written, marked and watched by itself, and all
//! of them come to one end.

pub(super) mod end;
pub(super) mod found;
pub(super) mod gather;
mod half_way;
mod idle;
mod left_alone;
mod undone;
mod unmarked;
pub(super) mod watch;

use async_trait::async_trait;
use futures::future::join_all;
use proto::{
    ImageRef, Job, JobId, Operation, Reason,
    ask::{Plan, TargetNow},
};
use tokio::sync::mpsc;

use self::{
    found::FoundStack,
    idle::is_kept_idle,
    left_alone::that_can_stop,
    undone::{is_by_text, undone},
    unmarked::unmarked,
    watch::Until,
};
use super::{
    Policy, Swarm, SwarmService,
    apply::FoundService,
    deploy,
    lifecycle::{Concern, attempted, brought, image_is_not_said},
    removed,
    service::{Mode, Service},
    stood::way_back,
};
use crate::target::{End, Found, OnHold, Outcome, Progress, Target, TargetError, Wanted};

/// All services of one stack.
#[derive(Clone)]
pub struct SwarmStack {
    pub(super) swarm: Swarm,
    pub(super) name: String,
    pub(super) policy: Policy,
}

/// The name of a service that a stack calls `service`; one that has the stack's name already keeps it.
pub(crate) fn full_name(stack: &str, service: &str) -> String {
    let prefix = format!("{stack}_");
    if service.starts_with(&prefix) { service.to_owned() } else { format!("{prefix}{service}") }
}

impl SwarmStack {
    pub(super) fn new(swarm: Swarm, name: &str) -> SwarmStack {
        SwarmStack { swarm, name: name.to_owned(), policy: Policy::default() }
    }

    /// The same with what its target asks of the rollouts of each service.
    #[must_use]
    pub fn with(self, policy: Policy) -> SwarmStack {
        SwarmStack { policy, ..self }
    }

    pub(super) fn service(&self, name: &str) -> SwarmService {
        self.swarm.service(name).with(self.policy)
    }

    /// Whether a service runs the repository of an image, by its own name or by the one it is pulled as.
    fn runs_repository(&self, service: &Service, image: &ImageRef) -> bool {
        let pulled_as = self.swarm.registries.pulled_as(image);
        let is_of =
            |runs: &ImageRef| [image, &pulled_as].iter().any(|it| it.repository() == runs.repository());
        service.image().is_some_and(|runs| is_of(&runs))
    }

    /// How the stack calls one of its services.
    pub(super) fn short<'a>(&self, service: &'a str) -> &'a str {
        let short = service.strip_prefix(self.name.as_str()).and_then(|rest| rest.strip_prefix('_'));
        short.unwrap_or(service)
    }

    /// The services that `operation` concerns, of which `mine` may have changed some already.
    async fn concerned(
        &self,
        operation: &Operation,
        mine: Option<JobId>,
    ) -> Result<Vec<Service>, TargetError> {
        let all = self.swarm.client.services_of(&self.name).await?;
        let concern = Concern::of(operation);
        let is_mine = |service: &Service| mine.is_some() && concern.mark(service) == mine;
        let undone = undone(&all, is_mine, mine);
        let chosen: Vec<Service> = all
            .iter()
            .filter(|service| is_mine(service) || self.concerns(operation, service, undone))
            .filter(|service| !is_kept_idle(operation, service))
            .cloned()
            .collect();
        let chosen = if *operation == Operation::Stop { that_can_stop(chosen) } else { chosen };
        if chosen.is_empty() { Err(self.nothing_concerned(operation, &all)) } else { Ok(chosen) }
    }

    /// `undone`: the job that a rollback of the whole stack undoes.
    fn concerns(&self, operation: &Operation, service: &Service, undone: Option<JobId>) -> bool {
        let is_called = |name: &str| service.name() == full_name(&self.name, name);
        match operation {
            Operation::SetImage { service: Some(name), .. }
            | Operation::Rollback { service: Some(name), .. } => is_called(name),
            Operation::SetImage { image, service: None }
            | Operation::Rollback { image: Some(image), service: None, .. } => {
                self.runs_repository(service, image) && service.mode() != Mode::Job
            }
            Operation::Rollback { image: None, service: None, .. } => {
                undone.is_some() && brought(service) == undone && way_back(service).is_some()
            }
            // What runs to its end is neither stopped nor run again.
            Operation::Start | Operation::Stop | Operation::Restart | Operation::Redeploy => {
                service.mode() != Mode::Job
            }
            Operation::PruneImages { .. } => true,
            Operation::Hold { image } | Operation::Release { image } => {
                let runs = |image: &ImageRef| self.runs_repository(service, image);
                image.as_ref().is_none_or(runs) && service.mode() != Mode::Job
            }
            Operation::DeployStack(_)
            | Operation::RemoveStack { .. }
            | Operation::DeployGit(_)
            | Operation::Migrate { .. }
            | Operation::Cancel { .. } => false,
        }
    }

    fn nothing_concerned(&self, operation: &Operation, all: &[Service]) -> TargetError {
        let system = self.swarm.client.system().to_owned();
        if matches!(operation, Operation::Rollback { image: None, service: None, .. }) && is_by_text(all) {
            let why = format!(
                "the compose file that was deployed last to `{}` replaced no image that ran well before; to take back \
                 what else it changed, deploy the file from before it",
                self.name
            );
            return TargetError::Declined { system, attempted: attempted(operation), why };
        }
        let stack = &self.name;
        let what = match operation {
            Operation::SetImage { service: Some(service), .. }
            | Operation::Rollback { service: Some(service), .. } => {
                format!("service `{service}` in the stack `{stack}`, which has {}", self.listed(all))
            }
            Operation::SetImage { image, .. } | Operation::Rollback { image: Some(image), .. } => {
                let repository = image.repository().familiar();
                let listed = self.listed(all);
                format!("service in the stack `{stack}` that runs `{repository}`; it has {listed}")
            }
            Operation::Rollback { image: None, .. } => {
                format!("service in the stack `{stack}` of which an image is known that ran well before")
            }
            Operation::Start | Operation::Restart => format!(
                "service in the stack `{stack}` that runs, or did when it was stopped; a single one is started as a target \
                 of its own"
            ),
            Operation::DeployStack(_)
            | Operation::RemoveStack { .. }
            | Operation::Stop
            | Operation::Redeploy
            | Operation::DeployGit(_)
            | Operation::Migrate { .. }
            | Operation::PruneImages { .. }
            | Operation::Hold { .. }
            | Operation::Release { .. }
            | Operation::Cancel { .. } => format!("service in the stack `{stack}` that stays up"),
        };
        TargetError::NotFound { system, what }
    }

    /// `web (acme/web), db (postgres)`
    fn listed(&self, services: &[Service]) -> String {
        let of = |service: &Service| {
            let image = service.image().map(|image| image.repository().familiar()).unwrap_or_default();
            format!("`{}` ({image})", self.short(service.name()))
        };
        services.iter().map(of).collect::<Vec<_>>().join(", ")
    }

    async fn found(
        &self,
        services: Vec<Service>,
        operation: &Operation,
    ) -> Result<Vec<FoundService>, TargetError> {
        let concern = Concern::of(operation);
        let mut found = Vec::new();
        for service in services {
            let target = self.service(service.name());
            let before = Box::pin(target.before_for(operation, &service)).await?;
            found.push(FoundService { target, service, concern, before, known_bad: Vec::new() });
        }
        Ok(found)
    }
}

#[async_trait]
impl Target for SwarmStack {
    fn pulled_as(&self, image: &ImageRef) -> ImageRef {
        self.swarm.registries.pulled_as(image)
    }

    /// As the service would that takes it: what it may run on counts too. Of several, what the others may run on is
    /// looked at before the first is written.
    async fn resolve(&self, image: &ImageRef) -> Result<ImageRef, TargetError> {
        let all = self.swarm.client.services_of(&self.name).await?;
        let taker = all.iter().find(|service| self.runs_repository(service, image)).or(all.first());
        let name = taker.map(|service| service.name().to_owned()).unwrap_or_default();
        self.service(&name).resolve(image).await
    }

    async fn read(&self, job: &Job) -> Result<Box<dyn Found>, TargetError> {
        if let Operation::DeployStack(text) = &job.operation {
            return self.read_for_text(text).await;
        }
        if let Operation::RemoveStack { force } = job.operation {
            return self.read_to_remove(force).await;
        }
        let all = self.swarm.client.services_of(&self.name).await?;
        let unmarked = unmarked(&job.operation, &all, job.id);
        let is_unmarked = unmarked.is_some();
        let services = match unmarked {
            Some(unmarked) => unmarked,
            None => self.concerned(&job.operation, Some(job.id)).await?,
        };
        let parts = self.found(services, &job.operation).await?;
        Ok(Box::new(FoundStack { stack: self.clone(), parts, is_unmarked }))
    }

    async fn look(&self) -> Result<TargetNow, TargetError> {
        let services = self.swarm.client.services_of(&self.name).await?;
        let deployed = self.deployed(&services).await?;
        // What runs to its end says nothing of whether the stack runs.
        let staying = services.into_iter().filter(|service| service.mode() != Mode::Job);
        let looks = staying.map(|service| {
            let (target, name) = (self.service(service.name()), self.short(service.name()).to_owned());
            async move { (name, target.now_of(service).await) }
        });
        let mut now = TargetNow { kind: "swarm-stack".to_owned(), deployed, ..TargetNow::default() };
        for (name, part) in join_all(looks).await {
            end::add(&mut now, (&name, part?));
        }
        Ok(now)
    }

    async fn images(&self) -> Result<Vec<ImageRef>, TargetError> {
        let services = self.swarm.client.services_of(&self.name).await?;
        let mut images = Vec::new();
        for service in services.iter().filter(|service| service.mode() != Mode::Job) {
            images.extend(self.service(service.name()).image_with_content(service).await?);
        }
        Ok(images)
    }

    async fn remind(&self, on_hold: &OnHold) -> Result<bool, TargetError> {
        self.remind_all(on_hold).await
    }

    async fn plan(&self, operation: &Operation) -> Result<Plan, TargetError> {
        if let Operation::DeployStack(text) = operation {
            return self.planned_text(text).await;
        }
        if let Operation::RemoveStack { force } = operation {
            return self.planned_removal(*force).await;
        }
        let mut plan = Plan::default();
        for service in self.concerned(operation, None).await? {
            let (target, name) = (self.service(service.name()), self.short(service.name()).to_owned());
            // In a stack the choice was made above.
            let part = target.planned(service, &without_service(operation)).await?;
            plan.changes.extend(part.changes);
            plan.notes.extend(part.notes.into_iter().map(|note| format!("{name}: {note}")));
        }
        plan.notes.extend(self.left_alone(operation, None).await?);
        Ok(plan)
    }

    /// A text goes through the docker command, which writes each service as it reads it there.
    fn refuses_stale_writes(&self, operation: &Operation) -> bool {
        !matches!(operation, Operation::DeployStack(_) | Operation::RemoveStack { .. })
    }

    /// Service by service.
    fn writes_in_parts(&self, operation: &Operation) -> bool {
        !matches!(operation, Operation::PruneImages { .. })
    }

    fn accepts(&self, operation: &Operation) -> Result<(), String> {
        match operation {
            Operation::Rollback { job: Some(job), image: None, .. } => Err(image_is_not_said(*job)),
            Operation::DeployStack(text) => self.accepts_text(text),
            Operation::RemoveStack { .. } => deploy::command_is_here(),
            Operation::SetImage { .. }
            | Operation::Rollback { .. }
            | Operation::Start
            | Operation::Stop
            | Operation::Restart
            | Operation::Redeploy
            | Operation::PruneImages { .. }
            | Operation::Hold { .. }
            | Operation::Release { .. } => Ok(()),
            Operation::DeployGit(_) | Operation::Migrate { .. } | Operation::Cancel { .. } => {
                Err(format!("`{}` is not carried out on Swarm stacks", operation.type_name()))
            }
        }
    }

    async fn watch(
        &self,
        wanted: &Wanted,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let watched = self.watch_all(wanted, &Until::TheEnd, progress).await;
        watched.or_else(|error| removed(error, &wanted.job.operation))
    }

    async fn end_half_way(
        &self,
        wanted: &Wanted,
        reason: Reason,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        match &wanted.job.operation {
            Operation::DeployStack(text) => self.text_half_way((wanted, text), reason, progress).await,
            Operation::SetImage { .. }
            | Operation::Rollback { .. }
            | Operation::Start
            | Operation::Stop
            | Operation::Restart
            | Operation::Redeploy => self.services_half_way(wanted, reason, progress).await,
            Operation::RemoveStack { .. }
            | Operation::DeployGit(_)
            | Operation::Migrate { .. }
            | Operation::PruneImages { .. }
            | Operation::Hold { .. }
            | Operation::Release { .. }
            | Operation::Cancel { .. } => Ok(Outcome::failed(reason)),
        }
    }

    /// Each service by itself: those that came to their end count, the others are taken back where that is the policy.
    async fn give_up(
        &self,
        wanted: &Wanted,
        reason: Reason,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        match wanted.job.operation {
            Operation::RemoveStack { .. } => self.removal_out_of_time(reason).await,
            Operation::DeployGit(_) | Operation::Migrate { .. } | Operation::PruneImages { .. } => {
                Ok(Outcome::failed(reason))
            }
            Operation::SetImage { .. }
            | Operation::Rollback { .. }
            | Operation::DeployStack(_)
            | Operation::Start
            | Operation::Stop
            | Operation::Restart
            | Operation::Redeploy
            | Operation::Hold { .. }
            | Operation::Release { .. }
            | Operation::Cancel { .. } => {
                Box::pin(self.watch_all(wanted, &Until::Now(reason), progress)).await
            }
        }
    }
}

fn without_service(operation: &Operation) -> Operation {
    match operation.clone() {
        Operation::SetImage { image, .. } => Operation::SetImage { image, service: None },
        Operation::Rollback { job, image, .. } => Operation::Rollback { service: None, job, image },
        other @ (Operation::DeployStack(_)
        | Operation::DeployGit(_)
        | Operation::Migrate { .. }
        | Operation::RemoveStack { .. }
        | Operation::Start
        | Operation::Stop
        | Operation::Restart
        | Operation::Redeploy
        | Operation::PruneImages { .. }
        | Operation::Hold { .. }
        | Operation::Release { .. }
        | Operation::Cancel { .. }) => other,
    }
}

/// Whether everything a job wished runs.
fn converged(outcome: &Outcome) -> bool {
    outcome.end == End::Converged
}
