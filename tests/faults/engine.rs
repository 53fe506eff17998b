//! A fleet before a Docker Engine, a fake one at the network: workers that die or sleep in the midst of rollouts, and
//! an engine that has its bad days. What was written is known from the engine, not from those who wrote.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::broker::Broker;
use tests::fake_swarm::{BAD, FakeSwarm, Mishap};
use tests::fault_proxy::FaultProxy;
use tests::wait::eventually;
use tokio::time::sleep;

use crate::engine_account;
use crate::run::{Run, jobs, rounds, turn};

const SOON: Duration = Duration::from_secs(60);

/// From a write to the moment when the engine calls the update completed.
const ROLLOUT: Duration = Duration::from_secs(1);

/// Services that get a job now and then, and services that get one after the other.
const SERVICES: usize = 200;
const BUSY_SERVICES: usize = 3;

/// Of so many jobs one is for a busy service, and one has an image that does not come up.
const BUSY_SHARE: usize = 10;
const BAD_SHARE: usize = 40;

/// Jobs a second: most of them are carried out before the next one for their service comes.
const PACE: u32 = 100;

/// Answers are late by so much.
const LATE: Duration = Duration::from_millis(500);

/// Writes of others while a worker sleeps: its jobs have moved on.
const MOVED_ON: usize = 60;

/// How long the engine has a bad time, and how long it is well in between: a job that failed comes back after five
/// seconds, mostly before the next bad time.
const BAD_TIME: Duration = Duration::from_secs(2);
const GOOD_TIME: Duration = Duration::from_secs(5);

/// Jobs a second while it has bad days: the load outlasts one of each kind.
const SLOWER_PACE: u32 = 70;

/// A fleet, its engine, and the way to it.
struct OnEngine {
    name: &'static str,
    run: Run,
    swarm: FakeSwarm,
    before_engine: FaultProxy,
}

impl OnEngine {
    /// Nothing runs yet but the engine.
    async fn prepare(name: &'static str, workers: usize) -> Result<OnEngine> {
        let turn = turn().await;
        let swarm = FakeSwarm::start(ROLLOUT)?;
        let before_engine = FaultProxy::start(swarm.address()).await?;
        for service in services() {
            swarm.add(&service, "acme/app:first");
        }
        let (broker, sections) = (Broker::own_virtual_host().await?, sections(&before_engine.address()));
        let mut run = Run::prepare_with(turn, name, broker, workers, &sections).await?;
        run.set_pace(PACE);
        run.set_body(body);
        run.may_fail();
        Ok(OnEngine { name, run, swarm, before_engine })
    }

    async fn end(self) -> Result<()> {
        let history = self.run.settle_account().await?;
        engine_account::draw(self.name, &self.swarm, &history)
    }
}

#[tokio::test]
async fn workers_before_an_engine_of_which_one_is_killed_every_second() {
    let mut fleet = OnEngine::prepare("engine: 4 workers, one killed every second", 4).await.unwrap();
    fleet.run.may_fail_or_give_jobs_up();
    fleet.run.crew.start().await.unwrap();
    fleet
        .run
        .all_along(jobs(), async |crew, goes_on| {
            let mut turn = 0;
            while goes_on() {
                sleep(Duration::from_secs(1)).await;
                crew.workers[turn % 4].kill_and_restart().await?;
                turn += 1;
            }
            Ok(())
        })
        .await
        .unwrap();
    fleet.end().await.unwrap();
}

#[tokio::test]
async fn a_worker_before_an_engine_that_sleeps_while_its_jobs_move_on() {
    let mut fleet = OnEngine::prepare("engine: sleeping worker", 2).await.unwrap();
    let broker = fleet.run.crew.broker().unwrap().host().unwrap();
    let before_worker = FaultProxy::start(&broker).await.unwrap();
    fleet.run.crew.lead(|crew| &mut crew.workers[0], &before_worker.address()).unwrap();
    fleet.run.crew.start().await.unwrap();
    let swarm = &fleet.swarm;
    fleet
        .run
        .strike(rounds() / 2, async |crew| {
            // Of all that it has in hand, much is between a read and the write that follows from it.
            swarm.befall(Mishap::Late(LATE));
            sleep(3 * LATE).await;
            crew.workers[0].freeze().await?;
            swarm.befall(Mishap::None);
            // The broker would give its jobs and locks to the other after three heartbeats; so it does at once.
            before_worker.cut();
            let before = swarm.writes();
            eventually(SOON, "the jobs to move on", || async {
                let written = swarm.writes() - before;
                ensure!(written >= MOVED_ON, "{written} writes");
                Ok(())
            })
            .await?;
            crew.workers[0].thaw().await
        })
        .await
        .unwrap();
    fleet.end().await.unwrap();
}

#[tokio::test]
async fn an_engine_that_is_away_cuts_answers_short_and_loses_them() {
    let mut fleet = OnEngine::prepare("engine: bad days", 2).await.unwrap();
    fleet.run.set_pace(SLOWER_PACE);
    fleet.run.crew.start().await.unwrap();
    let (swarm, before_engine) = (&fleet.swarm, &mut fleet.before_engine);
    fleet
        .run
        .all_along(jobs(), async |_, goes_on| {
            let mut day = 0;
            while goes_on() {
                sleep(GOOD_TIME).await;
                match day % 4 {
                    0 => swarm.befall(Mishap::WritesUnanswered),
                    1 => {
                        before_engine.refuse().await;
                        before_engine.cut();
                    }
                    2 => swarm.befall(Mishap::CutShort),
                    _ => swarm.befall(Mishap::Late(LATE)),
                }
                sleep(BAD_TIME).await;
                swarm.befall(Mishap::None);
                before_engine.restore()?;
                day += 1;
            }
            Ok(())
        })
        .await
        .unwrap();
    assert!(fleet.swarm.broken_off() > 20, "only {} answers were lost", fleet.swarm.broken_off());
    fleet.end().await.unwrap();
}

fn services() -> impl Iterator<Item = String> {
    let quiet = (0..SERVICES).map(|n| format!("web-{n}"));
    quiet.chain((0..BUSY_SERVICES).map(|n| format!("busy-{n}")))
}

fn sections(engine: &str) -> String {
    let targets: String =
        services().map(|name| format!("  {name}: {{at: lab, service: {name}, stable: 300ms}}\n")).collect();
    let system = format!("{{kind: swarm, host: \"tcp://{engine}\", at_once: 32}}");
    format!("worker: {{at_once: 64, takeover_after: 5s}}\nsystems:\n  lab: {system}\ntargets:\n{targets}")
}

fn body(n: usize) -> Value {
    let target = match n % BUSY_SHARE {
        0 => format!("busy-{}", n / BUSY_SHARE % BUSY_SERVICES),
        _ => format!("web-{}", n % SERVICES),
    };
    let bad = if n % BAD_SHARE == BAD_SHARE - 1 { BAD } else { "" };
    json!({"target": target, "image": format!("acme/app:{n}{bad}")})
}
