//! Jobs that may not run yet.

use std::time::Duration;

use proto::{CauseKind, Job, State, Timestamp};

use crate::stage::{Stage, code, job, rehearsal};

fn held_for(seconds: u64) -> Job {
    let mut job = job("demo", "demo:held");
    let time = Timestamp::now() + Duration::from_secs(seconds);
    (job.not_before, job.deadline) = (Some(time), time + Duration::from_secs(600));
    job
}

fn to_be_approved() -> Job {
    let mut job = job("demo", "demo:held");
    job.gates.approve = true;
    job
}

fn times(states: &[State], state: State) -> usize {
    states.iter().filter(|said| **said == state).count()
}

#[tokio::test]
async fn a_job_before_its_time_says_once_that_it_is_held_and_runs_when_the_time_has_come() {
    let stage = Stage::new(&rehearsal("10ms", "")).await;
    let held = held_for(7);
    stage.accept(&held).await;
    let said = stage.until_said(&held, State::Held).await;
    assert_eq!((code(&said), said.data.attempt), ("not-before", 0));
    assert_eq!(said.job(), Some(&held), "it carries the job whole");
    assert_eq!(stage.end(&held).await.state(), State::Succeeded);
    assert!(stage.until_said(&held, State::Started).await.time >= held.not_before.unwrap());
    // More than one look was taken on the way.
    assert_eq!(times(&stage.states(&held), State::Held), 1);
    assert_eq!(times(&stage.states(&held), State::Retrying), 0);
}

#[tokio::test]
async fn a_held_wish_supersedes_nobody() {
    let stage = Stage::new(&rehearsal("10ms", "")).await;
    let older = [job("demo", "demo:1"), job("demo", "demo:2")];
    for held in [held_for(600), to_be_approved()] {
        stage.accept(&held).await;
        stage.until_said(&held, State::Held).await;
    }
    for job in &older {
        stage.accept(job).await;
        assert_eq!(stage.end(job).await.state(), State::Succeeded);
    }
    assert!(stage.mark().contains("demo:2"));
}

#[tokio::test]
async fn a_held_job_ends_superseded_once_a_newer_one_was_carried_out() {
    for (ends, state) in [("succeeded", State::Succeeded), ("failed", State::Failed)] {
        let stage = Stage::new(&rehearsal("10ms", &format!(", ends: {ends}"))).await;
        let held = held_for(15);
        stage.accept(&held).await;
        stage.until_said(&held, State::Held).await;
        let newer = job("demo", "demo:2");
        stage.accept(&newer).await;
        assert_eq!(stage.end(&newer).await.state(), state);
        let end = stage.end(&held).await;
        assert_eq!((end.state(), end.data.by), (State::Superseded, Some(newer.id)));
        assert!(Timestamp::now() < held.not_before.unwrap(), "it waited for nothing");
        assert_eq!(times(&stage.states(&held), State::Started), 0);
    }
}

#[tokio::test]
async fn a_newer_wish_that_never_ran_leaves_a_held_one_alone() {
    let stage = Stage::new(&rehearsal("10ms", "")).await;
    let held = held_for(7);
    stage.accept(&held).await;
    let mut newer = job("demo", "demo:2");
    newer.deadline = Timestamp::now() - Duration::from_secs(1);
    stage.accept(&newer).await;
    assert_eq!(stage.end(&newer).await.state(), State::Dead);
    // The newest that may run is still the dead one: by then it counts as for every other job.
    let end = stage.end(&held).await;
    assert_eq!((end.state(), end.data.by), (State::Superseded, Some(newer.id)));
    assert!(end.time >= held.not_before.unwrap());
}

#[tokio::test]
async fn what_nobody_approves_is_rejected_when_the_hold_expires_whatever_its_deadline() {
    let stage = Stage::new(&rehearsal("10ms", "")).await;
    let mut held = to_be_approved();
    held.deadline = Timestamp::now() + Duration::from_millis(500);
    held.gates.hold_until = Some(Timestamp::now() + Duration::from_secs(3));
    stage.accept(&held).await;
    assert_eq!(code(&stage.until_said(&held, State::Held).await), "needs-approval");
    let end = stage.end(&held).await;
    assert_eq!((end.state(), code(&end)), (State::Rejected, "hold-expired"));
    assert!(end.time >= held.gates.hold_until.unwrap());
    assert_eq!(times(&stage.states(&held), State::Started), 0);
    assert!(stage.mark().is_empty());
}

#[tokio::test]
async fn a_held_job_can_be_called_off() {
    let stage = Stage::new(&rehearsal("10ms", "")).await;
    let held = held_for(3600);
    stage.accept(&held).await;
    stage.until_said(&held, State::Held).await;
    let mut cancel = job("demo", "demo:1");
    cancel.operation = proto::Operation::Cancel { job: held.id };
    cancel.slots = Vec::new();
    stage.accept(&cancel).await;
    let end = stage.end(&held).await;
    assert_eq!((end.state(), end.data.by), (State::Cancelled, Some(cancel.id)));
    assert_eq!(stage.end(&cancel).await.state(), State::Succeeded);
}

#[tokio::test]
async fn a_held_job_ends_superseded_by_the_one_that_was_made_when_it_was_approved() {
    let stage = Stage::new(&rehearsal("10ms", "")).await;
    let held = to_be_approved();
    stage.accept(&held).await;
    let said = stage.until_said(&held, State::Held).await;
    let hint = said.data.reason.unwrap().hint.unwrap();
    assert!(hint.contains(&format!("longshore job approve {}", held.id)), "{hint}");
    let mut made = job("demo", "demo:held");
    (made.chain, made.replays, made.cause.kind) = (held.chain, Some(held.id), CauseKind::Approve);
    stage.accept(&made).await;
    assert_eq!(stage.end(&made).await.state(), State::Succeeded);
    // It is looked at twice a minute.
    let end = stage.end(&held).await;
    assert_eq!((end.state(), end.data.by), (State::Superseded, Some(made.id)));
}

/// The worker is started anew with a window that holds nothing of it.
async fn restart_later(stage: &mut Stage, window: Duration) {
    stage.stop().await;
    tokio::time::sleep(2 * window).await;
    let settings = stage.settings(&rehearsal("10ms", "")).with_window(window);
    stage.start_on(stage.queue.clone(), settings);
}

#[tokio::test]
async fn one_held_longer_than_the_window_learns_from_the_history_that_a_newer_one_has_run() {
    let mut stage = Stage::new(&rehearsal("10ms", "")).await;
    let (held, newer) = (held_for(9), job("demo", "demo:2"));
    stage.accept(&held).await;
    stage.until_said(&held, State::Held).await;
    stage.accept(&newer).await;
    assert_eq!(stage.end(&newer).await.state(), State::Succeeded);
    // Somebody wiped the mark: only the history can tell.
    restart_later(&mut stage, Duration::from_secs(1)).await;
    stage.put_mark(None);
    let end = stage.end(&held).await;
    assert_eq!((end.state(), end.data.by), (State::Superseded, Some(newer.id)));
    assert_eq!(stage.mark(), "", "its target was not touched");
    assert_eq!(times(&stage.states(&held), State::Started), 0);
}

#[tokio::test]
async fn one_held_longer_than_the_window_supersedes_nobody_and_says_nothing_twice() {
    let mut stage = Stage::new(&rehearsal("10ms", "")).await;
    let older = job("demo", "demo:1");
    let held = held_for(12);
    stage.accept(&held).await;
    stage.until_said(&held, State::Held).await;
    restart_later(&mut stage, Duration::from_secs(1)).await;
    stage.accept(&older).await;
    assert_eq!(stage.end(&older).await.state(), State::Succeeded);
    assert_eq!(stage.end(&held).await.state(), State::Succeeded);
    assert!(stage.mark().contains("demo:held"));
    let states = stage.states(&held);
    assert_eq!((times(&states, State::Held), times(&states, State::Accepted)), (1, 1), "{states:?}");
}
