//! Reading a stream, on the connection for reading.

use std::sync::Arc;

use futures::StreamExt;
use lapin::{
    Channel, Consumer,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::{AMQPValue, FieldTable},
};
use proto::Timestamp;

use super::{
    fault::{refused_or_away, unavailable, within},
    session::Session,
};
use crate::{Position, QueueError, Since};

const OFFSET: &str = "x-stream-offset";

/// Entries on their way to us. A stream is only read with such a bound, and with acknowledgements.
const AHEAD: u16 = 512;

/// Entries after which the broker is told that we go on.
const TELL_EVERY: u32 = 128;

/// Where what is written from now on begins.
pub(super) const NEXT: &str = "next";

/// A reader of a stream.
pub(super) struct StreamReader {
    session: Arc<Session>,
    attempted: &'static str,
    _channel: Channel,
    consumer: Consumer,
    untold: u32,
}

impl StreamReader {
    /// Reads the stream `name` on a channel of its own, from [`NEXT`] or a place of [`offset_of`]. It begins
    /// somewhat before the place asked for.
    pub(super) async fn open(
        session: Arc<Session>,
        channel: Channel,
        name: &str,
        from: AMQPValue,
        attempted: &'static str,
    ) -> Result<StreamReader, QueueError> {
        let limited = channel.basic_qos(AHEAD, BasicQosOptions::default()).await;
        limited.map_err(|error| unavailable(attempted, error))?;
        let mut arguments = FieldTable::default();
        arguments.insert(OFFSET.into(), from);
        let options = BasicConsumeOptions::default();
        let consuming = channel.basic_consume(name.into(), "".into(), options, arguments).await;
        let consumer = consuming.map_err(|error| refused_or_away(name, attempted, error))?;
        Ok(StreamReader { session, attempted, _channel: channel, consumer, untold: 0 })
    }

    /// The next entry and its place; waits for one to be written at the end.
    pub(super) async fn next(&mut self) -> Result<(Position, Delivery), QueueError> {
        loop {
            let delivered = tokio::select! {
                biased;
                () = self.session.ended() => None,
                delivered = self.consumer.next() => delivered,
            };
            let delivery = match delivered {
                Some(Ok(delivery)) => delivery,
                Some(Err(error)) => return Err(unavailable(self.attempted, error)),
                None => return Err(self.session.cut_off(self.attempted)),
            };
            self.tell(&delivery).await?;
            if let Some(position) = position_of(&delivery) {
                return Ok((position, delivery));
            }
        }
    }

    async fn tell(&mut self, delivery: &Delivery) -> Result<(), QueueError> {
        self.untold += 1;
        if self.untold < TELL_EVERY {
            return Ok(());
        }
        self.untold = 0;
        let (told, attempted) = (delivery.acker.ack(BasicAckOptions { multiple: true }), self.attempted);
        within(attempted, async { told.await.map_err(|error| unavailable(attempted, error)) }).await.map(drop)
    }
}

/// The first place that was asked for.
pub(super) fn first_position(since: Since) -> Position {
    match since {
        Since::Start | Since::Time(_) | Since::Clock(_) => Position(0),
        Since::After(Position(last)) => Position(last.saturating_add(1)),
    }
}

fn at(time: Timestamp) -> AMQPValue {
    AMQPValue::Timestamp(u64::try_from(time.as_second()).unwrap_or(0))
}

/// How the broker is asked to begin there.
pub(super) fn offset_of(since: Since) -> AMQPValue {
    match since {
        Since::Start => AMQPValue::LongString("first".into()),
        // A stream asked for a time ahead of its clock gives nothing, not even what is said later.
        Since::Time(time) => at(time.min(Timestamp::now())),
        Since::Clock(time) => at(time),
        Since::After(_) => AMQPValue::LongLongInt(i64::try_from(first_position(since).0).unwrap_or(i64::MAX)),
    }
}

fn position_of(delivery: &Delivery) -> Option<Position> {
    let offset = delivery.properties.headers().as_ref()?.inner().get(OFFSET)?;
    let AMQPValue::LongLongInt(offset) = offset else { return None };
    u64::try_from(*offset).ok().map(Position)
}
