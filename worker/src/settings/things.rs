//! The real things behind targets: two targets over one of them would write against each other.

use std::collections::BTreeMap;

use config::{Fault, Faults, Node};

use super::{SystemKind, TargetKind, TypedTarget};
use crate::target::{
    kubernetes::WorkloadName,
    swarm::{Policy, full_name},
};

/// What stands on a swarm behind a target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Thing {
    /// One service, by its full name.
    Service(String),
    /// All services of a stack.
    Stack(String),
    /// A workload of Kubernetes, and its cluster where the system has several.
    Workload(String, WorkloadName),
}

/// The keys of targets that rehearse.
pub(super) const OF_REHEARSALS: &[&str] = &["takes", "ends", "dawdles", "blind"];
/// The keys of targets that are workloads.
pub(super) const OF_WORKLOADS: &[&str] = &["workload", "cluster", "namespace", "kind", "name", "container"];

/// The things that have a target already, by the address of their swarm.
#[derive(Default)]
pub(super) struct Things<'a>(BTreeMap<String, Vec<(Thing, &'a Node)>>);

/// What a target on a swarm is: a service, a service of a stack, or the stack.
pub(super) fn swarm_kind(typed: &TypedTarget, node: &Node, faults: &mut Faults) -> Option<TargetKind> {
    let policy =
        Policy { stable: typed.stable.map(|span| span.0), rollback: typed.rollback.unwrap_or_default() };
    match (typed.stack.clone(), typed.service.clone()) {
        (None, Some(service)) => Some(TargetKind::SwarmService { service, policy }),
        (Some(stack), Some(service)) => Some(TargetKind::ServiceOfStack { stack, service, policy }),
        (Some(stack), None) => Some(TargetKind::SwarmStack { stack, policy }),
        (None, None) => {
            let fault = node.fault("neither `service` nor `stack` is given");
            let hint = "name the Swarm service as `docker service ls` shows it, or the stack as `docker stack ls` does";
            faults.push(fault.hint(hint));
            None
        }
    }
}

/// What a target on a Portainer is: a stack.
pub(super) fn portainer_kind(typed: &TypedTarget, node: &Node, faults: &mut Faults) -> Option<TargetKind> {
    foreign(node, &[OF_REHEARSALS, OF_WORKLOADS], "portainer", faults);
    if let Some(service) = node.get("service") {
        let fault =
            service.fault("Portainer writes a stack at once, so the stack is the target and not one service");
        faults.push(
            fault.hint("remove `service`: jobs for the stack can name it, and others find it by its image"),
        );
    }
    let policy =
        Policy { stable: typed.stable.map(|span| span.0), rollback: typed.rollback.unwrap_or_default() };
    match typed.stack.clone() {
        Some(stack) if stack.contains("://") => {
            let fault = node.get("stack").unwrap_or(node).fault("an address names no stack here");
            faults.push(fault.hint(in_place_of(&stack)));
            None
        }
        Some(stack) => Some(TargetKind::PortainerStack { stack, policy }),
        None => {
            let fault = node.fault("no `stack` is given");
            faults.push(fault.hint("name the stack as Portainer shows it, as in `stack: shop`"));
            None
        }
    }
}

/// What to write in the place of a page's address, `…/#!/1/docker/stacks/shop?id=5&type=1`.
fn in_place_of(address: &str) -> String {
    let (_, query) = address.split_once('?').unwrap_or_default();
    let number = query.split('&').find_map(|pair| pair.strip_prefix("id=")).unwrap_or_default();
    if !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()) {
        return format!("write its number, `stack: \"#{number}\"`, or its name");
    }
    "write its name as Portainer shows it, or its number as in `stack: \"#5\"`".to_owned()
}

/// Where the things of a system are, whatever the system is called.
pub(super) fn host(system: &SystemKind) -> Option<String> {
    match system {
        SystemKind::Swarm(swarm) => Some(swarm.host.to_string()),
        SystemKind::Portainer(portainer) => {
            Some(format!("{} {}", portainer.url, portainer.environment.as_deref().unwrap_or_default()))
        }
        SystemKind::Rancher(rancher) => Some(rancher.url.to_string()),
        SystemKind::Kubernetes(kubernetes) => Some(kubernetes.host()),
        SystemKind::Rehearsal {} => None,
    }
}

/// Keys that another kind of target has.
pub(super) fn foreign(node: &Node, keys: &[&[&str]], kind: &str, faults: &mut Faults) {
    for key in keys.iter().copied().flatten() {
        if let Some(value) = node.get(key) {
            faults.push(value.fault(format!("a target on a {kind} system has no `{key}`")).hint("remove it"));
        }
    }
}

impl Thing {
    /// What stands behind a target, where something does.
    pub(super) fn of(kind: &TargetKind) -> Option<Thing> {
        match kind {
            TargetKind::SwarmService { service, .. } => Some(Thing::Service(service.clone())),
            TargetKind::ServiceOfStack { stack, service, .. } => {
                Some(Thing::Service(full_name(stack, service)))
            }
            TargetKind::SwarmStack { stack, .. } | TargetKind::PortainerStack { stack, .. } => {
                Some(Thing::Stack(stack.clone()))
            }
            TargetKind::RancherWorkload { workload, .. } => {
                Some(Thing::Workload(workload.cluster.as_str().to_owned(), workload.workload.clone()))
            }
            TargetKind::Workload { place, .. } => Some(Thing::Workload(String::new(), place.clone())),
            TargetKind::Rehearsal(_) => None,
        }
    }

    /// Whether both are, or hold, the same service. A stack's services have its name before theirs.
    fn meets(&self, other: &Thing) -> bool {
        match (self, other) {
            (Thing::Stack(stack), Thing::Service(service))
            | (Thing::Service(service), Thing::Stack(stack)) => {
                service.strip_prefix(stack.as_str()).is_some_and(|rest| rest.starts_with('_'))
            }
            (one, other) => one == other,
        }
    }
}

/// Whether two targets would be one real thing, were their systems the same.
pub(crate) fn is_same_thing(one: &TargetKind, other: &TargetKind) -> bool {
    Thing::of(one).zip(Thing::of(other)).is_some_and(|(one, other)| one.meets(&other))
}

impl<'a> Things<'a> {
    /// Enters what the target at `node` is; a fault when another has it.
    pub(super) fn enter(&mut self, host: String, thing: Thing, node: &'a Node) -> Option<Fault> {
        let known = self.0.entry(host).or_default();
        let fault = known.iter().find(|(other, _)| other.meets(&thing)).map(|(other, first)| {
            let place = first.place().map(ToString::to_string).unwrap_or_default();
            let place_of_first = &place;
            let first = first.path();
            match (&thing, other) {
                (Thing::Service(service), Thing::Service(_)) => node
                    .fault(format!("the service `{service}` is already the target `{first}` ({place})"))
                    .hint("keep one of the two: a target is the only writer of its service"),
                (Thing::Stack(stack), Thing::Stack(_)) => node
                    .fault(format!("the stack `{stack}` is already the target `{first}` ({place})"))
                    .hint("keep one of the two: a target is the only writer of its stack"),
                (Thing::Service(service), Thing::Stack(stack)) => node
                    .fault(format!(
                        "the service `{service}` is of the stack `{stack}`, which is the target `{first}` ({place})"
                    ))
                    .hint("remove this target: jobs for the stack's target can name the service"),
                (Thing::Stack(stack), Thing::Service(service)) => node
                    .fault(format!(
                        "the stack `{stack}` holds the service `{service}`, which is the target `{first}` ({place})"
                    ))
                    .hint("keep one of the two: jobs for the stack's target can name the service"),
                (Thing::Workload(_, place), _) | (_, Thing::Workload(_, place)) => node
                    .fault(format!("the {place} is already the target `{first}` ({place_of_first})"))
                    .hint("keep one of the two: a target is the only writer of its workload; jobs can name a container"),
            }
        });
        known.push((thing, node));
        fault
    }
}
