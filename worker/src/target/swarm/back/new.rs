//! The way back of a service that a text made: before the text, it was not there.

use proto::{Reason, reason};

use super::mend_the_text;
use crate::{
    steps::{Step, reached},
    target::{
        End, Outcome, TargetError, Wanted,
        swarm::{
            SwarmService,
            lifecycle::{Concern, last_job},
            service::Service,
        },
    },
};

/// Whether the text of `wanted` made the service, and nobody has written it since.
pub(super) fn is_new(service: &Service, wanted: &Wanted) -> bool {
    let mine = Some(wanted.job.id);
    let was_never_changed = service.previous().is_none() && service.update().is_none();
    Concern::of(&wanted.job.operation) == Concern::Stack
        && Concern::Stack.mark(service) == mine
        && last_job(service) == mine
        && service.fence.back != mine
        && was_never_changed
}

impl SwarmService {
    /// As where the docker command refuses a text half-way: what the text made goes.
    pub(super) async fn remove_what_was_not_there(
        &self,
        service: Service,
        wanted: &Wanted,
        outcome: Outcome,
        why: Reason,
    ) -> Result<Outcome, TargetError> {
        let now = self.client().service(&self.name).await?;
        if now.id != service.id || now.index != service.index {
            // Somebody wrote it meanwhile: theirs stands.
            return Ok(outcome);
        }
        self.client().remove_service(&service.id).await?;
        reached(Step::WentBack);
        let text = format!("{}; it was not there before the text, and is removed", why.text);
        let reason = Reason::new(reason::ROLLED_BACK, text).hint(mend_the_text(&wanted.job.target));
        Ok(Outcome { end: End::RolledBack(reason), tasks: None, ..outcome })
    }
}

#[cfg(test)]
mod tests {
    use proto::{JobId, Operation, StackText, Timestamp};
    use serde_json::{Value, json};

    use super::*;
    use crate::target::swarm::{fence, lifecycle::STACK};

    #[test]
    fn only_what_the_text_made_and_nobody_wrote_since_is_new() {
        let mut job = crate::testing::job(1, "any:1");
        job.id = JobId::mint(Timestamp::from_second(1_700_000_000).unwrap(), None);
        job.operation = Operation::DeployStack(StackText::of("services: {}".to_owned()));
        let (id, newer) = (job.id.to_string(), job.id.successor().to_string());
        let wanted = Wanted { job, image: None };
        let service = |labels: Value, more: Value| {
            let mut raw = json!({"ID": "x", "Version": {"Index": 1}, "Spec": {"Labels": labels}});
            for (key, value) in more.as_object().unwrap() {
                raw[key] = value.clone();
            }
            Service::from_raw(raw).unwrap()
        };
        let marks = json!({fence::JOB: id, STACK: id});
        assert!(is_new(&service(marks.clone(), json!({})), &wanted));
        for (labels, more) in [
            (marks.clone(), json!({"PreviousSpec": {}})),
            (marks.clone(), json!({"UpdateStatus": {"State": "completed"}})),
            (json!({fence::JOB: newer, STACK: id}), json!({})),
            (json!({fence::JOB: id}), json!({})),
            (json!({fence::JOB: id, STACK: id, fence::BACK: id}), json!({})),
        ] {
            assert!(!is_new(&service(labels.clone(), more.clone()), &wanted), "{labels} {more}");
        }
    }
}
