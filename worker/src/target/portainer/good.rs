//! What ran well before a stack is written. It is noted beside each service that is about to change: the way back.

use async_trait::async_trait;
use proto::{ImageRef, JobId};
use serde_json::Value;

use super::{
    PortainerStack,
    answer::Call,
    client::Client,
    fence::Mark,
    ground::Ground,
    live::{Live, is_wanted},
};
use crate::target::{
    TargetError,
    swarm::{Containers, believed_after},
};

/// The engine of one environment behind a Portainer.
struct Engine<'a> {
    client: &'a Client,
    environment: u64,
}

#[async_trait]
impl Containers for Engine<'_> {
    async fn show_container(&self, id: &str) -> Option<Value> {
        let call = Call::read("show what runs", "containers");
        let path = format!("containers/{id}/json");
        self.client.docker(self.environment, (&path, None), call).await.ok()
    }
}

impl PortainerStack {
    /// The image that runs of a service, where it is the one that the file means and all of it came up: a swarm is asked
    /// for the tasks, by the same count as in a rollout, since it tells of no failure where nothing was updated.
    pub(super) async fn ran_well(
        &self,
        ground: &Ground,
        live: &Live,
        service: &str,
    ) -> Result<Option<ImageRef>, TargetError> {
        let stack = &ground.stack;
        let stands = ground.image(service).filter(|image| live.runs(stack, service, image));
        let Some(image) = stands else { return Ok(None) };
        let is_well = match live.swarm_service(stack, service) {
            Some(seen) => {
                let seat = self.portainer.client.lookout().seat(stack.environment);
                let sight = self.sight(stack, seen, &seat).await?;
                let engine = Engine { client: &self.portainer.client, environment: stack.environment };
                seen.ran_well(&sight, self.policy.stable, &engine).await
            }
            None => live.runs_well(service, believed_after(self.policy.stable.unwrap_or_default())),
        };
        Ok(is_well.then_some(image))
    }

    /// The image that is to be noted as the one that ran well before `service` is written: what runs now, or, where
    /// somebody else brought that and it does not run well, what ran before it.
    pub(super) async fn worth_noting(
        &self,
        ground: &Ground,
        live: &Live,
        service: &str,
    ) -> Result<Option<ImageRef>, TargetError> {
        match self.ran_well(ground, live, service).await? {
            Some(image) => Ok(Some(image)),
            None => {
                let before = self.ran_before(ground, live, service).await?;
                Ok(before.filter(|before| before.unproven.is_none()).map(|before| before.image))
            }
        }
    }

    /// What ran before somebody else changed a service's image: what is noted beside it is one image older.
    pub(super) async fn ran_before(
        &self,
        ground: &Ground,
        live: &Live,
        service: &str,
    ) -> Result<Option<Before>, TargetError> {
        let (stack, mark) = (&ground.stack, ground.marks.services.get(service));
        let Some(stands) = ground.image(service) else { return Ok(None) };
        // Ours, or from before it was noted what a job brought.
        if mark.is_some_and(|mark| mark.image.as_ref().is_none_or(|ours| is_wanted(&stands, ours))) {
            return Ok(None);
        }
        let brought = mark.and_then(|mark| Some((mark.replaced_by_another(&stands)?, mark.job)));
        let Some(seen) = live.swarm_service(stack, service) else {
            let before = |(image, job): (&ImageRef, _)| Before { image: image.clone(), unproven: Some(job) };
            return Ok(brought.map(before));
        };
        let seat = self.portainer.client.lookout().seat(stack.environment);
        let sight = self.sight(stack, seen, &seat).await?;
        let engine = Engine { client: &self.portainer.client, environment: stack.environment };
        let stable = self.policy.stable;
        // Where the file was written and not deployed, the engine knows of no change.
        if live.runs(stack, service, &stands)
            && let Some(image) = seen.ran_before(&sight, stable, &engine).await
        {
            return Ok(Some(Before { image, unproven: None }));
        }
        match brought {
            Some((image, _)) if seen.held(image, &sight, stable, &engine).await => {
                Ok(Some(Before { image: image.clone(), unproven: None }))
            }
            Some(_) | None => Ok(None),
        }
    }
}

/// What ran before somebody else's change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Before {
    pub(super) image: ImageRef,
    /// The job that brought it, where nothing on the engine tells whether it held: Compose keeps no container of what was
    /// replaced.
    pub(super) unproven: Option<JobId>,
}

impl Mark {
    /// The mark of a service that `job` brings `next` to. `ran_well`: the image to come back to; where there is none,
    /// the one that was noted before stays.
    pub(super) fn succeeding(
        former: Option<Mark>,
        job: JobId,
        (ran_well, next): (Option<ImageRef>, Option<&ImageRef>),
    ) -> Mark {
        let former = former.unwrap_or_else(|| Mark::of(job));
        let (image, good) = (next.cloned(), ran_well.or(former.good));
        let mut mark = Mark { image, good, bad: former.bad, ..Mark::of(job) };
        // One that was rolled back once is deployed only where somebody said so.
        mark.bad.retain(|bad| next.and_then(ImageRef::digest) != Some(bad));
        mark
    }
}
