//! Services of a stack that somebody keeps at no task: a start of the stack is not meant for them.

use proto::Operation;

use super::{
    super::{
        lifecycle::stopped_from,
        service::{Mode, Service},
    },
    SwarmStack,
};
use crate::target::TargetError;

/// Whether `operation`, of a whole stack, would run what its author keeps at no task: a migration, a page for
/// maintenance, a second consumer. What a stop took down is told by the count that it noted.
pub(super) fn is_kept_idle(operation: &Operation, service: &Service) -> bool {
    let runs_it = matches!(operation, Operation::Start | Operation::Restart);
    runs_it && service.mode() == Mode::Replicated(0) && stopped_from(service).is_none()
}

impl SwarmStack {
    /// A line for each service that is left at no task.
    pub(super) async fn left_idle(&self, operation: &Operation) -> Result<Vec<String>, TargetError> {
        if !matches!(operation, Operation::Start | Operation::Restart) {
            return Ok(Vec::new());
        }
        let all = self.swarm.client.services_of(&self.name).await?;
        let idle = all.iter().filter(|service| is_kept_idle(operation, service));
        let told = |service: &Service| {
            let name = self.short(service.name());
            format!("{name}: left alone, it had no task before the stack was stopped")
        };
        Ok(idle.map(told).collect())
    }
}
