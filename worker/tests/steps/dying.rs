//! A worker that dies outright at a step, and what was said until then.

use std::{
    collections::BTreeSet,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, stream};
use proto::{Event, Job, State};
use queue::{Entry, Queue, QueueError, Settings as QueueSettings, Since};
use tempfile::TempDir;
use worker::steps;

pub(crate) const PATIENCE: Duration = Duration::from_secs(180);
pub(crate) const KILLED: i32 = 9;
/// So many workers at the same time.
const AT_ONCE: usize = 8;

/// What a worker can be started in: its configuration, its job, and in time its queue.
pub(crate) fn folder(configuration: &str, job: &Job) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("longshore.yaml"), configuration).unwrap();
    std::fs::write(folder.path().join("job.json"), serde_json::to_vec(job).unwrap()).unwrap();
    folder
}

/// Every death that can be met on a system that goes back by nobody's will but ours: with a good image at each step but
/// those of the way back, with a bad one at those, and around them.
pub(crate) fn deaths() -> Vec<(bool, String)> {
    let ways_back = ["undone", "wentback"];
    // What is announced on a swarm's service is announced nowhere else: nothing goes back by itself there. A good image
    // is not held.
    let others = ["announced", "heldback"];
    let is_good = |step: &String| !ways_back.iter().chain(&others).any(|other| *other == step.as_str());
    let good = steps::names().filter(is_good);
    let mut deaths: Vec<(bool, String)> = good.map(|step| (true, step)).collect();
    let bad = ways_back.into_iter().chain(["applied", "watched", "said"]);
    deaths.extend(bad.map(|step| (false, step.to_owned())));
    deaths
}

/// Waits for them all, some at a time, and tells every one that went wrong.
pub(crate) async fn all_well(dying: impl Iterator<Item = impl Future<Output = Result<(), String>>>) {
    let told: Vec<Result<(), String>> = stream::iter(dying).buffer_unordered(AT_ONCE).collect().await;
    let wrong: Vec<String> = told.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Lets one worker die at a step and another go on. Tells what is wrong with that and with the ends that were said,
/// which must be this one, once.
pub(crate) async fn dies_and_another_goes_on(folder: &TempDir, step: &str, end: State) -> Vec<String> {
    let mut wrong = Vec::new();
    let first = run(folder, Some(step)).await;
    if first.signal() != Some(KILLED) {
        wrong.push(format!("not reached, {first}"));
    }
    let second = run(folder, None).await;
    if !second.success() {
        wrong.push(format!("the second worker: {second}"));
    }
    let ends = ends_of(folder).await;
    let distinct: BTreeSet<String> = ends.iter().map(|end| format!("{:?}", end.id)).collect();
    if distinct.len() != 1 || ends.iter().any(|said| said.state() != end) {
        wrong.push(format!("it must end once, {end}: {ends:?}"));
    }
    wrong
}

/// Runs a worker until its job has ended or it has died.
pub(crate) async fn run(folder: &TempDir, dies_at: Option<&str>) -> ExitStatus {
    let mut worker = tokio::process::Command::new(program());
    worker.arg(folder.path()).stdin(Stdio::null()).kill_on_drop(true);
    if let Some(step) = dies_at {
        worker.env(steps::DIES_AT, step);
    }
    let mut worker = worker.spawn().unwrap();
    tokio::time::timeout(PATIENCE, worker.wait()).await.expect("the worker does not end").unwrap()
}

/// Built beside the tests.
pub(crate) fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("examples/worker_that_dies")
}

/// Every end that was said.
pub(crate) async fn ends_of(folder: &TempDir) -> Vec<Event> {
    events_of(folder).await.into_iter().filter(|event| event.state().is_end()).collect()
}

/// The folder's queue. What opened it last lets go of it in its own time, also where that was this test.
pub(crate) async fn open_when_free(folder: &TempDir) -> Arc<dyn Queue> {
    let directory = folder.path().join("queue");
    let free = async {
        loop {
            match queue::open(&QueueSettings::default(), &directory).await {
                Err(QueueError::InUse(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
                opened => return opened.unwrap(),
            }
        }
    };
    tokio::time::timeout(PATIENCE, free).await.expect("the queue is never free")
}

/// Everything that was said.
pub(crate) async fn events_of(folder: &TempDir) -> Vec<Event> {
    let queue = open_when_free(folder).await;
    let mut history = queue.history(Since::Start).await.unwrap();
    let mut events = Vec::new();
    // Nothing is said any more: what has been said is there at once.
    while let Ok(Ok(recorded)) = tokio::time::timeout(Duration::from_secs(2), history.next()).await {
        if let Entry::Event(event) = recorded.entry {
            events.push(*event);
        }
    }
    events
}
