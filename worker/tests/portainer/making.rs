//! Stacks that are made where something of their name runs already.

use proto::{GitStack, Operation, StackText, State};

use crate::{
    fake_portainer::{ATTIC, COMPOSE},
    lab::{FILE, Lab},
    stage::{Stage, carried_out, text, wish},
};

const URL: &str = "https://git.example/blog.git";
const BLOG: &str = "services:\n  web: {image: 'acme/web:1'}\n";

/// Somebody runs `blog` on the machine, without Portainer.
async fn lab_with_a_blog() -> (Lab, Stage) {
    let lab = Lab::compose(FILE);
    for (service, image) in [("legacy", "legacy/db:1"), ("web", "legacy/web:1")] {
        lab.portainer.run_by_hand(COMPOSE, "blog", service, image);
    }
    let stage = Stage::new(&lab.configuration("").replace("stack: shop", "stack: Blog")).await;
    (lab, stage)
}

fn runs(lab: &Lab) -> [String; 2] {
    ["legacy", "web"].map(|service| lab.portainer.image(COMPOSE, "blog", service))
}

#[tokio::test]
async fn what_somebody_runs_without_portainer_is_taken_over_only_where_it_is_said() {
    let (lab, stage) = lab_with_a_blog().await;
    lab.portainer.push_git(URL, BLOG, None);
    for (operation, adopts) in [
        (Operation::DeployStack(StackText::of(BLOG)), true),
        (Operation::DeployGit(Box::new(GitStack::of(URL))), false),
    ] {
        let end = carried_out(&stage, &wish(operation)).await;
        assert_eq!(end.state(), State::Rejected, "{end:?}");
        assert!(text(&end).contains("`legacy`, `web` run under the name `blog` already"), "{}", text(&end));
        assert_eq!(text(&end).contains("`--adopt`"), adopts, "{}", text(&end));
        assert_eq!(runs(&lab), ["legacy/db:1", "legacy/web:1"]);
        assert!(!lab.portainer.has_stack("blog"));
    }
    let adopting = StackText { adopt: true, ..StackText::of(BLOG) };
    let end = carried_out(&stage, &wish(Operation::DeployStack(adopting))).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    assert!(runs(&lab)[1].starts_with("acme/web:1"), "{:?}", runs(&lab));
}

#[tokio::test]
async fn nor_does_a_stack_move_over_it() {
    let lab = Lab::compose(FILE);
    lab.portainer.run_by_hand(ATTIC, "shop", "web", "legacy/web:1");
    let stage = lab.stage("").await;
    let end =
        carried_out(&stage, &wish(Operation::Migrate { environment: "attic".to_owned(), name: None })).await;
    assert_eq!(end.state(), State::Rejected, "{end:?}");
    assert!(text(&end).contains("`web` run under the name `shop` already"), "{}", text(&end));
    assert_eq!(lab.portainer.image(ATTIC, "shop", "web"), "legacy/web:1");
    assert_eq!(lab.portainer.environment_of("shop"), Some(COMPOSE));
}

/// The docker command makes one service after the other, and Portainer records a stack that came to be whole.
#[tokio::test]
async fn what_a_create_leaves_that_fails_midway_is_named_and_removed() {
    let lab = Lab::swarm(FILE);
    let stage = Stage::new(&lab.configuration("").replace("stack: shop", "stack: blog")).await;
    let broken = format!("{BLOG}  {}: {{image: 'acme/db:1'}}\n", "z".repeat(70));
    let deploy = |text: &str| wish(Operation::DeployStack(StackText::of(text)));
    let end = carried_out(&stage, &deploy(&broken)).await;
    assert_eq!((end.state(), lab.portainer.has_stack("blog")), (State::Failed, false), "{end:?}");
    let left = "`blog_web` of it run, and Portainer has no stack of them: `longshore stack remove --force`";
    assert!(text(&end).contains(left), "{}", text(&end));
    let end = carried_out(&stage, &deploy(BLOG)).await;
    assert_eq!(end.state(), State::Rejected, "{end:?}");
    assert!(text(&end).contains("`blog_web` run under the name `blog` already"), "{}", text(&end));
    assert!(text(&end).contains("`longshore stack remove --force` takes them away"), "{}", text(&end));
    for operation in [Operation::RemoveStack { force: true }, Operation::DeployStack(StackText::of(BLOG))] {
        let end = carried_out(&stage, &wish(operation)).await;
        assert_eq!(end.state(), State::Succeeded, "{end:?}");
    }
    assert!(lab.portainer.image(lab.environment, "blog", "web").starts_with("acme/web:1"));
}
