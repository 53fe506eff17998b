//! What a worker answers that is asked about its targets.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use proto::{
    Operation, PoolName,
    ask::{Answer, Change, Question, TargetNow},
    reason,
};
use queue::{Bytes, Queue, QueueError, Settings as QueueSettings};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(30);
const TEXT: &str = "worker: {at_once: 1, grace: 0s}\n\
    systems:\n  lab: {kind: rehearsal}\n  swarm: {kind: swarm, host: \"tcp://127.0.0.1:1\"}\n\
    targets:\n  demo: {at: lab}\n  web: {at: swarm, service: web}\n";

struct Stage {
    queue: Arc<dyn Queue>,
    stop: CancellationToken,
    running: JoinHandle<()>,
    _folder: TempDir,
}

impl Stage {
    async fn start() -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue::open(&QueueSettings::default(), folder.path()).await.unwrap();
        let document = config::Document::parse("test.yaml", TEXT).unwrap();
        let mut faults = config::Faults::new();
        let settings = worker::Settings::read(&document, &mut faults).unwrap_or_else(|| panic!("{faults}"));
        let (settings, stop) = (settings.with_data(folder.path()), CancellationToken::new());
        let (shared, stopped) = (Arc::clone(&queue), stop.clone());
        let running = tokio::spawn(async move { worker::run(settings, shared, stopped).await.unwrap() });
        let stage = Stage { queue, stop, running, _folder: folder };
        let asking = async {
            while stage.ask("demo").await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(SOON, asking).await.expect("the worker answers");
        stage
    }

    async fn ask(&self, target: &str) -> Result<Answer, QueueError> {
        let question = Question::Target { target: target.parse().unwrap() };
        self.ask_bytes(question.encode().into()).await
    }

    async fn ask_bytes(&self, question: Bytes) -> Result<Answer, QueueError> {
        let answer = self.queue.ask(&PoolName::default(), question, SOON).await;
        answer.map(|answer| Answer::decode(&answer).unwrap())
    }
}

#[tokio::test]
async fn a_worker_tells_what_it_sees_of_its_targets() {
    let stage = Stage::start().await;
    let untouched = TargetNow {
        kind: "rehearsal".to_owned(),
        images: Vec::new(),
        parts: std::collections::BTreeMap::new(),
        running: true,
        tasks: None,
        last_job: None,
        on_hold: None,
        held_images: Vec::new(),
        trouble: Vec::new(),
        deployed: None,
    };
    assert_eq!(stage.ask("demo").await.unwrap(), Answer::Target(Box::new(untouched)));
    assert_eq!(stage.ask("nobody").await.unwrap(), Answer::UnknownTarget);
    for strange in [&b"{\"ask\":\"plan\"}"[..], b"no json", b""] {
        let answer = stage.ask_bytes(Bytes::from_static(strange)).await.unwrap();
        assert_eq!(answer, Answer::UnknownQuestion);
    }
    let Answer::Failed { reason } = stage.ask("web").await.unwrap() else { panic!("nobody is there") };
    let told = (&*reason.code, reason.text.as_str());
    assert_eq!(told, (reason::UNREACHABLE, "cannot reach swarm: connection refused"));
    let many = join_all((0..200).map(|_| stage.ask("demo"))).await;
    assert!(many.iter().all(|answer| matches!(answer, Ok(Answer::Target(_)))), "{many:?}");
}

#[tokio::test]
async fn a_worker_tells_what_would_change_and_what_it_would_refuse() {
    let stage = Stage::start().await;
    let plan = async |target: &str, operation| {
        let question = Question::Plan { target: target.parse().unwrap(), operation };
        stage.ask_bytes(question.encode().into()).await.unwrap()
    };
    let Answer::Plan(stop) = plan("demo", Operation::Stop).await else { panic!("it can be stopped") };
    let running = Change {
        of: "rehearsal".to_owned(),
        field: "running".to_owned(),
        from: Some(true.into()),
        to: Some(false.into()),
    };
    assert_eq!(stop.changes, [running]);
    let Answer::Target(now) = stage.ask("demo").await.unwrap() else { panic!("it is there") };
    assert!(now.running, "nothing was changed");
    let rollback = Operation::Rollback { service: None, job: None, image: None };
    let Answer::Failed { reason } = plan("demo", rollback).await else { panic!("nothing ran before") };
    assert_eq!(&*reason.code, reason::REFUSED);
    assert_eq!(plan("nobody", Operation::Stop).await, Answer::UnknownTarget);
}

#[tokio::test]
async fn a_worker_that_has_stopped_answers_no_more() {
    let stage = Stage::start().await;
    stage.stop.cancel();
    let Stage { queue, running, .. } = stage;
    tokio::time::timeout(SOON, running).await.expect("the worker stops").unwrap();
    let question = Question::Target { target: "demo".parse().unwrap() }.encode();
    let asked = queue.ask(&PoolName::default(), question.into(), SOON).await;
    assert!(matches!(asked, Err(QueueError::NobodyAlive(_))), "{asked:?}");
}
