//! What stands on the broker, read back from it.

use std::{collections::BTreeMap, time::Duration};

use config::{Bytes, Span};
use futures::{StreamExt, stream};
use lapin::{
    BasicProperties, Confirmation, ErrorKind,
    options::{BasicPublishOptions, QueueDeclareOptions},
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::{AMQPValue, FieldTable},
};
use proto::PoolName;
use queue::{AmqpSettings, Keep, Kept, Queue, QueueError, Since, amqp::Amqp};

use crate::support::{Bench, Look, job, open, settings, soon, until};

/// How many jobs wait in a pool at most.
const MOST_WAITING: usize = 100_000;

type Arguments = BTreeMap<&'static str, AMQPValue>;

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// The arguments of every queue that holds jobs.
fn quorum(dead_letters_to: &str) -> Arguments {
    BTreeMap::from([
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", AMQPValue::LongInt(1000)),
        ("x-dead-letter-exchange", text(dead_letters_to)),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
        ("x-max-length", AMQPValue::LongInt(100_000)),
        ("x-max-length-bytes", AMQPValue::LongLongInt(1 << 30)),
    ])
}

/// Declares the queue; the broker takes it only with the arguments that it has.
async fn is_taken(name: &str, arguments: &Arguments) -> bool {
    let look = Look::open().await;
    let table = arguments.iter().map(|(name, value)| ((*name).into(), value.clone()));
    let table = FieldTable::from(table.collect::<BTreeMap<_, _>>());
    let declaring = look.channel.queue_declare(name.into(), QueueDeclareOptions::durable(), table);
    match soon(declaring).await {
        Ok(_) => true,
        Err(error) => {
            let ErrorKind::ProtocolError(refusal) = error.kind() else { panic!("{error}") };
            let inequivalent = AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED);
            assert_eq!(*refusal.kind(), inequivalent, "{error}");
            false
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_queue_of_jobs_has_the_arguments_that_keep_them() {
    let settings = AmqpSettings { rungs: AmqpSettings::RUNGS.to_vec(), ..settings() };
    let queue = open(&settings).await;
    drop(queue.take(&PoolName::default(), 1).await.unwrap());
    let name = |rest: &str| format!("{}.{rest}", settings.prefix);
    let mut queues = vec![(name("jobs.default"), quorum(&name("dead")))];
    for (rung, milliseconds) in [("5s", 5_000), ("30s", 30_000), ("2m", 120_000), ("10m", 600_000)] {
        let mut arguments = quorum(&name("jobs"));
        arguments.insert("x-message-ttl", AMQPValue::LongLongInt(milliseconds));
        queues.push((name(&format!("retry.default.{rung}")), arguments));
    }
    for (queue, arguments) in queues {
        assert!(is_taken(&queue, &arguments).await, "{queue}: {arguments:?}");
        // Each of them counts: without it, it would be another queue.
        for left_out in arguments.keys() {
            let mut others = arguments.clone();
            others.remove(left_out);
            assert!(!is_taken(&queue, &others).await, "{queue} has no {left_out}");
        }
    }
}

/// The arguments of a stream.
fn stream_of(age: &str, bytes: i64) -> Arguments {
    BTreeMap::from([
        ("x-queue-type", text("stream")),
        ("x-max-age", text(age)),
        ("x-max-length-bytes", AMQPValue::LongLongInt(bytes)),
        ("x-stream-max-segment-size-bytes", AMQPValue::LongLongInt(64 << 20)),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_and_history_are_kept_as_the_settings_say_and_others_are_refused() {
    let day = Duration::from_secs(24 * 60 * 60);
    let letters = Kept { age: Span(90 * day), bytes: Bytes(1 << 30) };
    let history = Kept { age: Span(9 * day + day / 2), ..Kept::default() };
    let settings = AmqpSettings { keep: Keep { letters, history, ..Keep::default() }, ..settings() };
    let [dead, said] = ["dead", "history"].map(|rest| format!("{}.{rest}", settings.prefix));
    let queue = open(&settings).await;
    assert!(is_taken(&dead, &stream_of("90D", 1 << 30)).await);
    assert!(is_taken(&said, &stream_of("820800s", 4 << 30)).await);
    // Whoever reads it declares it again, as whoever starts.
    assert!(soon(queue.dead_letters()).await.unwrap().is_empty());
    assert!(soon(queue.history(Since::Start)).await.is_ok());

    let kept_otherwise = |keep| AmqpSettings { keep, ..settings.clone() };
    let shorter = Keep { letters: Kept { age: Span(30 * day), ..letters }, ..settings.keep };
    let smaller = Keep { history: Kept { bytes: Bytes(1 << 30), ..history }, ..settings.keep };
    for (keep, name, words) in [
        (shorter, &dead, ["x-max-age", "`keep.letters` is {age: 30d, bytes: 1GiB}"]),
        (smaller, &said, ["x-max-length-bytes", "`keep.history` is {age: 9d12h, bytes: 1GiB}"]),
    ] {
        let refused = Amqp::open(&kept_otherwise(keep)).await.unwrap_err();
        let QueueError::Topology { name: found, answer } = &refused else { panic!("{refused:?}") };
        assert_eq!(found, name);
        for word in words {
            assert!(answer.contains(word), "{word}: {answer}");
        }
    }
    assert!(queue.is_available(), "those that run already go on");
}

/// Anything else that is bound there takes a job for which there is no pool, and the broker then says it was kept.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_the_queues_of_pools_is_bound_to_the_exchange_of_the_jobs() {
    let (bench, pool) = (Bench::open().await, PoolName::default());
    // Whatever is declared at any time.
    let taking = bench.take(1).await;
    let answering = bench.queue.questions(&pool).await.unwrap();
    let coming_in = bench.queue.intake(1).await.unwrap();
    let followed = (bench.queue.history(Since::Start).await.unwrap(), bench.queue.live().await.unwrap());
    let locked = bench.queue.lock(&job("web").target).await.unwrap();
    bench.queue.dead_letters().await.unwrap();

    let listing =
        ["--quiet", "list_bindings", "-p", &bench.settings.vhost, "source_name", "destination_name"];
    let listed = std::process::Command::new("rabbitmqctl").args(listing).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let exchange = bench.name("jobs");
    let bound: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter(|(source, _)| *source == exchange)
        .map(|(_, queue)| queue)
        .collect();
    assert_eq!(bound, [bench.name("jobs.default")], "{listed}");
    drop((taking, answering, coming_in, followed, locked));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_full_says_so_and_keeps_what_it_has() {
    let bench = Bench::open().await;
    drop(bench.take(1).await);
    let jobs = bench.name("jobs");
    let published = stream::iter(0..MOST_WAITING)
        .map(|_| {
            let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
            let sending = bench.raw.channel.basic_publish(
                jobs.as_str().into(),
                "default.web".into(),
                options,
                b"x",
                properties.with_delivery_mode(2),
            );
            async move { sending.await.unwrap().await.unwrap() }
        })
        .buffered(2000)
        .filter(|confirmed| std::future::ready(matches!(confirmed, Confirmation::Ack(_))))
        .count()
        .await;
    assert_eq!(published, MOST_WAITING, "so many fit");
    let full = async || matches!(bench.queue.publish(&job("web")).await, Err(QueueError::Full));
    until("the pool's queue refuses one more", full).await;
    let waiting = bench.raw.waiting(&bench.name("jobs.default")).await;
    assert!(usize::try_from(waiting).unwrap() >= MOST_WAITING, "{waiting}");
}
