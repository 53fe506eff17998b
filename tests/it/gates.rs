//! What holds a deploy back, typed as people type it.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use proto::{JobId, State, Timestamp};
use serde_json::Value;
use tests::fleet::{Engine, Fleet};
use tests::http;
use tests::ledger::Ledger;
use tests::process::longshore;
use tests::shown;
use tests::wait::eventually;

const LONG: Duration = Duration::from_secs(120);

/// A fleet with one rehearsed target, and a shell that reaches it.
struct Stage {
    fleet: Fleet,
    ledger: Ledger,
}

impl Stage {
    async fn new(engine: Engine, target: &str, windows: &str) -> Stage {
        let mut fleet = Fleet::prepare(engine).await.unwrap();
        let sections = format!(
            "systems:\n  lab: {{kind: rehearsal}}\ntargets:\n  web: {{at: lab, takes: 20ms, {target}}}\nwindows: {{{windows}}}\n"
        );
        fleet.configure(&sections).unwrap();
        fleet.start().await.unwrap();
        Stage { fleet, ledger: Ledger::default() }
    }

    /// Runs `longshore` to its end, which must be that code; what it printed.
    async fn ends(&self, words: &str, code: i32) -> String {
        let program = longshore("longshore").unwrap();
        let mut command = Command::new(program.as_std().get_program());
        let token = std::fs::read_to_string(self.fleet.folder().join("token")).unwrap();
        command.args(words.split(' ')).env("LONGSHORE_URL", self.fleet.url("")).env("LONGSHORE_TOKEN", token);
        let ran = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let printed =
            format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert_eq!(ran.status.code(), Some(code), "longshore {words}\n{printed}");
        printed
    }

    /// The ids of the jobs in a state, newest first.
    async fn jobs(&self, state: &str) -> Vec<JobId> {
        let listed = self.ends(&format!("jobs --state {state} --json"), 0).await;
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let jobs = listed["jobs"].as_array().unwrap().iter();
        jobs.map(|job| serde_json::from_value(job["id"].clone()).unwrap()).collect()
    }

    async fn comes_to(&self, job: JobId, state: State) -> Value {
        let what = format!("{job} to be {state}");
        let shown = eventually(LONG, &what, || async {
            let (_, shown) = http::answer(self.fleet.get(&format!("/v1/jobs/{job}"))).await?;
            ensure!(shown["state"] == state.as_str(), "{shown}");
            Ok(shown)
        });
        shown.await.unwrap()
    }

    /// Every job has one end.
    async fn account(mut self, jobs: &[JobId]) {
        jobs.iter().for_each(|job| self.ledger.accept("web".parse().unwrap(), *job));
        shown::account(&self.fleet, &self.ledger, LONG).await.unwrap().1.assert_clean();
    }
}

#[tokio::test]
async fn a_deploy_is_approved_in_the_shell_on_the_embedded_queue() {
    is_approved(Engine::Embedded).await;
}

#[tokio::test]
async fn a_deploy_is_approved_in_the_shell_on_the_broker() {
    is_approved(Engine::Broker).await;
}

async fn is_approved(engine: Engine) {
    let stage = Stage::new(engine, "approve: true", "").await;
    assert!(stage.ends("targets", 0).await.contains("an approval"));
    let told = stage.ends("deploy web --image acme/web:1 --wait", 6).await;
    let held = stage.jobs("held").await[0];
    assert!(told.contains(&format!("longshore job approve {held}")), "{told}");
    assert!(stage.ends("jobs --state held", 0).await.contains("it waits to be approved, until "));
    stage.ends(&format!("job approve {held} --wait"), 0).await;
    let made = stage.jobs("succeeded").await[0];
    let story = stage.ends(&format!("job show {made}"), 0).await;
    assert!(story.contains(&format!("approves  {held}, approved by admin")), "{story}");
    let again = stage.ends(&format!("job approve {held} --json"), 0).await;
    assert!(again.contains(&made.to_string()), "{again}");
    let ended = stage.comes_to(held, State::Superseded).await;
    let end = ended["events"].as_array().and_then(|events| events.last()).unwrap();
    assert_eq!(end["data"]["by"], made.to_string());
    let refused = stage.ends(&format!("job approve {made}"), 5).await;
    assert!(refused.contains("has ended `succeeded`"), "{refused}");
    stage.account(&[held, made]).await;
}

#[tokio::test]
async fn a_deploy_waits_for_its_window_on_the_embedded_queue() {
    waits_for_its_window(Engine::Embedded).await;
}

#[tokio::test]
async fn a_deploy_waits_for_its_window_on_the_broker() {
    waits_for_its_window(Engine::Broker).await;
}

async fn waits_for_its_window(engine: Engine) {
    // Far enough ahead for a fleet to start on a busy machine.
    let opens = Timestamp::now() + Duration::from_secs(40);
    let clock = |time: Timestamp| time.strftime("%H:%M:%S").to_string();
    let (from, to) = (clock(opens), clock(opens + Duration::from_secs(3600)));
    let window = format!("soon: {{from: \"{from}\", to: \"{to}\", zone: UTC}}");
    let stage = Stage::new(engine, "window: soon", &window).await;
    let told = stage.ends("deploy web --image acme/web:1 --wait", 6).await;
    assert!(told.contains("the window `soon` is closed until "), "{told}");
    let held = stage.jobs("held").await[0];
    assert!(stage.ends(&format!("job approve {held}"), 5).await.contains("needs no approval"));
    let shown = stage.comes_to(held, State::Succeeded).await;
    let started =
        shown["events"].as_array().unwrap().iter().find(|event| event["data"]["state"] == "started");
    let started: Timestamp = started.unwrap()["time"].as_str().context("a time").unwrap().parse().unwrap();
    assert!(started.as_second() >= opens.as_second(), "{started} {opens}");
    stage.ends("deploy web --image acme/web:2 --wait", 0).await;
    let jobs = stage.jobs("succeeded").await;
    stage.account(&jobs).await;
}

#[tokio::test]
async fn who_cannot_wait_passes_over_a_window_that_is_closed() {
    let hour =
        |hours: u64| (Timestamp::now() + Duration::from_secs(hours * 3600)).strftime("%H:%M").to_string();
    let window = format!("later: {{from: \"{}\", to: \"{}\", zone: UTC}}", hour(10), hour(12));
    let stage = Stage::new(Engine::Embedded, "window: later", &window).await;
    stage.ends("deploy web --image acme/web:1 --wait", 6).await;
    let held = stage.jobs("held").await[0];
    stage.ends("deploy web --image acme/web:2 --now --wait", 0).await;
    stage.ends("stack restart web --wait", 0).await;
    assert_eq!(stage.jobs("held").await, [held]);
}
