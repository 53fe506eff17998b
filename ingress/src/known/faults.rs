//! What of the targets that workers tell of does not work.

use proto::{Inventory, ListingFault, api::TargetFault};

use super::found_on;
use crate::{settings::Settings, windows::UnknownWindow};

/// What workers tell of, and what a window is missing for.
pub(super) fn faults_of(inventory: &Inventory, settings: &Settings) -> Vec<TargetFault> {
    let told = inventory.faults.iter().cloned().map(|fault| fault_on(inventory, fault));
    told.chain(closed(inventory, settings)).collect()
}

/// What a window is missing for. Whatever else there is, the worker that met it has it in its log.
pub(super) fn closed(inventory: &Inventory, settings: &Settings) -> Vec<TargetFault> {
    let found = inventory.targets.iter().filter(|listing| listing.discovered);
    let closed = found.filter_map(|listing| {
        let UnknownWindow(name) = found_on(listing, inventory, &settings.windows).err()?;
        let text =
            format!("it names the window `{name}`, which this server's configuration does not declare");
        let hint = "declare it under `windows`, or take the label `longshore.window` off".to_owned();
        Some(fault_on(inventory, ListingFault::no_target(format!("`{}`", listing.target), text, hint)))
    });
    closed.collect()
}

fn fault_on(inventory: &Inventory, fault: ListingFault) -> TargetFault {
    let ListingFault { thing, text, hint, kind, targets } = fault;
    let (pool, system) = (inventory.pool.clone(), inventory.system.clone());
    TargetFault { pool, system, thing, text, hint, kind, targets }
}

/// What is missing a window since the configuration says something else.
pub(super) fn news_of(inventory: &Inventory, former: &Settings, settings: &Settings) -> Vec<TargetFault> {
    let known = closed(inventory, former);
    closed(inventory, settings).into_iter().filter(|fault| !known.contains(fault)).collect()
}

pub(super) fn warn_of(faults: &[TargetFault]) {
    for TargetFault { pool, system, thing, text, .. } in faults {
        tracing::warn!(%pool, system, thing, why = text, "is no target");
    }
}
