//! What ran before somebody else changed the image.
//!
//! What ran well is noted before our own next change, so of an image that somebody else brought, nobody noted what it
//! replaced: the note there is one image older.

use proto::{ImageRef, Operation};

use super::{
    SwarmService,
    apply::FoundService,
    before::Before,
    good::fell_soon,
    lifecycle::Concern,
    service::{Service, same_image},
    watch::window,
};
use crate::target::{TargetError, Wanted};

/// The image that our last job brought, where it was written and not rolled back, and neither it nor what was noted
/// before it stands there now.
pub(super) fn replaced_by_another(service: &Service) -> Option<&ImageRef> {
    let fence = &service.fence;
    let brought = fence.trying_image.as_ref()?;
    let stands = service.image()?;
    let is_other = |image: &ImageRef| !same_image(image, &stands) && stands != image.by_tag();
    // What was only about to be brought never ran.
    let is_written = [Concern::Image, Concern::Redeploy]
        .into_iter()
        .any(|concern| concern.mark(service).is_some() && concern.mark(service) == fence.trying);
    let is_back = fence.back.is_some() && fence.back == fence.trying;
    let holds = is_written && !is_back && !fence.is_bad(brought);
    (holds && is_other(brought) && fence.good.as_ref().is_none_or(is_other)).then_some(brought)
}

impl SwarmService {
    /// The image that ran well before the one that stands there, where somebody else brought that, for an operation that
    /// goes back to it.
    pub(super) async fn before_for(
        &self,
        operation: &Operation,
        service: &Service,
    ) -> Result<Before, TargetError> {
        if !matches!(operation, Operation::Rollback { image: None, .. }) {
            return Ok(Before::default());
        }
        self.standing_of(service).stood_before(None).await
    }

    /// The same of any service.
    pub(super) async fn before_another(&self, service: &Service) -> Result<Option<ImageRef>, TargetError> {
        self.standing_of(service).ran_before(None).await
    }

    /// The image that ran well before the rollout under way, as it is known now: noted by this job, or by nobody.
    pub(super) async fn before_the_rollout(
        &self,
        service: &Service,
        (wanted, image): (&Wanted, &ImageRef),
    ) -> Result<Option<ImageRef>, TargetError> {
        let mine = Some(wanted.job.id);
        let mark = Concern::of(&wanted.job.operation).mark(service);
        match service.runs(image) {
            true if mark == mine || service.fence.trying == mine => Ok(service.fence.good.clone()),
            true => self.before_another(service).await,
            // The engine has gone back already.
            false => Ok(None),
        }
    }

    /// The image that ran well before a rollout that the engine took back, as far as the marks that came back with the
    /// spec from before it tell, and the tasks of that.
    pub(super) async fn before_the_engines(
        &self,
        service: &Service,
    ) -> Result<Option<ImageRef>, TargetError> {
        let found = self.standing_of(service);
        match found.ran_before_the_rollback().await? {
            true => Ok(service.image()),
            false => Ok(found.ran_before(None).await?.or(service.fence.good.clone())),
        }
    }

    fn standing_of(&self, service: &Service) -> FoundService {
        let (target, service) = (self.clone(), service.clone());
        let before = Before::default();
        FoundService { target, service, concern: Concern::Image, before, known_bad: Vec::new() }
    }
}

impl FoundService {
    /// The same where no task of it that the engine remembers came down soon.
    pub(super) async fn ran_before_another(&self) -> Result<Option<&ImageRef>, TargetError> {
        let Some(brought) = replaced_by_another(&self.service) else { return Ok(None) };
        let failures = self.target.failures_of(&self.service, brought).await?;
        let window = window(&self.service, self.target.policy.stable);
        Ok((!fell_soon(&failures, window)).then_some(brought))
    }

    /// Refuses to go back to what our last job brought, where that did not hold: nobody said so on the service.
    pub(super) async fn refuse_what_did_not_hold(&self, image: &ImageRef) -> Result<(), TargetError> {
        let is_it = replaced_by_another(&self.service).is_some_and(|brought| same_image(brought, image));
        if !is_it || self.ran_before_another().await?.is_some() {
            return Ok(());
        }
        let good = self.service.fence.good.as_ref().map(|good| format!(": {}", good.familiar()));
        Err(self.target.refused(
            "roll back",
            format!(
                "somebody else changed the image, and {}, which stood there before, did not hold; deploy the one to go back \
                 to by its name{}",
                image.familiar(),
                good.unwrap_or_default()
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use proto::{JobId, Timestamp};
    use serde_json::{Value, json};

    use super::*;
    use crate::target::swarm::fence;

    #[test]
    fn what_our_last_job_brought_is_what_a_stranger_replaced() {
        let image = |digit: char| format!("r.lan/web:{digit}@sha256:{}", digit.to_string().repeat(64));
        let first = JobId::mint(Timestamp::from_second(1_700_000_000).unwrap(), None);
        let (id, next) = (first.to_string(), first.successor().to_string());
        let of = |stands: &str, more: Value| {
            let mut labels = json!({
                fence::JOB: id, fence::TRYING: id, fence::TRYING_IMAGE: image('2'), fence::GOOD: image('1'),
            });
            for (name, value) in more.as_object().unwrap() {
                labels[name] = value.clone();
            }
            let spec = json!({"Labels": labels, "TaskTemplate": {"ContainerSpec": {"Image": stands}}});
            let service =
                Service::from_raw(json!({"ID": "x", "Version": {"Index": 1}, "Spec": spec})).unwrap();
            replaced_by_another(&service).map(ToString::to_string)
        };
        assert_eq!(of(&image('3'), json!({})), Some(image('2')));
        let redeployed = json!({fence::TRYING: next, "longshore.redeployed": next});
        assert_eq!(of(&image('3'), redeployed), Some(image('2')));
        for (stands, more) in [
            // Ours, by its content or by its tag.
            (image('2'), json!({})),
            ("r.lan/web:2".to_owned(), json!({})),
            // Somebody went back himself.
            (image('1'), json!({})),
            // It was rolled back, or only announced.
            (image('3'), json!({fence::BACK: id})),
            (image('3'), json!({fence::BAD: format!("sha256:{}", "2".repeat(64))})),
            (image('3'), json!({fence::TRYING: next})),
        ] {
            assert_eq!(of(&stands, more.clone()), None, "{stands} {more}");
        }
    }
}
