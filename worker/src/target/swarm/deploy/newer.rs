//! What newer jobs had written on a service in the moment between our reading of a stack and the docker command's
//! writing of it. The command replaces it unseen; the engine remembers the spec before its last write.

use proto::{ImageRef, JobId};

use super::super::{
    SwarmStack,
    client::Write,
    fence,
    lifecycle::{BROUGHT, Concern, REDEPLOYED, REPLICAS, RUNNING, UNDONE},
    service::{Edit, Mode, Service},
};
use crate::target::TargetError;

/// How often a service that changes under our hands is read again.
const MOST_DECISIONS: usize = 10;

/// What newer jobs wished for, and does not stand any more.
#[derive(Debug, Default, PartialEq)]
struct Overwritten {
    image: Option<ImageRef>,
    job: Option<JobId>,
    good: Option<String>,
    bad: Option<String>,
    replicas: Option<u64>,
    labels: Vec<(&'static str, Option<String>)>,
}

impl SwarmStack {
    /// Writes again what newer jobs had written on a service that the text of `id` was deployed to. Done again, nothing
    /// changes; so it is done at the beginning of every watch.
    pub(super) async fn put_back_newer(
        &self,
        id: JobId,
        mut service: Service,
    ) -> Result<Service, TargetError> {
        for _ in 0..MOST_DECISIONS {
            let Some(found) = overwritten(&service, id) else { return Ok(service) };
            tracing::warn!(service = service.name(), job = %id, "what a newer job wrote is put back");
            let edit = Edit {
                image: found.image.as_ref(),
                job: found.job,
                good: found.good.as_deref(),
                bad: found.bad.as_deref(),
                replicas: found.replicas,
                labels: found.labels.clone(),
                ..Edit::default()
            };
            let spec = service.edited(&edit);
            let repository = found.image.as_ref().map(ImageRef::repository);
            let registry_key = repository.and_then(|it| self.swarm.registries.header_for(it));
            match self.swarm.client.write(Write { service: &service, spec: &spec, registry_key }).await {
                // The engine itself writes a service when it begins to replace its tasks.
                Ok(()) | Err(TargetError::Conflict) => {
                    service = self.swarm.client.service(service.name()).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(TargetError::Conflict)
    }
}

/// None where nothing of a newer job was overwritten.
fn overwritten(service: &Service, id: JobId) -> Option<Overwritten> {
    if Concern::Stack.mark(service) != Some(id) {
        return None;
    }
    let former = service.previous()?;
    // A whole text is deployed again by its own job, or because the history says so.
    if Concern::Stack.mark(&former) > Some(id) {
        return None;
    }
    let lost = |concern: Concern| {
        let newer = concern.mark(&former).filter(|job| *job > id);
        newer.filter(|newer| concern.mark(service) < Some(*newer))
    };
    let label = |name: &str| former.label(name).map(str::to_owned);
    let mut found = Overwritten::default();
    if let Some(job) = lost(Concern::Image) {
        (found.image, found.job) = (former.image(), Some(job));
        (found.good, found.bad) = (label(fence::GOOD), label(fence::BAD));
        found.labels.extend([(UNDONE, label(UNDONE)), (BROUGHT, label(BROUGHT))]);
    }
    if let Some(job) = lost(Concern::Redeploy) {
        found.labels.push((REDEPLOYED, Some(job.to_string())));
        let same_tag = |image: &ImageRef| service.image().is_some_and(|it| it.by_tag() == image.by_tag());
        found.image = found.image.or_else(|| former.image().filter(same_tag));
    }
    if let Some(job) = lost(Concern::Running) {
        found.labels.extend([(RUNNING, Some(job.to_string())), (REPLICAS, label(REPLICAS))]);
        if let (Mode::Replicated(count), Mode::Replicated(_)) = (former.mode(), service.mode()) {
            found.replicas = Some(count);
        }
    }
    (found != Overwritten::default()).then_some(found)
}

#[cfg(test)]
mod tests {
    use proto::Timestamp;
    use serde_json::{Value, json};

    use super::{super::super::lifecycle::STACK, *};

    fn service(now: (Value, u64), before: (Value, u64)) -> Service {
        let spec = |(labels, replicas): (Value, u64), tag: &str| {
            json!({
                "Name": "shop_web", "Labels": labels, "Mode": {"Replicated": {"Replicas": replicas}},
                "TaskTemplate": {"ContainerSpec": {"Image": format!("r.lan/web:{tag}")}},
            })
        };
        let raw = json!({
            "ID": "x", "Version": {"Index": 1}, "Spec": spec(now, "1"), "PreviousSpec": spec(before, "2"),
        });
        Service::from_raw(raw).unwrap()
    }

    #[test]
    fn every_kind_of_newer_wish_is_found_and_older_ones_are_not() {
        let old = JobId::mint(Timestamp::from_second(1_700_000_000).unwrap(), None);
        let id = old.successor();
        let newer = id.successor();
        let mine = || {
            let marks =
                [fence::JOB, RUNNING, REDEPLOYED, STACK].map(|mark| (mark.to_owned(), json!(id.to_string())));
            Value::Object(marks.into_iter().collect())
        };
        let of = |before: Value, count| overwritten(&service((mine(), 3), (before, count)), id);
        assert_eq!(of(json!({fence::JOB: old.to_string(), RUNNING: old.to_string()}), 1), None);
        let image = of(json!({fence::JOB: newer.to_string(), fence::GOOD: "r.lan/web:0"}), 1).unwrap();
        assert_eq!(image.image.map(|image| image.to_string()).as_deref(), Some("r.lan/web:2"));
        assert_eq!(
            (image.job, image.good.as_deref(), image.replicas),
            (Some(newer), Some("r.lan/web:0"), None)
        );
        let stopped = of(json!({RUNNING: newer.to_string(), REPLICAS: "2"}), 0).unwrap();
        assert_eq!((stopped.replicas, stopped.image), (Some(0), None));
        assert_eq!(stopped.labels, [(RUNNING, Some(newer.to_string())), (REPLICAS, Some("2".to_owned()))]);
        let redeployed = of(json!({REDEPLOYED: newer.to_string()}), 1).unwrap();
        assert_eq!(redeployed.labels, [(REDEPLOYED, Some(newer.to_string()))]);
        // What was put back is not put back again, nor is what another text made.
        let mut again = mine();
        again[RUNNING] = json!(newer.to_string());
        let before = json!({RUNNING: newer.to_string()});
        assert_eq!(overwritten(&service((again, 0), (before.clone(), 0)), id), None);
        assert_eq!(overwritten(&service((json!({STACK: newer.to_string()}), 0), (before, 0)), id), None);
        assert_eq!(of(json!({fence::JOB: newer.to_string(), STACK: newer.to_string()}), 1), None);
    }
}
