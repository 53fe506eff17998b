//! A bad network between the fleet and its broker: connections that are cut, slow, or half dead.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::broker::Broker;
use tests::fault_proxy::FaultProxy;
use tests::wait::eventually;
use tokio::time::sleep;

use crate::run::{Run, jobs, rounds, turn};

const SLOW: Duration = Duration::from_millis(150);
const SLOW_FOR: Duration = Duration::from_secs(5);

/// A connection is noticed to be dead after two heartbeats of ten seconds.
const STALLED_FOR: Duration = Duration::from_secs(25);

const SOON: Duration = Duration::from_secs(60);

/// A fleet of which the ingress and the first of two workers reach the broker each through a proxy.
struct BadNetwork {
    run: Run,
    before_ingress: FaultProxy,
    before_worker: FaultProxy,
}

impl BadNetwork {
    async fn start(name: &'static str) -> Result<BadNetwork> {
        let turn = turn().await;
        let broker = Broker::own_virtual_host().await?;
        let before_ingress = FaultProxy::start(&broker.host()?).await?;
        let before_worker = FaultProxy::start(&broker.host()?).await?;
        let mut run = Run::prepare(turn, name, broker, 2, "").await?;
        run.crew.lead(|crew| &mut crew.ingress, &before_ingress.address())?;
        run.crew.lead(|crew| &mut crew.workers[0], &before_worker.address())?;
        run.crew.start().await?;
        Ok(BadNetwork { run, before_ingress, before_worker })
    }
}

#[tokio::test]
async fn connections_that_are_cut() {
    let BadNetwork { mut run, before_ingress, before_worker } = BadNetwork::start("cut").await.unwrap();
    let mut proxies = [before_ingress, before_worker];
    let mut round = 0;
    run.strike(2 * rounds(), async |_| {
        // One or the other; every third time both, and nothing gets through for a while.
        round += 1;
        let is_long = round % 3 == 0;
        for proxy in
            proxies.iter_mut().skip(if is_long { 0 } else { round % 2 }).take(1 + usize::from(is_long))
        {
            if is_long {
                proxy.refuse().await;
            }
            proxy.cut();
        }
        if is_long {
            sleep(Duration::from_secs(2)).await;
            proxies.iter_mut().try_for_each(FaultProxy::restore)?;
        }
        Ok(())
    })
    .await
    .unwrap();
    for proxy in &proxies {
        assert!(proxy.broken() >= rounds(), "only {} connections were cut", proxy.broken());
    }
    run.end().await.unwrap();
}

#[tokio::test]
async fn connections_that_are_slow() {
    let BadNetwork { mut run, mut before_ingress, mut before_worker } =
        BadNetwork::start("slow").await.unwrap();
    run.strike(rounds() / 2, async |_| {
        before_worker.delay(SLOW);
        before_ingress.delay(SLOW);
        sleep(SLOW_FOR).await;
        before_ingress.restore()?;
        before_worker.restore()
    })
    .await
    .unwrap();
    for proxy in [&before_ingress, &before_worker] {
        assert!(proxy.held_back() > 0, "nothing was slow");
    }
    run.end().await.unwrap();
}

/// Waits until somebody has given up a connection that leads nowhere.
async fn is_noticed(proxy: &FaultProxy, before: usize) -> Result<()> {
    eventually(SOON, "a dead connection to be given up", || async {
        ensure!(proxy.broken() > before, "none was");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn connections_that_stall() {
    let BadNetwork { mut run, mut before_ingress, mut before_worker } =
        BadNetwork::start("stalled").await.unwrap();
    run.under_load(jobs() / 2, async |_| {
        let before = before_worker.broken();
        before_worker.stall();
        sleep(STALLED_FOR).await;
        before_worker.restore()?;
        is_noticed(&before_worker, before).await
    })
    .await
    .unwrap();
    run.under_load(jobs() / 2, async |crew| {
        let before = before_ingress.broken();
        before_ingress.stall();
        crew.is_spooling().await?;
        sleep(STALLED_FOR).await;
        before_ingress.restore()?;
        is_noticed(&before_ingress, before).await
    })
    .await
    .unwrap();
    run.end().await.unwrap();
}
