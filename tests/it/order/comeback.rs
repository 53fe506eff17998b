//! A job that comes back from the ladder after a newer one has run.

use proto::{Event, JobId, State};
use serde_json::json;
use tests::fleet::Engine;
use tests::process::Process;

use super::stage::{LONG, Stage};

const QUICK: &str = "takes: 20ms";

/// A job that was begun and could not reach its target, which is there again. It is away for half a minute: a newer wish
/// has run by then.
async fn sent_round_the_ladder(stage: &mut Stage) -> (JobId, Process, Process) {
    let folder = stage.mark_file().parent().unwrap().to_owned();
    std::fs::create_dir_all(folder.parent().unwrap()).unwrap();
    std::fs::write(&folder, "a file where the rehearsal wants its folder").unwrap();
    let (worker, ingress) = (stage.worker().await, stage.ingress(None).await);
    let older = stage.wish("1", json!({})).await;
    let retrying = stage.until_said_times(older, State::Retrying, 2).await;
    assert!(retrying.iter().all(|event| event.data.counted == Some(true)), "{retrying:?}");
    std::fs::remove_file(&folder).unwrap();
    (older, worker, ingress)
}

#[tokio::test]
async fn it_is_superseded_on_the_broker() {
    let mut stage = Stage::prepare(Engine::Broker, QUICK).await;
    let (older, _worker, _ingress) = sent_round_the_ladder(&mut stage).await;
    let newer = stage.wish("2", json!({})).await;
    stage.ends(newer, State::Succeeded).await;
    let end = stage.ends(older, State::Superseded).await;
    assert_eq!(end.data.by, Some(newer));
    stage.runs("2").await;
    came_back_after(older, newer, &stage.account().await);
}

/// The older one was not superseded by a wish that had still to run.
fn came_back_after(older: JobId, newer: JobId, history: &[Event]) {
    let said = |job, state| {
        let place = history.iter().position(|event| event.job_id() == job && event.state() == state);
        place.unwrap_or_else(|| panic!("{job} was never {state}"))
    };
    let (ran, came_back) = (said(newer, State::Succeeded), said(older, State::Superseded));
    assert!(ran < came_back, "it came back at {came_back}, before the newer one had run at {ran}");
}

#[tokio::test]
async fn it_is_superseded_though_its_target_is_gone_on_the_broker() {
    let mut stage = Stage::prepare(Engine::Broker, QUICK).await;
    let (older, mut worker, _ingress) = sent_round_the_ladder(&mut stage).await;
    let newer = stage.wish("2", json!({})).await;
    stage.ends(newer, State::Succeeded).await;
    worker.stop(LONG).await.unwrap();
    // The same, without the target.
    let file = stage.fleet.folder().join("longshore.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("  web: {", "  renamed: {")).unwrap();
    let _worker = stage.worker().await;
    let end = stage.ends(older, State::Superseded).await;
    assert_eq!(end.data.by, Some(newer));
    stage.runs("2").await;
    came_back_after(older, newer, &stage.account().await);
}
