//! Rehearsed targets whose every call waits at a gate, and that come to what is drawn for each job.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use async_trait::async_trait;
use config::Span;
use proto::{ImageRef, Job, JobId, Operation, TargetName, ask::TargetNow};
use tokio::sync::mpsc;

use super::gates::Gates;
use crate::target::{
    Found, Outcome, Progress, Standing, Target, TargetError, Wanted,
    rehearsal::{Rehearsal, RehearsalSettings, RehearsedEnd},
};

/// What a job comes to once it is carried out undisturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Succeeds,
    Fails,
    RollsBack,
    /// The system cannot be reached so many times first.
    Stumbles(u8),
    /// Our own code fails at it so many times first.
    Panics(u8),
}

/// The fates of all jobs, used up as they are met.
pub(super) type Fates = Arc<Mutex<HashMap<JobId, Fate>>>;

/// The jobs that were written, on any target.
pub(super) type Written = Arc<Mutex<HashSet<JobId>>>;

/// Those that have read a target and may yet write it.
pub(super) type Aboard = Arc<Mutex<Vec<Weak<()>>>>;

/// How one target is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) takes: Duration,
    /// Whether a write on stale ground goes through.
    pub(super) blind: bool,
}

/// A target as one worker sees it.
pub(super) struct Pier {
    pub(super) worker: usize,
    pub(super) kind: Kind,
    pub(super) gates: Arc<Gates>,
    pub(super) fates: Fates,
    pub(super) written: Written,
    pub(super) aboard: Aboard,
    pub(super) folder: PathBuf,
}

struct GatedMark {
    worker: usize,
    gates: Arc<Gates>,
    written: Written,
    target: TargetName,
    found: Box<dyn Found>,
    /// Told of in [`Aboard`] for as long as it is here.
    hand: Arc<()>,
}

impl Pier {
    fn rehearsal(&self, job: JobId) -> Rehearsal {
        self.ending(match self.fates.lock().unwrap()[&job] {
            Fate::Succeeds | Fate::Stumbles(_) | Fate::Panics(_) => RehearsedEnd::Succeeded,
            Fate::Fails => RehearsedEnd::Failed,
            Fate::RollsBack => RehearsedEnd::RolledBack,
        })
    }

    fn ending(&self, ends: RehearsedEnd) -> Rehearsal {
        let settings = RehearsalSettings {
            takes: Some(Span(self.kind.takes)),
            ends,
            blind: self.kind.blind,
            ..RehearsalSettings::default()
        };
        Rehearsal::new(&self.name(), settings, &self.folder)
    }

    fn name(&self) -> TargetName {
        self.kind.name.parse().unwrap()
    }

    /// One of the failures that come first, if there is one left.
    fn fails_first(&self, job: JobId) -> Result<(), TargetError> {
        let mut fates = self.fates.lock().unwrap();
        let fate = fates.get_mut(&job).unwrap();
        match fate {
            Fate::Stumbles(left @ 1..) => {
                *left -= 1;
                Err(TargetError::Unreachable { system: "the pier".into(), source: "as drawn".into() })
            }
            Fate::Panics(left @ 1..) => {
                *left -= 1;
                drop(fates);
                // A panic, without its line in the test's output.
                std::panic::resume_unwind(Box::new("a fault of our own, as drawn"))
            }
            Fate::Succeeds | Fate::Fails | Fate::RollsBack | Fate::Stumbles(0) | Fate::Panics(0) => Ok(()),
        }
    }
}

#[async_trait]
impl Target for Pier {
    async fn resolve(&self, image: &ImageRef) -> Result<ImageRef, TargetError> {
        Ok(image.clone())
    }

    async fn read(&self, job: &Job) -> Result<Box<dyn Found>, TargetError> {
        self.gates.pass(self.worker, &self.name()).await;
        self.fails_first(job.id)?;
        let found = self.rehearsal(job.id).read(job).await?;
        let (gates, written) = (Arc::clone(&self.gates), Arc::clone(&self.written));
        let hand = Arc::new(());
        self.aboard.lock().unwrap().push(Arc::downgrade(&hand));
        Ok(Box::new(GatedMark { worker: self.worker, gates, written, target: self.name(), found, hand }))
    }

    async fn look(&self) -> Result<TargetNow, TargetError> {
        self.ending(RehearsedEnd::Succeeded).look().await
    }

    fn accepts(&self, _: &Operation) -> Result<(), String> {
        Ok(())
    }

    fn refuses_stale_writes(&self, _: &Operation) -> bool {
        !self.kind.blind
    }

    async fn watch(
        &self,
        wanted: &Wanted,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        self.gates.pass(self.worker, &self.name()).await;
        let outcome = self.rehearsal(wanted.job.id).watch(wanted, progress).await;
        // What it learnt may be old when it is told.
        self.gates.pass(self.worker, &self.name()).await;
        outcome
    }
}

#[async_trait]
impl Found for GatedMark {
    fn standing(&self, id: JobId) -> Standing {
        self.found.standing(id)
    }

    fn image(&self) -> Option<ImageRef> {
        self.found.image()
    }

    fn before(&self) -> Option<ImageRef> {
        self.found.before()
    }

    async fn apply(self: Box<Self>, wanted: &Wanted) -> Result<(), TargetError> {
        let GatedMark { worker, gates, written, target, found, hand: _hand } = *self;
        gates.pass(worker, &target).await;
        let outcome = found.apply(wanted).await;
        if outcome.is_ok() {
            written.lock().unwrap().insert(wanted.job.id);
        }
        gates.pass(worker, &target).await;
        outcome
    }
}

/// What stands on a target, as its file says it.
pub(super) fn standing(folder: &Path, target: &TargetName) -> serde_json::Value {
    let file = folder.join(format!("{}.{}.json", target.pool(), target.name()));
    std::fs::read(file).ok().map_or(serde_json::Value::Null, |mark| serde_json::from_slice(&mark).unwrap())
}
