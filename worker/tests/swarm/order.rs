//! Jobs that name the service and jobs that do not: they compete for one service, and meet at its mark.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use proto::{Event, ImageRef, Job, Operation, State};
use queue::{Chronicle, Entry, Queue, Since};
use tokio_util::sync::CancellationToken;
use worker::target::{End, Standing, Target, TargetError};

use crate::{
    lab::{PATIENCE, STAYS_UP, Service, deploy, environment, job, pinned, wanted},
    registry::Registry,
};

/// The same wish, with the service named.
fn named(mut job: Job, service: &Service) -> Job {
    if let Operation::SetImage { service: name, .. } = &mut job.operation {
        *name = Some(service.name.clone());
    }
    job.slots = job.operation.slots();
    job
}

#[tokio::test]
async fn a_job_with_and_one_without_the_service_meet_at_its_mark() {
    let registry = Registry::start();
    let old = registry.push("web:1", STAYS_UP);
    let new = registry.push("web:2", STAYS_UP);
    for newer_is_named in [true, false] {
        let service = Service::create(&old.to_string(), |_| ()).await;
        let target = service.target();
        let (older, mut newer) = (job(&old), wanted(&target, &new).await);
        let older = if newer_is_named { older } else { named(older, &service) };
        if newer_is_named {
            newer.job = named(newer.job, &service);
        }
        assert_ne!(older.slots, newer.job.slots);
        // Read before, written after the newer: refused by the engine itself.
        let stale = target.read(&older).await.unwrap();
        assert_eq!(deploy(&target, &newer).await.end, End::Converged);
        let late =
            worker::target::Wanted { job: older.clone(), image: Some(target.resolve(&old).await.unwrap()) };
        assert!(matches!(stale.apply(&late).await, Err(TargetError::Conflict)));
        let found = target.read(&older).await.unwrap();
        assert_eq!(found.standing(older.id), Standing::Newer(newer.job.id));
        assert_eq!(service.image().await, pinned(&newer).to_string());
    }
}

/// A worker on a queue of its own, whose one target is the service.
struct Fleet {
    queue: Arc<dyn Queue>,
    said: Arc<Mutex<Vec<Event>>>,
    _chronicle: Chronicle,
    _folder: tempfile::TempDir,
    stop: CancellationToken,
}

impl Fleet {
    async fn of(service: &Service) -> Fleet {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue::open(&queue::Settings::default(), folder.path()).await.unwrap();
        let host = environment("LONGSHORE_TEST_DOCKER");
        let text = format!(
            "systems:\n  swarm: {{kind: swarm, host: \"{host}\"}}\ntargets:\n  web: {{at: swarm, service: {}}}\n",
            service.name
        );
        let document = config::Document::parse("test.yaml", &text).unwrap();
        let mut faults = config::Faults::new();
        let settings = worker::Settings::read(&document, &mut faults).unwrap_or_else(|| panic!("{faults}"));
        let said: Arc<Mutex<Vec<Event>>> = Arc::default();
        let heard = Arc::clone(&said);
        let chronicle = Chronicle::follow(Arc::clone(&queue), Since::Start, move |recorded| {
            if let Entry::Event(event) = &recorded.entry {
                heard.lock().unwrap().push((**event).clone());
            }
        });
        let stop = CancellationToken::new();
        tokio::spawn(worker::run(settings.with_data(folder.path()), Arc::clone(&queue), stop.clone()));
        Fleet { queue, said, _chronicle: chronicle, _folder: folder, stop }
    }

    async fn carry_out(&self, job: &Job) -> Event {
        let ended = async {
            while self.queue.publish(job).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            self.queue.emit(&Event::of(job, State::Accepted, 0, 0)).await.unwrap();
            loop {
                let end = |event: &&Event| event.job_id() == job.id && event.state().is_end();
                let found = self.said.lock().unwrap().iter().find(end).cloned();
                if let Some(end) = found {
                    return end;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(2 * PATIENCE, ended).await.expect("the job does not end")
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test]
async fn the_older_of_the_two_ends_superseded_and_never_overwrites_the_newer() {
    let registry = Registry::start();
    let images: Vec<ImageRef> =
        (0..5).map(|number| registry.push(&format!("web:{number}"), STAYS_UP)).collect();
    let service = Service::create(&images[0].to_string(), |_| ()).await;
    let fleet = Fleet::of(&service).await;
    let [first, second, third, fourth] = [1, 2, 3, 4].map(|number: usize| job(&images[number]));
    let pairs = [(first, named(second, &service)), (named(third, &service), fourth)];
    for (older, newer) in pairs {
        let end = fleet.carry_out(&newer).await;
        assert_eq!(end.state(), State::Succeeded, "{end:?}");
        let runs = service.image().await;
        let end = fleet.carry_out(&older).await;
        assert_eq!((end.state(), end.data.by), (State::Superseded, Some(newer.id)), "{end:?}");
        assert_eq!(service.image().await, runs);
        assert_eq!(service.label("longshore.job").await, Some(newer.id.to_string()));
    }
}

/// It was begun, so it is looked at where it stood; yet its service was removed.
#[tokio::test]
async fn a_job_whose_service_is_gone_is_superseded_where_a_newer_one_is_wished() {
    let registry = Registry::start();
    let image = registry.push("web:1", STAYS_UP);
    let service = Service::create(&image.to_string(), |_| ()).await;
    let fleet = Fleet::of(&service).await;
    let (older, newer) = (job(&image), job(&image));
    fleet.queue.emit(&Event::of(&older, State::Started, 1, 1)).await.unwrap();
    let end = fleet.carry_out(&newer).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    drop(service);
    let end = fleet.carry_out(&older).await;
    assert_eq!((end.state(), end.data.by), (State::Superseded, Some(newer.id)), "{end:?}");
}
