//! The same of a job that deploys a compose text: also while the docker command is at work.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use proto::{Event, ImageRef, Job, Operation, StackText, State};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    dying::{KILLED, PATIENCE, ends_of, program, run},
    lab::{STAYS_UP, Service, docker, environment, job, unique_name},
    registry::Registry,
};

/// Where the worker is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    /// At a step of its own.
    Step(&'static str),
    /// While the docker command runs.
    InTheCommand,
}

/// Removed with everything in it when dropped.
pub(crate) struct Stack(pub(crate) String);

impl Stack {
    pub(crate) fn new() -> Stack {
        Stack(unique_name())
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let host = environment("LONGSHORE_TEST_DOCKER");
        let _ = Command::new("docker").args(["stack", "rm", &self.0]).env("DOCKER_HOST", host).output();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_deploys_a_text_may_die_at_any_moment() {
    let registry = Registry::start();
    let images = ["texts:old", "texts:new"].map(|name| registry.push(name, STAYS_UP));
    let steps = ["started", "read", "announced", "applied", "watched", "said", "unlocked"].map(Where::Step);
    let dying = steps.into_iter().chain([Where::InTheCommand]).map(|death| die_and_go_on(death, &images));
    let told: Vec<Result<(), String>> = stream::iter(dying).buffer_unordered(3).collect().await;
    let wrong: Vec<String> = told.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn die_and_go_on(death: Where, images: &[ImageRef; 2]) -> Result<(), String> {
    let stack = Stack::new();
    let first = prepare(&stack, &images[0]);
    let begun = run(&first.0, None).await;
    if !begun.success() || states(&first.0).await != [State::Succeeded] {
        return Err(format!("{death:?}: the stack was not made"));
    }
    let (folder, deployed) = prepare(&stack, &images[1]);
    let died = match death {
        Where::Step(step) => run(&folder, Some(step)).await.signal() == Some(KILLED),
        Where::InTheCommand => killed_in_the_command(&folder, &stack).await,
    };
    if !died {
        return Err(format!("{death:?}: not reached"));
    }
    let second = run(&folder, None).await;
    let ends = states(&folder).await;
    let mut wrong = Vec::new();
    if !second.success() || ends != [State::Succeeded] {
        wrong.push(format!("it must end once, succeeded: {second} {ends:?}"));
    }
    for name in ["web", "jobs"] {
        let service = std::mem::ManuallyDrop::new(Service { name: format!("{}_{name}", stack.0) });
        let (image, mark) = (service.image().await, service.label("longshore.stack").await);
        if !image.starts_with(&images[1].to_string()) || mark != Some(deployed.id.to_string()) {
            wrong.push(format!("{name}: {image} of {mark:?} stands there"));
        }
    }
    let kept = docker(&["config", "ls", "-q", "--filter", &format!("label=longshore.stack={}", stack.0)]);
    if kept.lines().count() != 2 || rooms(&folder) != 0 {
        wrong.push(format!("{kept:?} is kept, {} directories stay", rooms(&folder)));
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("{death:?}: {}", wrong.join("; "))) }
}

/// A folder with the worker's configuration and its job.
fn prepare(stack: &Stack, image: &ImageRef) -> (TempDir, Job) {
    let folder = tempfile::tempdir().unwrap();
    let host = environment("LONGSHORE_TEST_DOCKER");
    let text = format!(
        "systems:\n  swarm: {{kind: swarm, host: \"{host}\"}}\ntargets:\n  web: {{at: swarm, stack: {}}}\n",
        stack.0
    );
    fs::write(folder.path().join("longshore.yaml"), text).unwrap();
    let service = json!({
        "image": image, "init": true, "stop_grace_period": "1s", "networks": ["outside"],
        "deploy": {"update_config": {"monitor": "1s", "order": "stop-first"}},
    });
    let compose = json!({
        "services": {"web": service, "jobs": service},
        "networks": {"outside": {"external": true, "name": "host"}},
    });
    let mut job = job(image);
    job.operation = Operation::DeployStack(StackText::of(compose.to_string()));
    job.slots = job.operation.slots();
    fs::write(folder.path().join("job.json"), serde_json::to_vec(&job).unwrap()).unwrap();
    (folder, job)
}

async fn states(folder: &TempDir) -> Vec<State> {
    let mut ends: Vec<Event> = ends_of(folder).await;
    ends.dedup_by_key(|end| end.id);
    ends.iter().map(Event::state).collect()
}

/// Directories of the docker command that are still there.
fn rooms(folder: &TempDir) -> usize {
    let rooms = folder.path().join("stacks");
    fs::read_dir(rooms).map_or(0, |rooms| rooms.filter(|room| room.as_ref().unwrap().path().is_dir()).count())
}

async fn killed_in_the_command(folder: &TempDir, stack: &Stack) -> bool {
    let mut worker = tokio::process::Command::new(program())
        .arg(folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let began = Instant::now();
    while !command_runs(&stack.0) {
        if began.elapsed() > PATIENCE || worker.try_wait().unwrap().is_some() {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    worker.start_kill().unwrap();
    let left = worker.wait().await.unwrap().signal() == Some(KILLED) && rooms(folder) == 1;
    // It ends with its worker, as soon as the kernel comes to it.
    while command_runs(&stack.0) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    left
}

fn command_runs(stack: &str) -> bool {
    let line = |path: &Path| fs::read(path.join("cmdline")).unwrap_or_default();
    let is_it = |line: &[u8]| {
        let line = String::from_utf8_lossy(line);
        let program = line.split('\0').next().unwrap_or_default();
        program.ends_with("/docker") && line.contains("deploy") && line.contains(stack)
    };
    fs::read_dir("/proc").unwrap().filter_map(Result::ok).any(|entry| is_it(&line(&entry.path())))
}
