//! What is seen of a rollout, and what it means. No I/O: a table that can be tested.

use std::time::Duration;

use proto::{ImageRef, JobId, Reason, reason};

use super::{
    service::{Mode, Service, UpdateState},
    tasks::{Count, Failing},
};
use crate::target::End;

const MOST_FAILURES_TOLD: usize = 3;

/// Whose the spec is that stands on the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// Ours: the wanted image with our mark; or the wanted image with an older mark or none, where the
    /// rollout under way was already one to it, or somebody wiped the labels.
    Ours,
    /// The wanted image, but the engine took our write of it back.
    TakenBack,
    /// Another image, and no newer job's mark.
    Other,
    /// A newer job's.
    Newer(JobId),
}

/// A service at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) owner: Owner,
    pub(super) update: Option<UpdateState>,
    /// The engine's words on the update.
    pub(super) message: String,
    pub(super) monitor: Duration,
    /// The wanted image had converged before.
    pub(super) known_good: bool,
    pub(super) count: Count,
    /// For how long all tasks have been seen running without a break.
    pub(super) steady_for: Duration,
    /// For how long not all of them have.
    pub(super) unsteady_for: Duration,
}

/// What follows from a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// It goes on; the line says how far it is.
    Goes(String),
    /// It has ended.
    Ended(End),
}

/// Whose the service is now, from the view of a job.
pub(super) fn owner(service: &Service, mine: JobId, image: &ImageRef) -> Owner {
    let rolled_back = matches!(
        service.update(),
        Some(UpdateState::RollbackStarted | UpdateState::RollbackCompleted | UpdateState::RollbackPaused)
    );
    match service.fence.job {
        Some(job) if job > mine => Owner::Newer(job),
        Some(job) if job == mine && service.runs(image) => Owner::Ours,
        Some(_) | None if !service.runs(image) => Owner::Other,
        Some(_) | None if rolled_back && service.fence.trying == Some(mine) => Owner::TakenBack,
        Some(_) | None => Owner::Ours,
    }
}

impl Snapshot {
    /// Whether the rollout has ended, and how.
    ///
    /// Success is said only when all tasks run the wanted image, and either the engine watched them for its
    /// monitoring period, or we did, or they are older than that.
    pub(super) fn decide(&self) -> Decision {
        match self.owner {
            Owner::Newer(by) => Decision::Ended(End::Superseded {
                by: Some(by),
                reason: Reason::new(reason::NEWER_WISH, "a newer job changed the service during the rollout"),
            }),
            Owner::Other | Owner::TakenBack => self.decide_on_anothers(),
            Owner::Ours => self.decide_on_ours(),
        }
    }

    fn decide_on_anothers(&self) -> Decision {
        match self.update {
            Some(UpdateState::RollbackStarted) => Decision::Goes(self.progress("rolling back update")),
            Some(UpdateState::RollbackCompleted) => {
                Decision::Ended(End::RolledBack(self.blame(reason::ROLLED_BACK, "the engine rolled it back")))
            }
            Some(UpdateState::RollbackPaused) => Decision::Ended(End::RolledBack(self.blame(
                reason::ROLLED_BACK,
                "the engine began to roll it back, and the rollback failed too",
            ))),
            Some(UpdateState::Updating | UpdateState::Paused | UpdateState::Completed) | None => {
                let text = "somebody else changed the service's image during the rollout";
                let reason = Reason::new(reason::CHANGED_ELSEWHERE, text);
                Decision::Ended(End::Superseded { by: None, reason })
            }
        }
    }

    fn decide_on_ours(&self) -> Decision {
        match self.update {
            Some(UpdateState::Updating) => Decision::Goes(self.progress("")),
            Some(UpdateState::RollbackStarted) => Decision::Goes(self.progress("rolling back update")),
            Some(UpdateState::Paused) => self.failed("the engine paused the update"),
            Some(UpdateState::RollbackPaused) => self.failed("the engine's rollback to this image failed"),
            Some(UpdateState::Completed | UpdateState::RollbackCompleted) => self.decide_on_completed(),
            None => self.decide_without_update(),
        }
    }

    /// `completed` has the monitoring period behind it, but an engine told to continue on failure says it
    /// with nothing running, and with a crash loop that happens to be up at that moment.
    fn decide_on_completed(&self) -> Decision {
        let doubtful = !self.count.failing.is_empty();
        match (self.count.complete(), doubtful) {
            (true, false) => Decision::Ended(End::Converged),
            (true, true) if self.steady_for >= self.monitor => Decision::Ended(End::Converged),
            (true, true) => Decision::Goes(self.verifying()),
            (false, true) => self.failed("the engine completed the update, but not all tasks run"),
            (false, false) if self.unsteady_for >= self.monitor => {
                self.failed("the engine completed the update, but not all tasks run")
            }
            (false, false) => Decision::Goes(self.progress("")),
        }
    }

    /// No update status: no task had to be replaced, or the update began this very moment (then its tasks
    /// are not yet there), or somebody's label-only write wiped the status while it rolled.
    fn decide_without_update(&self) -> Decision {
        let old = self.count.youngest.is_none_or(|age| age >= self.monitor);
        let believed = old || self.known_good || self.steady_for >= self.monitor;
        match self.count.complete() {
            true if believed => Decision::Ended(End::Converged),
            true => Decision::Goes(self.verifying()),
            false if !self.count.failing.is_empty() && self.unsteady_for >= self.monitor => {
                self.failed("not all tasks run")
            }
            false => Decision::Goes(self.progress("")),
        }
    }

    fn failed(&self, what: &str) -> Decision {
        Decision::Ended(End::Failed(self.blame(reason::ROLLOUT_FAILED, what)))
    }

    /// The reason with the words of the tasks that failed, or else of the engine.
    fn blame(&self, code: &'static str, what: &str) -> Reason {
        let Count { running, wanted, .. } = self.count;
        let count =
            if self.owner == Owner::Ours { format!(" ({running} of {wanted} run)") } else { String::new() };
        let words: Vec<String> = self.failures().map(Failing::to_string).collect();
        let words = if words.is_empty() { self.message.clone() } else { words.join("; ") };
        let text =
            if words.is_empty() { format!("{what}{count}") } else { format!("{what}{count}: {words}") };
        Reason::new(code, text)
    }

    /// The newest failures, each error once.
    pub(super) fn failures(&self) -> impl Iterator<Item = &Failing> {
        let failing = &self.count.failing;
        let first = move |(at, one): &(usize, &Failing)| {
            failing.iter().take(*at).all(|earlier| earlier.error != one.error)
        };
        failing.iter().enumerate().filter(first).map(|(_, one)| one).take(MOST_FAILURES_TOLD)
    }

    fn progress(&self, prefix: &str) -> String {
        let Count { running, wanted, .. } = self.count;
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}: ") };
        let trouble = match (self.count.failing.first(), &self.count.waiting) {
            (Some(failing), _) => format!(" ({failing})"),
            (None, Some(waiting)) => format!(" ({waiting})"),
            (None, None) => String::new(),
        };
        format!("overall progress: {prefix}{running} out of {wanted} tasks{trouble}")
    }

    fn verifying(&self) -> String {
        format!(
            "verify: waiting {} seconds to verify that tasks are stable",
            self.monitor.as_secs_f32().ceil()
        )
    }
}

impl std::fmt::Display for Failing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.task)?;
        if let Some(node) = &self.node {
            write!(f, " on {node}")?;
        }
        write!(f, " {}: {}", self.state, self.error)
    }
}

/// Whether a service of this kind can be watched.
pub(super) fn can_be_watched(mode: Mode) -> bool {
    match mode {
        Mode::Replicated(_) | Mode::Global => true,
        Mode::Job => false,
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
