//! Jobs that may be carried out at certain hours only.

use std::time::Duration;

use jiff::SignedDuration;
use proto::{Event, Job, State, Timestamp, Window};

use crate::stage::{Stage, code, job, rehearsal};

/// Open from one time of day to another, every day.
fn open_between(from: Timestamp, to: Timestamp) -> Window {
    let clock = |time: Timestamp| time.strftime("%H:%M:%S").to_string();
    let period = serde_json::json!({"from": clock(from), "to": clock(to), "zone": "UTC"});
    serde_json::from_value(serde_json::json!({"name": "hours", "periods": [period]})).unwrap()
}

/// A job whose window opens in `from` seconds and closes in `to`.
fn in_window(from: i64, to: i64) -> Job {
    let (mut job, now) = (job("demo", "demo:held"), Timestamp::now());
    let at = |seconds| now + SignedDuration::from_secs(seconds);
    job.gates.window = Some(Box::new(open_between(at(from), at(to))));
    job.lasting(Duration::from_secs(60))
}

/// When the window of a job closes first after it was open.
fn closes(job: &Job) -> Timestamp {
    job.gates.window.as_ref().unwrap().closes(job.may_run_from()).unwrap()
}

async fn sleep_until(time: Timestamp) {
    let left = Duration::try_from(time.duration_since(Timestamp::now())).unwrap_or_default();
    // Clocks tick in parts of a second.
    tokio::time::sleep(left + Duration::from_millis(200)).await;
}

fn times(states: &[State], state: State) -> usize {
    states.iter().filter(|said| **said == state).count()
}

#[tokio::test]
async fn a_job_waits_for_its_window_and_runs_when_that_opens() {
    let stage = Stage::new(&rehearsal("10ms", "")).await;
    let (held, open) = (in_window(7, 600), in_window(-60, 600));
    stage.accept(&held).await;
    let said = stage.until_said(&held, State::Held).await;
    assert_eq!(code(&said), "window");
    let opening = held.may_run_from().strftime("is closed until %Y-%m-%dT%H:%M:%SZ").to_string();
    assert!(said.data.reason.as_ref().unwrap().text.contains(&opening), "{said:?}");
    assert_eq!(stage.end(&held).await.state(), State::Succeeded);
    assert!(stage.until_said(&held, State::Started).await.time >= held.may_run_from());
    assert_eq!(times(&stage.states(&held), State::Held), 1);
    // One whose window is open waits for nothing.
    let open = Job { id: job("demo", "demo:1").id, ..open };
    stage.accept(&open).await;
    assert_eq!(stage.end(&open).await.state(), State::Succeeded);
    assert_eq!(times(&stage.states(&open), State::Held), 0);
}

#[tokio::test]
async fn one_whose_hours_passed_while_no_worker_ran_waits_for_the_next() {
    let mut stage = Stage::new(&rehearsal("10ms", "")).await;
    let held = in_window(8, 11);
    stage.accept(&held).await;
    let first = stage.until_said(&held, State::Held).await;
    stage.stop().await;
    assert!(Timestamp::now() < held.may_run_from(), "the machine is too slow for this test");
    sleep_until(closes(&held)).await;
    stage.start(&rehearsal("10ms", ""));
    let is_held = |event: &&Event| event.state() == State::Held;
    let said = stage.until(&held, |events| events.iter().filter(is_held).count() == 2).await;
    let again = said.last().unwrap();
    assert_eq!(code(again), "window");
    assert_ne!(again.data.reason, first.data.reason, "the next opening is another");
    assert_eq!(times(&stage.states(&held), State::Started), 0);
    assert!(stage.mark().is_empty());
}

#[tokio::test]
async fn a_rollout_that_began_in_time_is_watched_to_its_end_by_another_worker_after_it() {
    let mut stage = Stage::new(&rehearsal("15s", "")).await;
    let job = in_window(-60, 12);
    stage.accept(&job).await;
    stage.until_marked(&job).await;
    stage.stop().await;
    sleep_until(closes(&job)).await;
    stage.start(&rehearsal("15s", ""));
    assert_eq!(stage.end(&job).await.state(), State::Succeeded);
    assert_eq!(times(&stage.states(&job), State::Held), 0);
}

#[tokio::test]
async fn one_that_began_and_wrote_nothing_is_held_once_its_window_has_closed() {
    let mut stage = Stage::new(&rehearsal("10ms", "")).await;
    stage.accept(&in_window(-60, 600)).await;
    stage.stop().await;
    let job = in_window(-60, 2);
    stage.accept(&job).await;
    // A worker that died before it wrote.
    stage.say(&job, State::Started).await;
    sleep_until(closes(&job)).await;
    stage.start(&rehearsal("10ms", ""));
    assert_eq!(code(&stage.until_said(&job, State::Held).await), "window");
    assert!(!stage.mark().contains(&job.id.to_string()));
}

#[tokio::test]
async fn what_its_window_keeps_too_long_is_rejected() {
    let stage = Stage::new(&rehearsal("10ms", "")).await;
    let mut held = in_window(600, 900);
    held.gates.hold_until = Some(Timestamp::now() + Duration::from_secs(4));
    stage.accept(&held).await;
    assert_eq!(code(&stage.until_said(&held, State::Held).await), "window");
    let end = stage.end(&held).await;
    assert_eq!((end.state(), code(&end)), (State::Rejected, "hold-expired"));
}

#[tokio::test]
async fn what_was_approved_in_time_is_not_rejected_while_its_place_waits_for_a_window() {
    let stage = Stage::new(&rehearsal("10ms", "")).await;
    let mut held = job("demo", "demo:held");
    held.gates.approve = true;
    held.gates.hold_until = Some(Timestamp::now() + Duration::from_secs(5));
    stage.accept(&held).await;
    let made = Job { replays: Some(held.id), ..in_window(600, 900) };
    stage.accept(&made).await;
    assert_eq!(code(&stage.until_said(&made, State::Held).await), "window");
    let end = stage.end(&held).await;
    assert_eq!((end.state(), end.data.by), (State::Superseded, Some(made.id)));
}
