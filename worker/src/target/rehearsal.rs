//! A target without a system behind it: for trying follows and notifications, and for the quick start.
//!
//! It keeps its marks in a file, so that a rehearsal behaves as the real ones do: the newest job wins, and a
//! job that was cut off is taken up where it was.

mod mark;
mod plan;
#[cfg(test)]
mod tests;

use std::{path::Path, time::Duration};

use async_trait::async_trait;
use config::Span;
use proto::{
    ImageRef, Job, JobId, Operation, Reason, Slot, TargetName, Tasks, Timestamp,
    ask::{Plan, TargetNow},
    reason,
};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::mpsc;

use self::mark::{Mark, MarkFile};
use crate::target::{End, Found, Outcome, Progress, Standing, Target, TargetError, Wanted};

/// How often a rehearsal tells how far it is.
const STEP: Duration = Duration::from_millis(500);

/// How a rehearsal goes.
#[derive(Debug, Clone, Default)]
pub struct RehearsalSettings {
    /// How long a rollout takes; 2 s by default.
    pub takes: Option<Span>,
    /// What every rollout comes to.
    pub ends: RehearsedEnd,
    /// How long it dawdles between deciding and writing.
    pub dawdles: Span,
    /// Writes whatever stands there by now, as systems do that have no conditional write.
    pub blind: bool,
}

/// What a rehearsed rollout comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RehearsedEnd {
    /// The image runs.
    #[default]
    Succeeded,
    /// It does not stay up.
    Failed,
    /// It does not stay up, and what ran before runs again.
    RolledBack,
    /// It cannot be carried out: the system refuses the credentials.
    Dead,
    /// The worker crashes when it touches the target, and everything it does with it.
    Crash,
}

/// A rehearsed target.
#[derive(Debug, Clone)]
pub struct Rehearsal {
    settings: RehearsalSettings,
    file: MarkFile,
}

impl Rehearsal {
    /// A rehearsal of `name`, whose marks are kept below `folder`.
    #[must_use]
    pub fn new(name: &TargetName, settings: RehearsalSettings, folder: &Path) -> Rehearsal {
        Rehearsal { settings, file: MarkFile::new(folder, name) }
    }

    fn takes(&self) -> Span {
        self.settings.takes.unwrap_or(Span(Duration::from_secs(2)))
    }

    fn end(&self, wanted: &Wanted, mark: &Mark) -> Result<Outcome, TargetError> {
        let what = mark.image.as_ref().map_or_else(|| "the target".to_owned(), ImageRef::familiar);
        let operation = wanted.job.operation.type_name();
        let failed = || format!("the rehearsed {operation} of {what} ends `failed`, as configured");
        let (end, line) = match self.settings.ends {
            RehearsedEnd::Succeeded | RehearsedEnd::Dead | RehearsedEnd::Crash if mark.running => {
                (End::Converged, format!("{what} runs (rehearsed)"))
            }
            RehearsedEnd::Succeeded | RehearsedEnd::Dead | RehearsedEnd::Crash => {
                (End::Converged, format!("{what} is stopped (rehearsed)"))
            }
            RehearsedEnd::Failed => (End::Failed(Reason::new(reason::ROLLOUT_FAILED, failed())), failed()),
            RehearsedEnd::RolledBack => {
                let back = Mark { rolled_back: Some(wanted.job.id), ..mark.clone() };
                self.file.store(Some(mark), &back, true)?;
                let text = format!("the rehearsed {operation} of {what} is rolled back, as configured");
                (End::RolledBack(Reason::new(reason::ROLLED_BACK, text.clone())), text)
            }
        };
        let done = end == End::Converged && mark.running;
        Ok(Outcome { tasks: Some(tasks(done)), output: vec![line], ..Outcome::of(end) })
    }
}

#[async_trait]
impl Target for Rehearsal {
    async fn resolve(&self, image: &ImageRef) -> Result<ImageRef, TargetError> {
        // There is no registry to ask: the tag is as good as it gets.
        Ok(image.clone())
    }

    async fn read(&self, job: &Job) -> Result<Box<dyn Found>, TargetError> {
        Ok(Box::new(FoundMark { target: self.clone(), slots: job.slots.clone(), mark: self.file.load()? }))
    }

    async fn look(&self) -> Result<TargetNow, TargetError> {
        let mark = self.file.load()?.unwrap_or_default();
        Ok(TargetNow {
            kind: "rehearsal".to_owned(),
            images: mark.runs().into_iter().collect(),
            parts: Default::default(),
            running: mark.running,
            tasks: None,
            last_job: mark.jobs.values().max().copied(),
            on_hold: mark.on_hold,
            held_images: Vec::new(),
            trouble: Vec::new(),
            deployed: None,
        })
    }

    fn accepts(&self, operation: &Operation) -> Result<(), String> {
        match operation {
            Operation::PruneImages { .. } => {
                Err("a rehearsal runs nothing, so it has no images to remove".to_owned())
            }
            Operation::DeployStack(_)
            | Operation::RemoveStack { .. }
            | Operation::DeployGit(_)
            | Operation::Migrate { .. } => Err("a rehearsal runs nothing, so it has no stack".to_owned()),
            Operation::Hold { image: Some(_) } | Operation::Release { image: Some(_) } => {
                Err("a rehearsal asks no registry, so it knows no image by its content".to_owned())
            }
            Operation::SetImage { .. }
            | Operation::Start
            | Operation::Stop
            | Operation::Restart
            | Operation::Redeploy
            | Operation::Rollback { .. }
            | Operation::Hold { .. }
            | Operation::Release { .. }
            | Operation::Cancel { .. } => Ok(()),
        }
    }

    async fn plan(&self, operation: &Operation) -> Result<Plan, TargetError> {
        self.planned(operation)
    }

    fn refuses_stale_writes(&self, _: &Operation) -> bool {
        !self.settings.blind
    }

    async fn watch(
        &self,
        wanted: &Wanted,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        if matches!(wanted.job.operation, Operation::Hold { .. } | Operation::Release { .. }) {
            return Ok(Outcome::of(End::Converged));
        }
        loop {
            let mark = self.file.load()?.unwrap_or_default();
            match mark.standing(&wanted.job.slots, wanted.job.id) {
                Standing::Applied | Standing::RolledBack => {}
                Standing::Newer(by) => return Ok(superseded(by)),
                // An older job wrote over it: to be applied again.
                Standing::Open => return Err(TargetError::Conflict),
            }
            let gone =
                Duration::try_from(Timestamp::now().duration_since(mark.applied_at)).unwrap_or_default();
            let left = self.takes().0.saturating_sub(gone);
            if left.is_zero() {
                return self.end(wanted, &mark);
            }
            let line = format!(
                "rehearsing {}: {:.1} s of {}",
                wanted.job.operation.type_name(),
                gone.as_secs_f32(),
                self.takes()
            );
            // Nobody needs to listen.
            let _ = progress.send(Progress { tasks: tasks(false), line }).await;
            tokio::time::sleep(left.min(STEP)).await;
        }
    }
}

fn superseded(by: JobId) -> Outcome {
    let reason = Reason::new(reason::CHANGED_ELSEWHERE, "a newer job's mark stands on the target");
    Outcome::of(End::Superseded { by: Some(by), reason })
}

fn refused() -> TargetError {
    TargetError::CredentialsRefused {
        system: "the rehearsed system".to_owned(),
        answer: "as configured".to_owned(),
    }
}

fn tasks(done: bool) -> Tasks {
    Tasks { running: u64::from(done), wanted: 1 }
}

struct FoundMark {
    target: Rehearsal,
    slots: Vec<Slot>,
    mark: Option<Mark>,
}

#[async_trait]
impl Found for FoundMark {
    fn standing(&self, id: JobId) -> Standing {
        self.mark.as_ref().map_or(Standing::Open, |mark| mark.standing(&self.slots, id))
    }

    fn image(&self) -> Option<ImageRef> {
        self.mark.as_ref()?.runs()
    }

    fn on_hold(&self) -> Option<JobId> {
        self.mark.as_ref()?.on_hold
    }

    fn before(&self) -> Option<ImageRef> {
        self.mark.as_ref()?.before.clone()
    }

    fn meant(&self, operation: &Operation) -> Result<Option<ImageRef>, TargetError> {
        plan::meant(self.mark.as_ref(), operation)
    }

    async fn apply(self: Box<Self>, wanted: &Wanted) -> Result<(), TargetError> {
        tokio::time::sleep(self.target.settings.dawdles.0).await;
        match self.target.settings.ends {
            RehearsedEnd::Crash => std::process::abort(),
            RehearsedEnd::Dead => return Err(refused()),
            RehearsedEnd::Succeeded | RehearsedEnd::Failed | RehearsedEnd::RolledBack => {}
        }
        let mut mark = self.mark.clone().unwrap_or_default();
        match &wanted.job.operation {
            Operation::SetImage { .. } => {
                mark.before = self.image();
                mark.image.clone_from(&wanted.image);
                mark.rolled_back = None;
            }
            Operation::Start => mark.running = true,
            Operation::Stop => mark.running = false,
            Operation::Hold { .. } => mark.on_hold = Some(wanted.job.id),
            Operation::Release { .. } => mark.on_hold = None,
            Operation::Restart => {
                mark.running = true;
                mark.restarts += 1;
            }
            // What ran well before stays so: repeated, a rollback changes nothing.
            Operation::Rollback { .. } => {
                mark.image.clone_from(&wanted.image);
                mark.rolled_back = None;
            }
            Operation::DeployStack(_)
            | Operation::RemoveStack { .. }
            | Operation::Redeploy
            | Operation::DeployGit(_)
            | Operation::Migrate { .. }
            | Operation::PruneImages { .. }
            | Operation::Cancel { .. } => {}
        }
        mark.applied_at = Timestamp::now();
        mark.jobs.extend(self.slots.iter().map(|slot| (slot.clone(), wanted.job.id)));
        self.target.file.store(self.mark.as_ref(), &mark, !self.target.settings.blind)
    }
}
