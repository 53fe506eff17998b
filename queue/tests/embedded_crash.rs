//! Kills at random instants: whatever was confirmed is there, whatever was settled does not come back.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

use std::{
    collections::{HashMap, HashSet},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use proto::{
    Cause, CauseKind, ChainId, Event, Gates, Job, JobId, Operation, PoolName, State, TargetName, Timestamp,
};
use queue::{Entry, Queue, Settlement, Since, embedded::Embedded};

const DIRECTORY: &str = "QUEUE_CRASH_DIRECTORY";
const ROUNDS: u64 = 20;
const PATIENCE: Duration = Duration::from_secs(30);

/// What the killed processes said before they died.
#[derive(Default)]
struct Confirmed {
    /// What is known of each job whose publishing returned.
    jobs: HashMap<String, Known>,
    events: HashSet<String>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Known {
    Waits {
        attempt: u32,
    },
    /// A settlement of this attempt was begun and perhaps done.
    Unsure {
        attempt: u32,
    },
    Gone,
}

#[test]
fn nothing_confirmed_is_lost_by_a_kill() {
    if let Ok(dir) = std::env::var(DIRECTORY) {
        return runtime().block_on(work_until_killed(Path::new(&dir)));
    }
    let dir = tempfile::TempDir::new().unwrap();
    let mut confirmed = Confirmed::default();
    for round in 0..ROUNDS {
        let child = start_child(dir.path());
        let said = kill_after(child, Duration::from_millis(5 + 13 * (round * 7 % ROUNDS)));
        said.iter().for_each(|line| confirmed.read(line));
        runtime().block_on(confirmed.check(dir.path()));
    }
    let gone = confirmed.jobs.values().filter(|known| **known == Known::Gone).count();
    println!("{} jobs, {gone} of them settled, {} events", confirmed.jobs.len(), confirmed.events.len());
    assert!(gone > 0 && !confirmed.events.is_empty(), "the children did something");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn start_child(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "nothing_confirmed_is_lost_by_a_kill", "--nocapture"])
        .env(DIRECTORY, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Lets it work for this long from its first word, kills it with SIGKILL, and tells what it said.
fn kill_after(mut child: Child, time: Duration) -> Vec<String> {
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut said = Vec::new();
    // The harness speaks first; the child's own first word is `ready`.
    loop {
        let mut line = String::new();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the child ended by itself");
        if line.trim_end().ends_with("ready") {
            break;
        }
    }
    let reader = std::thread::spawn(move || {
        let mut line = String::new();
        // A line without an end was cut off: it was not said.
        while lines.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
            said.push(std::mem::take(&mut line));
        }
        said
    });
    std::thread::sleep(time);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

fn pool() -> PoolName {
    "crash".parse().unwrap()
}

fn say(what: &str, name: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{what} {name}").and_then(|()| out.flush()).unwrap();
}

async fn work_until_killed(dir: &Path) {
    let queue = Arc::new(Embedded::open(dir).unwrap());
    let takings = queue.take(&pool(), 6).await.unwrap();
    println!("ready");
    let publishers = (0..8).map(|_| tokio::spawn(publish(Arc::clone(&queue))));
    let publishers: Vec<_> = publishers.collect();
    let settling = tokio::spawn(settle(takings));
    for publisher in publishers {
        publisher.await.unwrap();
    }
    settling.await.unwrap();
}

async fn publish(queue: Arc<Embedded>) {
    loop {
        let job = job();
        queue.publish(&job).await.unwrap();
        say("published", job.id);
        let event = Event::of(&job, State::Accepted, 0, 0);
        queue.emit(&event).await.unwrap();
        say("emitted", job.id);
    }
}

async fn settle(mut takings: Box<dyn queue::Deliveries>) {
    loop {
        let delivery = takings.next().await.unwrap();
        let job = Job::decode(delivery.body()).unwrap().id;
        let attempt = delivery.attempt();
        tokio::spawn(async move {
            say("settling", format_args!("{job} {attempt}"));
            if attempt == 1 && job.as_uuid().as_u128().is_multiple_of(3) {
                delivery.settle(Settlement::Retry { after: Duration::ZERO }).await.unwrap();
                say("retried", format_args!("{job} {attempt}"));
            } else {
                delivery.settle(Settlement::Ack).await.unwrap();
                say("acknowledged", job);
            }
        });
    }
}

impl Confirmed {
    /// Lines of one job may come in another order than things were done: it is taken again before the first
    /// taker says that it gave it back.
    fn read(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let (what, job) = (words.next().unwrap(), words.next().unwrap().to_owned());
        let attempt = words.next().map_or(1, |attempt| attempt.parse().unwrap());
        let known = self.jobs.get(&job).copied();
        let now = match (what, known) {
            ("emitted", _) => {
                self.events.insert(job);
                return;
            }
            ("acknowledged", _) | (_, Some(Known::Gone)) => Known::Gone,
            ("published", known) => known.unwrap_or(Known::Waits { attempt: 1 }),
            ("settling", Some(Known::Unsure { attempt: later })) => {
                Known::Unsure { attempt: later.max(attempt) }
            }
            ("settling", _) => Known::Unsure { attempt },
            ("retried", Some(Known::Unsure { attempt: begun })) if begun == attempt => {
                Known::Waits { attempt: attempt + 1 }
            }
            ("retried", Some(known)) => known,
            (other, _) => panic!("the child said `{other}`"),
        };
        self.jobs.insert(job, now);
    }

    async fn check(&mut self, dir: &Path) {
        let queue = Embedded::open(dir).expect("the directory opens after a kill");
        let waiting = all_waiting(&queue).await;
        for (job, known) in &mut self.jobs {
            match (*known, waiting.get(job)) {
                (Known::Waits { attempt }, Some(found)) => assert!(*found >= attempt, "{job}: {found}"),
                (Known::Waits { .. }, None) => panic!("{job} is lost"),
                (Known::Gone, found) => assert_eq!(found, None, "{job} was settled"),
                (Known::Unsure { .. }, Some(attempt)) => *known = Known::Waits { attempt: *attempt },
                (Known::Unsure { .. }, None) => *known = Known::Gone,
            }
        }
        let said = all_said(&queue).await;
        assert!(self.events.is_subset(&said), "confirmed events are missing");
        queue.close().await;
    }
}

/// Every job that waits, with its attempt. The one published last comes last.
async fn all_waiting(queue: &Embedded) -> HashMap<String, u32> {
    let last = job();
    let mut takings = queue.take(&pool(), u16::MAX).await.unwrap();
    queue.publish(&last).await.unwrap();
    let (mut waiting, mut held) = (HashMap::new(), Vec::new());
    loop {
        let delivery = tokio::time::timeout(PATIENCE, takings.next()).await.unwrap().unwrap();
        let job = Job::decode(delivery.body()).unwrap();
        if job.id == last.id {
            delivery.settle(Settlement::Ack).await.unwrap();
            return waiting;
        }
        waiting.insert(job.id.to_string(), delivery.attempt());
        held.push(delivery);
    }
}

async fn all_said(queue: &Embedded) -> HashSet<String> {
    let marker = uuid::Uuid::now_v7();
    let mut history = queue.history(Since::Start).await.unwrap();
    queue.mark(marker).await.unwrap();
    let mut said = HashSet::new();
    loop {
        let recorded = tokio::time::timeout(PATIENCE, history.next()).await.unwrap().unwrap();
        match recorded.entry {
            Entry::Event(event) => {
                said.insert(event.job_id().to_string());
            }
            Entry::Marker(read) if read == marker => return said,
            Entry::Catalogue(_) | Entry::Marker(_) => {}
            Entry::Unreadable(why) => panic!("unreadable: {why}"),
        }
    }
}

fn job() -> Job {
    let id = JobId::mint(Timestamp::now(), None);
    let operation = Operation::SetImage { image: "acme/web:2".parse().unwrap(), service: None };
    let now = Timestamp::now();
    Job {
        version: Job::VERSION,
        id,
        chain: ChainId::of(id),
        target: TargetName::new(pool(), "web").unwrap(),
        slots: operation.slots(),
        operation,
        cause: Cause { kind: CauseKind::Api, source: None, by: None, delivery: None },
        accepted_at: now,
        not_before: None,
        deadline: now,
        gates: Gates::default(),
        replays: None,
        traceparent: None,
    }
}
