//! What the engine on RabbitMQ was promised is there after the broker was killed: what waits, what waits on the ladder,
//! what is dead, and what was said.

use std::time::Duration;

use proto::{
    Cause, CauseKind, ChainId, Event, Gates, Job, JobId, Operation, PoolName, Reason, State, Timestamp,
    reason,
};
use queue::{AmqpSettings, Deliveries, Delivery, Entry, Queue, Settlement, Since, amqp::Amqp};
use tests::own_broker::OwnBroker;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(60);

#[tokio::test]
async fn whatever_was_promised_outlives_a_kill_of_the_broker() {
    let mut broker = OwnBroker::start().await.unwrap();
    let queue = open(&broker).await;
    let mut takings = queue.take(&PoolName::default(), 1).await.unwrap();
    let [retried, dead, waiting] = ["retried", "dead", "waiting"].map(job);
    for job in [&retried, &dead, &waiting] {
        queue.publish(job).await.unwrap();
        queue.emit(&Event::of(job, State::Accepted, 0, 0)).await.unwrap();
    }
    let delivery = next(&mut *takings).await;
    assert_eq!(Job::decode(delivery.body()).unwrap().id, retried.id);
    delivery.settle(Settlement::Retry { after: Duration::from_secs(1) }).await.unwrap();
    let why = Reason::new(reason::GIVEN_UP, "no more");
    next(&mut *takings).await.settle(Settlement::Dead { reason: why.clone() }).await.unwrap();
    broker.keep_declarations().await.unwrap();
    broker.kill().await.unwrap();
    drop(takings);
    queue.close().await;
    broker.start_again().await.unwrap();

    let queue = open(&broker).await;
    let mut takings = queue.take(&PoolName::default(), 2).await.unwrap();
    let mut taken = Vec::new();
    for _ in 0..2 {
        let delivery = next(&mut *takings).await;
        taken.push((Job::decode(delivery.body()).unwrap().id, delivery.attempt()));
        delivery.settle(Settlement::Ack).await.unwrap();
    }
    // The pause may have been over before the broker was there again.
    taken.sort_unstable();
    let mut expected = [(waiting.id, 1), (retried.id, 2)];
    expected.sort_unstable();
    assert_eq!(taken, expected);
    let letters = queue.dead_letters().await.unwrap();
    let letters: Vec<_> = letters.iter().map(|letter| (letter.job().unwrap().id, &letter.reason)).collect();
    assert_eq!(letters, [(dead.id, &why)]);
    assert_eq!(said(&queue).await, [retried.id, dead.id, waiting.id]);
    queue.close().await;
}

/// The jobs of which something was said, up to a marker.
async fn said(queue: &Amqp) -> Vec<JobId> {
    let marker = uuid::Uuid::now_v7();
    queue.mark(marker).await.unwrap();
    let mut history = queue.history(Since::Start).await.unwrap();
    let mut said = Vec::new();
    loop {
        match timeout(SOON, history.next()).await.unwrap().unwrap().entry {
            Entry::Event(event) => said.push(event.job_id()),
            Entry::Marker(found) if found == marker => return said,
            Entry::Marker(_) | Entry::Catalogue(_) | Entry::Unreadable(_) => {}
        }
    }
}

async fn open(broker: &OwnBroker) -> Amqp {
    let password = config::Secret::new("guest");
    let settings = AmqpSettings {
        prefix: "kept".to_owned(),
        ..AmqpSettings::new(vec![broker.host()], "guest".to_owned(), password)
    };
    Amqp::open(&settings).await.unwrap()
}

async fn next(takings: &mut dyn Deliveries) -> Delivery {
    timeout(SOON, takings.next()).await.unwrap().unwrap()
}

fn job(name: &str) -> Job {
    let id = JobId::mint(Timestamp::now(), None);
    let operation = Operation::SetImage { image: "acme/web:1".parse().unwrap(), service: None };
    Job {
        version: Job::VERSION,
        id,
        chain: ChainId::of(id),
        target: name.parse().unwrap(),
        slots: operation.slots(),
        operation,
        cause: Cause { kind: CauseKind::Api, source: None, by: None, delivery: None },
        accepted_at: Timestamp::now(),
        not_before: None,
        deadline: Timestamp::now() + SOON,
        gates: Gates::default(),
        replays: None,
        traceparent: None,
    }
}
