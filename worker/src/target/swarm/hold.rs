//! Services that somebody put on hold, and images that are not to be deployed any more: labels alone, which replace
//! no task.

use proto::{ImageRef, JobId, Operation, Reason, reason};

use super::{
    SwarmService,
    apply::FoundService,
    lifecycle::attempted,
    service::{Edit, Service, UpdateState},
};
use crate::target::{End, Outcome, TargetError, Wanted};

/// The job that put the service on hold, while it is.
pub(super) const HOLD: &str = "longshore.hold";
/// The job that released it last.
pub(super) const RELEASED: &str = "longshore.released";

/// The job that put a service on hold, while it is.
pub(super) fn on_hold(service: &Service) -> Option<JobId> {
    service.label(HOLD)?.parse().ok()
}

/// The image that is put on hold or released, where the operation is one of these.
pub(super) fn image_of(operation: &Operation) -> Option<&ImageRef> {
    match operation {
        Operation::Hold { image } | Operation::Release { image } => image.as_ref(),
        Operation::SetImage { .. }
        | Operation::DeployStack(_)
        | Operation::RemoveStack { .. }
        | Operation::DeployGit(_)
        | Operation::Migrate { .. }
        | Operation::Start
        | Operation::Stop
        | Operation::Restart
        | Operation::Redeploy
        | Operation::Rollback { .. }
        | Operation::PruneImages { .. }
        | Operation::Cancel { .. } => None,
    }
}

/// Whether the operation only says what may be deployed.
pub(super) fn is_hold(operation: &Operation) -> bool {
    matches!(operation, Operation::Hold { .. } | Operation::Release { .. })
}

/// What it comes to once it is written: there is nothing to wait for. `services`: those that it is for.
pub(super) fn outcome(operation: &Operation, services: &[Service]) -> Outcome {
    let line = match (matches!(operation, Operation::Hold { .. }), image_of(operation)) {
        (true, None) => "on hold: what brings another image waits until it is released",
        (true, Some(_)) => "the image is not deployed any more until it is released",
        (false, _) => "released",
    };
    let is_untold = |service: &&Service| is_known_elsewhere(operation, service) && on_hold(service).is_none();
    let is_hold = matches!(operation, Operation::Hold { .. });
    let notes = services.iter().filter(|_| is_hold).filter(is_untold).map(noted_later).collect();
    Outcome { output: vec![line.to_owned()], notes, ..Outcome::of(End::Converged) }
}

fn noted_later(service: &Service) -> Reason {
    let name = service.name();
    let text = format!(
        "the last update of `{name}` is paused half-way, so the hold is not noted on the service yet: the history of the last \
         day has it until then"
    );
    let hint = "roll it back, or release and deploy another image: it is noted within two minutes of the end of that";
    Reason::new(reason::LEFT_ALONE, text).hint(hint)
}

/// Whether what is said of the whole target cannot be written on a service, where any write would set a paused update
/// going, and need not be: the history tells the same, and the service is reminded once its update is over.
fn is_known_elsewhere(operation: &Operation, service: &Service) -> bool {
    let is_paused = matches!(service.update(), Some(UpdateState::Paused | UpdateState::RollbackPaused));
    // What the service itself has to say is heard beside the history.
    let is_untold = on_hold(service).is_none();
    let is_let_go = matches!(operation, Operation::Release { image: None }) && is_untold;
    is_paused && (is_let_go || matches!(operation, Operation::Hold { image: None }))
}

impl SwarmService {
    /// The end of a hold or a release that was written.
    pub(super) async fn watch_hold(&self, operation: &Operation) -> Result<Outcome, TargetError> {
        match self.client().service(&self.name).await {
            Ok(service) => Ok(outcome(operation, &[service])),
            // Somebody removed it since.
            Err(TargetError::NotFound { .. }) => Ok(outcome(operation, &[])),
            Err(error) => Err(error),
        }
    }
}

impl FoundService {
    /// Notes on the service what is on hold, or is no longer.
    pub(super) async fn write_hold(&self, wanted: &Wanted) -> Result<(), TargetError> {
        let operation = &wanted.job.operation;
        let Noted { labels, bad } = self.to_note(wanted)?;
        if labels.is_empty() && bad.is_none() || is_known_elsewhere(operation, &self.service) {
            return Ok(());
        }
        self.refuse_in_a_rollout(operation)?;
        let edit = Edit { labels, bad: bad.as_deref(), ..Edit::default() };
        self.write(&self.service, &edit, None).await
    }

    fn to_note(&self, wanted: &Wanted) -> Result<Noted, TargetError> {
        let (service, operation, id) = (&self.service, &wanted.job.operation, wanted.job.id);
        let said: Option<JobId> = service.label(RELEASED).and_then(|job| job.parse().ok());
        let newest = said.max(on_hold(service));
        let mut noted = Noted::default();
        match (operation, &wanted.image) {
            (Operation::Hold { image: None } | Operation::Release { image: None }, _)
                if newest > Some(id) =>
            {
                let newer = newest.map(|job| job.to_string()).unwrap_or_default();
                let why = format!("the newer job {newer} said otherwise of `{}`", self.target.name);
                return Err(self.declined(operation, why));
            }
            (Operation::Hold { image: None }, _) if on_hold(service) != Some(id) => {
                noted.labels = vec![(HOLD, Some(id.to_string()))];
            }
            (Operation::Release { image: None }, _) if said != Some(id) => {
                noted.labels = vec![(HOLD, None), (RELEASED, Some(id.to_string()))];
            }
            (Operation::Hold { image: Some(_) }, Some(image)) if !service.fence.is_bad(image) => {
                noted.bad = Some(service.fence.with_bad(image));
            }
            (Operation::Release { image: Some(_) }, Some(image)) => {
                noted.bad = service.fence.without_bad(image);
            }
            _ => {}
        }
        Ok(noted)
    }

    fn declined(&self, operation: &Operation, why: String) -> TargetError {
        let system = self.target.client().system().to_owned();
        TargetError::Declined { system, attempted: attempted(operation), why }
    }

    /// A write in a rollout would leave the engine nothing to go back to; over a paused one, it would let that go on.
    fn refuse_in_a_rollout(&self, operation: &Operation) -> Result<(), TargetError> {
        let name = &self.target.name;
        match self.service.update() {
            Some(UpdateState::Updating | UpdateState::RollbackStarted) => Err(TargetError::Unavailable {
                system: self.target.client().system().to_owned(),
                answer: format!("somebody is updating `{name}`"),
                retry_after: None,
            }),
            Some(UpdateState::Paused | UpdateState::RollbackPaused) => {
                let instead = match matches!(operation, Operation::Hold { .. }) {
                    true => "put the whole target on hold, or roll it back first",
                    false => "roll it back first",
                };
                let why = format!(
                    "the last update of `{name}` is paused half-way, and any change would let it go on; {instead}"
                );
                Err(self.declined(operation, why))
            }
            Some(UpdateState::Completed | UpdateState::RollbackCompleted) | None => Ok(()),
        }
    }
}

/// What is to be written.
#[derive(Default)]
struct Noted {
    labels: Vec<(&'static str, Option<String>)>,
    bad: Option<String>,
}
