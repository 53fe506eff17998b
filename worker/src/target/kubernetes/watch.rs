//! Watching one rollout on a real cluster.

use std::time::Duration;

use proto::{ImageRef, Operation, Reason, Timestamp, reason};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use super::{
    KubernetesWorkload,
    decide::{DEFAULT_WINDOW, Decision, Owner, Snapshot},
    fence::{Concern, is_given_up_before},
    kind::WorkloadKind,
    object::Workload,
    pods::Pods,
    rollout::{Stage, stage},
};
use crate::target::{End, Outcome, Progress, TargetError, Wanted};

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A rollout that takes longer is looked at less often.
const LOOK_LATER_EVERY: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(60);
/// How long the API server may not be seen before the watch gives up, to be taken up again.
const BLIND_FOR: Duration = Duration::from_secs(60);
/// A clock of the cluster is believed only as far as this.
const CLOCKS_DIFFER: Duration = Duration::from_secs(120);
/// How long a deployment may stand still where it does not say.
const STANDS_STILL: Duration = Duration::from_secs(600);
/// At most two utterances a second.
const SAY_EVERY: Duration = Duration::from_millis(500);
/// The lines a terminal event carries at most; of a longer rollout the middle is left out.
const MOST_LINES: usize = 40;

/// One rollout, as far as it was seen.
pub(super) struct Rollout<'a> {
    target: &'a KubernetesWorkload,
    wanted: &'a Wanted,
    container: String,
    /// The image that is to stand there; none where it may be any.
    image: Option<ImageRef>,
    progress: &'a mpsc::Sender<Progress>,
    said: Option<(Progress, Instant)>,
    lines: Vec<String>,
    began: Instant,
    seen_at: Instant,
    /// Whether all was complete when last seen, with how many restarts, and since when.
    steady: Option<(bool, u64, Instant)>,
    /// How many restarts there were when all was complete first.
    complete_at: Option<u64>,
    /// The numbers that were last seen, and since when.
    numbers: Option<(String, Instant)>,
    /// Broken pods that were deleted, to let a stateful set go on.
    cleared: Vec<String>,
}

impl<'a> Rollout<'a> {
    pub(super) fn new(
        target: &'a KubernetesWorkload,
        wanted: &'a Wanted,
        (container, image): (String, Option<ImageRef>),
        progress: &'a mpsc::Sender<Progress>,
    ) -> Rollout<'a> {
        let now = Instant::now();
        Rollout {
            target,
            wanted,
            container,
            image,
            progress,
            said: None,
            lines: Vec::new(),
            began: now,
            seen_at: now,
            steady: None,
            complete_at: None,
            numbers: None,
            cleared: Vec::new(),
        }
    }

    /// Watches until the end is known.
    pub(super) async fn watch(mut self) -> Result<Outcome, TargetError> {
        loop {
            let pause = if self.began.elapsed() < LONG { LOOK_EVERY } else { LOOK_LATER_EVERY };
            let pause = match self.look().await {
                Ok((workload, snapshot)) => match snapshot.decide() {
                    Decision::Ended(end) => return Ok(self.close(&workload, &snapshot, end)),
                    Decision::Goes(line) => {
                        self.say(&snapshot, line);
                        pause
                    }
                },
                Err(TargetError::NotFound { what, .. }) => return Ok(deleted(&what, self.lines)),
                Err(error) if self.seen_at.elapsed() < BLIND_FOR => passing(error)?.unwrap_or(pause),
                Err(error) => return Err(error.of_what_was_begun()),
            };
            sleep(pause.min(BLIND_FOR)).await;
        }
    }

    /// What it comes to at this very moment: its end, or `reason` with what the pods say.
    pub(super) async fn now(mut self, reason: Reason) -> Result<Outcome, TargetError> {
        let (workload, snapshot) = match self.look().await {
            Err(TargetError::NotFound { what, .. }) => return Ok(deleted(&what, self.lines)),
            looked => looked.map_err(TargetError::of_what_was_begun)?,
        };
        let end = match snapshot.decide() {
            Decision::Ended(end) => end,
            Decision::Goes(_) => {
                let text = snapshot.blame(reason::DEADLINE, &reason.text).text;
                End::Failed(Reason { text, ..reason })
            }
        };
        Ok(self.close(&workload, &snapshot, end))
    }

    async fn look(&mut self) -> Result<(Workload, Snapshot), TargetError> {
        let workload = self.target.workload().await?;
        let stage = self.stage(&workload);
        let is_of_interest = matches!(stage, Stage::Goes(_) | Stage::Complete | Stage::OutOfTime(_));
        let pods = match is_of_interest && workload.selector().is_some() {
            true => self.target.pods(&workload, &self.container).await?,
            false => Pods::default(),
        };
        self.seen_at = Instant::now();
        // What somebody else put there is not ours to help along.
        if matches!(stage, Stage::Goes(_)) && self.owner(&workload) == Owner::Ours {
            self.clear_broken(&workload, &pods).await?;
        }
        let snapshot = self.snapshot(&workload, stage, pods);
        Ok((workload, snapshot))
    }

    /// What is stopped is done when nothing is left of it.
    fn stage(&self, workload: &Workload) -> Stage {
        let floor = self.target.kubernetes.floor(self.wanted.job.id);
        // It cannot be told for longer than a rollout may stand still.
        let limit =
            workload.number("/spec/progressDeadlineSeconds").map_or(STANDS_STILL, Duration::from_secs);
        let mut stage = stage(workload, floor);
        let is_told = matches!(stage, Stage::OutOfTime(_));
        if is_told && is_given_up_before(workload) && self.began.elapsed() < limit {
            stage = Stage::Goes("its controller has not begun anew yet".to_owned());
        }
        let left = workload.number("/status/replicas").unwrap_or_default();
        let is_seen = !matches!(stage, Stage::Unseen | Stage::ByHand);
        match matches!(self.wanted.job.operation, Operation::Stop) && is_seen {
            true if left == 0 => Stage::Complete,
            true => Stage::Goes(format!("{left} pods are pending termination")),
            false => stage,
        }
    }

    fn snapshot(&mut self, workload: &Workload, stage: Stage, pods: Pods) -> Snapshot {
        let now = Instant::now();
        let complete = stage == Stage::Complete;
        let since = match self.steady {
            Some((before, restarts, since)) if before == complete && restarts == pods.restarts => since,
            // One more restart of what is down anyway breaks nothing.
            Some((false, _, since)) if !complete => since,
            Some(_) | None => now,
        };
        self.steady = Some((complete, pods.restarts, since));
        if complete && self.complete_at.is_none() {
            self.complete_at = Some(pods.restarts);
        }
        let numbers = workload.raw["status"].to_string();
        let stalled_since = match &self.numbers {
            Some((before, since)) if *before == numbers => *since,
            Some(_) | None => now,
        };
        self.numbers = Some((numbers, stalled_since));
        let lasted = now.duration_since(since);
        let least = workload.number("/spec/minReadySeconds").map(Duration::from_secs).unwrap_or_default();
        let window = self.target.policy.stable.unwrap_or(DEFAULT_WINDOW.max(least));
        Snapshot {
            kind: workload.kind,
            owner: self.owner(workload),
            stage,
            tasks: workload.tasks(),
            window,
            steady_for: if complete { lasted } else { Duration::ZERO },
            unsteady_for: if complete { Duration::ZERO } else { lasted },
            fell: self.complete_at.is_some_and(|before| pods.restarts > before),
            stalled_for: now.duration_since(stalled_since),
            is_old: pods.ready_since.is_some_and(|since| {
                let age = Timestamp::now().duration_since(since);
                Duration::try_from(age).is_ok_and(|age| age >= window + CLOCKS_DIFFER)
            }),
            pods,
        }
    }

    fn owner(&self, workload: &Workload) -> Owner {
        let mine = self.wanted.job.id;
        if self.target.kubernetes.is_another(mine, workload) {
            return Owner::MadeAnew;
        }
        let concern = Concern::of(&self.wanted.job.operation);
        let mark = concern.and_then(|concern| concern.mark(workload, &self.container));
        if let Some(newer) = mark.filter(|mark| *mark > mine) {
            return Owner::Newer(newer);
        }
        let operation = &self.wanted.job.operation;
        let starts = matches!(operation, Operation::Start | Operation::Restart);
        let as_wished = if matches!(operation, Operation::Stop) {
            !workload.is_running()
        } else if starts && mark == Some(mine) && !workload.is_running() {
            false
        } else {
            self.image.as_ref().is_none_or(|image| workload.runs(&self.container, image))
        };
        if as_wished { Owner::Ours } else { Owner::Other }
    }

    /// A stateful set goes on only when a broken pod of a former template is gone, and its controller never deletes
    /// one.
    async fn clear_broken(&mut self, workload: &Workload, pods: &Pods) -> Result<(), TargetError> {
        let is_in_order = workload.raw["spec"]["podManagementPolicy"] != "Parallel";
        if workload.kind != WorkloadKind::StatefulSet || !is_in_order {
            return Ok(());
        }
        for trouble in &pods.broken_old {
            let is_due = |pod: &String| !self.cleared.contains(pod) && workload.is_to_replace(pod);
            let Some(pod) = trouble.pod.clone().filter(is_due) else { continue };
            let line = match self.target.delete_pod(&pod).await {
                Ok(()) => format!("{trouble}; deleted, since the stateful set goes on only without it"),
                Err(TargetError::NotFound { .. }) => continue,
                Err(TargetError::CredentialsRefused { .. }) => {
                    format!(
                        "{trouble}; the stateful set goes on only when somebody deletes it: `kubectl delete pod {pod}`"
                    )
                }
                Err(error) => return Err(error),
            };
            self.cleared.push(pod);
            self.keep(line);
        }
        Ok(())
    }

    fn say(&mut self, snapshot: &Snapshot, line: String) {
        self.keep(line.clone());
        let Some(tasks) = snapshot.tasks else { return };
        let next = Progress { tasks, line };
        let due = match &self.said {
            Some((said, at)) => *said != next && at.elapsed() >= SAY_EVERY,
            None => true,
        };
        // Nobody waits for progress: where the reader lags, a step is left out.
        if due && self.progress.try_send(next.clone()).is_ok() {
            self.said = Some((next, Instant::now()));
        }
    }

    fn keep(&mut self, line: String) {
        if self.lines.last() == Some(&line) {
            return;
        }
        if self.lines.len() == MOST_LINES {
            self.lines.remove(MOST_LINES / 2);
        }
        self.lines.push(line);
    }

    fn close(mut self, workload: &Workload, snapshot: &Snapshot, end: End) -> Outcome {
        for trouble in snapshot.pods.told() {
            self.keep(trouble.to_string());
        }
        let mut notes = Vec::new();
        match &end {
            End::Converged => {
                self.keep(format!("{} successfully rolled out", self.target.place));
                notes = self.target.notes(workload, &self.container, self.wanted);
            }
            End::Failed(reason) | End::RolledBack(reason) | End::Superseded { reason, .. } => {
                self.keep(reason.text.clone());
            }
        }
        let tasks = match end {
            End::Converged | End::Failed(_) => snapshot.tasks,
            // What runs then is another image.
            End::RolledBack(_) | End::Superseded { .. } => None,
        };
        Outcome { tasks, output: self.lines, notes, ..Outcome::of(end) }
    }
}

/// What is said where there is nothing to be watched any more.
pub(super) fn deleted(what: &str, output: Vec<String>) -> Outcome {
    let text = format!("there is no {what} any more: somebody deleted it during the rollout");
    Outcome { output, ..Outcome::failed(Reason::new(reason::CHANGED_ELSEWHERE, text)) }
}

/// Whether an error may be over when it is asked again, and in how long where the server said so.
fn passing(error: TargetError) -> Result<Option<Duration>, TargetError> {
    match error {
        TargetError::Unavailable { retry_after, .. } => Ok(retry_after),
        TargetError::Unreachable { .. }
        | TargetError::NoAnswer { .. }
        | TargetError::Busy { .. }
        | TargetError::BadAnswer { .. }
        // What stands before it has a page for the time in which it is away.
        | TargetError::OtherServer { .. }
        | TargetError::Conflict => Ok(None),
        error @ (TargetError::CredentialsRefused { .. }
        | TargetError::Untrusted { .. }
        | TargetError::GivenUp { .. }
        | TargetError::NoPart { .. }
        | TargetError::NotFound { .. }
        | TargetError::ImageNotFound { .. }
        | TargetError::Refused { .. }
        | TargetError::Rewritten { .. }
        | TargetError::Declined { .. }) => Err(error),
    }
}
