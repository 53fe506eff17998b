//! The edge holds no keys: an ingress of its own, beside whose file nothing of the workers' can be read.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use reqwest::{Method, StatusCode};
use ring::hmac;
use serde_json::{Value, json};
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

/// What an ingress has of its own.
const SOURCES: &str = "sources:\n  ci: {kind: plain, key: the-key-of-the-source}\n  hub: {kind: plain, secret: the-secret-of-the-hub}\n";

/// Systems, registries and secrets of which nothing can be opened.
const UNREADABLE: &str = "registries:\n  harbor.acme.lan: {username: x, password_file: \"{folder}/a-directory\"}\n\
    secrets:\n  DATABASE: {file: /nowhere/at/all, targets: [web]}\n\
    systems:\n  lab: {kind: portainer, url: \"${NOT_SET_AT_THE_EDGE}\", api_key_file: \"{folder}/a-directory\"}\n  \
    far: {kind: rancher, url: \"https://rancher.lan\", token_file: /nowhere/at/all, pool: office}\n\
    targets:\n  web: {at: lab, stack: web, follow: \"acme/web:*\"}\n";

/// None of them: a system's name, which targets are written with, and nothing by which it is reached.
const NONE: &str = "systems:\n  lab: {kind: portainer}\ntargets:\n  web: {at: lab, follow: \"acme/web:*\"}\n";

fn start(program: &str, file: &Path) -> Process {
    let mut command = longshore(program).unwrap();
    command.arg("--config").arg(file).env_clear().env("PATH", "/usr/bin:/bin");
    command.env("LONGSHORE_LOG_FORMAT", "json");
    Process::start(command).unwrap()
}

/// A worker with its own file, and an ingress beside it.
async fn stage(issuer: &FakeIssuer, of_workers: &str) -> (Stage, Process, Process) {
    let fleet = Fleet::prepare(Engine::Broker).await.unwrap();
    let folder = fleet.folder().display().to_string();
    std::fs::create_dir(fleet.folder().join("a-directory")).unwrap();
    let of_worker = fleet.folder().join("worker.yaml");
    std::fs::rename(fleet.configure(WORKERS).unwrap(), &of_worker).unwrap();
    let file = fleet.configure(&format!("{SOURCES}{}", of_workers.replace("{folder}", &folder))).unwrap();
    let user = fleet.broker.as_ref().unwrap().user().unwrap();
    let oidc = format!(
        "access:\n  admin_token_file: {folder}/token\n  amqp: {{{user}: {{targets: [web]}}}}\n  oidc:\n    gitlab: {{kind: gitlab, issuer: \"{}\", audience: \
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
    lets_in_who_may(UNREADABLE).await;
}

#[tokio::test]
async fn an_ingress_that_is_told_nothing_of_the_workers_lets_in_who_may() {
    lets_in_who_may(NONE).await;
}

async fn lets_in_who_may(of_workers: &str) {
    let issuer = FakeIssuer::start().unwrap();
    let (stage, _worker, ingress) = stage(&issuer, of_workers).await;
    tokens(&stage).await;
    people(&stage).await;
    pipelines(&stage, &issuer).await;
    hooks(&stage).await;
    over_the_broker(&stage).await;
    reloads(&stage, &ingress).await;
    tells_of_refusals(&ingress);
}

fn succeeded((status, answer): (StatusCode, Value)) {
    assert_eq!((status.as_u16(), &answer["jobs"][0]["state"]), (200, &json!("succeeded")), "{answer}");
}

async fn is_unknown(stage: &Stage, token: &str) {
    let unknown = eventually(SOON, "it to open nothing", || async {
        let (status, said) = stage.get(token, "/v1/targets").await;
        ensure!(status == StatusCode::UNAUTHORIZED, "{said}");
        Ok(())
    });
    unknown.await.unwrap();
}

async fn tokens(stage: &Stage) {
    let token = stage.token(&["ci", "--target", "web", "--operation", "set-image"]).await;
    succeeded(stage.deploy(&token, "web", "acme/web:1").await);
    let stop = Some(json!({"target": "web", "operation": {"type": "stop"}}));
    refused(stage.call(&token, Method::POST, "/v1/jobs", stop).await, 403, "`stop` on `default/web`");
    refused(stage.deploy("lsh_0_0", "web", "acme/web:1").await, 401, "nobody");
    stage.ends(&["token", "revoke", "ci"], 0).await;
    is_unknown(stage, &token).await;
    let hook = stage.token(&["hook", "--source", "ci", "--target", "web"]).await;
    pushed(stage.call(&hook, Method::POST, "/hooks/ci", Some(json!({"image": "acme/web:2"}))).await);
    let soon = ["soon", "--target", "web", "--operation", "read", "--expires", "1s"];
    let soon = stage.ends(&[&["token", "create"], &soon[..]].concat(), 0).await;
    is_unknown(stage, soon.lines().next().unwrap()).await;
}

fn pushed((status, taken): (StatusCode, Value)) {
    assert_eq!((status.as_u16(), taken["jobs"].as_array().map(Vec::len)), (202, Some(1)), "{taken}");
}

async fn people(stage: &Stage) {
    let file = stage.fleet.folder().join("password-of-anna");
    std::fs::write(&file, "a password of hers").unwrap();
    stage
        .ends(&["user", "add", "anna", "--role", "deployer", "--password-file", file.to_str().unwrap()], 0)
        .await;
    let post = |path: &str, body: Value| http::answer(stage.client.post(stage.fleet.url(path)).json(&body));
    let log_in = json!({"user": "anna", "password": "a password of hers"});
    let pair = eventually(SOON, "anna to log in", || async {
        let (status, said) = post("/v1/session", log_in.clone()).await?;
        ensure!(status == StatusCode::OK, "{said}");
        Ok(said)
    });
    let pair = pair.await.unwrap();
    succeeded(stage.deploy(pair["access_token"].as_str().unwrap(), "web", "acme/web:3").await);
    let more = json!({"refresh_token": pair["refresh_token"]});
    let (status, more) = post("/v1/session/refresh", more).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{more}");
    let access = more["access_token"].as_str().unwrap();
    assert_eq!(stage.get(access, "/v1/targets").await.0, StatusCode::OK);
    let (status, _) = stage.call(access, Method::DELETE, "/v1/session", None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    is_unknown(stage, access).await;
    let (_, again) = post("/v1/session", log_in.clone()).await.unwrap();
    stage.ends(&["user", "disable", "anna"], 0).await;
    is_unknown(stage, again["access_token"].as_str().unwrap()).await;
    refused(post("/v1/session", log_in).await.unwrap(), 401, "disabled");
}

async fn pipelines(stage: &Stage, issuer: &FakeIssuer) {
    let of = |project: &str| issuer.identity(&json!({"aud": AUDIENCE, "project_path": project, "sub": "x"}));
    succeeded(stage.deploy(&of("acme/web").unwrap(), "web", "acme/web:4").await);
    refused(stage.deploy(&of("evil/web").unwrap(), "web", "acme/web:4").await, 403, "no rule fits");
}

async fn hooks(stage: &Stage) {
    let push = |key: &str, tag: u8| {
        let (key, body) = (key.to_owned(), Some(json!({"image": format!("acme/web:{tag}")})));
        async move { stage.call(&key, Method::POST, "/hooks/ci", body).await }
    };
    pushed(push("the-key-of-the-source", 5).await);
    refused(push("wrong", 6).await, 401, "not the source's");
    let body = json!({"image": "acme/web:7"}).to_string();
    let signed = |secret: &str| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let signature = hmac::sign(&key, body.as_bytes());
        let hex: String = signature.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let request = stage.client.post(stage.fleet.url("/hooks/hub")).body(body.clone());
        http::answer(request.header("x-hub-signature-256", format!("sha256={hex}")))
    };
    pushed(signed("the-secret-of-the-hub").await.unwrap());
    refused(signed("another").await.unwrap(), 401, "signature");
}

/// As the user of the broker whom the configuration lets do so.
async fn over_the_broker(stage: &Stage) {
    let broker = stage.fleet.broker.as_ref().unwrap();
    let body = json!({"target": "web", "image": "acme/web:8"}).to_string();
    broker.publish_as_fleet("longshore.intake", "deploy", body.as_bytes()).await.unwrap();
    let admin = std::fs::read_to_string(stage.fleet.folder().join("token")).unwrap();
    let came = eventually(SOON, "the message to be carried out", || async {
        let (_, page) = stage.get(&admin, "/v1/jobs?limit=1").await;
        let job = &page["jobs"][0];
        let told = (&job["operation"]["image"], &job["cause"]["kind"], &job["state"]);
        ensure!(told == (&json!("docker.io/acme/web:8"), &json!("amqp"), &json!("succeeded")), "{page}");
        Ok(())
    });
    came.await.unwrap();
}

async fn reloads(stage: &Stage, ingress: &Process) {
    let file = stage.fleet.folder().join("longshore.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("the-key-of-the-source", "another-key-of-the-source")).unwrap();
    ingress.signal("HUP").await.unwrap();
    let push = |key: &str| {
        let (key, body) = (key.to_owned(), Some(json!({"image": "acme/web:9"})));
        async move { stage.call(&key, Method::POST, "/hooks/ci", body).await }
    };
    let changed = eventually(SOON, "the other key to open", || async {
        let (status, said) = push("another-key-of-the-source").await;
        ensure!(status == StatusCode::ACCEPTED, "{said}");
        Ok(())
    });
    let changed = changed.await;
    assert!(changed.is_ok(), "{changed:?}\n{:#?}", ingress.lines());
    refused(push("the-key-of-the-source").await, 401, "not the source's");
}

fn tells_of_refusals(ingress: &Process) {
    let lines = ingress.lines();
    let said = lines.join("\n");
    let objects = lines.iter().map(|line| serde_json::from_str(line));
    let objects: Vec<Value> =
        objects.collect::<Result<_, _>>().unwrap_or_else(|_| panic!("not JSON:\n{said}"));
    let told = objects.iter().filter(|line| line["target"] == "audit").map(|line| &line["fields"]);
    let told: Vec<&Value> = told.filter(|fields| fields["message"] == "access refused").collect();
    for (reason, status, by, method, path) in [
        ("wrong-token", 401, json!(null), "POST", "/v1/jobs"),
        ("wrong-key", 401, json!(null), "POST", "/hooks/ci"),
        ("wrong-key", 401, json!(null), "POST", "/hooks/hub"),
        ("not-allowed", 403, json!("token:ci"), "POST", "/v1/jobs"),
        ("wrong-password", 401, json!(null), "POST", "/v1/session"),
    ] {
        let is_it = |fields: &&Value| {
            (&fields["reason"], &fields["status"], &fields["by"]) == (&json!(reason), &json!(status), &by)
                && (&fields["method"], &fields["path"]) == (&json!(method), &json!(path))
                && fields["peer"] == "127.0.0.1"
        };
        assert!(told.iter().any(is_it), "{reason} {path} is not in\n{said}");
    }
    for secret in ["the-secret-of-the-hub", "key-of-the-source", "a password of hers", "lss_", "lsh_0_0"] {
        assert!(!said.contains(secret), "{secret} is in\n{said}");
    }
}
