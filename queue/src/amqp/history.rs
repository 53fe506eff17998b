//! The history: a stream, read on its own connection.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use lapin::{
    Channel, Consumer,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::{AMQPValue, FieldTable},
};
use proto::{Event, Timestamp};

use super::{
    Broker, MARKER,
    fault::{refused_or_away, unavailable, within},
    session::Session,
    topology::declare_history,
};
use crate::{Entry, History, Position, QueueError, Recorded, Since};

const READ: &str = "read the history";

const OFFSET: &str = "x-stream-offset";

/// Entries on their way to us. A stream is only read with such a bound, and with acknowledgements.
const AHEAD: u16 = 512;

/// Entries after which the broker is told that we go on.
const TELL_EVERY: u32 = 128;

/// A reader of the stream.
pub(super) struct StreamHistory {
    session: Arc<Session>,
    _channel: Channel,
    consumer: Consumer,
    from: Position,
    untold: u32,
}

impl StreamHistory {
    pub(super) async fn open(broker: &Broker, since: Since) -> Result<StreamHistory, QueueError> {
        let session = broker.session(READ).await?;
        let (channel, consumer) = within(READ, consume(broker, &session, since)).await?;
        Ok(StreamHistory { session, _channel: channel, consumer, from: first_position(since), untold: 0 })
    }

    async fn tell(&mut self, delivery: &Delivery) -> Result<(), QueueError> {
        self.untold += 1;
        if self.untold < TELL_EVERY {
            return Ok(());
        }
        self.untold = 0;
        let told = delivery.acker.ack(BasicAckOptions { multiple: true });
        within(READ, async { told.await.map_err(|error| unavailable(READ, error)) }).await.map(drop)
    }
}

#[async_trait]
impl History for StreamHistory {
    async fn next(&mut self) -> Result<Recorded, QueueError> {
        loop {
            let delivered = tokio::select! {
                delivered = self.consumer.next() => delivered,
                () = self.session.ended() => None,
            };
            let delivery = match delivered {
                Some(Ok(delivery)) => delivery,
                Some(Err(error)) => return Err(unavailable(READ, error)),
                None => return Err(cut_off(&self.session)),
            };
            self.tell(&delivery).await?;
            let Some(position) = position_of(&delivery) else { continue };
            // The stream begins with the chunk that holds the entry asked for.
            if position >= self.from {
                return Ok(Recorded { position, entry: entry_of(&delivery) });
            }
        }
    }
}

async fn consume(
    broker: &Broker,
    session: &Session,
    since: Since,
) -> Result<(Channel, Consumer), QueueError> {
    let history = broker.names.history();
    let channel = session.reading().create_channel().await.map_err(|error| unavailable(READ, error))?;
    // Should it have been deleted, it stands again when it is read.
    declare_history(&channel, &broker.names).await?;
    let limited = channel.basic_qos(AHEAD, BasicQosOptions::default()).await;
    limited.map_err(|error| unavailable(READ, error))?;
    let mut arguments = FieldTable::default();
    arguments.insert(OFFSET.into(), offset_of(since));
    let options = BasicConsumeOptions::default();
    let consuming = channel.basic_consume(history.as_str().into(), "".into(), options, arguments).await;
    let consumer = consuming.map_err(|error| refused_or_away(&history, READ, error))?;
    Ok((channel, consumer))
}

fn offset_of(since: Since) -> AMQPValue {
    match since {
        Since::Start => AMQPValue::LongString("first".into()),
        Since::Time(time) => {
            // A stream asked for a time ahead of its clock gives nothing, not even what is said later.
            let seconds = time.min(Timestamp::now()).as_second();
            AMQPValue::Timestamp(u64::try_from(seconds).unwrap_or(0))
        }
        Since::After(_) => AMQPValue::LongLongInt(i64::try_from(first_position(since).0).unwrap_or(i64::MAX)),
    }
}

fn first_position(since: Since) -> Position {
    match since {
        Since::Start | Since::Time(_) => Position(0),
        Since::After(Position(last)) => Position(last.saturating_add(1)),
    }
}

fn position_of(delivery: &Delivery) -> Option<Position> {
    let offset = delivery.properties.headers().as_ref()?.inner().get(OFFSET)?;
    let AMQPValue::LongLongInt(offset) = offset else { return None };
    u64::try_from(*offset).ok().map(Position)
}

fn entry_of(delivery: &Delivery) -> Entry {
    let is_marker = delivery.properties.content_type().as_ref().is_some_and(|kind| kind.as_str() == MARKER);
    if is_marker {
        return match uuid::Uuid::try_parse_ascii(&delivery.data) {
            Ok(marker) => Entry::Marker(marker),
            Err(error) => Entry::Unreadable(format!("a marker that is no name: {error}")),
        };
    }
    match Event::decode(&delivery.data) {
        Ok(event) => Entry::Event(Box::new(event)),
        Err(error) => Entry::Unreadable(error.to_string()),
    }
}

/// The session that carried a reader has ended.
pub(super) fn cut_off(session: &Session) -> QueueError {
    QueueError::Unavailable { attempted: READ, source: session.why().into() }
}
