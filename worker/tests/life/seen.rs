//! Jobs that wait with their image: what is approved, or comes of age, is what the tag pointed to when they began to wait.

use std::time::Duration;

use jiff::SignedDuration;
use proto::{CauseKind, Event, ImageRef, Job, State, Timestamp};

use crate::{
    fake_swarm::FakeSwarm,
    stage::{Stage, code, job, text},
};

const CONFIGURATION: &str = "systems:\n  dock: {kind: swarm, host: 'tcp://ADDRESS'}\n\
                             targets:\n  demo: {at: dock, service: web}\n";

fn configuration(dock: &FakeSwarm) -> String {
    CONFIGURATION.replace("ADDRESS", dock.address())
}

fn dock() -> FakeSwarm {
    let dock = FakeSwarm::start(Duration::from_millis(200)).unwrap();
    dock.add("web", &format!("docker.io/acme/app:1@sha256:{}", "a".repeat(64)));
    dock
}

/// A push that names no digest, of an image that has to be so old.
fn to_come_of_age(image: &str, age: Duration) -> Job {
    let mut job = job("demo", image);
    job.cause.kind = CauseKind::Hook;
    job.not_before = Some(job.accepted_at + age);
    job.lasting(Duration::from_secs(60))
}

fn image(event: &Event) -> ImageRef {
    event.data.image.as_ref().and_then(|change| change.to.clone()).unwrap_or_else(|| panic!("{event:?}"))
}

fn runs(dock: &FakeSwarm) -> ImageRef {
    let spec = dock.spec("web").unwrap();
    spec["TaskTemplate"]["ContainerSpec"]["Image"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn what_comes_of_age_is_the_image_that_was_seen_whatever_its_tag_points_to_by_then() {
    let dock = dock();
    let mut stage = Stage::new(&configuration(&dock)).await;
    let pushed = to_come_of_age("acme/app:2", Duration::from_secs(20));
    stage.accept(&pushed).await;
    let held = stage.until_said(&pushed, State::Held).await;
    let seen = image(&held);
    assert_eq!((code(&held), seen.by_tag()), ("not-before", "acme/app:2".parse().unwrap()));
    assert!(seen.digest().is_some(), "{held:?}");
    assert!(text(&held).ends_with(&format!("; its image is {}", seen.familiar())), "{held:?}");
    assert_eq!(held.job(), Some(&pushed), "the wish stays as it was");
    dock.push_again();
    // Another worker, which knows it from the history alone.
    stage.stop().await;
    stage.start(&configuration(&dock));
    let end = stage.end(&pushed).await;
    assert_eq!((end.state(), image(&end)), (State::Succeeded, seen.clone()), "{end:?}");
    assert_eq!(runs(&dock), seen);
    // What waits for nothing is what its tag points to now.
    let now = job("demo", "acme/app:2");
    stage.accept(&now).await;
    assert_eq!(stage.end(&now).await.state(), State::Succeeded);
    assert!(!runs(&dock).same_content(&seen));
}

#[tokio::test]
async fn who_is_to_approve_is_told_which_image() {
    let dock = dock();
    let stage = Stage::new(&configuration(&dock)).await;
    let mut pushed = job("demo", "acme/app:2");
    pushed.gates.approve = true;
    stage.accept(&pushed).await;
    let held = stage.until_said(&pushed, State::Held).await;
    assert_eq!(code(&held), "needs-approval");
    let seen = image(&held);
    assert!(seen.digest().is_some() && text(&held).contains(&seen.familiar()), "{held:?}");
    dock.push_again();
    // As an ingress makes it.
    let mut approved = Job { replays: Some(pushed.id), ..job("demo", "acme/app:2").pinned_to(&seen) };
    approved.cause.kind = CauseKind::Approve;
    stage.accept(&approved).await;
    assert_eq!(stage.end(&approved).await.state(), State::Succeeded);
    assert_eq!(runs(&dock), seen);
}

#[tokio::test]
async fn what_cannot_be_looked_up_waits_all_the_same_and_is_told_so_once() {
    let dock = dock();
    let stage = Stage::new(&configuration(&dock)).await;
    let pushed = to_come_of_age("acme/app:2-missing", Duration::from_secs(20));
    stage.accept(&pushed).await;
    let held = stage.until_said(&pushed, State::Held).await;
    assert!(
        text(&held).ends_with("what acme/app:2-missing points to could not be looked up yet"),
        "{held:?}"
    );
    let end = stage.end(&pushed).await;
    assert_eq!((end.state(), code(&end)), (State::Failed, "image-not-found"));
    let held = stage.states(&pushed).into_iter().filter(|state| *state == State::Held).count();
    assert_eq!(held, 1);
}

#[tokio::test]
async fn one_whose_image_nobody_saw_in_time_gives_way_to_the_push_that_came_after_it() {
    let dock = dock();
    let mut stage = Stage::new(&configuration(&dock)).await;
    // The pool exists from now on.
    stage.accept(&to_come_of_age("acme/app:0", Duration::from_secs(3600))).await;
    stage.stop().await;
    // While no worker ran, both were pushed, and the time of the first came.
    let ago = |seconds| Timestamp::now() - SignedDuration::from_secs(seconds);
    let mut older = job("demo", "acme/app:2");
    older.cause.kind = CauseKind::Hook;
    (older.accepted_at, older.not_before) = (ago(300), Some(ago(10)));
    let newer = to_come_of_age("acme/app:2", Duration::from_secs(3600));
    let mut other = job("demo", "acme/app:1");
    (other.accepted_at, other.not_before) = (ago(300), Some(ago(10)));
    stage.accept(&older).await;
    stage.accept(&newer).await;
    stage.start(&configuration(&dock));
    let end = stage.end(&older).await;
    assert_eq!((end.state(), end.data.by), (State::Superseded, Some(newer.id)), "{end:?}");
    assert!(text(&end).contains("its tag was pushed again"), "{end:?}");
    assert!(!stage.states(&older).contains(&State::Started));
    stage.until_said(&newer, State::Held).await;
    // What was pushed once is what its tag points to.
    stage.accept(&other).await;
    assert_eq!(stage.end(&other).await.state(), State::Succeeded);
}
