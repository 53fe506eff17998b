//! Progress as it is said, to whoever listens at the time.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use lapin::{
    Channel, Consumer,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use proto::{Event, State};

use super::{
    Broker,
    fault::{refused_or_away, unavailable, within},
    names::state_key,
    session::Session,
};
use crate::{Live, QueueError};

const LISTEN: &str = "listen to progress";

/// Events kept for a slow listener; then it loses the oldest.
const MOST_KEPT: i32 = 1000;

/// Events on their way to us.
const AHEAD: u16 = 100;

/// A queue of our own, which goes when we go.
pub(super) struct Listener {
    session: Arc<Session>,
    _channel: Channel,
    consumer: Consumer,
}

impl Listener {
    pub(super) async fn open(broker: &Broker) -> Result<Listener, QueueError> {
        let session = broker.session(LISTEN).await?;
        let (channel, consumer) = within(LISTEN, consume(broker, &session)).await?;
        Ok(Listener { session, _channel: channel, consumer })
    }
}

#[async_trait]
impl Live for Listener {
    async fn next(&mut self) -> Result<Event, QueueError> {
        loop {
            let delivered = tokio::select! {
                biased;
                () = self.session.ended() => None,
                delivered = self.consumer.next() => delivered,
            };
            let delivery = match delivered {
                Some(Ok(delivery)) => delivery,
                Some(Err(error)) => return Err(unavailable(LISTEN, error)),
                None => return Err(self.session.cut_off(LISTEN)),
            };
            let told = delivery.acker.ack(BasicAckOptions::default());
            within(LISTEN, async { told.await.map_err(|error| unavailable(LISTEN, error)) }).await?;
            match Event::decode(&delivery.data) {
                Ok(event) => return Ok(event),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::debug!(error, "progress that cannot be read");
                }
            }
        }
    }
}

async fn consume(broker: &Broker, session: &Session) -> Result<(Channel, Consumer), QueueError> {
    let (queue, events) = (broker.names.listener(), broker.names.events());
    let name = || queue.as_str().into();
    let refused = |error| refused_or_away(&queue, LISTEN, error);
    let channel = session.reading().create_channel().await.map_err(|error| unavailable(LISTEN, error))?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(MOST_KEPT));
    let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
    channel.queue_declare(name(), options, arguments).await.map_err(refused)?;
    let (options, key) = (QueueBindOptions::default(), state_key(State::Progress));
    let bound = channel.queue_bind(
        name(),
        events.as_str().into(),
        key.as_str().into(),
        options,
        FieldTable::default(),
    );
    bound.await.map_err(refused)?;
    channel.basic_qos(AHEAD, BasicQosOptions::default()).await.map_err(refused)?;
    let options = BasicConsumeOptions::default();
    let consumer = channel.basic_consume(name(), "".into(), options, FieldTable::default()).await;
    Ok((channel, consumer.map_err(refused)?))
}
