//! A job that crashes its worker each time it is carried out is found, and takes nobody with it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use proto::{Event, Job, JobId, State};
use queue::Queue;
use queue::embedded::Embedded;
use tests::broker::Broker;
use tests::fleet::Engine;

use super::stage::{Kept, LONG, Stage, lines, webs};

const NEIGHBOURS: usize = 60;

/// A neighbour takes so long from its write on that both crashes in company find it at work.
fn targets() -> String {
    lines(0..NEIGHBOURS, "takes: 12s") + "  bad: {at: lab, ends: crash, dawdles: 2s}\n"
}

#[tokio::test]
async fn poison_is_found_on_the_broker() {
    let mut stage = Stage::prepare(Engine::Broker, "at_once: 64", &targets()).await.unwrap();
    let _ingress = stage.ingress().unwrap();
    let worker = Kept::start(stage.command("longshore-worker", &[]));
    let poison = crash_in_company(&mut stage, &worker).await.unwrap();
    let history = is_found(&stage, &worker, poison).await.unwrap();
    let (body, reason) = letter_on(stage.fleet.broker.as_ref().unwrap(), poison).await.unwrap();
    assert_eq!(reason, "poison");
    assert_eq!(body, job_of(&history, poison).unwrap().encode(), "the letter holds the body as it came");
}

#[tokio::test]
async fn poison_is_found_on_the_embedded_queue() {
    let mut stage = Stage::prepare(Engine::Embedded, "at_once: 64", &targets()).await.unwrap();
    let up = Kept::start(stage.command("longshore", &["up"]));
    let poison = crash_in_company(&mut stage, &up).await.unwrap();
    let history = is_found(&stage, &up, poison).await.unwrap();
    drop(up);
    let (body, reason) = letter_in(&stage.fleet.folder().join("data/queue"), poison).await.unwrap();
    assert_eq!(reason, "poison");
    assert_eq!(body, job_of(&history, poison).unwrap().encode(), "the letter holds the body as it came");
}

/// Sends the bad job amid its neighbours.
async fn crash_in_company(stage: &mut Stage, worker: &Kept) -> Result<JobId> {
    stage.is_ready().await?;
    let mut names = webs(0..NEIGHBOURS);
    names.insert(NEIGHBOURS / 2, "bad".to_owned());
    let jobs = stage.deploy(names).await?;
    ensure!(worker.deaths() == 0, "it died before it was sent anything:\n{}", worker.last_words());
    Ok(jobs[NEIGHBOURS / 2])
}

/// Waits until it is dead, and checks how it came to that and that nobody else did.
async fn is_found(stage: &Stage, worker: &Kept, poison: JobId) -> Result<Vec<Event>> {
    stage.until(&[poison], State::Dead).await.with_context(|| worker.last_words())?;
    let (history, account) = stage.history().await?;
    account.assert_clean();
    let ends = account.ends.iter().map(|(state, count)| (*state, *count)).collect::<Vec<_>>();
    ensure!(ends == [(State::Succeeded, NEIGHBOURS), (State::Dead, 1)], "{ends:?}");

    let of_poison = |event: &&Event| event.job_id() == poison;
    let alone: Vec<bool> = history
        .iter()
        .filter(|event| of_poison(event) && event.state() == State::Started)
        .map(|event| event.data.alone)
        .collect();
    ensure!(alone == [false, false, true, true], "twice in company, twice alone: {alone:?}");
    let dead = history.iter().find(|event| of_poison(event) && event.state() == State::Dead);
    let reason = dead.and_then(|event| event.data.reason.clone()).context("find why it is dead")?;
    ensure!(reason.code == "poison", "{reason:?}");
    ensure!(worker.deaths() == 4, "{} crashes:\n{}", worker.deaths(), worker.last_words());

    let in_flight = [1, 2].map(|crash| in_flight_at(&history, poison, crash));
    println!("neighbours at work at the first crash and the second: {in_flight:?}");
    ensure!(in_flight[0] == NEIGHBOURS, "{in_flight:?} were at work beside it");
    ensure!(in_flight[1] > 0, "none was at work at the second crash, and none was ever suspected");
    Ok(history)
}

/// How many neighbours had begun and not ended when the job began for the last time before that crash and its worker
/// came back.
fn in_flight_at(history: &[Event], poison: JobId, crash: usize) -> usize {
    let starts: Vec<usize> = history
        .iter()
        .enumerate()
        .filter(|(_, event)| event.job_id() == poison && event.state() == State::Started)
        .map(|(place, _)| place)
        .collect();
    // Its next start is after the crash, and so is everything that a worker says once it is back.
    let died_at = history[starts[crash - 1]].time + Duration::from_secs(2);
    let before = || history.iter().filter(|event| event.time <= died_at && event.job_id() != poison);
    let begun: std::collections::HashSet<JobId> =
        before().filter(|event| event.state() == State::Started).map(Event::job_id).collect();
    let ended = before().filter(|event| event.state().is_end()).count();
    begun.len() - ended
}

fn job_of(history: &[Event], id: JobId) -> Result<Job> {
    let accepted = history.iter().find(|event| event.job_id() == id && event.state() == State::Accepted);
    accepted.and_then(Event::job).cloned().context("find the job's `accepted`")
}

/// The letter of a job in a broker's stream, as anybody reads it: body and reason.
async fn letter_on(broker: &Broker, job: JobId) -> Result<(Vec<u8>, String)> {
    let connection = broker.connect().await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(100, BasicQosOptions::default()).await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-stream-offset".into(), AMQPValue::LongString("first".into()));
    let consuming =
        channel.basic_consume("longshore.dead".into(), "".into(), BasicConsumeOptions::default(), arguments);
    let mut letters = consuming.await.context("read the dead letters")?;
    let reading = async {
        while let Some(letter) = letters.next().await {
            let letter = letter?;
            if !Job::decode(&letter.data).is_ok_and(|found| found.id == job) {
                continue;
            }
            let headers = letter.properties.headers().clone().unwrap_or_default();
            let reason = headers.inner().get("longshore-reason").and_then(|value| value.as_long_string());
            let reason = reason.map(ToString::to_string).context("find the letter's reason")?;
            return Ok((letter.data.clone(), reason));
        }
        anyhow::bail!("the letters came to an end")
    };
    tokio::time::timeout(LONG, reading).await.context("wait for the letter")?
}

/// The same in a directory that no process holds any more.
async fn letter_in(directory: &Path, job: JobId) -> Result<(Vec<u8>, String)> {
    let opened = tests::wait::eventually(LONG, "the directory to be free", || async {
        Embedded::open(directory).context("open the directory")
    });
    let queue = opened.await?;
    let letters = queue.dead_letters().await?;
    queue.close().await;
    ensure!(letters.len() == 1, "{letters:?}");
    ensure!(letters[0].job().is_some_and(|found| found.id == job), "{letters:?}");
    Ok((letters[0].body.to_vec(), letters[0].reason.code.to_string()))
}
