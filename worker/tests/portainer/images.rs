//! Bringing an image: what is written, what stays, and what is said.

use std::time::Duration;

use proto::{Operation, State};
use serde_json::json;

use crate::{
    fake_portainer::{BAD, SWARM},
    lab::{FILE, Lab, env, set},
    stage::{carried_out, code, text, wish},
};

#[tokio::test]
async fn exactly_one_line_changes_and_everything_else_is_sent_back() {
    let lab = Lab::swarm(FILE);
    let stage = lab.stage("").await;
    let wish = set("acme/web:2");
    let end = carried_out(&stage, &wish).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    let puts = lab.portainer.puts();
    assert_eq!(puts.len(), 1, "{puts:?}");
    assert_eq!((&puts[0].env, puts[0].environment), (&env(), SWARM));
    assert_eq!((&puts[0].prune, &puts[0].pull), (&json!(false), &json!(false)));
    // The same by the name that versions from 2.36 on have for it.
    assert_eq!(puts[0].repull, json!(false));
    let image = lab.image("web");
    assert!(image.starts_with("acme/web:2@sha256:"), "{image}");
    assert_eq!(lab.bare_file(), FILE.replace("acme/web:1", &image));
    let fence = format!("# longshore.job={} service=web longshore.good=", wish.id);
    assert!(lab.portainer.file(lab.stack).starts_with(&fence), "{}", lab.portainer.file(lab.stack));
    assert_eq!(lab.portainer.env(lab.stack), env());
    let change = end.data.image.unwrap();
    assert_eq!(change.from.unwrap().to_string(), "docker.io/acme/web:1");
    assert!(!lab.portainer.file(lab.stack).contains("db longshore"));
}

/// A write clears what the engine knows of its last update, and starts tasks anew where tags are looked up.
#[tokio::test]
async fn what_runs_already_is_not_written_again_and_what_nobody_deployed_is() {
    let lab = Lab::swarm(FILE);
    let stage = lab.stage("").await;
    for _ in 0..2 {
        let end = carried_out(&stage, &set("acme/web:2")).await;
        assert_eq!((end.state(), lab.portainer.puts().len()), (State::Succeeded, 1), "{end:?}");
    }
    // The file names it, and the engine was never told.
    let digest = lab.image("web").split_once('@').unwrap().1.replace("sha256:", "");
    let other: String = digest.chars().rev().collect();
    lab.portainer.push("docker.io/acme/web:3", &format!("sha256:{other}"));
    let bare = lab.bare_file().replace(&lab.image("web"), &format!("acme/web:3@sha256:{other}"));
    lab.portainer.put_file(lab.stack, &bare);
    let end = carried_out(&stage, &set("acme/web:3")).await;
    assert_eq!((end.state(), lab.portainer.puts().len()), (State::Succeeded, 2), "{end:?}");
    assert_eq!(lab.image("web"), format!("acme/web:3@sha256:{other}"));
}

/// Written in the midst of a rollout, the engine would no longer watch over it.
#[tokio::test]
async fn a_rollout_of_somebody_elses_is_waited_for() {
    let lab = Lab::swarm(FILE);
    let stage = lab.stage("").await;
    // The two that a stack is made of end first.
    assert_eq!(carried_out(&stage, &set("acme/web:2")).await.state(), State::Succeeded);
    lab.portainer.roll_out_slowly(Duration::from_secs(6));
    lab.portainer.deploy_by_hand(lab.stack, &lab.bare_file().replace("postgres:16", "postgres:17"));
    let end = carried_out(&stage, &set("acme/web:3")).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    let into_rollouts: Vec<bool> = lab.portainer.puts().iter().map(|put| put.into_rollout).collect();
    assert_eq!(into_rollouts, [false, false]);
    assert!(lab.bare_file().contains("postgres:17") && lab.bare_file().contains("acme/web:3@"));
}

/// The business edition keeps more beside the file, and a write that leaves it out takes it away.
#[tokio::test]
async fn a_stacks_webhook_stays() {
    let lab = Lab::compose(FILE);
    let hook = "4c3ca6a0-7d0f-4a4c-9d5b-6f1d2b8f6a11";
    lab.portainer.give_webhook(lab.stack, hook);
    let stage = lab.stage("").await;
    assert_eq!(carried_out(&stage, &set("acme/web:2")).await.state(), State::Succeeded);
    let (webhook, update) = lab.portainer.webhook(lab.stack);
    assert_eq!((webhook.as_str(), update["Webhook"].as_str()), (hook, Some(hook)));
}

#[tokio::test]
async fn whether_a_stack_prunes_stays_as_it_is() {
    let lab = Lab::swarm(FILE);
    lab.portainer.set_prune(lab.stack);
    let stage = lab.stage("").await;
    assert_eq!(carried_out(&stage, &set("acme/web:2")).await.state(), State::Succeeded);
    assert_eq!(carried_out(&stage, &wish(Operation::Redeploy)).await.state(), State::Succeeded);
    let prunes: Vec<_> = lab.portainer.puts().into_iter().map(|put| put.prune).collect();
    assert_eq!(prunes, [json!(true), json!(true)]);
}

#[tokio::test]
async fn what_windows_and_other_editors_leave_stays() {
    let file = format!("\u{feff}{}", FILE.trim_end().replace('\n', "\r\n"));
    let lab = Lab::swarm(&file);
    let stage = lab.stage("").await;
    assert_eq!(carried_out(&stage, &set("acme/web:2")).await.state(), State::Succeeded);
    let image = lab.image("web");
    let stored = lab.portainer.file(lab.stack);
    assert!(stored.starts_with("\u{feff}# longshore.job="), "{stored}");
    let (_, rest) = stored.split_once("\r\n").unwrap();
    assert_eq!(format!("\u{feff}{rest}"), file.replace("acme/web:1", &image));
}

#[tokio::test]
async fn a_tag_that_is_a_variable_is_set_there_and_nowhere_else() {
    let file = FILE.replace("acme/web:1 ", "acme/web:${TAG:-1} ");
    let lab = Lab::swarm(&file);
    let stage = lab.stage("").await;
    let end = carried_out(&stage, &set("acme/web:2")).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    assert_eq!(lab.bare_file(), file);
    let mut expected = env();
    expected.as_array_mut().unwrap().push(json!({"name": "TAG", "value": "2"}));
    assert_eq!(lab.portainer.env(lab.stack), expected);
    // By the tag alone: the engine has to look it up.
    assert_eq!(lab.portainer.puts()[0].pull, json!(true));
    assert!(lab.image("web").starts_with("acme/web:2"), "{}", lab.image("web"));
}

#[tokio::test]
async fn every_service_that_runs_the_repository_takes_the_image_or_the_one_that_is_named() {
    let file = "services:\n  web: {image: 'acme/web:1'}\n  worker: {image: acme/web:1}\n  db: {image: 'postgres:16'}\n";
    let lab = Lab::swarm(file);
    let stage = lab.stage("").await;
    let mut named = set("acme/web:2");
    named.operation =
        Operation::SetImage { image: "acme/web:2".parse().unwrap(), service: Some("worker".to_owned()) };
    named.slots = named.operation.slots();
    assert_eq!(carried_out(&stage, &named).await.state(), State::Succeeded);
    assert!(lab.image("web").starts_with("acme/web:1"), "{}", lab.image("web"));
    assert!(lab.image("worker").starts_with("acme/web:2"), "{}", lab.image("worker"));
    assert_eq!(carried_out(&stage, &set("acme/web:3")).await.state(), State::Succeeded);
    for service in ["web", "worker"] {
        assert!(lab.image(service).starts_with("acme/web:3"), "{}", lab.image(service));
    }
    assert!(lab.image("db").starts_with("postgres:16"), "{}", lab.image("db"));
}

#[tokio::test]
async fn a_success_that_never_converges_is_a_failure_and_the_stored_file_is_named() {
    let lab = Lab::swarm(FILE);
    let stage = lab.stage("").await;
    let end = carried_out(&stage, &set(&format!("acme/web:2{BAD}"))).await;
    assert_eq!(end.state(), State::Failed, "{end:?}");
    assert!(text(&end).contains("No such image"), "{}", text(&end));
    assert!(text(&end).contains("stored file still names the image"), "{}", text(&end));
    assert!(lab.bare_file().contains(BAD));
}

#[tokio::test]
async fn where_the_target_says_so_the_old_text_is_put_back() {
    let lab = Lab::swarm(FILE);
    let stage = lab.stage(", rollback: true").await;
    let end = carried_out(&stage, &set(&format!("acme/web:2{BAD}"))).await;
    assert_eq!((end.state(), code(&end)), (State::RolledBack, "rolled-back"), "{end:?}");
    assert_eq!(lab.bare_file(), FILE);
    assert!(lab.image("web").starts_with("acme/web:1"), "{}", lab.image("web"));
    assert_eq!(lab.portainer.env(lab.stack), env());
    assert!(lab.portainer.file(lab.stack).contains("longshore.bad=sha256:"));
    // Whoever hears of the end hears what is on hold since.
    let [noted] = end.data.put_on_hold.as_slice() else { panic!("{end:?}") };
    assert_eq!(noted.part.as_deref(), Some("web"));
    let digest = noted.image.digest().unwrap().as_str();
    assert!(lab.portainer.file(lab.stack).contains(&format!("longshore.bad={digest}")));
    // A good one goes through all the same, and may be taken back by wish.
    assert_eq!(carried_out(&stage, &set("acme/web:3")).await.state(), State::Succeeded);
    let mut rollback = set("acme/web:3");
    rollback.operation = Operation::Rollback { service: None, job: None, image: None };
    rollback.slots = rollback.operation.slots();
    assert_eq!(carried_out(&stage, &rollback).await.state(), State::Succeeded);
    assert!(lab.image("web").starts_with("acme/web:1"), "{}", lab.image("web"));
}

#[tokio::test]
async fn an_engine_that_goes_back_by_itself_leaves_a_file_that_does_not() {
    let file = FILE.replace("{replicas: 2}", "{replicas: 2, update_config: {failure_action: rollback}}");
    let lab = Lab::swarm(&file);
    let stage = lab.stage("").await;
    let end = carried_out(&stage, &set(&format!("acme/web:2{BAD}"))).await;
    assert_eq!(end.state(), State::Failed, "{end:?}");
    assert!(
        text(&end).contains("the engine went back by itself; the stack's stored file still names"),
        "{}",
        text(&end)
    );
    assert!(lab.image("web").starts_with("acme/web:1"));
}
