//! Two clients at one stack in the same moment. Portainer has one file and one copy of what it was before, whoever
//! writes, and keeps nobody from making a stack that somebody else is making.

use std::{sync::Arc, time::Duration};

use proto::{Operation, StackText, State};
use tokio::sync::Notify;

use crate::{
    fake_portainer::{BAD, Mishap},
    lab::{FILE, Lab, set},
    stage::{Stage, carried_out, text, wish},
};

const PATIENCE: Duration = Duration::from_secs(60);
const BROKEN: &str = "services:\n  web: {image: [\n";
const BLOG: &str = "services:\n  web: {image: 'acme/web:1'}\n";

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waited).await.is_ok(), "{what}");
}

/// Ours is good and waits for its turn, theirs is broken: our turn deploys their file and is refused with their words,
/// and their turn deploys ours (recorded: "good then broken").
#[tokio::test]
async fn the_words_of_another_write_are_not_taken_for_an_answer_to_ours() {
    for lab in [Lab::swarm(FILE), Lab::compose(FILE)] {
        let stage = lab.stage("").await;
        lab.portainer.deploy_slowly(Duration::from_secs(2));
        let job = set("acme/web:2");
        stage.accept(&job).await;
        until("it is never written", || lab.portainer.puts().len() == 1).await;
        lab.portainer.write_beside(lab.stack, BROKEN);
        let end = stage.end(&job).await;
        assert_eq!(end.state(), State::Succeeded, "{end:?}");
        assert_eq!(lab.writes_of("acme/web:2"), 1, "it was not written again");
        assert!(lab.image("web").starts_with("acme/web:2@"), "{}", lab.image("web"));
        assert!(lab.bare_file().contains("acme/web:2"), "{}", lab.bare_file());
    }
}

/// Theirs waits for its turn, ours comes last and cannot start: their turn deploys our file, and our turn theirs, which is
/// answered with a success.
#[tokio::test]
async fn the_success_of_another_write_is_not_taken_for_ours() {
    let lab = Lab::compose(FILE);
    let stage = lab.stage("").await;
    let gate = Arc::new(Notify::new());
    lab.portainer.befall_next("PUT /api/stacks/", Mishap::Held(Arc::clone(&gate)));
    let job = set(&format!("acme/web:2{BAD}"));
    stage.accept(&job).await;
    let is_on_its_way = || lab.portainer.requests().iter().any(|line| line.starts_with("PUT "));
    until("it is never written", is_on_its_way).await;
    lab.portainer.deploy_slowly(Duration::from_secs(2));
    lab.portainer.write_beside(lab.stack, &FILE.replace("postgres:16", "postgres:17"));
    until("theirs is never written", || lab.portainer.puts().len() == 1).await;
    gate.notify_one();
    let end = stage.end(&job).await;
    assert_eq!(end.state(), State::Failed, "{end:?}");
    assert!(text(&end).contains("cannot start"), "{}", text(&end));
    assert!(lab.bare_file().contains("postgres:17") && lab.bare_file().contains("acme/web:1"));
}

/// A write that somebody else's came between has changed part of the services (moby/moby#39891).
#[tokio::test]
async fn what_was_done_in_part_is_done_again_once_its_rollouts_are_over() {
    let lab = Lab::swarm(FILE);
    let stage = lab.stage("").await;
    lab.portainer.meddle_with_next_deploy();
    let end = carried_out(&stage, &set("acme/web:2")).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    let puts = lab.portainer.puts();
    assert_eq!(puts.len(), 2, "{puts:?}");
    assert!(!puts[1].into_rollout, "it was written into the rollout of the first");
    assert!(lab.image("web").starts_with("acme/web:2@") && lab.image("db").starts_with("postgres:16"));
}

/// Both are recorded, and to the engine they are one.
#[tokio::test]
async fn a_stack_that_two_made_at_once_is_told_and_not_made_a_third_time() {
    for lab in [Lab::compose(FILE), Lab::swarm(FILE)] {
        let stage = Stage::new(&lab.configuration("").replace("stack: shop", "stack: Blog")).await;
        let gate = Arc::new(Notify::new());
        lab.portainer.befall_next("/stacks/create/", Mishap::Held(Arc::clone(&gate)));
        let job = wish(Operation::DeployStack(StackText::of(BLOG)));
        stage.accept(&job).await;
        let creates = || {
            let requests = lab.portainer.requests();
            requests.iter().filter(|line| line.starts_with("POST") && line.contains("/create/")).count()
        };
        until("it is never made", || creates() == 1).await;
        // Theirs is being made, and not recorded yet, when ours comes.
        lab.portainer.deploy_slowly(Duration::from_secs(5));
        lab.portainer.make_beside(lab.environment, "blog", BLOG);
        until("theirs is never made", || lab.portainer.is_deploying()).await;
        assert!(!lab.portainer.has_stack("blog"));
        gate.notify_one();
        let end = stage.end(&job).await;
        assert_eq!(end.state(), State::Failed, "{end:?}");
        let numbers = format!("(numbers {}, {})", lab.stack + 1, lab.stack + 2);
        assert!(text(&end).contains(&numbers), "{}", text(&end));
        assert!(text(&end).contains(&format!("stack: '#{}'", lab.stack + 1)), "{}", text(&end));
        assert_eq!(creates(), 1);
    }
}
