//! Texts and images in one stack: what stays, what is newer, and to what a rollback goes.

use std::{collections::BTreeMap, time::Duration};

use proto::{Given, Job, Operation, StackText, State};
use serde_json::json;

use crate::{
    fake_portainer::{BAD, Family, SWARM},
    lab::{FILE, Lab, set},
    stage::{carried_out, text, wish},
};

const ROLLBACK: Operation = Operation::Rollback { service: None, job: None, image: None };

fn deploy(compose: &str) -> Job {
    wish(Operation::DeployStack(StackText { adopt: true, ..StackText::of(compose) }))
}

#[tokio::test]
async fn after_a_text_a_rollback_goes_to_what_ran_before_the_text() {
    for lab in [Lab::swarm(FILE), Lab::compose(FILE)] {
        let stage = lab.stage("").await;
        for job in [deploy(FILE), set("acme/web:2"), deploy(&FILE.replace("web:1", "web:3"))] {
            let end = carried_out(&stage, &job).await;
            assert_eq!(end.state(), State::Succeeded, "{end:?}");
        }
        for _ in 0..2 {
            let end = carried_out(&stage, &wish(ROLLBACK)).await;
            assert_eq!(end.state(), State::Succeeded, "{end:?}");
            assert!(lab.image("web").starts_with("acme/web:2"), "{}", lab.image("web"));
        }
        assert!(lab.image("db").starts_with("postgres:16"), "{}", lab.image("db"));
    }
}

#[tokio::test]
async fn where_a_text_changed_several_services_each_is_rolled_back_by_its_name() {
    let lab = Lab::swarm(FILE);
    let stage = lab.stage("").await;
    let both = FILE.replace("web:1", "web:2").replace("postgres:16", "postgres:17");
    for job in [deploy(FILE), deploy(&both)] {
        assert_eq!(carried_out(&stage, &job).await.state(), State::Succeeded);
    }
    let end = carried_out(&stage, &wish(ROLLBACK)).await;
    assert_eq!(end.state(), State::Rejected, "{end:?}");
    for said in ["`db` ran `postgres:16`", "`web` ran `acme/web:1`", "roll back one service at a time"] {
        assert!(text(&end).contains(said), "{}", text(&end));
    }
    let one = Operation::Rollback { service: Some("db".to_owned()), job: None, image: None };
    assert_eq!(carried_out(&stage, &wish(one)).await.state(), State::Succeeded);
    assert!(lab.image("db").starts_with("postgres:16") && lab.image("web").starts_with("acme/web:2"));
}

/// A swarm says of a service that was made so, or whose update a write of another wiped, as little as of one that runs.
#[tokio::test]
async fn what_never_came_up_is_nothing_to_go_back_to() {
    let lab = Lab::of(Family::Synchronous, SWARM, &FILE.replace("web:1", &format!("web:1{BAD}")));
    let stage = lab.stage("").await;
    let end = carried_out(&stage, &set("acme/web:2")).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    assert!(!lab.portainer.file(lab.stack).contains("longshore.good"), "{}", lab.portainer.file(lab.stack));
    let end = carried_out(&stage, &wish(ROLLBACK)).await;
    assert_eq!(end.state(), State::Rejected, "{end:?}");
    assert!(lab.image("web").starts_with("acme/web:2"), "{}", lab.image("web"));
}

/// A crash loop is up between two crashes. What a task was there for before it ran says nothing: in that time its image
/// was pulled, or its restart was delayed.
#[tokio::test]
async fn what_came_down_counts_by_how_long_it_ran() {
    let (there_for, soon, late) =
        (Duration::from_secs(300), Duration::from_secs(2), Duration::from_secs(290));
    for (ran_for, back_to) in [(soon, "acme/web:1"), (late, "acme/web:2")] {
        let lab = Lab::swarm(FILE);
        let stage = lab.stage("").await;
        assert_eq!(carried_out(&stage, &set("acme/web:2")).await.state(), State::Succeeded);
        lab.portainer.fall("shop_web", there_for, ran_for);
        for job in [set("acme/web:3"), wish(ROLLBACK)] {
            let end = carried_out(&stage, &job).await;
            assert_eq!(end.state(), State::Succeeded, "{end:?}");
        }
        assert!(lab.image("web").starts_with(back_to), "{ran_for:?}: {}", lab.image("web"));
    }
}

/// Whoever asks here has no history, as a CI step beside a fleet.
#[tokio::test]
async fn an_image_that_is_older_than_the_text_is_superseded_by_it() {
    let lab = Lab::swarm(FILE);
    let (older, newer) = (set("acme/web:2"), deploy(&FILE.replace("postgres:16", "postgres:17")));
    let stage = lab.stage("").await;
    assert_eq!(carried_out(&stage, &newer).await.state(), State::Succeeded);
    let writes = lab.portainer.puts().len();
    let end = carried_out(&lab.stage("").await, &older).await;
    assert_eq!((end.state(), end.data.by), (State::Superseded, Some(newer.id)), "{end:?}");
    assert!(lab.image("web").starts_with("acme/web:1"), "{}", lab.image("web"));
    assert_eq!(lab.portainer.puts().len(), writes);
}

#[tokio::test]
async fn an_older_text_leaves_a_newer_image_that_a_variable_names() {
    let file = "services:\n  web: {image: 'acme/web:${TAG}'}\n  db: {image: 'postgres:16'}\n";
    let lab = Lab::swarm("services: {}\n");
    let stack = lab.portainer.add_stack(SWARM, "blog", file, json!([{"name": "TAG", "value": "1"}]));
    let stage = crate::stage::Stage::new(&lab.configuration("").replace("stack: shop", "stack: blog")).await;
    let env = BTreeMap::from([("TAG".to_owned(), Given::Value("1".to_owned()))]);
    let older = StackText { adopt: true, env, ..StackText::of(file.replace("postgres:16", "postgres:17")) };
    let (older, newer) = (wish(Operation::DeployStack(older)), set("acme/web:2"));
    for job in [newer, older] {
        let end = carried_out(&stage, &job).await;
        assert_eq!(end.state(), State::Succeeded, "{end:?}");
    }
    let runs = |service: &str| lab.portainer.image(SWARM, "blog", service);
    assert!(
        runs("web").starts_with("acme/web:2") && runs("db").starts_with("postgres:17"),
        "{}",
        runs("web")
    );
    assert_eq!(lab.portainer.env(stack), json!([{"name": "TAG", "value": "2"}]));
}
