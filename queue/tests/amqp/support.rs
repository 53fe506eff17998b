//! A broker of the run, and what tests look at it with.

use std::{future::Future, sync::Arc, time::Duration};

use futures::StreamExt;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    message::Delivery as Raw,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
        QueueBindOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
    uri::AMQPUri,
};
use proto::{Cause, CauseKind, ChainId, Event, Gates, Job, JobId, Operation, PoolName, State, Timestamp};
use queue::{AmqpSettings, Deliveries, Delivery, Queue, amqp::Amqp};

pub(crate) const SHORT: Duration = Duration::from_millis(200);
pub(crate) const LONG: Duration = Duration::from_millis(500);

/// Longest wait for anything that must come.
pub(crate) const SOON: Duration = Duration::from_secs(15);

/// Long enough for what must not come to have come.
pub(crate) const WHILE: Duration = Duration::from_millis(400);

pub(crate) fn uri() -> AMQPUri {
    let uri = std::env::var("LONGSHORE_TEST_AMQP")
        .expect("LONGSHORE_TEST_AMQP names no broker: run the tests through tests/run");
    uri.parse().expect("LONGSHORE_TEST_AMQP is an AMQP URI")
}

/// Settings for the broker of the run, with names of their own and short rungs.
pub(crate) fn settings() -> AmqpSettings {
    let uri = uri();
    let host = format!("{}:{}", uri.authority.host, uri.authority.port);
    settings_at(vec![host])
}

pub(crate) fn settings_at(hosts: Vec<String>) -> AmqpSettings {
    let uri = uri();
    let password = config::Secret::new(uri.authority.userinfo.password);
    AmqpSettings {
        vhost: uri.vhost,
        prefix: format!("test-{}", uuid::Uuid::now_v7().simple()),
        rungs: vec![LONG, SHORT],
        ..AmqpSettings::new(hosts, uri.authority.userinfo.username, password)
    }
}

pub(crate) async fn open(settings: &AmqpSettings) -> Arc<Amqp> {
    Arc::new(Amqp::open(settings).await.expect("the broker of the run answers"))
}

/// An engine with names of its own, and a look at the broker beside it.
pub(crate) struct Bench {
    pub(crate) settings: AmqpSettings,
    pub(crate) queue: Arc<Amqp>,
    pub(crate) raw: Look,
}

impl Bench {
    pub(crate) async fn open() -> Bench {
        let settings = settings();
        let queue = open(&settings).await;
        Bench { raw: Look::open().await, settings, queue }
    }

    pub(crate) fn name(&self, rest: &str) -> String {
        format!("{}.{rest}", self.settings.prefix)
    }

    pub(crate) async fn take(&self, at_once: u16) -> Box<dyn Deliveries> {
        self.queue.take(&PoolName::default(), at_once).await.unwrap()
    }
}

/// A connection of the test's own.
pub(crate) struct Look {
    _connection: Connection,
    pub(crate) channel: Channel,
}

impl Look {
    pub(crate) async fn open() -> Look {
        let connecting = Connection::connect_uri(uri(), ConnectionProperties::default());
        let connection = soon(connecting).await.unwrap();
        let channel = soon(connection.create_channel()).await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        channel.basic_qos(500, BasicQosOptions::default()).await.unwrap();
        Look { _connection: connection, channel }
    }

    /// A queue of the test's own, bound to an exchange.
    pub(crate) async fn subscribe(&self, exchange: &str, key: &str, arguments: FieldTable) -> String {
        let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
        let queue = self.channel.queue_declare("".into(), options, arguments).await.unwrap();
        let name = queue.name().to_string();
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        self.channel
            .queue_bind(name.as_str().into(), exchange.into(), key.into(), options, none)
            .await
            .unwrap();
        name
    }

    /// The first messages of a stream.
    pub(crate) async fn read_stream(&self, stream: &str, count: usize) -> Vec<Raw> {
        let mut arguments = FieldTable::default();
        arguments.insert("x-stream-offset".into(), AMQPValue::LongString("first".into()));
        self.read_with(stream, count, arguments).await
    }

    /// Takes messages out of a queue.
    pub(crate) async fn read(&self, queue: &str, count: usize) -> Vec<Raw> {
        self.read_with(queue, count, FieldTable::default()).await
    }

    async fn read_with(&self, queue: &str, count: usize, arguments: FieldTable) -> Vec<Raw> {
        let options = BasicConsumeOptions::default();
        let mut consumer =
            self.channel.basic_consume(queue.into(), "".into(), options, arguments).await.unwrap();
        let mut read = Vec::new();
        while read.len() < count {
            let message = soon(consumer.next()).await.unwrap().unwrap();
            message.acker.ack(BasicAckOptions::default()).await.unwrap();
            read.push(message);
        }
        read
    }

    pub(crate) async fn send(&self, exchange: &str, key: &str, body: &[u8], headers: FieldTable) {
        let properties = BasicProperties::default().with_delivery_mode(2).with_headers(headers);
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let sent = self.channel.basic_publish(exchange.into(), key.into(), options, body, properties).await;
        assert_eq!(sent.unwrap().await.unwrap(), Confirmation::Ack(None));
    }

    /// How many messages wait in a queue.
    pub(crate) async fn waiting(&self, queue: &str) -> u32 {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let queue = self.channel.queue_declare(queue.into(), options, FieldTable::default()).await.unwrap();
        queue.message_count()
    }
}

pub(crate) fn header(message: &Raw, name: &str) -> Option<AMQPValue> {
    message.properties.headers().as_ref()?.inner().get(name).cloned()
}

pub(crate) fn text_header(message: &Raw, name: &str) -> Option<String> {
    match header(message, name)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

/// A subscriber's queue that is full as soon as it holds one message, and then refuses.
pub(crate) fn full_at_one() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(1));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    arguments
}

pub(crate) fn job(target: &str) -> Job {
    let id = JobId::mint(Timestamp::now(), None);
    let operation = Operation::SetImage { image: "acme/web:1".parse().unwrap(), service: None };
    Job {
        version: Job::VERSION,
        id,
        chain: ChainId::of(id),
        target: target.parse().unwrap(),
        slots: operation.slots(),
        operation,
        cause: Cause { kind: CauseKind::Api, source: None, by: None, delivery: None },
        accepted_at: Timestamp::now(),
        not_before: None,
        deadline: Timestamp::now() + Duration::from_secs(3600),
        gates: Gates::default(),
        replays: None,
        traceparent: None,
    }
}

pub(crate) fn event(target: &str, state: State) -> Event {
    Event::of(&job(target), state, 1, 0)
}

/// What must come, in time.
pub(crate) async fn soon<T>(coming: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, coming).await.expect("it comes in time")
}

pub(crate) async fn next(deliveries: &mut Box<dyn Deliveries>) -> Delivery {
    soon(deliveries.next()).await.unwrap()
}

pub(crate) async fn nothing_comes(deliveries: &mut Box<dyn Deliveries>) {
    let came = tokio::time::timeout(WHILE, deliveries.next()).await;
    assert!(came.is_err(), "{came:?}");
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(SOON, waiting).await.is_ok(), "in time, {what}");
}

/// Has the broker of the run evaluate an expression.
pub(crate) async fn eval(expression: String) {
    let asking = move || std::process::Command::new("rabbitmqctl").args(["eval", &expression]).output();
    let output = tokio::task::spawn_blocking(asking).await.unwrap().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told} {}", String::from_utf8_lossy(&output.stdout));
}
