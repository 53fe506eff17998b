//! A hundred wishes for one target within ten seconds cost two or three rollouts.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proto::{Event, JobId, State};
use serde_json::{Value, json};
use tests::fleet::Engine;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep};

use super::stage::Stage;

const WISHES: usize = 100;
const WITHIN: Duration = Duration::from_secs(10);
const ROLLOUT: Duration = Duration::from_secs(15);
/// How often it is looked which job stands on the target. Each stands there for seconds.
const LOOK_EVERY: Duration = Duration::from_millis(5);

#[tokio::test]
async fn of_a_hundred_wishes_few_reach_the_target_with_one_worker_on_the_broker() {
    hundred_wishes(Engine::Broker, 1).await;
}

#[tokio::test]
async fn of_a_hundred_wishes_few_reach_the_target_with_four_workers_on_the_broker() {
    hundred_wishes(Engine::Broker, 4).await;
}

#[tokio::test]
async fn of_a_hundred_wishes_few_reach_the_target_on_the_embedded_queue() {
    hundred_wishes(Engine::Embedded, 1).await;
}

async fn hundred_wishes(engine: Engine, workers: usize) {
    let mut stage = Stage::prepare(engine, &format!("takes: {}s", ROLLOUT.as_secs())).await;
    let mut processes = stage.start().await;
    for _ in 1..workers {
        processes.push(stage.worker().await);
    }
    let seen = Seen::on(stage.mark_file());
    let begin = Instant::now();
    let mut paces = interval(WITHIN * 9 / 10 / u32::try_from(WISHES).unwrap());
    let mut jobs = Vec::new();
    for n in 0..WISHES {
        paces.tick().await;
        jobs.push(stage.wish(&n.to_string(), json!({})).await);
    }
    let took = begin.elapsed();
    let history = stage.account().await;
    stage.ends(jobs[WISHES - 1], State::Succeeded).await;

    let marked = seen.jobs();
    let by_events = |what: fn(&Event) -> bool| -> BTreeSet<JobId> {
        history.iter().filter(|event| what(event)).map(Event::job_id).collect()
    };
    // A worker names the image only of what it wrote or found written.
    let told = by_events(|event| event.state().is_end() && event.data.image.is_some());
    let started = by_events(|event| event.state() == State::Started);
    let reached: BTreeSet<JobId> = marked.union(&told).copied().collect();
    println!(
        "{WISHES} wishes in {took:.1?}, {workers} worker(s), {engine:?}: {} reached the target, {} started",
        reached.len(),
        started.len()
    );
    // Where this machine had no time to wish as fast, each rollout that went by meanwhile lets one more in.
    let late = took.saturating_sub(WITHIN).as_secs().div_ceil(ROLLOUT.as_secs());
    assert!(
        reached.len() as u64 <= 3 + late,
        "{} reached the target, the wishes took {took:?}",
        reached.len()
    );
    assert!(reached.is_subset(&started), "some reached the target without a word");
    assert_eq!(seen.order().last(), jobs.last(), "the newest was the last to reach it");
    assert!(seen.order().is_sorted(), "{:?}", seen.order());
    let others = history.iter().filter(|event| event.state().is_end() && event.job_id() != jobs[WISHES - 1]);
    for end in others {
        assert_eq!(end.state(), State::Superseded, "{end:?}");
        assert!(end.data.by > Some(end.job_id()), "{end:?}");
    }
}

/// Which jobs stood on the target, in the order they came there.
struct Seen {
    order: Arc<Mutex<Vec<JobId>>>,
    looking: JoinHandle<()>,
}

impl Seen {
    fn on(file: PathBuf) -> Seen {
        let order: Arc<Mutex<Vec<JobId>>> = Arc::default();
        let seen = Arc::clone(&order);
        let looking = tokio::spawn(async move {
            loop {
                if let Some(job) = marked_by(&file) {
                    let mut seen = seen.lock().unwrap();
                    if seen.last() != Some(&job) {
                        seen.push(job);
                    }
                }
                sleep(LOOK_EVERY).await;
            }
        });
        Seen { order, looking }
    }

    fn order(&self) -> Vec<JobId> {
        self.order.lock().unwrap().clone()
    }

    fn jobs(&self) -> BTreeSet<JobId> {
        self.order().into_iter().collect()
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

fn marked_by(file: &PathBuf) -> Option<JobId> {
    let mark: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    mark["jobs"].as_object()?.values().filter_map(|job| job.as_str()?.parse().ok()).max()
}
