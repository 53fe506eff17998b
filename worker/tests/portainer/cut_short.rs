//! An attempt at a job is let go of sooner than a deploy may take: the next one looks on at what was asked for, and asks
//! for nothing a second time.

use std::time::{Duration, Instant};

use proto::{Event, GitStack, Job, Operation, StackText, State};

use crate::{
    fake_portainer::Mishap,
    lab::{FILE, Lab, set},
    stage::{Stage, text, wish},
};

/// How long an attempt goes on; one that writes, ten seconds more.
const HOLD: &str = "10s";
/// Longer than two attempts that write go on.
const TAKES: Duration = Duration::from_secs(45);
const PATIENCE: Duration = Duration::from_secs(300);
const URL: &str = "https://git.example/blog.git";
const BLOG: &str = "services:\n  web: {image: 'acme/web:1'}\n";

/// A worker whose attempts are as much shorter than the longest deploy as they are by default.
fn configuration(lab: &Lab, stack: &str, longest: &str) -> String {
    lab.configuration("")
        .replace("longest_deploy: 30s", &format!("longest_deploy: {longest}"))
        .replace("grace: 100ms", &format!("grace: 100ms, delivery_hold: {HOLD}"))
        .replace("stack: shop", &format!("stack: {stack}"))
}

async fn stage(lab: &Lab, stack: &str) -> Stage {
    Stage::new(&configuration(lab, stack, "15m")).await
}

async fn ended(stage: &Stage, job: &Job) -> (Event, usize) {
    stage.accept(job).await;
    let is_over = |events: &[Event]| events.iter().any(|event| event.state().is_end());
    let events = stage.until_within(PATIENCE, job, is_over).await;
    let attempts = events.iter().filter(|event| event.state() == State::Started).count();
    (events.iter().find(|event| event.state().is_end()).unwrap().clone(), attempts)
}

fn asked(lab: &Lab, part: &str) -> usize {
    lab.portainer.requests().iter().filter(|line| !line.starts_with("GET") && line.contains(part)).count()
}

/// Portainer takes its time, and a proxy before it loses patience.
fn lose_patience(lab: &Lab, part: &str) {
    lab.portainer.deploy_slowly(TAKES);
    lab.portainer.befall_next(part, Mishap::GivenUp(504, "<html>gateway timeout</html>"));
}

async fn is_asked_once(lab: &Lab, stage: &Stage, (part, times): (&str, usize), operation: Operation) {
    let job = wish(operation);
    lose_patience(lab, part);
    let (end, attempts) = ended(stage, &job).await;
    assert_eq!((end.state(), asked(lab, part)), (State::Succeeded, times), "{part}: {end:?}");
    assert!(attempts > 2, "{part}: {attempts} attempts");
}

/// The record of a stack that was never updated has a date of zero, which is a date like any other.
#[tokio::test]
async fn a_write_that_is_queued_is_not_written_again() {
    let queued = async |lab: Lab| {
        let stage = stage(&lab, "shop").await;
        lose_patience(&lab, "PUT /api/stacks/");
        let (end, attempts) = ended(&stage, &set("acme/web:2")).await;
        assert_eq!((end.state(), lab.portainer.puts().len()), (State::Succeeded, 1), "{end:?}");
        assert!(attempts > 2, "{attempts} attempts");
    };
    tokio::join!(Box::pin(queued(Lab::swarm(FILE))), Box::pin(queued(Lab::compose(FILE))));
}

/// Nobody has to guess what it waits for, and no rollout is told of that nobody has seen.
#[tokio::test]
async fn what_it_waits_for_is_told() {
    let lab = Lab::swarm(FILE);
    let stage = stage(&lab, "shop").await;
    let mut live = stage.queue.live().await.unwrap();
    lose_patience(&lab, "PUT /api/stacks/");
    let job = set("acme/web:2");
    stage.accept(&job).await;
    let told = async {
        while !live
            .next()
            .await
            .unwrap()
            .data
            .output
            .iter()
            .any(|line| line.contains("has not said what became"))
        {}
    };
    tokio::time::timeout(PATIENCE, told).await.expect("it is never told what is waited for");
    let is_let_go = |events: &[Event]| events.iter().any(|event| event.state() == State::Retrying);
    let events = stage.until_within(PATIENCE, &job, is_let_go).await;
    let let_go = events.iter().find(|event| event.state() == State::Retrying).unwrap();
    assert!(text(let_go).contains("has not said yet what became of it"), "{}", text(let_go));
}

#[tokio::test]
async fn nor_is_a_text_that_stands_there_already() {
    let lab = Lab::compose(FILE);
    let stage = stage(&lab, "shop").await;
    is_asked_once(&lab, &stage, ("PUT /api/stacks/", 1), Operation::Redeploy).await;
}

#[tokio::test]
async fn a_stack_that_is_being_made_is_not_made_again() {
    let made = async |lab: Lab| {
        let stage = stage(&lab, "blog").await;
        let text = Operation::DeployStack(StackText::of(BLOG));
        is_asked_once(&lab, &stage, ("/stacks/create/", 1), text).await;
        assert!(lab.portainer.image(lab.environment, "blog", "web").starts_with("acme/web:1"));
    };
    tokio::join!(Box::pin(made(Lab::swarm(FILE))), Box::pin(made(Lab::compose(FILE))));
}

/// Nor is one that was made deployed once more, since nothing in it says for whom.
#[tokio::test]
async fn one_from_git_is_made_and_deployed_once() {
    let lab = Lab::compose(FILE);
    lab.portainer.push_git(URL, BLOG, None);
    let stage = stage(&lab, "blog").await;
    let deploy = || Operation::DeployGit(Box::new(GitStack::of(URL)));
    is_asked_once(&lab, &stage, ("/stacks/create/", 1), deploy()).await;
    assert_eq!(asked(&lab, "/git/redeploy"), 0);
    is_asked_once(&lab, &stage, ("/git/redeploy", 1), deploy()).await;
    assert_eq!(asked(&lab, "/stacks/create/"), 1);
}

#[tokio::test]
async fn a_start_is_asked_for_once() {
    let lab = Lab::swarm(FILE);
    let stage = stage(&lab, "shop").await;
    assert_eq!(ended(&stage, &wish(Operation::Stop)).await.0.state(), State::Succeeded);
    is_asked_once(&lab, &stage, ("/start", 1), Operation::Start).await;
}

/// A newer job does not write into what the older one left under way: the engine would not watch over either.
#[tokio::test]
async fn the_next_job_waits_for_what_is_under_way() {
    let lab = Lab::swarm(FILE);
    let stage = stage(&lab, "shop").await;
    let (older, newer) = (set("acme/web:2"), set("acme/web:3"));
    lose_patience(&lab, "PUT /api/stacks/");
    // Beyond the moment at which the second attempt is let go of, and before the end of the third.
    lab.portainer.deploy_slowly(TAKES + Duration::from_secs(10));
    stage.accept(&older).await;
    until_written(&lab, 1).await;
    let first = Instant::now();
    let is_let_go = |events: &[Event]| events.iter().filter(|it| it.state() == State::Started).count() > 1;
    stage.until_within(PATIENCE, &older, is_let_go).await;
    stage.accept(&newer).await;
    until_written(&lab, 2).await;
    let between = first.elapsed();
    assert!(between > TAKES, "written again after {between:?}: the first one was under way still");
    let puts = lab.portainer.puts();
    assert!(puts[1].text.contains("acme/web:3") && !puts[1].into_rollout, "{puts:?}");
}

async fn until_written(lab: &Lab, times: usize) {
    let give_up = Instant::now() + PATIENCE;
    while lab.portainer.puts().len() < times {
        assert!(Instant::now() < give_up, "it was never written for the {times}th time");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Portainer died under it: nothing will ever come of it. It is looked for as long as a deploy may take, which is longer
/// than an attempt, and then written again.
#[tokio::test]
async fn a_write_under_which_portainer_died_is_made_again() {
    let lab = Lab::swarm(FILE);
    let stage = Stage::new(&configuration(&lab, "shop", "45s")).await;
    lab.portainer.befall_next("PUT /api/stacks/", Mishap::DiesUnder);
    let (end, attempts) = ended(&stage, &set("acme/web:2")).await;
    assert_eq!((end.state(), lab.writes_of("acme/web:2")), (State::Succeeded, 2), "{end:?}");
    assert!(attempts > 2, "{attempts} attempts");
    assert!(lab.image("web").starts_with("acme/web:2@"), "{}", lab.image("web"));
}

/// Another worker knows of it what record and file tell: its date, which may be zero, is the same still.
#[tokio::test]
async fn nor_does_another_worker_write_again_what_one_that_died_wrote() {
    let taken_up = async |lab: Lab| {
        let configuration = configuration(&lab, "shop", "15m");
        let mut stage = Stage::new(&configuration).await;
        lab.portainer.deploy_slowly(Duration::from_secs(20));
        let job = set("acme/web:2");
        stage.accept(&job).await;
        until_written(&lab, 1).await;
        stage.stop().await;
        stage.start(&configuration);
        let is_over = |events: &[Event]| events.iter().any(|event| event.state().is_end());
        let events = stage.until_within(PATIENCE, &job, is_over).await;
        let end = events.iter().find(|event| event.state().is_end()).unwrap();
        assert_eq!((end.state(), lab.portainer.puts().len()), (State::Succeeded, 1), "{end:?}");
    };
    let updated = Lab::compose(FILE);
    updated.portainer.deploy_by_hand(updated.stack, FILE);
    let (swarm, compose) = (Lab::swarm(FILE), Lab::compose(FILE));
    tokio::join!(Box::pin(taken_up(swarm)), Box::pin(taken_up(compose)), Box::pin(taken_up(updated)));
}
