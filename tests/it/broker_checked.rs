//! What stands on the broker otherwise than it should is told before anything begins.

use std::time::Duration;

use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use tests::broker::Broker;
use tests::fleet::Fleet;
use tests::process::{Process, longshore};

const LONG: Duration = Duration::from_secs(120);
const POOL: &str = "longshore.jobs.default";

fn start(fleet: &Fleet, name: &str, words: &[&str]) -> Process {
    let mut command = longshore(name).unwrap();
    command.args(words).arg("--config").arg(fleet.folder().join("longshore.yaml"));
    command.current_dir(fleet.folder());
    Process::start(command).unwrap()
}

async fn ends(mut process: Process, code: i32, words: &[&str]) {
    for word in words {
        process.wait_for_line(word, LONG).await.unwrap();
    }
    let status = process.wait(LONG).await.unwrap();
    assert_eq!(status.code(), Some(code), "{}", process.lines().join("\n"));
}

#[tokio::test]
async fn a_pools_queue_that_somebody_else_made_ends_a_worker_that_starts_and_is_found_by_a_check() {
    let broker = Broker::own_virtual_host().await.unwrap();
    let fleet = Fleet::prepare_on(broker.clone()).await.unwrap();
    fleet.configure("systems:\n  lab: {kind: rehearsal}\ntargets:\n  web: {at: lab}\n").unwrap();
    ends(start(&fleet, "longshore", &["check", "--connect"]), 0, &["nothing stands there yet"]).await;
    let connection = broker.connect().await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let classic = QueueDeclareOptions::durable();
    channel.queue_declare(POOL.into(), classic, FieldTable::default()).await.unwrap();

    let mends = format!("rabbitmqctl delete_queue {POOL}");
    ends(start(&fleet, "longshore", &["check", "--connect"]), 1, &["missing:", &mends]).await;
    ends(start(&fleet, "longshore-worker", &[]), 2, &["cannot take the jobs of the pool `default`", &mends])
        .await;

    channel.queue_delete(POOL.into(), QueueDeleteOptions::default()).await.unwrap();
    let worker = start(&fleet, "longshore-worker", &[]);
    worker.wait_for_line("the worker starts", LONG).await.unwrap();
}
