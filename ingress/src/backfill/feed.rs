//! From a missed delivery to jobs.

use std::{collections::HashMap, sync::Arc};

use axum::http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use proto::{Cause, CauseKind, ChainId, Job, JobId, TargetName};

use super::{delivery::Missed, tally::Fate};
use crate::{
    accept::{self, Request},
    ingress::Ingress,
    kept::Push,
    route::{Wish, nothing_follows},
    settings::Settings,
    source::{Message, Reading, Sighting, Source},
    timeline::{self, TimelineError, told_since},
    view::View,
};

/// Takes the missed deliveries of one look.
///
/// Their jobs get ids of the time at which GitHub tried them first. Ids are the order of wishes: a job of anything that
/// was pushed, deployed or approved since is above them, on whatever ingress, and is never overwritten.
pub(super) struct Feed<'a> {
    ingress: &'a Arc<Ingress>,
    settings: &'a Arc<Settings>,
    source: &'a Source,
    /// By how much GitHub's clock is behind.
    behind: SignedDuration,
    /// The id that was given last: of two deliveries in one second the later one is above.
    last: Option<JobId>,
    /// Jobs of targets from before the history was followed.
    pasts: HashMap<TargetName, Arc<View>>,
}

/// Why a wish of a missed delivery makes no job.
enum Passed {
    /// An earlier sending made one.
    Known,
    /// Something newer was wished since.
    Outdated,
}

impl<'a> Feed<'a> {
    pub(super) fn new(
        ingress: &'a Arc<Ingress>,
        settings: &'a Arc<Settings>,
        source: &'a Source,
        behind: SignedDuration,
    ) -> Feed<'a> {
        Feed { ingress, settings, source, behind, last: None, pasts: HashMap::new() }
    }

    /// Makes the jobs of a delivery as its hook would have; nothing where it has to wait.
    pub(super) async fn take(&mut self, missed: &Missed, headers: &HeaderMap, body: &[u8]) -> Option<Fate> {
        let (source, delivery) = (&self.source.name, &missed.guid);
        let ignored = |why: String| {
            tracing::info!(source, delivery, why, "a missed delivery deploys nothing");
            Some(Fate::Ignored)
        };
        let sightings = match self.source.read(&Message { headers, body, tag: None }) {
            Ok(Reading::Sightings(sightings)) => sightings,
            Ok(Reading::Ignored(why) | Reading::NeedsRule(why) | Reading::Acknowledged(why)) => {
                return ignored(why);
            }
            Ok(Reading::Handshake(_)) => return ignored("it asks whether events are wanted".to_owned()),
            Err(error) => {
                tracing::warn!(
                    source,
                    delivery,
                    error = &error as &dyn std::error::Error,
                    "a missed delivery cannot be read"
                );
                return Some(Fate::Unusable);
            }
        };
        let wishes = self.ingress.known.targets_under(self.settings).wishes(&sightings);
        if wishes.is_empty() {
            if let Some((pool, system)) = self.ingress.known.untold(self.settings) {
                tracing::debug!(source, delivery, %pool, system, "a missed delivery waits until workers have told of their targets");
                return None;
            }
            let withheld = self.ingress.known.withheld(self.settings, &sightings);
            return ignored(withheld.unwrap_or_else(|| nothing_follows(&sightings)));
        }
        let untold = self.ingress.known.untold(self.settings).is_some();
        let served = wishes.iter().map(|wish| wish.target.name.clone()).collect();
        match self.wish(missed, wishes, &sightings).await {
            Ok(Some(fate)) if untold => self.keep(missed, &sightings, served).await.then_some(fate),
            Ok(fate) => fate,
            Err(error) => {
                tracing::warn!(
                    source,
                    delivery,
                    error = &error as &dyn std::error::Error,
                    "a missed delivery waits for the history"
                );
                None
            }
        }
    }

    /// Targets that nobody has told of yet may follow it as well. Whether it waits for them now.
    async fn keep(&self, missed: &Missed, sightings: &[Sighting], served: Vec<TargetName>) -> bool {
        let (kind, source) = (CauseKind::Hook, Some(self.source.name.as_str()));
        let wished = JobId::mint(self.wished_at(missed), None);
        let kept = self.ingress.keep(&Push { sightings, kind, source, by: None, wished, served }).await;
        if let Err(error) = &kept {
            let (source, delivery, error) = (source, &missed.guid, error as &dyn std::error::Error);
            tracing::warn!(source, delivery, error, "a missed delivery waits for the queue");
        }
        kept.is_ok()
    }

    fn wished_at(&self, missed: &Missed) -> Timestamp {
        (missed.first_tried_at + self.behind).min(Timestamp::now())
    }

    async fn wish(
        &mut self,
        missed: &Missed,
        wishes: Vec<Wish>,
        sightings: &[Sighting],
    ) -> Result<Option<Fate>, TimelineError> {
        let wished_at = self.wished_at(missed);
        let cause =
            Cause { kind: CauseKind::Hook, source: Some(self.source.name.clone()), by: None, delivery: None };
        let request = Request { cause, traceparent: None, whole: false };
        let (mut ids, mut open, mut fate) = (Vec::new(), Vec::new(), Fate::Outdated);
        for wish in wishes {
            let id = JobId::mint(wished_at, self.last);
            self.last = Some(id);
            let job = accept::job(id, ChainId::of(id), Timestamp::now(), &wish, &request);
            match self.passed(&job).await? {
                None => {
                    ids.push(id);
                    open.push(wish);
                }
                Some(Passed::Known) => fate = Fate::Known,
                Some(Passed::Outdated) => {}
            }
        }
        let image = sightings.first().map(|seen| seen.image.familiar());
        tracing::info!(source = self.source.name, delivery = missed.guid, image, tried_at = %missed.first_tried_at, wishes = open.len(), "fetched a missed delivery");
        if open.is_empty() {
            return Ok(Some(fate));
        }
        Ok(self.make_jobs(open, request, ids).await)
    }

    async fn make_jobs(&self, wishes: Vec<Wish>, request: Request, ids: Vec<JobId>) -> Option<Fate> {
        let source = &self.source.name;
        let taken = match self.ingress.take_late(wishes, request, ids).await {
            Ok(Ok(taken)) => taken,
            Ok(Err(reused)) => {
                tracing::warn!(
                    source,
                    error = &reused as &dyn std::error::Error,
                    "a missed delivery was not taken"
                );
                return Some(Fate::Known);
            }
            Err(panic) => {
                tracing::error!(
                    source,
                    error = &panic as &dyn std::error::Error,
                    "taking a missed delivery failed"
                );
                return None;
            }
        };
        for job in &taken.jobs {
            let image = job.operation.image().map(proto::ImageRef::familiar);
            tracing::info!(job = %job.id, target = %job.target, source, image, "accepted");
        }
        for (target, error) in &taken.refused {
            tracing::warn!(%target, source, error = error as &dyn std::error::Error, "a missed delivery made no job yet");
        }
        taken.refused.is_empty().then_some(Fate::Deployed)
    }

    /// Why a job need not be made, as far as is known; what is not known yet its id settles.
    async fn passed(&mut self, job: &Job) -> Result<Option<Passed>, TimelineError> {
        let (ingress, source) = (self.ingress, &self.source.name);
        let (delivery, target) = (&job.cause.delivery, &job.target);
        let mut made = ingress.view.of_delivery(&job.cause);
        let mut newer = ingress.view.newer_rival(job);
        if let Some(past) = self.past(job).await? {
            made.extend(past.of_delivery(&job.cause));
            newer = newer.or_else(|| past.newer_rival(job));
        }
        if let Some(made) = made.iter().find(|made| made.target == job.target) {
            tracing::info!(source, delivery, %target, job = %made.id, "a missed delivery came some other way");
            return Ok(Some(Passed::Known));
        }
        if let Some((newer, state)) = newer {
            tracing::info!(source, delivery, %target, %newer, state = state.as_str(), "a missed delivery comes too late: a newer job was accepted since");
            return Ok(Some(Passed::Outdated));
        }
        Ok(None)
    }

    /// The target's jobs from before the history was followed, where the job is older than that.
    async fn past(&mut self, job: &Job) -> Result<Option<&View>, TimelineError> {
        let (ingress, since) = (self.ingress, told_since(job.id, [job.accepted_at]));
        if ingress.read_since <= since && ingress.view.remembers_from(job.id) {
            return Ok(None);
        }
        if !self.pasts.contains_key(&job.target) {
            // The deliveries come oldest first: this one's time is early enough for the others.
            let past = timeline::of_target(&ingress.queue, &ingress.view, &job.target, since).await?;
            self.pasts.insert(job.target.clone(), past);
        }
        Ok(self.pasts.get(&job.target).map(Arc::as_ref))
    }
}
