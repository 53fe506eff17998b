//! The newest wish wins, and nobody else does.

use std::time::Duration;

use proto::{Job, Operation, State};

use crate::stage::{Stage, code, job, rehearsal};

fn with(operation: Operation) -> Job {
    let mut job = job("demo", "demo:1");
    job.slots = operation.slots();
    job.operation = operation;
    job
}

#[tokio::test]
async fn stop_then_start_ends_running_in_whatever_order_they_come() {
    let stage = Stage::new(&rehearsal("100ms", "")).await;
    let (stop, start) = (with(Operation::Stop), with(Operation::Start));
    stage.accept(&start).await;
    stage.accept(&stop).await;
    assert_eq!(stage.end(&start).await.state(), State::Succeeded);
    assert_eq!(stage.end(&stop).await.state(), State::Superseded);
    assert!(stage.mark().contains(r#""running": true"#));

    let (stop, start) = (with(Operation::Stop), with(Operation::Start));
    stage.accept(&stop).await;
    stage.accept(&start).await;
    assert_eq!(stage.end(&start).await.state(), State::Succeeded);
    stage.end(&stop).await;
    assert!(stage.mark().contains(r#""running": true"#));
}

#[tokio::test]
async fn a_restart_never_swallows_an_image() {
    let stage = Stage::new(&rehearsal("100ms", "")).await;
    let (image, restart) = (job("demo", "demo:1"), with(Operation::Restart));
    stage.accept(&image).await;
    stage.accept(&restart).await;
    assert_eq!(stage.end(&image).await.state(), State::Succeeded);
    assert_eq!(stage.end(&restart).await.state(), State::Succeeded);
    assert!(stage.mark().contains("demo:1") && stage.mark().contains(r#""restarts": 1"#));
}

#[tokio::test]
async fn a_job_that_is_called_off_in_time_never_touches_its_target() {
    let stage = Stage::new(&rehearsal("20s", "")).await;
    let first = job("demo", "demo:1");
    stage.accept(&first).await;
    stage.until_said(&first, State::Started).await;
    // Waits at the target's lock while the first is under way.
    let second = with(Operation::Stop);
    stage.accept(&second).await;
    stage.until_said(&second, State::Retrying).await;
    let cancel = with(Operation::Cancel { job: second.id });
    stage.accept(&cancel).await;
    let end = stage.end(&second).await;
    assert_eq!((end.state(), end.data.by), (State::Cancelled, Some(cancel.id)));
    assert_eq!(stage.end(&cancel).await.state(), State::Succeeded);
    assert!(!stage.states(&second).contains(&State::Started));
}

/// Both wait when the newer is called off: whoever called it off wants the older.
#[tokio::test]
async fn a_job_that_is_called_off_leaves_the_older_one_its_turn() {
    let mut stage = Stage::empty().await;
    let folder = stage.folder.path().join("rehearsal");
    std::fs::write(&folder, "in the way").unwrap();
    stage.start(&rehearsal("10ms", ""));
    let (older, newer) = (job("demo", "demo:1"), job("demo", "demo:2"));
    stage.accept(&older).await;
    stage.until_said(&older, State::Retrying).await;
    stage.stop().await;
    std::fs::remove_file(&folder).unwrap();
    stage.accept(&newer).await;
    stage.accept(&with(Operation::Cancel { job: newer.id })).await;

    stage.start(&rehearsal("10ms", ""));
    assert_eq!(stage.end(&older).await.state(), State::Succeeded);
    assert_eq!(stage.end(&newer).await.state(), State::Cancelled);
    assert!(stage.mark().contains("demo:1"));
}

#[tokio::test]
async fn a_cancel_that_comes_too_late_is_rejected_and_says_so() {
    let stage = Stage::new(&rehearsal("1s", "")).await;
    let job = job("demo", "demo:1");
    stage.accept(&job).await;
    stage.until_said(&job, State::Started).await;
    stage.until_marked(&job).await;
    let cancel = with(Operation::Cancel { job: job.id });
    stage.accept(&cancel).await;
    assert_eq!(stage.end(&job).await.state(), State::Succeeded);
    let end = stage.end(&cancel).await;
    assert_eq!((end.state(), code(&end)), (State::Rejected, "too-late"));
}

#[tokio::test]
async fn of_a_burst_few_reach_the_target_and_the_newest_is_the_last() {
    let configuration = rehearsal("3s", "").replace("takeover_after: 300ms", "takeover_after: 2s");
    let stage = Stage::new(&configuration).await;
    let jobs: Vec<Job> = (0..100).map(|n| job("demo", &format!("demo:{n}"))).collect();
    // All at once: one after the other they would take longer on a slow disk than a rollout is given.
    futures::future::join_all(jobs.iter().map(|job| stage.accept(job))).await;
    let mut applied = 0;
    for job in &jobs {
        let end = stage.end(job).await;
        assert!(matches!(end.state(), State::Succeeded | State::Superseded), "{end:?}");
        applied += usize::from(end.data.image.is_some());
    }
    assert_eq!(stage.end(&jobs[99]).await.state(), State::Succeeded);
    assert!(stage.mark().contains("demo:99"));
    assert!(applied <= 3, "{applied} reached the target");
}

/// The job was begun, so its target may carry its mark: yet there is nothing to look at any more.
#[tokio::test]
async fn a_job_that_comes_back_after_a_newer_one_is_superseded_though_its_target_is_gone() {
    let mut stage = Stage::empty().await;
    let folder = stage.folder.path().join("rehearsal");
    std::fs::write(&folder, "in the way").unwrap();
    stage.start(&rehearsal("10ms", ""));
    let older = job("demo", "demo:1");
    stage.accept(&older).await;
    assert_eq!(stage.until_said(&older, State::Retrying).await.data.counted, Some(true));
    std::fs::remove_file(&folder).unwrap();
    let newer = job("demo", "demo:2");
    stage.accept(&newer).await;
    assert_eq!(stage.end(&newer).await.state(), State::Succeeded);
    stage.stop().await;
    assert!(!stage.states(&older).iter().any(|state| state.is_end()), "it came back too early to tell");

    stage.start(&rehearsal("10ms", "").replace("demo:", "renamed:"));
    let end = stage.end(&older).await;
    assert_eq!((end.state(), end.data.by), (State::Superseded, Some(newer.id)));
    assert!(stage.mark().contains("demo:2"));
}

#[tokio::test]
async fn a_job_that_a_newer_one_makes_needless_is_superseded_though_its_deadline_passed() {
    let stage = Stage::new(&rehearsal("10ms", "")).await;
    let (mut older, newer) = (job("demo", "demo:1"), job("demo", "demo:2"));
    older.deadline = proto::Timestamp::now() - Duration::from_secs(1);
    stage.accept(&newer).await;
    assert_eq!(stage.end(&newer).await.state(), State::Succeeded);
    stage.accept(&older).await;
    let end = stage.end(&older).await;
    assert_eq!((end.state(), end.data.by), (State::Superseded, Some(newer.id)));
}
