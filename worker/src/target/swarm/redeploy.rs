//! A redeploy looks the image's tag up again. Where that is other content by now, it is a rollout of a new image like
//! any other, with the same ways back.

use proto::{ImageRef, JobId, Reason};
use tokio::sync::mpsc;

use super::{SwarmService, lifecycle::Concern, rollout::Rollout, service::Service};
use crate::target::{Outcome, Progress, TargetError, Wanted};

impl SwarmService {
    pub(super) async fn watch_redeploy(
        &self,
        wanted: &Wanted,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let (wanted, brings_another) = self.redeployed(wanted).await?;
        let image = self.image_to_watch(&wanted).await?;
        if brings_another {
            return Box::pin(self.watch_to_the_end(&wanted, &image, progress)).await;
        }
        let (outcome, ..) = Rollout::begin(self, (&wanted, &image), progress).await?.watch().await?;
        Ok(outcome)
    }

    /// The deadline has passed.
    pub(super) async fn redeploy_out_of_time(
        &self,
        wanted: &Wanted,
        reason: Reason,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let (wanted, brings_another) = self.redeployed(wanted).await?;
        match brings_another {
            true => Box::pin(self.out_of_time(&wanted, reason, progress)).await,
            false => Ok(Outcome::failed(reason)),
        }
    }

    /// The same with the image that it brought, and whether that is another than before.
    async fn redeployed(&self, wanted: &Wanted) -> Result<(Wanted, bool), TargetError> {
        let service = self.client().service(&self.name).await?;
        let image = wanted.image.clone().or_else(|| image_of(&service, wanted));
        let brings_another = image.as_ref().is_some_and(|image| brings_another_image(&service, image));
        Ok((Wanted { job: wanted.job.clone(), image }, brings_another))
    }
}

/// The job whose image a rollout brings, for the mark of that: a redeploy is no wish for an image, and has its own.
pub(super) fn image_mark(wanted: &Wanted) -> Option<JobId> {
    (Concern::of(&wanted.job.operation) != Concern::Redeploy).then_some(wanted.job.id)
}

/// The image that a job brought to a service, or tried to: where the engine or we went back from it, another one
/// stands there.
pub(super) fn image_of(service: &Service, wanted: &Wanted) -> Option<ImageRef> {
    let mine = Some(wanted.job.id);
    let is_written = Concern::of(&wanted.job.operation).mark(service) == mine;
    let is_back = service.fence.back == mine;
    if is_written && !is_back {
        return service.image();
    }
    let tried = service.fence.trying_image.clone().filter(|_| service.fence.trying == mine);
    tried.or_else(|| service.image())
}

/// Whether a redeploy found other content behind the tag. One that only runs the same anew has nothing to go back to.
pub(super) fn brings_another_image(service: &Service, image: &ImageRef) -> bool {
    !service.runs(image) || service.previous().is_some_and(|former| !former.runs(image))
}

#[cfg(test)]
mod tests {
    use proto::{Operation, Timestamp};
    use serde_json::{Value, json};

    use super::*;

    const NEW: &str = "r.lan/web:1@sha256:457f4aa83fc9a6663ab9d1b0a6e2dce25a12a943ed5bf2c1747c58d48bbb4917";
    const OLD: &str = "r.lan/web:1@sha256:557f4aa83fc9a6663ab9d1b0a6e2dce25a12a943ed5bf2c1747c58d48bbb4917";

    fn spec(image: &str, labels: Value) -> Value {
        json!({"Name": "web", "Labels": labels, "TaskTemplate": {"ContainerSpec": {"Image": image}}})
    }

    fn service(spec: Value, former: Option<Value>) -> Service {
        let mut raw = json!({"ID": "x", "Version": {"Index": 1}, "Spec": spec});
        if let Some(former) = former {
            raw["PreviousSpec"] = former;
        }
        Service::from_raw(raw).unwrap()
    }

    #[test]
    fn only_other_content_makes_a_redeploy_a_new_image() {
        let new: ImageRef = NEW.parse().unwrap();
        let of = |image: &str| spec(image, json!({}));
        assert!(brings_another_image(&service(of(NEW), Some(of(OLD))), &new), "it rolls, or failed");
        assert!(brings_another_image(&service(of(OLD), None), &new), "the engine took it back");
        assert!(!brings_another_image(&service(of(NEW), Some(of(NEW))), &new));
        assert!(!brings_another_image(&service(of(NEW), None), &new), "the engine took the same back");
    }

    #[test]
    fn what_was_brought_is_known_after_the_way_back_too() {
        let mut job = crate::testing::job(1, "any:1");
        job.id = JobId::mint(Timestamp::from_second(1_700_000_000).unwrap(), None);
        job.operation = Operation::Redeploy;
        let wanted = Wanted { job: job.clone(), image: None };
        let id = job.id.to_string();
        let of = |image: &str, labels: Value| image_of(&service(spec(image, labels), None), &wanted);
        let new = NEW.parse().ok();
        assert_eq!(of(NEW, json!({"longshore.redeployed": id})), new);
        let tried = json!({"longshore.trying": id, "longshore.trying-image": NEW});
        assert_eq!(of(OLD, tried.clone()), new);
        let mut back = tried;
        back["longshore.redeployed"] = json!(id);
        back["longshore.back"] = json!(id);
        assert_eq!(of(OLD, back), new);
        assert_eq!((image_mark(&wanted), of(OLD, json!({}))), (None, OLD.parse().ok()));
    }
}
