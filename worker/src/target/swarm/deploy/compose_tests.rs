//! What is read of compose texts, and what they look like after an edit.

use proto::{Given, Named};
use serde_json::{Value, json};

use super::*;

fn text(compose: &str) -> StackText {
    let mut text = StackText::of(compose);
    for (name, value) in [("TAG", "1.2"), ("FILE", "/etc/shadow")] {
        text.env.insert(name.to_owned(), Given::Value(value.to_owned()));
    }
    text.env.insert("KEY".to_owned(), Given::Secret(Named { from: "key".to_owned() }));
    text.files.insert("nginx.conf".to_owned(), Given::Value("x".to_owned()));
    text
}

fn read(compose: &str) -> Compose {
    Compose::read(&text(compose)).unwrap()
}

fn refused(compose: &str) -> String {
    Compose::read(&text(compose)).unwrap_err()
}

/// The text after an edit of `web`, read again as a YAML reader does, every scalar as text.
fn edited(compose: &str, labels: &[(&'static str, &str)]) -> Value {
    let mut compose = read(compose);
    let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    compose.edit("web", &Edit { image: "r.lan/web:2@sha256:1".to_owned(), replicas: None, labels }).unwrap();
    fn value(tree: &Tree) -> Value {
        match tree {
            Tree::Scalar { text, plain: true } => json!({ "plain": text }),
            Tree::Scalar { text, .. } => json!(text),
            Tree::List(list) => list.iter().map(value).collect(),
            Tree::Map(map) => {
                Value::Object(map.iter().map(|(key, tree)| (key.clone(), value(tree))).collect())
            }
        }
    }
    let again = Document::parse("again", &compose.to_text()).unwrap();
    value(&Tree::of(again.root()))
}

#[test]
fn marks_join_the_labels_in_either_form_and_the_image_is_replaced() {
    let mark = [("longshore.job", "j")];
    for (deploy, expected) in [
        ("", json!({"longshore.job": "j"})),
        ("    deploy:\n", json!({"longshore.job": "j"})),
        ("    deploy: {labels: }\n", json!({"longshore.job": "j"})),
        ("    deploy: {labels: {a: 'b', longshore.job: old}}\n", json!({"a": "b", "longshore.job": "j"})),
        (
            "    deploy:\n      labels:\n        - a=b\n        - \"longshore.good=x\"\n        - alone\n",
            json!([{"plain": "alone"}, "a=b", "longshore.job=j"]),
        ),
    ] {
        let after = edited(&format!("services:\n  web:\n    image: web:1\n{deploy}"), &mark);
        let web = &after["services"]["web"];
        assert_eq!(web["image"], "r.lan/web:2@sha256:1");
        let mut labels = web["deploy"]["labels"].clone();
        if let Some(list) = labels.as_array_mut() {
            list.sort_by_key(|item| item.is_string());
        }
        assert_eq!(labels, expected, "{deploy}");
        assert_eq!(after["version"], "3.9");
    }
    let follow = edited(
        "services: {web: {image: a, deploy: {labels: {longshore.follow: 'a:*'}}}}",
        &[("longshore.job", "$j")],
    );
    let labels = json!({"longshore.follow": "a:*", "longshore.job": "$$j"});
    assert_eq!(follow["services"]["web"]["deploy"]["labels"], labels);
}

#[test]
fn anchors_are_written_out_and_each_service_gets_marks_of_its_own() {
    let after = edited(
        "version: '3.7'\nx-base: &base\n  image: 'web:${TAG}'\n  deploy: &d {replicas: 2, labels: {team: a}}\nservices:\n  \
         web:\n    <<: *base\n    command: [sh, -c, 'echo $$HOME']\n  api:\n    <<: *base\n    deploy: *d\n",
        &[("longshore.job", "j")],
    );
    let (web, api) = (&after["services"]["web"], &after["services"]["api"]);
    assert_eq!(
        web["deploy"],
        json!({"replicas": {"plain": "2"}, "labels": {"team": {"plain": "a"}, "longshore.job": "j"}})
    );
    assert_eq!(api["deploy"], json!({"replicas": {"plain": "2"}, "labels": {"team": {"plain": "a"}}}));
    assert_eq!(api["image"], "web:${TAG}");
    assert_eq!(web["command"][2], "echo $$HOME");
    assert_eq!(after["version"], "3.7");
}

#[test]
fn what_may_be_more_than_text_stays_without_quotes_and_text_stays_text() {
    let body = "image: a\n    a: yes\n    b: 'yes'\n    c: 0o17\n    d: 1.50\n    e: ~\n    f:\n    g: 80:80\n    h: \"1\"\n    \
                i: |\n      two\n      lines\n    j: 'it''s \"so\"'\n    k: -.5\n    l: !!str 7\n    m: [1, {x: 2024-01-01}]\n    n: --\n";
    let compose = read(&format!("services:\n  web:\n    {body}"));
    let written = compose.to_text();
    for part in [
        r#""a": yes,"#,
        r#""b": "yes","#,
        r#""c": 0o17,"#,
        r#""d": 1.50,"#,
        r#""e": null,"#,
        r#""f": null,"#,
        r#""g": "80:80","#,
        r#""h": "1","#,
        r#""i": "two\nlines\n","#,
        r#""j": "it's \"so\"","#,
        r#""k": -.5,"#,
        r#""l": "7","#,
        r#""m": [1, {"x": 2024-01-01}],"#,
        r#""n": "--"}"#,
    ] {
        assert!(written.contains(part), "{part}\n---\n{written}");
    }
    // Read and written again, nothing changes any more.
    assert_eq!(read(&written).to_text(), written);
}

#[test]
fn images_are_told_with_their_variables_filled_in() {
    let compose = "services:\n  web: {image: 'r.lan/web:${TAG}'}\n  api: {image: 'r.lan/api:${NONE:-3}'}\n";
    let sent = text(compose);
    let read = Compose::read(&sent).unwrap();
    assert_eq!(read.services().unwrap(), ["web", "api"]);
    assert_eq!(read.image("web", &sent).unwrap().to_string(), "r.lan/web:1.2");
    assert_eq!(read.image("api", &sent).unwrap().to_string(), "r.lan/api:3");
    let secret = refused("services: {web: {image: 'r.lan/web:${KEY}'}}");
    assert!(secret.contains("`web`") && secret.contains("`KEY` is a secret"), "{secret}");
    assert!(refused("services: {web: {ports: ['80:80']}}").contains("`web` has no `image`"));
}

#[test]
fn nothing_is_read_from_the_workers_machine() {
    for (compose, place) in [
        ("configs: {c: {file: /etc/passwd}}", "configs.c.file"),
        ("configs: {c: {file: '${FILE}'}}", "configs.c.file"),
        ("configs: {c: {file: ../nginx.conf}}", "configs.c.file"),
        ("secrets: {s: {file: '${KEY}'}}", "secrets.s.file"),
        ("x: &x {file: /etc/passwd}\nsecrets: {s: {<<: *x}}", "secrets.s.file"),
    ] {
        let told = refused(&format!("{compose}\nservices: {{web: {{image: a}}}}\n"));
        assert!(told.contains(place), "{compose}: {told}");
    }
    for (service, what) in [
        ("env_file: /proc/self/environ", "services.web.env_file"),
        ("env_file: [nginx.conf, other.env]", "`other.env`"),
        ("env_file: {path: a}", "is no path"),
        ("volumes: ['./data:/data']", "`./data`"),
        ("volumes: [{type: bind, source: ~/x, target: /x}]", "`~/x`"),
        ("build: .", "`build`"),
    ] {
        let told = refused(&format!("services: {{web: {{image: a, {service}}}}}\n"));
        assert!(told.contains(what), "{service}: {told}");
    }
    let good = "configs: {c: {file: ./nginx.conf}, d: {external: true}}\nservices:\n  web:\n    image: a\n    env_file: \
                nginx.conf\n    volumes: ['data:/data', '/srv:/srv', /anonymous, {type: volume, source: d, target: /d}]\n";
    assert!(read(good).to_text().contains(r#""c": {"file": "nginx.conf"}"#));
}

#[test]
fn what_is_no_compose_text_is_refused_with_its_line() {
    assert!(refused("services: [a\n").contains("compose text:"), "{}", refused("services: [a\n"));
    assert!(refused("services: {a: 1, a: 2}").contains("compose text:1"), "twice");
    assert!(refused("version: '3'").contains("no `services`"));
    assert!(refused("services: [a]").contains("no map"));
    assert!(refused("services:").contains("no `services`"));
    let mut odd = read("services: {web: {image: a, deploy: [x]}}");
    assert!(odd.edit("web", &Edit::default()).unwrap_err().contains("`deploy` of the service `web`"));
}

#[test]
fn a_count_that_stands_takes_the_place_of_the_texts() {
    let mut compose = read("services: {web: {image: a, deploy: {replicas: 3}}}");
    compose.edit("web", &Edit { image: "a".to_owned(), replicas: Some(0), labels: Vec::new() }).unwrap();
    assert!(compose.to_text().contains(r#""replicas": 0,"#), "{}", compose.to_text());
}
