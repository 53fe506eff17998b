//! The way back: what follows a rollout that did not hold, where the target asks for it. No controller of Kubernetes
//! goes back by itself.

use proto::{ImageRef, PutOnHold, Reason, reason};
use tokio::sync::mpsc;

use super::{
    KubernetesWorkload,
    decide::made_anew,
    edit::Edit,
    fence::{CHANGE_CAUSE, Concern, Fence},
    object::Workload,
    watch::{Rollout, deleted},
};
use crate::{
    steps::{Step, reached},
    target::{End, Outcome, Progress, TargetError, Wanted, rolled_back::what_next},
};

/// How often a workload that changes under our hands is read again.
const MOST_DECISIONS: usize = 10;

impl KubernetesWorkload {
    /// Watches a rollout and, where it does not hold, the way back; with a reason, says what it comes to now.
    pub(super) async fn watched(
        &self,
        wanted: &Wanted,
        given_up: Option<Reason>,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let workload = match self.workload().await {
            Err(TargetError::NotFound { what, .. }) => return Ok(deleted(&what, Vec::new())),
            read => read.map_err(TargetError::of_what_was_begun)?,
        };
        if self.kubernetes.is_another(wanted.job.id, &workload) {
            self.kubernetes.forget_floor(wanted.job.id);
            return Ok(Outcome::failed(made_anew()));
        }
        self.kubernetes.note_watched(wanted.job.id, &workload);
        let container = self.container_for(&workload, &wanted.job.operation)?;
        let outcome = self.watched_until_it_holds(wanted, (workload, container), given_up, progress).await;
        // Where the watch broke off, it is taken up again.
        if outcome.is_ok() {
            self.kubernetes.forget_floor(wanted.job.id);
        }
        outcome
    }

    async fn watched_until_it_holds(
        &self,
        wanted: &Wanted,
        (workload, container): (Workload, String),
        given_up: Option<Reason>,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let fence = Fence::of(&workload, &container);
        if fence.back == Some(wanted.job.id) && fence.job == Some(wanted.job.id) {
            return self.resume_way_back(wanted, &workload, container, progress).await;
        }
        let image = wanted.image.clone().or_else(|| workload.image(&container));
        let rollout = Rollout::new(self, wanted, (container.clone(), image), progress);
        let outcome = match given_up {
            Some(reason) => rollout.now(reason).await?,
            None => rollout.watch().await?,
        };
        let failed = match &outcome.end {
            End::Failed(why) if why.code != reason::CHANGED_ELSEWHERE => why.clone(),
            End::Failed(_) | End::Converged | End::RolledBack(_) | End::Superseded { .. } => {
                return Ok(outcome);
            }
        };
        reached(Step::Undone);
        let brings_image = !matches!(Concern::of(&wanted.job.operation), Some(Concern::Running) | None);
        match &wanted.image {
            Some(image) if self.policy.rollback && brings_image => {
                self.go_back(wanted, (container, image), (outcome, failed), progress).await
            }
            Some(_) | None => Ok(outcome),
        }
    }

    /// Goes back to the last image that ran well, by an ordinary write, and watches that.
    async fn go_back(
        &self,
        wanted: &Wanted,
        (container, failed): (String, &ImageRef),
        (outcome, why): (Outcome, Reason),
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        for _ in 0..MOST_DECISIONS {
            let workload = match self.workload().await {
                Err(TargetError::NotFound { what, .. }) => return Ok(deleted(&what, outcome.output)),
                read => read.map_err(TargetError::of_what_was_begun)?,
            };
            if self.kubernetes.is_another(wanted.job.id, &workload) {
                let anew = made_anew();
                let text = format!("{}; {}", why.text, anew.text);
                return Ok(Outcome { end: End::Failed(Reason { text, ..anew }), ..outcome });
            }
            let mut fence = Fence::of(&workload, &container);
            if let Some(by) = fence.job.filter(|job| *job > wanted.job.id) {
                let reason = Reason::new(reason::NEWER_WISH, format!("{}; a newer job took over", why.text));
                return Ok(Outcome { end: End::Superseded { by: Some(by), reason }, ..outcome });
            }
            if !workload.runs(&container, failed) {
                let text = format!("{}; somebody else changed the workload's image since", why.text);
                let reason = Reason::new(reason::CHANGED_ELSEWHERE, text);
                return Ok(Outcome { end: End::Superseded { by: None, reason }, ..outcome });
            }
            let good = fence.good.clone().filter(|good| good != failed && !fence.is_bad(good));
            let Some(good) = good else {
                let text = format!(
                    "{}; it is not rolled back, since no other image is known to have run well",
                    why.text
                );
                return Ok(Outcome { end: End::Failed(Reason { text, ..why }), ..outcome });
            };
            fence.job = Some(wanted.job.id);
            fence.back = Some(wanted.job.id);
            fence.note_bad(failed);
            let cause =
                format!("longshore rolled back {} (job {})", failed.by_tag().familiar(), wanted.job.id);
            let mut annotations = fence.written(&container);
            annotations.push((CHANGE_CAUSE.to_owned(), Some(cause)));
            let edit =
                Edit { image: Some((container.clone(), good.clone())), annotations, ..Edit::default() };
            match self.write(&workload, &edit, wanted).await {
                Ok(_) => {
                    reached(Step::WentBack);
                    return self.watch_way_back(wanted, (container, good), (outcome, why), progress).await;
                }
                Err(TargetError::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        Err(TargetError::Conflict)
    }

    async fn watch_way_back(
        &self,
        wanted: &Wanted,
        (container, good): (String, ImageRef),
        (outcome, why): (Outcome, Reason),
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let rollout = Rollout::new(self, wanted, (container, Some(good.clone())), progress);
        let back = rollout.watch().await?;
        let end = match back.end {
            End::Converged => {
                let text = format!("{}; rolled back to {}", why.text, good.familiar());
                let reason = Reason::new(reason::ROLLED_BACK, text);
                let image = wanted.image.as_ref().or(wanted.job.operation.image());
                let next = image.map(|image| what_next(&wanted.job.target, image));
                End::RolledBack(Reason { hint: next, ..reason })
            }
            End::Failed(reason) | End::RolledBack(reason) => {
                let text =
                    format!("{}; the rollback to {} failed too: {}", why.text, good.familiar(), reason.text);
                End::Failed(Reason { text, ..reason })
            }
            End::Superseded { by, reason } => {
                let text = format!("{}; {}", why.text, reason.text);
                End::Superseded { by, reason: Reason { text, ..reason } }
            }
        };
        let output = outcome.output.into_iter().chain(back.output).collect();
        Ok(Outcome { tasks: back.tasks, output, put_on_hold: noted_bad(wanted), ..Outcome::of(end) })
    }

    /// A former worker has written the way back of this job.
    async fn resume_way_back(
        &self,
        wanted: &Wanted,
        workload: &Workload,
        container: String,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let brought = match &wanted.job.operation.image() {
            Some(image) => image.familiar(),
            None => "the new image".to_owned(),
        };
        let why = Reason::new(reason::ROLLED_BACK, format!("{brought} did not hold"));
        let outcome = Outcome::of(End::RolledBack(why.clone()));
        let Some(good) = workload.image(&container) else { return Ok(outcome) };
        self.watch_way_back(wanted, (container, good), (outcome, why), progress).await
    }
}

/// What the way back noted as bad: only content can be told from other content.
fn noted_bad(wanted: &Wanted) -> Vec<PutOnHold> {
    let image = wanted.image.iter().filter(|image| image.digest().is_some());
    image.map(|image| PutOnHold { image: image.clone(), part: None }).collect()
}
