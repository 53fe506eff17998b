//! Pipelines that come in by the identity that their CI gives them, from an issuer of the test's own.

use anyhow::ensure;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::fake_issuer::FakeIssuer;
use tests::wait::eventually;

use super::{SOON, Stage, refused};

const AUDIENCE: &str = "https://deploy.acme.cn";

fn access(issuer: &FakeIssuer) -> String {
    let url = issuer.url();
    format!(
        "  oidc:\n    github:\n      kind: github\n      issuer: {url}\n      audience: {AUDIENCE}\n      rules:\n        \
         - {{claims: {{repository: acme/web, ref: refs/heads/main}}, targets: [web], operations: [set-image]}}\n        \
         - {{claims: {{repository: \"acme/*\"}}, targets: [\"*\"], operations: [plan]}}\n        \
         - {{claims: {{repository_owner: acme, environment: [staging, production]}}, targets: [web], sources: [ci]}}\n"
    )
}

fn run_of(repository: &str, reference: &str) -> Value {
    json!({"aud": AUDIENCE, "repository": repository, "ref": reference, "sub": format!("repo:{repository}:ref:{reference}")})
}

#[tokio::test]
async fn a_pipeline_does_what_its_claims_allow() {
    let issuer = FakeIssuer::start().unwrap();
    let stage = Stage::new(&access(&issuer)).await;
    let main = issuer.identity(&run_of("acme/web", "refs/heads/main")).unwrap();
    let (status, deployed) = stage.deploy(&main, "web", "acme/web:1").await;
    assert_eq!((status.as_u16(), &deployed["jobs"][0]["state"]), (200, &json!("succeeded")), "{deployed}");
    let id = deployed["jobs"][0]["id"].as_str().unwrap();
    let (_, shown) = stage.get(&main, &format!("/v1/jobs/{id}")).await;
    assert_eq!(shown["cause"]["by"], "github:acme/web", "{shown}");
    refused(stage.deploy(&main, "api", "acme/api:1").await, 403, "`set-image` on `default/api`");

    let branch = issuer.identity(&run_of("acme/web", "refs/heads/other")).unwrap();
    refused(stage.deploy(&branch, "web", "acme/web:2").await, 403, "`set-image` on `default/web`");
    let stranger = issuer.identity(&run_of("evil/web", "refs/heads/main")).unwrap();
    refused(stage.get(&stranger, "/v1/jobs").await, 403, "repository = `evil/web`");
    let mut elsewhere = run_of("acme/web", "refs/heads/main");
    elsewhere["aud"] = json!("https://another.example");
    let elsewhere = issuer.identity(&elsewhere).unwrap();
    refused(stage.get(&elsewhere, "/v1/jobs").await, 401, "audience");
    let mut late = run_of("acme/web", "refs/heads/main");
    late["exp"] = json!(1_000_000);
    refused(stage.get(&issuer.identity(&late).unwrap(), "/v1/jobs").await, 401, "has expired");
    let forger = FakeIssuer::start().unwrap();
    let mut forged = run_of("acme/web", "refs/heads/main");
    refused(stage.get(&forger.identity(&forged).unwrap(), "/v1/jobs").await, 401, "issuer is not configured");
    forged["iss"] = json!(issuer.url());
    refused(stage.get(&forger.identity(&forged).unwrap(), "/v1/jobs").await, 401, "signature");

    let mut hook = run_of("acme/web", "refs/heads/other");
    hook["repository_owner"] = json!("acme");
    hook["environment"] = json!("staging");
    let hook = issuer.identity(&hook).unwrap();
    let (status, taken) =
        stage.call(&hook, Method::POST, "/hooks/ci", Some(json!({"image": "acme/web:3"}))).await;
    assert_eq!((status.as_u16(), taken["jobs"].as_array().unwrap().len()), (202, 1), "{taken}");
    assert_eq!(issuer.asked(), 1, "keys are kept");
    let said = stage.fleet.lines().join("\n");
    assert!(said.contains("github:evil/web") && !said.contains(&stranger), "{said}");
}

#[tokio::test]
async fn pub_sub_pushes_with_the_identity_of_a_service_account() {
    let issuer = FakeIssuer::start().unwrap();
    let access = format!(
        "  oidc:\n    google: {{kind: google, issuer: \"{}\", audience: \"{AUDIENCE}\", rules: [{{claims: {{email: push@acme.cn}}, \
         sources: [gar], targets: [\"*\"]}}]}}\n",
        issuer.url()
    );
    let stage = Stage::new(&access).await;
    let digest = format!("docker.io/acme/web@sha256:{}", "a".repeat(64));
    let pushed = json!({"action": "INSERT", "digest": digest, "tag": "docker.io/acme/web:7"});
    let push = |email: &str, proved: bool| {
        let claims = json!({"aud": AUDIENCE, "sub": "1", "email": email, "email_verified": proved});
        let (identity, body, stage) = (issuer.identity(&claims).unwrap(), pushed.clone(), &stage);
        async move { stage.call(&identity, Method::POST, "/hooks/gar", Some(body)).await }
    };
    let (status, taken) = push("push@acme.cn", true).await;
    assert_eq!((status.as_u16(), taken["jobs"].as_array().map(Vec::len)), (202, Some(2)), "{taken}");
    refused(push("push@acme.cn", false).await, 403, "no rule fits");
    refused(push("other@acme.cn", true).await, 403, "no rule fits");
    refused(stage.call("x", Method::POST, "/hooks/gar", Some(pushed.clone())).await, 401, "not the source's");
}

#[tokio::test]
async fn keys_are_rotated_and_an_outage_is_survived_also_over_a_restart() {
    let mut issuer = FakeIssuer::start().unwrap();
    let mut stage = Stage::new(&access(&issuer)).await;
    let first = issuer.identity(&run_of("acme/web", "refs/heads/main")).unwrap();
    assert_eq!(stage.get(&first, "/v1/jobs").await.0.as_u16(), 200);
    issuer.rotate("key-2").unwrap();
    let second = issuer.identity(&run_of("acme/web", "refs/heads/main")).unwrap();
    let rotated = eventually(SOON, "the new key to be known", || async {
        let (status, said) = stage.get(&second, "/v1/jobs").await;
        ensure!(status == StatusCode::OK, "{said}");
        Ok(())
    });
    rotated.await.unwrap();
    refused(stage.get(&first, "/v1/jobs").await, 401, "no such key");
    let asked = issuer.asked();
    assert!(asked <= 4, "asked {asked} times");

    issuer.rotate("key-3").unwrap();
    let unknown = issuer.identity(&run_of("acme/web", "refs/heads/main")).unwrap();
    drop(issuer);
    assert_eq!(stage.get(&second, "/v1/jobs").await.0.as_u16(), 200);
    stage.fleet.kill().await.unwrap();
    stage.fleet.start().await.unwrap();
    assert_eq!(stage.get(&second, "/v1/jobs").await.0.as_u16(), 200);
    refused(stage.get(&unknown, "/v1/jobs").await, 401, "no such key");
}

#[tokio::test]
async fn an_issuer_that_was_never_reached_lets_nobody_in_and_says_so() {
    let issuer = FakeIssuer::start().unwrap();
    let identity = issuer.identity(&run_of("acme/web", "refs/heads/main")).unwrap();
    let access = access(&issuer);
    drop(issuer);
    let stage = Stage::new(&access).await;
    refused(stage.get(&identity, "/v1/jobs").await, 503, "cannot be fetched");
    let admin = std::fs::read_to_string(stage.fleet.folder().join("token")).unwrap();
    assert_eq!(stage.get(&admin, "/v1/jobs").await.0.as_u16(), 200);
}
