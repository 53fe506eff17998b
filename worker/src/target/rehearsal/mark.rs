//! The file that stands for a rehearsed target.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use proto::{ImageRef, JobId, Slot, TargetName, Timestamp};
use serde::{Deserialize, Serialize};

use crate::target::{Standing, TargetError};

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// The job that was applied last, for each slot.
    pub(super) jobs: BTreeMap<Slot, JobId>,
    pub(super) applied_at: Timestamp,
    pub(super) image: Option<ImageRef>,
    /// What ran before.
    pub(super) before: Option<ImageRef>,
    /// The job whose image was taken back.
    pub(super) rolled_back: Option<JobId>,
    pub(super) running: bool,
    /// The job that put it on hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) on_hold: Option<JobId>,
    pub(super) restarts: u64,
}

impl Default for Mark {
    fn default() -> Self {
        Mark {
            jobs: BTreeMap::new(),
            applied_at: Timestamp::UNIX_EPOCH,
            image: None,
            before: None,
            rolled_back: None,
            running: true,
            on_hold: None,
            restarts: 0,
        }
    }
}

impl Mark {
    /// The image that runs.
    pub(super) fn runs(&self) -> Option<ImageRef> {
        if self.rolled_back.is_some() { self.before.clone() } else { self.image.clone() }
    }

    /// Where `id` stands, which writes `slots`.
    pub(super) fn standing(&self, slots: &[Slot], id: JobId) -> Standing {
        let applied: Vec<_> = slots.iter().map(|slot| self.jobs.get(slot).copied()).collect();
        if self.rolled_back == Some(id) {
            return Standing::RolledBack;
        }
        if applied.contains(&Some(id)) {
            return Standing::Applied;
        }
        let newer: Option<Vec<JobId>> = applied.into_iter().map(|job| job.filter(|job| *job > id)).collect();
        newer.and_then(|jobs| jobs.into_iter().max()).map_or(Standing::Open, Standing::Newer)
    }
}

/// Where a target's marks are kept.
#[derive(Debug, Clone)]
pub(super) struct MarkFile {
    path: PathBuf,
}

impl MarkFile {
    pub(super) fn new(folder: &Path, name: &TargetName) -> MarkFile {
        MarkFile { path: folder.join(format!("{}.{}.json", name.pool(), name.name())) }
    }

    pub(super) fn load(&self) -> Result<Option<Mark>, TargetError> {
        match fs::read(&self.path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| TargetError::BadAnswer {
                system: self.system(),
                attempted: "read its mark",
                answer: error.to_string(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.unreachable(error)),
        }
    }

    /// Writes `mark`; with `compare`, only if the file still holds `expected`.
    pub(super) fn store(
        &self,
        expected: Option<&Mark>,
        mark: &Mark,
        compare: bool,
    ) -> Result<(), TargetError> {
        // Held while it is compared and written, so that two writers never cross, not even two processes.
        let _lock = self.lock().map_err(|error| self.unreachable(error))?;
        if compare && self.load()?.as_ref() != expected {
            return Err(TargetError::Conflict);
        }
        self.write(mark).map_err(|error| self.unreachable(error))
    }

    fn lock(&self) -> io::Result<File> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = File::create(self.path.with_extension("lock"))?;
        file.lock()?;
        Ok(file)
    }

    /// Whole or not at all: a crash in between leaves the former mark.
    fn write(&self, mark: &Mark) -> io::Result<()> {
        let aside = self.path.with_extension("new");
        fs::write(&aside, serde_json::to_vec_pretty(mark)?)?;
        fs::rename(aside, &self.path)
    }

    fn unreachable(&self, error: io::Error) -> TargetError {
        TargetError::Unreachable { system: self.system(), source: error.into() }
    }

    fn system(&self) -> String {
        format!("the rehearsal `{}`", self.path.display())
    }
}
