//! What is on hold is noted again on services that lost their labels, as by a `docker stack deploy` of an unchanged file.

use proto::JobId;

use super::{
    SwarmService, SwarmStack,
    client::Write,
    hold::{self, HOLD, RELEASED},
    lifecycle::may_be_announced,
    service::{Edit, Mode, Service},
    stack::found::of_part,
};
use crate::target::{OnHold, TargetError};

impl SwarmService {
    /// Writes labels alone, on the condition that the service is as it was read. In a rollout that would leave the engine
    /// nothing to go back to, and over a paused one let that go on: it is looked at again later.
    pub(super) async fn remind_of(&self, service: &Service, on_hold: &OnHold) -> Result<bool, TargetError> {
        let (target, bad) = forgotten(service, on_hold);
        let has_all = target.is_none() && bad.is_none();
        if has_all || service.mode() == Mode::Job || !may_be_announced(service.update()) {
            return Ok(false);
        }
        let labels = target.map(|by| (HOLD, Some(by.to_string()))).into_iter().collect();
        let spec = service.edited(&Edit { labels, bad: bad.as_deref(), ..Edit::default() });
        self.client().write(Write { service, spec: &spec, registry_key: None }).await?;
        Ok(true)
    }
}

impl SwarmStack {
    /// The same of every service that is there now.
    pub(super) async fn remind_all(&self, on_hold: &OnHold) -> Result<bool, TargetError> {
        let mut any = false;
        for service in self.swarm.client.services_of(&self.name).await? {
            let images = of_part(&on_hold.images, self.short(service.name()));
            let of_it = OnHold { images, ..on_hold.clone() };
            any |= self.service(service.name()).remind_of(&service, &of_it).await?;
        }
        Ok(any)
    }
}

/// What of it a service does not remember: the job that put the target on hold, and the text that tells of images.
fn forgotten(service: &Service, on_hold: &OnHold) -> (Option<JobId>, Option<String>) {
    // Who released it since said so on the service, perhaps before the history was heard.
    let released: Option<JobId> = service.label(RELEASED).and_then(|job| job.parse().ok());
    let is_missing = hold::on_hold(service).is_none();
    let target = on_hold.target.filter(|by| is_missing && released < Some(*by));
    let repository = service.image().map(|image| image.repository().clone());
    let of_it = on_hold.images.iter().map(|noted| &noted.image).filter(|image| {
        // Of another repository, the digest would be told as one of this.
        Some(image.repository()) == repository.as_ref() && !service.runs(image)
    });
    (target, service.fence.with_older_bad(of_it))
}

#[cfg(test)]
mod tests {
    use proto::{ImageRef, PutOnHold, Timestamp};
    use serde_json::{Value, json};

    use super::*;

    fn image(repository: &str, n: usize) -> ImageRef {
        format!("r.lan/{repository}:1@sha256:{n:064x}").parse().unwrap()
    }

    fn service(labels: Value) -> Service {
        let task = json!({"ContainerSpec": {"Image": image("web", 1).to_string()}});
        let spec = json!({"Name": "web", "Labels": labels, "TaskTemplate": task});
        Service::from_raw(json!({"ID": "x", "Version": {"Index": 1}, "Spec": spec})).unwrap()
    }

    fn holding(target: Option<JobId>, images: &[ImageRef]) -> OnHold {
        let noted = |image: &ImageRef| PutOnHold { image: image.clone(), part: None };
        OnHold { target, images: images.iter().map(noted).collect() }
    }

    #[test]
    fn only_what_is_not_remembered_is_noted_again() {
        let by = JobId::mint(Timestamp::from_second(1_700_000_000).unwrap(), None);
        let of = |labels: Value, on_hold: &OnHold| forgotten(&service(labels), on_hold);
        let hold = holding(Some(by), &[]);
        assert_eq!(of(json!({}), &hold), (Some(by), None));
        assert_eq!(of(json!({HOLD: by.to_string()}), &hold), (None, None));
        assert_eq!(of(json!({RELEASED: by.successor().to_string()}), &hold), (None, None), "released since");
        assert_eq!(of(json!({}), &OnHold::default()), (None, None));

        let digest = |n: usize| image("web", n).digest().unwrap().to_string();
        let bad = holding(None, &[image("web", 2), image("web", 1), image("other", 3)]);
        assert_eq!(of(json!({}), &bad), (None, Some(digest(2))), "neither what runs nor what is another's");
        assert_eq!(of(json!({"longshore.bad": digest(2)}), &bad), (None, None));
        let both = (None, Some(format!("{} {}", digest(7), digest(2))));
        assert_eq!(of(json!({"longshore.bad": digest(7)}), &bad), both);
        // More than a service remembers: it is not written for ever.
        let full: Vec<String> = (10..18).map(digest).collect();
        assert_eq!(of(json!({"longshore.bad": full.join(" ")}), &bad), (None, None));
    }
}
