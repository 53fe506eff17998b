//! What a target on a cluster of Kubernetes is: one workload.

use config::{Faults, Node};

use super::{TargetKind, TypedTarget, things};
use crate::target::{
    kubernetes::{WorkloadName, WorkloadNameError},
    swarm::Policy,
};

const HINT: &str = "name the workload as in `workload: shop/deployment/web`";

/// A workload, named in one word or in three.
pub(super) fn workload_kind(typed: &TypedTarget, node: &Node, faults: &mut Faults) -> Option<TargetKind> {
    things::foreign(node, &[things::OF_REHEARSALS, &["service", "stack", "cluster"]], "kubernetes", faults);
    let place = place(typed, node, faults)?;
    let policy =
        Policy { stable: typed.stable.map(|span| span.0), rollback: typed.rollback.unwrap_or_default() };
    Some(TargetKind::Workload { place, container: typed.container.clone(), policy })
}

/// A workload of some cluster, named in one word or in three.
pub(super) fn place(typed: &TypedTarget, node: &Node, faults: &mut Faults) -> Option<WorkloadName> {
    let parts = (&typed.namespace, typed.kind, &typed.name);
    let (key, named) = match (&typed.workload, parts) {
        (Some(text), (None, None, None)) => ("workload", text.parse::<WorkloadName>()),
        (Some(_), _) => {
            let place = ["namespace", "kind", "name"].iter().find_map(|key| node.get(key)).unwrap_or(node);
            faults.push(
                place.fault("`workload` says this already").hint("keep `workload` alone, or the three keys"),
            );
            return None;
        }
        (None, (Some(namespace), Some(kind), Some(name))) => {
            let place = WorkloadName { namespace: namespace.clone(), kind, name: name.clone() };
            ("name", place.check().map(|()| place))
        }
        (None, (namespace, kind, name)) => {
            let given =
                [("namespace", namespace.is_some()), ("kind", kind.is_some()), ("name", name.is_some())];
            let missing: Vec<String> =
                given.iter().filter(|(_, given)| !given).map(|(key, _)| format!("`{key}`")).collect();
            let what = match missing.len() {
                3 => "no `workload` is given".to_owned(),
                _ => format!("no {} is given", missing.join(" and no ")),
            };
            faults.push(node.fault(what).hint(HINT));
            return None;
        }
    };
    match named {
        Ok(place) => Some(place),
        Err(error) => {
            faults.push(fault(node.get(key).unwrap_or(node), &error));
            None
        }
    }
}

/// What is wrong, and, below it, how to mend it.
fn fault(place: &Node, error: &WorkloadNameError) -> config::Fault {
    let text = error.to_string();
    match text.split_once("\nhint: ") {
        Some((what, hint)) => place.fault(what).hint(hint),
        None => place.fault(text).hint(HINT),
    }
}
