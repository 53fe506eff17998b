//! Who asks: an access token, or one login that all jobs share.

use std::time::Duration;

use proto::State;

use crate::{
    fake_portainer::{PASSWORD, USERNAME},
    lab::{FILE, Lab, set},
    stage::{Stage, carried_out, code},
};

fn login() -> String {
    format!("username: {USERNAME}, password: '{PASSWORD}', environment: production, at_once: 4")
}

#[tokio::test]
async fn all_jobs_share_one_login_and_a_restart_costs_one_more() {
    let lab = Lab::swarm(FILE);
    let others: Vec<String> = (0..12).map(|n| format!("other{n}")).collect();
    let mut configuration = lab.configured(&login(), "");
    for name in &others {
        lab.portainer.add_stack(lab.environment, name, FILE, crate::lab::env());
        configuration.push_str(&format!("  {name}: {{at: docks, stack: {name}, stable: 200ms}}\n"));
    }
    let stage = Stage::new(&configuration).await;
    let jobs: Vec<_> = others.iter().map(|name| crate::stage::job(name, "acme/web:2")).collect();
    for job in &jobs {
        stage.accept(job).await;
    }
    for job in &jobs {
        assert_eq!(stage.end(job).await.state(), State::Succeeded);
    }
    assert_eq!(lab.portainer.logins(), 1);
    // Longer than what keeps logins apart.
    tokio::time::sleep(Duration::from_secs(5)).await;
    lab.portainer.restart();
    assert_eq!(carried_out(&stage, &set("acme/web:2")).await.state(), State::Succeeded);
    assert_eq!((lab.portainer.logins(), lab.portainer.is_banned()), (2, false));
}

/// Ten logins within a second are answered with a ban of an hour.
#[tokio::test]
async fn a_check_of_many_environments_logs_in_once() {
    let lab = Lab::swarm(FILE);
    let mut systems = String::new();
    for n in 0..12 {
        let url = lab.portainer.url();
        systems.push_str(&format!(
            "  env{n}: {{kind: portainer, url: '{url}', longest_deploy: 30s, {}}}\n",
            login()
        ));
    }
    let configuration = lab.configured(&login(), "").replace("targets:\n", &format!("{systems}targets:\n"));
    let stage = Stage::empty().await;
    let told = worker::connect(&stage.settings(&configuration)).await.unwrap();
    assert_eq!(told.len(), 13);
    assert!(told.iter().all(|one| one.missing.is_empty()), "{told:?}");
    assert_eq!((lab.portainer.logins(), lab.portainer.is_banned()), (1, false));
}

#[tokio::test]
async fn a_wrong_password_is_not_tried_in_a_burst() {
    let lab = Lab::swarm(FILE);
    let configuration = lab.configured(&login().replace(PASSWORD, "another one"), "");
    let stage = Stage::new(&configuration).await;
    for _ in 0..5 {
        let end = carried_out(&stage, &set("acme/web:2")).await;
        assert_eq!((end.state(), code(&end)), (State::Dead, "credentials-refused"), "{end:?}");
        assert!(!format!("{end:?}").contains("another one"));
    }
    assert!(lab.portainer.logins() <= 2, "{}", lab.portainer.logins());
    assert!(!lab.portainer.is_banned());
}

#[tokio::test]
async fn an_access_token_outlives_restarts_and_a_wrong_one_ends_at_once() {
    let lab = Lab::swarm(FILE);
    let stage = lab.stage("").await;
    assert_eq!(carried_out(&stage, &set("acme/web:2")).await.state(), State::Succeeded);
    lab.portainer.restart();
    assert_eq!(carried_out(&stage, &set("acme/web:3")).await.state(), State::Succeeded);
    assert_eq!(lab.portainer.logins(), 0);
    let stage = Stage::new(&lab.configured("api_key: ptr_wrong, environment: production", "")).await;
    let end = carried_out(&stage, &set("acme/web:2")).await;
    assert_eq!((end.state(), code(&end)), (State::Dead, "credentials-refused"), "{end:?}");
}

/// The engine hands on that the registry wants a login, with the status that Portainer has for its own; Portainer has one
/// and deploys all the same.
#[tokio::test]
async fn a_registry_that_the_engine_may_not_read_keeps_nobody_from_deploying() {
    for status in [401, 403] {
        let lab = Lab::swarm(FILE);
        lab.portainer.lock_registry(status);
        let stage = Stage::new(&lab.configured(&login(), "")).await;
        for image in ["acme/web:2", "acme/web:3"] {
            let end = carried_out(&stage, &set(image)).await;
            assert_eq!(end.state(), State::Succeeded, "{status}: {end:?}");
            assert!(lab.image("web").starts_with(image), "{}", lab.image("web"));
        }
        assert_eq!(lab.portainer.logins(), 1, "a registry's 401 is no reason to log in");
    }
}

/// The login was good, and the server that gave it is gone: that is no fault of the credentials.
#[tokio::test]
async fn a_restart_right_after_a_login_is_waited_out() {
    let lab = Lab::swarm(FILE);
    let stage = Stage::new(&lab.configured(&login(), "")).await;
    assert_eq!(carried_out(&stage, &set("acme/web:2")).await.state(), State::Succeeded);
    let logins = lab.portainer.logins();
    lab.portainer.restart();
    lab.portainer.restart_after_login();
    let again = set("acme/web:3");
    stage.accept(&again).await;
    let is_over = |events: &[proto::Event]| events.iter().any(|event| event.state().is_end());
    let events = stage.until_within(Duration::from_secs(120), &again, is_over).await;
    let end = events.iter().find(|event| event.state().is_end()).unwrap();
    assert_eq!(end.state(), State::Succeeded, "{events:?}");
    assert!(lab.image("web").starts_with("acme/web:3"));
    assert_eq!(lab.portainer.logins(), logins + 2);
}
