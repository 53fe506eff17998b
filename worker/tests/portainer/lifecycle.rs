//! Start, stop, restart, redeploy, a stack made of a text, and one removed.

use std::collections::BTreeMap;

use proto::{Given, Operation, StackText, State};

use crate::{
    lab::{FILE, Lab, env, set},
    stage::{Stage, carried_out, text, wish},
};

#[tokio::test]
async fn a_stack_is_stopped_started_and_restarted() {
    for lab in [Lab::swarm(FILE), Lab::compose(FILE)] {
        let stage = lab.stage("").await;
        for (operation, runs) in [
            (Operation::Stop, false),
            (Operation::Stop, false),
            (Operation::Start, true),
            (Operation::Start, true),
            (Operation::Restart, true),
            (Operation::Redeploy, true),
        ] {
            let end = carried_out(&stage, &wish(operation)).await;
            assert_eq!(end.state(), State::Succeeded, "{end:?}");
            assert_eq!(!lab.image("web").is_empty(), runs);
            assert!(!lab.portainer.is_leaving("shop"), "{end:?}");
        }
        assert_eq!(lab.portainer.env(lab.stack), env());
        assert_eq!(lab.portainer.file(lab.stack), FILE);
        let restarts: Vec<String> = lab.portainer.requests();
        let asked = |part: &str| restarts.iter().filter(|line| line.contains(part)).count();
        assert_eq!((asked("/stop"), asked("/start")), (1, 1));
        assert_eq!(asked("/update") + asked("/restart"), 2, "each service once: {restarts:?}");
    }
}

#[tokio::test]
async fn a_stack_is_made_of_a_text_changed_by_one_and_removed() {
    for lab in [
        Lab::swarm("services: {other: {image: 'a:1'}}\n"),
        Lab::compose("services: {other: {image: 'a:1'}}\n"),
    ] {
        let configuration = lab.configuration("").replace("stack: shop", "stack: blog")
            + "secrets: {db: {value: hunter2-secret}}\n";
        let stage = Stage::new(&configuration).await;
        let text = |compose: &str| {
            let env = BTreeMap::from([
                ("TAG".to_owned(), Given::Value("1".to_owned())),
                ("DB".to_owned(), Given::Secret(proto::Named { from: "db".to_owned() })),
            ]);
            Operation::DeployStack(StackText { env, ..StackText::of(compose) })
        };
        let compose = "services:\n  web: {image: 'acme/web:${TAG}'}\n";
        let end = carried_out(&stage, &wish(text(compose))).await;
        assert_eq!(end.state(), State::Succeeded, "{end:?}");
        assert!(lab.portainer.image(lab.environment, "blog", "web").starts_with("acme/web:1"));
        let more = "services:\n  web: {image: 'acme/web:${TAG}'}\n  db: {image: 'postgres:16'}\n";
        let end = carried_out(&stage, &wish(text(more))).await;
        assert_eq!(end.state(), State::Succeeded, "{end:?}");
        assert!(lab.portainer.image(lab.environment, "blog", "db").starts_with("postgres:16"));
        assert!(!format!("{end:?}").contains("hunter2"));
        for _ in 0..2 {
            let end = carried_out(&stage, &wish(Operation::RemoveStack { force: false })).await;
            assert_eq!(end.state(), State::Succeeded, "{end:?}");
            assert!(!lab.portainer.has_stack("blog"));
            assert!(!lab.portainer.is_leaving("blog"), "{end:?}");
        }
        assert!(lab.portainer.has_stack("shop"), "only its own");
    }
}

/// Portainer would say that there is no such stack, and all of it would run on.
#[tokio::test]
async fn what_was_started_beside_portainer_is_not_called_gone() {
    for (lab, name, force) in [(Lab::swarm(FILE), "`blog_web`", false), (Lab::compose(FILE), "`web`", true)] {
        lab.portainer.start_beside(lab.environment, "blog", "services: {web: {image: 'legacy/web:1'}}\n");
        let stage = Stage::new(&lab.configuration("").replace("stack: shop", "stack: blog")).await;
        let end = carried_out(&stage, &wish(Operation::RemoveStack { force })).await;
        assert_eq!(end.state(), State::Rejected, "{end:?}");
        let said =
            format!("Portainer has no stack `blog`, but under that name runs what it does not know: {name}");
        assert!(text(&end).contains(&said), "{}", text(&end));
        assert!(lab.portainer.image(lab.environment, "blog", "web").starts_with("legacy/web:1"));
    }
}

/// Of a swarm Portainer removes it, where it is told to and by whom it may be.
#[tokio::test]
async fn what_a_swarm_runs_without_a_stack_goes_where_that_is_said() {
    let lab = Lab::swarm(FILE);
    lab.portainer.start_beside(lab.environment, "blog", "services: {web: {image: 'legacy/web:1'}}\n");
    let stage = Stage::new(&lab.configuration("").replace("stack: shop", "stack: Blog")).await;
    for _ in 0..2 {
        let end = carried_out(&stage, &wish(Operation::RemoveStack { force: true })).await;
        assert_eq!(end.state(), State::Succeeded, "{end:?}");
        assert_eq!(lab.portainer.image(lab.environment, "blog", "web"), "");
        assert!(!lab.portainer.is_leaving("blog"), "{end:?}");
    }
    assert!(lab.image("web").starts_with("acme/web:1"), "only its own");
}

#[tokio::test]
async fn a_text_leaves_what_a_newer_job_brought() {
    let lab = Lab::swarm(FILE);
    let stage = lab.stage("").await;
    let text = StackText { adopt: true, ..StackText::of(FILE.replace("postgres:16", "postgres:17")) };
    let (older, newer) = (wish(Operation::DeployStack(text)), set("acme/web:2"));
    assert_eq!(carried_out(&stage, &newer).await.state(), State::Succeeded);
    let end = carried_out(&stage, &older).await;
    assert!(lab.image("web").starts_with("acme/web:2"), "{} after {end:?}", lab.image("web"));
}
