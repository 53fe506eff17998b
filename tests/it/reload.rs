//! SIGHUP while hooks come in and jobs run: each is decided by one configuration, and none is lost.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use proto::State;
use serde_json::{Value, json};
use tests::fleet::{Engine, Fleet};
use tests::http;
use tests::ledger::Ledger;
use tests::shown;
use tests::wait::eventually;

const LONG: Duration = Duration::from_secs(120);
const SOON: Duration = Duration::from_secs(60);

const HOOKS: u32 = 800;
const HOOKS_A_SECOND: u32 = 200;

/// Two configurations that differ in what the source says and in what the target follows: under one half of each,
/// nothing would follow a push.
fn sections(registry: &str, at_once: u16, beside: &str) -> String {
    format!(
        "sources:\n  hub: {{kind: dockerhub, open: true, loopback_only: true, registry: {registry}}}\n\
         worker: {{at_once: {at_once}}}\n\
         systems:\n  lab: {{kind: rehearsal}}\n{beside}\
         targets:\n  web: {{at: lab, takes: 20ms, follow: \"{registry}/acme/web:*\"}}\n"
    )
}

struct Stage {
    fleet: Fleet,
    programs: &'static [&'static str],
    ledger: Ledger,
}

impl Stage {
    async fn start(engine: Engine, sections: &str) -> Stage {
        let mut fleet = Fleet::prepare(engine).await.unwrap();
        fleet.configure(sections).unwrap();
        fleet.start().await.unwrap();
        let programs: &[&str] = match engine {
            Engine::Embedded => &["longshore"],
            Engine::Broker => &["longshore-worker", "longshore-ingress"],
        };
        Stage { fleet, programs, ledger: Ledger::default() }
    }

    /// Sends SIGHUP to each process, one after the other, and waits until it has said `word` once more.
    async fn hang_up(&self, word: &str) -> Result<()> {
        for program in self.programs {
            let process = self.fleet.process(program)?;
            let said = || process.lines().iter().filter(|line| line.contains(word)).count();
            let before = said();
            process.signal("HUP").await?;
            eventually(SOON, &format!("{program} to say `{word}`"), || async {
                ensure!(said() > before, "it said:\n{}", process.lines().join("\n"));
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    async fn reload(&self, sections: &str) -> Result<()> {
        self.fleet.configure(sections)?;
        self.hang_up("was read again and is in use").await
    }

    async fn push(&self, tag: &str) -> Result<(u16, Value)> {
        let body = json!({"push_data": {"tag": tag}, "repository": {"repo_name": "acme/web"}});
        let (status, answer) = http::answer(self.fleet.post("/hooks/hub", &body)).await?;
        Ok((status.as_u16(), answer))
    }

    /// Pushes and gives the job that came of it.
    async fn job(&mut self, tag: &str) -> String {
        let (status, answer) = self.push(tag).await.unwrap();
        assert_eq!(status, 202, "{answer}");
        self.ledger.accept_answer(&answer).unwrap();
        answer["jobs"][0]["id"].as_str().unwrap().to_owned()
    }

    async fn comes_to(&self, job: &str, state: State) -> Value {
        let what = format!("{job} to be {state}");
        let shown = eventually(LONG, &what, || async {
            let (_, shown) = http::answer(self.fleet.get(&format!("/v1/jobs/{job}"))).await?;
            ensure!(shown["state"] == state.as_str(), "{shown}");
            Ok(shown)
        });
        shown.await.unwrap()
    }

    /// Every job has one end.
    async fn account(self) {
        shown::account(&self.fleet, &self.ledger, LONG).await.unwrap().1.assert_clean();
    }
}

#[tokio::test]
async fn hooks_and_reloads_at_once_on_the_embedded_queue() {
    hooks_and_reloads_at_once(Engine::Embedded).await;
}

#[tokio::test]
async fn hooks_and_reloads_at_once_on_the_broker() {
    hooks_and_reloads_at_once(Engine::Broker).await;
}

async fn hooks_and_reloads_at_once(engine: Engine) {
    let far = "  far: {kind: rehearsal, pool: far}\n";
    let both = [sections("one.example", 16, ""), sections("two.example", 3, far)];
    let mut stage = Stage::start(engine, &both[0]).await;
    let bodies = (0..HOOKS)
        .map(|n| json!({"push_data": {"tag": n.to_string()}, "repository": {"repo_name": "acme/web"}}));
    let load = stage.fleet.load("/hooks/hub", 8, LONG).unwrap().per_second(HOOKS_A_SECOND);
    let is_done = Cell::new(false);
    let hooks = async {
        let answers = load.send(bodies).await;
        is_done.set(true);
        answers.unwrap()
    };
    let reloads = async {
        let mut reloads = 0;
        for text in both.iter().rev().cycle() {
            if is_done.get() {
                break;
            }
            stage.reload(text).await.unwrap();
            reloads += 1;
        }
        reloads
    };
    let (answers, reloads) = tokio::join!(hooks, reloads);
    assert!(answers.refused.is_empty() && answers.unanswered == 0, "{answers} {:?}", answers.refused.first());
    let ignored = answers.accepted.iter().find(|answer| answer.get("ignored").is_some());
    assert_eq!(ignored, None, "decided by half of each");
    assert_eq!(answers.accepted.len(), HOOKS as usize, "{answers}");
    println!("{answers}; {reloads} reloads");
    assert!(reloads >= 10, "only {reloads} reloads in {:?}", answers.took);
    for answer in &answers.accepted {
        stage.ledger.accept_answer(answer).unwrap();
    }
    stage.account().await;
}

#[tokio::test]
async fn what_cannot_be_taken_changes_nothing_on_the_embedded_queue() {
    what_cannot_be_taken_changes_nothing(Engine::Embedded).await;
}

#[tokio::test]
async fn what_cannot_be_taken_changes_nothing_on_the_broker() {
    what_cannot_be_taken_changes_nothing(Engine::Broker).await;
}

async fn what_cannot_be_taken_changes_nothing(engine: Engine) {
    let good = sections("one.example", 16, "");
    let mut stage = Stage::start(engine, &good).await;
    let file = stage.fleet.configure(&good).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let refused = "the configuration was not taken; the one in use stays";

    let faulty = text.replace("one.example", "two.example").replace("at: lab", "at: labb");
    std::fs::write(&file, format!("{faulty}windws: {{}}\n")).unwrap();
    stage.hang_up(refused).await.unwrap();
    for program in stage.programs {
        let lines = stage.fleet.process(program).unwrap().lines().join("\n");
        for told in
            ["longshore.yaml:12:13: targets.web.at", "longshore.yaml:13:1: windws", "did you mean `windows`"]
        {
            assert!(lines.contains(told), "{told} is missing: {lines}");
        }
    }
    stage.job("1").await;

    for (from, to, named) in [
        (stage.fleet.address.clone(), "127.0.0.1:1".to_owned(), "`listen`"),
        ("/data\n".to_owned(), "/elsewhere\n".to_owned(), "`data`"),
    ] {
        if named == "`listen`" && engine == Engine::Broker {
            continue;
        }
        std::fs::write(&file, text.replace("one.example", "two.example").replace(&from, &to)).unwrap();
        stage.hang_up(&format!("{named} cannot change while the process runs")).await.unwrap();
    }
    std::fs::remove_file(&file).unwrap();
    stage.hang_up(refused).await.unwrap();
    stage.fleet.configure(&good).unwrap();
    stage.hang_up("was read again and is in use").await.unwrap();
    let job = stage.job("2").await;
    let shown = stage.comes_to(&job, State::Succeeded).await;
    assert_eq!(shown["operation"]["image"], "one.example/acme/web:2", "{shown}");
    stage.account().await;
}

#[tokio::test]
async fn a_rollout_under_way_ends_under_what_it_began_with() {
    let slow = sections("one.example", 16, "").replace("takes: 20ms", "takes: 4s");
    let mut stage = Stage::start(Engine::Embedded, &slow).await;
    let running = stage.job("1").await;
    stage.comes_to(&running, State::Started).await;
    // One place fewer than there are jobs at work, another end, and a target more.
    let other = sections("one.example", 1, "").replace("takes: 20ms", "takes: 20ms, ends: failed");
    stage.reload(&format!("{other}  new: {{at: lab, takes: 20ms, follow: \"acme/new:*\"}}\n")).await.unwrap();
    // Worker and ingress are one process, and each takes it into use by itself.
    eventually(SOON, "the new target to be known", || async {
        let (_, targets) = http::answer(stage.fleet.get("/v1/targets")).await?;
        ensure!(targets["targets"].as_array().map(Vec::len) == Some(2), "{targets}");
        Ok(())
    })
    .await
    .unwrap();
    stage.comes_to(&running, State::Succeeded).await;
    let next = stage.job("2").await;
    stage.comes_to(&next, State::Failed).await;
    let body = json!({"target": "new", "image": "acme/new:1"});
    let (status, answer) = http::answer(stage.fleet.post("/v1/jobs", &body)).await.unwrap();
    assert_eq!(status, 202, "{answer}");
    let jobs = stage.ledger.accept_answer(&answer).context("read the answer").unwrap();
    stage.comes_to(&jobs[0].to_string(), State::Succeeded).await;
    stage.account().await;
}
