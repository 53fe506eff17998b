//! A job that comes back from the ladder after a newer one has run.

use proto::State;
use serde_json::json;
use tests::fleet::Engine;
use tests::process::Process;

use super::stage::{LONG, Stage};

const QUICK: &str = "takes: 20ms";

/// A job that was begun and could not reach its target, which is there again.
async fn sent_round_the_ladder(stage: &mut Stage) -> (proto::JobId, Process, Process) {
    let folder = stage.mark_file().parent().unwrap().to_owned();
    std::fs::create_dir_all(folder.parent().unwrap()).unwrap();
    std::fs::write(&folder, "a file where the rehearsal wants its folder").unwrap();
    let (worker, ingress) = (stage.worker().await, stage.ingress(None).await);
    let older = stage.wish("1", json!({})).await;
    let retrying = stage.until_said(older, State::Retrying).await;
    assert_eq!(retrying.data.counted, Some(true), "{retrying:?}");
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
    stage.account().await;
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
    stage.account().await;
}
