//! The broker dies, or throws everybody out, and is back.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use tests::broker::Broker;
use tests::own_broker::OwnBroker;
use tests::wait::eventually;
use tokio::time::sleep;

use crate::crew::Crew;
use crate::run::{Run, is_soak, jobs, rounds, say, turn};

/// From when a broker that was away serves a plain client until a new job was carried out.
const BACK_IN_SERVICE: Duration = Duration::from_secs(5);

/// Long enough for every pause between two tries to have grown to its longest.
const OUTAGE: Duration = Duration::from_secs(8);

const SERVED: Duration = Duration::from_secs(90);
const PLAIN_QUEUE: &str = "plain-client";

#[tokio::test]
async fn a_broker_that_is_killed_and_restarted() {
    let turn = turn().await;
    let mut broker = OwnBroker::start().await.unwrap();
    let mut run = Run::prepare(turn, "killed broker", broker.broker(), 2, "").await.unwrap();
    run.crew.start().await.unwrap();
    broker.keep_declarations().await.unwrap();
    run.strike(rounds(), async |_| {
        broker.kill().await?;
        broker.start_again().await
    })
    .await
    .unwrap();
    run.end().await.unwrap();
}

#[tokio::test]
async fn all_of_them_killed_and_restarted_at_once() {
    let turn = turn().await;
    let mut broker = OwnBroker::start().await.unwrap();
    let mut run = Run::prepare(turn, "killed all", broker.broker(), 2, "").await.unwrap();
    run.may_refuse();
    run.may_give_jobs_up();
    run.crew.start().await.unwrap();
    broker.keep_declarations().await.unwrap();
    run.strike(if is_soak() { 10 } else { 2 }, async |crew| {
        crew.workers[0].kill().await?;
        broker.kill().await?;
        crew.ingress.kill_and_restart().await?;
        crew.workers[1].kill_and_restart().await?;
        broker.start_again().await?;
        crew.workers[0].start()
    })
    .await
    .unwrap();
    run.end().await.unwrap();
}

#[tokio::test]
async fn a_broker_that_throws_all_connections_out() {
    let turn = turn().await;
    let broker = OwnBroker::start().await.unwrap();
    let mut run = Run::prepare(turn, "closed connections", broker.broker(), 2, "").await.unwrap();
    run.crew.start().await.unwrap();
    run.strike(2 * rounds(), async |_| broker.close_all_connections().await).await.unwrap();
    run.end().await.unwrap();
}

#[tokio::test]
async fn a_broker_that_is_back_has_its_fleet_back_within_five_seconds() {
    let turn = turn().await;
    let mut broker = OwnBroker::start().await.unwrap();
    let mut run = Run::prepare(turn, "back in service", broker.broker(), 1, "").await.unwrap();
    run.crew.start().await.unwrap();
    declare_queue_of_a_plain_client(&broker.broker()).await.unwrap();
    broker.keep_declarations().await.unwrap();
    let mut times = Vec::new();
    for _ in 0..3 {
        let back = run
            .under_load(jobs() / 100, async |crew| {
                broker.kill().await?;
                crew.is_spooling().await?;
                sleep(OUTAGE).await;
                broker.start_again().await?;
                back_in_service(crew, &broker.broker()).await
            })
            .await
            .unwrap();
        say(&format!(
            "the broker served a plain client after {:.2?}, the fleet after {:.2?}",
            back.plain, back.fleet
        ));
        times.push(back.fleet.saturating_sub(back.plain));
    }
    times.sort();
    say(&format!("back in service: {times:.2?} after the broker was"));
    // The one in the middle: what else this machine was at in one of three moments is no word about the fleet.
    assert!(times[1] < BACK_IN_SERVICE, "{times:?}");
    run.end().await.unwrap();
}

/// When who was served again, since the broker took connections.
struct Back {
    plain: Duration,
    fleet: Duration,
}

/// A broker that takes connections may still be electing who leads its queues; a plain client meets that as well.
async fn back_in_service(crew: &mut Crew, broker: &Broker) -> Result<Back> {
    let begin = Instant::now();
    let plain = async {
        eventually(SERVED, "the broker to serve a plain client", || {
            broker.publish("", PLAIN_QUEUE, b"served?")
        })
        .await
        .map(|()| begin.elapsed())
    };
    let (plain, fleet) = tokio::join!(plain, in_service(crew, begin));
    Ok(Back { plain: plain?, fleet: fleet? })
}

/// Waits until a new job is taken by the broker, not kept, and carried out; gives the time since `begin`.
async fn in_service(crew: &mut Crew, begin: Instant) -> Result<Duration> {
    crew.is_ready().await?;
    let answer = crew.deploy("spare", "?wait=30s").await?;
    ensure!(answer["jobs"][0]["state"] == "succeeded", "{answer}");
    Ok(begin.elapsed())
}

/// As durable as those of the fleet.
async fn declare_queue_of_a_plain_client(broker: &Broker) -> Result<()> {
    let channel = broker.connect().await?.create_channel().await.context("open a channel")?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let declared = channel.queue_declare(PLAIN_QUEUE.into(), options, arguments).await;
    declared.map(drop).context("declare a queue")
}
