//! What targets are called, and which systems they name.

use std::collections::BTreeMap;

use config::{Faults, Node};
use proto::TargetName;

use super::{System, TypedTarget};

/// A target as typed, and the system it names.
pub(super) fn read_target(node: &Node, faults: &mut Faults) -> Option<(String, TypedTarget)> {
    if node.get("at").is_none() {
        // In the ingress's words, so that a process that is both says it once.
        let fault = node.fault("the target does not say where it runs");
        faults.push(fault.hint("add `at: <system>`, one of `systems`"));
        if !node.is_map() {
            return None;
        }
    }
    let mut typed: TypedTarget = node.read(faults)?;
    Some((typed.at.take()?, typed))
}

pub(super) fn unknown_system(node: &Node, at: &str, systems: &BTreeMap<String, System>) -> config::Fault {
    let known: Vec<_> = systems.keys().map(|name| format!("`{name}`")).collect();
    let hint = if known.is_empty() {
        "declare it under `systems`".to_owned()
    } else {
        format!("declare it under `systems`, or use one of {}", known.join(", "))
    };
    node.get("at").unwrap_or(node).fault(format!("there is no system `{at}`")).hint(hint)
}

/// A key is a name within its system's pool; written with its pool, it must be that one.
pub(super) fn target_name(
    key: &str,
    system: &System,
    node: &Node,
    faults: &mut Faults,
) -> Option<TargetName> {
    let named = match key.contains('/') {
        true => key.parse(),
        false => TargetName::new(system.pool.clone(), key),
    };
    match named {
        Ok(name) if name.pool() == &system.pool => Some(name),
        Ok(name) => {
            let message = format!("its system belongs to the pool `{}`, not `{}`", system.pool, name.pool());
            faults.push(node.fault(message).hint("leave the pool out of the name: it is the system's"));
            None
        }
        Err(error) => {
            let hint = "rename the target, as in `targets: {blog: {…}}`";
            faults.push(node.fault(error.to_string()).hint(hint));
            None
        }
    }
}
