//! What is seen of a rollout, and what it means. No I/O: a table that can be tested.

use std::time::Duration;

use bollard::models::TaskState;
use proto::{ImageRef, JobId, Reason, reason};

use super::{
    lost::Blame,
    service::{Mode, Service, UpdateState},
    tasks::{Count, FITS_NOWHERE, Failing},
};
use crate::target::End;

const MOST_FAILURES_TOLD: usize = 3;
/// How long tasks may wait for a node that takes them: others may be about to make room, or a node to come back.
pub(super) const PLACED_WITHIN: Duration = Duration::from_secs(30);
/// Of a task that exits at once an engine under load tells this much later.
pub(super) const NOTICED_WITHIN: Duration = Duration::from_secs(3);
/// What the engine starts on its own, as a new service, may need others that are still coming up, and exit until they
/// are: compose files know no order that a swarm keeps. For so long after the first exit it may do so.
pub(super) const COMES_UP_WITHIN: Duration = Duration::from_secs(60);
/// Tasks that went with their engine are made again so much later at most: it has first to look after all it has.
const MADE_AGAIN_WITHIN: Duration = Duration::from_secs(60);
/// How an engine tells that a container ran, and exited; and of one whose command cannot be run, which nothing mends.
const EXITED: &str = "task: non-zero exit";
const NO_COMMAND: [&str; 2] = ["exit (126)", "exit (127)"];
/// A task that was up for so much longer than any that came down is believed.
const LONGER_THAN_BEFORE: Duration = Duration::from_secs(1);

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
    /// How long new tasks have to stay up.
    pub(super) window: Duration,
    /// Our write replaced no task: there is nothing to wait for.
    pub(super) replaced_none: bool,
    /// Somebody else took all its tasks away.
    pub(super) emptied: bool,
    /// Somebody asked the engine to roll back.
    pub(super) by_hand: bool,
    /// The engine was seen to begin a rollback of its own accord. It says why only until that is over.
    pub(super) by_itself: bool,
    /// A task came down after the engine called the update completed.
    pub(super) fell_after: bool,
    /// A task came down since the service was last written.
    pub(super) fell_lately: bool,
    /// For how long that has been known.
    pub(super) falling_for: Duration,
    /// Tasks that came down with their engines, newest first. They count as not there, and prove nothing.
    pub(super) lost: Vec<Failing>,
    pub(super) count: Count,
    /// For how long all tasks have been seen running without a break.
    pub(super) steady_for: Duration,
    /// For how long not all of them have, an update that is completed at that.
    pub(super) unsteady_for: Duration,
    /// For how long a task has waited that no node takes.
    pub(super) unplaced_for: Duration,
}

/// What follows from a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// It goes on; the line says how far it is.
    Goes(String),
    /// It has ended.
    Ended(End),
}

/// How long new tasks have to stay up before they are believed: as the target says, or else as the service's own
/// monitor does, though never less than an engine takes to notice that they did not.
pub(super) fn window(service: &Service, stable: Option<Duration>) -> Duration {
    stable.unwrap_or_else(|| service.monitor().max(NOTICED_WITHIN))
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
    /// What the engine said when it began to roll back.
    pub(super) fn why_it_rolls_back(&self) -> Option<&str> {
        (self.update == Some(UpdateState::RollbackStarted)).then_some(self.message.as_str())
    }

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
            Some(UpdateState::RollbackStarted | UpdateState::RollbackCompleted) if self.by_hand => {
                changed_elsewhere("somebody rolled the service back by hand during the rollout")
            }
            // An engine goes back for a task that failed.
            Some(UpdateState::RollbackCompleted) if !self.by_itself && self.failures().next().is_none() => {
                changed_elsewhere(
                    "somebody seems to have rolled the service back by hand during the rollout: none of its tasks failed",
                )
            }
            Some(UpdateState::RollbackStarted) => Decision::Goes(self.progress("rolling back update")),
            Some(UpdateState::RollbackCompleted) => {
                let what = self.told_of_nobody("the engine rolled it back");
                Decision::Ended(End::RolledBack(self.blame(reason::ROLLED_BACK, &what)))
            }
            Some(UpdateState::RollbackPaused) => {
                self.failed("the engine began to roll it back, and the rollback failed too")
            }
            Some(UpdateState::Updating | UpdateState::Paused | UpdateState::Completed) | None => {
                changed_elsewhere("somebody else changed the service's image during the rollout")
            }
        }
    }

    fn decide_on_ours(&self) -> Decision {
        if self.emptied {
            return changed_elsewhere("somebody else scaled the service to 0 tasks: nothing runs the image");
        }
        match self.update {
            Some(UpdateState::Updating) => self.decide_while_it_rolls(),
            Some(UpdateState::RollbackStarted) => Decision::Goes(self.progress("rolling back update")),
            Some(UpdateState::Paused) => self.failed("the engine paused the update"),
            Some(UpdateState::RollbackPaused) => self.failed("the engine's rollback to this image failed"),
            Some(UpdateState::Completed | UpdateState::RollbackCompleted) => self.decide_on_completed(),
            None => self.decide_without_update(),
        }
    }

    fn decide_while_it_rolls(&self) -> Decision {
        match &self.count.unplaced {
            Some(waiting) if self.unplaced_for >= PLACED_WITHIN => {
                Decision::Ended(End::Failed(self.nowhere_to_run(waiting)))
            }
            Some(_) | None => Decision::Goes(self.progress("")),
        }
    }

    /// `completed` has the monitoring period behind it, but an engine told to continue on failure says it
    /// with nothing running, and with a crash loop that happens to be up at that moment; and one under load may
    /// not have noticed yet that a task came down.
    fn decide_on_completed(&self) -> Decision {
        let what = "the engine completed the update, but not all tasks stay up";
        if self.fell_after {
            return self.failed(what);
        }
        match (self.count.complete(), self.count.failing.is_empty()) {
            (true, true) if self.is_settled() => Decision::Ended(End::Converged),
            (true, false) if !self.is_in_doubt() => Decision::Ended(End::Converged),
            (true, true | false) => Decision::Goes(self.verifying()),
            // To wait for a node is no fault of what is to run there.
            (false, true | false) if self.count.unplaced.is_some() => self.decide_while_it_rolls(),
            (false, true | false) if self.unsteady_for >= self.patience() => {
                self.failed("the engine completed the update, but not all tasks run")
            }
            (false, true | false) => Decision::Goes(self.progress("")),
        }
    }

    /// No update status: no task had to be replaced, or the update began this very moment (then its tasks
    /// are not yet there), or somebody's label-only write wiped the status while it rolled.
    fn decide_without_update(&self) -> Decision {
        let believed = self.replaced_none || self.is_settled();
        match self.count.complete() {
            true if believed && !self.is_in_doubt() => Decision::Ended(End::Converged),
            true => Decision::Goes(self.verifying()),
            false if self.never_comes_up() => self.failed("not all tasks run"),
            false => self.decide_while_it_rolls(),
        }
    }

    /// Whether what the engine starts on its own has had its time. What came down before anything was written says
    /// nothing of what is coming up now.
    fn never_comes_up(&self) -> bool {
        match self.count.failing.first() {
            Some(failing) if failing.exited() && !self.replaced_none => {
                self.fell_lately && self.falling_for >= self.window.max(COMES_UP_WITHIN)
            }
            Some(_) | None => {
                (self.fell_lately || !self.lost.is_empty()) && self.unsteady_for >= self.patience()
            }
        }
    }

    /// What it is to be laid to where it did not hold.
    pub(super) fn blames(&self) -> Blame {
        let failing = &self.count.failing;
        match (failing.is_empty(), self.lost.is_empty()) {
            (false, _) if failing.iter().all(Failing::never_began) => Blame::Node,
            (false, _) => Blame::Image,
            (true, false) => Blame::Engine,
            // An engine also gives up for tasks that it was told to stop itself.
            (true, true) => Blame::Nobody,
        }
    }

    /// The same of one that had not ended when its time was over. One that is merely slow, as to pull or to come up, says
    /// nothing against its image.
    pub(super) fn blames_when_cut_off(&self) -> Blame {
        if self.count.failing.is_empty() { Blame::Nobody } else { Blame::Image }
    }

    /// For how long not all tasks may run: a window that is shorter than what an engine needs to tell of a task is for
    /// those that are up.
    fn patience(&self) -> Duration {
        let least = if self.lost.is_empty() { NOTICED_WITHIN } else { MADE_AGAIN_WITHIN };
        self.window.max(least)
    }

    /// Whether all tasks have stayed up for the window, by their own clocks or by ours.
    fn is_settled(&self) -> bool {
        self.count.youngest.is_none_or(|age| age >= self.window) || self.steady_for >= self.window
    }

    /// In how long they will have, if all do; none while the engine is at work itself, which tells when it is done: a look
    /// before that decides nothing, and would be missed where the end is.
    pub(super) fn settles_in(&self) -> Option<Duration> {
        if self.owner == Owner::Ours && self.update == Some(UpdateState::Updating) {
            return None;
        }
        let up_for = self.steady_for.max(self.count.youngest.unwrap_or_default());
        let left = self.window.saturating_sub(up_for);
        (self.count.complete() && !left.is_zero()).then_some(left)
    }

    /// Where tasks came down before, all have to be up for longer than any of those was.
    fn is_in_doubt(&self) -> bool {
        let needed = self.window.max(self.count.longest_life() + LONGER_THAN_BEFORE);
        let up_for = self.steady_for.max(self.count.youngest.unwrap_or_default());
        !self.count.failing.is_empty() && up_for < needed
    }

    fn nowhere_to_run(&self, waiting: &str) -> Reason {
        let Count { running, wanted, .. } = self.count;
        let tasks = match waiting {
            FITS_NOWHERE => "it".to_owned(),
            _ => format!("the new tasks ({running} of {wanted} run)"),
        };
        let text = format!("no node takes {tasks}: {waiting}");
        Reason::new(reason::NO_SUITABLE_NODE, text)
            .hint("make room or mend the service's placement, then deploy again; the engine goes on trying meanwhile")
    }

    fn failed(&self, what: &str) -> Decision {
        Decision::Ended(End::Failed(self.blame(reason::ROLLOUT_FAILED, &self.told_of_nobody(what))))
    }

    /// What happened, with the word that nothing is known against the image where that is so.
    fn told_of_nobody(&self, what: &str) -> String {
        match self.blames() {
            Blame::Nobody => format!("{what}, though no task of the image failed"),
            Blame::Image | Blame::Engine | Blame::Node => what.to_owned(),
        }
    }

    /// The reason with the words of the tasks that failed, or else of the engine.
    pub(super) fn blame(&self, code: &'static str, what: &str) -> Reason {
        let Count { running, wanted, .. } = self.count;
        let count =
            if self.owner == Owner::Ours { format!(" ({running} of {wanted} run)") } else { String::new() };
        let words: Vec<String> = self.failures().map(Failing::to_string).collect();
        let words = match &self.count.waiting {
            _ if !words.is_empty() => words.join("; "),
            Some(waiting) => waiting.clone(),
            None => self.message.clone(),
        };
        let text =
            if words.is_empty() { format!("{what}{count}") } else { format!("{what}{count}: {words}") };
        Reason::new(code, text)
    }

    /// The newest failures, each error once; where there are none, what came down with its engine.
    pub(super) fn failures(&self) -> impl Iterator<Item = &Failing> {
        each_once(if self.count.failing.is_empty() { &self.lost } else { &self.count.failing })
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
            "verify: Waiting {} seconds to verify that tasks are stable...",
            self.window.as_secs_f32().ceil()
        )
    }
}

fn changed_elsewhere(text: &str) -> Decision {
    let reason = Reason::new(reason::CHANGED_ELSEWHERE, text);
    Decision::Ended(End::Superseded { by: None, reason })
}

/// The first of those given, each error once.
pub(super) fn each_once(failing: &[Failing]) -> impl Iterator<Item = &Failing> {
    let first = move |(at, one): &(usize, &Failing)| {
        failing.iter().take(*at).all(|earlier| earlier.error != one.error)
    };
    failing.iter().enumerate().filter(first).map(|(_, one)| one).take(MOST_FAILURES_TOLD)
}

impl Failing {
    /// Whether it ran before it came down: what was there to run could be started.
    fn exited(&self) -> bool {
        let has_command = !NO_COMMAND.iter().any(|code| self.error.contains(code));
        self.state == TaskState::COMPLETE || self.error.starts_with(EXITED) && has_command
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
