//! An update that the engine gave up though no task of the image came down: those that it did it for were told to stop,
//! as where their node stood still for a while and missed its heartbeats. That says nothing of the image, so it is rolled
//! out once more before it is called a failure.

use proto::{ImageRef, JobId, reason};

use crate::target::{
    End, TargetError, Wanted,
    swarm::{
        SwarmService,
        client::Write,
        lifecycle::Concern,
        lost::Blame,
        service::{Edit, Service, UpdateState},
    },
};

/// The job whose image was rolled out once more: it is not a third time.
pub(in crate::target::swarm) const AGAIN: &str = "longshore.again";

impl SwarmService {
    /// Replaces the tasks once more where the engine gave that up for nobody's fault; whether there is something to
    /// watch again.
    pub(super) async fn roll_once_more(
        &self,
        (service, blame): (&Service, Blame),
        (wanted, image, before): (&Wanted, &ImageRef, Option<&ImageRef>),
        end: &End,
    ) -> Result<bool, TargetError> {
        let id = wanted.job.id;
        if blame != Blame::Nobody || !failed(end) || !may_roll_again(service, (wanted, image)) {
            return Ok(false);
        }
        tracing::warn!(service = self.name, job = %id, "no task of the image failed: it is rolled out once more");
        let labels = vec![(AGAIN, Some(id.to_string()))];
        let edit = Edit { force: true, labels, ..Edit::default() };
        let good = before.map(ToString::to_string);
        let spec = service.edited(&edit.announced_late(service, (id, image), good.as_deref()));
        let registry_key = self.swarm.registries.header_for(image.repository());
        match self.client().write(Write { service, spec: &spec, registry_key }).await {
            // Somebody wrote meanwhile, or the engine itself: what came of it is watched.
            Ok(()) | Err(TargetError::Conflict) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

fn failed(end: &End) -> bool {
    matches!(end, End::Failed(why) if why.code == reason::ROLLOUT_FAILED)
}

/// Whether it is this job's image that stands there half-way, and was not rolled out once more already. A text is
/// not: what the engine remembers as the spec before is the way back from it.
fn may_roll_again(service: &Service, (wanted, image): (&Wanted, &ImageRef)) -> bool {
    let mine = Some(wanted.job.id);
    let again: Option<JobId> = service.label(AGAIN).and_then(|job| job.parse().ok());
    Concern::of(&wanted.job.operation) == Concern::Image
        && service.fence.job == mine
        && service.update() == Some(UpdateState::Paused)
        && service.runs(image)
        && again != mine
}

#[cfg(test)]
mod tests {
    use proto::{Operation, Timestamp};
    use serde_json::json;

    use super::*;

    #[test]
    fn what_stands_half_way_is_rolled_out_once_more_and_not_twice() {
        let id = JobId::mint(Timestamp::from_second(1_700_000_000).unwrap(), None);
        let image: ImageRef = format!("r.lan/web:1@sha256:{}", "1".repeat(64)).parse().unwrap();
        let mut job = crate::testing::job(1, &image.to_string());
        job.id = id;
        let service = |state: &str, by: JobId, again: Option<JobId>| {
            let mut labels = json!({"longshore.job": by.to_string()});
            if let Some(again) = again {
                labels[AGAIN] = json!(again.to_string());
            }
            let task = json!({"ContainerSpec": {"Image": image.to_string()}});
            let raw = json!({
                "ID": "x", "Version": {"Index": 1}, "Spec": {"Labels": labels, "TaskTemplate": task},
                "UpdateStatus": {"State": state},
            });
            Service::from_raw(raw).unwrap()
        };
        let wanted = Wanted { job: job.clone(), image: Some(image.clone()) };
        let may = |service: &Service| may_roll_again(service, (&wanted, &image));
        assert!(may(&service("paused", id, None)));
        assert!(!may(&service("paused", id, Some(id))), "it was already");
        let other = id.successor();
        assert!(may(&service("paused", id, Some(other))), "another job's was");
        assert!(!may(&service("paused", other, None)), "another job's stands there");
        assert!(!may(&service("completed", id, None)), "the engine is at it");
        let redeploy = Wanted { job: proto::Job { operation: Operation::Redeploy, ..job }, ..wanted.clone() };
        assert!(!may_roll_again(&service("paused", id, None), (&redeploy, &image)));
    }
}
