//! Workers and ingresses that die, and a worker that sleeps while its jobs move on.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::ensure;
use proto::{Event, JobId, State, Timestamp};
use tests::broker::Broker;
use tests::history;
use tests::wait::eventually;
use tokio::time::sleep;

use crate::run::{Run, jobs, rounds, sections, turn};

/// Longer than a worker's connection outlives it: the broker waits for three heartbeats of ten seconds.
const MOVED_WITHIN: Duration = Duration::from_secs(90);

/// How long the history may take to be read.
const READ_WITHIN: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_worker_that_is_killed_and_restarted() {
    let mut run = Run::start("killed worker", 1).await.unwrap();
    run.may_give_jobs_up();
    run.strike(rounds(), async |crew| crew.workers[0].kill_and_restart().await).await.unwrap();
    run.end().await.unwrap();
}

#[tokio::test]
async fn an_ingress_that_is_killed_and_restarted() {
    let mut run = Run::start("killed ingress", 1).await.unwrap();
    run.may_refuse();
    run.strike(rounds(), async |crew| crew.ingress.kill_and_restart().await).await.unwrap();
    run.end().await.unwrap();
}

#[tokio::test]
async fn one_worker_that_is_killed_every_second() {
    one_of_so_many_is_killed_every_second("1 worker, killed every second", 1).await;
}

#[tokio::test]
async fn one_of_two_workers_that_is_killed_every_second() {
    one_of_so_many_is_killed_every_second("2 workers, one killed every second", 2).await;
}

#[tokio::test]
async fn one_of_four_workers_that_is_killed_every_second() {
    one_of_so_many_is_killed_every_second("4 workers, one killed every second", 4).await;
}

async fn one_of_so_many_is_killed_every_second(name: &'static str, workers: usize) {
    let mut run = Run::start(name, workers).await.unwrap();
    run.may_give_jobs_up();
    run.set_pace(150);
    run.all_along(jobs(), async |crew, goes_on| {
        while goes_on() {
            sleep(Duration::from_secs(1)).await;
            crew.workers[0].kill_and_restart().await?;
        }
        Ok(())
    })
    .await
    .unwrap();
    run.end().await.unwrap();
}

#[tokio::test]
async fn a_worker_that_sleeps_while_its_jobs_move_to_another() {
    let turn = turn().await;
    let broker = Broker::own_virtual_host().await.unwrap();
    // Slow enough that whoever is frozen has begun something.
    let slow = sections().replace("takes: 20ms", "takes: 200ms");
    let mut run = Run::prepare_with(turn, "sleeping worker", broker, 2, &slow).await.unwrap();
    run.crew.start().await.unwrap();
    run.under_load(jobs() / 2, async |crew| {
        crew.workers[0].freeze().await?;
        let (frozen, broker) = (Timestamp::now(), crew.broker()?);
        eventually(MOVED_WITHIN, "what it had begun to be begun or ended by the other", || async {
            sleep(Duration::from_secs(1)).await;
            let history = history::read(broker, READ_WITHIN).await?;
            ensure!(has_moved_on(&history, frozen), "nothing was");
            Ok(())
        })
        .await
    })
    .await
    .unwrap();
    run.under_load(jobs() / 2, async |crew| crew.workers[0].thaw().await).await.unwrap();
    run.end().await.unwrap();
}

/// Whether a job was begun or ended after a moment of which its former worker, who had begun it before, had said nothing more:
/// RabbitMQ 4 gives back behind what waits, and a newer job of the target may have been carried out by then.
fn has_moved_on(history: &[Event], moment: Timestamp) -> bool {
    let mut in_hand: HashMap<JobId, bool> = HashMap::new();
    for event in history {
        let (is_begun, is_late) = (event.state() == State::Started, event.time > moment);
        let was_in_hand = in_hand.insert(event.job_id(), is_begun && !is_late);
        if (is_begun || event.state().is_end()) && is_late && was_in_hand == Some(true) {
            return true;
        }
    }
    false
}
