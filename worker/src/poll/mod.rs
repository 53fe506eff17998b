//! Looking at registries for what targets follow, and telling the ingresses of what is new there.
//!
//! One worker of a pool looks for all of it. It asks for every tag once, however many targets follow it, and tells
//! of a tag only while a target runs something else. What a new worker tells again, ingresses know; of patterns whose
//! tags have no order it remembers which it saw, for as long as it runs.

mod challenge;
mod choice;
mod limit;
mod memory;
mod notices;
mod pauses;
pub(crate) mod registry;
mod round;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use proto::{PoolName, TargetName};
use queue::Lock;
use tokio::time::{Instant, sleep};

pub(crate) use self::memory::Memory;
use self::{registry::RegistryClient, round::Round};
use crate::{
    execute::Executor,
    settings::{Poll, Registry},
    verdict::{chain, chance},
};

/// The pool in whose name the pools' lookers are told apart by their locks; no system may belong to it.
pub(crate) const RESERVED_POOL: &str = proto::LOOKS;

/// How soon another worker takes over the looking, and how soon after that it first looks.
const TAKE_OVER_WITHIN: Duration = Duration::from_secs(10);

/// How often the one that looks makes sure that it is still the one.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// How to look, and the keys to the registries.
#[derive(Clone)]
pub(crate) struct Polling {
    pub(crate) settings: Poll,
    pub(crate) registries: BTreeMap<String, Registry>,
}

/// Looks for the targets of `pool`, whenever no other worker does, until it is dropped.
pub(crate) async fn poll(executor: Arc<Executor>, pool: PoolName, polling: Polling, memory: Arc<Memory>) {
    let Polling { settings, registries } = polling;
    let soon = settings.every.min(TAKE_OVER_WITHIN);
    let (source, registries) =
        (settings.source.clone(), RegistryClient::new(registries).heeding(memory.pauses()));
    let mut round = Round::new(pool.clone(), source, registries, memory.of(&pool));
    loop {
        let Some(lock) = lead(&executor, &pool).await else {
            sleep(soon).await;
            continue;
        };
        tracing::info!(%pool, every = %config::Span(settings.every), "this worker looks at the registries");
        let mut next = Instant::now() + soon.mul_f64(chance());
        while lock.is_held() {
            if Instant::now() < next {
                sleep(CHECK_EVERY.min(next.duration_since(Instant::now()))).await;
                continue;
            }
            round.look(&executor).await;
            // Not in step with anybody else's workers.
            next = Instant::now() + settings.every.mul_f64(0.9 + 0.2 * chance());
        }
        executor.fleet.roster().looked(&pool, None);
    }
}

/// The right to look for a pool; none while another worker has it.
async fn lead(executor: &Executor, pool: &PoolName) -> Option<Lock> {
    let reserved: PoolName = RESERVED_POOL.parse().ok()?;
    let name = TargetName::new(reserved, pool.as_str()).ok()?;
    executor.queue.lock(&name).await.unwrap_or_else(|error| {
        tracing::debug!(%pool, error = chain(&error), "cannot tell who looks at the registries");
        None
    })
}
