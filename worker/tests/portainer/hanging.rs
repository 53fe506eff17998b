//! A rollout that never comes to an end: the nodes pull an image for ever, and the engine tells of no failure.

use std::time::Duration;

use proto::{Event, Job, Operation, StackText, State, Timestamp};

use crate::{
    fake_portainer::HANGING,
    lab::{FILE, Lab, env, set},
    stage::{Stage, text, wish},
};

/// A job whose time is over soon, though not before it was written.
fn short(mut job: Job) -> Job {
    job.deadline = Timestamp::now() + Duration::from_secs(40);
    job
}

const PATIENCE: Duration = Duration::from_secs(240);

async fn ended(stage: &Stage, job: &Job) -> Event {
    stage.accept(job).await;
    end(stage, job).await
}

async fn end(stage: &Stage, job: &Job) -> Event {
    let is_over = |events: &[Event]| events.iter().any(|event| event.state().is_end());
    let events = stage.until_within(PATIENCE, job, is_over).await;
    events.into_iter().find(|event| event.state().is_end()).unwrap()
}

fn hanging() -> Job {
    short(set(&format!("acme/web:2{HANGING}")))
}

#[tokio::test]
async fn what_hangs_until_its_time_is_over_is_taken_back_where_the_target_says_so() {
    let lab = Lab::swarm(FILE);
    let stage = lab.stage(", rollback: true").await;
    let end = ended(&stage, &hanging()).await;
    assert_eq!(end.state(), State::RolledBack, "{end:?}");
    assert!(text(&end).contains("the old text was put back"), "{}", text(&end));
    assert_eq!((lab.bare_file().as_str(), lab.portainer.env(lab.stack)), (FILE, env()));
    assert!(lab.image("web").starts_with("acme/web:1"), "{}", lab.image("web"));
}

#[tokio::test]
async fn so_is_a_whole_text() {
    let lab = Lab::swarm(FILE);
    let stage = lab.stage(", rollback: true").await;
    let compose = FILE.replace("acme/web:1", &format!("acme/web:2{HANGING}"));
    let text = StackText { adopt: true, ..StackText::of(compose) };
    let end = ended(&stage, &short(wish(Operation::DeployStack(text)))).await;
    assert_eq!(end.state(), State::RolledBack, "{end:?}");
    assert_eq!(lab.bare_file(), FILE);
}

/// What nobody takes back is told, and keeps no later image waiting.
#[tokio::test]
async fn elsewhere_the_stored_file_is_named_and_the_next_image_does_not_wait_for_it() {
    let lab = Lab::swarm(FILE);
    let stage = lab.stage("").await;
    let end = ended(&stage, &hanging()).await;
    assert_eq!(end.state(), State::Failed, "{end:?}");
    assert!(text(&end).contains("stored file still names the image"), "{}", text(&end));
    let end = ended(&stage, &set("acme/web:3")).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    assert!(lab.image("web").starts_with("acme/web:3@"), "{}", lab.image("web"));
}

/// What somebody else rolls out is not disarmed for that; it is said then what was not done.
#[tokio::test]
async fn what_others_roll_out_is_not_written_into_by_a_way_back() {
    let lab = Lab::swarm(FILE);
    let stage = lab.stage(", rollback: true").await;
    let job = hanging();
    stage.accept(&job).await;
    let written = async {
        while !lab.image("web").contains(HANGING) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, written).await.expect("it is never written");
    let file = lab.portainer.file(lab.stack).replace("postgres:16", &format!("postgres:17{HANGING}"));
    lab.portainer.deploy_by_hand(lab.stack, &file);
    let end = end(&stage, &job).await;
    assert_eq!(end.state(), State::Failed, "{end:?}");
    assert!(text(&end).contains("stored file still names the image"), "{}", text(&end));
    assert!(text(&end).contains("other services of the stack are in a rollout"), "{}", text(&end));
    assert_eq!(lab.portainer.puts().len(), 1);
}
