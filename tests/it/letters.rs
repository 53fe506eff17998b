//! What could not be carried out, as people meet it: with the command and over HTTP, on both engines.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use proto::State;
use serde_json::{Value, json};
use tests::fleet::{Engine, Fleet};
use tests::http;
use tests::process::{Process, longshore};
use tests::wait::eventually;

const LONG: Duration = Duration::from_secs(120);

/// What a command did.
struct Ran {
    code: Option<i32>,
    stdout: String,
    said: String,
}

impl Ran {
    #[track_caller]
    fn ended(self, code: i32, words: &[&str]) -> Ran {
        assert_eq!(self.code, Some(code), "{}", self.said);
        for word in words {
            assert!(self.said.contains(word), "`{word}` is missing in:\n{}", self.said);
        }
        self
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap()
    }
}

/// A fleet whose one target ends as it is told.
struct Stage {
    fleet: Fleet,
}

impl Stage {
    async fn start(on: Engine, target: &str) -> Result<Stage> {
        let mut stage = Stage { fleet: Fleet::prepare(on).await? };
        stage.configure(target)?;
        stage.fleet.start().await?;
        Ok(stage)
    }

    fn configure(&self, target: &str) -> Result<()> {
        let sections = format!(
            "ingress: {{overdue_after: 2s}}\nworker: {{takeover_after: 10m, grace: 0s}}\n\
             systems:\n  lab: {{kind: rehearsal}}\ntargets:\n  web: {{at: lab, takes: 0s, {target}}}\n"
        );
        self.fleet.configure(&sections).map(drop)
    }

    /// The same fleet on what it left, with the target as it is now.
    async fn restart(&mut self, target: &str) -> Result<()> {
        self.fleet.kill().await?;
        self.configure(target)?;
        self.fleet.start().await
    }

    async fn run(&self, words: &str) -> Result<Ran> {
        let token = std::fs::read_to_string(self.fleet.folder().join("token")).context("read the token")?;
        let mut command = longshore("longshore")?;
        command.args(words.split_whitespace()).current_dir(self.fleet.folder());
        command.env("LONGSHORE_URL", self.fleet.url("")).env("LONGSHORE_TOKEN", token.trim());
        let output = tokio::time::timeout(LONG, command.output()).await.context("wait for the command")??;
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = format!("{words}:\n{stdout}{}", String::from_utf8_lossy(&output.stderr));
        Ok(Ran { code: output.status.code(), stdout, said })
    }

    async fn wish(&self, image: &str) -> String {
        self.wish_of("web", image).await
    }

    async fn wish_of(&self, target: &str, image: &str) -> String {
        static WISHES: AtomicU64 = AtomicU64::new(0);
        // One wish, also where the answer to it is lost on a busy machine and it is sent again.
        let key = format!("wish-{}", WISHES.fetch_add(1, Ordering::Relaxed));
        // Refused, and nothing kept, until the worker has made its pool.
        let accepted = eventually(LONG, "the pool to be served", || async {
            let request = self.fleet.post("/v1/jobs", &json!({"target": target, "image": image}));
            let (status, body) = http::answer(request.header("Idempotency-Key", &key)).await?;
            ensure!(status == 202, "{status} {body}");
            Ok(body)
        });
        accepted.await.unwrap()["jobs"][0]["id"].as_str().unwrap().to_owned()
    }

    async fn reaches(&self, id: &str, state: State) -> Value {
        eventually(LONG, &format!("{id} to be {state}"), || async {
            let (_, body) = http::answer(self.fleet.get(&format!("/v1/jobs/{id}"))).await?;
            ensure!(body["state"] == state.as_str(), "{body}");
            Ok(body)
        })
        .await
        .unwrap()
    }

    /// Waits until these names, and no others, are listed as dead.
    async fn lists(&self, names: &[&str]) -> Value {
        eventually(LONG, &format!("{names:?} to be listed"), || async {
            let page = self.run("jobs --state dead --json").await?.ended(0, &[]).json();
            ensure!(listed(&page) == names, "{page:#}");
            Ok(page)
        })
        .await
        .unwrap()
    }
}

fn listed(page: &Value) -> Vec<&str> {
    let jobs = page["jobs"].as_array().into_iter().flatten().map(|job| &job["id"]);
    let unreadable = page["unreadable"].as_array().into_iter().flatten();
    jobs.chain(unreadable.map(|dead| &dead["letter"]["name"])).filter_map(Value::as_str).collect()
}

#[tokio::test]
async fn the_dead_are_replayed_and_discarded_on_the_embedded_queue() {
    the_dead_are_replayed_and_discarded(Engine::Embedded).await;
}

#[tokio::test]
async fn the_dead_are_replayed_and_discarded_on_the_broker() {
    the_dead_are_replayed_and_discarded(Engine::Broker).await;
}

async fn the_dead_are_replayed_and_discarded(on: Engine) {
    let mut stage = Stage::start(on, "ends: dead").await.unwrap();
    let (one, two, three) =
        (stage.wish("acme/web:1").await, stage.wish("acme/api:2").await, stage.wish("acme/job:3").await);
    for id in [&one, &two, &three] {
        stage.reaches(id, State::Dead).await;
    }
    let names: Vec<&str> = [&three, &two, &one].map(String::as_str).to_vec();
    let page = eventually(LONG, "all three to be listed", || async {
        let page = stage.run("jobs --state dead --json").await?.ended(0, &[]).json();
        let mut found = listed(&page);
        found.sort_unstable_by(|a, b| b.cmp(a));
        ensure!(found == names, "{page:#}");
        Ok(page)
    });
    let page = page.await.unwrap();
    assert_eq!(page["jobs"][0]["letter"]["reason"]["code"], "credentials-refused");
    stage
        .run("jobs --state dead")
        .await
        .unwrap()
        .ended(0, &[&one, "acme/web:1", "credentials", "job replay"]);
    let words =
        [one.as_str(), "state     dead", "attempts  1", "credentials-refused", "body      {\"version\":1"];
    stage.run(&format!("job show {one}")).await.unwrap().ended(0, &words);

    let chain = stage.reaches(&one, State::Dead).await["chain"].clone();
    stage.restart("ends: succeeded").await.unwrap();
    let replayed = stage.run(&format!("job replay {one} --json")).await.unwrap().ended(0, &[]).json();
    let new = replayed["jobs"][0]["id"].as_str().unwrap();
    let done = stage.reaches(new, State::Succeeded).await;
    let cause = (&done["cause"]["kind"], &done["cause"]["by"]);
    assert_eq!((&done["replays"], cause), (&json!(one), (&json!("api"), &json!("admin"))));
    assert_eq!(done["chain"], chain);
    stage.run(&format!("job replay {one}")).await.unwrap().ended(5, &["replayed before", new]);
    stage.run(&format!("job replay {new}")).await.unwrap().ended(5, &["succeeded", "jobs --state dead"]);

    // What is newer is not overwritten unless that is meant.
    let newer = stage.wish("acme/api:9").await;
    stage.reaches(&newer, State::Succeeded).await;
    stage.run(&format!("job replay {two}")).await.unwrap().ended(5, &[&newer, "--force"]);
    stage.run(&format!("job replay {two} --force --wait")).await.unwrap().ended(0, &["succeeded"]);
    stage.run("target show web").await.unwrap().ended(0, &["rehearsal", "acme/api:2", "running   yes"]);

    stage.run(&format!("job discard {three}")).await.unwrap().ended(0, &["discarded", &three]);
    stage.run(&format!("job discard {three}")).await.unwrap().ended(5, &["replayed or discarded before"]);
    stage.lists(&[]).await;
    stage.restart("ends: succeeded").await.unwrap();
    stage.lists(&[]).await;
    assert_eq!(stage.reaches(&three, State::Dead).await.get("letter"), None);
}

#[tokio::test]
async fn a_deploy_is_called_off_in_time_or_not_on_the_embedded_queue() {
    a_deploy_is_called_off_in_time_or_not(Engine::Embedded).await;
}

#[tokio::test]
async fn a_deploy_is_called_off_in_time_or_not_on_the_broker() {
    a_deploy_is_called_off_in_time_or_not(Engine::Broker).await;
}

async fn a_deploy_is_called_off_in_time_or_not(on: Engine) {
    let mut stage = Stage { fleet: Fleet::prepare(on).await.unwrap() };
    let slow = "ends: succeeded}\n  slow: {at: lab, takes: 40s";
    stage.configure(slow).unwrap();
    stage.fleet.start().await.unwrap();
    let running = stage.wish_of("slow", "acme/web:1").await;
    stage.reaches(&running, State::Started).await;
    let waiting = stage.wish_of("slow", "acme/web:2").await;
    stage.run(&format!("job cancel {waiting}")).await.unwrap().ended(0, &["called off", &waiting]);
    stage.reaches(&waiting, State::Cancelled).await;
    stage.run(&format!("job cancel {waiting}")).await.unwrap().ended(5, &["cancelled"]);
    let late = stage.run(&format!("job cancel {running}")).await.unwrap();
    late.ended(5, &["rejected", "was not called off"]);
    stage.reaches(&running, State::Succeeded).await;
}

#[tokio::test]
async fn a_deploy_that_no_worker_ends_is_given_up_on_the_embedded_queue() {
    a_deploy_that_no_worker_ends_is_given_up(Engine::Embedded).await;
}

#[tokio::test]
async fn a_deploy_that_no_worker_ends_is_given_up_on_the_broker() {
    a_deploy_that_no_worker_ends_is_given_up(Engine::Broker).await;
}

/// The worker falls silent between its decision and its write.
async fn a_deploy_that_no_worker_ends_is_given_up(on: Engine) {
    let stage = Stage::start(on, "deadline: 2s, dawdles: 1h").await.unwrap();
    let silent = stage.wish("acme/web:1").await;
    let shown = stage.reaches(&silent, State::Dead).await;
    let end = shown["events"].as_array().unwrap().last().unwrap();
    assert_eq!(end["data"]["reason"]["code"], "no-end", "{end}");
    stage.lists(&[&silent]).await;
    let letter = stage.run(&format!("job show {silent}")).await.unwrap();
    letter.ended(0, &["attempts  1", "no-end", "acme/web:1"]);
    stage.run(&format!("job discard {silent}")).await.unwrap().ended(0, &[]);
    stage.lists(&[]).await;
}

#[tokio::test]
async fn a_deploy_that_no_worker_began_is_given_up_on_the_broker() {
    let mut stage = Stage::start(Engine::Broker, "deadline: 4s").await.unwrap();
    stage.fleet.kill().await.unwrap();
    let folder = stage.fleet.folder().to_owned();
    let start = |name: &str| {
        let mut command = longshore(name).unwrap();
        command.arg("--config").arg(folder.join("longshore.yaml"));
        Process::start(command).unwrap()
    };
    let mut ingress = start("longshore-ingress");
    // A busy broker may take its time to see that the worker is gone.
    eventually(LONG, "nobody to answer", || async {
        let (status, body) = http::answer(stage.fleet.get("/readyz")).await?;
        ensure!(status.is_success(), "{body}");
        let shown = stage.run("target show web").await?;
        ensure!(
            shown.code == Some(7) && shown.said.contains("no worker of the pool `default` is running"),
            "{}",
            shown.said
        );
        Ok(())
    })
    .await
    .unwrap();
    let left = stage.wish("acme/web:1").await;
    let shown = stage.reaches(&left, State::Dead).await;
    let end = shown["events"].as_array().unwrap().last().unwrap();
    assert_eq!(end["data"]["reason"]["code"], "no-worker", "{end}");
    stage.lists(&[&left]).await;
    stage.run(&format!("job discard {left}")).await.unwrap().ended(0, &[]);

    // The worker that comes late finds it in its queue, and lays nothing aside again. What is wished then has more time.
    ingress.kill().await.unwrap();
    stage.configure("deadline: 30m").unwrap();
    let _ingress = start("longshore-ingress");
    let worker = start("longshore-worker");
    eventually(LONG, "the worker to answer", || async {
        let shown = stage.run("target show web").await?;
        ensure!(shown.code == Some(0), "{}", shown.said);
        Ok(())
    })
    .await
    .unwrap();
    let next = stage.wish("acme/web:2").await;
    stage.reaches(&next, State::Succeeded).await;
    stage.lists(&[]).await;
    let lines = worker.lines().join("\n");
    assert!(!lines.contains("panicked"), "{lines}");
    stage.run("target show web").await.unwrap().ended(0, &["acme/web:2"]);
}

#[tokio::test]
async fn what_is_no_job_is_discarded_by_the_name_of_its_letter_on_the_broker() {
    let stage = Stage::start(Engine::Broker, "ends: succeeded").await.unwrap();
    let broker = stage.fleet.broker.as_ref().unwrap();
    broker.publish("longshore.jobs", "default.web", b"no job at all").await.unwrap();
    let page = eventually(LONG, "the letter to be listed", || async {
        let page = stage.run("jobs --state dead --json").await?.ended(0, &[]).json();
        ensure!(listed(&page).len() == 1, "{page:#}");
        Ok(page)
    });
    let page = page.await.unwrap();
    let name = listed(&page)[0];
    assert!(name.starts_with("letter-"), "{name}");
    stage
        .run(&format!("job show {name}"))
        .await
        .unwrap()
        .ended(0, &["no job at all", "undecodable", "discard"]);
    stage.run(&format!("job replay {name}")).await.unwrap().ended(5, &["no job that this version can read"]);
    stage.run(&format!("job discard {name}")).await.unwrap().ended(0, &[]);
    stage.lists(&[]).await;

    // What the broker itself lays aside has an end too.
    let id = stage.wish("acme/web:3").await;
    let done = stage.reaches(&id, State::Succeeded).await;
    let mut job = done.as_object().unwrap().clone();
    job.remove("state");
    job.remove("events");
    let other = "0199f3a0-5d7c-7aa0-b6f0-3a2f5d1c9e42";
    job["id"] = json!(other);
    let body = Value::Object(job).to_string();
    broker.publish_as_fleet("longshore.dead", "default.web", body.as_bytes()).await.unwrap();
    eventually(LONG, "its end to be told", || async {
        let (_, shown) = http::answer(stage.fleet.get(&format!("/v1/jobs/{other}"))).await?;
        let end = shown["events"].as_array().and_then(|events| events.last()).context("find its events")?;
        ensure!(end["data"]["state"] == "dead" && end["data"]["reason"]["code"] == "given-up", "{shown:#}");
        Ok(())
    })
    .await
    .unwrap();
}
