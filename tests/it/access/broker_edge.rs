//! The edge holds no keys: an ingress of its own, beside whose file nothing of the workers' can be read.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tests::fake_issuer::FakeIssuer;
use tests::fleet::{Engine, Fleet};
use tests::http;
use tests::process::{Process, longshore};
use tests::wait::eventually;

use super::{SOON, Stage, refused};

const AUDIENCE: &str = "https://deploy.acme.cn";

/// What a worker is told.
const WORKERS: &str = "systems:\n  lab: {kind: rehearsal}\n\
                       targets:\n  web: {at: lab, takes: 20ms, follow: \"acme/web:*\"}\n";

/// The same as the ingress has it: with systems, registries and secrets of which nothing can be opened.
const EDGES: &str = "sources:\n  ci: {kind: plain, key: of-the-source}\n  hub: {kind: github, secret: of-the-hub}\n\
    registries:\n  harbor.acme.lan: {username: x, password_file: \"{folder}/a-directory\"}\n\
    secrets:\n  DATABASE: {file: /nowhere/at/all, targets: [web]}\n\
    systems:\n  lab: {kind: portainer, url: \"${NOT_SET_AT_THE_EDGE}\", api_key_file: \"{folder}/a-directory\"}\n  \
    far: {kind: rancher, url: \"https://rancher.lan\", token_file: /nowhere/at/all, pool: office}\n\
    targets:\n  web: {at: lab, stack: web, follow: \"acme/web:*\"}\n";

fn start(program: &str, file: &Path) -> Process {
    let mut command = longshore(program).unwrap();
    command.arg("--config").arg(file).env_clear().env("PATH", "/usr/bin:/bin");
    Process::start(command).unwrap()
}

/// A worker with its own file, and an ingress beside it.
async fn stage(issuer: &FakeIssuer) -> (Stage, Process, Process) {
    let fleet = Fleet::prepare(Engine::Broker).await.unwrap();
    let folder = fleet.folder().display().to_string();
    std::fs::create_dir(fleet.folder().join("a-directory")).unwrap();
    let of_worker = fleet.folder().join("worker.yaml");
    std::fs::rename(fleet.configure(WORKERS).unwrap(), &of_worker).unwrap();
    let file = fleet.configure(&EDGES.replace("{folder}", &folder)).unwrap();
    let oidc = format!(
        "access:\n  admin_token_file: {folder}/token\n  oidc:\n    gitlab: {{kind: gitlab, issuer: \"{}\", audience: \
         \"{AUDIENCE}\", rules: [{{claims: {{project_path: acme/web}}, targets: [web], operations: [set-image]}}]}}",
        issuer.url()
    );
    let text = std::fs::read_to_string(&file).unwrap();
    let own = format!("access: {{admin_token_file: {folder}/token}}");
    assert!(text.contains(&own), "{text}");
    std::fs::write(&file, text.replace(&own, &oidc)).unwrap();
    let worker = start("longshore-worker", &of_worker);
    let ingress = start("longshore-ingress", &file);
    let stage = Stage { fleet, client: http::client().unwrap() };
    let admin = std::fs::read_to_string(stage.fleet.folder().join("token")).unwrap();
    let ready = eventually(SOON, "the first deploy to be taken", || async {
        let ready =
            stage.client.get(stage.fleet.url("/readyz")).timeout(Duration::from_secs(5)).send().await?;
        ensure!(ready.status().is_success(), "{}", ready.status());
        let (status, said) = stage.deploy(&admin, "web", "acme/web:0").await;
        ensure!(status == StatusCode::OK, "{said}");
        Ok(())
    });
    let started = ready.await;
    assert!(started.is_ok(), "{started:?}\n{:#?}\n{:#?}", ingress.lines(), worker.lines());
    (stage, worker, ingress)
}

#[tokio::test]
async fn an_ingress_that_can_read_no_secret_of_the_workers_lets_in_who_may() {
    let issuer = FakeIssuer::start().unwrap();
    let (stage, _worker, _ingress) = stage(&issuer).await;
    let succeeded = |(status, answer): (StatusCode, serde_json::Value)| {
        assert_eq!((status.as_u16(), &answer["jobs"][0]["state"]), (200, &json!("succeeded")), "{answer}");
    };
    let token = stage.token(&["ci", "--target", "web", "--operation", "set-image"]).await;
    succeeded(stage.deploy(&token, "web", "acme/web:1").await);
    refused(stage.deploy("lsh_0_0", "web", "acme/web:1").await, 401, "nobody");

    let file = stage.fleet.folder().join("password-of-anna");
    std::fs::write(&file, "a password of hers").unwrap();
    stage
        .ends(&["user", "add", "anna", "--role", "deployer", "--password-file", file.to_str().unwrap()], 0)
        .await;
    let log_in = json!({"user": "anna", "password": "a password of hers"});
    let session = eventually(SOON, "anna to log in", || async {
        let request = stage.client.post(stage.fleet.url("/v1/session")).json(&log_in);
        let (status, said) = http::answer(request).await?;
        ensure!(status == StatusCode::OK, "{said}");
        Ok(said["access_token"].as_str().unwrap_or_default().to_owned())
    });
    succeeded(stage.deploy(&session.await.unwrap(), "web", "acme/web:2").await);

    let identity =
        issuer.identity(&json!({"aud": AUDIENCE, "project_path": "acme/web", "sub": "x"})).unwrap();
    succeeded(stage.deploy(&identity, "web", "acme/web:3").await);

    let push = Some(json!({"image": "acme/web:4"}));
    let (status, taken) = stage.call("of-the-source", Method::POST, "/hooks/ci", push).await;
    assert_eq!((status.as_u16(), taken["jobs"].as_array().map(Vec::len)), (202, Some(1)), "{taken}");
    let (status, _) =
        stage.call("wrong", Method::POST, "/hooks/ci", Some(json!({"image": "acme/web:5"}))).await;
    assert_eq!(status.as_u16(), 401);
}
