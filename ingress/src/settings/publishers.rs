//! `access: {amqp: …}`: what users of the broker may ask for.

use std::collections::BTreeMap;

use config::{Faults, Node};

use super::{section, source::names};
use crate::{
    access::scope::{Scope, ScopeError},
    publishers::Publishers,
    section::PublisherSection,
};

pub(super) fn read(node: Option<&Node>, faults: &mut Faults) -> Option<Publishers> {
    let (mut scopes, mut sound) = (BTreeMap::new(), true);
    for (key, node) in section(node, faults)? {
        match scope(node, faults) {
            Some(scope) => _ = scopes.insert(key.text.clone(), scope),
            None => sound = false,
        }
    }
    sound.then(|| Publishers::new(scopes))
}

/// What is done where nothing is said: what CI does.
const USUAL: &str = "set-image";

fn scope(node: &Node, faults: &mut Faults) -> Option<Scope> {
    let typed: PublisherSection = node.read(faults)?;
    let targets = names(typed.targets);
    let operations = typed.operations.map_or_else(|| vec![USUAL.to_owned()], names);
    let place = |key: &str| node.get(key).unwrap_or(node);
    let scope = Scope { targets, operations, sources: Vec::new() };
    let (key, fault) = match scope.check() {
        _ if scope.targets.is_empty() => {
            ("targets", ("no target is named".to_owned(), "write `web`, `web-*`, or `*` for all".to_owned()))
        }
        _ if scope.operations.is_empty() => {
            let hint = format!("leave `operations` out for `{USUAL}` alone");
            ("operations", ("no operation is named".to_owned(), hint))
        }
        Ok(()) => return Some(scope),
        Err(error @ ScopeError::Operation(_)) => ("operations", (error.to_string(), error.hint())),
        Err(error @ (ScopeError::Target(_) | ScopeError::Source(_) | ScopeError::Nothing)) => {
            ("targets", (error.to_string(), error.hint()))
        }
    };
    faults.push(place(key).fault(fault.0).hint(fault.1));
    None
}
