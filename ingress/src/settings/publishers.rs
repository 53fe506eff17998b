//! `access: {amqp: …}`: what users of the broker may ask for.

use std::collections::BTreeMap;

use config::{Faults, Node};
use proto::Operation;

use super::{section, source::names};
use crate::{
    publishers::{Grant, Publishers, is_operation, is_pattern},
    section::PublisherSection,
};

pub(super) fn read(node: Option<&Node>, faults: &mut Faults) -> Option<Publishers> {
    let (mut grants, mut sound) = (BTreeMap::new(), true);
    for (key, node) in section(node, faults)? {
        match grant(node, faults) {
            Some(grant) => _ = grants.insert(key.text.clone(), grant),
            None => sound = false,
        }
    }
    sound.then(|| Publishers::new(grants))
}

fn grant(node: &Node, faults: &mut Faults) -> Option<Grant> {
    let typed: PublisherSection = node.read(faults)?;
    let targets = names(typed.targets);
    let operations = typed.operations.map_or_else(Grant::usual_operations, names);
    let before = faults.len();
    let place = |key: &str| node.get(key).unwrap_or(node);
    if targets.is_empty() {
        faults
            .push(place("targets").fault("no target is named").hint("write `web`, `web-*`, or `*` for all"));
    }
    if operations.is_empty() {
        let fault = place("operations").fault("no operation is named");
        faults.push(fault.hint("leave `operations` out for `set-image` alone"));
    }
    for wrong in targets.iter().filter(|pattern| !is_pattern(pattern)) {
        let fault = place("targets").fault(format!("`{wrong}` is no pattern for targets"));
        faults.push(fault.hint("write `web`, `web-*`, `office/*`, or `*` for all"));
    }
    for wrong in operations.iter().filter(|name| !is_operation(name)) {
        let fault = place("operations").fault(format!("there is no operation `{wrong}`"));
        faults.push(fault.hint(format!("known are `{}`, and `*` for all", Operation::TYPES.join("`, `"))));
    }
    (faults.len() == before).then_some(Grant { targets, operations })
}
