//! Texts that somebody writes over while their rollout is watched.

use std::time::{Duration, Instant};

use proto::{Event, Job, Operation, StackText, State};

use crate::{
    lab::{FILE, Lab},
    stage::{Stage, carried_out, code, wish},
};

const PATIENCE: Duration = Duration::from_secs(240);

fn deploy(compose: &str) -> Job {
    wish(Operation::DeployStack(StackText { adopt: true, ..StackText::of(compose) }))
}

/// The images stay the same: what runs tells nothing of it.
fn of_color(color: &str) -> String {
    FILE.replace("${COLOR}", color)
}

/// A worker that watches for a while.
async fn stage(lab: &Lab) -> Stage {
    Stage::new(&lab.configuration("").replace("stable: 200ms", "stable: 8s")).await
}

/// Waits until the last write was read back and is watched.
async fn until_watched(lab: &Lab, writes: usize) {
    let give_up = Instant::now() + PATIENCE;
    let is_watched = || {
        let requests = lab.portainer.requests();
        let is_write = |line: &&String| line.starts_with("PUT /api/stacks/");
        if requests.iter().filter(is_write).count() < writes {
            return false;
        }
        let last = requests.iter().rposition(|line| line.starts_with("PUT /api/stacks/")).unwrap();
        requests[last..].iter().filter(|line| line.ends_with("/file")).count() > 1
    };
    while !is_watched() {
        assert!(Instant::now() < give_up, "it was never watched: {:?}", lab.portainer.requests());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn ended(stage: &Stage, job: &Job) -> Event {
    let is_over = |events: &[Event]| events.iter().any(|event| event.state().is_end());
    let events = stage.until_within(PATIENCE, job, is_over).await;
    events.iter().find(|event| event.state().is_end()).unwrap().clone()
}

#[tokio::test]
async fn a_text_that_somebody_writes_over_is_superseded() {
    let written_over = async |lab: Lab, keeps_notes: bool| {
        let stage = stage(&lab).await;
        let job = deploy(&of_color("blue"));
        stage.accept(&job).await;
        until_watched(&lab, 1).await;
        let edited = match keeps_notes {
            true => lab.portainer.file(lab.stack).replace("blue", "green"),
            false => FILE.to_owned(),
        };
        lab.portainer.put_file(lab.stack, &edited);
        let end = ended(&stage, &job).await;
        assert_eq!((end.state(), code(&end)), (State::Superseded, "changed-elsewhere"), "{end:?}");
        assert_eq!((lab.portainer.file(lab.stack), lab.portainer.puts().len()), (edited, 1));
    };
    tokio::join!(
        Box::pin(written_over(Lab::swarm(FILE), false)),
        Box::pin(written_over(Lab::compose(FILE), false)),
        Box::pin(written_over(Lab::compose(FILE), true)),
    );
}

/// It was on its way inside Portainer, or its worker slept between its look and its write.
#[tokio::test]
async fn a_late_write_of_an_older_job_is_written_over_again() {
    let lab = Lab::compose(FILE);
    let stage = stage(&lab).await;
    assert_eq!(carried_out(&stage, &deploy(&of_color("blue"))).await.state(), State::Succeeded);
    let older = lab.portainer.file(lab.stack);
    let newer = deploy(&of_color("green"));
    stage.accept(&newer).await;
    until_watched(&lab, 2).await;
    lab.portainer.put_file(lab.stack, &older);
    let end = ended(&stage, &newer).await;
    assert_eq!((end.state(), lab.portainer.puts().len()), (State::Succeeded, 3), "{end:?}");
    assert_eq!(lab.bare_file(), of_color("green"));
}
