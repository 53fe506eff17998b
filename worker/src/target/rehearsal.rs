//! A target without a system behind it: for trying follows and notifications, and for the quick start.
//!
//! It keeps its mark in a file, so that a rehearsal behaves as the real ones do: the newest job wins, and a
//! job that was cut off is taken up where it was.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use config::Span;
use proto::{ImageRef, Job, JobId, Reason, TargetName, Tasks, Timestamp, reason};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::target::{End, Found, Outcome, Progress, Standing, Target, TargetError, Wanted};

/// How often a rehearsal tells how far it is.
const STEP: Duration = Duration::from_millis(500);

/// How a rehearsal goes.
#[derive(Debug, Clone)]
pub struct RehearsalSettings {
    /// How long a rollout takes; 2 s by default.
    pub takes: Span,
    /// What every rollout comes to.
    pub ends: RehearsedEnd,
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
}

impl Default for RehearsalSettings {
    fn default() -> Self {
        RehearsalSettings { takes: Span(Duration::from_secs(2)), ends: RehearsedEnd::default() }
    }
}

/// A rehearsed target.
#[derive(Debug, Clone)]
pub struct Rehearsal {
    settings: RehearsalSettings,
    file: PathBuf,
    /// Held while the file is compared and written, so that two writers of one process never cross.
    writing: Arc<Mutex<()>>,
}

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Mark {
    job: JobId,
    image: ImageRef,
    applied_at: Timestamp,
    /// What the engine of a real target calls the former spec.
    before: Option<ImageRef>,
    rolled_back: bool,
}

impl Rehearsal {
    /// A rehearsal of `name`, whose mark is kept below `folder`.
    #[must_use]
    pub fn new(name: &TargetName, settings: RehearsalSettings, folder: &Path) -> Rehearsal {
        let file = folder.join(format!("{}.{}.json", name.pool(), name.name()));
        Rehearsal { settings, file, writing: Arc::default() }
    }

    fn load(&self) -> Result<Option<Mark>, TargetError> {
        match std::fs::read(&self.file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| TargetError::BadAnswer {
                system: self.system(),
                attempted: "read its mark",
                answer: error.to_string(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(TargetError::Unreachable { system: self.system(), source: error.into() }),
        }
    }

    /// Writes `mark` if the file still holds `expected`.
    fn store(&self, expected: Option<&Mark>, mark: &Mark) -> Result<(), TargetError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.load()?.as_ref() != expected {
            return Err(TargetError::Conflict);
        }
        self.write(mark)
            .map_err(|error| TargetError::Unreachable { system: self.system(), source: error.into() })
    }

    /// Whole or not at all: a crash in between leaves the former mark.
    fn write(&self, mark: &Mark) -> io::Result<()> {
        let folder = self.file.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let aside = self.file.with_extension("new");
        std::fs::write(&aside, serde_json::to_vec_pretty(mark)?)?;
        std::fs::rename(aside, &self.file)
    }

    fn system(&self) -> String {
        format!("the rehearsal `{}`", self.file.display())
    }

    fn end(&self, mark: &Mark) -> Result<Outcome, TargetError> {
        let image = mark.image.familiar();
        let failed = || format!("the rehearsed rollout of {image} ends `failed`, as configured");
        let (end, line) = match self.settings.ends {
            RehearsedEnd::Succeeded => (End::Converged, format!("{image} runs (rehearsed)")),
            RehearsedEnd::Failed => (End::Failed(Reason::new(reason::ROLLOUT_FAILED, failed())), failed()),
            RehearsedEnd::RolledBack => {
                self.store(Some(mark), &Mark { rolled_back: true, ..mark.clone() })?;
                let text = format!("the rehearsed rollout of {image} is rolled back, as configured");
                (End::RolledBack(Reason::new(reason::ROLLED_BACK, text.clone())), text)
            }
        };
        Ok(Outcome {
            end,
            tasks: Some(tasks(matches!(self.settings.ends, RehearsedEnd::Succeeded))),
            output: vec![line],
        })
    }
}

#[async_trait]
impl Target for Rehearsal {
    async fn resolve(&self, image: &ImageRef) -> Result<ImageRef, TargetError> {
        // There is no registry to ask: the tag is as good as it gets.
        Ok(image.clone())
    }

    async fn read(&self, _job: &Job) -> Result<Box<dyn Found>, TargetError> {
        Ok(Box::new(FoundMark { target: self.clone(), mark: self.load()? }))
    }

    async fn watch(
        &self,
        wanted: &Wanted,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        loop {
            let Some(mark) = self.load()?.filter(|mark| mark.job == wanted.job.id) else {
                return Ok(self.superseded(self.load()?.map(|mark| mark.job)));
            };
            let gone =
                Duration::try_from(Timestamp::now().duration_since(mark.applied_at)).unwrap_or_default();
            let Some(left) = self.settings.takes.0.checked_sub(gone).filter(|left| !left.is_zero()) else {
                return self.end(&mark);
            };
            let line = format!(
                "rehearsing {}: {:.1} s of {}",
                mark.image.familiar(),
                gone.as_secs_f32(),
                self.settings.takes
            );
            // Nobody needs to listen.
            let _ = progress.send(Progress { tasks: tasks(false), line }).await;
            tokio::time::sleep(left.min(STEP)).await;
        }
    }
}

impl Rehearsal {
    fn superseded(&self, by: Option<JobId>) -> Outcome {
        let reason = Reason::new(reason::CHANGED_ELSEWHERE, "another job's mark stands on the target");
        Outcome { end: End::Superseded { by, reason }, tasks: None, output: Vec::new() }
    }
}

fn tasks(done: bool) -> Tasks {
    Tasks { running: u64::from(done), wanted: 1 }
}

struct FoundMark {
    target: Rehearsal,
    mark: Option<Mark>,
}

#[async_trait]
impl Found for FoundMark {
    fn standing(&self, id: JobId) -> Standing {
        match &self.mark {
            Some(mark) if mark.job > id => Standing::Newer(mark.job),
            Some(mark) if mark.job == id && mark.rolled_back => Standing::RolledBack,
            Some(mark) if mark.job == id => Standing::Applied,
            _ => Standing::Open,
        }
    }

    fn image(&self) -> Option<ImageRef> {
        let mark = self.mark.as_ref()?;
        if mark.rolled_back { mark.before.clone() } else { Some(mark.image.clone()) }
    }

    async fn apply(self: Box<Self>, wanted: &Wanted) -> Result<(), TargetError> {
        let mark = Mark {
            job: wanted.job.id,
            image: wanted.image.clone(),
            applied_at: Timestamp::now(),
            before: self.image(),
            rolled_back: false,
        };
        self.target.store(self.mark.as_ref(), &mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::job;

    fn rehearsal(folder: &Path, ends: RehearsedEnd) -> Rehearsal {
        let settings = RehearsalSettings { takes: Span(Duration::from_millis(20)), ends };
        Rehearsal::new(&"demo".parse().unwrap(), settings, folder)
    }

    async fn run(target: &Rehearsal, wanted: &Wanted) -> End {
        target.read(&wanted.job).await.unwrap().apply(wanted).await.unwrap();
        target.watch(wanted, &mpsc::channel(100).0).await.unwrap().end
    }

    fn wanted(n: i64) -> Wanted {
        let job = job(n, "demo:1");
        Wanted { image: job.operation.image().unwrap().clone(), job }
    }

    #[tokio::test]
    async fn it_takes_its_time_and_ends_as_told() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(run(&rehearsal(folder.path(), RehearsedEnd::Succeeded), &wanted(1)).await, End::Converged);
        let end = run(&rehearsal(folder.path(), RehearsedEnd::Failed), &wanted(2)).await;
        assert!(matches!(end, End::Failed(_)));
        let end = run(&rehearsal(folder.path(), RehearsedEnd::RolledBack), &wanted(3)).await;
        assert!(matches!(end, End::RolledBack(_)));
    }

    #[tokio::test]
    async fn its_mark_tells_where_a_job_stands() {
        let folder = tempfile::tempdir().unwrap();
        let target = rehearsal(folder.path(), RehearsedEnd::RolledBack);
        let (old, mine, new) = (wanted(1), wanted(2), wanted(3));
        let standing =
            async |wanted: &Wanted| target.read(&wanted.job).await.unwrap().standing(wanted.job.id);
        assert_eq!(standing(&mine).await, Standing::Open);
        target.read(&mine.job).await.unwrap().apply(&mine).await.unwrap();
        assert_eq!(standing(&mine).await, Standing::Applied);
        assert_eq!(standing(&old).await, Standing::Newer(mine.job.id));
        assert_eq!(standing(&new).await, Standing::Open);
        target.watch(&mine, &mpsc::channel(100).0).await.unwrap();
        assert_eq!(standing(&mine).await, Standing::RolledBack);
    }

    #[tokio::test]
    async fn a_write_on_stale_ground_is_a_conflict() {
        let folder = tempfile::tempdir().unwrap();
        let target = rehearsal(folder.path(), RehearsedEnd::Succeeded);
        let (mine, new) = (wanted(1), wanted(2));
        let stale = target.read(&mine.job).await.unwrap();
        target.read(&new.job).await.unwrap().apply(&new).await.unwrap();
        assert!(matches!(stale.apply(&mine).await, Err(TargetError::Conflict)));
    }
}
