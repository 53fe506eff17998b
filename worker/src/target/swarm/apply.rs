//! What was read of a service, and the writes that bring the wanted image.
//!
//! Before a write that replaces tasks, a label-only write says which job is about to be tried, and which
//! image ran well until now. Labels are written only before or after a rollout, never in it: in it, a
//! label-only write would leave the engine nothing to roll back to, and wipe its update status; in one that is paused
//! it would set the engine going again with what it paused for.
//! For the same reason nothing is written after a rollout has converged, nor where the image stands already:
//! `docker service rollback` would then go "back" to the very same image. Which of two wishes for what stands is the
//! newer one, the history tells. What ran well is noted before the next change instead, which is when it is needed.

use async_trait::async_trait;
use proto::{Digest, ImageRef, JobId, Operation, PutOnHold};

use super::{
    SwarmService,
    before::Before,
    client::Write,
    elsewhere::replaced_by_another,
    hold,
    lifecycle::{BROUGHT, Concern},
    service::{Edit, Service, UpdateState, same_image},
    stood::STOOD,
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
    /// Of a job that goes back: what ran well before the image that stands there, where somebody else brought that.
    pub(super) before: Before,
    /// What was rolled back there, as far as the history knows: its own labels may have been wiped.
    pub(super) known_bad: Vec<Digest>,
}

/// Which writes a wish needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    /// That very image stands already, or the rollout under way is one to it: nothing.
    Leave,
    /// A rollout. `announce`: none is under way, so labels may be written first. `force`: the image is the
    /// same, but its last rollout was given up half-way. One that is paused is under way: any write sets it going again.
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

    fn heed(&mut self, on_hold: &[PutOnHold]) {
        self.known_bad = on_hold.iter().filter_map(|noted| noted.image.digest().cloned()).collect();
    }

    fn remembers_bad(&self) -> bool {
        !self.service.fence.bad.is_empty() || !self.known_bad.is_empty()
    }

    fn is_bad(&self, image: &ImageRef) -> bool {
        let is_known = image.digest().is_some_and(|digest| self.known_bad.contains(digest));
        (is_known || self.service.fence.is_bad(image)) && !self.service.runs(image)
    }

    fn meant(&self, operation: &Operation) -> Result<Option<ImageRef>, TargetError> {
        self.image_meant(operation)
    }

    fn has_no_marks(&self) -> bool {
        let fence = &self.service.fence;
        fence.job.is_none() && fence.trying.is_none() && fence.good.is_none() && fence.back.is_none()
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
        let is_way_back = matches!(wanted.job.operation, Operation::Rollback { image: None, .. });
        if is_way_back {
            Box::pin(self.refuse_what_did_not_hold(image)).await?;
        }
        let labels = self.undoing(&wanted.job.operation);
        let stands =
            Stands { image: self.service.runs(image), tried: is_tried(&self.service, wanted.job.id, image) };
        match plan(self.service.update(), stands) {
            Plan::Leave => Ok(()),
            Plan::Roll { announce, force } => {
                // Whoever goes back does not believe in what runs now: what ran well before stays noted.
                let believes = !matches!(wanted.job.operation, Operation::Rollback { .. });
                // Repeated, a rollback stays where it went, whatever the tag names and stands there by then.
                let is_pinned = self.pins_good(&wanted.job.operation)
                    || is_way_back
                        && (self.before.image.is_some() || replaced_by_another(&self.service).is_some());
                let pinned = is_pinned.then(|| image.to_string());
                let announced = match (announce, believes) {
                    (true, true) => Some(self.announce(wanted.job.id, Some(image), true).await?),
                    (true, false) => {
                        Some(self.announce_with(wanted.job.id, Some(image), pinned.as_deref()).await?)
                    }
                    (false, _) => None,
                };
                let service = announced.as_ref().unwrap_or(&self.service);
                let mut labels = labels;
                if !service.runs(image) {
                    labels.push((BROUGHT, Some(wanted.job.id.to_string())));
                }
                labels.extend(self.aside(image, (believes, pinned.is_some())));
                labels.push(self.passed_over(image));
                // One that was rolled back once is deployed only where somebody said so.
                let bad = service.fence.without_bad(image);
                let bad = bad.as_deref();
                let edit =
                    Edit { image: Some(image), force, job, trying: job, bad, labels, ..Edit::default() };
                let platforms = Box::pin(self.target.platforms_for(service, image)).await;
                // What could not be announced is noted in this very write.
                let noted = match (believes && !announce, force) {
                    (true, false) => self.good_before(Some(image)).await?,
                    // What stands there is what was given up half-way.
                    (true, true) => {
                        Box::pin(self.ran_before(Some(image))).await?.map(|image| image.to_string())
                    }
                    (false, _) => None,
                };
                let good = pinned.or(noted);
                let edit = Edit { trying_image: Some(image), good: good.as_deref(), platforms, ..edit };
                let key = self.target.swarm.registries.header_for(image.repository());
                self.write(service, &edit, key).await
            }
        }
    }
}

impl FoundService {
    /// What to note of a service without tasks. A rollback leaves it, unless it went elsewhere.
    fn aside(
        &self,
        image: &ImageRef,
        (believes, is_pinned): (bool, bool),
    ) -> Option<(&'static str, Option<String>)> {
        match believes {
            true => (!self.service.runs(image)).then(|| self.standing_aside(image)),
            false if is_pinned => Some((STOOD, None)),
            false => self.pinned_aside(image),
        }
    }

    /// Whether bringing an image that stands there already replaces its tasks.
    pub(super) fn rolls_anew(&self, image: &ImageRef) -> bool {
        let stands = Stands { image: self.service.runs(image), tried: false };
        let force = plan(self.service.update(), stands);
        self.concern == Concern::Image && matches!(force, Plan::Roll { force: true, .. })
    }

    /// Whether there is nothing to write to bring an image.
    pub(super) fn stands_with(&self, image: &ImageRef) -> bool {
        let stands = Stands { image: self.service.runs(image), tried: false };
        self.concern == Concern::Image && plan(self.service.update(), stands) == Plan::Leave
    }
}

/// What is known of the image that is to be brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stands {
    /// It stands there.
    image: bool,
    /// It stood there when this job said that it would bring it, so its tasks are to be replaced. To say so clears the
    /// engine's pause, which was the reason, and sets its update going again.
    tried: bool,
}

fn plan(update: Option<UpdateState>, stands: Stands) -> Plan {
    let same_image = stands.image;
    match update {
        _ if same_image && stands.tried => Plan::Roll { announce: false, force: true },
        Some(UpdateState::Updating | UpdateState::RollbackStarted) if same_image => Plan::Leave,
        Some(UpdateState::Updating | UpdateState::RollbackStarted) => {
            Plan::Roll { announce: false, force: false }
        }
        Some(UpdateState::Paused | UpdateState::RollbackPaused) => {
            Plan::Roll { announce: false, force: same_image }
        }
        Some(UpdateState::Completed | UpdateState::RollbackCompleted) | None if same_image => Plan::Leave,
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
        let good = match believes {
            true => self.good_before(image).await?,
            // It stays: of what somebody else brought, this is the last moment at which the engine tells what it replaced.
            false => Box::pin(self.ran_before(None)).await?.map(|image| image.to_string()),
        };
        self.announce_with(id, image, good.as_deref()).await
    }

    /// The same with what is to be noted as the image that ran well.
    async fn announce_with(
        &self,
        id: JobId,
        image: Option<&ImageRef>,
        good: Option<&str>,
    ) -> Result<Service, TargetError> {
        if is_announced(&self.service, id, image) {
            return Ok(self.service.clone());
        }
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
    let is_it = |image: &ImageRef| is_tried(service, id, image);
    service.fence.trying == Some(id) && service.update().is_none() && image.is_none_or(is_it)
}

/// Whether `id` said that it is about to bring `image`.
fn is_tried(service: &Service, id: JobId, image: &ImageRef) -> bool {
    let is_it = |tried: &ImageRef| same_image(tried, image);
    service.fence.trying == Some(id) && service.fence.trying_image.as_ref().is_some_and(is_it)
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
    fn what_was_said_to_be_tried_anew_is_though_the_pause_is_gone() {
        use UpdateState as U;
        let stands = Stands { image: true, tried: true };
        for update in [None, Some(U::Updating), Some(U::Paused), Some(U::Completed)] {
            assert_eq!(plan(update, stands), Plan::Roll { announce: false, force: true }, "{update:?}");
        }
    }

    #[test]
    fn labels_are_never_written_in_a_rollout() {
        use UpdateState as U;
        let roll = |announce, force| Plan::Roll { announce, force };
        for (update, same_image, expected) in [
            (None, false, roll(true, false)),
            (None, true, Plan::Leave),
            (Some(U::Completed), false, roll(true, false)),
            (Some(U::Completed), true, Plan::Leave),
            (Some(U::RollbackCompleted), true, Plan::Leave),
            (Some(U::RollbackCompleted), false, roll(true, false)),
            (Some(U::Updating), false, roll(false, false)),
            (Some(U::Updating), true, Plan::Leave),
            (Some(U::RollbackStarted), false, roll(false, false)),
            (Some(U::RollbackStarted), true, Plan::Leave),
            // A label-only write would set them going again.
            (Some(U::Paused), false, roll(false, false)),
            (Some(U::Paused), true, roll(false, true)),
            (Some(U::RollbackPaused), false, roll(false, false)),
            (Some(U::RollbackPaused), true, roll(false, true)),
        ] {
            let stands = Stands { image: same_image, tried: false };
            assert_eq!(plan(update, stands), expected, "{update:?} {same_image}");
        }
    }
}
