//! Configurations that cannot be used.

use crate::shell::Shell;

const FAULTY: &str = "version: 1\nlisten: 127.0.0.1:0\nlisen: x\nsystems:\n  lab: {kind: rehersal}\ntargets:\n  demo: {at: labb}\n";

#[test]
fn every_fault_is_told_with_its_line() {
    let shell = Shell::new();
    shell.write("longshore.yaml", FAULTY);
    for command in ["check", "up", "worker"] {
        let ran = shell.run(&format!("{command} --config longshore.yaml")).ended(2);
        ran.said(&[
            "longshore.yaml:5:15: systems.lab.kind",
            "longshore.yaml:7:14: targets.demo.at",
            "hint: ",
        ]);
    }
    shell.run("check --config longshore.yaml").ended(2).said(&["longshore.yaml:3:1", "lisen"]);
}

#[test]
fn a_file_that_is_not_there_is_told() {
    Shell::new().run("check --config nowhere.yaml").ended(2).said(&["nowhere.yaml", "no such file"]);
}

#[test]
fn the_configuration_in_the_readme_can_be_used() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let yaml = readme.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let shell = Shell::new();
    for secret in ["hook_registry", "hook_acr", "hook_ci", "acr"] {
        shell.write(&format!("secrets/{secret}"), "s3cret-of-the-readme\n");
    }
    let secrets = shell.folder().join("secrets");
    shell.write("longshore.yaml", &yaml.replace("/run/secrets", secrets.to_str().unwrap()));
    let ran = shell.run("check --config longshore.yaml").ended(0);
    ran.said(&["aliyun-acr", "shop", "harbor.acme.lan/shop/web:dev-*", "can be used"]);
}

#[test]
fn processes_of_their_own_need_a_broker() {
    let shell = Shell::new();
    shell.write("longshore.yaml", "queue: embedded\n");
    for command in ["ingress", "worker"] {
        let ran = shell.run(&format!("{command} --config longshore.yaml")).ended(2);
        ran.said(&["`embedded`", "longshore up"]);
    }
}

/// As people misspell, and what they are told.
const MISSPELT: &[(&str, &str, &str)] = &[
    ("sources: {h: {kind: docker-hub, key: x}}", "1:21: sources.h.kind", "did you mean `dockerhub`?"),
    ("sources: {h: {kind: plain, keyfile: x}}", "1:28: sources.h.keyfile", "did you mean `key_file`?"),
    ("sources: {h: {kind: plain}}", "1:14: sources.h", "give it `key_file`"),
    ("sources: [h]", "1:10: sources", "write `<name>: {…}`"),
    ("source: {}", "1:1: source", "did you mean `sources`?"),
    ("sources:\n\th: {kind: plain}", "2:2: ", "indent with spaces"),
    ("public_url: http://a: b", "1:21: ", "put quotes around a value"),
    (
        "systems: {s: {kind: swarm, host: /var/run/docker.sock}}",
        "systems.s.host",
        "unix:///var/run/docker.sock",
    ),
    ("systems: {s: {kind: rehersal}}", "systems.s.kind", "`rehearsal`"),
    (
        "systems: {Swarm: {kind: rehearsal}}\ntargets: {w: {at: swarm}}",
        "2:19: targets.w.at",
        "did you mean `Swarm`?",
    ),
    (
        "systems: {s: {kind: rehearsal}}\ntargets: {w: {at: s, follows: \"a:1\"}}",
        "targets.w.follows",
        "did you mean `follow`?",
    ),
    (
        "systems: {s: {kind: rehearsal}}\ntargets: {w: {at: s, follow: a}}",
        "targets.w.follow",
        "`a:latest` for one",
    ),
    ("registries: {r.lan: {user: a, password: b}}", "registries[\"r.lan\"].user", "did you mean `username`?"),
    ("listen: 8080", "1:9: listen", "write `127.0.0.1:8080`"),
    ("worker: {grace: 20}", "1:17: worker.grace", "`30s`"),
    ("data: ${NOT_SET_HERE}", "1:7: data", "set it where Longshore is started"),
    ("queue: {amqp: mq, user: u}", "1:8: queue", "give `password_file`"),
];

#[test]
fn what_is_misspelt_is_told_with_its_place_and_what_was_meant() {
    let shell = Shell::new();
    for (text, place, hint) in MISSPELT {
        shell.write("longshore.yaml", text);
        let ran = shell.run("check --config longshore.yaml").ended(2);
        for word in [*place, *hint] {
            assert!(ran.stderr.contains(word), "`{word}` is missing for {text}:\n{}", ran.stderr);
        }
    }
}

#[test]
fn of_several_files_the_later_wins_and_each_fault_names_its_own() {
    let shell = Shell::new();
    shell.write(
        "base.yaml",
        "systems: {lab: {kind: rehearsal}}\ntargets: {web: {at: lab, follow: \"acme/web:dev\"}}\n",
    );
    shell.write("office.yaml", "targets: {web: {follow: \"acme/web:live\"}, api: {at: lab}}\n");
    let ran = shell.run("check --config base.yaml --config office.yaml").ended(0);
    assert!(ran.stdout.contains("acme/web:live") && !ran.stdout.contains("acme/web:dev"), "{}", ran.stdout);
    assert!(ran.stdout.contains("api"), "{}", ran.stdout);
    shell.write("office.yaml", "\n\ntargets: {web: {at: lob}}\nlisten: here\n");
    shell.write("base.yaml", "systems: {lab: {kind: rehearsal}}\ntargets: {web: {follow: \"acme/web\"}}\n");
    let ran = shell.run("check --config base.yaml --config office.yaml").ended(2);
    ran.said(&[
        "base.yaml:2:25: targets.web.follow",
        "office.yaml:3:21: targets.web.at",
        "office.yaml:4:9: listen",
    ]);
}
