//! Portainer from 2.44 on: a success says that a deploy is queued, and an error is not always one.

use std::time::Duration;

use proto::{GitStack, Operation, StackText, State};

use crate::{
    fake_portainer::{BAD, COMPOSE, Family, Mishap, SWARM},
    lab::{FILE, Lab, env, set},
    stage::{Stage, carried_out, text, wish},
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

fn deploy(text: &str) -> Operation {
    Operation::DeployStack(StackText { adopt: true, ..StackText::of(text) })
}

/// What fails in the background leaves what ran before, and the former file: both look well.
#[tokio::test]
async fn a_deploy_of_the_whole_stack_that_fails_in_the_background_is_no_success() {
    for environment in [SWARM, COMPOSE] {
        for slowly in [Duration::ZERO, Duration::from_secs(2)] {
            let lab = Lab::of(Family::Asynchronous, environment, FILE);
            lab.portainer.deploy_slowly(slowly);
            let stage = lab.stage("").await;
            let end = carried_out(&stage, &wish(deploy(&FILE.replace("'postgres:16'", "''")))).await;
            assert_eq!(end.state(), State::Failed, "{environment} {slowly:?}: {end:?}");
            assert!(text(&end).contains("invalid reference format"), "{}", text(&end));
            lab.portainer.call_deploys_failed();
            let end = carried_out(&stage, &wish(Operation::Redeploy)).await;
            assert_eq!(end.state(), State::Failed, "{environment} {slowly:?}: {end:?}");
            assert!(
                text(&end).contains("Portainer's deploy failed: task failed: an old one of the history"),
                "{}",
                text(&end)
            );
        }
    }
}

/// It takes an old task of the history for one of its own. What runs well is not taken away for that.
#[tokio::test]
async fn a_text_that_is_called_failed_though_it_runs_is_told_as_it_is() {
    for environment in [SWARM, COMPOSE] {
        let lab = Lab::of(Family::Asynchronous, environment, FILE);
        lab.portainer.call_deploys_failed();
        let stage = lab.stage(", rollback: true").await;
        let end = carried_out(&stage, &wish(deploy(&FILE.replace(":16", ":17")))).await;
        assert_eq!(end.state(), State::Failed, "{environment}: {end:?}");
        let said =
            "the text runs, but Portainer calls the deploy failed (task failed: an old one of the history)";
        assert!(text(&end).contains(said), "{}", text(&end));
        assert!(lab.image("db").starts_with("postgres:17"), "{}", lab.image("db"));
        assert_eq!(lab.portainer.puts().len(), 1);
    }
}

/// A stack whose first deploy fails is there, and says so.
#[tokio::test]
async fn a_stack_that_is_made_in_the_background_is_watched_to_its_end() {
    for environment in [SWARM, COMPOSE] {
        let lab = Lab::of(Family::Asynchronous, environment, FILE);
        lab.portainer.deploy_slowly(Duration::from_secs(1));
        let stage = Stage::new(&lab.configuration("").replace("stack: shop", "stack: blog")).await;
        let end = carried_out(&stage, &wish(deploy("services: {web: {image: 'acme/web:'}}\n"))).await;
        assert_eq!(end.state(), State::Failed, "{end:?}");
        assert!(text(&end).contains("invalid reference format"), "{}", text(&end));
        assert!(lab.portainer.has_stack("blog"));
        // It is ours, and the next text goes over it.
        for image in ["acme/web:1", "acme/web:2"] {
            let end =
                carried_out(&stage, &wish(deploy(&format!("services: {{web: {{image: '{image}'}}}}\n"))))
                    .await;
            assert_eq!(end.state(), State::Succeeded, "{end:?}");
            assert!(lab.portainer.image(environment, "blog", "web").starts_with(image));
        }
    }
}

/// Until it is deployed, what runs is what ran before.
#[tokio::test]
async fn what_was_pushed_to_git_is_watched_once_it_is_deployed() {
    const URL: &str = "https://git.example/shop.git";
    for environment in [SWARM, COMPOSE] {
        let lab = Lab::of(Family::Asynchronous, environment, FILE);
        lab.portainer.deploy_slowly(Duration::from_secs(2));
        lab.portainer.keep_in_open_git(lab.stack, URL, "docker-compose.yml");
        let stage = lab.stage("").await;
        for (operation, image) in [
            (Operation::Redeploy, "acme/web:2"),
            (Operation::DeployGit(Box::new(GitStack::of(URL))), "acme/web:3"),
        ] {
            lab.portainer.push_git(URL, &FILE.replace("acme/web:1", image), None);
            let end = carried_out(&stage, &wish(operation)).await;
            assert_eq!(end.state(), State::Succeeded, "{environment}: {end:?}");
            assert!(lab.image("web").starts_with(image), "{}", lab.image("web"));
        }
        lab.portainer.push_git(URL, &FILE.replace("acme/web:1", "acme/web:4"), None);
        lab.portainer.call_deploys_failed();
        let end = carried_out(&stage, &wish(Operation::Redeploy)).await;
        assert_eq!(end.state(), State::Failed, "{environment}: {end:?}");
        assert!(text(&end).contains("Portainer's deploy failed"), "{}", text(&end));
    }
}

/// Portainer's own lock on a stack is waited for, whatever is to be done.
#[tokio::test]
async fn what_meets_portainer_at_work_waits() {
    const BUSY: &str =
        r#"{"message":"Unable to update stack","details":"Stack deployment is already in progress"}"#;
    let lab = Lab::of(Family::Asynchronous, SWARM, FILE);
    lab.portainer.keep_in_open_git(lab.stack, "https://git.example/shop.git", "docker-compose.yml");
    let stage = lab.stage("").await;
    for (part, operation) in [
        ("/git/redeploy", Operation::Redeploy),
        ("/stop", Operation::Stop),
        ("/start", Operation::Start),
        ("DELETE", Operation::RemoveStack { force: true }),
    ] {
        lab.portainer.befall_next(part, Mishap::Instead(409, BUSY));
        let end = carried_out(&stage, &wish(operation)).await;
        assert_eq!(end.state(), State::Succeeded, "{part}: {end:?}");
    }
}
