//! Nobody is there to carry out what is asked for, and whoever asks is told.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::fleet::{Engine, Fleet};
use tests::http;
use tests::process::{Process, longshore};
use tests::wait::eventually;

const LONG: Duration = Duration::from_secs(120);

fn start(fleet: &Fleet, name: &str) -> Process {
    let mut command = longshore(name).unwrap();
    command.arg("--config").arg(fleet.folder().join("longshore.yaml")).current_dir(fleet.folder());
    Process::start(command).unwrap()
}

fn deploy(fleet: &Fleet, words: &str) -> Process {
    let mut command = longshore("longshore").unwrap();
    let token = std::fs::read_to_string(fleet.folder().join("token")).unwrap();
    command.args(["deploy", "web", "--image", "acme/web:2", "--wait"]).args(words.split_whitespace());
    command.env("LONGSHORE_URL", fleet.url("")).env("LONGSHORE_TOKEN", token);
    Process::start(command).unwrap()
}

/// Waits until the ingress is ready and tells so many workers.
async fn workers(fleet: &Fleet, count: u32) {
    let line = format!("longshore_pool_workers{{pool=\"default\"}} {count}");
    let told = eventually(LONG, &line, || async {
        let (status, _) = http::answer(fleet.get("/readyz")).await?;
        let text = fleet.get("/metrics").send().await?.text().await?;
        ensure!(status.is_success() && text.lines().any(|told| told == line), "{status}\n{text}");
        Ok(())
    });
    told.await.unwrap();
}

#[tokio::test]
async fn a_deploy_while_no_worker_runs_says_so_and_is_carried_out_by_the_next() -> Result<()> {
    let fleet = Fleet::prepare(Engine::Broker).await?;
    fleet.configure("systems:\n  lab: {kind: rehearsal}\ntargets:\n  web: {at: lab, takes: 0s}\n")?;
    let ingress = start(&fleet, "longshore-ingress");
    let mut worker = start(&fleet, "longshore-worker");
    workers(&fleet, 1).await;
    worker.kill().await?;
    workers(&fleet, 0).await;

    let mut given_up = deploy(&fleet, "--timeout 1s");
    given_up.wait_for_line("the job waits for one; follow it", LONG).await?;
    assert_eq!(given_up.wait(LONG).await?.code(), Some(124));
    assert!(!given_up.lines().iter().any(|line| line.contains("goes on")), "{:?}", given_up.lines());

    let mut waited_for = deploy(&fleet, "");
    waited_for.wait_for_line("no worker of the pool `default` is running", LONG).await?;
    ingress.wait_for_line("no worker of the pool is running", LONG).await?;
    let _worker = start(&fleet, "longshore-worker");
    assert_eq!(waited_for.wait(LONG).await?.code(), Some(0), "{:?}", waited_for.lines());
    ingress.wait_for_line("a worker of the pool is running again", LONG).await?;
    Ok(())
}
