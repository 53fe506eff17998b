//! Pushes that wait until workers have told which targets there are.
//!
//! A push may be for a target that only workers can find on a system of which none has told yet. It waits on the intake
//! with the id that a job of it would have had: newest wins, so what was wished since has to stand above it.

use std::sync::Arc;

use jiff::SignedDuration;
use proto::{CauseKind, ChainId, JobId, Sighting, TargetName, Timestamp};
use queue::QueueError;

use crate::{
    accept::{self, KeyReused, Request, Taken},
    ingress::Ingress,
    route::Wish,
    source,
};

/// A push on its way to wait.
pub(crate) struct Push<'a> {
    pub(crate) sightings: &'a [source::Sighting],
    pub(crate) kind: CauseKind,
    /// The source that took it, and who sent it, where they have names.
    pub(crate) source: Option<&'a str>,
    pub(crate) by: Option<&'a str>,
    /// The id above which everything is that is wished from now on.
    pub(crate) wished: JobId,
    /// Targets that have their jobs of it.
    pub(crate) served: Vec<TargetName>,
}

/// Of one push after the other, or of one's jobs: above what was wished when it came, and like nothing that was minted then.
fn after(wished: JobId, last: Option<JobId>) -> JobId {
    JobId::mint(wished.time() + SignedDuration::from_millis(1), last)
}

impl Ingress {
    /// The id above which everything is that is wished from now on.
    pub(crate) fn wished_now(&self) -> JobId {
        self.mint.one(self.mint.now())
    }

    /// Lets a push wait.
    pub(crate) async fn keep(&self, push: &Push<'_>) -> Result<(), QueueError> {
        let mut wished = push.wished;
        for source::Sighting { image, service, delivery } in push.sightings.iter().cloned() {
            let sighting = Sighting {
                image,
                service,
                kind: push.kind,
                source: push.source.map(str::to_owned),
                // By its name, what comes of it is known when the message comes twice.
                delivery: delivery.or_else(|| Some(format!("kept-{wished}"))),
                by: push.by.map(str::to_owned),
                elsewhere_at: None,
                wished: Some(wished),
                served: push.served.clone(),
            };
            self.queue.submit(sighting.encode().into()).await?;
            wished = after(wished, None);
        }
        Ok(())
    }

    /// Makes the jobs of a push that waited, with ids of the time when it came; none where something newer was wished since.
    pub(crate) async fn take_kept(
        self: &Arc<Self>,
        wishes: Vec<Wish>,
        request: Request,
        wished: JobId,
    ) -> Result<Result<Taken, KeyReused>, tokio::task::JoinError> {
        let (mut last, mut open, mut ids) = (None, Vec::new(), Vec::new());
        for wish in wishes {
            let id = after(wished, last);
            last = Some(id);
            let job = accept::job(id, ChainId::of(id), Timestamp::now(), &wish, &request);
            if let Some((newer, state)) = self.view.newer_rival(&job) {
                let image = job.operation.image().map(proto::ImageRef::familiar);
                tracing::info!(target = %job.target, image, %newer, state = state.as_str(), "what was kept comes too late: a newer job was accepted since");
                continue;
            }
            open.push(wish);
            ids.push(id);
        }
        self.take_late(open, request, ids).await
    }
}
