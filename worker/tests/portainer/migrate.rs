//! A stack that moves to another environment.

use std::time::Duration;

use proto::{Operation, State};

use crate::{
    fake_portainer::{ATTIC, COMPOSE, Mishap, SWARM},
    lab::{FILE, Lab, env, set},
    stage::{Stage, carried_out, text, wish},
};

fn to(environment: &str, name: Option<&str>) -> Operation {
    Operation::Migrate { environment: environment.to_owned(), name: name.map(str::to_owned) }
}

fn moves(lab: &Lab) -> usize {
    lab.portainer.requests().iter().filter(|line| line.contains("/migrate")).count()
}

#[tokio::test]
async fn a_stack_runs_in_another_environment_and_no_longer_here() {
    let lab = Lab::compose(FILE);
    let stage = lab.stage("").await;
    assert_eq!(carried_out(&stage, &set("acme/web:2")).await.state(), State::Succeeded);
    let file = lab.portainer.file(lab.stack);
    let end = carried_out(&stage, &wish(to("attic", Some("Shop.Two")))).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    assert!(text(&end).contains("in the environment `attic` now"), "{end:?}");
    assert_eq!(lab.portainer.environment_of("shoptwo"), Some(ATTIC));
    assert!(lab.portainer.image(ATTIC, "shoptwo", "web").starts_with("acme/web:2"));
    assert_eq!(lab.portainer.image(COMPOSE, "shop", "web"), "");
    assert_eq!((lab.portainer.file(lab.stack), lab.portainer.env(lab.stack)), (file, env()));
    // Once more, as a redelivery does.
    let end = carried_out(&stage, &wish(to("attic", Some("Shop.Two")))).await;
    assert_eq!((end.state(), moves(&lab)), (State::Succeeded, 1), "{end:?}");
    // The target of the other environment goes on where this one left off.
    let there = lab.configuration("").replace("environment: office", "environment: attic");
    let there = Stage::new(&there.replace("stack: shop", "stack: shoptwo")).await;
    assert_eq!(carried_out(&there, &set("acme/web:3")).await.state(), State::Succeeded);
}

#[tokio::test]
async fn a_move_that_cannot_be_is_refused_and_nothing_is_touched() {
    let lab = Lab::swarm(FILE);
    lab.portainer.add_stack(COMPOSE, "shop", FILE, env());
    let stage = lab.stage("").await;
    for (environment, name, said) in [
        ("production", None, "in the environment `production` already"),
        ("office", None, "there is a stack `shop` in `office` already"),
        ("office", Some("other"), "`office` has none"),
        ("nowhere", None, "environment `nowhere`; there is `production`, `office`"),
        ("cluster", None, "has no Docker engine"),
    ] {
        let end = carried_out(&stage, &wish(to(environment, name))).await;
        let is_missing = environment == "nowhere";
        assert_eq!(end.state(), if is_missing { State::Failed } else { State::Rejected }, "{end:?}");
        assert!(text(&end).contains(said), "{said}: {end:?}");
    }
    assert_eq!((moves(&lab), lab.portainer.environment_of("shop")), (0, Some(SWARM)));
    assert!(lab.image("web").starts_with("acme/web:1"));
}

#[tokio::test]
async fn a_move_that_nobody_answers_is_looked_into() {
    for (mishap, most) in [
        (Mishap::CutAfter, 1),
        (Mishap::Afterwards(502, ""), 1),
        // Seen to have come to nothing, it is asked for once more.
        (Mishap::CutBefore, 2),
    ] {
        let lab = Lab::compose(FILE);
        let stage = lab.stage("").await;
        lab.portainer.befall_next("/migrate", mishap.clone());
        let job = wish(to("attic", None));
        stage.accept(&job).await;
        let ended = |events: &[proto::Event]| events.iter().any(|event| event.state().is_end());
        let events = stage.until_within(Duration::from_secs(120), &job, ended).await;
        let end = events.iter().find(|event| event.state().is_end()).unwrap();
        assert_eq!(end.state(), State::Succeeded, "{events:?}");
        assert_eq!((moves(&lab), lab.portainer.environment_of("shop")), (most, Some(ATTIC)), "{mishap:?}");
    }
}

/// The record has moved, and what was to bring the stack up there died over it. Nothing is left to be asked for, and nobody
/// changed anything.
#[tokio::test]
async fn a_move_that_breaks_midway_is_told_as_it_is_seen() {
    let lab = Lab::compose(FILE);
    let stage = lab.stage("").await;
    lab.portainer.befall_next("/migrate", Mishap::Instead(502, ""));
    let job = wish(to("attic", None));
    stage.accept(&job).await;
    let asked = async {
        while moves(&lab) == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asked).await.expect("it is never asked to move the stack");
    lab.portainer.move_to(lab.stack, ATTIC);
    let ended = |events: &[proto::Event]| events.iter().any(|event| event.state().is_end());
    let events = stage.until_within(Duration::from_secs(150), &job, ended).await;
    let end = events.iter().find(|event| event.state().is_end()).unwrap();
    assert_eq!((end.state(), moves(&lab)), (State::Failed, 1), "{events:?}");
    assert!(text(end).contains("in the environment `attic` now"), "{}", text(end));
    assert!(text(end).contains("nothing of `web` runs"), "{}", text(end));
    assert!(text(end).contains("in `office` run `db`, `web` still"), "{}", text(end));
}
