//! An engine that is restarted, or stands still, while a rollout is under way: the rollout goes on, and so does the watch.

use std::{
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use proto::{Event, Job, State};
use tempfile::TempDir;

use crate::{
    lab::{STAYS_UP, environment},
    stage::{Stage, job},
};

const PATIENCE: Duration = Duration::from_secs(180);
const SERVICE: &str = "web";
/// Nodes tell every five seconds that they are there, and are lost after three times that.
const FROZEN_FOR: Duration = Duration::from_secs(45);

/// An engine of the test's own, a swarm of one node, with a registry that only it can reach.
struct OwnEngine {
    child: Child,
    home: TempDir,
}

impl OwnEngine {
    fn start() -> OwnEngine {
        let home = tempfile::Builder::new().prefix("longshore-engine").tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/truth/own_engine.sh");
        let alone = ["--net", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"];
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare"])
            .args(alone)
            .arg("bash")
            .arg(script)
            .arg(home.path())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let engine = OwnEngine { child, home };
        engine.until("it answers", |engine| engine.docker(&["version"], b"").is_ok());
        engine.docker(&["swarm", "init", "--advertise-addr", "127.0.0.1"], b"").unwrap();
        engine
    }

    fn host(&self) -> String {
        format!("unix://{}/docker.sock", self.home.path().display())
    }

    fn restart(&mut self) {
        self.tell("restart");
    }

    /// Makes it stand still for so long that it takes its own node for lost: it misses its heartbeats, and its tasks are
    /// told to stop as soon as it goes on.
    fn freeze(&mut self) {
        self.tell("freeze");
        std::thread::sleep(FROZEN_FOR);
        self.tell("thaw");
    }

    fn tell(&mut self, word: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{word}").unwrap();
    }

    fn docker(&self, arguments: &[&str], input: &[u8]) -> Result<String, String> {
        let mut command = Command::new("docker")
            .args(arguments)
            .env("DOCKER_HOST", self.host())
            .env("DOCKER_BUILDKIT", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // One that ends before it has read all says why.
        let _ = command.stdin.take().unwrap().write_all(input);
        let done = command.wait_with_output().unwrap();
        if !done.status.success() {
            return Err(String::from_utf8_lossy(&done.stderr).into_owned());
        }
        Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
    }

    fn until(&self, what: &str, holds: impl Fn(&OwnEngine) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            let log = || std::fs::read_to_string(self.home.path().join("dockerd.log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "waited in vain until {what}: {}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn push(&self, name: &str) -> String {
        let image = format!("127.0.0.1:5000/{name}");
        let command = serde_json::to_string(STAYS_UP).unwrap();
        let recipe =
            format!("FROM {}\nLABEL image={name}\nCMD {command}\n", environment("LONGSHORE_TEST_BASE_IMAGE"));
        self.docker(&["build", "-q", "-t", &image, "-"], recipe.as_bytes()).unwrap();
        self.docker(&["push", &image], b"").unwrap();
        image
    }

    fn inspect(&self, format: &str) -> String {
        self.docker(&["service", "inspect", "--format", format, SERVICE], b"").unwrap_or_default()
    }

    /// The images of the tasks that run.
    fn running(&self) -> Vec<String> {
        let filter = ["service", "ps", "--no-trunc", "--filter", "desired-state=running"];
        let format = ["--format", "{{.CurrentState}}|{{.Image}}", SERVICE];
        let told = self.docker(&[&filter[..], &format[..]].concat(), b"").unwrap_or_default();
        let running = told.lines().filter_map(|line| line.strip_prefix("Running")?.split_once('|'));
        running.map(|(_, image)| image.to_owned()).collect()
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An engine with `web` in two tasks of the first of some images, updated with these options.
fn with_a_service(images: &[&str], options: &[&str]) -> (OwnEngine, Vec<String>) {
    // Not on a thread that may end before the test: the engine is killed with the thread that started it.
    let engine = OwnEngine::start();
    let base = Command::new("docker")
        .args(["save", &environment("LONGSHORE_TEST_BASE_IMAGE")])
        .env("DOCKER_HOST", environment("LONGSHORE_TEST_DOCKER"))
        .output()
        .unwrap();
    engine.docker(&["load"], &base.stdout).unwrap();
    let images: Vec<String> = images.iter().map(|name| engine.push(name)).collect();
    let create = ["service", "create", "--detach", "--init", "--stop-grace-period", "0s", "--name", SERVICE];
    engine.docker(&[&create[..], &["--replicas", "2"], options, &[&images[0]]].concat(), b"").unwrap();
    engine.until("the service runs", |engine| engine.running().len() == 2);
    (engine, images)
}

async fn stage_on(engine: &OwnEngine, more: &str) -> Stage {
    Stage::new(&format!(
        "systems:\n  swarm: {{kind: swarm, host: \"{}\"}}\ntargets:\n  web: {{at: swarm, service: {SERVICE}{more}}}\n",
        engine.host()
    ))
    .await
}

fn is_rolling(engine: &OwnEngine) -> bool {
    engine.inspect("{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}") == "updating"
}

async fn succeeds(stage: &Stage, job: &Job, engine: &OwnEngine, new: &str) {
    let ended = |events: &[Event]| events.iter().any(|event| event.state().is_end());
    let events = stage.until_within(PATIENCE, job, ended).await;
    let end = events.iter().find(|event| event.state().is_end()).unwrap();
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    let image = engine.inspect("{{.Spec.TaskTemplate.ContainerSpec.Image}}");
    assert!(image.starts_with(&format!("{new}@sha256:")), "{image}");
    assert_eq!(engine.running(), [image.clone(), image]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_restarted_in_a_rollout_finishes_it() {
    let options = ["--update-monitor", "5s", "--update-failure-action", "continue"];
    let (mut engine, images) = with_a_service(&["restart:1", "restart:2"], &options);
    let stage = stage_on(&engine, "").await;
    let job = job("web", &images[1]);
    stage.accept(&job).await;
    engine.until("it rolls", is_rolling);
    engine.restart();
    succeeds(&stage, &job, &engine, &images[1]).await;
}

/// When the engine is restarted in a rollout.
#[derive(Debug)]
enum Moment {
    AtItsBeginning,
    /// All tasks are new, and are to stay up for a while.
    WhenAllRun,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fell_with_its_engine_is_neither_taken_back_nor_put_on_hold() {
    let options = ["--update-monitor", "20s", "--update-failure-action", "pause"];
    let (mut engine, images) = with_a_service(&["lost:1", "lost:2", "lost:3"], &options);
    let stage = stage_on(&engine, ", rollback: true").await;
    for (moment, new) in [Moment::WhenAllRun, Moment::AtItsBeginning].into_iter().zip(&images[1..]) {
        let job = job("web", new);
        stage.accept(&job).await;
        engine.until(&format!("{new} rolls, {moment:?}"), |engine| match moment {
            Moment::AtItsBeginning => is_rolling(engine),
            Moment::WhenAllRun => {
                let running = engine.running();
                running.len() == 2 && running.iter().all(|image| image.starts_with(&format!("{new}@")))
            }
        });
        engine.restart();
        succeeds(&stage, &job, &engine, new).await;
        let bad = engine.inspect("{{index .Spec.Labels \"longshore.bad\"}}");
        assert_eq!(bad, "", "{new}, {moment:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_engine_stopped_that_stood_still_is_rolled_out_once_more() {
    let options = ["--update-monitor", "20s", "--update-failure-action", "pause"];
    let (mut engine, images) = with_a_service(&["frozen:1", "frozen:2"], &options);
    let stage = stage_on(&engine, ", rollback: true").await;
    let job = job("web", &images[1]);
    stage.accept(&job).await;
    engine.until("its tasks are new", |engine| {
        let running = engine.running();
        running.iter().any(|image| image.starts_with(&format!("{}@", images[1])))
    });
    engine.freeze();
    succeeds(&stage, &job, &engine, &images[1]).await;
    assert_eq!(engine.inspect("{{index .Spec.Labels \"longshore.bad\"}}"), "");
}
