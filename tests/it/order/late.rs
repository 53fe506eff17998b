//! A worker that was paused between reading a target and writing it overwrites what a newer job did there meanwhile:
//! the target cannot refuse, and ends on the newest all the same.

use std::time::Duration;

use proto::{Event, JobId, State};
use serde_json::json;
use tests::broker::Message;
use tests::fleet::Engine;
use tokio::time::sleep;

use super::stage::Stage;

/// Between reading and writing.
const DAWDLES: &str = "takes: 20ms, blind: true, dawdles: 15s";
const BLIND: &str = "takes: 20ms, blind: true";
/// How long a target is watched that nobody may touch.
const A_WHILE: Duration = Duration::from_secs(5);
/// After `started`, how long a worker may take to read the target, a file.
const TO_READ: Duration = Duration::from_secs(3);
/// A frozen worker's connection is given up after some 30 s, and an unanswered job looked after every 30 s.
const VERY_LONG: Duration = Duration::from_secs(180);

#[tokio::test]
async fn a_woken_worker_that_overwrites_a_newer_job_is_undone_on_the_broker() {
    late_write(false, false).await;
}

#[tokio::test]
async fn a_woken_worker_that_dies_right_after_its_write_is_undone_on_the_broker() {
    late_write(true, false).await;
}

#[tokio::test]
async fn a_woken_worker_whose_job_succeeded_elsewhere_is_undone_on_the_broker() {
    late_write(true, true).await;
}

/// `dies`: right after its write. `first`: its own job is carried out by the other worker before there is a newer.
async fn late_write(dies: bool, first: bool) {
    let mut stage = Stage::prepare(Engine::Broker, DAWDLES).await;
    let mut slow = stage.worker().await;
    let _ingress = stage.ingress(None).await;
    let mut heard = stage.subscribe("superseded.#").await;
    let older = stage.wish("older", json!({})).await;
    stage.until_said(older, State::Started).await;
    sleep(TO_READ).await;
    slow.signal("STOP").await.unwrap();
    assert_eq!(stage.mark(), "", "it was not stopped in time");

    let _quick = stage.other_worker(BLIND).await;
    if first {
        stage.ends(older, State::Succeeded).await;
    }
    let newer = stage.wish("newer", json!({})).await;
    stage.ends(newer, State::Succeeded).await;
    let ended = stage.end(older).await.0;
    assert_eq!(ended.state(), if first { State::Succeeded } else { State::Superseded });
    stage.runs("newer").await;

    slow.signal("CONT").await.unwrap();
    stage.runs("older").await;
    if dies {
        slow.kill().await.unwrap();
    }
    let said = heard.until(VERY_LONG, |message| is_put_back(message, older)).await;
    let said = said.unwrap_or_else(|error| panic!("{error:#}; the slow worker said {:#?}", slow.lines()));
    let by = &said.last().unwrap().body["data"]["by"];
    assert_eq!(*by, newer.to_string());
    stage.runs("newer").await;
    let history = stage.account().await;
    let first_end = |job: JobId| history.iter().find(|event| event.job_id() == job && event.state().is_end());
    assert_eq!(first_end(older).map(Event::state), Some(ended.state()));
    assert_eq!(first_end(newer).map(Event::state), Some(State::Succeeded));
    // Nobody touches it any more.
    sleep(A_WHILE).await;
    stage.runs("newer").await;
}

fn is_put_back(message: &Message, job: JobId) -> bool {
    let data = &message.body["data"];
    data["job"] == job.to_string() && data["reason"]["code"] == "put-back"
}
