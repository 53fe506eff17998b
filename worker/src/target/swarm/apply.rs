//! What was read of a service, and the writes that bring the wanted image.
//!
//! Before a write that replaces tasks, a label-only write says which job is about to be tried, and which
//! image ran well until now. Labels are written only before or after a rollout, never in it: in it, a
//! label-only write would leave the engine nothing to roll back to, and wipe its update status.
//! For the same reason nothing is written after a rollout has converged: `docker service rollback` would
//! then go "back" to the very same image. What ran well is noted before the next change instead, which is
//! when it is needed.

use async_trait::async_trait;
use proto::{ImageRef, JobId, Operation};

use super::{
    SwarmService,
    client::Write,
    hold,
    lifecycle::Concern,
    service::{Edit, Service, UpdateState, same_image},
    watch::can_be_watched,
};
use crate::{
    steps::{Step, reached},
    target::{Found, Standing, TargetError, Wanted},
};

/// A service as it was read, to be decided on and written once.
pub(super) struct FoundService {
    pub(super) target: SwarmService,
    pub(super) service: Service,
    /// What the job overwrites there.
    pub(super) concern: Concern,
}

/// Which writes a wish needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    /// The rollout under way is one to that very image: write nothing in it; the mark follows after it.
    Join,
    /// That very image stands already: only the mark.
    Mark,
    /// A rollout. `announce`: none is under way, so labels may be written first. `force`: the image is the
    /// same, but its last rollout was given up half-way.
    Roll { announce: bool, force: bool },
}

#[async_trait]
impl Found for FoundService {
    fn standing(&self, id: JobId) -> Standing {
        self.concern.standing(&self.service, id)
    }

    fn image(&self) -> Option<ImageRef> {
        self.service.image()
    }

    fn before(&self) -> Option<ImageRef> {
        self.service.fence.good.clone()
    }

    fn tried(&self, id: JobId) -> Option<ImageRef> {
        let fence = &self.service.fence;
        fence.trying_image.clone().filter(|_| fence.trying == Some(id))
    }

    fn on_hold(&self) -> Option<JobId> {
        hold::on_hold(&self.service)
    }

    fn remembers_bad(&self) -> bool {
        !self.service.fence.bad.is_empty()
    }

    fn is_bad(&self, image: &ImageRef) -> bool {
        self.service.fence.is_bad(image) && !self.service.runs(image)
    }

    fn meant(&self, operation: &Operation) -> Result<Option<ImageRef>, TargetError> {
        self.image_meant(operation)
    }

    async fn would_take(&self, wanted: &Wanted) -> Result<(), TargetError> {
        match self.concern {
            Concern::Image | Concern::Running | Concern::Redeploy => {
                self.refuse_what_cannot_be_done(&wanted.job.operation)
            }
            Concern::Stack | Concern::Nothing => Ok(()),
        }
    }

    async fn apply(self: Box<Self>, wanted: &Wanted) -> Result<(), TargetError> {
        self.write_wanted(wanted).await
    }
}

impl FoundService {
    /// Writes what the operation asks for.
    pub(super) async fn write_wanted(&self, wanted: &Wanted) -> Result<(), TargetError> {
        match self.concern {
            Concern::Nothing if hold::is_hold(&wanted.job.operation) => self.write_hold(wanted).await,
            Concern::Image => self.bring_image(wanted).await,
            Concern::Running | Concern::Redeploy => self.change_state(wanted).await,
            Concern::Stack | Concern::Nothing => Ok(()),
        }
    }

    async fn bring_image(&self, wanted: &Wanted) -> Result<(), TargetError> {
        self.refuse_what_cannot_be_watched()?;
        let image = self.target.wanted_image(wanted)?;
        let job = Some(wanted.job.id);
        self.refuse_a_way_to_the_same(&wanted.job.operation, image)?;
        let labels = self.undoing(&wanted.job.operation);
        match plan(self.service.update(), self.service.runs(image)) {
            Plan::Join => Ok(()),
            Plan::Mark => self.write(&self.service, &Edit { job, labels, ..Edit::default() }, None).await,
            Plan::Roll { announce, force } => {
                // Whoever goes back does not believe in what runs now: what ran well before stays noted.
                let believes = !matches!(wanted.job.operation, Operation::Rollback { .. });
                let announced = match announce {
                    true => Some(self.announce(wanted.job.id, Some(image), believes).await?),
                    false => None,
                };
                let service = announced.as_ref().unwrap_or(&self.service);
                // One that was rolled back once is deployed only where somebody said so.
                let bad = service.fence.without_bad(image);
                let bad = bad.as_deref();
                let edit =
                    Edit { image: Some(image), force, job, trying: job, bad, labels, ..Edit::default() };
                // Repeated, a rollback stays where it went, whatever the tag names by then.
                let pinned = self.pins_good(&wanted.job.operation).then(|| image.to_string());
                let edit = Edit { trying_image: Some(image), good: pinned.as_deref(), ..edit };
                let key = self.target.swarm.registries.header_for(image.repository());
                self.write(service, &edit, key).await
            }
        }
    }
}

impl FoundService {
    /// Whether bringing an image that stands there already replaces its tasks.
    pub(super) fn rolls_anew(&self, image: &ImageRef) -> bool {
        let force = plan(self.service.update(), self.service.runs(image));
        self.concern == Concern::Image && matches!(force, Plan::Roll { force: true, .. })
    }
}

fn plan(update: Option<UpdateState>, same_image: bool) -> Plan {
    match update {
        Some(UpdateState::Updating | UpdateState::RollbackStarted) if same_image => Plan::Join,
        Some(UpdateState::Updating | UpdateState::RollbackStarted) => {
            Plan::Roll { announce: false, force: false }
        }
        Some(UpdateState::Paused | UpdateState::RollbackPaused) => {
            Plan::Roll { announce: true, force: same_image }
        }
        Some(UpdateState::Completed | UpdateState::RollbackCompleted) | None if same_image => Plan::Mark,
        Some(UpdateState::Completed | UpdateState::RollbackCompleted) | None => {
            Plan::Roll { announce: true, force: false }
        }
    }
}

impl FoundService {
    /// A service of one-shot tasks never stays up, and updating it does not run it again.
    pub(super) fn refuse_what_cannot_be_watched(&self) -> Result<(), TargetError> {
        if can_be_watched(self.service.mode()) {
            return Ok(());
        }
        Err(TargetError::Refused {
            system: self.target.client().system().to_owned(),
            attempted: "update the service",
            answer: format!(
                "`{}` is a job that runs to its end, not a service that stays up",
                self.target.name
            ),
        })
    }

    /// Notes on the service what is about to be tried, and, where `believes`, what runs well now; reads it again.
    pub(super) async fn announce(
        &self,
        id: JobId,
        image: Option<&ImageRef>,
        believes: bool,
    ) -> Result<Service, TargetError> {
        if is_announced(&self.service, id, image) {
            return Ok(self.service.clone());
        }
        let good = if believes { self.worth_noting(image).await? } else { None };
        let good = good.as_deref();
        let edit = Edit { trying: Some(id), trying_image: image, good, ..Edit::default() };
        self.write(&self.service, &edit, None).await?;
        let service = self.target.client().service(&self.target.name).await?;
        reached(Step::Announced);
        let still_ours = service.fence.trying == Some(id)
            && service.id == self.service.id
            && service.same_but_for_marks(&self.service);
        if still_ours { Ok(service) } else { Err(TargetError::Conflict) }
    }

    pub(super) async fn write(
        &self,
        service: &Service,
        edit: &Edit<'_>,
        key: Option<&str>,
    ) -> Result<(), TargetError> {
        let spec = service.edited(edit);
        self.target.client().write(Write { service, spec: &spec, registry_key: key }).await
    }
}

/// Whether it was said already that `id` is about to bring `image`: by a worker that died before it did. A tag may name
/// another image by now, and the engine, should it go back, goes back from that one.
fn is_announced(service: &Service, id: JobId, image: Option<&ImageRef>) -> bool {
    let is_it =
        |image: &ImageRef| service.fence.trying_image.as_ref().is_some_and(|it| same_image(it, image));
    service.fence.trying == Some(id) && service.update().is_none() && image.is_none_or(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_announced_of_another_image_is_announced_again() {
        let id = JobId::mint(proto::Timestamp::from_second(1_700_000_000).unwrap(), None);
        let image = |digit: char| -> ImageRef {
            format!("r.lan/web:1@sha256:{}", digit.to_string().repeat(64)).parse().unwrap()
        };
        let labels = serde_json::json!({
            "longshore.trying": id.to_string(), "longshore.trying-image": image('1').to_string(),
        });
        let raw = serde_json::json!({"ID": "x", "Version": {"Index": 1}, "Spec": {"Labels": labels}});
        let service = Service::from_raw(raw).unwrap();
        assert!(is_announced(&service, id, Some(&image('1'))));
        assert!(is_announced(&service, id, None));
        // The tag was moved after a worker had died.
        assert!(!is_announced(&service, id, Some(&image('2'))));
        assert!(!is_announced(&service, id.successor(), Some(&image('1'))));
    }

    #[test]
    fn labels_are_never_written_in_a_rollout() {
        use UpdateState as U;
        let roll = |announce, force| Plan::Roll { announce, force };
        for (update, same_image, expected) in [
            (None, false, roll(true, false)),
            (None, true, Plan::Mark),
            (Some(U::Completed), false, roll(true, false)),
            (Some(U::Completed), true, Plan::Mark),
            (Some(U::RollbackCompleted), true, Plan::Mark),
            (Some(U::RollbackCompleted), false, roll(true, false)),
            (Some(U::Updating), false, roll(false, false)),
            (Some(U::Updating), true, Plan::Join),
            (Some(U::RollbackStarted), false, roll(false, false)),
            (Some(U::RollbackStarted), true, Plan::Join),
            (Some(U::Paused), false, roll(true, false)),
            (Some(U::Paused), true, roll(true, true)),
            (Some(U::RollbackPaused), true, roll(true, true)),
        ] {
            assert_eq!(plan(update, same_image), expected, "{update:?} {same_image}");
        }
    }
}
