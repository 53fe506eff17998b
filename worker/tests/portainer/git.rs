//! Stacks whose file is in git: made, set, deployed again, with credentials kept.

use std::time::Duration;

use proto::{GitStack, Given, Named, Operation, State};
use serde_json::json;

use crate::{
    fake_portainer::{COMPOSE, Family, Mishap, SWARM},
    lab::{FILE, Lab, env},
    stage::{Stage, carried_out, text, wish},
};

const URL: &str = "https://git.example/blog.git";
const TOKEN: &str = "glpat-sup3rs3cret";
const BLOG: &str = "services:\n  web: {image: 'acme/web:${TAG:-1}'}\n";

/// The target `demo` is the stack `blog`, which is not there yet.
async fn stage(lab: &Lab) -> Stage {
    let configuration = lab.configuration("").replace("stack: shop", "stack: Blog")
        + &format!("secrets: {{robot: {{value: {TOKEN}}}, db: {{value: hunter2-secret}}}}\n");
    Stage::new(&configuration).await
}

fn git() -> GitStack {
    let mut git = GitStack::of(URL);
    git.reference = Some("refs/heads/main".to_owned());
    git.username = Some("robot".to_owned());
    git.password = Some(Named { from: "robot".to_owned() });
    git.env.insert("DB".to_owned(), Given::Secret(Named { from: "db".to_owned() }));
    git.every_s = Some(300);
    git
}

fn posts(lab: &Lab, part: &str) -> usize {
    lab.portainer.requests().iter().filter(|line| !line.starts_with("GET") && line.contains(part)).count()
}

#[tokio::test]
async fn a_stack_is_made_of_a_repository_and_deployed_again_with_its_credentials() {
    for lab in [Lab::compose(FILE), Lab::swarm(FILE), Lab::of(Family::Asynchronous, COMPOSE, FILE)] {
        lab.portainer.push_git(URL, BLOG, Some(TOKEN));
        let stage = stage(&lab).await;
        let end = carried_out(&stage, &wish(Operation::DeployGit(Box::new(git())))).await;
        assert_eq!(end.state(), State::Succeeded, "{end:?}");
        let image = || lab.portainer.image(lab.environment, "blog", "web");
        assert!(image().starts_with("acme/web:1"), "{}", image());
        let blog = lab.stack + 1;
        let (kept, update) = lab.portainer.git(blog);
        assert_eq!(kept["Authentication"], json!({"Username": "robot", "Password": TOKEN}));
        assert_eq!(update["Interval"], "300s");
        assert_eq!(lab.portainer.env(blog), json!([{"name": "DB", "value": "hunter2-secret"}]));

        // What is left out stays; what was pushed meanwhile is deployed.
        lab.portainer.push_git(URL, &BLOG.replace(":-1", ":-2"), Some(TOKEN));
        let end = carried_out(&stage, &wish(Operation::DeployGit(Box::new(GitStack::of(URL))))).await;
        assert_eq!(end.state(), State::Succeeded, "{end:?}");
        assert!(image().starts_with("acme/web:2"), "{}", image());
        let (now, polls) = lab.portainer.git(blog);
        assert_eq!((now, &polls["Interval"]), (kept.clone(), &update["Interval"]));
        assert_eq!(lab.portainer.env(blog), json!([{"name": "DB", "value": "hunter2-secret"}]));

        lab.portainer.push_git(URL, &BLOG.replace(":-1", ":-3"), Some(TOKEN));
        let end = carried_out(&stage, &wish(Operation::Redeploy)).await;
        assert_eq!(end.state(), State::Succeeded, "{end:?}");
        assert!(image().starts_with("acme/web:3"), "{}", image());
        assert_eq!(lab.portainer.git(blog).0, kept);
        assert!(!format!("{end:?}").contains(TOKEN));
    }
}

#[tokio::test]
async fn settings_change_without_a_deploy() {
    let lab = Lab::compose(FILE);
    lab.portainer.push_git(URL, BLOG, Some(TOKEN));
    let stage = stage(&lab).await;
    let settings = |change: fn(&mut GitStack)| {
        let mut git = GitStack { settings_only: true, ..GitStack::of(URL) };
        change(&mut git);
        wish(Operation::DeployGit(Box::new(git)))
    };
    let end = carried_out(&stage, &settings(|_| ())).await;
    assert_eq!(end.state(), State::Rejected, "there is none yet: {end:?}");
    assert_eq!(
        carried_out(&stage, &wish(Operation::DeployGit(Box::new(git())))).await.state(),
        State::Succeeded
    );
    lab.portainer.push_git(URL, &BLOG.replace(":-1", ":-2"), Some(TOKEN));
    let change: fn(&mut GitStack) = |git| {
        git.reference = Some("refs/heads/next".to_owned());
        git.env.insert("COLOR".to_owned(), Given::Value("blue".to_owned()));
    };
    let end = carried_out(&stage, &settings(change)).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    assert!(lab.portainer.image(COMPOSE, "blog", "web").starts_with("acme/web:1"), "nothing was deployed");
    let (kept, update) = lab.portainer.git(lab.stack + 1);
    assert_eq!(kept["ReferenceName"], "refs/heads/next");
    assert_eq!(kept["Authentication"]["Password"], TOKEN);
    assert_eq!(update["Interval"], "300s");
    let env = lab.portainer.env(lab.stack + 1);
    assert_eq!(env[1], json!({"name": "COLOR", "value": "blue"}), "{env}");
}

#[tokio::test]
async fn what_is_not_of_that_repository_is_left_alone() {
    let lab = Lab::compose(FILE);
    lab.portainer.push_git(URL, BLOG, Some(TOKEN));
    // The stack's file is kept in Portainer.
    let of_portainer = lab.stage("").await;
    let end = carried_out(&of_portainer, &wish(Operation::DeployGit(Box::new(GitStack::of(URL))))).await;
    assert_eq!(end.state(), State::Rejected, "{end:?}");
    assert!(text(&end).contains("kept in Portainer and not in git"), "{end:?}");
    lab.portainer.keep_in_git(lab.stack);
    let end = carried_out(&of_portainer, &wish(Operation::DeployGit(Box::new(GitStack::of(URL))))).await;
    assert!(text(&end).contains("of another repository"), "{end:?}");
    let stage = stage(&lab).await;
    let mut refused = git();
    refused.password = Some(Named { from: "nobody".to_owned() });
    let end = carried_out(&stage, &wish(Operation::DeployGit(Box::new(refused)))).await;
    assert!(text(&end).contains("no secret `nobody`"), "{end:?}");
    let end = carried_out(&stage, &wish(Operation::DeployGit(Box::new(GitStack::of(URL))))).await;
    assert!(text(&end).contains("authentication failed"), "{end:?}");
    assert!(!lab.portainer.has_stack("blog"));
    assert_eq!((lab.portainer.env(lab.stack), posts(&lab, "/git")), (env(), 0));
}

/// The password that is stored is that of the user that is stored.
#[tokio::test]
async fn half_a_login_is_completed_by_what_is_stored_or_refused() {
    let lab = Lab::compose(FILE);
    lab.portainer.push_git(URL, BLOG, Some(TOKEN));
    let stage = stage(&lab).await;
    let with = |username: Option<&str>, password: Option<&str>| {
        let mut git = GitStack::of(URL);
        git.username = username.map(str::to_owned);
        git.password = password.map(|from| Named { from: from.to_owned() });
        wish(Operation::DeployGit(Box::new(git)))
    };
    let refused = async |username, password, why: &str| {
        let before = posts(&lab, "/");
        let end = carried_out(&stage, &with(username, password)).await;
        assert_eq!(end.state(), State::Rejected, "{end:?}");
        assert!(text(&end).contains(why), "{end:?}");
        assert_eq!(posts(&lab, "/"), before);
    };
    refused(Some("robot"), None, "no password is stored for `robot`").await;
    refused(None, Some("robot"), "and no `username`").await;
    let end = carried_out(&stage, &wish(Operation::DeployGit(Box::new(git())))).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    refused(Some("nobody"), None, "no password is stored for `nobody`").await;
    for (username, password) in [(Some("robot"), None), (None, Some("robot"))] {
        let end = carried_out(&stage, &with(username, password)).await;
        assert_eq!(end.state(), State::Succeeded, "{end:?}");
        let kept = lab.portainer.git(lab.stack + 1).0;
        assert_eq!(kept["Authentication"], json!({"Username": "robot", "Password": TOKEN}));
    }
}

/// Portainer deploys a file without services, and says yes.
#[tokio::test]
async fn a_repository_that_brings_nothing_is_no_success() {
    let lab = Lab::swarm(FILE);
    lab.portainer.push_git(URL, "services: {}\n", Some(TOKEN));
    let stage = stage(&lab).await;
    let end = carried_out(&stage, &wish(Operation::DeployGit(Box::new(git())))).await;
    assert_eq!(end.state(), State::Failed, "{end:?}");
    assert!(text(&end).contains("its engine has nothing of it: nothing runs"), "{end:?}");
    lab.portainer.push_git(URL, BLOG, Some(TOKEN));
    let end = carried_out(&stage, &wish(Operation::Redeploy)).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
}

/// An answer that does not come: what became of it is read, and nothing is made or deployed twice.
#[tokio::test]
async fn a_call_that_nobody_answers_is_looked_into() {
    for mishap in [Mishap::CutAfter, Mishap::Afterwards(504, "<html>gateway timeout</html>")] {
        let lab = Lab::of(Family::Synchronous, SWARM, FILE);
        lab.portainer.push_git(URL, BLOG, Some(TOKEN));
        lab.portainer.deploy_slowly(Duration::from_secs(2));
        let stage = stage(&lab).await;
        lab.portainer.befall_next("/create/swarm/repository", mishap.clone());
        let end = carried_out(&stage, &wish(Operation::DeployGit(Box::new(git())))).await;
        assert_eq!((end.state(), posts(&lab, "/create/")), (State::Succeeded, 1), "{end:?}");
        for operation in [Operation::DeployGit(Box::new(GitStack::of(URL))), Operation::Redeploy] {
            lab.portainer.befall_next("/git/redeploy", mishap.clone());
            let before = posts(&lab, "/git/redeploy");
            let end = carried_out(&stage, &wish(operation)).await;
            assert_eq!(
                (end.state(), posts(&lab, "/git/redeploy") - before),
                (State::Succeeded, 1),
                "{end:?}"
            );
        }
    }
}

/// The settings move the record's date as a deploy does, and what never arrived must not pass for deployed by it.
#[tokio::test]
async fn a_redeploy_that_never_arrived_is_no_success() {
    let lab = Lab::compose(FILE);
    lab.portainer.push_git(URL, BLOG, Some(TOKEN));
    let stage = stage(&lab).await;
    let end = carried_out(&stage, &wish(Operation::DeployGit(Box::new(git())))).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    lab.portainer.push_git(URL, &BLOG.replace(":-1", ":-2"), Some(TOKEN));
    lab.portainer.befall_next("/git/redeploy", Mishap::CutBefore);
    let again = wish(Operation::DeployGit(Box::new(GitStack::of(URL))));
    stage.accept(&again).await;
    let is_over = |events: &[proto::Event]| events.iter().any(|event| event.state().is_end());
    let events = stage.until_within(Duration::from_secs(180), &again, is_over).await;
    let end = events.iter().find(|event| event.state().is_end()).unwrap();
    assert_eq!((end.state(), posts(&lab, "/git/redeploy")), (State::Succeeded, 2), "{events:?}");
    let runs = lab.portainer.image(COMPOSE, "blog", "web");
    assert!(runs.starts_with("acme/web:2"), "{runs}");
}

#[tokio::test]
async fn a_stopped_stack_keeps_its_settings_and_is_not_called_somebody_elses() {
    let lab = Lab::compose(FILE);
    lab.portainer.push_git(URL, BLOG, Some(TOKEN));
    let stage = stage(&lab).await;
    for operation in [Operation::DeployGit(Box::new(git())), Operation::Stop] {
        let end = carried_out(&stage, &wish(operation)).await;
        assert_eq!(end.state(), State::Succeeded, "{end:?}");
    }
    let kept = lab.portainer.git(lab.stack + 1);
    let next = GitStack { reference: Some("refs/heads/next".to_owned()), ..GitStack::of(URL) };
    let end = carried_out(&stage, &wish(Operation::DeployGit(Box::new(next)))).await;
    assert_eq!(end.state(), State::Rejected, "{end:?}");
    assert!(text(&end).contains("is stopped"), "{}", text(&end));
    assert_eq!(lab.portainer.git(lab.stack + 1), kept);
    let end = carried_out(&stage, &wish(Operation::RemoveStack { force: false })).await;
    assert_eq!((end.state(), lab.portainer.has_stack("blog")), (State::Rejected, true), "{end:?}");
    let said = "nobody can tell whether the stack `Blog` was deployed by Longshore";
    assert!(text(&end).contains(said), "{}", text(&end));
}
