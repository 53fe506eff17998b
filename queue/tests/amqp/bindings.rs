//! What leads jobs to their pool's queue, taken away by hand while everybody goes on.

use std::time::Duration;

use lapin::{
    BasicProperties, Confirmation,
    options::{BasicPublishOptions, ExchangeDeleteOptions},
    types::FieldTable,
};
use proto::{Job, PoolName};
use queue::{Queue, QueueError, Settlement};

use crate::support::{Bench, job, next, soon};

/// A worker declares again what it needs every half minute, the history and the letters with it: it reads neither, so nothing
/// else would ever bind them again.
const DECLARED_WITHIN: Duration = Duration::from_secs(120);

async fn unbind(bench: &Bench) {
    let (queue, exchange) = (bench.name("jobs.default"), bench.name("jobs"));
    let unbinding = bench.raw.channel.queue_unbind(
        queue.as_str().into(),
        exchange.as_str().into(),
        "default.*".into(),
        FieldTable::default(),
    );
    soon(unbinding).await.unwrap();
}

/// What is published there is taken: it is given back for as long as nothing is bound.
async fn is_bound(bench: &Bench, exchange: &str, key: &str) {
    let is_taken = async {
        loop {
            let options = BasicPublishOptions { mandatory: true, ..Default::default() };
            let channel = &bench.raw.channel;
            let properties = BasicProperties::default().with_delivery_mode(2);
            let publishing = channel.basic_publish(exchange.into(), key.into(), options, b"x", properties);
            match publishing.await.unwrap().await.unwrap() {
                Confirmation::Ack(None) => return,
                Confirmation::Ack(Some(_)) => tokio::time::sleep(Duration::from_millis(200)).await,
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::time::timeout(DECLARED_WITHIN, is_taken).await.expect("it is bound again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_binds_the_history_and_the_letters_again_too() {
    let bench = Bench::open().await;
    let taking = bench.queue.take(&PoolName::default(), 1).await.unwrap();
    let (events, history, dead) = (bench.name("events"), bench.name("history"), bench.name("dead"));
    for (queue, exchange, key) in [(&history, &events, "started.#"), (&dead, &dead, "#")] {
        let (queue, exchange) = (queue.as_str().into(), exchange.as_str().into());
        soon(bench.raw.channel.queue_unbind(queue, exchange, key.into(), FieldTable::default()))
            .await
            .unwrap();
    }
    is_bound(&bench, &dead, "default.web").await;
    is_bound(&bench, &events, "started.default.web").await;
    drop(taking);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_whose_queue_lost_its_binding_is_bound_again_by_whoever_publishes() {
    let bench = Bench::open().await;
    let mut taking = bench.take(1).await;
    unbind(&bench).await;
    let unbound = job("web");
    soon(bench.queue.publish(&unbound)).await.unwrap();
    let taken = next(&mut taking).await;
    assert_eq!(Job::decode(taken.body()).unwrap().id, unbound.id);
    taken.settle(Settlement::Ack).await.unwrap();

    // The exchange, and with it every binding: the session ends, and the next makes the exchange alone.
    let exchange = bench.name("jobs");
    let deleting =
        bench.raw.channel.exchange_delete(exchange.as_str().into(), ExchangeDeleteOptions::default());
    soon(deleting).await.unwrap();
    let homeless = job("api");
    soon(bench.queue.publish(&homeless)).await.unwrap();
    let taken = next(&mut taking).await;
    assert_eq!(Job::decode(taken.body()).unwrap().id, homeless.id);
    taken.settle(Settlement::Ack).await.unwrap();

    let nowhere = bench.queue.publish(&job("nowhere/web")).await;
    assert!(matches!(nowhere, Err(QueueError::NoPool(_))), "{nowhere:?}");
}

/// Returns of the ladder come through the same exchange, and nobody publishes those again.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_binds_its_queue_again_also_while_all_its_places_are_taken() {
    let bench = Bench::open().await;
    let mut taking = bench.queue.take(&PoolName::default(), 1).await.unwrap();
    soon(bench.queue.publish(&job("long"))).await.unwrap();
    let held = next(&mut taking).await;
    unbind(&bench).await;
    let (exchange, body) = (bench.name("jobs"), job("web").encode());
    let is_bound = async {
        loop {
            let options = BasicPublishOptions { mandatory: true, ..Default::default() };
            let properties = BasicProperties::default().with_delivery_mode(2);
            let publishing = bench.raw.channel.basic_publish(
                exchange.as_str().into(),
                "default.web".into(),
                options,
                &body,
                properties,
            );
            match publishing.await.unwrap().await.unwrap() {
                Confirmation::Ack(None) => return,
                Confirmation::Ack(Some(_)) => tokio::time::sleep(Duration::from_millis(200)).await,
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::time::timeout(DECLARED_WITHIN, is_bound).await.expect("the worker binds its queue again");
    held.settle(Settlement::Ack).await.unwrap();
    next(&mut taking).await.settle(Settlement::Ack).await.unwrap();
}
