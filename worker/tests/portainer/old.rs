//! Versions of years ago: other routes, fewer fields, other habits.

use proto::{Operation, StackText, State};

use crate::{
    fake_portainer::{BAD, COMPOSE, Family, SWARM},
    lab::{FILE, Lab, env, set},
    stage::{Stage, carried_out, text, wish},
};

#[tokio::test]
async fn images_are_deployed_to_old_ones_too() {
    for (family, environment) in
        [(Family::First, SWARM), (Family::Old, SWARM), (Family::First, COMPOSE), (Family::Old, COMPOSE)]
    {
        let lab = Lab::of(family, environment, FILE);
        let stage = lab.stage("").await;
        for tag in ["2", "3"] {
            let image = format!("acme/web:{tag}");
            let end = carried_out(&stage, &set(&image)).await;
            assert_eq!(end.state(), State::Succeeded, "{family:?} {environment}: {end:?}");
            assert!(lab.image("web").starts_with(&image));
        }
        assert_eq!((lab.portainer.puts().len(), lab.portainer.env(lab.stack)), (2, env()));
        let end = carried_out(&stage, &wish(Operation::Restart)).await;
        assert_eq!(end.state(), State::Succeeded, "{end:?}");
    }
}

#[tokio::test]
async fn stacks_are_made_by_the_route_that_there_is() {
    for environment in [SWARM, COMPOSE] {
        let lab = Lab::of(Family::Old, environment, FILE);
        let stage = Stage::new(&lab.configuration("").replace("stack: shop", "stack: blog")).await;
        let compose = "services:\n  web: {image: 'acme/web:1'}\n";
        let end = carried_out(&stage, &wish(Operation::DeployStack(StackText::of(compose)))).await;
        assert_eq!(end.state(), State::Succeeded, "{end:?}");
        assert!(lab.portainer.image(environment, "blog", "web").starts_with("acme/web:1"));
        for operation in [Operation::Stop, Operation::Start, Operation::RemoveStack { force: false }] {
            let end = carried_out(&stage, &wish(operation)).await;
            assert_eq!(end.state(), State::Succeeded, "{end:?}");
        }
        assert!(!lab.portainer.has_stack("blog"));
    }
}

/// Until 2.16 the file that was refused stays, and says what nothing runs.
#[tokio::test]
async fn a_refused_file_that_stays_is_told_and_put_back_where_the_target_says_so() {
    for (more, state) in [("", State::Failed), (", rollback: true", State::RolledBack)] {
        let lab = Lab::of(Family::Old, COMPOSE, FILE);
        let stage = lab.stage(more).await;
        let end = carried_out(&stage, &set(&format!("acme/web:2{BAD}"))).await;
        assert_eq!(end.state(), state, "{end:?}");
        assert!(text(&end).contains("cannot start"), "{end:?}");
        let end = carried_out(&stage, &set("acme/web:3")).await;
        assert_eq!(end.state(), State::Succeeded, "{end:?}");
    }
}

/// They do not tell who asks, and list to everybody what was given to them.
#[tokio::test]
async fn a_stack_that_is_not_to_be_seen_is_not_called_gone() {
    for family in [Family::First, Family::Old] {
        let lab = Lab::of(family, SWARM, FILE);
        lab.portainer.hide(&[lab.stack]);
        let stage = lab.stage("").await;
        let end = carried_out(&stage, &wish(Operation::RemoveStack { force: true })).await;
        assert_eq!(end.state(), State::Rejected, "{family:?}: {end:?}");
        let said = "no stack `shop` is to be seen by the user of these credentials, who is no administrator";
        assert!(text(&end).contains(said), "{}", text(&end));
        assert!(lab.portainer.has_stack("shop") && lab.image("web").starts_with("acme/web:1"));
        let told = worker::connect(&stage.settings(&lab.configuration(""))).await.unwrap().remove(0);
        assert!(told.found.iter().any(|line| line.contains("no administrator")), "{:?}", told.found);
    }
}

#[tokio::test]
async fn what_an_old_one_cannot_do_is_said() {
    let lab = Lab::of(Family::First, SWARM, FILE);
    let stage = lab.stage("").await;
    let end = carried_out(&stage, &wish(Operation::Stop)).await;
    assert_eq!(end.state(), State::Failed, "{end:?}");
    assert!(text(&end).contains("this version of Portainer does not know how to"), "{end:?}");
    assert!(lab.image("web").starts_with("acme/web:1"));
}
