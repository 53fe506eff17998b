//! The baseline on RabbitMQ: lapin as its own examples use it, on a quorum queue like ours.

use std::{sync::Arc, time::Instant};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, future::try_join_all};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
        ConfirmSelectOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable, ShortString},
};

use crate::{CALLERS, figures::median, job};

const PERSISTENT: u8 = 2;

/// One connection that publishes, one that consumes, as we have.
pub(crate) struct Raw {
    publishing: Channel,
    consuming: Channel,
    queue: ShortString,
    body: Arc<[u8]>,
    _connections: [Connection; 2],
}

impl Raw {
    pub(crate) async fn open(uri: &str) -> Result<Raw> {
        let connect = || Connection::connect(uri, ConnectionProperties::default());
        let connections = [connect().await?, connect().await?];
        let [publishing, consuming] =
            [connections[0].create_channel().await?, connections[1].create_channel().await?];
        publishing.confirm_select(ConfirmSelectOptions::default()).await?;
        consuming.basic_qos(u16::try_from(CALLERS)?, BasicQosOptions::default()).await?;
        let name = format!("bench-raw-{}", uuid::Uuid::now_v7().simple());
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(1000));
        let options = QueueDeclareOptions { durable: true, ..Default::default() };
        let declared = publishing.queue_declare(name.as_str().into(), options, arguments).await?;
        let body = job()?.encode().into();
        Ok(Raw { publishing, consuming, queue: declared.name().clone(), body, _connections: connections })
    }

    /// Messages published and confirmed a second, by many tasks on one channel; they stay.
    pub(crate) async fn publish(&self, count: usize) -> Result<f64> {
        let began = Instant::now();
        let tasks = (0..CALLERS).map(|_| {
            let (channel, queue, body) =
                (self.publishing.clone(), self.queue.clone(), Arc::clone(&self.body));
            tokio::spawn(async move {
                for _ in 0..count / CALLERS {
                    send(&channel, &queue, &body).await?;
                }
                anyhow::Ok(())
            })
        });
        for published in try_join_all(tasks).await? {
            published?;
        }
        Ok(count as f64 / began.elapsed().as_secs_f64())
    }

    /// Messages taken and acknowledged a second, of those that wait.
    pub(crate) async fn take(&self, count: usize) -> Result<f64> {
        let mut consumer = self.consumer().await?;
        let began = Instant::now();
        for _ in 0..count {
            let delivery = consumer.next().await.context("take a message")??;
            delivery.acker.ack(BasicAckOptions::default()).await?;
        }
        let rate = count as f64 / began.elapsed().as_secs_f64();
        self.cancel(consumer).await?;
        Ok(rate)
    }

    /// Seconds from the call of publish until the message is in the consumer's hands.
    pub(crate) async fn median_delay(&self, count: usize) -> Result<f64> {
        let mut consumer = self.consumer().await?;
        let mut delays = Vec::with_capacity(count);
        for _ in 0..count {
            let began = Instant::now();
            let taken = async { (consumer.next().await, began.elapsed().as_secs_f64()) };
            let (sent, (delivery, delay)) =
                tokio::join!(send(&self.publishing, &self.queue, &self.body), taken);
            delays.push(delay);
            sent?;
            delivery.context("take a message")??.acker.ack(BasicAckOptions::default()).await?;
        }
        self.cancel(consumer).await?;
        Ok(median(delays))
    }

    async fn consumer(&self) -> Result<Consumer> {
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        Ok(self.consuming.basic_consume(self.queue.clone(), "".into(), options, arguments).await?)
    }

    async fn cancel(&self, consumer: Consumer) -> Result<()> {
        Ok(self.consuming.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await?)
    }
}

async fn send(channel: &Channel, queue: &ShortString, body: &[u8]) -> Result<()> {
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    let sent =
        channel.basic_publish("".into(), queue.clone(), BasicPublishOptions::default(), body, properties);
    let confirmed = sent.await?.await?;
    ensure!(matches!(confirmed, Confirmation::Ack(None)), "not confirmed: {confirmed:?}");
    Ok(())
}
