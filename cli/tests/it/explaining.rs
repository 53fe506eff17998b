//! `longshore explain`: every sample of a producer's messages, and images against a configuration.

use serde_json::{Value, json};

use crate::{
    fake::{Answer, Fake},
    shell::{Ran, Shell},
};

const PAYLOADS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../ingress/tests/payloads");
const HOST: &str = "registry.example.com:8082";

fn explain(shell: &Shell, arguments: &[&str]) -> Value {
    let child = shell.start_with(&[&["explain", "--json"], arguments].concat());
    let ran: Ran = crate::shell::finish(child, "explain").ended(0);
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn every_sample_is_decided_as_its_producer_means_it() {
    let index = std::fs::read(format!("{PAYLOADS}/index.json")).unwrap();
    let index: Vec<Value> = serde_json::from_slice(&index).unwrap();
    assert!(index.len() >= 67, "samples are missing");
    let shell = Shell::new();
    for sample in &index {
        let (file, kind) = (sample["file"].as_str().unwrap(), sample["kind"].as_str().unwrap());
        let path = format!("@{PAYLOADS}/{file}");
        let mut arguments: Vec<String> = vec![path, "--source".to_owned(), kind.to_owned()];
        let headers = sample["headers"].as_object().unwrap().iter();
        let content = json!(sample["content_type"].as_str().unwrap());
        let content_type = "Content-Type".to_owned();
        for (name, value) in headers.chain([(&content_type, &content)]) {
            arguments.push("--header".to_owned());
            arguments.push(format!("{name}: {}", value.as_str().unwrap()));
        }
        let image = sample["image"].as_str().filter(|_| sample["decision"] == "deploy");
        let image = image.map(|image| image.replace("<configured host>", HOST));
        if image.as_ref().is_some_and(|image| image.starts_with(HOST)) || sample["decision"] == "alt" {
            arguments.extend(["--registry".to_owned(), HOST.to_owned()]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let told = explain(&shell, &arguments);
        let (decision, images) = match sample["decision"].as_str().unwrap() {
            // The other of two hooks of one push, and a trial that says nothing of being one.
            "alt" => ("deploy", vec![format!("{HOST}/shop/api:v1.42.0")]),
            "ambiguous" => ("ignore", Vec::new()),
            decision => (decision, image.into_iter().collect()),
        };
        assert_eq!(told["decision"], decision, "{file}: {told}");
        assert_eq!(told["images"], json!(images), "{file}: {told}");
        assert_eq!(told["targets"], json!([]), "{file}: {told}");
        assert!(!told["reason"].as_str().unwrap().is_empty(), "{file}");
    }
}

const CONFIGURATION: &str = r#"
sources:
  forge: {kind: github, secret: s, image: "ghcr.io/{owner}/{repo}:{tag}"}
  ci: {kind: jenkins, key: k, image: "{IMAGE}:{TAG}@{DIGEST}"}
  lan: {kind: nexus, key: k, registry: "r.lan:8082"}
  one: {kind: plain, key: k}
  two: {kind: plain, key: k}
systems: {s: {kind: rehearsal}}
targets:
  web: {at: s, follow: "acme/web:v*", approve: true}
  dev: {at: s, follow: "acme/web:dev-*"}
  mirror: {at: s, follow: "r.lan/acme/web:*"}
  release: {at: s, follow: "ghcr.io/codertocat/hello-world:*"}
  shop: {at: s, follow: "r.lan:8082/shop/api:*"}
"#;

#[test]
fn an_image_has_takers_and_those_who_nearly_are() {
    let shell = Shell::new();
    shell.write("longshore.yaml", CONFIGURATION);
    let told = explain(&shell, &["acme/web:v1", "--config", "longshore.yaml"]);
    assert_eq!((&told["decision"], &told["targets"]), (&json!("deploy"), &json!(["default/web"])));
    assert!(told["reason"].as_str().unwrap().contains("waits for an approval"), "{told}");
    let nearly: Vec<&str> =
        told["nearly"].as_array().unwrap().iter().map(|near| near["target"].as_str().unwrap()).collect();
    assert_eq!(nearly, ["default/dev", "default/mirror"]);
    let told = explain(&shell, &["acme/web:1", "--config", "longshore.yaml"]);
    assert_eq!(told["decision"], "ignore");
    shell.run("explain acme/web:1 --config longshore.yaml").ended(0).said(&[
        "ignore: no target follows acme/web:1",
        "default/web",
        "it takes the tags `v*`, not `1`",
        "it follows the registry `r.lan`, not `docker.io`",
    ]);
}

#[test]
fn without_a_file_the_server_is_asked_and_tells_of_targets_that_were_found() {
    let shell = Shell::new();
    let fake = Fake::start(|asked, _| {
        assert_eq!(asked.line, "GET /v1/targets");
        assert_eq!(asked.headers["authorization"], "Bearer t");
        let target = |name: &str, follow: Value, gates: Value| {
            json!({
                "target": name, "system": "s", "follows": [follow], "deadline": "1h", "discovered": true, "gates": gates,
            })
        };
        let upward = json!({"image": "acme/web", "tags": {"semver": ">=1.4, <2"}});
        let fault =
            json!({"pool": "default", "system": "s", "thing": "service `x`", "text": "t", "hint": "h"});
        Answer::Json(
            200,
            json!({
                "targets": [
                    target("default/found", json!("acme/web:1.*"), json!({"approve": true})),
                    target("default/upward", upward, json!({})),
                    target("default/nearly", json!("acme/web:2.*"), json!({})),
                ],
                "faults": [fault],
            }),
        )
    });
    let shell = shell.with("LONGSHORE_URL", &fake.url).with("LONGSHORE_TOKEN", "t");
    let told = explain(&shell, &["acme/web:1.5.0"]);
    assert_eq!(
        (&told["decision"], &told["targets"]),
        (&json!("deploy"), &json!(["default/found", "default/upward"]))
    );
    let reason = told["reason"].as_str().unwrap();
    for said in [
        "waits for an approval",
        "rejected where a higher one runs",
        "1 that were meant to be targets are none",
    ] {
        assert!(reason.contains(said), "{reason}");
    }
    assert_eq!(told["nearly"][0]["target"], "default/nearly");
    // A body is explained without anybody.
    shell.write("body.json", r#"{"image":"acme/web:v2"}"#);
    explain(&shell, &["@body.json", "--source", "plain"]);
    assert_eq!(fake.asked().len(), 1);
    let nobody = shell.with("LONGSHORE_URL", "http://127.0.0.1:1");
    nobody.run("explain acme/web:1").ended(7);
}

#[test]
fn a_file_that_leaves_targets_to_their_labels_says_that_it_does_not_know_those() {
    let shell = Shell::new();
    shell.write(
        "longshore.yaml",
        "systems: {s: {kind: swarm, host: 'unix:///x', discover: labels}}\ntargets: {web: {at: s, service: web, follow: 'acme/web:*'}}\n",
    );
    for image in ["acme/web:1", "acme/other:1"] {
        let told = explain(&shell, &[image, "--config", "longshore.yaml"]);
        let reason = told["reason"].as_str().unwrap();
        assert!(
            reason.contains("found by their labels") || reason.contains("find by their labels"),
            "{reason}"
        );
    }
}

#[test]
fn a_source_of_the_configuration_brings_its_registry_and_its_image() {
    let shell = Shell::new();
    shell.write("longshore.yaml", CONFIGURATION);
    for (file, source, image, targets) in [
        (
            "github-release-published.json",
            "forge",
            "ghcr.io/codertocat/hello-world:0.0.1",
            json!(["default/release"]),
        ),
        (
            "github-release-published.json",
            "github",
            "ghcr.io/codertocat/hello-world:0.0.1",
            json!(["default/release"]),
        ),
        ("nexus-component-created.json", "lan", "r.lan:8082/shop/api:v1.42.0", json!(["default/shop"])),
        (
            "jenkins-finalized-success.json",
            "jenkins",
            "registry.example.com/acme/api:v1.42.0@sha256:c24762dad798ed1af474def3f5bbcdda02dfd70813dfcacc0002474d34b4524d",
            json!([]),
        ),
    ] {
        let path = format!("@{PAYLOADS}/{file}");
        let told = explain(&shell, &[&path, "--source", source, "--config", "longshore.yaml"]);
        assert_eq!((&told["images"], &told["targets"]), (&json!([image]), &targets), "{told}");
    }
    shell.write("body.json", r#"{"image":"acme/web:v2"}"#);
    shell
        .run("explain @body.json --source plain --config longshore.yaml")
        .ended(2)
        .said(&["one, two", "--source"]);
    shell.run("explain @body.json --source nobody").ended(2).said(&["`nobody`", "aliyun-acr", "poll"]);
    let polled = explain(&shell, &["@body.json", "--source", "poll", "--config", "longshore.yaml"]);
    assert_eq!(
        (&polled["decision"], &polled["targets"]),
        (&json!("deploy"), &json!(["default/web"])),
        "{polled}"
    );
    shell.run("explain @body.json").ended(2).said(&["--source"]);
    shell.write("body.json", "image=x");
    assert_eq!(explain(&shell, &["@body.json", "--source", "harbor"])["decision"], "reject");
}

#[test]
fn every_kind_is_told_of_and_the_examples_can_be_used() {
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/hooks.md")).unwrap();
    for kind in ingress::Kind::ALL {
        assert!(guide.contains(&format!("| `{}` |", kind.name())), "{} is missing in the guide", kind.name());
    }
    let shell = Shell::new();
    for secret in ["hook_github", "hook_ci", "hook_lab", "hook_nexus"] {
        shell.write(secret, "old\nnew\n");
    }
    shell.write("github_token", "github_pat_x\n");
    let examples = guide.split("```yaml\n").skip(1).map(|part| part.split("```").next().unwrap());
    let sources: Vec<&str> = examples.filter(|example| example.starts_with("sources:")).collect();
    assert!(!sources.is_empty());
    for example in sources {
        let folder = shell.folder().to_str().unwrap();
        shell.write("longshore.yaml", &example.replace("/run/secrets", folder));
        shell.run("check --config longshore.yaml").ended(0);
    }
}

#[test]
fn the_rules_for_tags_of_the_guide_take_what_they_say() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    let guide = std::fs::read_to_string(page).unwrap();
    let shell = Shell::new();
    shell.write(
        "longshore.yaml",
        guide.split("```yaml\n").nth(1).and_then(|part| part.split("```").next()).unwrap(),
    );
    shell.run("check --config longshore.yaml").ended(0);
    for (tag, targets) in [
        ("1.4.2", json!(["default/either", "default/versions"])),
        ("v1.10.0", json!(["default/either", "default/versions"])),
        ("2.0.0-rc.1", json!([])),
        ("latest", json!(["default/exact"])),
        ("dev-1", json!(["default/pattern"])),
        ("release-42-slim", json!(["default/numbered"])),
    ] {
        let told = explain(&shell, &[&format!("acme/web:{tag}"), "--config", "longshore.yaml"]);
        assert_eq!(told["targets"], targets, "{told}");
    }
    shell
        .run("explain acme/web:1.4.2 --config longshore.yaml")
        .ended(0)
        .said(&["rejected where a higher one runs"]);
    shell
        .run("explain acme/web:2.0.0 --config longshore.yaml")
        .ended(0)
        .said(&["within `>=1.4, <2`, not `2.0.0`"]);
}

#[test]
fn a_wrong_source_is_told_with_its_line() {
    let shell = Shell::new();
    shell.write(
        "longshore.yaml",
        "sources:\n  a: {kind: github, key: k, image: \"ghcr.io/{ownr}/x:{tag}\"}\n  \
         b: {kind: harbor, secret: s}\n  c: {kind: gitlab, secret: \"whsec_?\"}\n  \
         d: {kind: jfrog, key: k, registry: \"a.lan/docker\"}\n  e: {kind: quay, key: k, image: \"x:1\"}\n  \
         f: {kind: gitea, key: k, events: [push, pull_request]}\n  g: {kind: drone, key: k, workflows: build}\n",
    );
    let ran = shell.run("check --config longshore.yaml").ended(2);
    let ran = ran.said(&[
        "sources.a.image",
        "`{ownr}`",
        "{owner}",
        "sources.b.secret",
        "sources.c.secret",
        "sources.e.image",
        "sources.f.events: a run for a `pull_request` never deploys",
        "sources.g.workflows",
    ]);
    assert!(!ran.stderr.contains("sources.d"), "{}", ran.stderr);
}
