//! What ran well before a stack is written. It is noted beside each service that is about to change: the way back.

use async_trait::async_trait;
use proto::{ImageRef, JobId};
use serde_json::Value;

use super::{PortainerStack, answer::Call, client::Client, fence::Mark, ground::Ground, live::Live};
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
        let mut mark = Mark { good: ran_well.or(former.good), bad: former.bad, ..Mark::of(job) };
        // One that was rolled back once is deployed only where somebody said so.
        mark.bad.retain(|bad| next.and_then(ImageRef::digest) != Some(bad));
        mark
    }
}
