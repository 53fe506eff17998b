//! The whole history as others read it: plain AMQP readers of the stream, or readers of the HTTP API.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use futures::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, Consumer};
use proto::{Catalogue, Event, JobId};
use tokio::time::{Instant, timeout_at};

use crate::broker::Broker;
use crate::environment::unique;
use crate::fleet::Fleet;
use crate::sse::EventStream;

/// The stream's usual name.
pub const STREAM: &str = "longshore.history";

/// What is in the stream and is no event; who follows the history passes over it.
const MARKER: &str = "application/vnd.longshore.marker";

/// Streams are read with a bound, and acknowledged.
const AHEAD: u16 = 1000;

/// A history that says nothing for so long, while nothing waits for its end, has no more to say.
const QUIET: Duration = Duration::from_secs(2);

/// Waits until the history on `broker` says an end of each of `jobs`, or `deadline` has passed, and gives those
/// without one.
pub async fn wait_for_ends(
    broker: &Broker,
    jobs: impl IntoIterator<Item = JobId>,
    deadline: Duration,
) -> Result<HashSet<JobId>> {
    let until = Instant::now() + deadline;
    let mut waiting: HashSet<JobId> = jobs.into_iter().collect();
    let mut reader = StreamReader::open(broker).await?;
    while !waiting.is_empty() {
        let Ok(entry) = timeout_at(until, reader.next()).await else { break };
        if let Entry::Event(event) = entry? {
            note_end(&mut waiting, &event);
        }
    }
    Ok(waiting)
}

/// Waits until each of `jobs`, and whatever else the history on `broker` speaks of, has an end there, or `deadline`
/// has passed, and gives those without one.
pub async fn wait_for_all_ends(
    broker: &Broker,
    jobs: impl IntoIterator<Item = JobId>,
    deadline: Duration,
) -> Result<HashSet<JobId>> {
    let until = Instant::now() + deadline;
    let mut waiting: HashSet<JobId> = jobs.into_iter().collect();
    let mut ended = HashSet::new();
    let mut reader = StreamReader::open(broker).await?;
    loop {
        // What a caller was not told of is known from the history alone: it ends with what stands there now.
        let pause = if waiting.is_empty() { Instant::now() + QUIET } else { until };
        let Ok(entry) = timeout_at(pause.min(until), reader.next()).await else { return Ok(waiting) };
        let Entry::Event(event) = entry? else { continue };
        let id = event.job_id();
        if event.state().is_end() {
            ended.insert(id);
            waiting.remove(&id);
        } else if !ended.contains(&id) {
            waiting.insert(id);
        }
    }
}

/// The whole history on `broker` up to the entry that was the last when this was called.
pub async fn read(broker: &Broker, deadline: Duration) -> Result<Vec<Event>> {
    let marker = unique("ledger");
    leave_marker(broker, &marker).await?;
    let until = Instant::now() + deadline;
    timeout_at(until, read_up_to(broker, &marker)).await.context("read the history")?
}

/// The whole history of a fleet without a broker, over `GET /v1/events`, until each of `jobs` has an end or `deadline` has
/// passed.
pub async fn read_by_api(
    fleet: &Fleet,
    jobs: impl IntoIterator<Item = JobId>,
    deadline: Duration,
) -> Result<Vec<Event>> {
    let until = Instant::now() + deadline;
    let mut waiting: HashSet<JobId> = jobs.into_iter().collect();
    let mut events = Vec::new();
    let mut reader = ApiReader::open(fleet).await?;
    while !waiting.is_empty() {
        let Ok(event) = timeout_at(until, reader.next(deadline)).await else { break };
        let event = event?;
        note_end(&mut waiting, &event);
        events.push(event);
    }
    Ok(events)
}

fn note_end(waiting: &mut HashSet<JobId>, event: &Event) {
    if event.state().is_end() {
        waiting.remove(&event.job_id());
    }
}

async fn leave_marker(broker: &Broker, marker: &str) -> Result<()> {
    let connection = broker.connect().await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let properties = BasicProperties::default().with_delivery_mode(2).with_content_type(MARKER.into());
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let publishing = channel.basic_publish("".into(), STREAM.into(), options, marker.as_bytes(), properties);
    let taken = publishing.await?.await?;
    ensure!(matches!(taken, Confirmation::Ack(None)), "{STREAM} did not take a marker: {taken:?}");
    Ok(())
}

async fn read_up_to(broker: &Broker, marker: &str) -> Result<Vec<Event>> {
    let mut reader = StreamReader::open(broker).await?;
    let mut events = Vec::new();
    loop {
        match reader.next().await? {
            Entry::Event(event) => events.push(*event),
            Entry::Marker(seen) if seen == marker => return Ok(events),
            Entry::Catalogue | Entry::Marker(_) => {}
        }
    }
}

enum Entry {
    Event(Box<Event>),
    /// What workers tell of their targets, which is no word on a job.
    Catalogue,
    Marker(String),
}

/// A plain reader of the stream, from its begin.
struct StreamReader {
    _connection: Connection,
    _channel: Channel,
    consumer: Consumer,
}

impl StreamReader {
    async fn open(broker: &Broker) -> Result<Self> {
        let connection = broker.connect().await?;
        let channel = connection.create_channel().await?;
        channel.basic_qos(AHEAD, BasicQosOptions::default()).await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-stream-offset".into(), AMQPValue::LongString("first".into()));
        let options = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(STREAM.into(), "".into(), options, arguments).await;
        let consumer = consumer.with_context(|| format!("read {STREAM}"))?;
        Ok(Self { _connection: connection, _channel: channel, consumer })
    }

    async fn next(&mut self) -> Result<Entry> {
        let delivery = self.consumer.next().await.context("the history was taken away")??;
        // Each at once: a broker that was told to takes back what waits, and ends the reading with it.
        delivery.acker.ack(BasicAckOptions::default()).await?;
        let text = || String::from_utf8_lossy(&delivery.data).into_owned();
        if delivery.properties.content_type().as_ref().is_some_and(|kind| kind.as_str() == MARKER) {
            return Ok(Entry::Marker(text()));
        }
        if Catalogue::decode(&delivery.data).is_ok() {
            return Ok(Entry::Catalogue);
        }
        let event = Event::decode(&delivery.data);
        Ok(Entry::Event(Box::new(event.with_context(|| format!("read as an event: {}", text()))?)))
    }
}

/// A reader of the API from the history's begin. What is not in the history, progress, has no place and is
/// passed over.
struct ApiReader {
    stream: EventStream,
}

impl ApiReader {
    async fn open(fleet: &Fleet) -> Result<Self> {
        let request = fleet.get("/v1/events").header("last-event-id", "0");
        Ok(Self { stream: EventStream::open(request).await? })
    }

    async fn next(&mut self, deadline: Duration) -> Result<Event> {
        loop {
            let sent = self.stream.next(deadline).await?;
            let sent = sent.ok_or_else(|| anyhow!("the stream of events was closed"))?;
            if !sent.id.is_empty() {
                let event = Event::decode(sent.data.as_bytes());
                return event.with_context(|| format!("read as an event: {}", sent.data));
            }
        }
    }
}
