//! A worker that is asked to stop takes nothing new, finishes what it can, gives back the rest, and loses nothing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use proto::{Event, JobId, State};
use tests::fleet::Engine;

use super::stage::{LONG, SOON, Stage, lines, no_mark_stays, nobody_is_suspected, webs};

const JOBS: usize = 10;

/// Restarts tell a second write.
async fn under_way(stage: &mut Stage) -> Result<Vec<JobId>> {
    stage.is_ready().await?;
    let jobs = stage.restart(webs(0..JOBS)).await?;
    stage.until(&jobs, State::Started).await?;
    Ok(jobs)
}

/// All succeeded in their first attempt and with one write each, and no start is left without a word.
async fn all_went_well(stage: &Stage) -> Result<Vec<Event>> {
    let (_, account) = stage.history().await?;
    account.assert_clean();
    ensure!(account.ends.keys().eq([&State::Succeeded]), "{account}");
    let history = no_mark_stays(stage).await?;
    nobody_is_suspected(&history)?;
    let counted = history.iter().find(|event| event.data.counted == Some(true) || event.data.attempt > 1);
    ensure!(counted.is_none(), "a stop counts as an attempt: {counted:#?}");
    for target in webs(0..JOBS) {
        let restarts = stage.restarts(&target)?;
        ensure!(restarts == 1, "{target} was written {restarts} times");
    }
    Ok(history)
}

/// How long each job was in nobody's hands after it was given back.
fn pauses(history: &[Event]) -> Vec<Duration> {
    let released = history.iter().filter(|event| event.state() == State::Retrying);
    let next = |released: &Event| {
        let later = history.iter().skip_while(|event| event.id != released.id);
        let mut starts =
            later.filter(|event| event.job_id() == released.job_id() && event.state() == State::Started);
        let pause = starts.next()?.time.duration_since(released.time);
        Some(Duration::try_from(pause).unwrap_or_default())
    };
    released.filter_map(next).collect()
}

#[tokio::test]
async fn what_outlasts_the_grace_goes_on_at_another_worker_of_the_broker() {
    let targets = lines(0..2 * JOBS, "takes: 8s");
    let mut stage = Stage::prepare(Engine::Broker, "at_once: 64, grace: 1s", &targets).await.unwrap();
    let _ingress = stage.ingress().unwrap();
    let mut first = stage.worker().unwrap();
    let jobs = under_way(&mut stage).await.unwrap();
    let second = stage.worker().unwrap();
    second.wait_for_line("the worker starts", SOON).await.unwrap();

    first.signal("TERM").await.unwrap();
    first.wait_for_line("received SIGTERM", SOON).await.unwrap();
    // Whatever comes now is the other's.
    let late = stage.deploy(webs(JOBS..2 * JOBS)).await.unwrap();
    let status = first.wait(LONG).await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", first.lines().join("\n"));

    let history = all_went_well(&stage).await.unwrap();
    let count = |job: JobId, state| {
        history.iter().filter(|event| event.job_id() == job && event.state() == state).count()
    };
    for job in &jobs {
        assert_eq!((count(*job, State::Started), count(*job, State::Retrying)), (2, 1), "{job}");
    }
    for job in &late {
        assert_eq!((count(*job, State::Started), count(*job, State::Retrying)), (1, 0), "{job}");
    }
    let pauses = pauses(&history);
    println!("given back {} jobs, taken up again after {pauses:?}", pauses.len());
    assert_eq!(pauses.len(), JOBS);
    // The shortest pause that the broker's waiting places know is 5 s: none went through one.
    assert!(pauses.iter().all(|pause| *pause < Duration::from_secs(4)), "{pauses:?}");
}

#[tokio::test]
async fn what_ends_within_the_grace_is_finished_on_the_broker() {
    let targets = lines(0..JOBS, "takes: 4s");
    let mut stage = Stage::prepare(Engine::Broker, "at_once: 64, grace: 60s", &targets).await.unwrap();
    let _ingress = stage.ingress().unwrap();
    let mut worker = stage.worker().unwrap();
    let jobs = under_way(&mut stage).await.unwrap();
    assert_eq!(worker.stop(LONG).await.unwrap().code(), Some(0));
    let history = all_went_well(&stage).await.unwrap();
    let started = history.iter().filter(|event| event.state() == State::Started).count();
    assert_eq!(started, jobs.len(), "each began once and ended where it began");
}

#[tokio::test]
async fn a_second_signal_ends_a_worker_of_the_broker_at_once() {
    let targets = lines(0..JOBS, "takes: 20s");
    let mut stage = Stage::prepare(Engine::Broker, "at_once: 64, grace: 1h", &targets).await.unwrap();
    let _ingress = stage.ingress().unwrap();
    for (first, second) in [("TERM", "TERM"), ("INT", "TERM"), ("TERM", "INT")] {
        let mut worker = stage.worker().unwrap();
        if stage.ledger.ids().count() == 0 {
            under_way(&mut stage).await.unwrap();
        } else {
            let jobs: Vec<JobId> = stage.ledger.ids().collect();
            stage.until(&jobs, State::Started).await.unwrap();
        }
        ends_at_once(&mut worker, first, second).await.unwrap();
    }
    let _worker = stage.worker().unwrap();
    all_went_well(&stage).await.unwrap();
}

#[tokio::test]
async fn a_second_signal_ends_up_at_once() {
    let targets = lines(0..JOBS, "takes: 6s");
    let mut stage = Stage::prepare(Engine::Embedded, "at_once: 64, grace: 1h", &targets).await.unwrap();
    let mut up = stage.up().unwrap();
    under_way(&mut stage).await.unwrap();
    ends_at_once(&mut up, "INT", "INT").await.unwrap();
    let _up = stage.up().unwrap();
    stage.is_ready().await.unwrap();
    all_went_well(&stage).await.unwrap();
}

/// Within the hour of grace, it does not end by itself.
async fn ends_at_once(process: &mut tests::process::Process, first: &str, second: &str) -> Result<()> {
    process.signal(first).await?;
    // Of the two, one says it in its log and one to people.
    let deaf = process.wait_for_line("received SIG", Duration::from_secs(5)).await;
    if deaf.is_err() {
        process.wait_for_line("stopping: ", SOON).await?;
    }
    process.signal(second).await?;
    let asked = std::time::Instant::now();
    let status = process.wait(LONG).await.context("end at once")?;
    let took = asked.elapsed();
    println!("ended {took:?} after the second signal");
    ensure!(status.code() == Some(0), "{status}:\n{}", process.lines().join("\n"));
    ensure!(took < Duration::from_secs(15), "{took:?} after the second signal");
    Ok(())
}
