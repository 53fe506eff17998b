//! The baseline on RabbitMQ: a handler that publishes a job and the word that it was accepted, each confirmed before it
//! goes on, and answers. In a process of its own, as the ingress is. Nothing is checked, matched or counted.

use std::sync::Arc;
use std::time::Duration;
use tokio::process::Command;

use anyhow::{Context, Result, ensure};
use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use tests::environment::{amqp_uri, unique};
use tests::process::Process;
use tokio::net::TcpListener;

use crate::hooks::PATH;

/// Has this program be it.
pub(crate) const ARGUMENT: &str = "--bare";

const LISTENING: &str = "listening at ";
const PERSISTENT: u8 = 2;

pub(crate) struct Bare {
    address: String,
    _process: Process,
}

/// Starts it as a process.
pub(crate) async fn start() -> Result<Bare> {
    let mut command = Command::new(std::env::current_exe().context("find this program")?);
    command.arg(ARGUMENT);
    let process = Process::start(command)?;
    let line = process.wait_for_line(LISTENING, Duration::from_secs(30)).await?;
    let address = line.split(LISTENING).nth(1).context("it does not say where it listens")?.to_owned();
    Ok(Bare { address, _process: process })
}

impl Bare {
    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

/// Is it, until it is killed.
pub(crate) async fn serve() -> Result<()> {
    let connection = Connection::connect(&amqp_uri()?, ConnectionProperties::default()).await?;
    let line = Line::declare(connection.create_channel().await?).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{LISTENING}{}", listener.local_addr()?);
    let router = Router::new().route(PATH, post(take)).with_state(Arc::new(line));
    axum::serve(listener, router).await.context("serve")
}

async fn take(State(line): State<Arc<Line>>, body: Bytes) -> StatusCode {
    let kept = async {
        line.publish(&line.jobs, &body).await?;
        line.publish(&line.events, &body).await
    };
    match kept.await {
        Ok(()) => StatusCode::ACCEPTED,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// A quorum queue for jobs and a stream for events, each behind a topic exchange of its name, as Longshore has them.
struct Line {
    channel: Channel,
    jobs: ShortString,
    events: ShortString,
}

impl Line {
    async fn declare(channel: Channel) -> Result<Line> {
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let (jobs, events) = (unique("bare-jobs"), unique("bare-events"));
        for (name, kind) in [(&jobs, "quorum"), (&events, "stream")] {
            let mut arguments = FieldTable::default();
            arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
            let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(name.as_str().into(), durable, arguments).await?;
            let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
            let none = FieldTable::default;
            channel.exchange_declare(name.as_str().into(), ExchangeKind::Topic, durable, none()).await?;
            let (name, binding) = (name.as_str(), QueueBindOptions::default());
            channel.queue_bind(name.into(), name.into(), "web.*".into(), binding, none()).await?;
        }
        Ok(Line { channel, jobs: jobs.into(), events: events.into() })
    }

    async fn publish(&self, exchange: &ShortString, body: &[u8]) -> Result<()> {
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        let properties = properties.with_delivery_mode(PERSISTENT);
        let sent =
            self.channel.basic_publish(exchange.clone(), "web.app".into(), options, body, properties).await?;
        ensure!(sent.await?.is_ack(), "the broker did not take a message");
        Ok(())
    }
}
