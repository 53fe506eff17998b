//! From a hook to the first call to the engine, beside what keeping the job costs at least.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use tests::engine::Engine;
use tests::environment;
use tests::fleet;

use crate::{median, stage::Stage, tap::Tap};

const ROUNDS: usize = 15;

/// Bytes of a job as it travels.
const BODY: usize = 1024;

pub(crate) async fn run() -> Result<()> {
    for (on, name, baseline) in [
        (fleet::Engine::Broker, "RabbitMQ", publishes().await?),
        (fleet::Engine::Embedded, "the embedded queue", syncs()?),
    ] {
        let took = hooks(on).await?;
        println!(
            "hook to the first call to the engine, on {name}: {:.1} ms beside {:.2} ms (one {}), medians",
            took * 1e3,
            baseline * 1e3,
            if on == fleet::Engine::Broker { "publish of raw lapin, confirmed" } else { "fsync" },
        );
    }
    Ok(())
}

/// A service without tasks is updated at once, so rounds are short.
async fn hooks(on: fleet::Engine) -> Result<f64> {
    let tap = Tap::lay(Engine::of_the_run()?.host()).await?;
    let mut stage = Stage::new(on, &tap.host, (1, &["--replicas", "0"])).await?;
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        let image = stage.next_image();
        let mut live = stage.fleet.events("/v1/events").await?;
        tap.take();
        let began = Instant::now();
        stage.hook(&image).await?;
        stage.until_ended(&mut live, 1).await?;
        let asked = tap.take();
        let first = asked.iter().find(|request| request.line.contains("/distribution/"));
        let first = first.with_context(|| format!("the engine was never asked for the image: {asked:?}"))?;
        took.push(first.at.duration_since(began).as_secs_f64());
    }
    Ok(median(took))
}

/// One durable message after another, each confirmed before the next.
async fn publishes() -> Result<f64> {
    let uri = environment::amqp_uri()?;
    let connection = Connection::connect(&uri, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let name = environment::unique("baseline");
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), lapin::types::AMQPValue::LongString("quorum".into()));
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(name.as_str().into(), durable, arguments).await?;
    let mut took = Vec::new();
    for _ in 0..ROUNDS * 10 {
        let began = Instant::now();
        let properties = BasicProperties::default().with_delivery_mode(2);
        let sent = channel
            .basic_publish(
                "".into(),
                name.as_str().into(),
                BasicPublishOptions::default(),
                &[b'x'; BODY],
                properties,
            )
            .await?;
        ensure!(sent.await?.is_ack(), "the broker did not take a message");
        took.push(began.elapsed().as_secs_f64());
    }
    Ok(median(took))
}

fn syncs() -> Result<f64> {
    let folder = tempfile::tempdir().context("make a directory")?;
    let mut file = std::fs::File::create(folder.path().join("baseline")).context("make a file")?;
    let mut took: Vec<Duration> = Vec::new();
    for _ in 0..ROUNDS * 10 {
        let began = Instant::now();
        file.write_all(&[b'x'; BODY]).context("write a file")?;
        file.sync_all().context("sync a file")?;
        took.push(began.elapsed());
    }
    Ok(median(took.iter().map(Duration::as_secs_f64).collect()))
}
