//! The worker's sections of the configuration: as typed, then as meant.

mod described;
mod follow;
mod limits;
mod names;
mod poll;
mod rancher;
mod registry;
mod secrets;
mod typed;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use config::{Document, Faults, Key, Node};
use proto::{Follow, PoolName, TargetName};
use schemars::JsonSchema;

pub use self::limits::Limits;
use self::names::{read_target, target_name, unknown_system};
pub(crate) use self::poll::Poll;
pub use self::registry::Registry;
pub use self::secrets::NamedSecret;
pub(crate) use self::secrets::Reserved;
pub(crate) use self::things::is_same_thing;
pub use self::typed::TypedTarget;
use crate::index::WINDOW;
use crate::poll::RESERVED_POOL;
use crate::target::{
    kubernetes::{KubernetesSettings, WorkloadName},
    portainer::PortainerSettings,
    rancher::{RancherSettings, RancherWorkload},
    rehearsal::RehearsalSettings,
    swarm::{Policy, Secrets, SwarmSettings},
};

/// All that a worker was told.
#[derive(Debug, Clone)]
pub struct Settings {
    pub(crate) limits: Limits,
    pub(crate) registries: BTreeMap<String, Registry>,
    /// What stacks may ask for by name.
    pub(crate) secrets: Secrets,
    /// Which of them are for some targets only.
    pub(crate) reserved: Reserved,
    pub(crate) systems: BTreeMap<String, System>,
    pub(crate) targets: Vec<TargetSettings>,
    pub(crate) data: PathBuf,
    /// How registries are looked at, where they are.
    pub(crate) poll: Option<Poll>,
    /// How far back the history is read at the start.
    pub(crate) window: Duration,
}

/// `systems.<name>`: something that runs things, and the pool of the workers that reach it.
#[derive(Debug, Clone)]
pub(crate) struct System {
    pub(crate) pool: PoolName,
    pub(crate) kind: SystemKind,
}

/// What kind of thing a system is.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(tag = "kind", rename_all = "kebab-case")]
pub enum SystemKind {
    /// A Docker Swarm.
    Swarm(SwarmSettings),
    /// One environment of a Portainer.
    Portainer(PortainerSettings),
    /// A Rancher, with all its clusters.
    Rancher(RancherSettings),
    /// A cluster of Kubernetes.
    Kubernetes(KubernetesSettings),
    /// Nothing at all: rollouts are rehearsed.
    Rehearsal {},
}

/// A target as it is meant.
#[derive(Debug, Clone)]
pub(crate) struct TargetSettings {
    pub(crate) name: TargetName,
    pub(crate) system: String,
    pub(crate) kind: TargetKind,
    /// The images it takes.
    pub(crate) follows: Vec<Follow>,
}

/// The real thing behind a target.
#[derive(Debug, Clone)]
pub(crate) enum TargetKind {
    SwarmService { service: String, policy: Policy },
    ServiceOfStack { stack: String, service: String, policy: Policy },
    SwarmStack { stack: String, policy: Policy },
    PortainerStack { stack: String, policy: Policy },
    RancherWorkload { workload: RancherWorkload, container: Option<String>, policy: Policy },
    Workload { place: WorkloadName, container: Option<String>, policy: Policy },
    Rehearsal(RehearsalSettings),
}

impl Settings {
    /// Where its files are.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// How long running jobs may go on when the worker is asked to stop.
    #[must_use]
    pub fn grace(&self) -> Duration {
        self.limits.grace
    }

    /// Reads the sections `worker`, `registries`, `secrets`, `systems` and `targets`, and of `sources` what polls.
    ///
    /// Every fault is added to `faults`; `None` when there is one.
    #[must_use]
    pub fn read(document: &Document, faults: &mut Faults) -> Option<Settings> {
        let before = faults.len();
        let root = document.root();
        let limits = root.get("worker").map_or_else(|| Some(Limits::default()), |node| node.read(faults));
        let registries = registry::read(root, faults);
        let secrets = secrets::read(root, faults);
        let systems = read_systems(root, faults);
        let targets = read_targets(root, &systems, faults);
        let data =
            root.get("data").map_or_else(|| Some(PathBuf::from("longshore-data")), |node| node.read(faults));
        let poll = poll::read(root, faults);
        let (secrets, reserved) = secrets?;
        let settings = Settings {
            limits: limits?,
            registries: registries?,
            secrets,
            reserved,
            systems,
            targets,
            data: data?,
            poll: poll?,
            window: WINDOW,
        };
        (faults.len() == before).then_some(settings)
    }

    /// Whether a target is a whole stack of a swarm, which the docker command deploys and removes.
    #[must_use]
    pub fn has_stacks(&self) -> bool {
        self.targets.iter().any(|target| matches!(target.kind, TargetKind::SwarmStack { .. }))
    }

    /// The pools of all systems, which a worker with these settings serves.
    #[must_use]
    pub fn pools(&self) -> BTreeSet<PoolName> {
        self.systems.values().map(|system| system.pool.clone()).collect()
    }

    /// The same with another window: how far back the history is read before the first job is taken. What is
    /// older is read when a job turns out to be.
    #[must_use]
    pub fn with_window(mut self, window: Duration) -> Settings {
        self.window = window;
        self
    }

    /// The same with its files below `data`.
    #[must_use]
    pub fn with_data(mut self, data: &Path) -> Settings {
        data.clone_into(&mut self.data);
        self
    }
}

/// The entries of a section that may be left out; a fault when it is no map.
fn section<'a>(node: Option<&'a Node>, faults: &mut Faults) -> Vec<(&'a Key, &'a Node)> {
    let Some(node) = node else { return Vec::new() };
    if !node.is_map() && node.text() != Some("") {
        faults.push(node.fault("expected a map of names").hint("write `<name>: {…}`, one for each"));
    }
    node.entries().collect()
}

fn read_systems(root: &Node, faults: &mut Faults) -> BTreeMap<String, System> {
    let entries = section(root.get("systems"), faults);
    entries
        .into_iter()
        .filter_map(|(key, node)| Some((key.text.clone(), read_system(node, faults)?)))
        .collect()
}

fn read_system(node: &Node, faults: &mut Faults) -> Option<System> {
    let pool = node.get("pool").map_or_else(|| Some(PoolName::default()), |pool| pool.read(faults));
    if pool.as_ref().is_some_and(|pool| pool.as_str() == RESERVED_POOL) {
        let fault = node.get("pool").unwrap_or(node).fault(format!("the pool `{RESERVED_POOL}` is taken"));
        faults.push(fault.hint("choose another name for the pool"));
    }
    let rest = node.without(&["kind", "pool"]);
    let kind = match node.get("kind").and_then(Node::text) {
        Some("swarm") => {
            let swarm: SwarmSettings = rest.read(faults)?;
            swarm.check(node, faults);
            SystemKind::Swarm(swarm)
        }
        Some("portainer") => {
            let portainer: PortainerSettings = rest.read(faults)?;
            portainer.check(node, faults);
            SystemKind::Portainer(portainer)
        }
        Some("rancher") => {
            let rancher: RancherSettings = rest.read(faults)?;
            rancher.check(node, faults);
            SystemKind::Rancher(rancher)
        }
        Some("kubernetes") => {
            let kubernetes: KubernetesSettings = rest.read(faults)?;
            kubernetes.check(node, faults);
            SystemKind::Kubernetes(kubernetes)
        }
        Some("rehearsal") => {
            rest.known_keys(&[], faults);
            SystemKind::Rehearsal {}
        }
        other => {
            let found =
                other.map_or_else(|| "no `kind` is given".into(), |kind| format!("unknown kind `{kind}`"));
            let place = node.get("kind").unwrap_or(node);
            faults.push(place.fault(found).hint(
                "the kinds of systems are `swarm`, `portainer`, `rancher`, `kubernetes` and `rehearsal`",
            ));
            return None;
        }
    };
    Some(System { pool: pool?, kind })
}

fn read_targets(root: &Node, systems: &BTreeMap<String, System>, faults: &mut Faults) -> Vec<TargetSettings> {
    let entries = section(root.get("targets"), faults);
    let mut targets = Vec::new();
    let mut things = things::Things::default();
    for (key, node) in entries {
        let Some((at, typed)) = read_target(node, faults) else { continue };
        let Some(system) = systems.get(&at) else {
            // A system with faults of its own is not missing.
            if root.get("systems").and_then(|systems| systems.get(&at)).is_none() {
                faults.push(unknown_system(node, &at, systems));
            }
            continue;
        };
        let Some(name) = target_name(&key.text, system, node, faults) else { continue };
        let Some(kind) = target_kind(&typed, &system.kind, node, faults) else { continue };
        // The same engine under two names, or in two pools, is one engine.
        if let (Some(thing), Some(host)) = (things::Thing::of(&kind), things::host(&system.kind))
            && let Some(fault) = things.enter(host, thing, node)
        {
            faults.push(fault);
            continue;
        }
        targets.push(TargetSettings { name, system: at, kind, follows: follow::read(node) });
    }
    targets
}

fn target_kind(
    typed: &TypedTarget,
    system: &SystemKind,
    node: &Node,
    faults: &mut Faults,
) -> Option<TargetKind> {
    match system {
        SystemKind::Swarm(_) => {
            things::foreign(node, &[things::OF_REHEARSALS, things::OF_WORKLOADS], "swarm", faults);
            things::swarm_kind(typed, node, faults)
        }
        SystemKind::Portainer(_) => things::portainer_kind(typed, node, faults),
        SystemKind::Rancher(system) => rancher::rancher_kind(typed, system, node, faults),
        SystemKind::Kubernetes(_) => workloads::workload_kind(typed, node, faults),
        SystemKind::Rehearsal {} => {
            things::foreign(
                node,
                &[&["service", "stack", "stable", "rollback"], things::OF_WORKLOADS],
                "rehearsal",
                faults,
            );
            Some(TargetKind::Rehearsal(RehearsalSettings {
                takes: typed.takes,
                ends: typed.ends.unwrap_or_default(),
                dawdles: typed.dawdles.unwrap_or_default(),
                blind: typed.blind.unwrap_or_default(),
            }))
        }
    }
}

mod things;
mod workloads;

#[cfg(test)]
mod tests;
