//! Hearing the questions put to a pool, and answering them.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use lapin::{
    BasicProperties, Channel, Connection, Consumer,
    message::Delivery,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, QueueDeclareOptions,
    },
    types::{FieldTable, ShortString},
};
use proto::PoolName;

use super::{
    Broker,
    fault::{refused_or_away, unavailable, within},
    pauses::Pauses,
};
use crate::{Answer, Question, Questions, QueueError};

const LISTEN: &str = "listen to questions";

/// Questions on their way to us.
const AHEAD: u16 = 32;

/// Attempts to listen for the first time: the former queue may go with its last listener meanwhile.
const FIRST_ATTEMPTS: usize = 3;

/// Longest wait for an answer to leave.
const SEND_WITHIN: Duration = Duration::from_secs(2);

/// What an asker's address begins with. Nothing is sent anywhere else: a question could name any queue.
const ADDRESS: &str = "amq.rabbitmq.reply-to.";

/// The questions of a pool, heard for as long as this lives.
pub(super) struct Hearing {
    broker: Arc<Broker>,
    pool: PoolName,
    feed: Option<Feed>,
}

/// A consumer on one connection.
struct Feed {
    _connection: Arc<Connection>,
    /// The questions' channel: with it goes what was not heard yet.
    _channel: Channel,
    consumer: Consumer,
    /// The answers' channel.
    back: Channel,
}

impl Hearing {
    /// Declares the pool's queue of questions and listens.
    pub(super) async fn begin(broker: Arc<Broker>, pool: PoolName) -> Result<Hearing, QueueError> {
        let mut hearing = Hearing { broker, pool, feed: None };
        let mut attempts = 1;
        while let Err(error) = hearing.open().await {
            if !error.is_passing() || attempts == FIRST_ATTEMPTS {
                return Err(error);
            }
            attempts += 1;
        }
        Ok(hearing)
    }

    async fn open(&mut self) -> Result<(), QueueError> {
        self.feed = None;
        let connection = self.broker.answering.connection().await?;
        let queue = self.broker.names.ask(&self.pool);
        self.feed = Some(within(LISTEN, listen(connection, &queue)).await?);
        Ok(())
    }

    /// Listens again. A broker that is away is waited for.
    async fn reopen(&mut self) -> Result<(), QueueError> {
        let mut pauses = Pauses::begin();
        while let Err(error) = self.open().await {
            if !error.is_passing() {
                return Err(error);
            }
            tracing::debug!(
                pool = self.pool.as_str(),
                error = &error as &dyn std::error::Error,
                "no questions can be heard for now"
            );
            tokio::time::sleep(pauses.next()).await;
        }
        Ok(())
    }

    async fn hear(&mut self) -> Result<Question, QueueError> {
        loop {
            let Some(feed) = &mut self.feed else {
                self.reopen().await?;
                continue;
            };
            match feed.consumer.next().await {
                Some(Ok(delivery)) => {
                    // Taken off the queue as soon as it is heard: one that kills its worker kills no other.
                    // The first poll hands the frame to the connection, and nobody need wait for more.
                    let _ = delivery.acker.ack(BasicAckOptions::default()).now_or_never();
                    if let Some(question) = question(delivery, &feed.back) {
                        return Ok(question);
                    }
                }
                Some(Err(error)) => {
                    let (pool, error) = (self.pool.as_str(), &error as &dyn std::error::Error);
                    tracing::warn!(pool, error, "the broker stopped giving questions, listening again");
                    self.feed = None;
                }
                None => self.feed = None,
            }
        }
    }
}

#[async_trait]
impl Questions for Hearing {
    async fn next(&mut self) -> Result<Question, QueueError> {
        let broker = Arc::clone(&self.broker);
        tokio::select! {
            biased;
            () = broker.supervisor.stopped() => Err(QueueError::Closed),
            heard = self.hear() => heard,
        }
    }
}

async fn listen(connection: Arc<Connection>, queue: &str) -> Result<Feed, QueueError> {
    let refused = |error| refused_or_away(queue, LISTEN, error);
    let channel = connection.create_channel().await.map_err(|error| unavailable(LISTEN, error))?;
    let options = QueueDeclareOptions { durable: true, auto_delete: true, ..Default::default() };
    channel.queue_declare(queue.into(), options, FieldTable::default()).await.map_err(refused)?;
    channel.basic_qos(AHEAD, BasicQosOptions::default()).await.map_err(refused)?;
    let options = BasicConsumeOptions::default();
    let consuming = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await;
    let consumer = consuming.map_err(refused)?;
    let back = connection.create_channel().await.map_err(|error| unavailable(LISTEN, error))?;
    Ok(Feed { _connection: connection, _channel: channel, consumer, back })
}

/// The question in a message; none where no answer could go anywhere.
fn question(delivery: Delivery, back: &Channel) -> Option<Question> {
    let properties = &delivery.properties;
    let address = properties.reply_to().clone().filter(|address| address.as_str().starts_with(ADDRESS));
    let Some(address) = address else {
        tracing::debug!(queue = %delivery.routing_key, "a question without an asker's address is dropped");
        return None;
    };
    let correlation = properties.correlation_id().clone();
    let back = Back { channel: back.clone(), address, correlation };
    Some(Question::new(delivery.data.into(), Box::new(back)))
}

/// The way back to an asker.
struct Back {
    channel: Channel,
    address: ShortString,
    correlation: Option<ShortString>,
}

#[async_trait]
impl Answer for Back {
    async fn answer(self: Box<Self>, answer: Bytes) {
        let Back { channel, address, correlation } = *self;
        let properties = correlation.map_or_else(BasicProperties::default, |correlation| {
            BasicProperties::default().with_correlation_id(correlation)
        });
        // Not mandatory: it would come back even from an asker that waits. One that left is no failure.
        let options = BasicPublishOptions::default();
        let sending = channel.basic_publish("".into(), address, options, &answer, properties);
        match tokio::time::timeout(SEND_WITHIN, sending).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "an answer could not be sent");
            }
            Err(_) => tracing::debug!("an answer could not be sent in time"),
        }
    }
}
