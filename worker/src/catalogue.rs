//! Telling the ingresses which targets there are: at the start, at every change, and every hour.
//!
//! Several workers of a pool see the same: what one has just told, the others need not repeat.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use proto::{Catalogue, FaultKind, Inventory, LOOKS, ListingFault, PoolName, Timestamp};
use queue::{Entry, Queue, Recorded};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::verdict::{chain, chance};

/// How old the last word on a system may be.
const RENEW_AFTER: Duration = Duration::from_secs(60 * 60);

/// How often it is looked how old it is.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Workers that see a change at the same time wait for up to so long, and hear of each other.
const SPREAD: Duration = Duration::from_millis(500);

/// Pause before it is told again after that failed.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// What was told last of each system, by whomever.
#[derive(Debug, Default)]
pub(crate) struct Heard(Mutex<BTreeMap<(PoolName, String), (Timestamp, Inventory)>>);

impl Heard {
    /// Reads one entry of the history.
    pub(crate) fn read(&self, recorded: &Recorded) {
        if let Entry::Catalogue(catalogue) = &recorded.entry {
            let name = (catalogue.data.pool.clone(), catalogue.data.system.clone());
            let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            heard.insert(name, (catalogue.time, catalogue.data.clone()));
        }
    }

    /// Whether this very word was said after `since`.
    fn has(&self, inventory: &Inventory, since: Timestamp) -> bool {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = heard.get(&(inventory.pool.clone(), inventory.system.clone()));
        last.is_some_and(|(time, told)| *time > since && told == inventory)
    }

    /// Whether anything was said of the system after `since`.
    fn has_any(&self, inventory: &Inventory, since: Timestamp) -> bool {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = heard.get(&(inventory.pool.clone(), inventory.system.clone()));
        last.is_some_and(|(time, _)| *time > since)
    }
}

/// Tells what the systems have, until it is dropped. A system of which others tell otherwise is told of at our own
/// changes only: workers of two configurations would contradict each other without end.
pub(crate) async fn tell(
    queue: Arc<dyn Queue>,
    heard: Arc<Heard>,
    mut inventories: watch::Receiver<BTreeMap<String, Inventory>>,
) {
    let mut told: BTreeMap<String, Inventory> = BTreeMap::new();
    loop {
        sleep(SPREAD.mul_f64(chance())).await;
        let now = inventories.borrow_and_update().clone();
        let since = Timestamp::now() - RENEW_AFTER;
        let mut failed = false;
        for (system, inventory) in &now {
            let former = told.get(system);
            let is_new = former != Some(inventory);
            // Where nobody ever said that looks fail, nobody need hear that they do not.
            if inventory.system == LOOKS
                && inventory.faults.is_empty()
                && !heard.has_any(inventory, Timestamp::MIN)
            {
                continue;
            }
            let is_said = if is_new { heard.has(inventory, since) } else { heard.has_any(inventory, since) };
            if !is_said && let Err(error) = queue.list(&Catalogue::of(inventory.clone())).await {
                tracing::debug!(system, error = chain(&error), "cannot tell which targets there are");
                failed = true;
                continue;
            }
            if is_new {
                log(system, inventory, former);
            }
            told.insert(system.clone(), inventory.clone());
        }
        let pause = if failed { AGAIN_AFTER } else { LOOK_EVERY };
        if let Ok(Err(_)) = timeout(pause, inventories.changed()).await {
            return;
        }
    }
}

/// Says what is new. What is wrong with a system or a look was said by whoever met it.
fn log(system: &str, inventory: &Inventory, former: Option<&Inventory>) {
    let found = inventory.targets.iter().filter(|listing| listing.discovered).count();
    if former.is_none_or(|former| former.targets != inventory.targets) && !inventory.unsearched {
        tracing::info!(system, targets = inventory.targets.len(), found, "its targets are known");
    }
    let is_new = |fault: &&ListingFault| !former.is_some_and(|former| former.faults.contains(fault));
    for fault in inventory.faults.iter().filter(is_new).filter(|fault| fault.kind == FaultKind::NoTarget) {
        tracing::warn!(system, thing = fault.thing, why = fault.text, hint = fault.hint, "is no target");
    }
}
