//! The network fails at each call of a deploy: what stands there is read first, and nothing is written twice.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use futures::{StreamExt, stream};
use proto::State;
use tests::fake_portainer::{FakePortainer, Family, Mishap, SWARM};
use tests::fault_proxy::FaultProxy;
use tests::fleet::{Engine, Fleet};
use tests::wait::eventually;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::{FILE, LONG, ROLLOUT, ended, env, sections, wish};

const AT_ONCE: usize = 4;
/// How long a network is bad.
const BAD_FOR: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Every connection is reset while Portainer is at work on the call.
    Cut,
    /// Nothing comes through any more, and nobody says so; at last the connection is reset.
    Stalled,
    /// Reset, and nobody listens for a while.
    Refused,
    /// Every byte comes late from now on.
    Slow,
}

struct Dock {
    portainer: FakePortainer,
    stack: u64,
    proxy: FaultProxy,
    fleet: Fleet,
}

async fn dock() -> Dock {
    let portainer = FakePortainer::start(Family::Synchronous, ROLLOUT).unwrap();
    let stack = portainer.add_stack(SWARM, "shop", FILE, env());
    let proxy = FaultProxy::start(portainer.url().trim_start_matches("http://")).await.unwrap();
    let mut fleet = Fleet::prepare(Engine::Embedded).await.unwrap();
    fleet.configure(&sections(&proxy.address())).unwrap();
    fleet.start().await.unwrap();
    Dock { portainer, stack, proxy, fleet }
}

/// The calls of a deploy, from the first to the last.
async fn calls() -> Vec<String> {
    let dock = dock().await;
    let before = dock.portainer.requests().len();
    let job = wish(&dock.fleet, "acme/web:2").await;
    let (state, told) = ended(&dock.fleet, &job).await;
    assert_eq!(state, State::Succeeded, "{told}");
    dock.portainer.requests().split_off(before)
}

async fn strike(proxy: &mut FaultProxy, fault: Fault, gate: &Notify) {
    match fault {
        Fault::Cut => {
            proxy.cut();
            gate.notify_one();
        }
        Fault::Stalled => {
            proxy.stall();
            gate.notify_one();
            sleep(BAD_FOR).await;
            proxy.restore().unwrap();
            proxy.cut();
        }
        Fault::Refused => {
            proxy.refuse().await;
            proxy.cut();
            gate.notify_one();
            sleep(BAD_FOR).await;
            proxy.restore().unwrap();
        }
        Fault::Slow => {
            proxy.delay(Duration::from_millis(150));
            gate.notify_one();
        }
    }
}

async fn deployed_with(number: usize, call: &str, fault: Fault) -> Result<(), String> {
    let mut dock = dock().await;
    let gate = Arc::new(Notify::new());
    let before = dock.portainer.requests().len();
    dock.portainer.befall_nth(number, Mishap::Held(Arc::clone(&gate)));
    let job = wish(&dock.fleet, "acme/web:2").await;
    let arrived = eventually(LONG, "the call to arrive", || async {
        let made = dock.portainer.requests().len() - before;
        ensure!(made >= number, "{made} of {number} calls");
        Ok(())
    });
    arrived.await.unwrap();
    strike(&mut dock.proxy, fault, &gate).await;
    let (state, told) = ended(&dock.fleet, &job).await;
    let image = dock.portainer.image(SWARM, "shop", "web");
    let writes = dock.portainer.puts().len();
    let kept = dock.portainer.env(dock.stack) == env() && dock.portainer.file(dock.stack).contains(&image);
    if state == State::Succeeded && image.starts_with("acme/web:2@") && writes == 1 && kept {
        return Ok(());
    }
    let lines = dock.fleet.lines().join("\n");
    Err(format!("{fault:?} at {number} ({call}): {state}, {image}, {writes} writes: {told}\n{lines}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_befalls_the_network_at_any_call_one_write_is_made() {
    let calls = calls().await;
    let writes = calls.iter().filter(|call| call.starts_with("PUT")).count();
    assert_eq!(writes, 1, "{calls:?}");
    let faults = [Fault::Cut, Fault::Stalled, Fault::Refused, Fault::Slow];
    let cases = calls
        .iter()
        .enumerate()
        .flat_map(|(at, call)| faults.into_iter().map(move |fault| deployed_with(at + 1, call, fault)));
    let told: Vec<Result<(), String>> = stream::iter(cases).buffer_unordered(AT_ONCE).collect().await;
    let wrong: Vec<String> = told.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
