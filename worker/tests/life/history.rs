//! A worker decides only when it has read what was said before.

use std::{sync::Arc, time::Duration};

use proto::State;

use crate::{
    lagging::Lagging,
    stage::{Stage, code, job, rehearsal},
};

/// Long enough for a worker to do what it must not.
const A_WHILE: Duration = Duration::from_secs(2);

#[tokio::test]
async fn no_job_is_taken_before_the_history_was_read() {
    let mut stage = Stage::new(&rehearsal("10ms", "")).await;
    let (older, newer) = (job("demo", "demo:1"), job("demo", "demo:2"));
    stage.accept(&newer).await;
    assert_eq!(stage.end(&newer).await.state(), State::Succeeded);
    stage.stop().await;
    stage.put_mark(None);
    stage.accept(&older).await;

    let lagging = Lagging::before(stage.queue.clone(), false);
    stage.start_on(lagging.clone(), stage.settings(&rehearsal("10ms", "")));
    tokio::time::sleep(A_WHILE).await;
    assert!(!lagging.was_taken_from(), "a job could have been taken without the history");
    lagging.flows.send_replace(true);
    let end = stage.end(&older).await;
    assert_eq!((end.state(), end.data.by), (State::Superseded, Some(newer.id)));
    assert_eq!(stage.mark(), "");
}

/// Between the lock and the decision, a job hears what another worker said until it had the lock.
#[tokio::test]
async fn what_was_said_before_its_own_started_is_known_when_a_job_is_decided() {
    let mut stage = Stage::empty().await;
    let lagging = Lagging::before(Arc::clone(&stage.queue), true);
    stage.start_on(lagging.clone(), stage.settings(&rehearsal("10ms", "")));
    let (first, older, newer) = (job("demo", "demo:0"), job("demo", "demo:1"), job("demo", "demo:2"));
    stage.accept(&first).await;
    stage.end(&first).await;
    stage.until_free(&first).await;
    let mark = stage.mark();

    // Nothing more is seen by the worker: neither that a newer one came, nor that it succeeded elsewhere.
    lagging.flows.send_replace(false);
    for state in [State::Accepted, State::Started, State::Succeeded] {
        stage.say(&newer, state).await;
    }
    stage.accept(&older).await;
    stage.until_said(&older, State::Started).await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(stage.mark(), mark, "it wrote before it saw its own `started`");
    lagging.flows.send_replace(true);
    let end = stage.end(&older).await;
    assert_eq!((end.state(), end.data.by), (State::Superseded, Some(newer.id)));
    assert_eq!(stage.mark(), mark);
}

#[tokio::test]
async fn a_job_whose_started_is_not_seen_leaves_its_target_untouched_and_comes_again() {
    let mut stage = Stage::empty().await;
    let lagging = Lagging::before(Arc::clone(&stage.queue), true);
    stage.start_on(lagging.clone(), stage.settings(&rehearsal("10ms", "")));
    let (first, job) = (job("demo", "demo:0"), job("demo", "demo:1"));
    stage.accept(&first).await;
    stage.end(&first).await;
    // Its worker has seen that end too once the target is free.
    stage.until_free(&first).await;
    let mark = stage.mark();

    lagging.flows.send_replace(false);
    stage.accept(&job).await;
    let retrying = stage.until_said(&job, State::Retrying).await;
    assert_eq!((code(&retrying), retrying.data.counted), ("interrupted", Some(false)));
    assert_eq!(stage.mark(), mark);
    lagging.flows.send_replace(true);
    assert_eq!(stage.end(&job).await.state(), State::Succeeded);
    assert!(stage.mark().contains("demo:1"));
}

/// Whoever had it before may have died a moment after it said how the job ended.
#[tokio::test]
async fn what_others_said_of_a_job_they_had_is_heard_before_its_end_is_said() {
    let mut stage = Stage::empty().await;
    let lagging = Lagging::before(Arc::clone(&stage.queue), true);
    stage.start_on(lagging.clone(), stage.settings(&rehearsal("10ms", "")));
    let (older, newer) = (job("demo", "demo:1"), job("demo", "demo:2"));
    stage.say(&older, State::Accepted).await;
    stage.accept(&newer).await;
    stage.end(&newer).await;
    stage.until_free(&newer).await;

    lagging.flows.send_replace(false);
    stage.say(&older, State::Superseded).await;
    stage.queue.publish(&older).await.unwrap();
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(stage.states(&older), [State::Accepted, State::Superseded], "it was ended once more");
    lagging.flows.send_replace(true);
    stage.stop().await;
    assert_eq!(stage.states(&older), [State::Accepted, State::Superseded]);
}
