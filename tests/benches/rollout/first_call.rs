//! From a hook to the first call to the engine, beside what keeping the job costs at least.

use std::io::Write;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use tests::engine::Engine;
use tests::environment;
use tests::fleet;

use crate::figures::{judged, median, median_of};
use crate::stage::Stage;
use crate::tap::{Request, Tap};

/// Turns for each that the race has: these are short.
const TIMES: usize = 3;

/// Of the baseline, one after another in each turn.
const OF_ONE_TURN: usize = 10;

/// Bytes of a job as it travels.
const BODY: usize = 1024;

/// How many times as long as one request to the ingress and one message that is kept, together. A hook is answered; its job
/// and what is said of it are kept, taken and locked; and that it was started is said and seen.
const MOST_TIMES: f64 = 20.0;

/// What keeps one message.
enum Keeper {
    Broker { channel: Channel, queue: String, _connection: Box<Connection> },
    Disk { file: std::fs::File, _folder: tempfile::TempDir },
}

/// What is measured in turns, in seconds.
#[derive(Default)]
struct Figures {
    hooks: Vec<f64>,
    requests: Vec<f64>,
    keeps: Vec<f64>,
}

/// Whether every bound was kept.
pub(crate) async fn run(turns: usize) -> Result<bool> {
    let mut kept = true;
    for (on, name, what) in [
        (fleet::Engine::Broker, "RabbitMQ", "publish of raw lapin, confirmed"),
        (fleet::Engine::Embedded, "the embedded queue", "fsync"),
    ] {
        let Figures { hooks, requests, keeps } = in_turns(on, turns * TIMES).await?;
        let least: Vec<f64> = requests.iter().zip(&keeps).map(|(request, keep)| request + keep).collect();
        let times = median_of(&hooks, &least, |ours, least| ours / least);
        kept &= judged(
            &format!(
                "hook to the first call to the engine, on {name}: {:.1} ms beside {:.2} ms (one {what}) and {:.2} ms (one \
                 request to the ingress), medians: {times:.1} times both, at most {MOST_TIMES}",
                median(hooks) * 1e3,
                median(keeps) * 1e3,
                median(requests) * 1e3,
            ),
            times <= MOST_TIMES,
        );
    }
    Ok(kept)
}

/// A service without tasks is updated at once, so turns are short.
async fn in_turns(on: fleet::Engine, turns: usize) -> Result<Figures> {
    let tap = Tap::lay(Engine::of_the_run()?.host()).await?;
    let mut stage = Stage::new(on, &tap.host, (1, &["--replicas", "0"])).await?;
    let mut keeper = Keeper::new(on).await?;
    let mut figures = Figures::default();
    for _ in 0..turns {
        figures.hooks.push(hook(&mut stage, &tap).await?);
        let (mut requests, mut keeps) = (Vec::new(), Vec::new());
        for _ in 0..OF_ONE_TURN {
            requests.push(request(&stage).await?);
            keeps.push(keeper.keep().await?);
        }
        figures.requests.push(median(requests));
        figures.keeps.push(median(keeps));
    }
    Ok(figures)
}

async fn hook(stage: &mut Stage, tap: &Tap) -> Result<f64> {
    let image = stage.next_image();
    let mut live = stage.fleet.events("/v1/events").await?;
    tap.take();
    let began = Instant::now();
    stage.hook(&image).await?;
    stage.until_ended(&mut live, 1).await?;
    let asked = tap.take();
    let service = &stage.services[0].name;
    let first = asked.iter().find(|request| is_for_the_job(request, service));
    let first = first.with_context(|| format!("the engine was never asked for the job: {asked:?}"))?;
    Ok(first.at.duration_since(began).as_secs_f64())
}

/// Other calls, as for what has changed on the engine, are made all the time.
fn is_for_the_job(request: &Request, service: &str) -> bool {
    request.line.contains("/distribution/") || request.line.contains(&format!("/services/{service}"))
}

/// The least that the ingress can be asked for, with its answer.
async fn request(stage: &Stage) -> Result<f64> {
    let began = Instant::now();
    let answer = stage.fleet.get("/healthz").send().await?;
    ensure!(answer.status().is_success(), "the ingress is not well: {}", answer.status());
    answer.bytes().await.context("read the answer")?;
    Ok(began.elapsed().as_secs_f64())
}

impl Keeper {
    async fn new(on: fleet::Engine) -> Result<Keeper> {
        match on {
            fleet::Engine::Broker => Keeper::on_broker().await,
            fleet::Engine::Embedded => {
                let folder = tempfile::tempdir().context("make a directory")?;
                let file = std::fs::File::create(folder.path().join("baseline")).context("make a file")?;
                Ok(Keeper::Disk { file, _folder: folder })
            }
        }
    }

    async fn on_broker() -> Result<Keeper> {
        let uri = environment::amqp_uri()?;
        let connection = Connection::connect(&uri, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let queue = environment::unique("baseline");
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), lapin::types::AMQPValue::LongString("quorum".into()));
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(queue.as_str().into(), durable, arguments).await?;
        Ok(Keeper::Broker { channel, queue, _connection: Box::new(connection) })
    }

    /// How long it takes until one message is kept.
    async fn keep(&mut self) -> Result<f64> {
        let began = Instant::now();
        match self {
            Keeper::Broker { channel, queue, .. } => {
                let (to, durable) = (queue.as_str().into(), BasicProperties::default().with_delivery_mode(2));
                let options = BasicPublishOptions::default();
                let sent = channel.basic_publish("".into(), to, options, &[b'x'; BODY], durable).await?;
                ensure!(sent.await?.is_ack(), "the broker did not take a message");
            }
            Keeper::Disk { file, .. } => {
                file.write_all(&[b'x'; BODY]).context("write a file")?;
                file.sync_all().context("sync a file")?;
            }
        }
        Ok(began.elapsed().as_secs_f64())
    }
}
