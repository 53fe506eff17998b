//! Which services of a stack a job leaves alone though it is for all of them, and what is said of that.

use proto::{ImageRef, JobId, Operation};

use super::{
    super::{
        lifecycle::{Concern, brought},
        service::{Mode, Service},
        stood::way_back,
    },
    SwarmStack,
    undone::undone,
};
use crate::target::TargetError;

/// Those that can be stopped, where any can: a service that runs on every node has no number of tasks to set to zero,
/// and must not keep all others running.
pub(super) fn that_can_stop(services: Vec<Service>) -> Vec<Service> {
    let is_counted = |service: &Service| matches!(service.mode(), Mode::Replicated(_));
    match services.iter().any(is_counted) {
        true => services.into_iter().filter(is_counted).collect(),
        false => services,
    }
}

impl SwarmStack {
    /// A line for each service that `operation`, of the job `id` where it is one, leaves alone.
    pub(super) async fn left_alone(
        &self,
        operation: &Operation,
        id: Option<JobId>,
    ) -> Result<Vec<String>, TargetError> {
        if matches!(operation, Operation::Start | Operation::Restart) {
            return Ok(Vec::new());
        }
        let all = self.swarm.client.services_of(&self.name).await?;
        let undone = undone(&all, |service| id.is_some() && Concern::of(operation).mark(service) == id, id);
        let told = |service: &Service| {
            let why = self.why_left_alone(operation, (id, undone), service)?;
            Some(format!("{}: {why}", self.short(service.name())))
        };
        Ok(all.iter().filter_map(told).collect())
    }

    fn why_left_alone(
        &self,
        operation: &Operation,
        (id, undone): (Option<JobId>, Option<JobId>),
        service: &Service,
    ) -> Option<String> {
        let why = match operation {
            Operation::Rollback { image: None, service: None, .. } => {
                return has_no_way_back(service, undone);
            }
            Operation::SetImage { image, service: None }
            | Operation::Rollback { image: Some(image), service: None, .. } => {
                self.runs_out_with(service, image)
            }
            Operation::Stop => runs_everywhere(service),
            Operation::Redeploy => waits_for_its_release(service, id?),
            Operation::SetImage { .. }
            | Operation::Rollback { .. }
            | Operation::DeployStack(_)
            | Operation::RemoveStack { .. }
            | Operation::Start
            | Operation::Restart
            | Operation::DeployGit(_)
            | Operation::Migrate { .. }
            | Operation::PruneImages { .. }
            | Operation::Hold { .. }
            | Operation::Release { .. }
            | Operation::Cancel { .. } => None,
        };
        why.map(str::to_owned)
    }

    fn runs_out_with(&self, service: &Service, image: &ImageRef) -> Option<&'static str> {
        let is_it = service.mode() == Mode::Job && self.runs_repository(service, image);
        is_it.then_some("left alone, it runs to its end and is not run again")
    }
}

fn runs_everywhere(service: &Service) -> Option<&'static str> {
    let is_it = service.mode() == Mode::Global;
    is_it
        .then_some("left running, it runs on every node that fits (global mode) and cannot be scaled to zero")
}

/// Of a service whose image the job `undone` brought, and of which nobody knows what stood there before.
fn has_no_way_back(service: &Service, undone: Option<JobId>) -> Option<String> {
    let is_it = undone.is_some() && brought(service) == undone && way_back(service).is_none();
    let stands = service.image().filter(|_| is_it && service.mode() != Mode::Job)?;
    Some(format!(
        "left at {}, which is to be undone: no image is known that ran well there before",
        stands.familiar()
    ))
}

/// Of a service that the job brought anew it is noted that it was about to.
fn waits_for_its_release(service: &Service, id: JobId) -> Option<&'static str> {
    let is_it = Concern::Redeploy.mark(service) == Some(id) && service.fence.trying != Some(id);
    is_it.then_some("left alone, what its tag names was rolled back here before and waits to be released")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn service(name: &str, mode: Value) -> Service {
        let spec = json!({"Name": name, "Mode": mode});
        Service::from_raw(json!({"ID": name, "Version": {"Index": 1}, "Spec": spec})).unwrap()
    }

    #[test]
    fn a_global_service_keeps_no_other_running() {
        let (web, agent) = (
            || service("web", json!({"Replicated": {"Replicas": 2}})),
            || service("agent", json!({"Global": {}})),
        );
        let names = |services: Vec<Service>| -> Vec<String> {
            that_can_stop(services).iter().map(|service| service.name().to_owned()).collect()
        };
        assert_eq!(names(vec![agent(), web()]), ["web"]);
        // With nothing else to stop it is refused, and says why.
        assert_eq!(names(vec![agent()]), ["agent"]);
        assert!(runs_everywhere(&agent()).is_some() && runs_everywhere(&web()).is_none());
    }
}
