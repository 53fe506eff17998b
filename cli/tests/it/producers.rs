//! The documented example of each producer: it can be used, it says what to paste, and a try of it is let in.

use serde_json::Value;

use crate::{shell::Shell, up::Running};

/// Every kind that is documented, with its source's name.
fn examples() -> Vec<(String, String)> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/producers.md")).unwrap();
    let blocks = page.split("```yaml\nsources:\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let of = |block: &str| {
        let line = block.trim();
        let (name, rest) = line.split_once(": {kind: ").unwrap_or_else(|| panic!("no source in {block}"));
        let kind = rest.split([',', '}']).next().unwrap();
        assert_eq!(block.lines().count(), 1, "{block}");
        (kind.to_owned(), format!("  {name}: {{kind: {rest}\n"))
    };
    blocks.map(of).collect()
}

fn name(line: &str) -> &str {
    line.trim().split(':').next().unwrap()
}

/// A directory with all examples in one file, and the secrets they name.
fn with_all() -> Shell {
    let shell = Shell::new();
    let mut text = "public_url: https://deploy.example.org\nsystems: {lab: {kind: rehearsal}}\ntargets: {web: {at: lab, takes: 10ms, follow: \"acme/web:*\"}}\nsources:\n".to_owned();
    for (_, line) in examples() {
        let secret = line.split("/run/secrets/").nth(1).map(|rest| rest.split([',', '}']).next().unwrap());
        if let Some(secret) = secret {
            shell.write(&format!("secrets/{secret}"), &format!("s3cret-of-{secret}\n"));
        }
        text.push_str(&line.replace("/run/secrets", "secrets"));
    }
    shell.write("longshore.yaml", &text);
    shell
}

#[test]
fn every_kind_has_an_example_that_can_be_used() {
    let mut kinds: Vec<String> = examples().into_iter().map(|(kind, _)| kind).collect();
    let mut known: Vec<String> = ingress::Kind::ALL.iter().map(|kind| kind.name().to_owned()).collect();
    known.push("poll".to_owned());
    kinds.sort();
    known.sort();
    assert_eq!(kinds, known);
    let shell = with_all();
    shell.run("check --config longshore.yaml").ended(0).said(&["can be used"]);
    for (kind, line) in examples().into_iter().filter(|(kind, _)| kind != "poll") {
        let ran = shell.run(&format!("hook url {} --config longshore.yaml --json", name(&line))).ended(0);
        let paste: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(paste["kind"], kind);
        let url = paste["url"].as_str().unwrap();
        assert!(url.starts_with(&format!("https://deploy.example.org/hooks/{}", name(&line))), "{url}");
        let shown = ran.stdout.matches("s3cret-of-").count();
        assert_eq!(shown, 1, "what to paste is there, and once: {}", ran.stdout);
    }
}

#[test]
fn every_example_is_let_in_when_it_is_tried() {
    let shell = with_all();
    let file = shell.folder().join("longshore.yaml");
    let text =
        std::fs::read_to_string(&file).unwrap().replace("public_url: https://deploy.example.org\n", "");
    shell.write("longshore.yaml", &text);
    let mut running = Running::start(&shell, "--config longshore.yaml");
    let _url = running.url();
    for (kind, line) in examples().into_iter().filter(|(kind, _)| kind != "poll") {
        let ran = shell.run(&format!("hook send {} --config longshore.yaml", name(&line))).ended(0);
        let deploys = matches!(&*kind, "plain" | "portainer");
        ran.said(&[if deploys { "default/web  job " } else { "nothing is deployed" }]);
    }
    let pinged = shell.run("hook send github --sample ping --config longshore.yaml").ended(0);
    assert!(pinged.stderr.contains("it is sent to http://127.0.0.1:"), "{}", pinged.stderr);
    pinged.said(&["let in"]);
    let unknown = shell.run("hook send github --sample pong --config longshore.yaml").ended(2);
    unknown.said(&["no sample `pong`", "`package`", "`release`"]);
    shell.write("body.json", "{\"image\":\"acme/web:7\"}");
    shell.run("hook send ci --body body.json --config longshore.yaml").ended(0).said(&["default/web"]);
    shell.write("body.json", "{\"image\":\"\"}");
    shell.run("hook send ci --body body.json --config longshore.yaml").ended(5).said(&["image"]);
    let near = shell.run("hook url githbu --config longshore.yaml").ended(2);
    near.said(&["there is no source `githbu`", "did you mean `github`?"]);
    // A secret that the server does not have.
    shell.write("secrets/wrong", "wrong\n");
    shell.write("other.yaml", &text.replace("secrets/hook_github", "secrets/wrong"));
    let refused = shell.run("hook send github --config other.yaml").ended(5);
    refused.said(&["the signature in the request is not that of its body", "hint: "]);
}

#[test]
fn a_first_configuration_is_written_once() {
    let shell = Shell::new();
    let ran = shell.run("init --socket nowhere.sock").ended(0);
    ran.said(&["wrote longshore.yaml", "no engine told", "longshore check --config longshore.yaml"]);
    shell.run("check --config longshore.yaml").ended(0).said(&["can be used", "demo"]);
    let before = std::fs::read_to_string(shell.folder().join("longshore.yaml")).unwrap();
    shell.run("init").ended(2).said(&["is there already and is not overwritten", "--out", "--print"]);
    assert_eq!(std::fs::read_to_string(shell.folder().join("longshore.yaml")).unwrap(), before);
    let printed =
        shell.run("init --print --socket nowhere.sock --portainer https://p.example:9443/").ended(0);
    assert!(printed.stdout.contains("url: \"https://p.example:9443\""), "{}", printed.stdout);
    shell.run("init --print --portainer p.example").ended(2).said(&["`p.example` is no address"]);
    let mut running = Running::start(&shell, "--config longshore.yaml");
    let _url = running.url();
    shell.write("body.json", "{\"image\":\"demo:2\"}");
    let sent = shell.run("hook send local --body body.json --config longshore.yaml").ended(0);
    sent.said(&["default/demo"]);
}
