//! `deploy --from-ci-env`: what scripts in CI steps say, carried out with and without a fleet.

use std::{
    fs,
    path::Path,
    process::Child,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    fake_portainer::{API_KEY, BAD, COMPOSE, FakePortainer, Family, Mishap, PASSWORD, SWARM, USERNAME},
    front::Front,
    shell::{Ran, Shell, finish},
    up::Running,
};

const FILE: &str = "# by hand\nservices:\n  web:\n    image: acme/web:1\n  api: {image: 'acme/api:1'}\n";

/// Stacks 1 (`shop`) and 2 (`crm`) in a swarm, 3 (`till`) on a machine with Compose alone.
fn portainer() -> FakePortainer {
    let portainer = FakePortainer::start(Family::Synchronous, Duration::from_millis(200)).unwrap();
    let env = json!([{"name": "COLOR", "value": "red"}]);
    for (environment, name) in [(SWARM, "shop"), (SWARM, "crm"), (COMPOSE, "till")] {
        portainer.add_stack(environment, name, FILE, env.clone());
    }
    portainer
}

/// The variables of a step that deploys a development version to these places.
fn step(portainer: &FakePortainer, places: &str) -> Shell {
    Shell::new()
        .with("DEPLOY_ENV", "dev")
        .with("IMG_VERSION", "0.1.2")
        .with("CI_REGISTRY_IMAGE", "acme/web")
        .with("CI_DEV_DEPLOY_USER", USERNAME)
        .with("CI_DEV_DEPLOY_PWD", PASSWORD)
        .with("CI_DEV_DEPLOY_URL", &format!("{}/api", portainer.url()))
        .with("CI_DEV_DELPOY_PATH", places)
}

/// The line that tells of a place.
#[track_caller]
fn line_of(ran: &Ran, place: &str) -> String {
    let lines: Vec<&str> = ran.stdout.lines().filter(|line| line.starts_with(place)).collect();
    let [line] = lines[..] else { panic!("not one line of {place} in:\n{}\n{}", ran.stdout, ran.stderr) };
    line.to_owned()
}

#[track_caller]
fn without_password(ran: Ran) -> Ran {
    for printed in [&ran.stdout, &ran.stderr] {
        assert!(!printed.contains(PASSWORD), "the password was printed:\n{printed}");
    }
    ran
}

/// Every file below a directory that holds the password.
fn files_with_password(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files_with_password(&path, found);
        } else if let Ok(bytes) = fs::read(&path)
            && bytes.windows(PASSWORD.len()).any(|part| part == PASSWORD.as_bytes())
        {
            found.push(path.display().to_string());
        }
    }
}

/// Looks at a running command until it ends: at what it was started with, and at what it keeps.
fn watched(child: Child, folder: &Path) -> (Ran, usize) {
    let (mut child, mut looks, mut found) = (child, 0, Vec::new());
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() && began.elapsed() < Duration::from_secs(30) {
        let typed = fs::read(format!("/proc/{}/cmdline", child.id())).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&typed).contains(PASSWORD));
        files_with_password(folder, &mut found);
        looks += usize::from(fs::read_dir(folder).unwrap().next().is_some());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(found.is_empty(), "the password was written to {found:?}");
    (finish(child, "deploy --from-ci-env"), looks)
}

#[test]
fn without_a_fleet_all_places_are_deployed_in_one_go() {
    let portainer = portainer();
    let folder = tempfile::tempdir().unwrap();
    let shell = step(&portainer, "1/1/web, 1/1/api;2/3/web;").with("TMPDIR", folder.path().to_str().unwrap());
    let (ran, looks) = watched(shell.start("deploy --from-ci-env"), folder.path());
    let ran = without_password(ran.ended(0));
    for place in ["1/1/web", "1/1/api", "2/3/web"] {
        let line = line_of(&ran, place);
        assert!(line.contains("succeeded") && line.contains("acme/web:dev-0.1.2"), "{line}");
    }
    assert_eq!(ran.stdout.lines().count(), 3, "{}", ran.stdout);
    for (environment, stack, service) in
        [(SWARM, "shop", "web"), (SWARM, "shop", "api"), (COMPOSE, "till", "web")]
    {
        let image = portainer.image(environment, stack, service);
        assert!(image.starts_with("acme/web:dev-0.1.2"), "{stack}_{service}: {image}");
    }
    assert_eq!(portainer.image(COMPOSE, "till", "api"), "acme/api:1");
    // What the script lost: comments, and every variable of the stack.
    assert!(portainer.file(1).contains("# by hand"), "{}", portainer.file(1));
    assert_eq!(portainer.env(1), json!([{"name": "COLOR", "value": "red"}]));
    assert_eq!(portainer.logins(), 1, "one login serves all places");
    assert!(looks > 0, "its directory was never looked into");
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none(), "its directory was left behind");
}

/// A Portainer behind the certificate that it made itself, which bears names that nobody asks for it by.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_its_own_is_trusted_where_the_step_says_so() {
    let portainer = portainer();
    let front = Front::before(&portainer.url(), "first-start").await;
    let behind = || step(&portainer, "1/1/web").with("CI_DEV_DEPLOY_URL", &front.url);
    let ran = without_password(behind().run("deploy --from-ci-env").ended(1));
    let line = line_of(&ran, "1/1/web");
    assert!(line.contains("dead") && line.contains("is not trusted"), "{line}");
    ran.said(&["hint: set CI_DEV_DEPLOY_CA to"]);
    assert!(portainer.requests().is_empty(), "{:?}", portainer.requests());
    for given in [front.path("first-start.pem"), front.pem("first-start.pem")] {
        let ran =
            without_password(behind().with("CI_DEV_DEPLOY_CA", &given).run("deploy --from-ci-env").ended(0));
        assert!(line_of(&ran, "1/1/web").contains("succeeded"), "{}", ran.stdout);
    }
}

/// As with a forge's own registry: Portainer has its login, the engine that looks images up has not.
#[test]
fn an_image_of_a_private_registry_is_deployed_without_a_login_to_it() {
    for status in [401, 403] {
        let portainer = portainer();
        portainer.lock_registry(status);
        let ran = without_password(step(&portainer, "1/1/web;2/3/web").run("deploy --from-ci-env").ended(0));
        for place in ["1/1/web", "2/3/web"] {
            assert!(line_of(&ran, place).contains("succeeded"), "{}", ran.stdout);
        }
        assert!(portainer.image(SWARM, "shop", "web").starts_with("acme/web:dev-0.1.2"));
        assert_eq!(portainer.logins(), 1, "a registry's 401 is no reason to log in");
    }
}

#[test]
fn a_release_takes_what_is_latest_now() {
    let portainer = portainer();
    let release = || {
        step(&portainer, "")
            .with("DEPLOY_ENV", "release")
            .with("CI_PRO_DEPLOY_USER", USERNAME)
            .with("CI_PRO_DEPLOY_PWD", PASSWORD)
            .with("CI_PRO_DEPLOY_URL", &portainer.url())
            .with("CI_PRO_DELPOY_PATH", "1/2/web")
    };
    for digest in ["a", "b"] {
        let digest = format!("sha256:{}", digest.repeat(64));
        portainer.push("docker.io/acme/web:latest", &digest);
        let ran = without_password(release().run("deploy --from-ci-env").ended(0));
        assert!(line_of(&ran, "1/2/web").contains("acme/web:latest"), "{}", ran.stdout);
        assert_eq!(portainer.image(SWARM, "crm", "web"), format!("acme/web:latest@{digest}"));
    }
}

#[test]
fn one_place_that_fails_fails_the_step_and_the_others_are_deployed() {
    let portainer = portainer();
    let shell = step(&portainer, "1/1/web,1/2/nosuch;2/3/web");
    let ran = without_password(shell.run("--json deploy --from-ci-env").ended(1));
    let lines: Vec<serde_json::Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let state = |place: &str| {
        let line = lines.iter().find(|line| line["place"] == place);
        line.unwrap_or_else(|| panic!("no {place} in {}", ran.stdout))["state"].clone()
    };
    assert_eq!((state("1/1/web"), state("2/3/web")), (json!("succeeded"), json!("succeeded")));
    assert_eq!(state("1/2/nosuch"), "failed");
    let shell = step(&portainer, "1/1/web").with("IMG_VERSION", &format!("3{BAD}"));
    let ran = without_password(shell.run("deploy --from-ci-env").ended(1));
    assert!(line_of(&ran, "1/1/web").contains("failed"), "{}", ran.stdout);
}

/// Every place has its line, also one that nobody waited for.
#[test]
fn a_place_that_is_not_waited_for_has_its_line_too() {
    let portainer = portainer();
    portainer.roll_out_slowly(Duration::from_secs(3600));
    let shell = step(&portainer, "1/1/web;1/2/web");
    let ran = without_password(shell.run("deploy --from-ci-env --wait --timeout 5s").ended(124));
    for place in ["1/1/web", "1/2/web"] {
        let line = line_of(&ran, place);
        assert!(line.contains("not ended") && line.contains("not waited for any longer"), "{line}");
    }
}

#[test]
fn a_password_that_is_refused_is_told_without_it() {
    let portainer = portainer();
    let wrong = format!("{PASSWORD} of yesterday");
    let shell = step(&portainer, "1/1/web;1/2/web").with("CI_DEV_DEPLOY_PWD", &wrong);
    let ran = without_password(shell.run("deploy --from-ci-env").ended(1));
    for place in ["1/1/web", "1/2/web"] {
        assert!(line_of(&ran, place).contains("refuses the credentials"), "{}", ran.stdout);
    }
    assert!(!portainer.is_banned());
    assert!(portainer.puts().is_empty());
}

/// It lasts an hour, and the step half of one.
#[test]
fn a_ban_is_not_waited_for() {
    let portainer = portainer();
    let words = r#"{"message":"Access denied to resource","details":"Access denied to resource"}"#;
    portainer.befall_next("POST /api/auth", Mishap::Instead(403, words));
    let ran = without_password(step(&portainer, "1/1/web;1/2/web").run("deploy --from-ci-env").ended(1));
    for place in ["1/1/web", "1/2/web"] {
        let line = line_of(&ran, place);
        assert!(line.contains("dead") && line.contains("does not let this address log in"), "{line}");
    }
    ran.said(&["hint: look whether CI_DEV_DEPLOY_URL"]);
    assert!(portainer.puts().is_empty());
}

#[test]
fn everything_that_is_wrong_with_the_variables_is_told_at_once() {
    let ran = Shell::new().run("deploy --from-ci-env").ended(2);
    ran.said(&["DEPLOY_ENV is not set", "IMG_VERSION is not set", "CI_REGISTRY_IMAGE is not set", "hint: "]);
    let portainer = portainer();
    let shell = step(&portainer, "1/one/web").with("CI_DEV_DEPLOY_USER", "").with("CI_REGISTRY_IMAGE", "A B");
    let ran = without_password(shell.run("deploy --from-ci-env").ended(2));
    let ran = ran.said(&["names `1/one/web`", "CI_DEV_DEPLOY_USER is not set", "CI_REGISTRY_IMAGE is `A B`"]);
    ran.said(&["the variables of this step cannot be used (3 faults)"]);
    assert!(portainer.requests().is_empty());
    Shell::new().run("deploy --from-ci-env web --image a:1").ended(2).said(&["cannot be used with"]);
    Shell::new().run("deploy").ended(2).said(&["--image"]);
}

/// The fleet has a key of its own, and two environments of that Portainer in its configuration.
fn fleet(portainer: &FakePortainer) -> (Shell, Running) {
    let shell = Shell::new();
    let url = portainer.url();
    shell.write(
        "longshore.yaml",
        &format!(
            "version: 1\ndata: kept\nsystems:\n  docks: {{kind: portainer, url: '{url}/', api_key: {API_KEY}, environment: production}}\n  \
             office: {{kind: portainer, url: '{url}', api_key: {API_KEY}, environment: office}}\n  lab: {{kind: rehearsal}}\n\
             targets:\n  shop: {{at: docks, stack: shop, stable: 200ms}}\n  till: {{at: office, stack: till, stable: 200ms}}\n  \
             demo: {{at: lab}}\n"
        ),
    );
    let up = Running::start(&shell, "--config longshore.yaml");
    (shell, up)
}

#[test]
fn through_a_fleet_a_place_is_its_target_and_no_password_is_sent() {
    let portainer = portainer();
    let (of_the_fleet, mut up) = fleet(&portainer);
    let url = up.url();
    let token = fs::read_to_string(of_the_fleet.folder().join("kept/admin-token")).unwrap();
    let through = |places: &str| {
        step(&portainer, places).with("LONGSHORE_URL", &url).with("LONGSHORE_TOKEN", token.trim())
    };
    let ran = without_password(through("1/1/web;2/3/web").run("deploy --from-ci-env").ended(0));
    for place in ["1/1/web", "2/3/web"] {
        assert!(line_of(&ran, place).contains("succeeded"), "{}", ran.stdout);
    }
    assert!(portainer.image(SWARM, "shop", "web").starts_with("acme/web:dev-0.1.2"));
    assert!(portainer.image(COMPOSE, "till", "web").starts_with("acme/web:dev-0.1.2"));
    let job = of_the_fleet.run("jobs --target shop --data kept").ended(0);
    job.said(&["acme/web:dev-0.1.2"]);
    // Neither is needed, and neither is used.
    let without = through("1/1/web").with("CI_DEV_DEPLOY_USER", "").with("CI_DEV_DEPLOY_PWD", "");
    without.run("deploy --from-ci-env").ended(0);
    assert_eq!(portainer.logins(), 0);
    let mut found = Vec::new();
    files_with_password(of_the_fleet.folder(), &mut found);
    assert!(found.is_empty(), "{found:?}");

    let puts = portainer.puts().len();
    // Those that are no targets have their line, and keep nobody else from being deployed.
    let newer = through("1/2/web;1/1/web;1/3/web").with("IMG_VERSION", "0.1.3");
    let ran = without_password(newer.run("deploy --from-ci-env").ended(2));
    assert!(line_of(&ran, "1/1/web").contains("succeeded"), "{}", ran.stdout);
    for (place, stack) in [("1/2/web", 2), ("1/3/web", 3)] {
        let line = line_of(&ran, place);
        let why =
            format!("the stack {stack} of the environment 1 is no target of this fleet's workers (add it to");
        assert!(line.contains("not asked for") && line.contains(&why), "{line}");
    }
    assert!(portainer.image(SWARM, "shop", "web").starts_with("acme/web:dev-0.1.3"));
    let puts = puts + 1;
    without_password(through("1/2/web").run("--json deploy --from-ci-env").ended(2));
    let elsewhere = through("1/1/web").with("CI_DEV_DEPLOY_URL", "https://other.lan:9443");
    elsewhere.run("deploy --from-ci-env").ended(2).said(&["no worker", "CI_DEV_DEPLOY_URL", "`systems`"]);
    assert_eq!(portainer.puts().len(), puts, "nothing was written");
}
