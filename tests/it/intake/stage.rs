//! A broker set up as a person does it, by what `longshore broker setup` prints, and the users it makes.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation};
use serde_json::Value;
use tests::broker::Broker;
use tests::environment::{amqp_uri, unique};
use tests::fleet::Fleet;
use tests::process::longshore;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

pub(super) const SOON: Duration = Duration::from_secs(60);
const PASSWORD: &str = "a-password-for-tests";

/// A fleet that logs in as its own user, and two others.
pub(super) struct Stage {
    pub(super) fleet: Fleet,
    /// The name of who may publish.
    pub(super) ci: String,
    /// The name of Diun's user.
    pub(super) diun: String,
    /// The name of who may listen.
    pub(super) page: String,
    uri: String,
    vhost: String,
}

impl Stage {
    /// Makes virtual host and users with the printed commands; nothing runs yet.
    pub(super) async fn new(sections: &str) -> Result<Stage> {
        let (own, ci, diun, vhost) = (unique("ls"), unique("ci"), unique("diun"), unique("test"));
        let page = unique("page");
        let uri = amqp_uri()?;
        let fleet = Fleet::prepare_on(Broker::at(login(&uri, &own, &vhost)?)).await?;
        let access = format!(", amqp: {{{ci}: {{targets: [web]}}}}");
        let file = fleet.configure_with(sections, &access)?;
        let printed = typed(
            &fleet,
            &["broker", "setup", "--config"],
            &[file.to_str().context("a path")?, "--print", "--diun", &diun, "--subscriber", &page, "--json"],
        )
        .await?;
        let steps: Value = serde_json::from_str(&printed).context("read the steps")?;
        for step in steps.as_array().context("no steps")? {
            let words = step["command"].as_array().context("no command")?.iter();
            let words: Vec<&str> = words.filter_map(Value::as_str).collect();
            run_step(&words).await?;
        }
        Ok(Stage { fleet, ci, diun, page, uri, vhost })
    }

    /// The broker, as this user sees it.
    pub(super) fn as_user(&self, user: &str) -> Result<Broker> {
        Ok(Broker::at(login(&self.uri, user, &self.vhost)?))
    }

    /// A channel with confirms of this user's own.
    pub(super) async fn channel(&self, user: &str) -> Result<Channel> {
        // The connection lives as long as its channel.
        let channel = self.as_user(user)?.connect().await?.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(channel)
    }

    /// Publishes to the intake as CI does, with its name and the message's.
    pub(super) async fn publish(&self, id: &str, body: &str) -> Result<()> {
        let properties = properties(&self.ci).with_message_id(id.into());
        publish(&self.channel(&self.ci).await?, "longshore.intake", "deploy", body, properties).await
    }

    /// Types a command of `longshore` in the fleet's directory, as its operator.
    pub(super) async fn typed(&self, words: &[&str]) -> Result<String> {
        typed(&self.fleet, words, &[]).await
    }
}

/// Properties that say who publishes.
pub(super) fn properties(user: &str) -> BasicProperties {
    BasicProperties::default().with_delivery_mode(2).with_user_id(ShortString::from(user))
}

/// Publishes one message.
///
/// # Errors
/// When the broker refuses it or no queue takes it.
pub(super) async fn publish(
    channel: &Channel,
    exchange: &str,
    key: &str,
    body: &str,
    properties: BasicProperties,
) -> Result<()> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let publishing =
        channel.basic_publish(exchange.into(), key.into(), options, body.as_bytes(), properties).await?;
    let confirmation = timeout(SOON, publishing).await.context("wait for the broker's confirm")??;
    ensure!(matches!(confirmation, Confirmation::Ack(None)), "not taken: {confirmation:?}");
    Ok(())
}

fn login(uri: &str, user: &str, vhost: &str) -> Result<String> {
    let (_, rest) = uri.split_once('@').context("find the login in the broker's URI")?;
    let (host, _) = rest.split_once('/').context("find the virtual host in the broker's URI")?;
    Ok(format!("amqp://{user}:{PASSWORD}@{host}/{vhost}"))
}

async fn typed(fleet: &Fleet, words: &[&str], more: &[&str]) -> Result<String> {
    let mut command = longshore("longshore")?;
    command.args(words).args(more).current_dir(fleet.folder());
    command.env("LONGSHORE_URL", fleet.url(""));
    command.env("LONGSHORE_TOKEN", std::fs::read_to_string(fleet.folder().join("token"))?);
    ended(command, "").await
}

/// Runs a printed command; where it asks for a password, it gets one.
async fn run_step(words: &[&str]) -> Result<()> {
    let (program, arguments) = words.split_first().context("an empty command")?;
    let mut command = Command::new(program);
    command.args(arguments);
    ended(command, &format!("{PASSWORD}\n")).await.map(drop)
}

async fn ended(mut command: Command, input: &str) -> Result<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().with_context(|| format!("start {command:?}"))?;
    let mut stdin = child.stdin.take().context("no input")?;
    // Most of them read none, and may have ended already.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = timeout(SOON, child.wait_with_output()).await.context("it does not end")??;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}: {errors}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
