//! Others who write at the same time: on the service, and in another worker.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use proto::{Event, State};
use queue::Queue;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream, UnixStream},
    task::JoinHandle,
};

use crate::{
    lab::{STAYS_UP, Service, environment, swarm},
    registry::Registry,
    stage::{Stage, job},
};

const PATIENCE: Duration = Duration::from_secs(180);

/// What somebody else is quicker with.
#[derive(Clone)]
struct Quicker {
    /// With which of the writes of a service, from 1.
    nth: usize,
    service: String,
    /// The image that is changed by hand; without one, a label is.
    image: Option<String>,
}

/// A way to the engine on which somebody else is quicker with one write of a service.
struct Rival {
    host: String,
    writes: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Rival {
    /// Before that write goes through, the service is changed by hand.
    async fn with(quicker: Quicker) -> Rival {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("tcp://{}", listener.local_addr().unwrap());
        let writes = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&writes);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, quicker.clone(), Arc::clone(&counted)));
            }
        });
        Rival { host, writes, accepting }
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(client: TcpStream, quicker: Quicker, writes: Arc<AtomicUsize>) {
    let path = environment("LONGSHORE_TEST_DOCKER").trim_start_matches("unix://").to_owned();
    let (mut from_engine, mut to_engine) = UnixStream::connect(&path).await.unwrap().into_split();
    let (mut from_client, mut to_client) = client.into_split();
    let answers = tokio::spawn(async move { copy(&mut from_engine, &mut to_client).await });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
        let is_write = buffer.starts_with(b"POST ");
        if is_write && writes.fetch_add(1, Ordering::SeqCst) + 1 == quicker.nth {
            // Dropped without `Drop`: the service is the test's.
            let service = std::mem::ManuallyDrop::new(Service { name: quicker.service.clone() });
            service
                .edit_by_hand(|spec| match &quicker.image {
                    Some(image) => spec["TaskTemplate"]["ContainerSpec"]["Image"] = json!(image),
                    None => spec["Labels"]["team"] = json!("quicker"),
                })
                .await;
        }
        if to_engine.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    answers.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_somebody_forestalled_is_decided_again() {
    let registry = Registry::start();
    let (old, new) = (registry.push("races:1", STAYS_UP), registry.push("races:2", STAYS_UP));
    // The write that announces, and the one that brings the image.
    for nth in [1, 2] {
        let service = Service::create(&old.to_string(), |_| ()).await;
        let rival = Rival::with(Quicker { nth, service: service.name.clone(), image: None }).await;
        let stage = Stage::new(&format!(
            "systems:\n  swarm: {{kind: swarm, host: \"{}\"}}\n\
             targets:\n  web: {{at: swarm, service: {}}}\n",
            rival.host, service.name
        ))
        .await;
        let job = job("web", &new.to_string());
        stage.accept(&job).await;
        let ended = |events: &[Event]| events.iter().any(|event| event.state().is_end());
        let events = stage.until_within(PATIENCE, &job, ended).await;
        let end = events.iter().find(|event| event.state().is_end()).unwrap();
        assert_eq!((end.state(), end.data.attempt), (State::Succeeded, 1), "{nth}: {end:?}");
        assert!(rival.writes.load(Ordering::SeqCst) > 2, "{nth}: the write was not made again");
        assert_eq!(service.label("team").await.as_deref(), Some("quicker"), "{nth}");
        assert_eq!(service.label("longshore.job").await, Some(job.id.to_string()), "{nth}");
        let pinned = worker::target::Target::resolve(&swarm().service("any"), &new).await.unwrap();
        assert_eq!(service.image().await, pinned.to_string(), "{nth}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_deploys_before_the_way_back_stands() {
    let registry = Registry::start();
    let old = registry.push("races:1", STAYS_UP);
    let bad = registry.push("races:bad", &["false"]);
    let theirs = registry.push("races:theirs", STAYS_UP).to_string();
    let service = Service::create(&old.to_string(), |_| ()).await;
    // Announced, written, and now to be taken back.
    let quicker = Quicker { nth: 3, service: service.name.clone(), image: Some(theirs.clone()) };
    let rival = Rival::with(quicker).await;
    let stage = Stage::new(&format!(
        "systems:\n  swarm: {{kind: swarm, host: \"{}\"}}\n\
         targets:\n  web: {{at: swarm, service: {}, rollback: true}}\n",
        rival.host, service.name
    ))
    .await;
    let job = job("web", &bad.to_string());
    stage.accept(&job).await;
    let ended = |events: &[Event]| events.iter().any(|event| event.state().is_end());
    let events = stage.until_within(PATIENCE, &job, ended).await;
    let end = events.iter().find(|event| event.state().is_end()).unwrap();
    let reason = end.data.reason.clone().unwrap();
    assert_eq!(
        (end.state(), &*reason.code),
        (State::Superseded, proto::reason::CHANGED_ELSEWHERE),
        "{end:?}"
    );
    assert!(reason.text.contains("non-zero exit (1)"), "{reason:?}");
    assert!(rival.writes.load(Ordering::SeqCst) >= 3, "nobody was forestalled");
    assert_eq!(service.image().await, theirs);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_at_once_end_each_job_once_and_the_newest_stands() {
    let registry = Registry::start();
    let images: Vec<_> = (0..6).map(|n| registry.push(&format!("two:{n}"), STAYS_UP)).collect();
    let service = Service::create(&images[0].to_string(), |_| ()).await;
    let text = format!(
        "worker: {{takeover_after: 1s}}\nsystems:\n  swarm: {{kind: swarm, host: \"{}\"}}\n\
         targets:\n  web: {{at: swarm, service: {}}}\n",
        environment("LONGSHORE_TEST_DOCKER"),
        service.name
    );
    let mut stage = Stage::new(&text).await;
    let queue: Arc<dyn Queue> = Arc::clone(&stage.queue);
    let settings = stage.settings(&text);
    stage.start_on(queue, settings);
    let jobs: Vec<_> = images[1..].iter().map(|image| job("web", &image.to_string())).collect();
    // The newest comes first, and one in between twice: order comes from the wishes alone.
    for number in [4, 0, 3, 1, 2, 1] {
        stage.accept(&jobs[number]).await;
    }
    for (number, job) in jobs.iter().enumerate() {
        let ended = |events: &[Event]| events.iter().any(|event| event.state().is_end());
        let events = stage.until_within(PATIENCE, job, ended).await;
        let ends: BTreeSet<_> = events
            .iter()
            .filter(|event| event.state().is_end())
            .map(|event| format!("{:?} {}", event.id, event.state()))
            .collect();
        assert_eq!(ends.len(), 1, "{ends:?}");
        let expected = if number == 4 { State::Succeeded } else { State::Superseded };
        assert!(ends.iter().all(|end| end.ends_with(&expected.to_string())), "{number}: {ends:?}");
    }
    let pinned = worker::target::Target::resolve(&swarm().service("any"), &images[5]).await.unwrap();
    assert_eq!(service.image().await, pinned.to_string());
    assert_eq!(service.label("longshore.job").await, Some(jobs[4].id.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_take_back_once_what_does_not_hold() {
    let registry = Registry::start();
    let old = registry.push("back:1", STAYS_UP);
    let bad = registry.push("back:bad", &["sh", "-c", "sleep 2; exit 3"]);
    let service = Service::create(&old.to_string(), |_| ()).await;
    let text = format!(
        "systems:\n  swarm: {{kind: swarm, host: \"{}\"}}\n\
         targets:\n  web: {{at: swarm, service: {}, rollback: true, stable: 20s}}\n",
        environment("LONGSHORE_TEST_DOCKER"),
        service.name
    );
    let mut stage = Stage::new(&text).await;
    let (queue, settings) = (Arc::clone(&stage.queue), stage.settings(&text));
    stage.start_on(queue, settings);
    // Twice in the queue: each of the two may come to it while the other watches, or goes back.
    let wish = job("web", &bad.to_string());
    for _ in 0..2 {
        stage.accept(&wish).await;
    }
    let ended = |events: &[Event]| events.iter().any(|event| event.state().is_end());
    let events = stage.until_within(PATIENCE, &wish, ended).await;
    let ends: BTreeSet<_> =
        events.iter().filter(|it| it.state().is_end()).map(|it| format!("{:?}", it.id)).collect();
    let end = events.iter().find(|event| event.state().is_end()).unwrap();
    assert_eq!((end.state(), ends.len()), (State::RolledBack, 1), "{events:?}");
    // Nothing is written after that: what comes to the copy finds the end.
    let pinned = worker::target::Target::resolve(&swarm().service("any"), &old).await.unwrap();
    let stands = service.inspect().await;
    assert_eq!(service.image().await, pinned.to_string());
    assert_eq!(service.label("longshore.back").await, Some(wish.id.to_string()));
    let next = job("web", &old.to_string());
    stage.accept(&next).await;
    let events = stage.until_within(PATIENCE, &next, ended).await;
    assert!(events.iter().any(|event| event.state() == State::Succeeded), "{events:?}");
    assert_eq!(service.inspect().await["Spec"], stands["Spec"]);
}
