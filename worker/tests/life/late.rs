//! Targets that cannot refuse a late write: it is undone.

use proto::{Event, Job, Operation, State};

use serde_json::{Value, json};

use crate::stage::{Stage, code, job, rehearsal};

const BLIND: &str = ", blind: true";

/// What stands on the target after an older job was written late over a newer one.
async fn overwritten(stage: &Stage, older: &Job, newer: &Job) {
    stage.accept(older).await;
    assert_eq!(stage.end(older).await.state(), State::Succeeded);
    let late = stage.mark();
    stage.accept(newer).await;
    assert_eq!(stage.end(newer).await.state(), State::Succeeded);
    stage.put_mark(Some(&late));
}

/// `mark` once `job` has written its image over what it tells of.
fn written_by(mark: &str, job: &Job) -> String {
    let mut mark: Value = serde_json::from_str(mark).unwrap();
    mark["before"] = mark["image"].take();
    mark["image"] = json!(job.operation.image());
    for slot in &job.slots {
        mark["jobs"][slot.to_string()] = json!(job.id);
    }
    mark.to_string()
}

/// What is said of a job that was called off after `good` and yet written, by a worker that had begun it: `good`'s image
/// stands again then.
async fn called_off_and_written_after(good: &Job) -> Event {
    let stage = Stage::new(&rehearsal("10ms", "")).await;
    let (sleeper, mut cancel) = (job("demo", "demo:2"), job("demo", "demo:2"));
    cancel.operation = Operation::Cancel { job: sleeper.id };
    cancel.slots = cancel.operation.slots();
    stage.accept(good).await;
    assert_eq!(stage.end(good).await.state(), State::Succeeded);
    stage.say(&sleeper, State::Started).await;
    stage.say(&cancel, State::Accepted).await;
    stage.accept(&sleeper).await;
    assert_eq!(stage.end(&sleeper).await.state(), State::Cancelled);
    assert!(stage.mark().contains("demo:1"), "{}", stage.mark());

    stage.put_mark(Some(&written_by(&stage.mark(), &sleeper)));
    let events = stage.until(&sleeper, |events| put_back(events).is_some()).await;
    assert!(stage.mark().contains("demo:1"), "{}", stage.mark());
    put_back(&events).unwrap().clone()
}

fn put_back(events: &[Event]) -> Option<&Event> {
    events.iter().find(|event| code(event) == "put-back")
}

#[tokio::test]
async fn a_copy_of_a_job_that_overwrote_a_newer_one_puts_that_back() {
    let stage = Stage::new(&rehearsal("10ms", BLIND)).await;
    let (older, newer) = (job("demo", "demo:1"), job("demo", "demo:2"));
    overwritten(&stage, &older, &newer).await;
    stage.queue.publish(&older).await.unwrap();
    let events = stage.until(&older, |events| put_back(events).is_some()).await;
    let said = put_back(&events).unwrap();
    assert_eq!((said.state(), said.data.by), (State::Superseded, Some(newer.id)));
    assert_eq!(stage.end(&older).await.state(), State::Succeeded, "its first end stands");
    assert!(stage.mark().contains("demo:2"), "{}", stage.mark());
}

/// A worker began the job and was not heard of since; when it writes at last, it dies.
#[tokio::test]
async fn a_job_that_another_worker_may_still_write_is_guarded_after_its_end() {
    let stage = Stage::new(&rehearsal("10ms", BLIND)).await;
    let (older, newer) = (job("demo", "demo:1"), job("demo", "demo:2"));
    stage.say(&older, State::Started).await;
    overwritten(&stage, &older, &newer).await;
    let events = stage.until(&older, |events| put_back(events).is_some()).await;
    assert_eq!(put_back(&events).unwrap().data.by, Some(newer.id));
    assert!(stage.mark().contains("demo:2"), "{}", stage.mark());
}

/// The other worker was asleep right before its write, and nothing was written meanwhile by which a target refuses it.
#[tokio::test]
async fn a_job_that_was_called_off_and_is_written_all_the_same_is_undone_wherever_it_was() {
    let good = job("demo", "demo:1");
    assert_eq!(called_off_and_written_after(&good).await.data.by, Some(good.id));
}

/// What ran before was another part's wish: nothing of the very same extent succeeded that could be carried out again.
#[tokio::test]
async fn a_job_that_was_called_off_and_is_written_over_a_wider_wish_goes_back_to_what_ran_well() {
    let mut good = job("demo", "demo:1");
    let Operation::SetImage { service, .. } = &mut good.operation else { panic!("an image") };
    *service = Some("web".to_owned());
    good.slots = good.operation.slots();
    assert_eq!(called_off_and_written_after(&good).await.data.by, None);
}

#[tokio::test]
async fn a_copy_of_a_job_leaves_a_target_alone_that_a_newer_one_runs_on() {
    let stage = Stage::new(&rehearsal("10ms", BLIND)).await;
    let (older, newer, last) = (job("demo", "demo:1"), job("demo", "demo:2"), job("other", "demo:3"));
    for job in [&older, &newer] {
        stage.accept(job).await;
        assert_eq!(stage.end(job).await.state(), State::Succeeded);
    }
    let (mark, said) = (stage.mark(), stage.states(&older));
    stage.queue.publish(&older).await.unwrap();
    // Behind it in the queue, so the copy was looked at when this one is.
    stage.accept(&last).await;
    stage.until_said(&last, State::Retrying).await;
    assert_eq!((stage.mark(), stage.states(&older)), (mark, said));
}
