//! Portainer from 2.44 on: a success says that a deploy is queued, and an error is not always one.

use std::time::Duration;

use proto::State;

use crate::{
    fake_portainer::{BAD, COMPOSE, Family, SWARM},
    lab::{FILE, Lab, env, set},
    stage::{carried_out, text},
};

#[tokio::test]
async fn a_deploy_that_is_only_queued_is_watched_to_its_end() {
    for environment in [SWARM, COMPOSE] {
        let lab = Lab::of(Family::Asynchronous, environment, FILE);
        lab.portainer.deploy_slowly(Duration::from_secs(2));
        let stage = lab.stage("").await;
        let end = carried_out(&stage, &set("acme/web:2")).await;
        assert_eq!(end.state(), State::Succeeded, "{end:?}");
        assert_eq!((lab.portainer.puts().len(), lab.portainer.env(lab.stack)), (1, env()));
        assert!(lab.image("web").starts_with("acme/web:2"));
    }
}

#[tokio::test]
async fn a_deploy_that_is_called_failed_though_it_runs_is_told_as_it_is() {
    let lab = Lab::of(Family::Asynchronous, SWARM, FILE);
    lab.portainer.call_deploys_failed();
    let stage = lab.stage("").await;
    let end = carried_out(&stage, &set("acme/web:2")).await;
    assert_eq!(end.state(), State::Failed, "{end:?}");
    assert!(
        text(&end).contains("`web` runs acme/web:2") && text(&end).contains("put the former file back"),
        "{}",
        text(&end)
    );
    assert_eq!(lab.portainer.puts().len(), 1);
}

#[tokio::test]
async fn an_error_of_the_background_is_one_of_the_job() {
    let lab = Lab::of(Family::Asynchronous, COMPOSE, FILE);
    let stage = lab.stage(", rollback: true").await;
    let end = carried_out(&stage, &set(&format!("acme/web:2{BAD}"))).await;
    assert_eq!(end.state(), State::RolledBack, "{end:?}");
    assert!(text(&end).contains("cannot start"), "{}", text(&end));
    assert_eq!(lab.image("web"), "acme/web:1");
}

/// Portainer is at work on the stack: that is waited for, and not written over.
#[tokio::test]
async fn a_stack_that_is_being_deployed_is_not_written() {
    let lab = Lab::of(Family::Asynchronous, SWARM, FILE);
    lab.portainer.deploy_slowly(Duration::from_secs(3));
    let (first, second) = (lab.stage("").await, lab.stage("").await);
    let (older, newer) = (set("acme/web:2"), set("acme/web:3"));
    first.accept(&older).await;
    tokio::time::timeout(Duration::from_secs(60), async {
        while lab.portainer.puts().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("never written");
    let end = carried_out(&second, &newer).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    assert!(lab.image("web").starts_with("acme/web:3"), "{}", lab.image("web"));
}
