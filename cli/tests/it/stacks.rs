//! Stacks: what is sent for what is typed, and what is printed of a text.

use serde_json::json;

use crate::{
    fake::{Answer, Fake, JOB, accepted, problem},
    shell::Shell,
};

const COMPOSE: &str = "services: {web: {image: 'acme/web:${TAG}'}}\n";

#[test]
fn a_compose_file_is_sent_with_its_variables_and_files_and_secrets_by_name() {
    let fake = Fake::start(|_, _| accepted());
    let shell = Shell::at(&fake.url).with("REGION", "eu");
    shell.write("shop/compose.yml", COMPOSE);
    shell.write("shop/conf/nginx.conf", "listen 80;");
    shell.write("shop.env", "# variables\nTAG=1\nNAME=\"a b\"\n");
    let typed = "stack deploy web --file shop/compose.yml --env-file shop.env --env TAG=2 --env REGION --secret-env \
                 DB=shop_db --with conf/nginx.conf --secret-file key.pem=shop_key --prune";
    shell.run(typed).ended(0).said(&[JOB, "longshore watch"]);
    let asked = &fake.asked()[0];
    assert_eq!(asked.line, "POST /v1/jobs");
    let operation = json!({
        "type": "deploy-stack", "compose": COMPOSE, "prune": true,
        "env": {"TAG": "2", "NAME": "a b", "REGION": "eu", "DB": {"from": "shop_db"}},
        "files": {"conf/nginx.conf": "listen 80;", "key.pem": {"from": "shop_key"}},
    });
    assert_eq!(asked.body, json!({"target": "default/web", "operation": operation}));

    shell.run("stack remove web --force").ended(0);
    let removal = json!({"type": "remove-stack", "force": true});
    assert_eq!(fake.asked()[1].body, json!({"target": "default/web", "operation": removal}));
}

#[test]
fn mistakes_are_told_before_anything_connects() {
    let shell = Shell::new();
    shell.write("compose.yml", COMPOSE);
    shell.write("bad.env", "TAG=1\nnonsense\n");
    shell.write("empty.yml", "");
    for (typed, words) in [
        ("--file none.yml", "cannot read `none.yml`"),
        ("--file empty.yml", "the compose text is empty"),
        ("--file compose.yml --env LD_PRELOAD=x", "`LD_PRELOAD` would change"),
        ("--file compose.yml --env NOT_SET", "this shell's environment has none"),
        ("--file compose.yml --env-file bad.env", "bad.env:2: this is no `NAME=VALUE`"),
        ("--file compose.yml --secret-env DB", "`--secret-env` names no secret"),
        ("--file compose.yml --with ../compose.yml", "cannot read"),
    ] {
        shell.run(&format!("stack deploy web {typed}")).ended(2).said(&[words]);
    }
}

#[test]
fn the_text_of_a_stack_is_printed_as_it_was_deployed() {
    let deployed = json!({"by": JOB, "text": {"compose": COMPOSE, "env": {"DB": {"from": "shop_db"}}}});
    let fake = Fake::start(move |asked, before| {
        assert_eq!(asked.line, "GET /v1/targets/default/web");
        let mut status = json!({
            "target": "default/web", "system": "swarm", "follows": [], "deadline": "1h",
            "now": {"kind": "swarm-stack", "images": [], "running": true},
        });
        if before < 2 {
            status["now"]["deployed"] = deployed.clone();
        }
        Answer::Json(200, status)
    });
    let shell = Shell::at(&fake.url);
    assert_eq!(shell.run("stack show web").ended(0).stdout, COMPOSE);
    shell.run("stack show web --json").ended(0).said(&[JOB, "\"from\":"]);
    shell.run("stack show web").ended(1).said(&["was not deployed from a compose file"]);
}

#[test]
fn a_target_that_cannot_be_looked_at_is_named_in_the_list() {
    let target = |name: &str| json!({"target": name, "system": "swarm", "follows": [], "deadline": "1h"});
    let fake = Fake::start(move |asked, _| match asked.line.as_str() {
        "GET /v1/targets" => {
            Answer::Json(200, json!({"targets": [target("default/api"), target("default/web")]}))
        }
        "GET /v1/targets/default/api" => {
            problem(503, "no-worker", "no worker of the pool `default` answers", "start one")
        }
        _ => {
            let mut status = target("default/web");
            let text = json!({"compose": COMPOSE});
            status["now"] = json!({
                "kind": "swarm-stack", "images": [], "running": true, "deployed": {"by": JOB, "text": text},
            });
            Answer::Json(200, status)
        }
    });
    let shell = Shell::at(&fake.url);
    let listed = shell.run("stack list").ended(0);
    assert!(listed.stdout.starts_with(&format!("default/web  deployed by {JOB}")), "{}", listed.stdout);
    listed.said(&["`default/api` could not be looked at: ", "no worker of the pool `default` answers"]);
}
