//! The marks that a text carries onto its services: the docker command replaces all labels by those of the text.

use proto::{ImageRef, JobId};

use super::{
    super::{
        apply::FoundService,
        fence,
        hold::{HOLD, RELEASED},
        lifecycle::{BROUGHT, Concern, REDEPLOYED, REPLICAS, RUNNING, STACK, brought, may_be_announced},
        service::{Mode, Service},
        stood::STOOD,
    },
    Part, compose, runs_out,
};
use crate::target::TargetError;

impl Part {
    /// What is put into the text for this service. One that is there is told first that it is about to be changed, so
    /// that an engine which takes the change back leaves a trace of it.
    pub(super) async fn marked(&self, id: JobId, image: &ImageRef) -> Result<compose::Edit, TargetError> {
        let mut edit = compose::Edit { image: image.to_string(), ..compose::Edit::default() };
        let Some(found) = &self.found else {
            edit.labels = marks(None, id, image);
            return Ok(edit);
        };
        let is_mine = Concern::Stack.mark(&found.service) == Some(id);
        let announced =
            match !is_mine && !runs_out(&found.service) && may_be_announced(found.service.update()) {
                // Only another image makes the one that runs now the one before.
                true => Some(found.announce(id, Some(image), !found.service.runs(image)).await?),
                false => None,
            };
        let service = announced.as_ref().unwrap_or(&found.service);
        edit.labels = marks(Some(service), id, image);
        edit.labels.extend(aside(found, (image, is_mine)));
        if announced.is_none()
            && !is_mine
            && !found.service.runs(image)
            && let Some(good) = found.good_before(Some(image)).await?
        {
            // It takes over a rollout under way: what could not be noted before it comes with it.
            edit.labels.retain(|(name, _)| *name != fence::GOOD);
            edit.labels.push((fence::GOOD, good));
        }
        edit.replicas = running_as_newer(service, id);
        Ok(edit)
    }
}

/// How many tasks it keeps, where a newer job started or stopped it.
pub(super) fn running_as_newer(service: &Service, id: JobId) -> Option<u64> {
    match (Concern::Running.mark(service), service.mode()) {
        (Some(newer), Mode::Replicated(count)) if newer > id => Some(count),
        _ => None,
    }
}

/// What stood on a service without tasks; of one whose image stays, what was noted before.
fn aside(found: &FoundService, (image, is_mine): (&ImageRef, bool)) -> Option<(&'static str, String)> {
    let noted = match is_mine || found.service.runs(image) {
        true => found.service.label(STOOD).map(str::to_owned),
        false => found.standing_aside(image).1,
    };
    noted.map(|noted| (STOOD, noted))
}

/// Every mark takes this job's id, unless a newer job's stands there.
fn marks(service: Option<&Service>, id: JobId, image: &ImageRef) -> Vec<(&'static str, String)> {
    let newest =
        |concern: Concern| service.and_then(|service| concern.mark(service)).map_or(id, |job| job.max(id));
    let mut marks = vec![
        (fence::JOB, newest(Concern::Image).to_string()),
        (RUNNING, newest(Concern::Running).to_string()),
        (REDEPLOYED, newest(Concern::Redeploy).to_string()),
        (STACK, id.to_string()),
        (fence::TRYING, id.to_string()),
        (fence::TRYING_IMAGE, image.to_string()),
    ];
    // Of a service whose image stays, the text changes none: there is none of it to take back.
    let brings = match service {
        Some(service) if service.runs(image) => brought(service),
        Some(_) | None => Some(id),
    };
    marks.extend(brings.map(|job| (BROUGHT, job.to_string())));
    let Some(service) = service else { return marks };
    let label = |name: &str| service.label(name).map(str::to_owned);
    for kept in [fence::GOOD, HOLD, RELEASED] {
        marks.extend(label(kept).map(|value| (kept, value)));
    }
    // Who deploys a text with an image that was rolled back once wishes for it anew.
    let bad = service.fence.without_bad(image).or_else(|| label(fence::BAD));
    marks.extend(bad.filter(|bad| !bad.is_empty()).map(|bad| (fence::BAD, bad)));
    if newest(Concern::Running) > id {
        marks.extend(label(REPLICAS).map(|count| (REPLICAS, count)));
    }
    marks
}

#[cfg(test)]
mod tests {
    use proto::Timestamp;
    use serde_json::{Value, json};

    use super::*;

    fn service(labels: Value) -> Service {
        let spec = json!({
            "Name": "shop_web", "Labels": labels,
            "TaskTemplate": {"ContainerSpec": {"Image": "r.lan/web:1"}},
        });
        Service::from_raw(json!({"ID": "x", "Version": {"Index": 1}, "Spec": spec})).unwrap()
    }

    #[test]
    fn newer_marks_stay_and_all_others_become_this_jobs() {
        let old = JobId::mint(Timestamp::from_second(1_700_000_000).unwrap(), None);
        let (id, newer) = (old.successor(), old.successor().successor());
        let image: ImageRef = "r.lan/web:2".parse().unwrap();
        let of = |marks: &[(&str, String)], name: &str| {
            marks.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
        };
        let fresh = marks(None, id, &image);
        for name in [fence::JOB, RUNNING, REDEPLOYED, STACK, fence::TRYING] {
            assert_eq!(of(&fresh, name), Some(id.to_string()), "{name}");
        }
        let stopped = json!({
            fence::JOB: old.to_string(), RUNNING: newer.to_string(), REPLICAS: "3", fence::GOOD: "r.lan/web:0",
            fence::BACK: old.to_string(), "team": "a",
        });
        let kept = marks(Some(&service(stopped)), id, &image);
        assert_eq!(of(&kept, fence::JOB), Some(id.to_string()));
        assert_eq!(of(&kept, RUNNING), Some(newer.to_string()));
        assert_eq!(of(&kept, REPLICAS).as_deref(), Some("3"));
        assert_eq!(of(&kept, fence::GOOD).as_deref(), Some("r.lan/web:0"));
        assert_eq!((of(&kept, fence::BACK), of(&kept, "team")), (None, None));
        let started = json!({RUNNING: old.to_string(), REPLICAS: "3"});
        assert_eq!(of(&marks(Some(&service(started)), id, &image), REPLICAS), None);
    }
}
