//! How a rollout ends, and what becomes of jobs that cannot be carried out.

use std::time::Duration;

use proto::{Job, Operation, State, Timestamp};
use queue::Closed;

use crate::stage::{Stage, code, job, rehearsal};

#[tokio::test]
async fn a_job_is_carried_out_and_tells_its_life() {
    let stage = Stage::new(&rehearsal("100ms", "")).await;
    let first = job("demo", "demo:1");
    stage.accept(&first).await;
    assert_eq!(stage.end(&first).await.state(), State::Succeeded);
    let second = job("demo", "demo:2");
    stage.accept(&second).await;
    let change = stage.end(&second).await.data.image.unwrap();
    assert_eq!(change.from.unwrap().familiar(), "demo:1");
    assert_eq!(change.to.unwrap().familiar(), "demo:2");
    let mut states = stage.states(&first);
    // `accepted` is said after the job is published: a quick worker may be ahead of it.
    states.sort();
    assert_eq!(states, [State::Accepted, State::Started, State::Succeeded]);
}

#[tokio::test]
async fn the_ends_of_a_rollout_are_told_apart() {
    for (ends, state) in [("failed", State::Failed), ("rolled-back", State::RolledBack)] {
        let stage = Stage::new(&rehearsal("10ms", &format!(", ends: {ends}"))).await;
        let job = job("demo", "demo:1");
        stage.accept(&job).await;
        assert_eq!(stage.end(&job).await.state(), state);
    }
}

#[tokio::test]
async fn an_older_job_never_overwrites_a_newer_one() {
    let stage = Stage::new(&rehearsal("10ms", "")).await;
    let (older, newer) = (job("demo", "demo:1"), job("demo", "demo:2"));
    stage.accept(&newer).await;
    assert_eq!(stage.end(&newer).await.state(), State::Succeeded);
    stage.accept(&older).await;
    let end = stage.end(&older).await;
    assert_eq!((end.state(), end.data.by), (State::Superseded, Some(newer.id)));
    assert!(!stage.states(&older).contains(&State::Started), "it never touched the target");
}

#[tokio::test]
async fn a_newer_job_takes_over_a_long_rollout() {
    let stage = Stage::new(&rehearsal("20s", "")).await;
    let older = job("demo", "demo:1");
    stage.accept(&older).await;
    stage.until_said(&older, State::Started).await;
    let newer = job("demo", "demo:2");
    stage.accept(&newer).await;
    let busy = stage.until_said(&newer, State::Retrying).await;
    assert_eq!((code(&busy), busy.data.counted), ("busy", Some(false)));
    let end = stage.end(&older).await;
    assert_eq!((end.state(), end.data.by), (State::Superseded, Some(newer.id)));
    stage.until_said(&newer, State::Started).await;
}

#[tokio::test]
async fn a_job_that_waits_for_its_target_says_so_once() {
    let stage = Stage::new(&rehearsal("7s", "")).await;
    let rollout = job("demo", "demo:1");
    stage.accept(&rollout).await;
    stage.until_said(&rollout, State::Started).await;
    // It competes with nobody: it waits until the rollout has ended, and is looked at every two seconds.
    let mut restart = job("demo", "demo:1");
    restart.operation = Operation::Restart;
    restart.slots = restart.operation.slots();
    stage.accept(&restart).await;
    assert_eq!(stage.end(&rollout).await.state(), State::Succeeded);
    assert_eq!(stage.end(&restart).await.state(), State::Succeeded);
    let states = stage.states(&restart);
    let waits = states.iter().filter(|state| **state == State::Retrying).count();
    assert_eq!(waits, 1, "{states:?}");
}

#[tokio::test]
async fn a_system_that_is_down_is_tried_again_until_it_is_back() {
    let stage = Stage::new(&rehearsal("10ms", "")).await;
    // A file where the rehearsal wants its folder: it cannot be written, as a system that is down.
    let folder = stage.folder.path().join("rehearsal");
    std::fs::write(&folder, "in the way").unwrap();
    let job = job("demo", "demo:1");
    stage.accept(&job).await;
    let retrying = stage.until_said(&job, State::Retrying).await;
    assert_eq!((code(&retrying), retrying.data.counted), ("unreachable", Some(true)));
    std::fs::remove_file(&folder).unwrap();
    let end = stage.end(&job).await;
    assert_eq!((end.state(), end.data.attempt), (State::Succeeded, 2));
}

#[tokio::test]
async fn a_job_that_came_too_late_is_dead() {
    let stage = Stage::new(&rehearsal("10ms", "")).await;
    let mut job = job("demo", "demo:1");
    job.deadline = Timestamp::now() - Duration::from_secs(1);
    stage.accept(&job).await;
    let end = stage.end(&job).await;
    assert_eq!((end.state(), code(&end)), (State::Dead, "deadline"));
    assert_eq!(end.job().unwrap().id, job.id, "the event of a dead job carries it whole");
}

#[tokio::test]
async fn a_copy_of_a_dead_job_writes_no_second_letter_though_the_first_is_closed() {
    let one_at_a_time = rehearsal("10ms", "").replace("grace: 100ms", "grace: 100ms, at_once: 1");
    let stage = Stage::new(&one_at_a_time).await;
    let mut late = job("demo", "demo:1");
    late.deadline = Timestamp::now() - Duration::from_secs(1);
    stage.accept(&late).await;
    let letter = stage.letters(1).await.remove(0);
    assert_eq!(stage.end(&late).await.state(), State::Dead);
    stage.queue.close_letter(letter.id, Closed::Discarded { by: None }).await.unwrap();
    stage.queue.publish(&late).await.unwrap();
    let after = job("demo", "demo:2");
    stage.accept(&after).await;
    assert_eq!(stage.end(&after).await.state(), State::Succeeded);
    stage.letters(0).await;
    // One whose letter was never written, as of a worker that died in between, gets it now.
    let unwritten = Job { id: late.id.successor(), ..late };
    stage.say(&unwritten, State::Accepted).await;
    stage.say(&unwritten, State::Dead).await;
    stage.queue.publish(&unwritten).await.unwrap();
    assert_eq!(stage.letters(1).await[0].job().unwrap().id, unwritten.id);
}

#[tokio::test]
async fn a_rollout_that_outlives_its_deadline_fails() {
    let stage = Stage::new(&rehearsal("20s", "")).await;
    let mut job = job("demo", "demo:1");
    job.deadline = Timestamp::now() + Duration::from_millis(1500);
    stage.accept(&job).await;
    let end = stage.end(&job).await;
    assert_eq!((end.state(), code(&end)), (State::Failed, "deadline"));
}

#[tokio::test]
async fn a_target_that_nobody_knows_is_refused_after_ten_minutes() {
    let stage = Stage::new(&rehearsal("10ms", "")).await;
    let fresh = job("nowhere", "demo:1");
    stage.accept(&fresh).await;
    let waits = stage.until_said(&fresh, State::Retrying).await;
    assert_eq!((code(&waits), waits.data.counted), ("unknown-target", Some(false)));
    let mut old = job("nowhere", "demo:1");
    old.accepted_at = Timestamp::now() - Duration::from_secs(601);
    stage.accept(&old).await;
    let end = stage.end(&old).await;
    assert_eq!((end.state(), code(&end)), (State::Rejected, "unknown-target"));
}

#[tokio::test]
async fn a_job_whose_worker_stopped_is_taken_up_where_it_was() {
    let mut stage = Stage::new(&rehearsal("2s", "")).await;
    let job = job("demo", "demo:1");
    stage.accept(&job).await;
    stage.until_said(&job, State::Started).await;
    stage.stop().await;
    assert_eq!(code(&stage.until_said(&job, State::Retrying).await), "interrupted");
    stage.start(&rehearsal("2s", ""));
    let end = stage.end(&job).await;
    assert_eq!((end.state(), end.data.attempt), (State::Succeeded, 1));
    assert!(stage.mark().contains(&job.id.to_string()));
}
