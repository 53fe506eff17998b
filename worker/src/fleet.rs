//! The targets this worker can change.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use proto::{Operation, PoolName, TargetName};

use crate::{
    WorkerError,
    rooms::{Room, Rooms},
    roster::{self, Declared, Place, Roster, Searched},
    settings::{Reserved, Settings, System, SystemKind, TargetKind, TargetSettings},
    target::{
        Target,
        kubernetes::Kubernetes,
        portainer::{Portainer, PortainerSettings, PortainerStack},
        rancher::Rancher,
        rehearsal::Rehearsal,
        swarm::{Discover, Registries, Swarm, SwarmSettings, full_name, sweep},
    },
    twins::{self, Suspects},
};

/// Every target by its name, and the pools they belong to.
pub(crate) struct Fleet {
    targets: HashMap<TargetName, Arc<dyn Target>>,
    pools: BTreeSet<PoolName>,
    ranchers: HashMap<String, Rancher>,
    /// Those of the configuration again, and those that were found.
    roster: Arc<Roster>,
    portainers: Vec<PortainerTargets>,
    /// A target on each swarm that is not looked through, by which it is known whether that can be reached.
    unsearched: BTreeMap<String, Arc<dyn Target>>,
    /// Targets that may be one thing.
    suspects: Vec<Suspects>,
    rooms: Rooms,
    /// Secrets that are for some targets only.
    reserved: Reserved,
}

/// A Portainer and the targets on it.
pub(crate) struct PortainerTargets {
    pub(crate) pool: PoolName,
    pub(crate) portainer: Portainer,
    pub(crate) stacks: Vec<(TargetName, PortainerStack)>,
}

impl Fleet {
    /// Builds what the settings name. Connects to nothing: a system that is down is met job by job.
    pub(crate) fn new(settings: &Settings) -> Result<Fleet, WorkerError> {
        let (mut swarms, mut portainers) = (HashMap::new(), BTreeMap::new());
        let mut ranchers = HashMap::new();
        let mut clusters = HashMap::new();
        let rooms = settings.data.join("stacks");
        sweep(&rooms);
        for (name, system) in &settings.systems {
            match &system.kind {
                SystemKind::Swarm(swarm) => {
                    let keys = registry_keys(settings);
                    let swarm = Swarm::new(name, swarm, keys).map_err(|source| WorkerError::System {
                        system: name.clone(),
                        source: Box::new(source),
                    })?;
                    let secrets = settings.secrets.clone();
                    swarms.insert(name.clone(), swarm.with_stacks(&rooms, secrets));
                }
                SystemKind::Portainer(portainer) => {
                    let built = portainer_of((name, portainer), settings, &portainers)?;
                    portainers.insert(name.clone(), built);
                }
                SystemKind::Rancher(rancher) => {
                    let rancher = Rancher::new(name, rancher).map_err(|source| WorkerError::System {
                        system: name.clone(),
                        source: Box::new(source),
                    })?;
                    let rancher = rancher.with(settings.registries.clone(), registry_keys(settings));
                    ranchers.insert(name.clone(), rancher);
                }
                SystemKind::Kubernetes(kubernetes) => {
                    let cluster = Kubernetes::new(name, kubernetes).map_err(|source| {
                        WorkerError::System { system: name.clone(), source: Box::new(source) }
                    })?;
                    let cluster = cluster.with(settings.registries.clone(), registry_keys(settings));
                    clusters.insert(name.clone(), cluster);
                }
                SystemKind::Rehearsal {} => {}
            }
        }
        let build = |target: &TargetSettings| -> Option<(TargetName, Arc<dyn Target>)> {
            let built: Arc<dyn Target> = match &target.kind {
                TargetKind::SwarmService { service, policy } => {
                    Arc::new(swarms.get(&target.system)?.service(service).with(*policy))
                }
                TargetKind::ServiceOfStack { stack, service, policy } => {
                    Arc::new(swarms.get(&target.system)?.service_of(stack, service).with(*policy))
                }
                TargetKind::SwarmStack { stack, policy } => {
                    Arc::new(swarms.get(&target.system)?.stack(stack).with(*policy))
                }
                TargetKind::PortainerStack { stack, policy } => {
                    Arc::new(portainers.get(&target.system)?.stack(stack).with(*policy))
                }
                TargetKind::RancherWorkload { workload, container, policy } => {
                    let rancher: &Rancher = ranchers.get(&target.system)?;
                    Arc::new(rancher.workload(workload, container.as_deref()).with(*policy))
                }
                TargetKind::Workload { place, container, policy } => {
                    let cluster: &Kubernetes = clusters.get(&target.system)?;
                    Arc::new(cluster.workload(place, container.as_deref()).with(*policy))
                }
                TargetKind::Rehearsal(rehearsal) => Arc::new(Rehearsal::new(
                    &target.name,
                    rehearsal.clone(),
                    &settings.data.join("rehearsal"),
                )),
            };
            Some((target.name.clone(), built))
        };
        let roster = Arc::new(Roster::new(places(settings, &swarms)));
        let suspects = twins::suspects(settings, &swarms);
        let targets: HashMap<TargetName, Arc<dyn Target>> =
            settings.targets.iter().filter_map(build).collect();
        let unsearched = unsearched(settings, &targets);
        let portainers: Vec<PortainerTargets> = portainers
            .into_iter()
            .filter_map(|(name, portainer)| stacks_of((&name, portainer), settings))
            .collect();
        let rooms = Rooms::new(settings, &portainers);
        let (pools, reserved) = (settings.pools(), settings.reserved.clone());
        Ok(Fleet { targets, pools, ranchers, roster, portainers, unsearched, suspects, rooms, reserved })
    }

    /// Finds out whether a target is given all the secrets that a job asks for.
    ///
    /// # Errors
    /// Which it is not, in a sentence for people.
    pub(crate) fn gives(&self, target: &TargetName, operation: &Operation) -> Result<(), String> {
        let Some(name) = self.reserved.withheld(target, operation) else { return Ok(()) };
        Err(format!(
            "the secret `{name}` is not for the target `{target}`: add the target to `secrets.{name}.targets` in the \
             worker's configuration, or ask for another secret"
        ))
    }

    /// Targets of a test's own.
    #[cfg(test)]
    pub(crate) fn of(targets: HashMap<TargetName, Arc<dyn Target>>) -> Fleet {
        let pools = targets.keys().map(|name| name.pool().clone()).collect();
        Fleet {
            targets,
            pools,
            ranchers: HashMap::new(),
            roster: Arc::default(),
            portainers: Vec::new(),
            unsearched: BTreeMap::new(),
            suspects: Vec::new(),
            rooms: Rooms::default(),
            reserved: Reserved::default(),
        }
    }

    /// Room for one more job of a target on its system, where there is any.
    pub(crate) fn room(&self, target: &TargetName) -> Room {
        self.rooms.take(target)
    }

    /// The Portainer that is configured under this name.
    pub(crate) fn portainer(&self, system: &str) -> Option<&Portainer> {
        self.portainers.iter().map(|one| &one.portainer).find(|portainer| portainer.system() == system)
    }

    /// The Portainers of a pool, each with the targets on it.
    pub(crate) fn portainers(&self, pool: &PoolName) -> impl Iterator<Item = &PortainerTargets> {
        self.portainers.iter().filter(move |portainer| portainer.pool == *pool)
    }

    pub(crate) fn target(&self, name: &TargetName) -> Option<Arc<dyn Target>> {
        self.targets.get(name).cloned().or_else(|| self.roster.target(name))
    }

    /// Every Rancher by its name.
    pub(crate) fn ranchers(&self) -> impl Iterator<Item = (&String, &Rancher)> {
        self.ranchers.iter()
    }

    /// Swarms that are not looked through, each with one of its targets.
    pub(crate) fn unsearched(&self) -> impl Iterator<Item = (&String, &Arc<dyn Target>)> {
        self.unsearched.iter()
    }

    /// Targets that are one thing, should their systems turn out to be one swarm.
    pub(crate) fn suspects(&self) -> &[Suspects] {
        &self.suspects
    }

    /// What the systems have.
    pub(crate) fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// The pools of all systems: a system without targets of its own may yet get jobs for targets that only
    /// a newer configuration names.
    pub(crate) fn pools(&self) -> &BTreeSet<PoolName> {
        &self.pools
    }

    pub(crate) fn len(&self) -> usize {
        self.targets.len()
    }
}

/// A Portainer; one that the configuration names before, for another environment, shares its login and its bound.
fn portainer_of(
    (name, meant): (&String, &PortainerSettings),
    settings: &Settings,
    built: &BTreeMap<String, Portainer>,
) -> Result<Portainer, WorkerError> {
    let twin = built.iter().find_map(|(other, portainer)| match &settings.systems.get(other)?.kind {
        SystemKind::Portainer(known) if known.is_same_portainer(meant) => Some(portainer),
        SystemKind::Portainer(_)
        | SystemKind::Swarm(_)
        | SystemKind::Rancher(_)
        | SystemKind::Kubernetes(_)
        | SystemKind::Rehearsal {} => None,
    });
    if let Some(twin) = twin {
        return Ok(twin.beside(name, meant.environment.clone()));
    }
    let portainer = Portainer::new(name, meant)
        .map_err(|source| WorkerError::System { system: name.clone(), source: Box::new(source) })?;
    Ok(portainer.with(registry_keys(settings), settings.secrets.clone()))
}

/// A target on each swarm that nobody looks through for others.
fn unsearched(
    settings: &Settings,
    targets: &HashMap<TargetName, Arc<dyn Target>>,
) -> BTreeMap<String, Arc<dyn Target>> {
    let mut found = BTreeMap::new();
    for target in &settings.targets {
        let kind = settings.systems.get(&target.system).map(|system| &system.kind);
        let is_watched = match kind {
            Some(SystemKind::Swarm(swarm)) => swarm.discover.is_none(),
            // A Portainer shuts out who logs in too often, and a Rancher is asked about its key.
            Some(
                SystemKind::Portainer(_)
                | SystemKind::Rancher(_)
                | SystemKind::Kubernetes(_)
                | SystemKind::Rehearsal {},
            )
            | None => false,
        };
        if let Some(built) = targets.get(&target.name).filter(|_| is_watched) {
            found.entry(target.system.clone()).or_insert_with(|| Arc::clone(built));
        }
    }
    found
}

/// The targets on a Portainer.
fn stacks_of((name, portainer): (&String, Portainer), settings: &Settings) -> Option<PortainerTargets> {
    let pool = settings.systems.get(name)?.pool.clone();
    let here = settings.targets.iter().filter(|target| target.system == *name);
    let stacks = here.filter_map(|target| match &target.kind {
        TargetKind::PortainerStack { stack, .. } => Some((target.name.clone(), portainer.stack(stack))),
        TargetKind::SwarmService { .. }
        | TargetKind::ServiceOfStack { .. }
        | TargetKind::SwarmStack { .. }
        | TargetKind::RancherWorkload { .. }
        | TargetKind::Workload { .. }
        | TargetKind::Rehearsal(_) => None,
    });
    let stacks = stacks.collect();
    Some(PortainerTargets { pool, portainer, stacks })
}

/// The systems, with what the configuration declares on each.
fn places(settings: &Settings, swarms: &HashMap<String, Swarm>) -> BTreeMap<String, Place> {
    let place = |(name, system): (&String, &System)| {
        let ours = settings.targets.iter().filter(|target| target.system == *name);
        let listing = |target: &TargetSettings| {
            let kind = match &target.kind {
                TargetKind::SwarmService { .. } | TargetKind::ServiceOfStack { .. } => "swarm-service",
                TargetKind::SwarmStack { .. } => "swarm-stack",
                TargetKind::PortainerStack { .. } => "portainer-stack",
                TargetKind::RancherWorkload { .. } => "rancher-workload",
                TargetKind::Workload { .. } => "kubernetes-workload",
                TargetKind::Rehearsal(_) => "rehearsal",
            };
            roster::declared(&target.name, kind, &target.follows)
        };
        let (kind, searched) = match &system.kind {
            SystemKind::Swarm(swarm) => ("swarm", searched(name, swarm, settings, swarms)),
            SystemKind::Portainer(_) => ("portainer", None),
            SystemKind::Rancher(_) => ("rancher", None),
            SystemKind::Kubernetes(_) => ("kubernetes", None),
            SystemKind::Rehearsal {} => ("rehearsal", None),
        };
        (
            name.clone(),
            Place { pool: system.pool.clone(), kind, declared: ours.map(listing).collect(), searched },
        )
    };
    settings.systems.iter().map(place).collect()
}

fn searched(
    system: &str,
    swarm: &SwarmSettings,
    settings: &Settings,
    swarms: &HashMap<String, Swarm>,
) -> Option<Searched> {
    match swarm.discover {
        None => None,
        Some(Discover::Labels) => {
            let host = swarm.host.to_string();
            let declared = declared_at(&host, settings);
            Some(Searched { swarm: swarms.get(system)?.clone(), declared })
        }
    }
}

/// What the configuration declares on the swarm at `host`, by whatever system.
fn declared_at(host: &str, settings: &Settings) -> Declared {
    let mut declared = Declared::default();
    for target in &settings.targets {
        let system = settings.systems.get(&target.system).map(|system| &system.kind);
        let is_here = matches!(system, Some(SystemKind::Swarm(swarm)) if swarm.host.to_string() == host);
        match &target.kind {
            TargetKind::SwarmService { service, .. } if is_here => {
                declared.services.insert(service.clone());
            }
            TargetKind::ServiceOfStack { stack, service, .. } if is_here => {
                declared.services.insert(full_name(stack, service));
            }
            TargetKind::SwarmStack { stack, .. } if is_here => {
                declared.stacks.insert(stack.clone());
            }
            TargetKind::SwarmService { .. }
            | TargetKind::ServiceOfStack { .. }
            | TargetKind::SwarmStack { .. }
            | TargetKind::PortainerStack { .. }
            | TargetKind::RancherWorkload { .. }
            | TargetKind::Workload { .. }
            | TargetKind::Rehearsal(_) => {}
        }
    }
    declared
}

fn registry_keys(settings: &Settings) -> Registries {
    let mut keys = Registries::default();
    for (host, registry) in &settings.registries {
        if let Some(other) = &registry.pull_from {
            keys = keys.with_pull_from(host, other);
        }
        if let Some((username, password)) = registry.login() {
            keys = keys.with(host, username, password);
        }
    }
    keys
}
