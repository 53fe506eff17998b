//! The broker of the test run, as anybody sees it who speaks AMQP: nothing here knows our own queue crate.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use futures::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use crate::environment;
use crate::wait::eventually;

const ANSWER: Duration = Duration::from_secs(20);

/// The broker, or one virtual host of it.
#[derive(Debug, Clone)]
pub struct Broker {
    uri: String,
}

/// A queue of one test's own, bound to an exchange; gone when dropped.
pub struct Subscriber {
    _connection: Connection,
    _channel: Channel,
    consumer: Consumer,
    what: String,
}

/// A message as it was delivered.
#[derive(Debug, Clone)]
pub struct Message {
    /// The key it was published with.
    pub routing_key: String,
    /// The properties, headers among them.
    pub properties: BasicProperties,
    /// The body as JSON; one that is not JSON comes as a string.
    pub body: Value,
}

impl Broker {
    /// The default virtual host, which all tests share: names in it must be [`environment::unique`].
    pub fn shared() -> Result<Self> {
        Ok(Self { uri: environment::amqp_uri()? })
    }

    /// The broker and virtual host that `uri` names.
    pub fn at(uri: String) -> Self {
        Self { uri }
    }

    /// The same virtual host, reached at `address` (`host:port`), such as that of a proxy.
    pub fn through(&self, address: &str) -> Result<Self> {
        Ok(Self { uri: self.uri.replacen(&self.host()?, address, 1) })
    }

    /// A virtual host of one test's own, where the usual names are free.
    pub async fn own_virtual_host() -> Result<Self> {
        let name = environment::unique("test");
        let uri = environment::amqp_uri()?;
        let (server, _) = uri.rsplit_once('/').context("find the virtual host in LONGSHORE_TEST_AMQP")?;
        control(&["eval", &virtual_host_expression(&name)]).await?;
        Ok(Self { uri: format!("{server}/{name}") })
    }

    /// Whether somebody consumes a queue: a worker does so only once its queue is bound.
    ///
    /// # Errors
    /// When there is no such queue, or nobody at it.
    pub async fn find_consumer(&self, queue: &str) -> Result<()> {
        ensure!(self.look_at(queue).await?.consumer_count() > 0, "nobody consumes {queue}");
        Ok(())
    }

    /// How many messages of a queue wait for somebody to take them.
    ///
    /// # Errors
    /// When there is no such queue.
    pub async fn messages_in(&self, name: &str) -> Result<u32> {
        Ok(self.look_at(name).await?.message_count())
    }

    async fn look_at(&self, name: &str) -> Result<lapin::Queue> {
        let channel = self.connect().await?.create_channel().await.context("open a channel")?;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let found = channel.queue_declare(name.into(), options, FieldTable::default()).await;
        found.with_context(|| format!("find the queue {name}"))
    }

    /// `host:port`, as a configuration names it.
    pub fn host(&self) -> Result<String> {
        Ok(self.parts()?.1)
    }

    /// Who logs in.
    pub fn user(&self) -> Result<String> {
        let login = self.parts()?.0;
        Ok(login.split_once(':').map_or(login.clone(), |(user, _)| user.to_owned()))
    }

    /// With what.
    pub fn password(&self) -> Result<String> {
        let login = self.parts()?.0;
        login.split_once(':').map(|(_, password)| password.to_owned()).context("find the broker's password")
    }

    /// The virtual host's name.
    pub fn virtual_host(&self) -> Result<String> {
        Ok(self.parts()?.2.replace("%2f", "/"))
    }

    /// Login, host and virtual host.
    fn parts(&self) -> Result<(String, String, String)> {
        let rest = self.uri.strip_prefix("amqp://").context("find `amqp://` in the broker's URI")?;
        let (login, rest) = rest.split_once('@').context("find the login in the broker's URI")?;
        let (host, vhost) = rest.split_once('/').context("find the virtual host in the broker's URI")?;
        Ok((login.to_owned(), host.to_owned(), vhost.to_owned()))
    }

    /// The URI with user, password and virtual host.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// A connection of its own.
    pub async fn connect(&self) -> Result<Connection> {
        let connecting = Connection::connect(&self.uri, ConnectionProperties::default());
        timeout(ANSWER, connecting)
            .await
            .context("the broker does not answer")?
            .context("connect to the broker")
    }

    /// Listens to what is published to `exchange` with a key that matches `binding_key`, from now on. An
    /// exchange that is not there yet is waited for.
    pub async fn subscribe(&self, exchange: &str, binding_key: &str) -> Result<Subscriber> {
        let connection = self.connect().await?;
        let what = format!("exchange {exchange}, key {binding_key}");
        let (channel, consumer) =
            eventually(ANSWER, &what, || listen(&connection, exchange, binding_key)).await?;
        Ok(Subscriber { _connection: connection, _channel: channel, consumer, what })
    }

    /// Publishes one message and waits until the broker has it in a queue.
    ///
    /// # Errors
    /// Also when no queue takes it.
    pub async fn publish(&self, exchange: &str, routing_key: &str, body: &[u8]) -> Result<()> {
        self.publish_with(exchange, routing_key, body, BasicProperties::default()).await
    }

    /// The same under the name with which the fleet logs in: what the broker lays aside of the fleet's own bears it.
    ///
    /// # Errors
    /// As [`Broker::publish`].
    pub async fn publish_as_fleet(&self, exchange: &str, routing_key: &str, body: &[u8]) -> Result<()> {
        let properties = BasicProperties::default().with_user_id(self.user()?.into());
        self.publish_with(exchange, routing_key, body, properties).await
    }

    /// The same with properties of the caller's choice; it is persistent whatever they say.
    ///
    /// # Errors
    /// As [`Broker::publish`].
    pub async fn publish_with(
        &self,
        exchange: &str,
        routing_key: &str,
        body: &[u8],
        properties: BasicProperties,
    ) -> Result<()> {
        let connection = self.connect().await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties = properties.with_delivery_mode(2);
        let publishing =
            channel.basic_publish(exchange.into(), routing_key.into(), options, body, properties);
        let confirmation =
            timeout(ANSWER, publishing.await?).await.context("wait for the broker's confirm")??;
        ensure!(
            matches!(confirmation, Confirmation::Ack(None)),
            "{routing_key} was not taken: {confirmation:?}"
        );
        Ok(())
    }
}

impl Subscriber {
    /// The next message, in the order they came.
    pub async fn next(&mut self, deadline: Duration) -> Result<Message> {
        let delivery = timeout(deadline, self.consumer.next()).await;
        let delivery =
            delivery.map_err(|_| anyhow!("nothing came from {} within {deadline:?}", self.what))?;
        delivery.context("the subscription has ended")?.map(message).context("take a delivery")
    }

    /// The next message that `wanted` says yes to, and all that came before it.
    pub async fn until(
        &mut self,
        deadline: Duration,
        mut wanted: impl FnMut(&Message) -> bool,
    ) -> Result<Vec<Message>> {
        let mut seen = Vec::new();
        let ended = timeout(deadline, async {
            loop {
                let message = self.next(deadline).await?;
                let found = wanted(&message);
                seen.push(message);
                if found {
                    return Ok::<(), anyhow::Error>(());
                }
            }
        })
        .await;
        match ended {
            Ok(Ok(())) => Ok(seen),
            Ok(Err(error)) => Err(error.context(format!("after {seen:#?}"))),
            Err(_) => {
                Err(anyhow!("the awaited message did not come within {deadline:?}; before it: {seen:#?}"))
            }
        }
    }
}

/// Runs `rabbitmqctl` on the run's broker and gives its standard output.
pub async fn control(arguments: &[&str]) -> Result<String> {
    environment::amqp_uri()?;
    let mut command = Command::new("rabbitmqctl");
    let running = command.args(arguments).kill_on_drop(true).output();
    let output = timeout(Duration::from_secs(60), running).await.context("rabbitmqctl does not end")??;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "rabbitmqctl {arguments:?}: {errors}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// One expression instead of `add_vhost` and `set_permissions`: each command costs a second of two cores.
fn virtual_host_expression(name: &str) -> String {
    format!(
        "ok = rabbit_vhost:add(<<\"{name}\">>, <<\"guest\">>), \
         rabbit_auth_backend_internal:set_permissions(<<\"guest\">>, <<\"{name}\">>, \
         <<\".*\">>, <<\".*\">>, <<\".*\">>, <<\"guest\">>)."
    )
}

async fn listen(connection: &Connection, exchange: &str, binding_key: &str) -> Result<(Channel, Consumer)> {
    let channel = connection.create_channel().await?;
    let exclusive =
        QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare("".into(), exclusive, FieldTable::default()).await?.name().clone();
    let none = FieldTable::default;
    channel
        .queue_bind(queue.clone(), exchange.into(), binding_key.into(), QueueBindOptions::default(), none())
        .await?;
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let consumer = channel.basic_consume(queue, "".into(), options, none()).await?;
    Ok((channel, consumer))
}

fn message(delivery: Delivery) -> Message {
    let text = String::from_utf8_lossy(&delivery.data).into_owned();
    Message {
        routing_key: delivery.routing_key.to_string(),
        properties: delivery.properties,
        body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
    }
}
