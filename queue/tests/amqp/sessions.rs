//! Reaching the broker, losing it, and finding it again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use config::Secret;
use lapin::{
    ExchangeKind,
    options::{ExchangeDeclareOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::{AMQPValue, FieldTable},
};
use proto::{Job, JobId, PoolName, State};
use queue::{AmqpSettings, Queue, QueueError, Settlement, TlsSettings, amqp::Amqp};

use crate::{
    proxy::Proxy,
    support::{Bench, Look, event, job, next, open, settings, settings_at, soon, until},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_is_waited_for() {
    let proxy = Proxy::open().await;
    proxy.close();
    let queue = open(&settings_at(vec![proxy.address.to_string()])).await;
    assert!(!queue.is_available());
    let asked = Instant::now();
    let refused = queue.publish(&job("web")).await;
    assert!(matches!(refused, Err(QueueError::Unavailable { .. })), "{refused:?}");
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    proxy.reopen();
    until("the broker is found", async || queue.is_available()).await;
    queue.emit(&event("web", State::Accepted)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_host_is_tried_when_one_does_not_answer() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let hosts = vec!["127.0.0.1:1".to_owned(), address, settings().hosts.remove(0)];
    let queue = open(&settings_at(hosts)).await;
    assert!(queue.is_available());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_names_the_user_and_not_the_password() {
    let settings =
        AmqpSettings { user: "nobody".to_owned(), password: Secret::new("hunter2-hunter2"), ..settings() };
    let refused = Amqp::open(&settings).await.unwrap_err();
    let said = format!("{refused} {refused:?}");
    assert!(matches!(refused, QueueError::Settings(_)), "{said}");
    assert!(said.contains("`nobody`") && !said.contains("hunter2"), "{said}");
    let elsewhere = AmqpSettings { vhost: "nowhere".to_owned(), ..crate::support::settings() };
    let refused = Amqp::open(&elsewhere).await.unwrap_err();
    assert!(matches!(&refused, QueueError::Settings(said) if said.contains("`nowhere`")), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_work_are_refused_before_anything_connects() {
    for wrong in [
        AmqpSettings { hosts: Vec::new(), ..settings() },
        AmqpSettings { hosts: vec!["a b".to_owned()], ..settings() },
        AmqpSettings { prefix: "x".repeat(101), ..settings() },
        AmqpSettings { rungs: Vec::new(), ..settings() },
    ] {
        let refused = Amqp::open(&wrong).await;
        assert!(matches!(refused, Err(QueueError::Settings(_))), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn something_else_under_our_name_is_refused_by_name() {
    let settings = settings();
    let raw = Look::open().await;
    let name = format!("{}.events", settings.prefix);
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let declared = raw.channel.exchange_declare(
        name.as_str().into(),
        ExchangeKind::Fanout,
        options,
        FieldTable::default(),
    );
    declared.await.unwrap();
    let refused = Amqp::open(&settings).await.unwrap_err();
    match &refused {
        QueueError::Topology { name: found, answer } => {
            assert_eq!(*found, name);
            assert!(answer.contains("inequivalent arg 'type'"), "{answer}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_keeps_too_little_is_refused_with_what_to_do() {
    let settings = settings();
    let raw = Look::open().await;
    // In the order in which they are declared.
    for name in ["dead", "history"].map(|rest| format!("{}.{rest}", settings.prefix)) {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("stream".into()));
        arguments.insert("x-max-age".into(), AMQPValue::LongString("1h".into()));
        arguments.insert("x-max-length-bytes".into(), AMQPValue::LongLongInt(4 << 30));
        arguments.insert("x-stream-max-segment-size-bytes".into(), AMQPValue::LongLongInt(64 << 20));
        let options = QueueDeclareOptions::durable();
        raw.channel.queue_declare(name.as_str().into(), options, arguments).await.unwrap();
        let refused = Amqp::open(&settings).await.unwrap_err();
        let QueueError::Topology { name: found, answer } = &refused else { panic!("{refused:?}") };
        assert_eq!(*found, name);
        for word in
            ["x-max-age", "age: 30d, bytes: 4GiB", &format!("rabbitmqctl delete_queue {name}"), "`prefix`"]
        {
            assert!(answer.contains(word), "{word}: {answer}");
        }
        raw.channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    }
    assert!(open(&settings).await.is_available());
}

#[tokio::test(flavor = "multi_thread")]
async fn declaring_everything_again_changes_nothing() {
    let bench = Bench::open().await;
    let _taking = bench.take(1).await;
    bench.queue.publish(&job("web")).await.unwrap();
    let again = open(&bench.settings).await;
    let mut taking = again.take(&PoolName::default(), 1).await.unwrap();
    drop(_taking);
    next(&mut taking).await.settle(Settlement::Ack).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_whose_ladder_is_another_is_refused_by_name() {
    let bench = Bench::open().await;
    let name = bench.name("retry.default.200ms");
    let options = QueueDeclareOptions::durable();
    bench.raw.channel.queue_declare(name.as_str().into(), options, FieldTable::default()).await.unwrap();
    let refused = bench.queue.take(&PoolName::default(), 1).await.err();
    assert!(
        matches!(&refused, Some(QueueError::Topology { name: found, .. }) if *found == name),
        "{refused:?}"
    );
    // The refusal cost one channel, nothing more.
    assert!(bench.queue.is_available());
}

/// Enough for some of them to be under way when a connection is cut.
const PUBLISHED_BETWEEN_CUTS: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_connections_are_cut() {
    let proxy = Proxy::open().await;
    let queue = open(&settings_at(vec![proxy.address.to_string()])).await;
    let mut taking = queue.take(&PoolName::default(), 50).await.unwrap();
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut publishing = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (queue, stop, count) = (Arc::clone(&queue), Arc::clone(&stop), Arc::clone(&count));
        publishing.spawn(async move {
            let mut published: Vec<JobId> = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                let job = job("web");
                while queue.publish(&job).await.is_err() {}
                published.push(job.id);
                count.fetch_add(1, Ordering::SeqCst);
            }
            published
        });
    }
    let taken = tokio::spawn(async move {
        let mut taken = std::collections::HashSet::new();
        while let Ok(Ok(delivery)) = tokio::time::timeout(Duration::from_secs(5), taking.next()).await {
            let id = Job::decode(delivery.body()).unwrap().id;
            if delivery.settle(Settlement::Ack).await.is_ok() {
                taken.insert(id);
            }
        }
        taken
    });
    for _ in 0..4 {
        let before = count.load(Ordering::SeqCst);
        let goes_on = async || count.load(Ordering::SeqCst) >= before + PUBLISHED_BETWEEN_CUTS;
        until("jobs are published between cuts", goes_on).await;
        proxy.cut();
        let cut = Instant::now();
        until("the broker is found again", async || queue.is_available()).await;
        assert!(cut.elapsed() < Duration::from_secs(5), "{:?}", cut.elapsed());
    }
    stop.store(true, Ordering::SeqCst);
    let published: Vec<JobId> = soon(publishing.join_all()).await.concat();
    let taken = taken.await.unwrap();
    let lost = published.iter().filter(|id| !taken.contains(id)).count();
    println!("published {}, taken {}, lost {lost}", published.len(), taken.len());
    assert_eq!(lost, 0);
    assert!(published.len() >= 4 * PUBLISHED_BETWEEN_CUTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_engine_says_so_and_gives_back_what_it_held() {
    let bench = Bench::open().await;
    let mut taking = bench.take(1).await;
    let job = job("web");
    bench.queue.publish(&job).await.unwrap();
    let held = next(&mut taking).await;
    soon(bench.queue.close()).await;
    assert!(!bench.queue.is_available() && !held.is_ours());
    assert!(matches!(taking.next().await, Err(QueueError::Closed)));
    assert!(matches!(bench.queue.publish(&job).await, Err(QueueError::Closed)));
    let late = held.settle(Settlement::Ack).await;
    assert!(matches!(late, Err(QueueError::NotOurs)), "{late:?}");
    let other = open(&bench.settings).await;
    let mut taking = other.take(&PoolName::default(), 1).await.unwrap();
    assert_eq!(Job::decode(next(&mut taking).await.body()).unwrap(), job);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_tls_is_not_spoken_to_in_the_open() {
    let settings = AmqpSettings { tls: Some(TlsSettings::default()), ..settings() };
    let queue = open(&settings).await;
    assert!(!queue.is_available());
}

/// Set in a process of its own: threads can only be counted where no other test makes any.
const SILENT: &str = "QUEUE_TEST_SILENT_BROKER";

#[test]
fn what_is_given_up_is_freed() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Ok(address) = std::env::var(SILENT) {
        return runtime.block_on(give_up_and_count(address));
    }
    // Accepts and says nothing, as a frozen broker does; with TLS the handshake waits as well.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let _open: Vec<_> = silent.incoming().collect();
    });
    let counted = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sessions::what_is_given_up_is_freed", "--nocapture"])
        .env(SILENT, address)
        .status()
        .unwrap();
    assert!(counted.success());
}

/// Several attempts, and afterwards not a thread nor a socket is left of them.
async fn give_up_and_count(address: String) {
    let plain = settings_at(vec![address.clone()]);
    let tls = AmqpSettings { tls: Some(TlsSettings::default()), ..settings_at(vec![address]) };
    for settings in [plain, tls] {
        let opening = (0..3).map(|_| {
            let settings = settings.clone();
            async move { Amqp::open(&settings).await }
        });
        let opening = tokio::spawn(futures::future::join_all(opening.collect::<Vec<_>>()));
        until("the attempts are under way", async || waiting_threads() == 3 && open_sockets() > 0).await;
        let opened = opening.await.unwrap();
        for queue in opened {
            let queue = queue.unwrap();
            assert!(!queue.is_available());
            queue.close().await;
        }
        until("every thread ends", async || waiting_threads() == 0).await;
        until("every socket is closed", async || open_sockets() == 0).await;
    }
}

/// Threads that serve a connection.
fn waiting_threads() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").unwrap().map(|thread| thread.unwrap().path());
    let names = threads.filter_map(|thread| std::fs::read_to_string(thread.join("comm")).ok());
    names.filter(|name| name.starts_with("lapin-io-loop")).count()
}

/// Connections of this process that are open.
fn open_sockets() -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().map(|file| file.unwrap().path());
    let names = open.filter_map(|file| Some(std::fs::read_link(file).ok()?.to_string_lossy().into_owned()));
    let connections = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let is_connection = |name: &String| {
        let number = name.strip_prefix("socket:[").and_then(|name| name.strip_suffix(']'));
        number.is_some_and(|number| connections.split_whitespace().any(|field| field == number))
    };
    names.filter(is_connection).count()
}
