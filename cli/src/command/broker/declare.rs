//! Exchanges and queues, declared before anything else runs.

use std::{collections::BTreeSet, error::Error, sync::Arc, time::Duration};

use config::Node;
use proto::PoolName;
use queue::Queue;
use serde::Serialize;
use tokio::time::{sleep, timeout};

use crate::{
    arguments::Setup,
    configuration::Reading,
    exit::Exit,
    failure::{Failure, with_causes},
    output::Output,
    process::{open_queue, require_broker},
};

/// How long the broker may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What was declared.
#[derive(Debug, Serialize)]
struct Declared {
    vhost: String,
    intake: String,
    events: String,
    pools: Vec<PoolName>,
}

pub(super) async fn run(setup: &Setup, output: Output) -> Result<Exit, Failure> {
    let mut reading = Reading::of(&setup.files.config)?;
    let common = reading.common();
    let pools = pools(reading.root());
    let common = reading.finish(common)?;
    require_broker(&common.queue)?;
    let queue::Settings::Amqp(settings) = &common.queue else { return Ok(Exit::Usage) };
    let queue = open_queue(&common.queue, &common.data).await?;
    let declared = declare(&queue, &pools).await;
    queue.close().await;
    declared?;
    let (vhost, prefix) = (settings.vhost.clone(), &settings.prefix);
    let (intake, events) = (format!("{prefix}.intake"), format!("{prefix}.events"));
    let declared = Declared { vhost, intake, events, pools: pools.into_iter().collect() };
    output.document(&declared, || told(&declared));
    Ok(Exit::Succeeded)
}

/// The pools that the systems of the file belong to.
fn pools(root: &Node) -> BTreeSet<PoolName> {
    let systems = root.get("systems").into_iter().flat_map(Node::entries);
    let pool = |system: &Node| match system.get("pool").and_then(Node::text) {
        Some(pool) => pool.parse().ok(),
        None => Some(PoolName::default()),
    };
    systems.filter_map(|(_, system)| pool(system)).collect()
}

async fn declare(queue: &Arc<dyn Queue>, pools: &BTreeSet<PoolName>) -> Result<(), Failure> {
    reach(&**queue).await?;
    for pool in pools {
        let declared = timeout(ANSWER_WITHIN, queue.declare(pool)).await;
        let refused =
            |why: String| Failure::Process { text: format!("cannot declare the pool `{pool}`: {why}") };
        match declared {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(refused(error.to_string())),
            Err(_) => return Err(refused("the broker does not answer".to_owned())),
        }
    }
    Ok(())
}

/// Waits for the broker, and says why while it waits.
async fn reach(queue: &dyn Queue) -> Result<(), Failure> {
    let mut why = None;
    let there = async {
        while !queue.is_available() {
            // Nothing is asked but what keeps it away.
            let looked = queue.is_served(&PoolName::default()).await;
            let found = looked.err().map(|error| with_causes(error.source().unwrap_or(&error)));
            if found.is_some() && found != why {
                eprintln!(
                    "{}; trying for {} s",
                    found.as_deref().unwrap_or_default(),
                    ANSWER_WITHIN.as_secs()
                );
                why = found;
            }
            sleep(LOOK_EVERY).await;
        }
    };
    let reached = timeout(ANSWER_WITHIN, there).await;
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    reached.map_err(|_| Failure::Process {
        text: format!("the broker was not reached within {} s{why}", ANSWER_WITHIN.as_secs()),
    })
}

fn told(declared: &Declared) -> String {
    let Declared { vhost, intake, events, pools } = declared;
    let mut text =
        format!("declared in the virtual host {vhost}: {intake} (publish here), {events} (subscribe here)\n");
    for pool in pools {
        text.push_str(&format!("jobs wait for workers of the pool {pool} from now on\n"));
    }
    text
}
