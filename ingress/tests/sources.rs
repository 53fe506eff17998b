//! Every producer's messages through a running server: what deploys, what is answered, who is let in.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

mod support;

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use support::{Server, faulty::Faulty, http::Call};

/// The registry of sources whose messages name none.
const HOST: &str = "registry.example.com:8082";

fn payload(file: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/payloads/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

async fn serving(text: &str) -> Server {
    Server::with(Faulty::serving(&["default"]).await, text).await.ready().await
}

fn index() -> Vec<Value> {
    let index: Vec<Value> = serde_json::from_slice(&payload("index.json")).unwrap();
    assert!(index.len() >= 67, "samples are missing");
    index
}

/// What each sample deploys; the samples that are one of two hooks deploy the same.
fn image(sample: &Value) -> Option<String> {
    match sample["decision"].as_str().unwrap() {
        "deploy" => Some(sample["image"].as_str().unwrap().replace("<configured host>", HOST)),
        "alt" => Some(format!("{HOST}/shop/api:v1.42.0")),
        _ => None,
    }
}

fn repository(image: &str) -> &str {
    image.split('@').next().unwrap().rsplit_once(':').unwrap().0
}

#[tokio::test]
async fn every_sample_deploys_what_its_producer_means() {
    let mut text = "systems: {s: {kind: rehearsal}}\nsources:\n".to_owned();
    let mut kinds: Vec<String> = index().iter().map(|s| s["kind"].as_str().unwrap().to_owned()).collect();
    kinds.sort();
    kinds.dedup();
    for kind in &kinds {
        let registry = if kind == "nexus" { format!(", registry: \"{HOST}\"") } else { String::new() };
        text.push_str(&format!("  {kind}: {{kind: {kind}, key: sesame{registry}}}\n"));
    }
    let mut follows: Vec<String> =
        index().iter().filter_map(image).map(|image| format!("\"{}:*\"", repository(&image))).collect();
    follows.sort();
    follows.dedup();
    text.push_str(&format!("targets:\n  all: {{at: s, follow: [{}]}}\n", follows.join(", ")));
    let server = serving(&text).await;
    let mut deployed = 0;
    for sample in index() {
        let file = sample["file"].as_str().unwrap();
        let answer = server.call(call_of(&sample)).await;
        match image(&sample) {
            Some(image) => {
                assert_eq!(answer.status, 202, "{file}: {}", answer.text());
                let job = server.job(&answer.json()["jobs"][0]);
                assert_eq!(job.operation.image().unwrap().to_string(), image, "{file}");
                deployed += 1;
            }
            None => assert_eq!(answer.status, 200, "{file}: {}", answer.text()),
        }
        match sample["decision"].as_str().unwrap() {
            "handshake" => assert_eq!(
                answer.json(),
                json!({"validationResponse": "512d38b6-c7b8-40c8-89fe-f46f9e9622b6"})
            ),
            "map" => assert!(answer.json()["ignored"].as_str().unwrap().contains("`image`"), "{file}"),
            "ignore" | "ack" => assert!(!answer.json()["ignored"].as_str().unwrap().is_empty(), "{file}"),
            _ => {}
        }
    }
    assert!(deployed >= 20, "only {deployed} samples deployed");
}

fn call_of(sample: &Value) -> Call {
    let (file, kind) = (sample["file"].as_str().unwrap(), sample["kind"].as_str().unwrap());
    let body = if kind == "portainer" { Vec::new() } else { payload(file) };
    let method = if kind == "diun" { "GET" } else { "POST" };
    let mut call = Call::new(method, &format!("/hooks/{kind}?key=sesame&tag=v1.42.0"), body)
        .header("content-type", sample["content_type"].as_str().unwrap());
    let readable = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    for (name, value) in sample["headers"].as_object().unwrap().iter().filter(|(name, _)| readable(name)) {
        call = call.header(name, value.as_str().unwrap());
    }
    call
}

const SIGNED: &str = r#"
systems: {s: {kind: rehearsal}}
sources:
  hub: {kind: github, secret: "old\nnew", image: "ghcr.io/{path}:{tag}"}
  tea: {kind: gitea, secret: new}
  lab: {kind: gitlab, secret: new, image: "ghcr.io/{path}:{tag}"}
  own: {kind: plain, secret: whsec_bmV3}
  both: {kind: plain, key: sesame, secret: new}
  bus: {kind: cloudevents, key: sesame}
  bare: {kind: portainer, key: sesame, image: "acme/api:{tag}"}
targets:
  all: {at: s, follow: ["ghcr.io/codertocat/hello-world:*", "git.example.com/acme/api:*", "acme/api:*", "ghcr.io/jsmith/example:*"]}
"#;

fn signature(secret: &str, body: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    mac.finalize().into_bytes().to_vec()
}

fn hub_signature(secret: &str, body: &[u8]) -> String {
    format!("sha256={}", hex::encode(signature(secret, body)))
}

#[tokio::test]
async fn forges_are_let_in_by_their_signatures_alone() {
    let server = serving(SIGNED).await;
    let body = payload("github-release-published.json");
    let call = |signature: &str| {
        Call::new("POST", "/hooks/hub", body.clone())
            .header("x-github-event", "release")
            .header("x-github-delivery", "d-1")
            .header("x-hub-signature-256", signature)
    };
    for secret in ["old", "new"] {
        let answer = server.call(call(&hub_signature(secret, &body))).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        let job = server.job(&answer.json()["jobs"][0]);
        assert_eq!(job.operation.image().unwrap().to_string(), "ghcr.io/codertocat/hello-world:0.0.1");
        let named = job.cause.delivery.as_deref();
        assert_eq!(
            named,
            Some("release 17372790 0.0.1 2019-05-15T15:20:53Z"),
            "it is told twice by two names"
        );
    }
    let released = String::from_utf8(body.clone()).unwrap().replacen("\"published\"", "\"released\"", 1);
    assert_ne!(released.as_bytes(), body.as_slice());
    let call_of_it = Call::new("POST", "/hooks/hub", released.clone())
        .header("x-github-event", "release")
        .header("x-github-delivery", "d-2")
        .header("x-hub-signature-256", &hub_signature("new", released.as_bytes()));
    assert_eq!(server.call(call_of_it).await.status, 202);
    assert_eq!(server.queue.published().len(), 1, "one delivery, sent twice, and one release, told twice");
    server.call(call(&hub_signature("other", &body))).await.is_problem(401, "wrong-key");
    for empty in ["", "sha256="] {
        server.call(call(empty)).await.is_problem(401, "missing-key");
    }
    let tea = payload("gitea-package-created.json");
    let unsigned = Call::new("POST", "/hooks/tea", tea.clone()).header("x-gitea-signature", "");
    server.call(unsigned).await.is_problem(401, "missing-key");
    let signed = Call::new("POST", "/hooks/tea", tea.clone())
        .header("x-gitea-event", "")
        .header("x-gitea-event-type", "package")
        .header("x-gitea-signature", &hex::encode(signature("new", &tea)));
    assert_eq!(server.call(signed).await.status, 202);
    let lab =
        Call::new("POST", "/hooks/lab", payload("gitlab-tag_push.json")).header("x-gitlab-token", "new");
    assert_eq!(server.call(lab).await.status, 202);
    let lab = Call::new("POST", "/hooks/lab", payload("gitlab-tag_push.json")).header("x-gitlab-token", "No");
    server.call(lab).await.is_problem(401, "wrong-key");
}

#[tokio::test]
async fn forms_of_forges_are_read() {
    let server = serving(SIGNED).await;
    let json = String::from_utf8(payload("github-release-published.json")).unwrap();
    let form: String = form_urlencoded::Serializer::new(String::new()).append_pair("payload", &json).finish();
    let call = Call::post("/hooks/hub", form.clone())
        .header("content-type", "application/x-www-form-urlencoded")
        .header("x-github-event", "release")
        .header("x-hub-signature-256", &hub_signature("new", form.as_bytes()));
    assert_eq!(server.call(call).await.status, 202);
}

#[tokio::test]
async fn our_own_form_takes_standard_webhooks_and_a_signature_beside_the_key() {
    let server = serving(SIGNED).await;
    let body = br#"{"name":"acme/api","tag":"1"}"#;
    let at = |seconds: i64| (jiff::Timestamp::now().as_second() + seconds).to_string();
    let call = |at: &str| {
        let signed = [b"m-1.", at.as_bytes(), b".", body].concat();
        Call::new("POST", "/hooks/own", body.to_vec())
            .header("webhook-id", "m-1")
            .header("webhook-timestamp", at)
            .header("webhook-signature", &format!("v1,{}", STANDARD.encode(signature("new", &signed))))
    };
    let answer = server.call(call(&at(0))).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(server.job(&answer.json()["jobs"][0]).cause.delivery.as_deref(), Some("m-1"));
    server.call(call(&at(-1000))).await.is_problem(401, "wrong-key");
    let both = |path: &str| {
        Call::new("POST", path, body.to_vec()).header("x-signature", &hub_signature("new", body))
    };
    server.call(both("/hooks/both")).await.is_problem(401, "missing-key");
    server.call(both("/hooks/both?key=x")).await.is_problem(401, "wrong-key");
    assert_eq!(server.call(both("/hooks/both?key=sesame")).await.status, 202);
    let unsigned = Call::new("POST", "/hooks/both?key=sesame", body.to_vec());
    server.call(unsigned).await.is_problem(401, "missing-key");
}

#[tokio::test]
async fn who_asks_for_leave_to_send_gets_it() {
    let server = serving(SIGNED).await;
    let ask =
        |path: &str| Call::new("OPTIONS", path, "").header("webhook-request-origin", "eventgrid.azure.net");
    let granted = server.call(ask("/hooks/bus?key=sesame")).await;
    assert_eq!(
        (granted.status, granted.header("webhook-allowed-origin")),
        (200, Some("eventgrid.azure.net"))
    );
    assert_eq!(granted.header("webhook-allowed-rate"), Some("*"));
    assert_eq!(server.call(ask("/hooks/bus?access_token=sesame")).await.status, 200);
    server.call(ask("/hooks/bus")).await.is_problem(401, "missing-key");
    server.call(ask("/hooks/hub")).await.is_problem(405, "method-not-allowed");
    let plain = server.call(Call::new("OPTIONS", "/hooks/bus?key=sesame", "")).await;
    plain.is_problem(405, "method-not-allowed");
    assert_eq!(plain.header("allow"), Some("POST"));
}

#[tokio::test]
async fn a_bare_call_deploys_the_tag_in_its_url() {
    let server = serving(SIGNED).await;
    let call = |path: &'static str| server.post(path, "");
    let answer = call("/hooks/bare/sesame?tag=v2").await;
    let job = server.job(&answer.json()["jobs"][0]);
    assert_eq!(job.operation.image().unwrap().to_string(), "docker.io/acme/api:v2");
    let answer = call("/hooks/bare/sesame").await;
    assert_eq!((answer.status, answer.json()["jobs"].clone()), (200, json!([])));
}

#[tokio::test]
async fn the_calls_for_each_manifest_of_a_push_make_one_deploy() {
    let text = "systems: {s: {kind: rehearsal}}\nsources: {hub: {kind: dockerhub, key: k}, acr: {kind: aliyun-acr, key: k}}\n\
        targets: {all: {at: s, follow: [\"svendowideit/testhook:*\", \"registry.cn-hangzhou.aliyuncs.com/namespace/repotest:*\"]}}";
    let server = serving(text).await;
    for (path, file) in
        [("/hooks/hub?key=k", "dockerhub-push.json"), ("/hooks/acr?key=k", "aliyun-acr-push.json")]
    {
        let before = server.queue.published().len();
        for _ in 0..6 {
            let answer = server.call(Call::new("POST", path, payload(file))).await;
            assert_eq!(answer.status, 202, "{file}: {}", answer.text());
        }
        assert_eq!(server.queue.published().len(), before + 1, "{file}");
    }
}
