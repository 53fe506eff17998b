//! Services of a text that run to their end: whether they come to it.
//!
//! An engine starts a job's task anew whenever it fails, as its restart policy says, and never tells that the job as a
//! whole failed. One that fails at first may only have come before what it needs.

use std::{collections::BTreeMap, time::Duration};

use bollard::models::{Task, TaskState};
use proto::{Reason, Timestamp, reason};
use tokio::time::{Instant, sleep};

use super::super::{
    SwarmStack,
    lookout::Which,
    service::Service,
    stack::watch::Until,
    tasks::{Nodes, at, life},
    watch::COMES_UP_WITHIN,
};
use crate::target::{End, TargetError};

/// For how long a job is watched that neither ends nor fails: one that takes hours is not waited for.
const WATCHED_FOR: Duration = Duration::from_secs(30);

/// By how much longer a task must have run than those that failed before it, to be another.
const OUTLIVES_BY: Duration = Duration::from_secs(10);

/// How a job stands.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    /// As many of its tasks have ended well as it asks for.
    Done,
    /// It runs, or waits to.
    Runs,
    /// A task failed, and is started anew.
    Again { why: String, now: Anew },
    /// A task failed, and is not started anew.
    Failed(String),
}

/// How a task goes on that failed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Anew {
    /// It does not run, or not yet.
    Waits,
    Runs,
    /// It has run for longer than ever before it failed.
    Outlives,
}

/// What is told of a job whose watching is over.
pub(super) enum Told {
    Line(&'static str),
    /// What one has to know beside a success.
    Note(&'static str),
    Failed(End),
}

impl SwarmStack {
    pub(super) async fn watch_one_shot(&self, service: &Service, until: &Until) -> Result<Told, TargetError> {
        let (lookout, began) = (&self.swarm.lookout, Instant::now());
        let mut failing_since = None;
        loop {
            let tasks = lookout.tasks(&service.id, Which::All).await?;
            let standing = standing(service, &tasks, (&lookout.nodes().await?, lookout.now().await));
            let is_cut_off = matches!(until, Until::Now(_));
            match standing {
                Standing::Done => return Ok(Told::Line("ran to its end")),
                Standing::Failed(why) => return Ok(failed(why)),
                Standing::Again { why, now } => {
                    let since: &mut Instant = failing_since.get_or_insert_with(Instant::now);
                    let is_late = since.elapsed() >= COMES_UP_WITHIN;
                    match now {
                        Anew::Outlives if is_late || is_cut_off => return Ok(NOT_WAITED_FOR),
                        Anew::Waits if is_late => return Ok(failed(why)),
                        Anew::Waits | Anew::Runs | Anew::Outlives if is_cut_off => return Ok(failed(why)),
                        Anew::Waits | Anew::Runs | Anew::Outlives => {}
                    }
                }
                Standing::Runs if is_cut_off || began.elapsed() >= WATCHED_FOR => return Ok(NOT_WAITED_FOR),
                Standing::Runs => {}
            }
            sleep(lookout.pause()).await;
        }
    }
}

const NOT_WAITED_FOR: Told = Told::Note("it runs to its end, and that is not waited for");

fn failed(why: String) -> Told {
    Told::Failed(End::Failed(Reason::new(reason::ROLLOUT_FAILED, why)))
}

/// How the job stands that the service runs now: it keeps the tasks of earlier ones.
fn standing(service: &Service, tasks: &[Task], (nodes, now): (&Nodes, Timestamp)) -> Standing {
    let mut places: BTreeMap<String, Vec<&Task>> = BTreeMap::new();
    for task in tasks.iter().filter(|task| iteration(task) == service.job_iteration()) {
        places.entry(place(service, task, nodes)).or_default().push(task);
    }
    let is_done = |tasks: &&Vec<&Task>| tasks.iter().any(|task| state(task) == Some(TaskState::COMPLETE));
    let done = places.values().filter(is_done).count();
    if done > 0 && done as u64 >= service.job_completions().unwrap_or(places.len() as u64) {
        return Standing::Done;
    }
    let attempts = service.job_attempts().unwrap_or(usize::MAX);
    let mut again: Option<(Anew, String)> = None;
    for (place, tasks) in places.iter_mut().filter(|(_, tasks)| !is_done(&&**tasks)) {
        tasks.sort_by(|one, other| one.created_at.cmp(&other.created_at));
        let failures: Vec<&Task> = tasks.iter().copied().filter(|task| has_failed(task)).collect();
        let Some(last) = failures.last() else { continue };
        let why = why(service.name(), place, last, nodes);
        if failures.len() >= attempts {
            return Standing::Failed(why);
        }
        let anew = anew(tasks, &failures, now);
        if again.as_ref().is_none_or(|(worst, _)| anew < *worst) {
            again = Some((anew, why));
        }
    }
    again.map_or(Standing::Runs, |(now, why)| Standing::Again { why, now })
}

/// How its last task goes on.
fn anew(tasks: &[&Task], failures: &[&Task], now: Timestamp) -> Anew {
    let running = tasks.last().filter(|task| state(task) == Some(TaskState::RUNNING));
    let Some(since) = running.and_then(|task| at(task)) else { return Anew::Waits };
    let longest = failures.iter().filter_map(|task| life(task)).max().unwrap_or_default();
    let has_run = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    if has_run > longest + OUTLIVES_BY { Anew::Outlives } else { Anew::Runs }
}

fn iteration(task: &Task) -> u64 {
    task.job_iteration.as_ref().and_then(|iteration| iteration.index).unwrap_or(0)
}

/// Which of its tasks it is: the engine counts them, from 0, or has one on each node.
fn place(service: &Service, task: &Task, nodes: &Nodes) -> String {
    match (service.job_completions(), &task.node_id) {
        (Some(_), _) => task.slot.unwrap_or_default().to_string(),
        (None, Some(node)) => nodes.name_of(node),
        (None, None) => String::new(),
    }
}

fn state(task: &Task) -> Option<TaskState> {
    task.status.as_ref()?.state
}

fn has_failed(task: &Task) -> bool {
    matches!(state(task), Some(TaskState::FAILED | TaskState::REJECTED))
}

fn why(service: &str, place: &str, task: &Task, nodes: &Nodes) -> String {
    let status = task.status.as_ref();
    let error = status.and_then(|status| status.err.clone().or_else(|| status.message.clone()));
    let node = task.node_id.as_ref().map(|node| format!(" on {}", nodes.name_of(node))).unwrap_or_default();
    format!("{service}.{place}{node} failed: {}", error.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn service(mode: Value, policy: Value) -> Service {
        Service::from_raw(json!({
            "ID": "s", "Version": {"Index": 7}, "JobStatus": {"JobIteration": {"Index": 2}},
            "Spec": {"Name": "shop_mig", "Mode": mode, "TaskTemplate": {"RestartPolicy": policy}},
        }))
        .unwrap()
    }

    fn task(iteration: u64, slot: i64, state: &str, created: u32) -> Task {
        let of = json!({
            "JobIteration": {"Index": iteration}, "Slot": slot, "NodeID": "n1",
            "CreatedAt": format!("2026-01-01T00:00:{created:02}Z"),
            "Status": {"State": state, "Err": format!("task: non-zero exit ({created})")},
        });
        serde_json::from_value(of).unwrap()
    }

    fn one() -> Service {
        service(json!({"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 1}}), json!({}))
    }

    #[test]
    fn a_job_is_done_once_as_many_tasks_ended_well_as_it_asks_for() {
        let nodes = Nodes::default();
        let of = |service: &Service, tasks: &[Task]| standing(service, tasks, (&nodes, Timestamp::now()));
        assert_eq!(of(&one(), &[]), Standing::Runs);
        assert_eq!(of(&one(), &[task(2, 1, "running", 1)]), Standing::Runs);
        assert_eq!(of(&one(), &[task(2, 1, "complete", 1)]), Standing::Done);
        // What an earlier text started is no end of this one's.
        assert_eq!(of(&one(), &[task(1, 1, "complete", 1), task(2, 1, "running", 2)]), Standing::Runs);
        // One that failed first came too early.
        assert_eq!(of(&one(), &[task(2, 1, "failed", 1), task(2, 1, "complete", 2)]), Standing::Done);
        let three = service(json!({"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 3}}), json!({}));
        let two = [task(2, 1, "complete", 1), task(2, 2, "complete", 2)];
        assert_eq!(of(&three, &two), Standing::Runs);
        let everywhere = service(json!({"GlobalJob": {}}), json!({}));
        assert_eq!(of(&everywhere, &[task(2, 0, "running", 1)]), Standing::Runs);
        assert_eq!(of(&everywhere, &[task(2, 0, "complete", 1)]), Standing::Done);
    }

    #[test]
    fn a_job_has_failed_when_its_task_is_not_started_anew() {
        let nodes = Nodes::default();
        let of = |service: &Service, tasks: &[Task]| standing(service, tasks, (&nodes, Timestamp::now()));
        let failed = |times: u32| (1..=times).map(|n| task(2, 1, "failed", n)).collect::<Vec<_>>();
        let why = |n: u32| format!("shop_mig.1 on n1 failed: task: non-zero exit ({n})");
        let waits = |n| Standing::Again { why: why(n), now: Anew::Waits };
        assert_eq!(of(&one(), &failed(5)), waits(5), "the engine never gives up");
        let job = || json!({"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 1}});
        for (policy, times) in [
            (json!({"Condition": "none"}), 1),
            (json!({"MaxAttempts": 1}), 2),
            (json!({"MaxAttempts": 4}), 5),
        ] {
            let service = service(job(), policy);
            assert_eq!(of(&service, &failed(times)), Standing::Failed(why(times)));
            let before = of(&service, &failed(times - 1));
            assert!(!matches!(before, Standing::Failed(_)), "{before:?}");
        }
    }

    #[test]
    fn a_task_that_outlives_those_that_failed_is_another() {
        let nodes = Nodes::default();
        let running = |for_seconds: i64| {
            let since = Timestamp::now() - jiff::SignedDuration::from_secs(for_seconds);
            let status = json!({"State": "running", "Timestamp": since.to_string()});
            let mut task = serde_json::to_value(task(2, 1, "running", 30)).unwrap();
            task["Status"] = status;
            serde_json::from_value::<Task>(task).unwrap()
        };
        let of = |last: Task| {
            let tasks = [task(2, 1, "failed", 1), last];
            match standing(&one(), &tasks, (&nodes, Timestamp::now())) {
                Standing::Again { now, .. } => now,
                other @ (Standing::Done | Standing::Runs | Standing::Failed(_)) => panic!("{other:?}"),
            }
        };
        assert_eq!(of(task(2, 1, "preparing", 30)), Anew::Waits);
        assert_eq!(of(running(2)), Anew::Runs);
        assert_eq!(of(running(600)), Anew::Outlives);
    }
}
