//! A queue in a directory, and a worker on it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use proto::{Cause, CauseKind, ChainId, Event, Gates, Job, JobId, Operation, State, Timestamp};
use queue::{Chronicle, DeadLetter, Entry, Queue, Settings as QueueSettings, Since};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A queue in a directory, everything said on it, and a worker that can be stopped and started again.
pub(crate) struct Stage {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) queue: Arc<dyn Queue>,
    _chronicle: Chronicle,
    said: Arc<Mutex<HashMap<JobId, Vec<Event>>>>,
    changed: watch::Receiver<()>,
    worker: Option<(CancellationToken, JoinHandle<()>)>,
}

impl Stage {
    /// A worker with this configuration on a queue of its own.
    pub(crate) async fn new(configuration: &str) -> Stage {
        let mut stage = Stage::empty().await;
        stage.start(configuration);
        stage
    }

    /// A queue that no worker serves yet.
    pub(crate) async fn empty() -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue::open(&QueueSettings::default(), folder.path()).await.unwrap();
        let said: Arc<Mutex<HashMap<JobId, Vec<Event>>>> = Arc::default();
        let (change, changed) = watch::channel(());
        let heard = Arc::clone(&said);
        let chronicle = Chronicle::follow(Arc::clone(&queue), Since::Start, move |recorded| {
            if let Entry::Event(event) = &recorded.entry {
                heard.lock().unwrap().entry(event.job_id()).or_default().push((**event).clone());
                change.send_replace(());
            }
        });
        Stage { folder, queue, _chronicle: chronicle, said, changed, worker: None }
    }

    pub(crate) fn start(&mut self, configuration: &str) {
        let queue = Arc::clone(&self.queue);
        self.start_on(queue, self.settings(configuration));
    }

    pub(crate) fn settings(&self, configuration: &str) -> worker::Settings {
        let document = config::Document::parse("test.yaml", configuration).unwrap();
        let mut faults = config::Faults::new();
        worker::Settings::read(&document, &mut faults)
            .unwrap_or_else(|| panic!("{faults}"))
            .with_data(self.folder.path())
    }

    /// Starts a worker on what may stand before the queue.
    pub(crate) fn start_on(&mut self, queue: Arc<dyn Queue>, settings: worker::Settings) {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let running = tokio::spawn(async move { worker::run(settings, queue, stopped).await.unwrap() });
        self.worker = Some((stop, running));
    }

    pub(crate) async fn stop(&mut self) {
        let (stop, running) = self.worker.take().unwrap();
        stop.cancel();
        tokio::time::timeout(DEADLINE, running).await.expect("the worker does not stop").unwrap();
    }

    /// Publishes as an ingress does: first the job, then `accepted`.
    pub(crate) async fn accept(&self, job: &Job) {
        let taken = async {
            // The pool exists from the worker's first `take` on.
            while let Err(error) = self.queue.publish(job).await {
                assert!(matches!(error, queue::QueueError::NoPool(_)), "{error}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(DEADLINE, taken).await.expect("the worker never served its pool");
        self.say(job, State::Accepted).await;
    }

    /// Waits until no worker holds the target of a job.
    pub(crate) async fn until_free(&self, job: &Job) {
        let free = async {
            while self.queue.lock(&job.target).await.unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(DEADLINE, free).await.expect("the target is never free");
    }

    /// Says something of a job, as another process would.
    pub(crate) async fn say(&self, job: &Job, state: State) {
        self.queue.emit(&Event::of(job, state, 0, 0)).await.unwrap();
    }

    pub(crate) async fn until(&self, job: &Job, what: impl Fn(&[Event]) -> bool) -> Vec<Event> {
        self.until_within(DEADLINE, job, what).await
    }

    pub(crate) async fn until_within(
        &self,
        limit: Duration,
        job: &Job,
        what: impl Fn(&[Event]) -> bool,
    ) -> Vec<Event> {
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
        tokio::time::timeout(limit, seen)
            .await
            .unwrap_or_else(|_| panic!("never came: {:?}", self.said.lock().unwrap().get(&job.id)))
    }

    pub(crate) async fn until_said(&self, job: &Job, state: State) -> Event {
        let events = self.until(job, |events| events.iter().any(|event| event.state() == state)).await;
        events.into_iter().rfind(|event| event.state() == state).unwrap()
    }

    pub(crate) async fn end(&self, job: &Job) -> Event {
        let events = self.until(job, |events| events.iter().any(|event| event.state().is_end())).await;
        events.into_iter().find(|event| event.state().is_end()).unwrap()
    }

    /// Waits until so many dead letters are open.
    pub(crate) async fn letters(&self, count: usize) -> Vec<DeadLetter> {
        let listed = async {
            loop {
                let letters = self.queue.dead_letters().await.unwrap();
                if letters.len() == count {
                    return letters;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(DEADLINE, listed).await.expect("there are never so many letters")
    }

    /// The target's mark, as text.
    pub(crate) fn mark(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("rehearsal/default.demo.json")).unwrap_or_default()
    }

    /// Puts another mark on the target, or none: what a person or a late write does.
    pub(crate) fn put_mark(&self, mark: Option<&str>) {
        let path = self.folder.path().join("rehearsal/default.demo.json");
        match mark {
            Some(mark) => std::fs::write(path, mark).unwrap(),
            None => std::fs::remove_file(path).unwrap(),
        }
    }

    /// Waits until the target carries the mark of `job`.
    pub(crate) async fn until_marked(&self, job: &Job) {
        let marked = async {
            while !self.mark().contains(&job.id.to_string()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(DEADLINE, marked).await.expect("the target was never touched");
    }

    pub(crate) fn states(&self, job: &Job) -> Vec<State> {
        self.said.lock().unwrap()[&job.id].iter().map(Event::state).collect()
    }
}

pub(crate) fn job(target: &str, image: &str) -> Job {
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

/// A job of another operation for the target `demo`.
pub(crate) fn wish(operation: Operation) -> Job {
    let mut job = job("demo", "any:1");
    job.slots = operation.slots();
    job.operation = operation;
    job
}

/// Lets a job be carried out, and tells how it ended.
pub(crate) async fn carried_out(stage: &Stage, job: &Job) -> Event {
    stage.accept(job).await;
    stage.end(job).await
}

pub(crate) fn rehearsal(takes: &str, more: &str) -> String {
    format!(
        "worker: {{takeover_after: 300ms, grace: 100ms}}\n\
         systems:\n  lab: {{kind: rehearsal}}\n\
         targets:\n  demo: {{at: lab, takes: {takes}{more}}}\n"
    )
}

pub(crate) fn code(event: &Event) -> &str {
    event.data.reason.as_ref().map_or("", |reason| &reason.code)
}

pub(crate) fn text(event: &Event) -> &str {
    event.data.reason.as_ref().map_or("", |reason| &reason.text)
}
