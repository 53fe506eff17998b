//! What looks at registries remember, from one to the next and over a change of the configuration.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use proto::{PoolName, Repository};

/// The tags of repositories of which patterns are followed, as they were at the last look.
pub(crate) type Tags = HashMap<Repository, BTreeSet<String>>;

/// What is remembered for each pool, for as long as the process runs.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<BTreeMap<PoolName, Arc<Mutex<Tags>>>>);

impl Memory {
    /// What is remembered for a pool.
    pub(super) fn of(&self, pool: &PoolName) -> Arc<Mutex<Tags>> {
        let mut pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(pools.entry(pool.clone()).or_default())
    }
}
