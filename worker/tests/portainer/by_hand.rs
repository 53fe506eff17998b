//! Stacks that people edit in the browser between our deploys: what they put there and ran well is what is gone back to.

use proto::{Operation, StackText, State};
use serde_json::json;

use crate::{
    fake_portainer::BAD,
    lab::{FILE, Lab, set},
    stage::{Stage, carried_out, wish},
};

const ROLLBACK: Operation = Operation::Rollback { service: None, job: None, image: None };

/// Somebody puts an image there and sees it run. Some leave our notes at the head of the file as they are, and some do
/// away with them.
async fn edit(lab: &Lab, image: &str, keeps_notes: bool) {
    let stands = lab.image("web");
    let file = if keeps_notes { lab.portainer.file(lab.stack) } else { lab.bare_file() };
    // A text may name a tag alone.
    let by_tag = stands.split('@').next().unwrap();
    let named = if file.contains(&stands) { &stands } else { by_tag };
    assert!(file.contains(named), "{stands}\n{file}");
    lab.portainer.deploy_by_hand(lab.stack, &file.replace(named, image));
    assert!(lab.image("web").starts_with(image), "{}", lab.image("web"));
}

async fn succeeds(stage: &Stage, job: proto::Job) {
    let end = carried_out(stage, &job).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
}

#[tokio::test]
async fn a_rollback_goes_back_to_what_a_person_put_there() {
    for (lab, keeps_notes) in [
        (Lab::swarm(FILE), true),
        (Lab::swarm(FILE), false),
        (Lab::compose(FILE), true),
        (Lab::compose(FILE), false),
    ] {
        let stage = lab.stage("").await;
        succeeds(&stage, set("acme/web:2")).await;
        edit(&lab, "acme/web:3", keeps_notes).await;
        succeeds(&stage, set("acme/web:4")).await;
        for _ in 0..2 {
            succeeds(&stage, wish(ROLLBACK)).await;
            assert!(lab.image("web").starts_with("acme/web:3"), "{}", lab.image("web"));
            assert!(lab.bare_file().contains("acme/web:3"), "{}", lab.bare_file());
        }
    }
}

#[tokio::test]
async fn what_does_not_hold_gives_way_to_what_a_person_put_there() {
    for lab in [Lab::swarm(FILE), Lab::compose(FILE)] {
        let stage = lab.stage(", rollback: true").await;
        succeeds(&stage, set("acme/web:2")).await;
        edit(&lab, "acme/web:3", true).await;
        let end = carried_out(&stage, &set(&format!("acme/web:4{BAD}"))).await;
        assert_eq!(end.state(), State::RolledBack, "{end:?}");
        assert!(lab.image("web").starts_with("acme/web:3"), "{}", lab.image("web"));
        assert!(lab.bare_file().contains("acme/web:3"), "{}", lab.bare_file());
    }
}

#[tokio::test]
async fn a_text_over_a_persons_edit_is_rolled_back_to_that_edit() {
    let lab = Lab::swarm(FILE);
    let stage = lab.stage("").await;
    let of = |tag: &str| {
        let compose = FILE.replace("acme/web:1", &format!("acme/web:{tag}"));
        wish(Operation::DeployStack(StackText { adopt: true, ..StackText::of(compose) }))
    };
    succeeds(&stage, of("2")).await;
    edit(&lab, "acme/web:3", true).await;
    succeeds(&stage, of("4")).await;
    succeeds(&stage, wish(ROLLBACK)).await;
    assert!(lab.image("web").starts_with("acme/web:3"), "{}", lab.image("web"));
}

/// What the file names is a variable: the person changes that one.
#[tokio::test]
async fn a_variable_that_a_person_set_is_gone_back_to() {
    let file = FILE.replace("acme/web:1 ", "acme/web:${TAG} ");
    let lab = Lab::swarm(&file.replace("${TAG}", "1"));
    let env = |tag: &str| json!([{"name": "COLOR", "value": "red"}, {"name": "TAG", "value": tag}]);
    lab.portainer.set_env(lab.stack, env("1"));
    lab.portainer.deploy_by_hand(lab.stack, &file);
    let stage = lab.stage("").await;
    succeeds(&stage, set("acme/web:2")).await;
    lab.portainer.set_env(lab.stack, env("3"));
    let file = lab.portainer.file(lab.stack);
    lab.portainer.deploy_by_hand(lab.stack, &file);
    succeeds(&stage, set("acme/web:4")).await;
    succeeds(&stage, wish(ROLLBACK)).await;
    assert!(lab.image("web").starts_with("acme/web:3"), "{}", lab.image("web"));
}

/// What never came up is nothing to go back to, whoever put it there: then it is what ran well before.
#[tokio::test]
async fn an_edit_that_never_came_up_is_not_gone_back_to() {
    let lab = Lab::swarm(FILE);
    let stage = lab.stage("").await;
    succeeds(&stage, set("acme/web:2")).await;
    edit(&lab, &format!("acme/web:3{BAD}"), true).await;
    succeeds(&stage, set("acme/web:4")).await;
    succeeds(&stage, wish(ROLLBACK)).await;
    assert!(lab.image("web").starts_with("acme/web:1"), "{}", lab.image("web"));
}
