//! The account of a run on a real history, read from the broker's stream.

use std::collections::HashSet;
use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use proto::{Event, Job, JobId, State};
use serde_json::json;
use tests::broker::Broker;
use tests::fleet::{Engine, Fleet};
use tests::history::{self, STREAM};
use tests::ledger::Ledger;
use tests::shown;
use uuid::Uuid;

const SOON: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_secs(120);
const JOBS: usize = 200;
const TARGETS: usize = 20;

#[tokio::test]
async fn a_reader_of_the_broker_reads_all_that_was_said() {
    let broker = broker_with_history().await;
    let mut ledger = Ledger::default();
    let jobs: Vec<Job> = (0..20).map(|_| job()).collect();
    for job in &jobs {
        ledger.accept(job.target.clone(), job.id);
        say(&broker, job, State::Accepted).await;
        say(&broker, job, State::Succeeded).await;
    }
    assert_eq!(history::wait_for_ends(&broker, ledger.ids(), SOON).await.unwrap(), HashSet::new());
    let history = history::read(&broker, SOON).await.unwrap();
    assert_eq!(history.len(), 40);
    ledger.account(&history, &history).assert_clean();

    // What another account left there is passed over, and the oldest again is older over newer.
    say_again(&broker, &jobs[0]).await;
    let history = history::read(&broker, SOON).await.unwrap();
    assert_eq!(ledger.account(&history, &history).out_of_order, [jobs[0].id]);
}

#[tokio::test]
async fn a_job_without_an_end_on_the_broker_is_waited_for_until_the_deadline() {
    let broker = broker_with_history().await;
    let (open, ended) = (job(), job());
    for job in [&open, &ended] {
        say(&broker, job, State::Accepted).await;
    }
    say(&broker, &ended, State::Dead).await;
    let waiting = history::wait_for_ends(&broker, [open.id, ended.id], Duration::from_secs(2)).await.unwrap();
    assert_eq!(waiting, HashSet::from([open.id]));
}

#[tokio::test]
async fn a_job_that_only_the_history_on_the_broker_knows_is_waited_for_too() {
    let broker = broker_with_history().await;
    let (told, untold) = (job(), job());
    say(&broker, &untold, State::Accepted).await;
    say(&broker, &told, State::Succeeded).await;
    let within = Duration::from_secs(4);
    assert_eq!(
        history::wait_for_all_ends(&broker, [told.id], within).await.unwrap(),
        HashSet::from([untold.id])
    );
    say(&broker, &untold, State::Superseded).await;
    assert_eq!(history::wait_for_all_ends(&broker, [told.id], SOON).await.unwrap(), HashSet::new());
}

#[tokio::test]
async fn every_job_of_many_callers_has_its_end_on_the_embedded_queue() {
    let (fleet, ledger) = fleet_under_load(Engine::Embedded).await;
    shown::account(&fleet, &ledger, LONG).await.unwrap().1.assert_clean();
}

#[tokio::test]
async fn every_job_of_many_callers_has_its_end_on_the_broker() {
    let (fleet, ledger) = fleet_under_load(Engine::Broker).await;
    shown::account(&fleet, &ledger, LONG).await.unwrap().1.assert_clean();
}

async fn fleet_under_load(on: Engine) -> (Fleet, Ledger) {
    let mut fleet = Fleet::prepare(on).await.unwrap();
    let targets: String = (0..TARGETS).map(|n| format!("  web-{n}: {{at: lab, takes: 20ms}}\n")).collect();
    let sections = format!("systems:\n  lab: {{kind: rehearsal}}\ntargets:\n{targets}");
    fleet.configure(&sections).unwrap();
    fleet.start().await.unwrap();
    let body = |n| json!({"target": format!("web-{}", n % TARGETS), "image": format!("acme/web:{n}")});
    let load = fleet.load("/v1/jobs", 8, LONG).unwrap();
    let answers = load.send((0..JOBS).map(body)).await.unwrap();
    println!("{answers}");
    let mut ledger = Ledger::default();
    for answer in &answers.accepted {
        ledger.accept_answer(answer).unwrap();
    }
    assert_eq!(ledger.ids().count(), JOBS, "{answers}: {:?}", answers.refused.first());
    (fleet, ledger)
}

async fn broker_with_history() -> Broker {
    let broker = Broker::own_virtual_host().await.unwrap();
    let channel = broker.connect().await.unwrap().create_channel().await.unwrap();
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("stream".into()));
    channel.queue_declare(STREAM.into(), options, arguments).await.unwrap();
    broker
}

async fn say(broker: &Broker, job: &Job, state: State) {
    broker.publish("", STREAM, &Event::of(job, state, 1, 0).encode()).await.unwrap();
}

async fn say_again(broker: &Broker, job: &Job) {
    broker.publish("", STREAM, &Event::of(job, State::Succeeded, 2, 0).encode()).await.unwrap();
}

fn job() -> Job {
    let id = JobId::try_from(Uuid::now_v7()).unwrap();
    serde_json::from_value(json!({
        "version": 1, "id": id, "chain": id, "target": "default/web",
        "operation": {"type": "set-image", "image": "acme/web:2"}, "slots": ["image:acme/web"],
        "cause": {"kind": "api"},
        "accepted_at": "2026-11-21T10:00:00Z", "deadline": "2026-11-21T11:00:00Z",
    }))
    .unwrap()
}
