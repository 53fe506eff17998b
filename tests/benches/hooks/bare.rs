//! The baseline on RabbitMQ: a handler that publishes a job and the word that it was accepted, each confirmed before it
//! goes on, and answers. In a process of its own, as the ingress is. Nothing is checked, matched or counted.
//!
//! What it publishes is what the ingress would, to the same exchanges and queues, as persistent, as mandatory, and with
//! the same properties: what the broker does for each is then the same, and what differs is who asks for it.

use std::sync::Arc;
use std::time::Duration;
use tokio::process::Command;

use anyhow::{Context, Result, ensure};
use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use proto::{Cause, CauseKind, ChainId, Event, Gates, Job, JobId, Operation, Timestamp};
use tests::broker::Broker;
use tests::process::Process;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::hooks::PATH;

/// Has this program be it.
pub(crate) const ARGUMENT: &str = "--bare";

const LISTENING: &str = "listening at ";
const PERSISTENT: u8 = 2;

pub(crate) struct Bare {
    address: String,
    process: Process,
}

/// Starts it as a process, on a virtual host where all stands that Longshore declares.
pub(crate) async fn start(declared: &Broker) -> Result<Bare> {
    let mut command = Command::new(std::env::current_exe().context("find this program")?);
    command.arg(ARGUMENT).arg(declared.uri());
    let process = Process::start(command)?;
    let line = process.wait_for_line(LISTENING, Duration::from_secs(30)).await?;
    let address = line.split(LISTENING).nth(1).context("it does not say where it listens")?.to_owned();
    Ok(Bare { address, process })
}

impl Bare {
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn id(&self) -> Result<u32> {
        self.process.id()
    }
}

/// Is it, until it is killed.
pub(crate) async fn serve(uri: &str) -> Result<()> {
    let connection = Connection::connect(uri, ConnectionProperties::default()).await?;
    let line = Line::open(connection.create_channel().await?, Broker::at(uri.to_owned()).user()?).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{LISTENING}{}", listener.local_addr()?);
    let router = Router::new().route(PATH, post(take)).with_state(Arc::new(line));
    axum::serve(listener, router).await.context("serve")
}

async fn take(State(line): State<Arc<Line>>, _body: Bytes) -> StatusCode {
    let id = Uuid::now_v7().to_string();
    let kept = async {
        line.publish(&line.job, &id).await?;
        line.publish(&line.accepted, &id).await
    };
    match kept.await {
        Ok(()) => StatusCode::ACCEPTED,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Where its messages go.
struct Line {
    channel: Channel,
    user: ShortString,
    job: Sample,
    accepted: Sample,
}

/// A message of which only the job's id differs from hook to hook.
struct Sample {
    exchange: ShortString,
    key: ShortString,
    content_type: ShortString,
    body: String,
    id: String,
}

impl Line {
    async fn open(channel: Channel, user: String) -> Result<Line> {
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let job = job()?;
        let accepted = Event::of(&job, proto::State::Accepted, 0, 0);
        let sample = |exchange: &str, key: &str, content_type: &str, body: Vec<u8>| -> Result<Sample> {
            let (exchange, key, content_type) = (exchange.into(), key.into(), content_type.into());
            let (body, id) = (String::from_utf8(body)?, job.id.to_string());
            Ok(Sample { exchange, key, content_type, body, id })
        };
        let events = "application/cloudevents+json";
        Ok(Line {
            channel,
            user: user.into(),
            job: sample("longshore.jobs", "default.app-1", "application/json", job.encode())?,
            accepted: sample("longshore.events", "accepted.default.app-1", events, accepted.encode())?,
        })
    }

    async fn publish(&self, sample: &Sample, id: &str) -> Result<()> {
        let body = sample.body.replace(&sample.id, id);
        let properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_message_id(id.into())
            .with_content_type(sample.content_type.clone())
            .with_user_id(self.user.clone());
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let (exchange, key) = (sample.exchange.clone(), sample.key.clone());
        let sent = self.channel.basic_publish(exchange, key, options, body.as_bytes(), properties).await?;
        let confirmed = sent.await?;
        ensure!(matches!(confirmed, Confirmation::Ack(None)), "a message was not taken: {confirmed:?}");
        Ok(())
    }
}

/// What the ingress makes of a hook.
fn job() -> Result<Job> {
    let now = Timestamp::now();
    let id = JobId::mint(now, None);
    let operation = Operation::SetImage { image: "acme/app-1:1".parse()?, service: None };
    let cause = Cause {
        kind: CauseKind::Hook,
        source: Some("push".to_owned()),
        by: None,
        delivery: Some(id.to_string()),
    };
    Ok(Job {
        version: Job::VERSION,
        id,
        chain: ChainId::of(id),
        target: "default/app-1".parse()?,
        slots: operation.slots(),
        operation,
        cause,
        accepted_at: now,
        not_before: None,
        deadline: now + Duration::from_secs(3600),
        gates: Gates::default(),
        replays: None,
        traceparent: None,
    })
}
