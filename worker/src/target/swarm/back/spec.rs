//! The way back of a text: to the whole spec from before it, not to the image alone.

use proto::{JobId, Reason};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{MOST_DECISIONS, Undone, Way, is_on_its_way_back, nowhere_to_go, taken_over};
use crate::{
    steps::{Step, reached},
    target::{
        Outcome, Progress, TargetError, Wanted,
        swarm::{
            SwarmService,
            client::Write,
            fence,
            good::is_tag_of,
            lifecycle::{BROUGHT, Concern, RAN, REDEPLOYED, REPLICAS, RUNNING, STACK, brought},
            service::{Service, same_image},
        },
    },
};

impl SwarmService {
    /// Takes back what a text wrote, though nothing is known to be wrong with it: see [`Target::end_half_way`].
    ///
    /// [`Target::end_half_way`]: crate::target::Target::end_half_way
    pub(in crate::target::swarm) async fn take_back(
        &self,
        wanted: &Wanted,
        why: Reason,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let service = self.client().service(&self.name).await?;
        if is_on_its_way_back(&service, wanted) {
            return Box::pin(self.resume_way_back(service, wanted, progress)).await;
        }
        let image = self.wanted_image(wanted)?;
        if Concern::of(&wanted.job.operation).mark(&service) != Some(wanted.job.id) {
            // The engine is at it.
            return Box::pin(self.watch_to_the_end(wanted, image, progress)).await;
        }
        let outcome = Outcome::failed(why.clone());
        let undone = Undone { wanted, image, outcome, why, is_bad: false, before: None };
        match former_spec(&service, wanted) {
            Some(spec) => Box::pin(self.go_back_to_spec(service, spec, undone, progress)).await,
            None => match service.fence.job.filter(|job| *job > wanted.job.id) {
                Some(newer) => Ok(taken_over(undone, newer)),
                None => Box::pin(self.go_back(service, undone, progress)).await,
            },
        }
    }

    /// Writes the spec as it was before the text, with our marks, and watches that.
    pub(super) async fn go_back_to_spec(
        &self,
        mut service: Service,
        former: Value,
        undone: Undone<'_>,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let (id, before) = (undone.wanted.job.id, service.fence.job);
        for _ in 0..MOST_DECISIONS {
            let spec = restored(&service, former.clone(), &undone);
            let Some(image) = service.with_spec(spec.clone()).image() else {
                return Ok(nowhere_to_go(undone, "the image from before the text cannot be read"));
            };
            let registry_key = self.swarm.registries.header_for(image.repository());
            match self.client().write(Write { service: &service, spec: &spec, registry_key }).await {
                Ok(()) => {
                    reached(Step::WentBack);
                    return self.watch_way_back(undone, (&image, Way::Ours), progress).await;
                }
                // The engine writes by itself when it pauses or completes an update, or somebody else did.
                Err(TargetError::Conflict) => service = self.client().service(&self.name).await?,
                Err(error) => return Err(error),
            }
            let newer = |job: &JobId| *job > id && Some(*job) != before;
            if let Some(by) = service.fence.job.filter(newer).or(Concern::Stack.mark(&service).filter(newer))
            {
                return Ok(taken_over(undone, by));
            }
            if Concern::Stack.mark(&service) != Some(id) {
                // Somebody wrote meanwhile: theirs stands.
                return Ok(undone.outcome);
            }
        }
        Err(TargetError::Conflict)
    }
}

/// The spec before the text of `wanted` was deployed: a text may have changed more than the image. Where its image is
/// not known to have run well, as of a rollout under way that the text took over, it comes with the one that is.
pub(super) fn former_spec(service: &Service, wanted: &Wanted) -> Option<Value> {
    let (concern, mine) = (Concern::of(&wanted.job.operation), Some(wanted.job.id));
    if concern != Concern::Stack || concern.mark(service) != mine {
        return None;
    }
    // The command writes each service at every run of it: what was before may be this very text.
    let former = service.previous().filter(|former| concern.mark(former) != mine)?;
    if former.fence.trying != mine {
        return taken_over_spec(service, &former);
    }
    let ran_well = former
        .image()
        .zip(former.fence.good.clone())
        .is_some_and(|(it, good)| same_image(&it, &good) || is_tag_of(&it, &good));
    let same = former.image().zip(service.image()).is_some_and(|(one, other)| same_image(&one, &other));
    (ran_well || same).then(|| former.spec().clone())
}

/// The spec whose rollout was under way when a text came, with the image that ran well before both.
fn taken_over_spec(service: &Service, former: &Service) -> Option<Value> {
    let mut spec = former.spec().clone();
    let keeps_the_image =
        former.image().zip(service.image()).is_some_and(|(one, other)| same_image(&one, &other));
    let was_just_brought = former.fence.trying.is_some() && former.fence.trying == brought(former);
    if keeps_the_image && !was_just_brought {
        // It ran before the rollout: what did not hold is something else that the text changed.
        return Some(spec);
    }
    let good = service.fence.good.as_ref()?.to_string();
    spec["Labels"][fence::GOOD] = json!(good);
    spec["TaskTemplate"]["ContainerSpec"]["Image"] = json!(good);
    Some(spec)
}

/// The spec from before the text with our marks, and with those of newer jobs.
fn restored(service: &Service, mut spec: Value, undone: &Undone<'_>) -> Value {
    let id = undone.wanted.job.id;
    if !spec["Labels"].is_object() {
        spec["Labels"] = json!({});
    }
    let job = service.fence.job.map_or(id, |job| job.max(id));
    for (mark, job) in [(fence::JOB, job), (fence::BACK, id), (STACK, id)] {
        spec["Labels"][mark] = json!(job.to_string());
    }
    if let Some(newer) = Concern::Redeploy.mark(service).filter(|job| *job > id) {
        spec["Labels"][REDEPLOYED] = json!(newer.to_string());
    }
    if let Some(newer) = Concern::Running.mark(service).filter(|job| *job > id) {
        spec["Labels"][RUNNING] = json!(newer.to_string());
        spec["Mode"] = service.spec()["Mode"].clone();
        for name in [REPLICAS, RAN] {
            match service.label(name) {
                Some(noted) => spec["Labels"][name] = json!(noted),
                None => _ = spec["Labels"].as_object_mut().and_then(|labels| labels.shift_remove(name)),
            }
        }
    }
    let image = service.with_spec(spec.clone()).image();
    // A tag may name other content by now than what ran well.
    let pinned =
        service.fence.good.as_ref().filter(|good| image.as_ref().is_some_and(|it| is_tag_of(it, good)));
    if let Some(good) = pinned {
        spec["TaskTemplate"]["ContainerSpec"]["Image"] = json!(good.to_string());
    }
    if image.is_some_and(|image| !same_image(&image, undone.image)) {
        spec["Labels"][BROUGHT] = json!(id.to_string());
        if undone.is_bad {
            spec["Labels"][fence::BAD] = json!(service.fence.with_bad(undone.image));
        }
    }
    spec
}
