//! Docker Swarm.
use crate::{Registry, WorkerError};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
/// stub
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct SwarmSettings {
    host: String,
}
/// stub
pub struct Swarm;
impl Swarm {
    pub(crate) fn new(
        _: &str,
        _: &SwarmSettings,
        _: &BTreeMap<String, Registry>,
    ) -> Result<Swarm, WorkerError> {
        Ok(Swarm)
    }
    pub(crate) fn service(&self, _: &str) -> super::rehearsal::Rehearsal {
        todo!()
    }
}
