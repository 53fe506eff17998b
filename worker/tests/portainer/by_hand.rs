//! Stacks that people edit in the browser between our deploys: what they put there and ran well is what is gone back to.

use proto::{Operation, StackText, State};
use serde_json::json;

use crate::{
    fake_portainer::{BAD, CRASHING, SWARM},
    lab::{FILE, Lab, ROLLOUT, set},
    stage::{Stage, carried_out, text, wish},
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
    // The one line, and none of our notes.
    let line = |line: &str| {
        if line.starts_with("# longshore.") { line.to_owned() } else { line.replace(named, image) }
    };
    let edited: String = file.split_inclusive('\n').map(line).collect();
    lab.portainer.deploy_by_hand(lab.stack, &edited);
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
    assert!(lab.image("web").starts_with("acme/web:2"), "{}", lab.image("web"));
}

/// Nobody noted what the person's image replaced: what is noted is one older.
#[tokio::test]
async fn right_after_an_edit_a_rollback_goes_to_what_ran_before_it() {
    for (lab, keeps_notes) in
        [(Lab::swarm(FILE), true), (Lab::swarm(FILE), false), (Lab::compose(FILE), true)]
    {
        let stage = lab.stage("").await;
        succeeds(&stage, set("acme/web:2")).await;
        edit(&lab, "acme/web:3", keeps_notes).await;
        for _ in 0..2 {
            succeeds(&stage, wish(ROLLBACK)).await;
            assert!(lab.image("web").starts_with("acme/web:2"), "{keeps_notes}: {}", lab.image("web"));
            assert!(lab.bare_file().contains("acme/web:2"), "{}", lab.bare_file());
        }
    }
}

#[tokio::test]
async fn right_after_two_edits_a_rollback_takes_back_the_second() {
    let lab = Lab::swarm(FILE);
    let stage = lab.stage("").await;
    succeeds(&stage, set("acme/web:2")).await;
    edit(&lab, "acme/web:3", true).await;
    // What is replaced at once has proven nothing: it has to have been there for as long as `stable` says, at least.
    tokio::time::sleep(ROLLOUT).await;
    edit(&lab, "acme/web:4", true).await;
    succeeds(&stage, wish(ROLLBACK)).await;
    assert!(lab.image("web").starts_with("acme/web:3"), "{}", lab.image("web"));
}

/// A person mends what our last deploy broke: that is nothing to go back to. An engine that keeps its tasks tells what ran
/// well before both; where Compose runs it, the history tells at least that this did not.
#[tokio::test]
async fn what_a_person_mended_is_not_gone_back_to() {
    for lab in [Lab::swarm(FILE), Lab::compose(FILE)] {
        let stage = lab.stage("").await;
        let end = carried_out(&stage, &set(&format!("acme/web:2{CRASHING}"))).await;
        assert_eq!(end.state(), State::Failed, "{end:?}");
        edit(&lab, "acme/web:3", true).await;
        let end = carried_out(&stage, &wish(ROLLBACK)).await;
        if lab.environment == SWARM {
            assert_eq!(end.state(), State::Succeeded, "{end:?}");
            assert!(lab.image("web").starts_with("acme/web:1"), "{}", lab.image("web"));
        } else {
            assert_eq!(end.state(), State::Rejected, "{end:?}");
            for said in ["somebody else changed the image of `web`", "did not hold", "acme/web:1"] {
                assert!(text(&end).contains(said), "{end:?}");
            }
            assert!(lab.image("web").starts_with("acme/web:3"), "{}", lab.image("web"));
        }
    }
}

/// The last deploy is the last one, also where nothing ran well before it: an older one's service stays as it is.
#[tokio::test]
async fn a_rollback_takes_no_other_services_deploy_back() {
    let lab = Lab::swarm(&FILE.replace("acme/web:1 ", &format!("acme/web:1{BAD} ")));
    let stage = lab.stage("").await;
    for image in ["postgres:17", "acme/web:2"] {
        succeeds(&stage, set(image)).await;
    }
    let end = carried_out(&stage, &wish(ROLLBACK)).await;
    assert_eq!(end.state(), State::Rejected, "{end:?}");
    assert!(text(&end).contains("no image is known that all of web ran well before"), "{end:?}");
    assert!(lab.image("db").starts_with("postgres:17"), "{}", lab.image("db"));
}
