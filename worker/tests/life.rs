//! Lives of jobs, carried out by a real worker on the embedded queue and rehearsed targets.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use proto::{Cause, CauseKind, ChainId, Event, Gates, Job, JobId, Operation, State, Timestamp};
use queue::{Chronicle, Entry, Queue, Settings as QueueSettings, Since};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(30);

/// A queue in a directory, everything said on it, and a worker that can be stopped and started again.
struct Stage {
    folder: tempfile::TempDir,
    queue: Arc<dyn Queue>,
    _chronicle: Chronicle,
    said: Arc<Mutex<HashMap<JobId, Vec<Event>>>>,
    changed: watch::Receiver<()>,
    worker: Option<(CancellationToken, JoinHandle<()>)>,
}

impl Stage {
    async fn new(configuration: &str) -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue::open(&QueueSettings::Embedded, folder.path()).await.unwrap();
        let said: Arc<Mutex<HashMap<JobId, Vec<Event>>>> = Arc::default();
        let (change, changed) = watch::channel(());
        let heard = Arc::clone(&said);
        let chronicle = Chronicle::follow(Arc::clone(&queue), Since::Start, move |recorded| {
            if let Entry::Event(event) = &recorded.entry {
                heard.lock().unwrap().entry(event.job_id()).or_default().push((**event).clone());
                change.send_replace(());
            }
        });
        let mut stage = Stage { folder, queue, _chronicle: chronicle, said, changed, worker: None };
        stage.start(configuration);
        stage
    }

    fn start(&mut self, configuration: &str) {
        let document = config::Document::parse("test.yaml", configuration).unwrap();
        let mut faults = config::Faults::new();
        let settings = worker::Settings::read(&document, &mut faults)
            .unwrap_or_else(|| panic!("{faults}"))
            .with_data(self.folder.path());
        let stop = CancellationToken::new();
        let (queue, stopped) = (Arc::clone(&self.queue), stop.clone());
        let running = tokio::spawn(async move { worker::run(settings, queue, stopped).await.unwrap() });
        self.worker = Some((stop, running));
    }

    async fn stop(&mut self) {
        let (stop, running) = self.worker.take().unwrap();
        stop.cancel();
        tokio::time::timeout(DEADLINE, running).await.expect("the worker does not stop").unwrap();
    }

    /// Publishes as an ingress does: first the job, then `accepted`.
    async fn accept(&self, job: &Job) {
        let taken = async {
            // The pool exists from the worker's first `take` on.
            while let Err(error) = self.queue.publish(job).await {
                assert!(matches!(error, queue::QueueError::NoPool(_)), "{error}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(DEADLINE, taken).await.expect("the worker never served its pool");
        self.queue.emit(&Event::of(job, State::Accepted, 0, 0)).await.unwrap();
    }

    async fn until(&self, job: &Job, what: impl Fn(&[Event]) -> bool) -> Vec<Event> {
        let mut changed = self.changed.clone();
        let seen = async {
            loop {
                let events = self.said.lock().unwrap().get(&job.id).cloned().unwrap_or_default();
                if what(&events) {
                    return events;
                }
                changed.changed().await.unwrap();
            }
        };
        tokio::time::timeout(DEADLINE, seen)
            .await
            .unwrap_or_else(|_| panic!("never came: {:?}", self.said.lock().unwrap().get(&job.id)))
    }

    async fn until_said(&self, job: &Job, state: State) -> Event {
        let events = self.until(job, |events| events.iter().any(|event| event.state() == state)).await;
        events.into_iter().rfind(|event| event.state() == state).unwrap()
    }

    async fn end(&self, job: &Job) -> Event {
        let events = self.until(job, |events| events.iter().any(|event| event.state().is_end())).await;
        events.into_iter().find(|event| event.state().is_end()).unwrap()
    }

    fn states(&self, job: &Job) -> Vec<State> {
        self.said.lock().unwrap()[&job.id].iter().map(Event::state).collect()
    }
}

fn job(target: &str, image: &str) -> Job {
    let now = Timestamp::now();
    // Ids go up, as an ingress mints them.
    static HIGHEST: Mutex<Option<JobId>> = Mutex::new(None);
    let mut highest = HIGHEST.lock().unwrap();
    let id = JobId::mint(now, *highest);
    *highest = Some(id);
    let operation = Operation::SetImage { image: image.parse().unwrap(), service: None };
    Job {
        version: Job::VERSION,
        id,
        chain: ChainId::of(id),
        target: target.parse().unwrap(),
        slots: operation.slots(),
        operation,
        cause: Cause { kind: CauseKind::Api, source: None, by: None, delivery: None },
        accepted_at: now,
        not_before: None,
        deadline: now + Duration::from_secs(600),
        gates: Gates::default(),
        replays: None,
        traceparent: None,
    }
}

fn rehearsal(takes: &str, more: &str) -> String {
    format!(
        "worker: {{takeover_after: 300ms, grace: 100ms}}\n\
         systems:\n  lab: {{kind: rehearsal}}\n\
         targets:\n  demo: {{at: lab, takes: {takes}{more}}}\n"
    )
}

fn code(event: &Event) -> &str {
    event.data.reason.as_ref().map_or("", |reason| &reason.code)
}

#[tokio::test]
async fn a_job_is_carried_out_and_tells_its_life() {
    let stage = Stage::new(&rehearsal("100ms", "")).await;
    let first = job("demo", "demo:1");
    stage.accept(&first).await;
    assert_eq!(stage.end(&first).await.state(), State::Succeeded);
    let second = job("demo", "demo:2");
    stage.accept(&second).await;
    let change = stage.end(&second).await.data.image.unwrap();
    assert_eq!(change.from.unwrap().familiar(), "demo:1");
    assert_eq!(change.to.unwrap().familiar(), "demo:2");
    let mut states = stage.states(&first);
    // `accepted` is said after the job is published: a quick worker may be ahead of it.
    states.sort();
    assert_eq!(states, [State::Accepted, State::Started, State::Succeeded]);
}

#[tokio::test]
async fn the_ends_of_a_rollout_are_told_apart() {
    for (ends, state) in [("failed", State::Failed), ("rolled-back", State::RolledBack)] {
        let stage = Stage::new(&rehearsal("10ms", &format!(", ends: {ends}"))).await;
        let job = job("demo", "demo:1");
        stage.accept(&job).await;
        assert_eq!(stage.end(&job).await.state(), state);
    }
}

#[tokio::test]
async fn an_older_job_never_overwrites_a_newer_one() {
    let stage = Stage::new(&rehearsal("10ms", "")).await;
    let (older, newer) = (job("demo", "demo:1"), job("demo", "demo:2"));
    stage.accept(&newer).await;
    assert_eq!(stage.end(&newer).await.state(), State::Succeeded);
    stage.accept(&older).await;
    let end = stage.end(&older).await;
    assert_eq!((end.state(), end.data.by), (State::Superseded, Some(newer.id)));
    assert!(!stage.states(&older).contains(&State::Started), "it never touched the target");
}

#[tokio::test]
async fn a_newer_job_takes_over_a_long_rollout() {
    let stage = Stage::new(&rehearsal("20s", "")).await;
    let older = job("demo", "demo:1");
    stage.accept(&older).await;
    stage.until_said(&older, State::Started).await;
    let newer = job("demo", "demo:2");
    stage.accept(&newer).await;
    let busy = stage.until_said(&newer, State::Retrying).await;
    assert_eq!((code(&busy), busy.data.counted), ("busy", Some(false)));
    let end = stage.end(&older).await;
    assert_eq!((end.state(), end.data.by), (State::Superseded, Some(newer.id)));
    stage.until_said(&newer, State::Started).await;
}

#[tokio::test]
async fn a_system_that_is_down_is_tried_again_until_it_is_back() {
    let stage = Stage::new(&rehearsal("10ms", "")).await;
    // A file where the rehearsal wants its folder: it cannot be written, as a system that is down.
    let folder = stage.folder.path().join("rehearsal");
    std::fs::write(&folder, "in the way").unwrap();
    let job = job("demo", "demo:1");
    stage.accept(&job).await;
    let retrying = stage.until_said(&job, State::Retrying).await;
    assert_eq!((code(&retrying), retrying.data.counted), ("unreachable", Some(true)));
    std::fs::remove_file(&folder).unwrap();
    let end = stage.end(&job).await;
    assert_eq!((end.state(), end.data.attempt), (State::Succeeded, 2));
}

#[tokio::test]
async fn a_job_that_came_too_late_is_dead() {
    let stage = Stage::new(&rehearsal("10ms", "")).await;
    let mut job = job("demo", "demo:1");
    job.deadline = Timestamp::now() - Duration::from_secs(1);
    stage.accept(&job).await;
    let end = stage.end(&job).await;
    assert_eq!((end.state(), code(&end)), (State::Dead, "deadline"));
    assert_eq!(end.job().unwrap().id, job.id, "the event of a dead job carries it whole");
}

#[tokio::test]
async fn a_rollout_that_outlives_its_deadline_fails() {
    let stage = Stage::new(&rehearsal("20s", "")).await;
    let mut job = job("demo", "demo:1");
    job.deadline = Timestamp::now() + Duration::from_millis(1500);
    stage.accept(&job).await;
    let end = stage.end(&job).await;
    assert_eq!((end.state(), code(&end)), (State::Failed, "deadline"));
}

#[tokio::test]
async fn a_target_that_nobody_knows_is_refused_after_ten_minutes() {
    let stage = Stage::new(&rehearsal("10ms", "")).await;
    let fresh = job("nowhere", "demo:1");
    stage.accept(&fresh).await;
    let waits = stage.until_said(&fresh, State::Retrying).await;
    assert_eq!((code(&waits), waits.data.counted), ("unknown-target", Some(false)));
    let mut old = job("nowhere", "demo:1");
    old.accepted_at = Timestamp::now() - Duration::from_secs(601);
    stage.accept(&old).await;
    let end = stage.end(&old).await;
    assert_eq!((end.state(), code(&end)), (State::Rejected, "unknown-target"));
}

#[tokio::test]
async fn a_job_whose_worker_stopped_is_taken_up_where_it_was() {
    let mut stage = Stage::new(&rehearsal("2s", "")).await;
    let job = job("demo", "demo:1");
    stage.accept(&job).await;
    stage.until_said(&job, State::Started).await;
    stage.stop().await;
    assert_eq!(code(&stage.until_said(&job, State::Retrying).await), "interrupted");
    stage.start(&rehearsal("2s", ""));
    let end = stage.end(&job).await;
    assert_eq!((end.state(), end.data.attempt), (State::Succeeded, 1));
    let mark = std::fs::read_to_string(stage.folder.path().join("rehearsal/default.demo.json")).unwrap();
    assert!(mark.contains(&job.id.to_string()));
}
