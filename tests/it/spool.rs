//! What comes in while the broker is away is kept, whatever crashes, and ends once like everything else.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use proto::JobId;
use serde_json::{Value, json};
use tests::broker::Broker;
use tests::fleet::{Engine, Fleet};
use tests::http;
use tests::ledger::Ledger;
use tests::load::Answers;
use tests::own_broker::OwnBroker;
use tests::process::{Process, longshore};
use tests::shown;
use tests::wait::eventually;

const SOON: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_secs(120);
const TARGETS: usize = 20;

/// An ingress and a worker as processes of their own, on a broker that may be away.
struct Stage {
    fleet: Fleet,
    ledger: Ledger,
    sent: usize,
}

impl Stage {
    /// Nothing runs yet. `sections` come beside sources, systems and targets; a rehearsal takes `takes`.
    async fn prepare_on(broker: Broker, sections: &str) -> Result<Stage> {
        let fleet = Fleet::prepare_on(broker).await?;
        fleet.configure(&format!("{}{sections}", targets("20ms")))?;
        Ok(Stage { fleet, ledger: Ledger::default(), sent: 0 })
    }

    fn start(&self, name: &str, arguments: &[&str]) -> Result<Process> {
        let mut command = longshore(name)?;
        command.args(arguments).arg("--config").arg(self.fleet.folder().join("longshore.yaml"));
        Process::start(command)
    }

    fn ingress(&self) -> Result<Process> {
        self.start("longshore-ingress", &[])
    }

    /// A worker that knows nothing of the system in the other pool.
    fn worker_of_one_pool(&self) -> Result<Process> {
        let folder = self.fleet.folder();
        let all = std::fs::read_to_string(folder.join("longshore.yaml")).context("read the configuration")?;
        let some: Vec<&str> = all.lines().filter(|line| !line.contains("far: {")).collect();
        std::fs::write(folder.join("worker.yaml"), some.join("\n")).context("write a configuration")?;
        let mut command = longshore("longshore-worker")?;
        command.arg("--config").arg(folder.join("worker.yaml"));
        Process::start(command)
    }

    async fn readiness(&self) -> Result<(u16, Value)> {
        let (status, body) = http::answer(self.fleet.get("/readyz")).await?;
        Ok((status.as_u16(), body))
    }

    async fn says(&self, status: &str) -> Result<Value> {
        eventually(LONG, &format!("/readyz to say {status}"), || async {
            let (code, body) = self.readiness().await?;
            ensure!(code == 200 && body["status"] == status, "{code} {body}");
            Ok(body)
        })
        .await
    }

    async fn is_drained(&self) -> Result<()> {
        eventually(LONG, "nothing to be kept any more", || async {
            let (code, body) = self.readiness().await?;
            ensure!(code == 200 && body == json!({"status": "ready"}), "{code} {body}");
            Ok(())
        })
        .await
    }

    /// Waits until the worker serves its pool: until then hooks are refused.
    async fn is_served(&mut self) -> Result<()> {
        let first = self.fleet.post("/hooks/demo", &json!({"image": "acme/web-0:first"}));
        let answer = eventually(LONG, "the worker to serve its pool", || async {
            let request = first.try_clone().context("send a request again")?;
            let (status, body) = http::answer(request).await?;
            ensure!(status == 202, "{status} {body}");
            Ok(body)
        });
        self.ledger.accept_answer(&answer.await?).map(drop)
    }

    /// Sends so many hooks, of which none may be refused, and notes their jobs.
    async fn hooks(&mut self, count: usize) -> Result<Answers> {
        let body = |n| json!({"image": format!("acme/web-{}:{n}", n % TARGETS)});
        let bodies: Vec<Value> = (self.sent..self.sent + count).map(body).collect();
        self.sent += count;
        let answers = self.fleet.load("/hooks/demo", 8, LONG)?.send(bodies).await?;
        println!("{answers}");
        ensure!(answers.accepted.len() == count, "{answers}: {:?}", answers.refused);
        for answer in &answers.accepted {
            self.ledger.accept_answer(answer)?;
        }
        Ok(answers)
    }

    /// Every accepted job has its end, told alike by the history and by the ingress.
    async fn all_have_ended(&self) -> Result<()> {
        shown::account(&self.fleet, &self.ledger, LONG).await?.1.assert_clean();
        Ok(())
    }
}

fn targets(takes: &str) -> String {
    let targets: String = (0..TARGETS)
        .map(|n| format!("  web-{n}: {{at: lab, follow: \"acme/web-{n}:*\", takes: {takes}}}\n"))
        .collect();
    format!(
        "sources:\n  demo: {{kind: plain, open: true, loopback_only: true}}\n\
         systems:\n  lab: {{kind: rehearsal}}\n  far: {{kind: rehearsal, pool: office}}\n\
         targets:\n{targets}  far: {{at: far, follow: \"acme/far:*\"}}\n"
    )
}

#[tokio::test]
async fn what_comes_in_while_the_broker_is_away_ends_once_through_crashes() {
    let mut broker = OwnBroker::start().await.unwrap();
    let mut stage = Stage::prepare_on(broker.broker(), "").await.unwrap();
    let _worker = stage.worker_of_one_pool().unwrap();
    let mut ingress = stage.ingress().unwrap();
    stage.is_drained().await.unwrap();
    stage.is_served().await.unwrap();
    stage.hooks(20).await.unwrap();

    broker.stop().await.unwrap();
    let answers = stage.hooks(200).await.unwrap();
    assert!(answers.latency(0.9) < Duration::from_secs(1), "{answers}");
    let body = stage.says("spooling").await.unwrap();
    assert_eq!(body["spooled"], 200, "{body}");
    let (status, far) =
        http::answer(stage.fleet.post("/hooks/demo", &json!({"image": "acme/far:1"}))).await.unwrap();
    assert_eq!(status, 202, "{far}");
    let far = stage.ledger.accept_answer(&far).unwrap()[0];

    ingress.kill().await.unwrap();
    ingress = stage.ingress().unwrap();
    let body = stage.says("spooling").await.unwrap();
    assert_eq!(body["spooled"], 201, "{body}");
    stage.hooks(1000).await.unwrap();

    broker.start_again().await.unwrap();
    for _ in 0..3 {
        some_are_handed_over(&stage).await.unwrap();
        ingress.kill().await.unwrap();
        ingress = stage.ingress().unwrap();
    }
    // It has only been started, and reads the history first.
    eventually(SOON, "/readyz to be 200", || async {
        let (status, body) = stage.readiness().await?;
        ensure!(status == 200, "{status}: {body}");
        Ok(())
    })
    .await
    .unwrap();
    stage.hooks(20).await.unwrap();
    stage.is_drained().await.unwrap();
    ingress.wait_for_line("the kept jobs were handed to it", SOON).await.unwrap();
    stage.all_have_ended().await.unwrap();
    is_rejected(&stage, far).await.unwrap();
}

/// Returns when fewer wait than when it was called, or none.
async fn some_are_handed_over(stage: &Stage) -> Result<()> {
    let spooled = || async {
        let body = stage.readiness().await?.1;
        Ok::<u64, anyhow::Error>(body["spooled"].as_u64().unwrap_or(0))
    };
    let first = eventually(SOON, "/readyz to answer", &spooled).await?;
    eventually(LONG, "fewer to wait", || async {
        let now = spooled().await?;
        ensure!(now < first || now == 0, "{now} of {first}");
        Ok(())
    })
    .await
}

async fn is_rejected(stage: &Stage, job: JobId) -> Result<()> {
    let (_, shown) = http::answer(stage.fleet.get(&format!("/v1/jobs/{job}"))).await?;
    ensure!(shown["state"] == "rejected", "{shown}");
    let events = shown["events"].as_array().context("read the events")?;
    let reasons: Vec<&Value> = events.iter().map(|event| &event["data"]["reason"]["code"]).collect();
    ensure!(reasons.contains(&&json!("no-worker")), "{shown}");
    Ok(())
}

#[tokio::test]
async fn a_start_without_any_broker_keeps_what_fits_and_shows_it() {
    let nowhere = Broker::at("amqp://guest:guest@127.0.0.1:1/%2f".to_owned());
    let mut stage = Stage::prepare_on(nowhere, "spool: {jobs: 10}\n").await.unwrap();
    let _ingress = stage.ingress().unwrap();
    stage.says("spooling").await.unwrap();
    stage.hooks(10).await.unwrap();
    let refused = stage.fleet.post("/hooks/demo", &json!({"image": "acme/web-1:99"})).send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"), "{refused:?}");
    let (code, body) = stage.readiness().await.unwrap();
    assert_eq!((code, &body["status"], &body["spooled"]), (503, &json!("full"), &json!(10)));
    for id in stage.ledger.ids() {
        let shown = tokio::time::timeout(
            Duration::from_secs(2),
            http::answer(stage.fleet.get(&format!("/v1/jobs/{id}"))),
        );
        let (_, shown) = shown.await.unwrap().unwrap();
        assert_eq!(shown["state"], "accepted", "{shown}");
    }
}

#[tokio::test]
async fn a_directory_left_by_up_is_drained_on_the_broker() {
    let fleet = Fleet::prepare(Engine::Embedded).await.unwrap();
    let mut stage = Stage { fleet, ledger: Ledger::default(), sent: 0 };
    stage.fleet.configure(&targets("1h")).unwrap();
    let mut up = stage.start("longshore", &["up"]).unwrap();
    stage.is_drained().await.unwrap();
    stage.hooks(100).await.unwrap();
    up.kill().await.unwrap();

    stage.fleet.broker = Some(Broker::own_virtual_host().await.unwrap());
    stage.fleet.configure(&targets("20ms")).unwrap();
    let _up = stage.start("longshore", &["up"]).unwrap();
    stage.is_drained().await.unwrap();
    stage.all_have_ended().await.unwrap();
}

#[tokio::test]
async fn a_broker_that_stops_answering_is_not_waited_for() {
    let broker = OwnBroker::start().await.unwrap();
    let mut stage = Stage::prepare_on(broker.broker(), "").await.unwrap();
    let (_worker, _ingress) = (stage.worker_of_one_pool().unwrap(), stage.ingress().unwrap());
    stage.is_drained().await.unwrap();
    stage.is_served().await.unwrap();
    stage.hooks(20).await.unwrap();

    broker.freeze().await.unwrap();
    // Its connections stand. The first callers wait for an answer, the others know better.
    let answers = stage.hooks(100).await.unwrap();
    assert!(answers.latency(0.8) < Duration::from_secs(1), "{answers}");
    assert!(answers.latency(1.0) < Duration::from_secs(10), "{answers}");
    let body = stage.says("spooling").await.unwrap();
    assert_eq!(body["spooled"], 100, "{body}");

    broker.thaw().await.unwrap();
    stage.is_drained().await.unwrap();
    stage.all_have_ended().await.unwrap();
}
