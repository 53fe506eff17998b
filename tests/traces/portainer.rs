//! Portainer 2.23.0, and what 2.19.5 and 2.14.2 do otherwise.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tests::fake_portainer::{
    API_KEY, BAD, COMPOSE, FakePortainer, Family, Mishap, PASSWORD, SWARM, USERNAME,
};
use tests::wait::eventually;

use crate::account::{Account, Known};
use crate::shape::differences;
use crate::trace::{Told, Trace};

const RECORDING: &str = include_str!("portainer.jsonl");

/// What counts beside its kind.
const SAME: [&str; 8] = [
    "$.Status",
    "$.Type",
    "$.Name",
    "$.Env",
    "$.Option",
    "$.FromAppTemplate",
    "$.StackFileContent",
    "$[].UpdateStatus.State",
];

/// What no worker asks, and why.
const NOT_ASKED: [(&str, &str); 3] = [
    ("api key create", "people make keys, workers do not"),
    ("swarm id", "workers ask `docker/info`, which shows no join tokens"),
    ("webhook same commit", "what a webhook answers is no deploy: workers redeploy"),
];

const KNOWN: [Known; 13] = [
    ("endpoints by name", "left out $[]*", "id, name and kind are all that is read of an environment"),
    ("create*", "kind $.ResourceControl: null for map", "who may see a stack is not read"),
    ("record after partly failing put", "kind $.ResourceControl: null for map", "the same"),
    ("compose stack record after the down", "kind $.ResourceControl: null for map", "the same"),
    ("good then broken: good", "words *", "the fake knows one way for YAML to be broken"),
    ("engine down: compose put", "words *", "what Compose had asked the engine is left out"),
    ("*", "left out $[].Portainer", "who may see a service is not read"),
    ("*", "left out $[].Endpoint", "ports are not read"),
    ("*", "left out $[].PreviousSpec.*", "of the spec before, the image is read"),
    ("*", "left out $[].ServiceStatus", "it counts old and new tasks together, so it is not read"),
    ("*", "left out $[].Spec.*", "of a spec, image, labels, mode and what an update is watched by are read"),
    ("*tasks", "left out $[].Status.*", "of a task's state, itself, its time and its error are read"),
    ("*tasks", "left out $[].*", "labels, networks and versions of tasks are not read"),
];

/// Long enough that no rollout ends in a test, and none at all.
const NEVER: Duration = Duration::from_secs(3600);
const AT_ONCE: Duration = Duration::ZERO;
const PATIENCE: Duration = Duration::from_secs(60);

const FILE: &str = "services:\n  web: {image: 'registry.example/app:1'}\n";

#[tokio::test]
async fn the_fake_answers_as_the_recorded_ones_did() {
    let traces = Trace::all(RECORDING);
    let mut account = Account::of(&KNOWN);
    for trace in &traces {
        let is_left_out = NOT_ASKED.iter().any(|(case, _)| *case == trace.case);
        if is_left_out || trace.case.starts_with("good then broken") {
            continue;
        }
        let scene = Scene::of(trace, &traces).await;
        let (recorded, told) = scene.play(trace).await;
        account.note(&trace.case, differences(&recorded, &told, &SAME));
    }
    for (trace, recorded, told) in two_writes_at_once(&traces).await {
        account.note(&trace, differences(&recorded, &told, &SAME));
    }
    for (case, why) in NOT_ASKED {
        assert!(traces.iter().any(|trace| trace.case == case), "{case}: {why}");
    }
    account.close("portainer", traces.len());
}

/// Both write the file before the first one's turn has come, and there is one copy to put back.
async fn two_writes_at_once(traces: &[Trace]) -> Vec<(String, Told, Told)> {
    let [good, broken] =
        ["good then broken: good", "good then broken: broken"].map(|case| named(traces, case));
    let scene = Scene::of(good, traces).await;
    scene.fake.deploy_slowly(Duration::from_secs(2));
    let broken_is_sent = async {
        let came = || async { ensure(scene.fake.puts().len() == 1, "it did not come") };
        eventually(PATIENCE, "the first write", came).await.unwrap();
        scene.play(broken).await
    };
    let (first, second) = tokio::join!(scene.play(good), broken_is_sent);
    vec![(good.case.clone(), first.0, first.1), (broken.case.clone(), second.0, second.1)]
}

fn ensure(holds: bool, otherwise: &'static str) -> Result<()> {
    anyhow::ensure!(holds, otherwise);
    Ok(())
}

fn named<'a>(traces: &'a [Trace], case: &str) -> &'a Trace {
    traces.iter().find(|trace| trace.case == case).unwrap()
}

/// A fake as the recorded server stood when it was asked.
struct Scene {
    fake: FakePortainer,
    stack: u64,
    environment: u64,
    jwt: String,
    /// The service that is asked for by its id.
    service: String,
}

impl Scene {
    async fn of(trace: &Trace, traces: &[Trace]) -> Scene {
        let case = trace.case.as_str();
        let is_old = !trace.server.contains("2.23.0");
        let family = if is_old { Family::Old } else { Family::Synchronous };
        let goes_on = ["start with network", "rollout 2", "rollout 3", "reput"];
        let rollout = if goes_on.iter().any(|known| case.starts_with(known)) { NEVER } else { AT_ONCE };
        let fake = FakePortainer::start(family, rollout).unwrap();
        let environment =
            if case.contains("compose") || case.contains("standalone") { COMPOSE } else { SWARM };
        let (name, file) = stood(trace);
        let env = match trace.method.as_str() {
            "PUT" => json!([]),
            _ if case.starts_with("record after partly") => json!([{"name": "COLOR", "value": "base"}]),
            _ => trace.answer.body.get("Env").cloned().unwrap_or_default(),
        };
        let stack = fake.add_stack(environment, &name, &file, env);
        let mut scene = Scene { fake, stack, environment, jwt: String::new(), service: String::new() };
        scene.prepare(trace, traces).await;
        scene
    }

    async fn prepare(&mut self, trace: &Trace, traces: &[Trace]) {
        if trace.headers.iter().any(|(_, value)| value.contains("<JWT>")) {
            let (_, told) = self.play(named(traces, "login ok, lower-case keys")).await;
            self.jwt = told.body["jwt"].as_str().unwrap().to_owned();
        }
        match trace.case.as_str() {
            case if case.starts_with("rate limit") => {
                self.be_banned(named(traces, "login bad password")).await
            }
            case if case.starts_with("engine down") => {
                self.fake.stop_engine(if case.ends_with("proxy") { COMPOSE } else { self.environment }, true);
            }
            "record after partly failing put" => drop(self.play(named(traces, "put partly failing")).await),
            "put: update out of sequence" => self.fake.meddle_with_next_deploy(),
            "server stopped during put" => self.fake.befall_next("PUT", Mishap::DiesUnder),
            "client timeout" => self.fake.deploy_slowly(NEVER),
            "start with network at once" => drop(self.play(named(traces, "stop swarm")).await),
            "create swarm over a leftover" => self.fake.forget(self.stack),
            "non-admin: put on an admin stack" => self.fake.hide(&[self.stack]),
            _ => {}
        }
        if trace.path.contains("/git") || trace.case.contains("git") {
            self.be_in_git(trace, traces).await;
        }
        if trace.path.contains("/docker/") {
            self.roll_out(&trace.case).await;
        }
    }

    async fn be_banned(&self, bad_login: &Trace) {
        let burst = || async {
            futures::future::join_all((0..20).map(|_| self.play(bad_login))).await;
            ensure(self.fake.is_banned(), "nobody is banned")
        };
        eventually(PATIENCE, "a ban", burst).await.unwrap();
    }

    async fn be_in_git(&mut self, trace: &Trace, traces: &[Trace]) {
        self.fake.push_git("http://git.example/priv/stack.git", FILE, Some("<GIT_PASSWORD>"));
        let create = named(traces, "create swarm from git");
        if trace.case != create.case {
            let (_, told) = self.play(create).await;
            self.stack = told.body["Id"].as_u64().unwrap();
        }
        if trace.case == "plain put on a git stack" {
            drop(self.play(named(traces, "git settings auth omitted (private repo)")).await);
        }
    }

    /// What rolls out when the engine is asked.
    async fn roll_out(&mut self, case: &str) {
        let next = FILE.replace(":1'", ":2'");
        let bad = FILE.replace(":1'", &format!(":2{BAD}'"));
        let goes_back = bad.replace("'}", "', deploy: {update_config: {failure_action: rollback}}}");
        let file = match case {
            case if case.starts_with("bad image") => bad,
            case if case.starts_with("rollback") => goes_back,
            _ => next,
        };
        self.fake.deploy_by_hand(self.stack, &file);
        if case.starts_with("reput") {
            self.fake.deploy_by_hand(self.stack, &file);
        }
        let services = self.fake.services();
        services[0]["ID"].as_str().unwrap_or_default().clone_into(&mut self.service);
    }

    /// What was recorded, and what the fake says, both in the fake's names.
    async fn play(&self, trace: &Trace) -> (Told, Told) {
        let mut asked = trace.clone();
        asked.renamed(|text| self.renamed(&trace.case, text));
        let patience = if trace.case == "client timeout" { Duration::from_secs(1) } else { PATIENCE };
        let told = asked.asked_of(&self.fake.url(), patience).await;
        (asked.answer, told)
    }

    fn renamed(&self, case: &str, text: &str) -> String {
        let mut text = match text {
            "admin" => USERNAME.to_owned(),
            text => text.to_owned(),
        };
        for (from, to) in [
            ("<API_KEY>", API_KEY),
            ("<JWT>", &self.jwt),
            ("<PASSWORD>", PASSWORD),
            ("name=second", "name=office"),
            ("app:nosuch", "app:nosuch-missing"),
            ("lhekrzbshghpxsnf5l1h6gxl9", &self.service),
        ] {
            text = text.replace(from, to);
        }
        let is_wrong_on_purpose = case.contains("wrong endpointId");
        if !is_wrong_on_purpose {
            for known in ["endpointId=1", "endpointId=2"] {
                text = text.replace(known, &format!("endpointId={}", self.environment));
            }
        }
        with_stack(&text, self.stack)
    }
}

/// The stack that stood there: its name and its file.
fn stood(trace: &Trace) -> (String, String) {
    let name = trace.answer.body["Name"].as_str();
    let name = match trace.case.as_str() {
        case if case.starts_with("create") && !case.contains("taken") && !case.contains("leftover") => {
            "other"
        }
        case if case.contains("git") || case.starts_with("redeploy") => "other",
        "put partly failing" => "part",
        "start with network at once" => "netty",
        "engine down: compose put" => "farc",
        _ => name.unwrap_or("myapp"),
    };
    let file = match trace.case.as_str() {
        "get file" => trace.answer.body["StackFileContent"].as_str().unwrap_or_default(),
        "start with network at once" => "services:\n  net: {image: 'registry.example/app:1'}\n",
        _ => FILE,
    };
    (name.to_owned(), file.to_owned())
}

/// The id of a stack in an address is the fake's own.
fn with_stack(path: &str, stack: u64) -> String {
    const STACKS: &str = "/api/stacks/";
    let Some(rest) = path.strip_prefix(STACKS) else { return path.to_owned() };
    let digits = rest.chars().take_while(char::is_ascii_digit).count();
    if digits == 0 { path.to_owned() } else { format!("{STACKS}{stack}{}", &rest[digits..]) }
}

#[test]
fn ids_in_addresses_are_the_fakes_own() {
    assert_eq!(with_stack("/api/stacks/30?endpointId=1", 2), "/api/stacks/2?endpointId=1");
    assert_eq!(with_stack("/api/stacks/webhooks/1", 2), "/api/stacks/webhooks/1");
    assert_eq!(Trace::all(RECORDING)[0].answer.body["Version"], Value::from("2.23.0"));
}
