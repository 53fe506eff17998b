//! A worker is killed outright at each step, and another takes the job up.

use std::{
    collections::BTreeSet,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use futures::{StreamExt, stream};
use proto::{Event, State};
use queue::{Entry, Settings as QueueSettings, Since};
use serde_json::json;
use tempfile::TempDir;
use worker::steps;

use crate::{fake_kubernetes::BAD, lab::Lab};

const PATIENCE: Duration = Duration::from_secs(180);
const KILLED: i32 = 9;
const AT_ONCE: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_may_die_at_any_step() {
    // What is announced on a swarm's service needs no announcement on a workload: nothing goes back by itself.
    let ways_back = ["undone", "wentback"];
    let good = steps::names().filter(|step| !ways_back.contains(&step.as_str()) && step != "announced");
    let mut deaths: Vec<(bool, String)> = good.map(|step| (true, step)).collect();
    deaths.extend(
        ways_back.into_iter().chain(["applied", "watched", "said"]).map(|step| (false, step.to_owned())),
    );
    let dying = deaths.into_iter().map(|(is_good, step)| die_and_go_on(is_good, step));
    let told: Vec<Result<(), String>> = stream::iter(dying).buffer_unordered(AT_ONCE).collect().await;
    let wrong: Vec<String> = told.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn die_and_go_on(is_good: bool, step: String) -> Result<(), String> {
    let lab = Lab::with("deployments", |_, object| object["spec"]["progressDeadlineSeconds"] = json!(2));
    let folder = tempfile::tempdir().unwrap();
    let tag = if is_good { "2".to_owned() } else { format!("2{BAD}") };
    std::fs::write(folder.path().join("longshore.yaml"), lab.configuration(", rollback: true")).unwrap();
    std::fs::write(folder.path().join("job.json"), serde_json::to_vec(&lab.set(&tag)).unwrap()).unwrap();
    let first = run(&folder, Some(&step)).await;
    if first.signal() != Some(KILLED) {
        return Err(format!("{is_good} {step}: not reached, {first}"));
    }
    let second = run(&folder, None).await;
    let ends = ends_of(&folder).await;
    let distinct: BTreeSet<String> = ends.iter().map(|end| format!("{:?}", end.id)).collect();
    let expected = if is_good { State::Succeeded } else { State::RolledBack };
    let ended = distinct.len() == 1 && ends.iter().all(|end| end.state() == expected);
    let stands = lab.stands();
    let runs = stands.starts_with(&lab.image(if is_good { "2" } else { "1" }));
    let writes = lab.cluster().writes().iter().filter(|write| write.status < 300).count();
    let expected = if is_good { 1 } else { 2 };
    if second.success() && ended && runs && writes == expected {
        return Ok(());
    }
    Err(format!("{is_good} {step}: {second}; {stands} stands there; {writes} writes; {ends:?}"))
}

/// Runs a worker until its job has ended or it has died.
async fn run(folder: &TempDir, dies_at: Option<&str>) -> ExitStatus {
    let mut worker = tokio::process::Command::new(program());
    worker.arg(folder.path()).stdin(Stdio::null()).kill_on_drop(true);
    if let Some(step) = dies_at {
        worker.env(steps::DIES_AT, step);
    }
    let mut worker = worker.spawn().unwrap();
    tokio::time::timeout(PATIENCE, worker.wait()).await.expect("the worker does not end").unwrap()
}

/// Built beside the tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("examples/worker_that_dies")
}

/// Every end that was said.
async fn ends_of(folder: &TempDir) -> Vec<Event> {
    let queue = queue::open(&QueueSettings::Embedded, &folder.path().join("queue")).await.unwrap();
    let mut history = queue.history(Since::Start).await.unwrap();
    let mut ends = Vec::new();
    // Nothing is said any more: what has been said is there at once.
    while let Ok(Ok(recorded)) = tokio::time::timeout(Duration::from_secs(2), history.next()).await {
        if let Entry::Event(event) = recorded.entry
            && event.state().is_end()
        {
            ends.push(*event);
        }
    }
    ends
}
