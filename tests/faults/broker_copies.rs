//! Jobs that the broker delivers more than once, as after a publish that nobody confirmed in time.

use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, Connection};
use proto::{Event, Job};
use tests::broker::{Broker, Subscriber};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::run::{Run, jobs, long};

const SOON: Duration = Duration::from_secs(30);

/// How much a copier may lag behind the load.
const IDLE: Duration = Duration::from_secs(3);

#[tokio::test]
async fn jobs_that_come_in_copies_during_and_after() {
    let mut run = Run::start("copies", 2).await.unwrap();
    let broker = run.crew.broker().unwrap().clone();
    let copying = copy_while_they_come(&broker).await;
    run.under_load(jobs(), async |_| Ok(())).await.unwrap();
    let copied = timeout(long(), copying).await.unwrap().unwrap();
    assert!(copied >= jobs(), "only {copied} jobs were published again");
    let history = run.settle().await.unwrap();

    // All of them again, the oldest first, when all has ended.
    let copier = Copier::start(&broker).await;
    for job in history.iter().filter(|event| event.state() == proto::State::Accepted).filter_map(Event::job) {
        copier.publish(job).await;
    }
    copier.are_all_taken(&broker).await;
    let later = run.end().await.unwrap();
    let ends = |history: &[Event]| history.iter().filter(|event| event.state().is_end()).count();
    assert_eq!(ends(&later), ends(&history), "a job that had ended said so again");
}

/// Publishes every job that is accepted again, twice, until no more come; gives how many.
async fn copy_while_they_come(broker: &Broker) -> JoinHandle<usize> {
    let mut accepted: Subscriber = broker.subscribe("longshore.events", "accepted.#").await.unwrap();
    let copier = Copier::start(broker).await;
    tokio::spawn(async move {
        let mut copied = 0;
        let mut patience = SOON;
        while let Ok(message) = accepted.next(patience).await {
            let event: Event = serde_json::from_value(message.body).unwrap();
            for _ in 0..2 {
                copier.publish(event.job().unwrap()).await;
            }
            (copied, patience) = (copied + 1, IDLE);
        }
        copied
    })
}

/// A plain client that publishes jobs.
struct Copier {
    _connection: Connection,
    channel: Channel,
}

impl Copier {
    async fn start(broker: &Broker) -> Copier {
        let connection = broker.connect().await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Copier { _connection: connection, channel }
    }

    async fn publish(&self, job: &Job) {
        let key = format!("{}.{}", job.target.pool(), job.target.name());
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties = BasicProperties::default().with_delivery_mode(2);
        let body = job.encode();
        let publishing =
            self.channel.basic_publish("longshore.jobs".into(), key.into(), options, &body, properties);
        let taken = publishing.await.unwrap().await.unwrap();
        assert!(matches!(taken, Confirmation::Ack(None)), "{taken:?}");
    }

    /// Waits until the workers have seen all of them.
    async fn are_all_taken(&self, broker: &Broker) {
        tests::wait::eventually(4 * SOON, "the copies to be taken", || async {
            let left = broker.messages_in("longshore.jobs.default").await?;
            anyhow::ensure!(left == 0, "{left} wait");
            Ok(())
        })
        .await
        .unwrap();
    }
}
