//! The baseline on RabbitMQ: lapin as its own examples use it, on a quorum queue behind a topic exchange like ours.
//! The default exchange would spare the broker the matching of keys, a quarter of what it does for a message; with it
//! the figures would compare two topologies, and not two clients.

use std::{sync::Arc, time::Instant};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, future::try_join_all};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, ExchangeKind,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
        ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable, ShortString},
};

use crate::{CALLERS, figures::median, job};

const PERSISTENT: u8 = 2;

/// One connection that publishes, one that consumes, as we have.
pub(crate) struct Raw {
    publishing: Channel,
    consuming: Channel,
    /// Of the exchange and of its queue.
    name: ShortString,
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
        let name: ShortString =
            publishing.queue_declare(name.into(), options, arguments).await?.name().clone();
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let none = FieldTable::default;
        publishing.exchange_declare(name.clone(), ExchangeKind::Topic, options, none()).await?;
        let options = QueueBindOptions::default();
        publishing.queue_bind(name.clone(), name.clone(), "default.*".into(), options, none()).await?;
        let body = job()?.encode().into();
        Ok(Raw { publishing, consuming, name, body, _connections: connections })
    }

    /// Messages published and confirmed a second, by many tasks on one channel; they stay.
    pub(crate) async fn publish(&self, count: usize) -> Result<f64> {
        let began = Instant::now();
        let tasks = (0..CALLERS).map(|_| {
            let (channel, exchange, body) =
                (self.publishing.clone(), self.name.clone(), Arc::clone(&self.body));
            tokio::spawn(async move {
                for _ in 0..count / CALLERS {
                    send(&channel, &exchange, &body).await?;
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
                tokio::join!(send(&self.publishing, &self.name, &self.body), taken);
            delays.push(delay);
            sent?;
            delivery.context("take a message")??.acker.ack(BasicAckOptions::default()).await?;
        }
        self.cancel(consumer).await?;
        Ok(median(delays))
    }

    async fn consumer(&self) -> Result<Consumer> {
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        Ok(self.consuming.basic_consume(self.name.clone(), "".into(), options, arguments).await?)
    }

    async fn cancel(&self, consumer: Consumer) -> Result<()> {
        Ok(self.consuming.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await?)
    }
}

async fn send(channel: &Channel, exchange: &ShortString, body: &[u8]) -> Result<()> {
    let (options, key) = (BasicPublishOptions::default(), "default.web".into());
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    let confirmed = channel.basic_publish(exchange.clone(), key, options, body, properties).await?.await?;
    ensure!(matches!(confirmed, Confirmation::Ack(None)), "not confirmed: {confirmed:?}");
    Ok(())
}
