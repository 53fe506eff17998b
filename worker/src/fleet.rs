//! The targets this worker can change.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use proto::{PoolName, TargetName};

use crate::{
    WorkerError,
    settings::{Settings, SystemKind, TargetKind, TargetSettings},
    target::{
        Target,
        rehearsal::Rehearsal,
        swarm::{Registries, Swarm},
    },
};

/// Every target by its name, and the pools they belong to.
pub(crate) struct Fleet {
    targets: HashMap<TargetName, Arc<dyn Target>>,
    pools: BTreeSet<PoolName>,
}

impl Fleet {
    /// Builds what the settings name. Connects to nothing: a system that is down is met job by job.
    pub(crate) fn new(settings: &Settings) -> Result<Fleet, WorkerError> {
        let mut swarms = HashMap::new();
        for (name, system) in &settings.systems {
            match &system.kind {
                SystemKind::Swarm(swarm) => {
                    let keys = registry_keys(settings);
                    let swarm = Swarm::new(name, swarm, keys).map_err(|source| WorkerError::System {
                        system: name.clone(),
                        source: Box::new(source),
                    })?;
                    swarms.insert(name.clone(), swarm);
                }
                SystemKind::Rehearsal {} => {}
            }
        }
        let build = |target: &TargetSettings| -> Option<(TargetName, Arc<dyn Target>)> {
            let built: Arc<dyn Target> = match &target.kind {
                TargetKind::SwarmService { service } => {
                    Arc::new(swarms.get(&target.system)?.service(service))
                }
                TargetKind::ServiceOfStack { stack, service } => {
                    Arc::new(swarms.get(&target.system)?.service_of(stack, service))
                }
                TargetKind::SwarmStack { stack } => Arc::new(swarms.get(&target.system)?.stack(stack)),
                TargetKind::Rehearsal(rehearsal) => Arc::new(Rehearsal::new(
                    &target.name,
                    rehearsal.clone(),
                    &settings.data.join("rehearsal"),
                )),
            };
            Some((target.name.clone(), built))
        };
        Ok(Fleet { targets: settings.targets.iter().filter_map(build).collect(), pools: settings.pools() })
    }

    /// Targets of a test's own.
    #[cfg(test)]
    pub(crate) fn of(targets: HashMap<TargetName, Arc<dyn Target>>) -> Fleet {
        let pools = targets.keys().map(|name| name.pool().clone()).collect();
        Fleet { targets, pools }
    }

    pub(crate) fn target(&self, name: &TargetName) -> Option<Arc<dyn Target>> {
        self.targets.get(name).cloned()
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

fn registry_keys(settings: &Settings) -> Registries {
    settings.registries.iter().fold(Registries::default(), |keys, (host, registry)| {
        keys.with(host, &registry.username, registry.password.expose())
    })
}
