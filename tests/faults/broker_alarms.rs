//! The broker takes nothing, takes deliveries back, or has a subscriber that takes no more.

use std::time::Duration;

use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use tests::broker::Broker;
use tests::own_broker::OwnBroker;
use tokio::time::sleep;

use crate::run::{Run, SPARE, jobs, rounds, turn};

/// Longer than a publish waits for its confirm.
const ALARM: Duration = Duration::from_secs(12);

/// Shorter than the slow targets take.
const CONSUMER_TIMEOUT: Duration = Duration::from_secs(2);

/// What a worker says of it.
const TAKEN_BACK: &str = "the broker stopped giving jobs";

const SUBSCRIBER: &str = "subscriber";

#[tokio::test]
async fn a_broker_short_of_memory_now_and_then() {
    let turn = turn().await;
    let broker = OwnBroker::start().await.unwrap();
    let mut run = Run::prepare(turn, "memory alarm", broker.broker(), 2, "").await.unwrap();
    run.crew.start().await.unwrap();
    run.set_pace(80);
    let half = jobs() / 2;
    run.strike_with(half, 2, async |crew| {
        broker.set_memory_alarm(true).await?;
        // Only who publishes notices; on a busy machine the load is over before the alarm is raised.
        crew.deploy(SPARE, "").await?;
        crew.is_spooling().await?;
        sleep(ALARM).await;
        broker.set_memory_alarm(false).await
    })
    .await
    .unwrap();
    run.strike_with(half, rounds(), async |_| {
        broker.set_memory_alarm(true).await?;
        broker.set_memory_alarm(false).await
    })
    .await
    .unwrap();
    run.end().await.unwrap();
}

#[tokio::test]
async fn a_broker_that_takes_deliveries_back_after_two_seconds() {
    let turn = turn().await;
    let mut broker = OwnBroker::start().await.unwrap();
    broker.set_consumer_timeout(CONSUMER_TIMEOUT).await.unwrap();
    let slow = "  slow-0: {at: lab, takes: 7s}\n  slow-1: {at: lab, takes: 9s}\n";
    let mut run = Run::prepare(turn, "consumer timeout", broker.broker(), 2, slow).await.unwrap();
    run.crew.start().await.unwrap();
    run.strike(rounds(), async |crew| {
        crew.deploy("slow-0", "").await?;
        crew.deploy("slow-1", "").await.map(drop)
    })
    .await
    .unwrap();
    let workers = &run.crew.workers;
    assert!(workers.iter().any(|worker| worker.has_said(TAKEN_BACK).unwrap()), "nothing was taken back");
    run.end().await.unwrap();
}

#[tokio::test]
async fn a_subscriber_that_takes_no_more() {
    let mut run = Run::start("full subscriber", 2).await.unwrap();
    subscribe_and_never_read(run.crew.broker().unwrap()).await;
    run.under_load(jobs(), async |_| Ok(())).await.unwrap();
    let kept = run.crew.broker().unwrap().messages_in(SUBSCRIBER).await.unwrap();
    assert!((10..jobs() as u32).contains(&kept), "{kept} of all events fit");
    run.end().await.unwrap();
}

/// A queue of ten places for all that is said.
async fn subscribe_and_never_read(broker: &Broker) {
    let channel = broker.connect().await.unwrap().create_channel().await.unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(10));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(SUBSCRIBER.into(), options, arguments).await.unwrap();
    let (options, none) = (QueueBindOptions::default(), FieldTable::default());
    channel
        .queue_bind(SUBSCRIBER.into(), "longshore.events".into(), "#".into(), options, none)
        .await
        .unwrap();
}
