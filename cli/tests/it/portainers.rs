//! Every stack of a Portainer is listed, be it a target or not.

use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};

use crate::{
    fake_portainer::{API_KEY, COMPOSE, FakePortainer, Family, SWARM},
    shell::Shell,
    up::Running,
};

const FILE: &str = "services:\n  web: {image: 'acme/web:1'}\n  api: {image: 'acme/api:1'}\n";

#[test]
fn every_stack_is_listed_with_the_variables_of_its_main_container() {
    let portainer = FakePortainer::start(Family::Synchronous, std::time::Duration::from_millis(50)).unwrap();
    let env = json!([{"name": "COLOR", "value": "red"}, {"name": "DB_PASSWORD", "value": "sup3rs3cret"}]);
    for (environment, name) in [(SWARM, "shop"), (COMPOSE, "web"), (COMPOSE, "till")] {
        portainer.add_stack(environment, name, FILE, env.clone());
    }
    portainer.keep_in_git(3);
    let open = "https://git.example/web.git";
    portainer.keep_in_open_git(2, open, "deploy/docker-compose.yml");
    let about = json!({"name": "web", "edition": [{"dist": "community"}], "admin_password": "sup3rs3cret"});
    portainer.push_beside(open, "deploy/variables.json", &about.to_string());
    // Its stack names no branch: the repository's own is meant.
    portainer.begin_git_at(open, "refs/heads/trunk");
    let shell = Shell::new();
    let url = portainer.url();
    shell.write(
        "longshore.yaml",
        &format!(
            "version: 1\ndata: kept\nsystems:\n  docks: {{kind: portainer, url: '{url}', api_key: {API_KEY}, environment: production}}\n  \
             office: {{kind: portainer, url: '{url}', api_key: {API_KEY}, environment: office}}\n  \
             away: {{kind: portainer, url: 'http://127.0.0.1:1', api_key: {API_KEY}}}\n\
             targets:\n  shop: {{at: docks, stack: shop}}\n  main: {{at: office, stack: web}}\n"
        ),
    );
    let mut up = Running::start(&shell, "--config longshore.yaml");
    up.url();
    let ran = shell.run("targets --stacks --data kept").ended(1);
    ran.said(&["docks (production)", "1/1", "default/shop", "acme/web:1", "till", "cannot reach away"]);
    let ran = shell.run("targets --stacks --data kept --json").ended(1);
    assert!(
        !ran.stdout.contains("sup3rs3cret") && !ran.stdout.contains("of the container"),
        "{}",
        ran.stdout
    );
    let list: Value = serde_json::from_str(&ran.stdout).unwrap();
    let stack = |name: &str| {
        let stacks = list["stacks"].as_array().unwrap().iter();
        stacks
            .clone()
            .find(|stack| stack["name"] == name)
            .unwrap_or_else(|| panic!("no {name}: {list}"))
            .clone()
    };
    // The main container is the one that is named after the stack.
    let env = json!({"COLOR": "red", "DB_PASSWORD": "…", "PORT": "web", "POWER_PASSWORD": "…"});
    assert_eq!((&stack("web")["env"], &stack("web")["target"]), (&env, &json!("default/main")));
    let about = json!({"name": "web", "edition": [{"dist": "community"}], "admin_password": "…"});
    assert_eq!((&stack("web")["variables"], &stack("till")["variables"]), (&about, &Value::Null));
    assert_eq!(stack("till")["repository"], "https://git.example/shop.git");
    assert_eq!(stack("till")["reference"], "refs/heads/main");
    assert_eq!((&stack("till")["target"], &stack("till")["stack"]), (&Value::Null, &json!(3)));
    assert_eq!(stack("shop")["kind"], "swarm");
    let ran = shell.run("target show main --data kept").ended(0);
    ran.said(&[
        "number    2/2",
        "variable  COLOR=red",
        "variable  DB_PASSWORD=…",
        "variable  PORT=web",
        "about     name: web",
        r#"about     edition: [{"dist":"community"}]"#,
    ]);
}

/// A Portainer that takes connections and never answers; how many it took.
fn silent() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, taken) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&taken);
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept() {
            counted.fetch_add(1, Ordering::SeqCst);
            kept.push(stream);
        }
    });
    (port, taken)
}

#[test]
fn what_was_deployed_is_printed_and_no_other_portainer_is_asked_for_it() {
    let portainer = FakePortainer::start(Family::Synchronous, std::time::Duration::from_millis(50)).unwrap();
    portainer.add_stack(SWARM, "shop", FILE, json!([{"name": "DB_PASSWORD", "value": "sup3rs3cret"}]));
    let kept_in_git = portainer.add_stack(SWARM, "blog", FILE, json!([]));
    portainer.keep_in_git(kept_in_git);
    let (port, taken) = silent();
    let shell = Shell::new();
    let url = portainer.url();
    shell.write(
        "longshore.yaml",
        &format!(
            "version: 1\ndata: kept\nsystems:\n  docks: {{kind: portainer, url: '{url}', api_key: {API_KEY}, environment: production}}\n  \
             silent: {{kind: portainer, url: 'http://127.0.0.1:{port}', api_key: {API_KEY}}}\n\
             targets:\n  shop: {{at: docks, stack: shop, stable: 200ms}}\n  blog: {{at: docks, stack: blog}}\n"
        ),
    );
    let mut up = Running::start(&shell, "--config longshore.yaml");
    up.url();
    shell.run("stack show shop --data kept").ended(1).said(&["was not deployed from a compose file"]);
    shell.write("compose.yml", &FILE.replace("api:1", "api:2"));
    shell.run("stack deploy shop --file compose.yml --adopt --wait --timeout 2m --data kept").ended(0);
    let ran = shell.run("stack show shop --data kept").ended(0);
    assert_eq!(
        ran.stdout,
        FILE.replace("api:1", "api:2"),
        "what is noted at its head is not part of the text"
    );
    ran.said(&["DB_PASSWORD"]);
    let ran = shell.run("stack show shop --data kept --json").ended(0);
    assert!(!ran.stdout.contains("sup3rs3cret"), "{}", ran.stdout);
    shell.run("stack list --data kept").ended(0).said(&["default/shop  deployed by"]);
    let git = "is kept in git: https://git.example/shop.git, refs/heads/main";
    shell.run("stack show blog --data kept").ended(1).said(&[git]);
    shell.run("target show shop --data kept").ended(0).said(&["variable  DB_PASSWORD=…", "number    1/1"]);
    assert_eq!(taken.load(Ordering::SeqCst), 0, "nobody asked for its stacks");
}
