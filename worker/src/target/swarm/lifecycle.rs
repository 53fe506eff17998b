//! The operations that bring no image from outside: start, stop, restart, redeploy; and what a rollback means.
//!
//! Each kind has a mark of its own: a restart is no newer wish for an image than the one it restarts.

use proto::{ImageRef, Job, JobId, Operation};

use super::{
    SwarmService,
    apply::FoundService,
    back::AGAIN,
    elsewhere::replaced_by_another,
    fence::Fence,
    good::{is_tag_of, known_by_tag_only, nothing_ran_before},
    hold::{HOLD, RELEASED},
    passed::PASSED_OVER,
    service::{Edit, Mode, Service, UpdateState},
    stood::{STOOD, way_back},
    watch::{Owner, owner},
};
use crate::target::{Standing, TargetError, Wanted};

/// The job that last said whether the service is to run, or ran it anew.
pub(super) const RUNNING: &str = "longshore.running";
/// The job that last looked the image's tag up again.
pub(super) const REDEPLOYED: &str = "longshore.redeployed";
/// The job whose text the service was deployed from last.
pub(super) const STACK: &str = "longshore.stack";
/// How many tasks ran before the service was stopped.
pub(super) const REPLICAS: &str = "longshore.replicas";
/// The job whose image the last rollback took back.
pub(super) const UNDONE: &str = "longshore.undone";

/// The job that brought the image that stands there. A job that found its image there already leaves its mark, and
/// brought none.
pub(super) const BROUGHT: &str = "longshore.brought";

/// The image that ran well when the service was stopped.
pub(super) const RAN: &str = "longshore.ran";

/// The labels of these that are ours alone.
pub(super) const OWN: [&str; 12] =
    [RUNNING, REDEPLOYED, STACK, REPLICAS, UNDONE, BROUGHT, RAN, STOOD, PASSED_OVER, HOLD, RELEASED, AGAIN];

/// What an operation overwrites on a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Concern {
    /// The image.
    Image,
    /// Whether it runs.
    Running,
    /// The content behind the image's tag.
    Redeploy,
    /// All of it, by the text of its stack.
    Stack,
    /// Nothing of the service.
    Nothing,
}

impl Concern {
    pub(super) fn of(operation: &Operation) -> Concern {
        match operation {
            Operation::SetImage { .. } | Operation::Rollback { .. } => Concern::Image,
            Operation::Start | Operation::Stop | Operation::Restart => Concern::Running,
            Operation::Redeploy => Concern::Redeploy,
            Operation::DeployStack(_) => Concern::Stack,
            Operation::RemoveStack { .. }
            | Operation::DeployGit(_)
            | Operation::Migrate { .. }
            | Operation::PruneImages { .. }
            | Operation::Hold { .. }
            | Operation::Release { .. }
            | Operation::Cancel { .. } => Concern::Nothing,
        }
    }

    /// The job whose mark stands on the service.
    pub(super) fn mark(self, service: &Service) -> Option<JobId> {
        match self {
            Concern::Image => service.fence.job,
            Concern::Running => service.label(RUNNING)?.parse().ok(),
            Concern::Redeploy => service.label(REDEPLOYED)?.parse().ok(),
            Concern::Stack => service.label(STACK)?.parse().ok(),
            Concern::Nothing => None,
        }
    }

    /// Where `id` stands against that mark.
    pub(super) fn standing(self, service: &Service, id: JobId) -> Standing {
        if self == Concern::Nothing {
            return Standing::Open;
        }
        Fence { job: self.mark(service), ..service.fence.clone() }.standing(id, service.update())
    }
}

/// Everything that has a mark.
pub(super) const MARKED: [Concern; 4] = [Concern::Image, Concern::Running, Concern::Redeploy, Concern::Stack];

/// The newest job that left a mark of any kind.
pub(super) fn last_job(service: &Service) -> Option<JobId> {
    MARKED.into_iter().filter_map(|it| it.mark(service)).max()
}

/// The job that brought the image that stands there, as far as the marks tell: the one that wished for it last where
/// nothing else is noted.
pub(super) fn brought(service: &Service) -> Option<JobId> {
    service.label(BROUGHT).and_then(|id| id.parse().ok()).or(service.fence.job)
}

/// Whose the service is now, from the view of `job`, which watches `image`.
pub(super) fn whose(service: &Service, job: &Job, image: &ImageRef) -> Owner {
    let concern = Concern::of(&job.operation);
    match concern {
        Concern::Image | Concern::Nothing => owner(service, job.id, image),
        Concern::Running | Concern::Redeploy | Concern::Stack => match concern.mark(service) {
            Some(newer) if newer > job.id => Owner::Newer(newer),
            // A text leaves what a newer job brought; one that came in between is no stranger.
            Some(_) | None
                if concern == Concern::Stack && !service.runs(image) && service.fence.job > Some(job.id) =>
            {
                service.fence.job.map_or(Owner::Other, Owner::Newer)
            }
            Some(_) | None if !service.runs(image) => Owner::Other,
            Some(mine) if mine == job.id => Owner::Ours,
            // A watch begins after its own write, which leaves our mark: whatever went back beside an older one took
            // that write back, also one that took over a rollout and could therefore not be announced.
            Some(_) | None if was_rolled_back(service) => Owner::TakenBack,
            Some(_) | None => Owner::Ours,
        },
    }
}

fn was_rolled_back(service: &Service) -> bool {
    match service.update() {
        Some(UpdateState::RollbackStarted | UpdateState::RollbackCompleted | UpdateState::RollbackPaused) => {
            true
        }
        Some(UpdateState::Updating | UpdateState::Paused | UpdateState::Completed) | None => false,
    }
}

/// Why a rollback to a job's image cannot be carried out.
pub(super) fn image_is_not_said(job: JobId) -> String {
    format!("the job does not say which image the job {job} brought")
}

/// What an operation changes on a service, its marks left out.
///
/// # Errors
/// Why it cannot be done, for people.
pub(super) fn edit_for<'a>(
    service: &Service,
    operation: &Operation,
    image: Option<&'a ImageRef>,
) -> Result<Edit<'a>, String> {
    let mode = service.mode();
    let forget = (REPLICAS, None);
    let remembered = || stopped_from(service).unwrap_or(1);
    let edit = match (operation, mode) {
        (Operation::Stop, Mode::Global) => return Err(cannot_stop(service)),
        // What is stopped already keeps its count; of what never ran, that it had none is noted too.
        (Operation::Stop, Mode::Replicated(0)) if service.label(REPLICAS).is_some() => Edit::default(),
        (Operation::Stop, Mode::Replicated(count)) => {
            Edit { replicas: Some(0), labels: vec![(REPLICAS, Some(count.to_string()))], ..Edit::default() }
        }
        (Operation::Start, Mode::Replicated(0)) => {
            Edit { replicas: Some(remembered()), labels: vec![forget], ..Edit::default() }
        }
        (Operation::Restart, Mode::Replicated(0)) => {
            Edit { replicas: Some(remembered()), force: true, labels: vec![forget], ..Edit::default() }
        }
        (Operation::Restart, _) => Edit { force: true, labels: vec![forget], ..Edit::default() },
        (Operation::Redeploy, _) => Edit { image, force: true, ..Edit::default() },
        (Operation::Start, _) => Edit { labels: vec![forget], ..Edit::default() },
        (
            Operation::SetImage { .. }
            | Operation::DeployStack(_)
            | Operation::RemoveStack { .. }
            | Operation::Rollback { .. }
            | Operation::DeployGit(_)
            | Operation::Migrate { .. }
            | Operation::PruneImages { .. }
            | Operation::Hold { .. }
            | Operation::Release { .. }
            | Operation::Cancel { .. },
            _,
        )
        | (Operation::Stop, Mode::Job) => Edit { image, ..Edit::default() },
    };
    Ok(edit)
}

/// How many tasks a service had when it was stopped, where it had any.
pub(super) fn stopped_from(service: &Service) -> Option<u64> {
    service.label(REPLICAS)?.parse().ok().filter(|count| *count > 0)
}

fn cannot_stop(service: &Service) -> String {
    format!(
        "`{}` runs on every node that fits (global mode), so there is no number of tasks to set to zero; remove the \
         service, or give it a constraint that no node meets",
        service.name()
    )
}

impl FoundService {
    /// The image an operation means that names none.
    pub(super) fn image_meant(&self, operation: &Operation) -> Result<Option<ImageRef>, TargetError> {
        let name = &self.target.name;
        match operation {
            Operation::Redeploy => match self.service.image() {
                Some(image) => Ok(Some(image.by_tag())),
                None => Err(self.target.refused("redeploy", format!("the image of `{name}` cannot be read"))),
            },
            Operation::Rollback { image: None, .. } => match self.image_before() {
                Some(good) if self.service.image().is_some_and(|it| is_tag_of(&good, &it)) => {
                    Err(self.target.refused("roll back", known_by_tag_only(&good)))
                }
                Some(good) => Ok(Some(good)),
                None => Err(self.target.refused("roll back", nothing_ran_before(name))),
            },
            Operation::Hold { image } | Operation::Release { image } => Ok(image.clone()),
            Operation::SetImage { .. }
            | Operation::DeployStack(_)
            | Operation::RemoveStack { .. }
            | Operation::Rollback { image: Some(_), .. }
            | Operation::Start
            | Operation::Stop
            | Operation::Restart
            | Operation::DeployGit(_)
            | Operation::Migrate { .. }
            | Operation::PruneImages { .. }
            | Operation::Cancel { .. } => Ok(None),
        }
    }

    /// The image to go back to. Where somebody else brought the one that stands there: what ran well before that, or else
    /// the last one of ours.
    fn image_before(&self) -> Option<ImageRef> {
        let theirs = || replaced_by_another(&self.service).cloned();
        self.before.image.clone().or_else(theirs).or_else(|| way_back(&self.service))
    }

    /// Why the operation cannot be done on this service at all.
    pub(super) fn refuse_what_cannot_be_done(&self, operation: &Operation) -> Result<(), TargetError> {
        self.refuse_what_cannot_be_watched()?;
        let possible = edit_for(&self.service, operation, None).map(drop);
        possible.map_err(|why| self.target.refused(attempted(operation), why))
    }

    /// Writes a start, stop, restart or redeploy.
    ///
    /// What replaces tasks is announced first, so that an engine that rolls it back leaves a trace of it.
    pub(super) async fn change_state(&self, wanted: &Wanted) -> Result<(), TargetError> {
        let operation = &wanted.job.operation;
        self.refuse_what_cannot_be_done(operation)?;
        let image = wanted.image.as_ref().filter(|_| self.concern == Concern::Redeploy);
        let mut edit = edit_for(&self.service, operation, image)
            .map_err(|why| self.target.refused(attempted(operation), why))?;
        edit.labels.extend(self.own_mark(wanted.job.id));
        edit.labels.extend(self.remembers(operation).await?);
        // Only another image makes the one that runs now the one before.
        let other = image.is_some_and(|image| !self.service.runs(image));
        let announced = match edit.force && may_be_announced(self.service.update()) {
            true => {
                let stands = self.service.image();
                Some(self.announce(wanted.job.id, image.or(stands.as_ref()), other).await?)
            }
            false => None,
        };
        let noted = match other && announced.is_none() {
            true => self.good_before(image).await?,
            false => None,
        };
        edit.good = noted.as_deref();
        let service = announced.as_ref().unwrap_or(&self.service);
        let (stands, bad) = (service.image(), image.and_then(|image| service.fence.without_bad(image)));
        if let Some(image) = image {
            edit.platforms = Box::pin(self.target.platforms_for(service, image)).await;
        }
        if image.is_some() {
            // Where none was announced, an engine that takes it back leaves no other trace.
            (edit.trying, edit.trying_image) = (Some(wanted.job.id), image);
        }
        if let Some(image) = image.filter(|_| other) {
            edit.labels.push((BROUGHT, Some(wanted.job.id.to_string())));
            edit.labels.push(self.standing_aside(image));
        }
        // One that was rolled back once is deployed only where somebody said so.
        edit.bad = bad.as_deref();
        // Tasks on other nodes pull with the key that comes with the spec: the one of now, whatever it was before.
        let pulled = image.or(stands.as_ref());
        let key = pulled.and_then(|image| self.target.swarm.registries.header_for(image.repository()));
        self.write(service, &edit, key).await
    }

    /// Notes that the job came by and left the service as it is.
    pub(super) async fn leave_as_it_is(&self, id: JobId) -> Result<(), TargetError> {
        if !may_be_announced(self.service.update()) {
            return Err(TargetError::Busy { system: self.target.client().system().to_owned() });
        }
        let labels = self.own_mark(id).into_iter().collect();
        self.write(&self.service, &Edit { labels, ..Edit::default() }, None).await
    }

    /// Beside the mark of a rollback: whose image it takes back.
    pub(super) fn undoing(&self, operation: &Operation) -> Vec<(&'static str, Option<String>)> {
        let is_rollback = matches!(operation, Operation::Rollback { .. });
        let undone = brought(&self.service).filter(|_| is_rollback);
        undone.map(|job| (UNDONE, Some(job.to_string()))).into_iter().collect()
    }

    /// A service that is stopped cannot show any more that its image ran well; one that runs shows it itself.
    async fn remembers(
        &self,
        operation: &Operation,
    ) -> Result<Option<(&'static str, Option<String>)>, TargetError> {
        match (operation, self.service.mode()) {
            (Operation::Stop, Mode::Replicated(1..)) => Ok(Some((RAN, self.worth_noting(None).await?))),
            (Operation::Start | Operation::Restart, _) => Ok(Some((RAN, None))),
            (
                Operation::Stop
                | Operation::Redeploy
                | Operation::SetImage { .. }
                | Operation::DeployStack(_)
                | Operation::RemoveStack { .. }
                | Operation::Rollback { .. }
                | Operation::DeployGit(_)
                | Operation::Migrate { .. }
                | Operation::PruneImages { .. }
                | Operation::Hold { .. }
                | Operation::Release { .. }
                | Operation::Cancel { .. },
                _,
            ) => Ok(None),
        }
    }

    fn own_mark(&self, id: JobId) -> Option<(&'static str, Option<String>)> {
        let mark = Some(id.to_string());
        match self.concern {
            Concern::Running => Some((RUNNING, mark)),
            Concern::Redeploy => Some((REDEPLOYED, mark)),
            Concern::Image | Concern::Stack | Concern::Nothing => None,
        }
    }
}

/// Labels are written only before or after a rollout, never in it, nor while it is paused.
pub(super) fn may_be_announced(update: Option<UpdateState>) -> bool {
    match update {
        Some(
            UpdateState::Updating
            | UpdateState::Paused
            | UpdateState::RollbackStarted
            | UpdateState::RollbackPaused,
        ) => false,
        Some(UpdateState::Completed | UpdateState::RollbackCompleted) | None => true,
    }
}

/// An operation as errors tell of it.
pub(super) fn attempted(operation: &Operation) -> &'static str {
    match operation {
        Operation::SetImage { .. } => "update the service",
        Operation::DeployStack(_) => "deploy the stack",
        Operation::RemoveStack { .. } => "remove the stack",
        Operation::Start => "start the service",
        Operation::Stop => "stop the service",
        Operation::Restart => "restart the service",
        Operation::Redeploy => "redeploy the service",
        Operation::Rollback { .. } => "roll the service back",
        Operation::DeployGit(_) => "deploy from git",
        Operation::Migrate { .. } => "move the stack",
        Operation::PruneImages { .. } => "remove unused images",
        Operation::Hold { .. } => "put the service on hold",
        Operation::Release { .. } => "release the service",
        Operation::Cancel { .. } => "call the job off",
    }
}

impl SwarmService {
    /// The image whose tasks are counted where the job brings none: the one that stands there.
    pub(super) async fn image_to_watch(&self, wanted: &Wanted) -> Result<ImageRef, TargetError> {
        if let Some(image) = &wanted.image {
            return Ok(image.clone());
        }
        let image = self.client().service(&self.name).await?.image();
        image.ok_or_else(|| {
            let why = format!("the image of `{}` cannot be read", self.name);
            self.refused(attempted(&wanted.job.operation), why)
        })
    }
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
