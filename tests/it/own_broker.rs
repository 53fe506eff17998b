//! A broker of a test's own goes through what the fault tests do to it.

use std::time::Duration;

use futures::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};
use tests::own_broker::OwnBroker;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(30);
const WHILE: Duration = Duration::from_millis(700);

#[tokio::test]
async fn what_was_confirmed_outlives_a_kill_and_a_stop() {
    let mut broker = OwnBroker::start().await.unwrap();
    let uri = broker.uri();
    declare(&broker).await;
    broker.keep_declarations().await.unwrap();
    broker.broker().publish("", "kept", b"one").await.unwrap();
    broker.kill().await.unwrap();
    assert!(broker.broker().connect().await.is_err());
    broker.start_again().await.unwrap();
    broker.broker().publish("", "kept", b"two").await.unwrap();
    broker.stop().await.unwrap();
    assert!(broker.broker().connect().await.is_err());
    broker.start_again().await.unwrap();

    assert_eq!(broker.uri(), uri);
    let channel = open(&broker).await;
    for word in ["one", "two"] {
        let options = BasicGetOptions { no_ack: true };
        let got = channel.basic_get("kept".into(), options).await.unwrap().expect("a message");
        assert_eq!(got.delivery.data, word.as_bytes());
    }
}

#[tokio::test]
async fn a_frozen_one_answers_once_it_is_thawed() {
    let broker = OwnBroker::start().await.unwrap();
    broker.freeze().await.unwrap();
    let plain = broker.broker();
    let mut connecting = std::pin::pin!(plain.connect());
    assert!(timeout(WHILE, &mut connecting).await.is_err());
    broker.thaw().await.unwrap();
    timeout(SOON, connecting).await.unwrap().unwrap();
}

#[tokio::test]
async fn under_a_memory_alarm_nothing_is_confirmed() {
    let broker = OwnBroker::start().await.unwrap();
    declare(&broker).await;
    broker.set_memory_alarm(true).await.unwrap();
    let plain = broker.broker();
    let mut publishing = std::pin::pin!(plain.publish("", "kept", b"one"));
    assert!(timeout(WHILE, &mut publishing).await.is_err());
    broker.set_memory_alarm(false).await.unwrap();
    timeout(SOON, publishing).await.unwrap().unwrap();
}

#[tokio::test]
async fn all_connections_can_be_closed_at_once() {
    let broker = OwnBroker::start().await.unwrap();
    declare(&broker).await;
    let (one, two) = (open(&broker).await, open(&broker).await);
    broker.close_all_connections().await.unwrap();
    for channel in [one, two] {
        let consumed = channel
            .basic_publish("".into(), "kept".into(), BasicPublishOptions::default(), b"x", none())
            .await;
        assert!(consumed.is_err(), "{consumed:?}");
    }
    open(&broker).await;
}

#[tokio::test]
async fn an_unsettled_delivery_costs_its_channel_after_the_timeout() {
    let mut broker = OwnBroker::start().await.unwrap();
    declare(&broker).await;
    broker.set_consumer_timeout(Duration::from_secs(1)).await.unwrap();
    broker.broker().publish("", "kept", b"one").await.unwrap();
    for again in [false, true] {
        if again {
            broker.kill().await.unwrap();
            broker.start_again().await.unwrap();
        }
        let channel = open(&broker).await;
        let options = BasicConsumeOptions::default();
        let mut consumer =
            channel.basic_consume("kept".into(), "".into(), options, FieldTable::default()).await.unwrap();
        timeout(SOON, consumer.next()).await.unwrap().unwrap().unwrap();
        let end = timeout(SOON, consumer.next()).await.unwrap().unwrap().unwrap_err().to_string();
        assert!(end.contains("PRECONDITION_FAILED"), "{end}");
    }
}

#[tokio::test]
async fn two_of_them_do_not_meet() {
    let (one, two) = tokio::try_join!(OwnBroker::start(), OwnBroker::start()).unwrap();
    declare(&one).await;
    let refused = two.broker().publish("", "kept", b"x").await.unwrap_err();
    assert!(refused.to_string().contains("was not taken"), "{refused}");
    assert!(one.control(&["list_queues", "name"]).await.unwrap().contains("kept"));
}

async fn open(broker: &OwnBroker) -> Channel {
    let channel = broker.broker().connect().await.unwrap().create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    channel
}

async fn declare(broker: &OwnBroker) {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    open(broker).await.queue_declare("kept".into(), options, FieldTable::default()).await.unwrap();
}

fn none() -> BasicProperties {
    BasicProperties::default()
}
