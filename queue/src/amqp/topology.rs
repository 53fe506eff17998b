//! What stands on the broker, declared so that declaring it again changes nothing.

use std::time::Duration;

use lapin::{
    Channel, Connection, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use proto::{PoolName, State};

use super::{
    fault::{refused_or_away, unavailable, within},
    names::{CATALOGUE_KEY, Names, pool_key, state_key},
};
use crate::{Keep, Kept, QueueError, line::LineName};

const DECLARE: &str = "declare its queues";

/// Returns of one message to its queue. Never absent: 4.x then means 20; never -1: 3.10 drops at the first.
pub(super) const DELIVERY_LIMIT: i32 = 1000;

/// A backstop above the ingress's own bound.
const MOST_WAITING: i32 = 100_000;

/// A backstop, in bytes.
const MOST_WAITING_BYTES: i64 = 1 << 30;

/// Age and size are only looked at when a segment is full.
const SEGMENT_BYTES: i64 = 64 << 20;

/// Declares what every process uses.
pub(super) async fn declare_common(
    connection: &Connection,
    names: &Names,
    keep: &Keep,
) -> Result<(), QueueError> {
    within(DECLARE, async {
        let channel = channel(connection).await?;
        declare_jobs(&channel, names).await?;
        declare_dead(&channel, names, &keep.letters).await?;
        declare_intake(&channel, names).await?;
        declare_history(&channel, names, &keep.history).await
    })
    .await
}

/// Declares where jobs are published.
pub(super) async fn declare_jobs(channel: &Channel, names: &Names) -> Result<(), QueueError> {
    exchange(channel, &names.jobs(), ExchangeKind::Topic).await
}

/// Declares the dead letters' exchange and the stream behind it.
pub(super) async fn declare_dead(channel: &Channel, names: &Names, kept: &Kept) -> Result<(), QueueError> {
    exchange(channel, &names.dead(), ExchangeKind::Topic).await?;
    dead_stream(channel, names, kept).await?;
    bind(channel, &names.dead(), &names.dead(), "#").await
}

/// Declares the stream of the dead letters.
pub(super) async fn dead_stream(channel: &Channel, names: &Names, kept: &Kept) -> Result<(), QueueError> {
    let stream = Stream { name: &names.dead(), kept, key: "keep.letters", holds: "every dead letter" };
    stream.declare(channel).await
}

/// Declares the events' exchange and the history behind it.
pub(super) async fn declare_history(channel: &Channel, names: &Names, kept: &Kept) -> Result<(), QueueError> {
    exchange(channel, &names.events(), ExchangeKind::Topic).await?;
    history_stream(channel, names, kept).await?;
    for state in State::ALL.into_iter().filter(|state| *state != State::Progress) {
        bind(channel, &names.history(), &names.events(), &state_key(state)).await?;
    }
    bind(channel, &names.history(), &names.events(), CATALOGUE_KEY).await
}

/// Declares the stream of the history.
pub(super) async fn history_stream(channel: &Channel, names: &Names, kept: &Kept) -> Result<(), QueueError> {
    let name = &names.history();
    let stream = Stream { name, kept, key: "keep.history", holds: "the history of all jobs" };
    stream.declare(channel).await
}

/// Declares the intake's exchange and queue: what is sent there waits for an ingress, whether one runs or not.
async fn declare_intake(channel: &Channel, names: &Names) -> Result<(), QueueError> {
    exchange(channel, &names.intake(), ExchangeKind::Topic).await?;
    jobs_queue(channel, &names.intake(), quorum(&names.dead())).await?;
    bind(channel, &names.intake(), &names.intake(), "#").await
}

/// Declares a line's queue and its ladder: from now on its messages have a place to wait.
pub(super) async fn declare_line(
    channel: &Channel,
    names: &Names,
    line: &LineName,
    rungs: &[Duration],
) -> Result<(), QueueError> {
    let from = match line {
        LineName::Pool(_) => names.jobs(),
        LineName::Intake => names.intake(),
    };
    // The ladder first: a message taken from the queue must have a way to come back.
    for rung in rungs {
        let name = names.rung(line, *rung);
        exchange(channel, &name, ExchangeKind::Fanout).await?;
        jobs_queue(channel, &name, quorum_for(&from, *rung)).await?;
        bind(channel, &name, &name, "").await?;
    }
    match line {
        LineName::Pool(pool) => {
            jobs_queue(channel, &names.pool(pool), quorum(&names.dead())).await?;
            bind(channel, &names.pool(pool), &names.jobs(), &pool_key(pool)).await
        }
        LineName::Intake => declare_intake(channel, names).await,
    }
}

/// Makes a pool's queue take its jobs, where there is one. The exchange alone may have been deleted, and its bindings with it.
///
/// # Errors
/// As the broker says it, which closes the channel then.
pub(super) async fn bind_pool(channel: &Channel, names: &Names, pool: &PoolName) -> Result<(), lapin::Error> {
    let (queue, exchange, key) = (names.pool(pool), names.jobs(), pool_key(pool));
    let options = QueueBindOptions::default();
    let (queue, exchange, key) = (queue.as_str().into(), exchange.as_str().into(), key.as_str().into());
    channel.queue_bind(queue, exchange, key, options, FieldTable::default()).await
}

/// The arguments of a queue that holds jobs.
pub(super) fn quorum(dead_letters_to: &str) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(DELIVERY_LIMIT));
    arguments.insert("x-dead-letter-exchange".into(), text(dead_letters_to));
    arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    arguments.insert("x-overflow".into(), text("reject-publish"));
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(MOST_WAITING));
    arguments.insert("x-max-length-bytes".into(), AMQPValue::LongLongInt(MOST_WAITING_BYTES));
    arguments
}

/// The same of one that gives them back after a while.
pub(super) fn quorum_for(dead_letters_to: &str, wait: Duration) -> FieldTable {
    let mut arguments = quorum(dead_letters_to);
    let ttl = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
    arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(ttl));
    arguments
}

/// Declares a queue that holds jobs.
///
/// # Errors
/// Where another queue stands by that name, with what mends it.
pub(super) async fn jobs_queue(
    channel: &Channel,
    name: &str,
    arguments: FieldTable,
) -> Result<(), QueueError> {
    let declared = queue(channel, name, arguments).await;
    let Err(QueueError::Topology { name, answer }) = declared else { return declared };
    if !answer.starts_with(INEQUIVALENT) {
        return Err(QueueError::Topology { name, answer });
    }
    let answer = format!(
        "{answer}. It was made by hand or by another version, and a queue that stands cannot be changed: take what waits \
         in it elsewhere, delete it (`rabbitmqctl delete_queue {name}`; what is in it goes with it), and it is made anew \
         as it has to be"
    );
    Err(QueueError::Topology { name, answer })
}

/// How a broker's answer begins where something else stands by a name.
const INEQUIVALENT: &str = "PRECONDITION_FAILED";

/// A stream with our retention.
struct Stream<'a> {
    name: &'a str,
    kept: &'a Kept,
    /// Where that stands in the configuration.
    key: &'a str,
    /// What goes with it when it is deleted.
    holds: &'a str,
}

impl Stream<'_> {
    fn arguments(&self) -> FieldTable {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), text("stream"));
        arguments.insert("x-max-age".into(), text(&max_age(self.kept.age.0)));
        let bytes = i64::try_from(self.kept.bytes.0).unwrap_or(i64::MAX);
        arguments.insert("x-max-length-bytes".into(), AMQPValue::LongLongInt(bytes));
        arguments.insert("x-stream-max-segment-size-bytes".into(), AMQPValue::LongLongInt(SEGMENT_BYTES));
        arguments
    }

    async fn declare(&self, channel: &Channel) -> Result<(), QueueError> {
        let declared = queue(channel, self.name, self.arguments()).await;
        let Err(QueueError::Topology { name, answer }) = declared else { return declared };
        if !answer.starts_with(INEQUIVALENT) {
            return Err(QueueError::Topology { name, answer });
        }
        let Stream { key, kept: Kept { age, bytes }, holds, .. } = self;
        let answer = format!(
            "{answer}. Here `{key}` is {{age: {age}, bytes: {bytes}}}, and a stream that stands cannot be changed: write \
             there what it was made with, or delete it (`rabbitmqctl delete_queue {name}`; {holds} goes with it) and start \
             every process again, or choose another `prefix`"
        );
        Err(QueueError::Topology { name, answer })
    }
}

/// A span as a broker reads it: in days where it can, which is how streams that stand were made.
fn max_age(age: Duration) -> String {
    const DAY: u64 = 24 * 60 * 60;
    match age.as_secs() {
        seconds if seconds.is_multiple_of(DAY) => format!("{}D", seconds / DAY),
        seconds => format!("{seconds}s"),
    }
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

async fn channel(connection: &Connection) -> Result<Channel, QueueError> {
    connection.create_channel().await.map_err(|error| unavailable(DECLARE, error))
}

/// Declares an exchange.
pub(super) async fn exchange(channel: &Channel, name: &str, kind: ExchangeKind) -> Result<(), QueueError> {
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let declared = channel.exchange_declare(name.into(), kind, options, FieldTable::default()).await;
    declared.map_err(|error| refused_or_away(name, DECLARE, error))
}

async fn queue(channel: &Channel, name: &str, arguments: FieldTable) -> Result<(), QueueError> {
    let declared = channel.queue_declare(name.into(), QueueDeclareOptions::durable(), arguments).await;
    declared.map(drop).map_err(|error| refused_or_away(name, DECLARE, error))
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) -> Result<(), QueueError> {
    let options = QueueBindOptions::default();
    let bound =
        channel.queue_bind(queue.into(), exchange.into(), key.into(), options, FieldTable::default()).await;
    bound.map_err(|error| refused_or_away(queue, DECLARE, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_written_as_a_broker_reads_it() {
        assert_eq!(max_age(Kept::default().age.0), "30D");
        assert_eq!(max_age(Duration::from_secs(24 * 60 * 60 * 90)), "90D");
        assert_eq!(max_age(Duration::from_secs(24 * 60 * 60 * 9 + 3600)), "781200s");
    }
}
