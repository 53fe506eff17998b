//! Portainer works on behind whoever lost patience: a deploy that takes its time is looked for, and not asked for again.

use std::time::Duration;

use proto::{Event, GitStack, Job, Operation, StackText, State};

use crate::{
    fake_portainer::{FakePortainer, Mishap},
    lab::{FILE, Lab, set},
    stage::{Stage, text, wish},
};

const PATIENCE: Duration = Duration::from_secs(240);
const URL: &str = "https://git.example/blog.git";
const BLOG: &str = "services:\n  web: {image: 'acme/web:1'}\n";

fn lost_patience() -> Mishap {
    Mishap::GivenUp(504, "<html>gateway timeout</html>")
}

/// A worker that gives a deploy as long as people do.
async fn stage(lab: &Lab, stack: &str) -> Stage {
    let configuration = lab.configuration("").replace("longest_deploy: 30s", "longest_deploy: 10m");
    Stage::new(&configuration.replace("stack: shop", &format!("stack: {stack}"))).await
}

async fn ended(stage: &Stage, job: &Job) -> Event {
    stage.accept(job).await;
    let is_over = |events: &[Event]| events.iter().any(|event| event.state().is_end());
    let events = stage.until_within(PATIENCE, job, is_over).await;
    events.iter().find(|event| event.state().is_end()).unwrap().clone()
}

fn asked(portainer: &FakePortainer, part: &str) -> usize {
    portainer.requests().iter().filter(|line| !line.starts_with("GET") && line.contains(part)).count()
}

/// Longer than the watch believes a file that the engine knows nothing of.
#[tokio::test]
async fn a_write_that_is_queued_is_not_written_again() {
    let queued = async |lab: Lab| {
        let stage = stage(&lab, "shop").await;
        lab.portainer.deploy_slowly(Duration::from_secs(80));
        lab.portainer.befall_next("PUT /api/stacks/", lost_patience());
        let end = ended(&stage, &set("acme/web:2")).await;
        assert_eq!((end.state(), lab.portainer.puts().len()), (State::Succeeded, 1), "{end:?}");
        assert!(lab.image("web").starts_with("acme/web:2@"), "{}", lab.image("web"));
    };
    tokio::join!(Box::pin(queued(Lab::swarm(FILE))), Box::pin(queued(Lab::compose(FILE))));
}

/// It is recorded once it is deployed: until then nothing is to be seen of it.
#[tokio::test]
async fn a_stack_that_is_being_made_is_not_made_again() {
    for lab in [Lab::compose(FILE), Lab::swarm(FILE)] {
        let stage = stage(&lab, "blog").await;
        lab.portainer.deploy_slowly(Duration::from_secs(40));
        lab.portainer.befall_next("/stacks/create/", lost_patience());
        let end = ended(&stage, &wish(Operation::DeployStack(StackText::of(BLOG)))).await;
        assert_eq!((end.state(), asked(&lab.portainer, "/create/")), (State::Succeeded, 1), "{end:?}");
        assert!(lab.portainer.image(lab.environment, "blog", "web").starts_with("acme/web:1"));
    }
}

#[tokio::test]
async fn nor_is_one_that_is_read_from_git() {
    let lab = Lab::compose(FILE);
    lab.portainer.push_git(URL, BLOG, None);
    let stage = stage(&lab, "blog").await;
    lab.portainer.deploy_slowly(Duration::from_secs(40));
    let deploy = || wish(Operation::DeployGit(Box::new(GitStack::of(URL))));
    lab.portainer.befall_next("/stacks/create/", lost_patience());
    let end = ended(&stage, &deploy()).await;
    assert_eq!((end.state(), asked(&lab.portainer, "/create/")), (State::Succeeded, 1), "{end:?}");
    lab.portainer.push_git(URL, &BLOG.replace("web:1", "web:2"), None);
    lab.portainer.befall_next("/git/redeploy", lost_patience());
    let end = ended(&stage, &deploy()).await;
    assert_eq!((end.state(), asked(&lab.portainer, "/git/redeploy")), (State::Succeeded, 1), "{end:?}");
    assert!(lab.portainer.image(lab.environment, "blog", "web").starts_with("acme/web:2"));
}

/// A start is a deploy: a second one behind it would begin all tasks anew.
#[tokio::test]
async fn a_start_that_is_under_way_is_not_asked_for_again() {
    let started = async |lab: Lab| {
        let stage = stage(&lab, "shop").await;
        assert_eq!(ended(&stage, &wish(Operation::Stop)).await.state(), State::Succeeded);
        lab.portainer.deploy_slowly(Duration::from_secs(40));
        lab.portainer.befall_next("/start", lost_patience());
        let end = ended(&stage, &wish(Operation::Start)).await;
        assert_eq!((end.state(), asked(&lab.portainer, "/start")), (State::Succeeded, 1), "{end:?}");
        assert!(lab.image("web").starts_with("acme/web:1"), "{}", lab.image("web"));
    };
    tokio::join!(Box::pin(started(Lab::swarm(FILE))), Box::pin(started(Lab::compose(FILE))));
}

/// One that never arrived is asked for once more, after it was looked for.
#[tokio::test]
async fn a_start_that_never_arrived_is_asked_for_once_more() {
    let lab = Lab::swarm(FILE);
    // The one of the lab gives a deploy half a minute.
    let stage = lab.stage("").await;
    assert_eq!(ended(&stage, &wish(Operation::Stop)).await.state(), State::Succeeded);
    lab.portainer.befall_next("/start", Mishap::CutBefore);
    let before = lab.portainer.requests().len();
    let end = ended(&stage, &wish(Operation::Start)).await;
    assert_eq!((end.state(), asked(&lab.portainer, "/start")), (State::Succeeded, 2), "{end:?}");
    let calls = lab.portainer.requests().split_off(before);
    let starts: Vec<usize> = (0..calls.len()).filter(|at| calls[*at].ends_with("/start")).collect();
    let looks = calls[starts[0]..starts[1]].iter().filter(|line| line.starts_with("GET /api/stacks")).count();
    assert!(looks > 1, "it was read before it was asked for again: {calls:?}");
}

/// Portainer died under a start: the record says otherwise than the engine, and nobody starts it by asking again.
#[tokio::test]
async fn what_runs_though_it_is_called_stopped_is_told() {
    let lab = Lab::compose(FILE);
    let stage = lab.stage("").await;
    assert_eq!(ended(&stage, &wish(Operation::Stop)).await.state(), State::Succeeded);
    lab.portainer.start_beside(lab.environment, "shop", FILE);
    let end = ended(&stage, &wish(Operation::Start)).await;
    assert_eq!((end.state(), asked(&lab.portainer, "/start")), (State::Failed, 1), "{end:?}");
    assert!(text(&end).contains("it runs, and Portainer calls it stopped"), "{}", text(&end));
}

/// While it ends it runs as before.
#[tokio::test]
async fn a_container_that_takes_its_time_to_end_is_restarted_once() {
    let lab = Lab::compose(FILE);
    let stage = stage(&lab, "shop").await;
    lab.portainer.restart_slowly(Duration::from_secs(6));
    lab.portainer.befall_next("/restart", lost_patience());
    let end = ended(&stage, &wish(Operation::Restart)).await;
    assert_eq!((end.state(), asked(&lab.portainer, "/restart")), (State::Succeeded, 2), "{end:?}");
}

/// With a pause between its tasks a rollout takes as long as it takes; a write into it would disarm the engine.
#[tokio::test]
async fn a_rollout_is_waited_out_however_long_it_takes() {
    let lab = Lab::swarm(FILE);
    let stage = stage(&lab, "shop").await;
    lab.portainer.roll_out_slowly(Duration::from_secs(140));
    let (older, newer) = (set("acme/web:2"), set("acme/web:3"));
    stage.accept(&older).await;
    until_written(&lab, 1).await;
    stage.accept(&newer).await;
    let taken_over = |events: &[Event]| events.iter().any(|event| event.state() == State::Superseded);
    stage.until_within(PATIENCE, &older, taken_over).await;
    until_written(&lab, 2).await;
    let puts = lab.portainer.puts();
    assert!(puts.iter().all(|put| !put.into_rollout), "a write went into a rollout");
    assert!(puts[1].text.contains("acme/web:3"));
}

/// Minutes go by until nothing is expected of a rollout any more: what was wished meanwhile counts.
#[tokio::test]
async fn what_waited_for_a_rollout_that_never_moves_is_decided_anew() {
    let lab = Lab::swarm(FILE);
    let stage = stage(&lab, "shop").await;
    lab.portainer.roll_out_slowly(Duration::from_secs(3600));
    lab.portainer.deploy_by_hand(lab.stack, &FILE.replace("postgres:16", "postgres:17"));
    let (older, newer) = (set("acme/web:2"), set("acme/web:3"));
    stage.accept(&older).await;
    let waits = async {
        while !lab.portainer.requests().iter().any(|line| line.contains("/docker/tasks")) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waits).await.expect("it never looks at the rollout");
    stage.accept(&newer).await;
    let is_superseded = |events: &[Event]| events.iter().any(|event| event.state() == State::Superseded);
    stage.until_within(PATIENCE, &older, is_superseded).await;
    until_written(&lab, 1).await;
    assert!(lab.portainer.puts()[0].text.contains("acme/web:3"), "{:?}", lab.portainer.puts());
}

async fn until_written(lab: &Lab, times: usize) {
    let give_up = std::time::Instant::now() + PATIENCE;
    while lab.portainer.puts().len() < times {
        assert!(std::time::Instant::now() < give_up, "it was never written for the {times}th time");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
