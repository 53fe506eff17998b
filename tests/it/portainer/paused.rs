//! A worker that is paused while its write is on its way, and woken after a newer job landed: nothing that Portainer
//! writes is conditional, and the newest stands again at the end all the same.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use proto::State;
use tests::broker::Broker;
use tests::fake_portainer::{FakePortainer, Family, Mishap, SWARM};
use tests::fleet::{Engine, Fleet};
use tests::history;
use tests::process::{Process, longshore};
use tests::wait::eventually;
use tokio::sync::Notify;

use super::{FILE, LONG, ROLLOUT, ended, env, sections, wish};

/// A frozen worker's connection is given up after some 30 s, and an unanswered job looked after every 30 s.
const SOON: Duration = Duration::from_secs(30);
const VERY_LONG: Duration = Duration::from_secs(240);

#[tokio::test]
async fn a_newer_image_of_the_same_service_stands_again() {
    woken("acme/web:3", "web").await;
}

#[tokio::test]
async fn the_image_of_another_service_of_the_stack_stands_again() {
    woken("postgres:17", "db").await;
}

async fn worker(fleet: &Fleet) -> Process {
    let mut command = longshore("longshore-worker").unwrap();
    command.arg("--config").arg(fleet.folder().join("longshore.yaml")).current_dir(fleet.folder());
    let worker = Process::start(command).unwrap();
    worker.wait_for_line("the worker starts", LONG).await.unwrap();
    worker
}

async fn woken(newer_image: &str, service: &str) {
    let portainer = FakePortainer::start(Family::Synchronous, ROLLOUT).unwrap();
    let stack = portainer.add_stack(SWARM, "shop", FILE, env());
    let mut fleet = Fleet::prepare(Engine::Broker).await.unwrap();
    fleet.configure(&sections(portainer.url().trim_start_matches("http://"))).unwrap();
    // It starts a worker and the ingress.
    fleet.start().await.unwrap();
    let slow = fleet.process("longshore-worker").unwrap();
    let gate = Arc::new(Notify::new());
    portainer.befall_next("PUT /api/stacks/", Mishap::Held(Arc::clone(&gate)));
    let older = wish(&fleet, "acme/web:2").await;
    let on_its_way = eventually(LONG, "the write to be on its way", || async {
        ensure!(portainer.requests().iter().any(|line| line.starts_with("PUT")), "no write yet");
        Ok(())
    });
    on_its_way.await.unwrap();
    slow.signal("STOP").await.unwrap();
    let _quick = worker(&fleet).await;
    let newer = wish(&fleet, newer_image).await;
    let (state, told) = ended(&fleet, &newer).await;
    assert_eq!(state, State::Succeeded, "{told}");
    let (_, first_end) = ended(&fleet, &older).await;
    let stands = || portainer.image(SWARM, "shop", service);
    assert!(stands().starts_with(newer_image), "{}", stands());

    // The stale file lands, and its worker learns of it only now.
    let writes = portainer.puts().len();
    gate.notify_one();
    let landed = eventually(LONG, "the late write to land", || async {
        ensure!(!stands().starts_with(newer_image), "it still stands");
        Ok(())
    });
    landed.await.unwrap_or_else(|error| panic!("{error:#}: {writes} writes\n{first_end}"));
    slow.signal("CONT").await.unwrap();
    let again = eventually(VERY_LONG, "the newer one to stand again", || async {
        ensure!(stands().starts_with(newer_image), "{} stands", stands());
        Ok(())
    });
    again.await.unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.lines().join("\n")));
    let file = portainer.file(stack);
    assert!(file.contains(&stands()), "{file}");
    assert_eq!(portainer.env(stack), env());
    said(fleet.broker.as_ref().unwrap(), &older, &newer).await;
}

/// The history tells what became of the late one.
async fn said(broker: &Broker, older: &str, newer: &str) {
    let told = eventually(VERY_LONG, "the events to say what happened", || async {
        let events = history::read(broker, SOON).await?;
        let put_back = events.iter().any(|event| {
            let reason = event.data.reason.as_ref();
            event.job_id().to_string() == older
                && reason.is_some_and(|reason| reason.code == "put-back" && reason.text.contains(newer))
        });
        ensure!(put_back, "{events:?}");
        Ok(())
    });
    told.await.unwrap();
}
