//! What follows from what is seen of a workload. No I/O: a table that can be tested.

use std::time::Duration;

use proto::{JobId, Reason, Tasks, reason};

use super::{
    kind::WorkloadKind,
    pods::{Pods, Trouble},
    rollout::Stage,
};
use crate::target::End;

/// How long new pods have to stay up where the target does not say.
pub(super) const DEFAULT_WINDOW: Duration = Duration::from_secs(10);
/// A controller that has no deadline of its own is given as long as a deployment has by default.
const STALLS_WITHIN: Duration = Duration::from_secs(600);
/// Pods that came down after all was complete may come back within so many windows.
const COMES_BACK_WITHIN: u32 = 3;
/// A pod that was up for so much longer than any that came down is believed.
const LONGER_THAN_BEFORE: Duration = Duration::from_secs(1);

/// Whose the workload is, from the view of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Ours,
    /// It is meant to be something else, and no newer job's mark tells why.
    Other,
    /// A newer job's.
    Newer(JobId),
    /// Nobody's yet: what was written is gone, and this is another that was made under its name.
    MadeAnew,
}

/// A workload at one moment.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub(super) kind: WorkloadKind,
    pub(super) owner: Owner,
    pub(super) stage: Stage,
    /// None where it has pods only from time to time.
    pub(super) tasks: Option<Tasks>,
    pub(super) pods: Pods,
    /// How long new pods have to stay up.
    pub(super) window: Duration,
    /// For how long all has been complete without a break and without a restart, by our clock.
    pub(super) steady_for: Duration,
    /// For how long that has not been so.
    pub(super) unsteady_for: Duration,
    /// It was complete before, and containers came down since.
    pub(super) fell: bool,
    /// For how long no number has changed.
    pub(super) stalled_for: Duration,
    /// All pods have been ready for long by the cluster's own clock: nothing was replaced.
    pub(super) is_old: bool,
}

/// What follows from a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// It goes on; the line says how far it is.
    Goes(String),
    /// It has ended.
    Ended(End),
}

impl Snapshot {
    /// Whether the rollout has ended, and how.
    pub(super) fn decide(&self) -> Decision {
        match self.owner {
            Owner::Newer(by) => {
                let reason =
                    Reason::new(reason::NEWER_WISH, "a newer job changed the workload during the rollout");
                Decision::Ended(End::Superseded { by: Some(by), reason })
            }
            Owner::Other => {
                let text = "somebody else changed the workload's image during the rollout, or undid it";
                let reason = Reason::new(reason::CHANGED_ELSEWHERE, text);
                Decision::Ended(End::Superseded { by: None, reason })
            }
            Owner::MadeAnew => Decision::Ended(End::Failed(made_anew())),
            Owner::Ours => self.decide_on_ours(),
        }
    }

    fn decide_on_ours(&self) -> Decision {
        match &self.stage {
            Stage::Unseen => Decision::Goes("waiting for the change to be observed".to_owned()),
            Stage::OutOfTime(said) => {
                let reason = self.blame(reason::ROLLOUT_FAILED, "the rollout exceeded its progress deadline");
                let text = match self.pods.troubles.is_empty() && !said.is_empty() {
                    true => format!("{}: {said}", reason.text),
                    false => reason.text.clone(),
                };
                Decision::Ended(End::Failed(Reason { text, ..reason }))
            }
            Stage::Paused => {
                let reason = self.blame(reason::ROLLOUT_FAILED, "the rollout was paused");
                Decision::Ended(End::Failed(
                    reason.hint("resume it with `kubectl rollout resume`, then deploy again"),
                ))
            }
            Stage::ByHand => Decision::Ended(End::Failed(self.blame(
                reason::ROLLOUT_FAILED,
                "its pods are replaced only when somebody deletes them (OnDelete)",
            ))),
            Stage::Goes(_) if self.fell && self.unsteady_for >= self.window * COMES_BACK_WITHIN => {
                self.failed("all new pods were up, but they do not stay up")
            }
            Stage::Goes(_) if !self.has_deadline() && self.stalled_for >= STALLS_WITHIN => {
                self.failed("the rollout has not gone on for ten minutes")
            }
            Stage::Goes(line) => Decision::Goes(self.with_trouble(line)),
            Stage::Complete => self.decide_on_complete(),
        }
    }

    /// A container without a readiness probe is ready as soon as it starts, and available at once: kubectl would call
    /// a crash loop a success that happens to be up at that moment.
    fn decide_on_complete(&self) -> Decision {
        let nothing_runs = self.tasks.is_none_or(|tasks| tasks.wanted == 0);
        let untouched = self.is_old && self.pods.restarts == 0;
        if nothing_runs || untouched || self.steady_for >= self.needed() {
            return Decision::Ended(End::Converged);
        }
        let seconds = self.needed().as_secs_f32().ceil();
        Decision::Goes(format!("all pods are up; waiting {seconds} seconds to see that they stay up"))
    }

    /// For how long all has to be up. Where pods came down before, for longer than any of those was.
    fn needed(&self) -> Duration {
        if self.pods.restarts == 0 {
            return self.window;
        }
        self.window.max(self.pods.longest_life + LONGER_THAN_BEFORE)
    }

    /// Whether its controller gives a rollout up by itself.
    fn has_deadline(&self) -> bool {
        self.kind == WorkloadKind::Deployment && !self.fell
    }

    fn failed(&self, what: &str) -> Decision {
        Decision::Ended(End::Failed(self.blame(reason::ROLLOUT_FAILED, what)))
    }

    /// The reason with the words of the pods.
    pub(super) fn blame(&self, code: &'static str, what: &str) -> Reason {
        let count = self
            .tasks
            .map(|tasks| format!(" ({} of {} run)", tasks.running, tasks.wanted))
            .unwrap_or_default();
        let words: Vec<String> = self.pods.told().map(ToString::to_string).collect();
        let text = match words.is_empty() {
            true => format!("{what}{count}"),
            false => format!("{what}{count}: {}", words.join("; ")),
        };
        let nowhere = !words.is_empty() && self.pods.troubles.iter().all(Trouble::is_nowhere);
        match nowhere && code == reason::ROLLOUT_FAILED {
            true => Reason::new(reason::NO_SUITABLE_NODE, text)
                .hint("make room or mend what the pods ask of nodes, then deploy again"),
            false => Reason::new(code, text),
        }
    }

    fn with_trouble(&self, line: &str) -> String {
        match self.pods.told().next() {
            Some(trouble) => format!("{line} ({trouble})"),
            None => line.to_owned(),
        }
    }
}

/// What is said where the workload that was written is gone, and another stands under its name.
pub(super) fn made_anew() -> Reason {
    let text = "somebody deleted the workload during the rollout and made it anew: what was written is gone with it, \
                and what stands there now was not looked at";
    Reason::new(reason::CHANGED_ELSEWHERE, text).hint("look at what was made there, then deploy again")
}

#[cfg(test)]
mod tests {
    use proto::Timestamp;

    use super::*;

    fn trouble(reason: &str) -> Trouble {
        Trouble {
            pod: Some("web-1".into()),
            node: Some("n1".into()),
            reason: reason.into(),
            words: "no".into(),
        }
    }

    fn snapshot(stage: Stage) -> Snapshot {
        Snapshot {
            kind: WorkloadKind::Deployment,
            owner: Owner::Ours,
            stage,
            tasks: Some(Tasks { running: 1, wanted: 2 }),
            pods: Pods::default(),
            window: Duration::from_secs(10),
            steady_for: Duration::ZERO,
            unsteady_for: Duration::ZERO,
            fell: false,
            stalled_for: Duration::ZERO,
            is_old: false,
        }
    }

    fn told(snapshot: &Snapshot) -> String {
        match snapshot.decide() {
            Decision::Goes(line) => format!("goes: {line}"),
            Decision::Ended(End::Converged) => "converged".to_owned(),
            Decision::Ended(End::Failed(reason)) => format!("failed: {}: {}", reason.code, reason.text),
            Decision::Ended(End::Superseded { by, reason }) => {
                format!("superseded by {}: {}", by.is_some(), reason.code)
            }
            Decision::Ended(End::RolledBack(reason)) => format!("rolled back: {}", reason.code),
        }
    }

    #[test]
    fn an_end_is_said_only_of_what_is_proven() {
        let seconds = Duration::from_secs;
        let goes = || Stage::Goes("1 of 2".to_owned());
        let base = snapshot;
        let newer = JobId::mint(Timestamp::from_second(1_700_000_000).unwrap(), None);
        let crashed = |longest| Pods { restarts: 2, longest_life: seconds(longest), ..Pods::default() };
        let troubled =
            |reason: &str| Pods { troubles: vec![trouble(reason), trouble(reason)], ..Pods::default() };
        for (snapshot, expected) in [
            (base(Stage::Unseen), "goes: waiting for the change to be observed"),
            (base(goes()), "goes: 1 of 2"),
            // Trouble alone is no failure.
            (
                Snapshot { pods: troubled("ImagePullBackOff"), ..base(goes()) },
                "goes: 1 of 2 (pod web-1 on n1: ImagePullBackOff: no)",
            ),
            (
                Snapshot { pods: troubled("ImagePullBackOff"), ..base(Stage::OutOfTime("x".into())) },
                "failed: rollout-failed: the rollout exceeded its progress deadline (1 of 2 run): pod web-1 on n1: ImagePullBackOff: no",
            ),
            (
                Snapshot { pods: troubled("Unschedulable"), ..base(Stage::OutOfTime("x".into())) },
                "failed: no-suitable-node: the rollout exceeded its progress deadline (1 of 2 run): pod web-1 on n1: Unschedulable: no",
            ),
            (
                base(Stage::OutOfTime("it timed out".into())),
                "failed: rollout-failed: the rollout exceeded its progress deadline (1 of 2 run): it timed out",
            ),
            (base(Stage::Paused), "failed: rollout-failed: the rollout was paused (1 of 2 run)"),
            (base(Stage::Complete), "goes: all pods are up; waiting 10 seconds to see that they stay up"),
            (
                Snapshot { steady_for: seconds(9), ..base(Stage::Complete) },
                "goes: all pods are up; waiting 10 seconds to see that they stay up",
            ),
            (Snapshot { steady_for: seconds(10), ..base(Stage::Complete) }, "converged"),
            (Snapshot { is_old: true, ..base(Stage::Complete) }, "converged"),
            (
                Snapshot { is_old: true, pods: crashed(1), ..base(Stage::Complete) },
                "goes: all pods are up; waiting 10 seconds to see that they stay up",
            ),
            (
                Snapshot { steady_for: seconds(30), pods: crashed(40), ..base(Stage::Complete) },
                "goes: all pods are up; waiting 41 seconds to see that they stay up",
            ),
            (Snapshot { steady_for: seconds(41), pods: crashed(40), ..base(Stage::Complete) }, "converged"),
            (Snapshot { tasks: None, ..base(Stage::Complete) }, "converged"),
            (Snapshot { tasks: Some(Tasks { running: 0, wanted: 0 }), ..base(Stage::Complete) }, "converged"),
            (Snapshot { fell: true, unsteady_for: seconds(29), ..base(goes()) }, "goes: 1 of 2"),
            (
                Snapshot { fell: true, unsteady_for: seconds(30), ..base(goes()) },
                "failed: rollout-failed: all new pods were up, but they do not stay up (1 of 2 run)",
            ),
            // A deployment's own controller gives up, the others never do.
            (Snapshot { stalled_for: seconds(900), ..base(goes()) }, "goes: 1 of 2"),
            (
                Snapshot { kind: WorkloadKind::StatefulSet, stalled_for: seconds(599), ..base(goes()) },
                "goes: 1 of 2",
            ),
            (
                Snapshot { kind: WorkloadKind::StatefulSet, stalled_for: seconds(600), ..base(goes()) },
                "failed: rollout-failed: the rollout has not gone on for ten minutes (1 of 2 run)",
            ),
            (
                Snapshot { owner: Owner::Other, ..base(Stage::Complete) },
                "superseded by false: changed-elsewhere",
            ),
            (
                Snapshot { owner: Owner::MadeAnew, ..base(Stage::Unseen) },
                "failed: changed-elsewhere: somebody deleted the workload during the rollout and made it anew: what \
                 was written is gone with it, and what stands there now was not looked at",
            ),
            (
                Snapshot { owner: Owner::Newer(newer), ..base(Stage::Complete) },
                "superseded by true: newer-wish",
            ),
        ] {
            assert_eq!(told(&snapshot), expected, "{snapshot:?}");
        }
    }
}
