//! What goes on which connection: a stalled one stops its own traffic, and nothing else.

use std::{sync::Arc, time::Duration};

use proto::{Job, PoolName, State, TargetName};
use queue::{Deliveries, Delivery, Queue, Settlement, amqp::Amqp};

use crate::{
    proxy::Proxy,
    support::{WHILE, event, job, next, open, settings_at, soon},
};

/// How long a call may take that a stalled connection has nothing to do with. Heartbeats would end the session after
/// twice ten seconds.
const UNHINDERED: Duration = Duration::from_secs(5);

struct Line {
    proxy: Proxy,
    queue: Arc<Amqp>,
    taking: Box<dyn Deliveries>,
}

impl Line {
    async fn open() -> Line {
        let proxy = Proxy::open().await;
        let queue = open(&settings_at(vec![proxy.address.to_string()])).await;
        let taking = queue.take(&PoolName::default(), 8).await.unwrap();
        Line { proxy, queue, taking }
    }

    /// Publishes a job and takes it.
    async fn held(&mut self) -> Delivery {
        let job = job("web");
        soon(self.queue.publish(&job)).await.unwrap();
        let held = next(&mut self.taking).await;
        assert_eq!(Job::decode(held.body()).unwrap(), job);
        held
    }
}

fn target(name: &str) -> TargetName {
    name.parse().unwrap()
}

async fn unhindered<T>(what: &str, call: impl Future<Output = T>) -> T {
    tokio::time::timeout(UNHINDERED, call).await.unwrap_or_else(|_| panic!("{what} waits for the other one"))
}

async fn hindered<T>(what: &str, call: impl Future<Output = T>) {
    let done = tokio::time::timeout(WHILE, call).await;
    assert!(done.is_err(), "{what} does not go over the stalled connection");
}

/// A broker low on memory reads nothing from connections that publish: no job in hand may suffer.
#[tokio::test(flavor = "multi_thread")]
async fn settling_and_locking_do_not_wait_for_publishing() {
    let mut line = Line::open().await;
    let held = [line.held().await, line.held().await];
    line.proxy.stall(Some("publishing"));
    let job = job("later");
    hindered("publishing", line.queue.publish(&job)).await;
    let lock = unhindered("a lock", line.queue.lock(&target("web"))).await.unwrap().unwrap();
    assert!(lock.is_held());
    let [first, second] = held;
    unhindered("settling", first.settle(Settlement::Ack)).await.unwrap();
    unhindered("giving back", second.settle(Settlement::Release)).await.unwrap();
    let again = unhindered("taking", line.taking.next()).await.unwrap();
    unhindered("settling", again.settle(Settlement::Ack)).await.unwrap();
    line.proxy.stall(None);
    soon(line.queue.publish(&job)).await.unwrap();
}

/// Deliveries and locks end together.
#[tokio::test(flavor = "multi_thread")]
async fn locks_are_on_the_connection_of_the_deliveries() {
    let mut line = Line::open().await;
    let held = line.held().await;
    line.proxy.stall(Some("consuming"));
    hindered("a lock", line.queue.lock(&target("web"))).await;
    unhindered("publishing", line.queue.publish(&job("other"))).await.unwrap();
    unhindered("an event", line.queue.emit(&event("web", State::Started))).await.unwrap();
    let settling = tokio::spawn(held.settle(Settlement::Ack));
    line.proxy.stall(None);
    soon(settling).await.unwrap().unwrap();
    let lock = soon(line.queue.lock(&target("other"))).await.unwrap();
    assert!(lock.is_some_and(|lock| lock.is_held()));
}

/// An error in reading a stream closes its connection.
#[tokio::test(flavor = "multi_thread")]
async fn reading_the_history_hinders_no_job() {
    let mut line = Line::open().await;
    let mut history = soon(line.queue.history(queue::Since::Start)).await.unwrap();
    line.proxy.stall(Some("reading"));
    let held = unhindered("publishing and taking", line.held()).await;
    unhindered("an event", line.queue.emit(&event("web", State::Started))).await.unwrap();
    hindered("reading", history.next()).await;
    unhindered("settling", held.settle(Settlement::Ack)).await.unwrap();
    line.proxy.stall(None);
    soon(history.next()).await.unwrap();
}
