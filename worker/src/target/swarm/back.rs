//! The way back: what follows a rollout that did not hold.
//!
//! Where the engine rolled a service back, our marks went with it, and after an update of an update it rolled to an
//! image that never ran well. Where a target asks for it, we go back ourselves. Either way the digest is noted as
//! bad in the same write that brings our mark: never in a rollout, always after it, or as the beginning of the next.

mod joined;
mod new;
mod once_more;
mod spec;
mod words;

use proto::{ImageRef, JobId, PutOnHold, Reason, reason};
use tokio::sync::mpsc;

use self::{
    new::is_new,
    spec::former_spec,
    words::{DEPLOY_AGAIN, what_next, with_the_way_back},
};
pub(super) use self::{once_more::AGAIN, words::mend_the_text};
use super::{
    Policy, SwarmService,
    client::Write,
    good::{is_tag_of, known_by_tag_only, stands_as},
    lifecycle::{BROUGHT, Concern, REDEPLOYED, STACK},
    lost::Blame,
    redeploy::image_mark,
    rollout::Rollout,
    service::{Edit, Service, same_image},
    watch::{NOTICED_WITHIN, each_once},
};
use crate::{
    steps::{Step, reached},
    target::{End, Outcome, Progress, TargetError, Wanted},
};

/// How often a service that changes under our hands is read again.
const MOST_DECISIONS: usize = 10;

/// A rollout that did not hold.
struct Undone<'a> {
    wanted: &'a Wanted,
    image: &'a ImageRef,
    outcome: Outcome,
    /// Why it did not.
    why: Reason,
    /// Whether the image is to blame.
    is_bad: bool,
    /// The image that ran well before, as far as that was known while it rolled: an engine that goes back takes what was
    /// noted with it, and of a rollout that somebody else began nobody noted anything.
    before: Option<ImageRef>,
}

/// Who went back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    TheEngines,
    Ours,
}

impl SwarmService {
    /// Watches a rollout and, where it does not hold, the way back.
    pub(super) async fn watch_to_the_end(
        &self,
        wanted: &Wanted,
        image: &ImageRef,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let service = self.client().service(&self.name).await?;
        if is_on_its_way_back(&service, wanted) {
            return self.resume_way_back(service, wanted, progress).await;
        }
        let before = Box::pin(self.before_the_rollout(&service, (wanted, image))).await?;
        loop {
            let rollout = Rollout::begin(self, (wanted, image), progress).await?;
            let (outcome, service, blame) = rollout.watch().await?;
            let rolled = (wanted, image, before.as_ref());
            if !Box::pin(self.roll_once_more((&service, blame), rolled, &outcome.end)).await? {
                let rolled = (wanted, image, before);
                return Box::pin(self.follow_up((service, blame), rolled, outcome, progress)).await;
            }
        }
    }

    /// What is to be done when the deadline passes during a rollout: one that has come to an end meanwhile counts.
    pub(super) async fn out_of_time(
        &self,
        wanted: &Wanted,
        reason: Reason,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let service = self.client().service(&self.name).await?;
        if is_on_its_way_back(&service, wanted) {
            return self.resume_way_back(service, wanted, progress).await;
        }
        let image = self.wanted_image(wanted)?;
        let before = Box::pin(self.before_the_rollout(&service, (wanted, image))).await?;
        let (ended, snapshot, service) = Rollout::begin(self, (wanted, image), progress).await?.now().await?;
        let blame = if ended.is_some() { snapshot.blames() } else { snapshot.blames_when_cut_off() };
        let outcome = ended.unwrap_or_else(|| {
            let text = snapshot.blame(reason::DEADLINE, &reason.text).text;
            let tasks = Some(snapshot.count.tasks());
            let output = snapshot.failures().map(ToString::to_string).collect();
            Outcome { tasks, output, ..Outcome::failed(Reason { text, ..reason }) }
        });
        Box::pin(self.follow_up((service, blame), (wanted, image, before), outcome, progress)).await
    }

    async fn follow_up(
        &self,
        (service, blame): (Service, Blame),
        (wanted, image, before): (&Wanted, &ImageRef, Option<ImageRef>),
        outcome: Outcome,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        if matches!(outcome.end, End::RolledBack(_) | End::Failed(_)) {
            reached(Step::Undone);
        }
        match outcome.end.clone() {
            End::Converged => {
                self.leave_mark(&service, (wanted, image), before.as_ref()).await;
                Ok(outcome)
            }
            End::Superseded { .. } => Ok(outcome),
            End::RolledBack(why) => {
                let undone = Undone { wanted, image, outcome, why, is_bad: blame == Blame::Image, before };
                Box::pin(self.after_the_engines(service, undone, progress)).await
            }
            // What an engine took down with itself proves nothing: there is nothing to go back for.
            End::Failed(why) if blame == Blame::Engine && why.code != reason::DEADLINE => {
                Ok(Outcome { end: End::Failed(why.hint(DEPLOY_AGAIN)), ..outcome })
            }
            End::Failed(why) if self.policy.rollback => {
                // What no node took was never tried.
                let is_bad = why.code != reason::NO_SUITABLE_NODE && blame == Blame::Image;
                if is_new(&service, wanted) {
                    return Box::pin(self.remove_what_was_not_there(service, wanted, outcome, why)).await;
                }
                if let Some(spec) = former_spec(&service, wanted) {
                    let undone = Undone { wanted, image, outcome, why, is_bad, before };
                    return self.go_back_to_spec(service, spec, undone, progress).await;
                }
                // What a newer job brought is not ours to take back.
                if service.fence.job > Some(wanted.job.id) {
                    return Ok(outcome);
                }
                self.go_back(service, Undone { wanted, image, outcome, why, is_bad, before }, progress).await
            }
            End::Failed(why) if blame == Blame::Nobody && why.code == reason::ROLLOUT_FAILED => {
                Ok(Outcome { end: End::Failed(why.hint(DEPLOY_AGAIN)), ..outcome })
            }
            End::Failed(why) => {
                let good = before.as_ref().or(service.fence.good.as_ref());
                let why = with_the_way_back(why, good, (wanted, image));
                Ok(Outcome { end: End::Failed(why), ..outcome })
            }
        }
    }

    /// The engine rolled it back. Where it went to an image that never ran well, we go on to the one that did;
    /// elsewhere only the marks are to be written again.
    async fn after_the_engines(
        &self,
        mut service: Service,
        undone: Undone<'_>,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let (id, concern) = (Some(undone.wanted.job.id), Concern::of(&undone.wanted.job.operation));
        let announced = service.fence.trying;
        for _ in 0..MOST_DECISIONS {
            let good = match &undone.before {
                Some(before) => Some(before.clone()),
                None => Box::pin(self.before_the_engines(&service)).await?,
            };
            let good = good.filter(|good| !same_image(good, undone.image));
            if good.as_ref().is_some_and(|good| !stands_as(&service, good, undone.image)) {
                return self.go_back(service, undone, progress).await;
            }
            let brought_another = !service.runs(undone.image);
            let bad = (brought_another && undone.is_bad).then(|| service.fence.with_bad(undone.image));
            let mut labels = other_mark(undone.wanted);
            // It was brought, and is taken back already: there is nothing older to take back in its place.
            labels.extend(brought_another.then(|| (BROUGHT, id.map(|id| id.to_string()))));
            let job = image_mark(undone.wanted).max(service.fence.job);
            let edit = Edit { job, back: id, bad: bad.as_deref(), labels, ..Edit::default() };
            let good = good.map(|good| good.to_string());
            let edit = edit.announced_late(&service, undone.tried(), good.as_deref());
            let written = self.write(&service, &edit, None).await;
            reached(Step::WentBack);
            match written {
                Ok(()) => {
                    return match service.image() {
                        Some(image) if is_tag_of(&image, undone.image) => Ok(nowhere_gone(undone, &image)),
                        Some(image) => self.watch_way_back(undone, (&image, Way::TheEngines), progress).await,
                        None => Ok(undone.outcome),
                    };
                }
                // The engine itself, or somebody else.
                Err(TargetError::Conflict) => service = self.client().service(&self.name).await?,
                Err(error) => return Err(error),
            }
            let is_as_before =
                service.fence.trying == announced && service.fence.job <= id && concern.mark(&service) != id;
            if !is_as_before {
                // Somebody wrote after the rollback: theirs stands.
                return Ok(undone.outcome);
            }
        }
        Err(TargetError::Conflict)
    }

    /// Rolls back to the last image that ran well, by an ordinary write, and watches that.
    async fn go_back(
        &self,
        mut service: Service,
        undone: Undone<'_>,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        for _ in 0..MOST_DECISIONS {
            let before = undone.before.as_ref();
            let good = match Box::pin(self.good_of(&service, undone.image, before)).await {
                Ok(good) => good,
                Err(why) => return Ok(nowhere_to_go(undone, &why)),
            };
            let stood = service.image();
            let bad = undone.is_bad.then(|| service.fence.with_bad(undone.image));
            let id = Some(undone.wanted.job.id);
            // The same image again where an engine gave its rollback to it up half-way.
            let force = service.runs(&good);
            let labels = other_mark(undone.wanted);
            let noted = good.to_string();
            let edit = Edit {
                image: Some(&good),
                platforms: Box::pin(self.platforms_for(&service, &good)).await,
                force,
                job: image_mark(undone.wanted),
                back: id,
                bad: bad.as_deref(),
                labels,
                ..Edit::default()
            };
            let edit = edit.announced_late(&service, undone.tried(), Some(&noted));
            match self.write(&service, &edit, self.swarm.registries.header_for(good.repository())).await {
                Ok(()) => {
                    reached(Step::WentBack);
                    return self.watch_way_back(undone, (&good, Way::Ours), progress).await;
                }
                Err(TargetError::Conflict) => service = self.client().service(&self.name).await?,
                Err(error) => return Err(error),
            }
            if let Some(by) = service.fence.job.filter(|job| *job > undone.wanted.job.id) {
                return Ok(taken_over(undone, by));
            }
            if service.image() != stood && !service.runs(&good) {
                return Ok(changed_elsewhere(undone));
            }
        }
        Err(TargetError::Conflict)
    }

    async fn watch_way_back(
        &self,
        undone: Undone<'_>,
        (good, way): (&ImageRef, Way),
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        // It ran well before: the longer window that a target may ask for is for new images. Where the engine went
        // back, it has watched it for a while itself.
        let stable = (way == Way::TheEngines).then_some(NOTICED_WITHIN);
        let target = self.clone().with(Policy { stable, rollback: false });
        let (back, ..) = Rollout::begin(&target, (undone.wanted, good), progress).await?.watch().await?;
        let why = undone.why.text.clone();
        let hint = what_next(&undone);
        let is_noted = undone.is_bad && !same_image(good, undone.image);
        let noted = is_noted.then(|| PutOnHold { image: undone.image.clone(), part: None });
        let end = match back.end {
            End::Converged if way == Way::TheEngines => End::RolledBack(undone.why.hint(hint)),
            End::Converged => {
                let text = format!("{why}; rolled back to {}", good.familiar());
                End::RolledBack(Reason::new(reason::ROLLED_BACK, text).hint(hint))
            }
            End::Failed(reason) | End::RolledBack(reason) => {
                let text = format!("{why}; the rollback to {} failed too: {}", good.familiar(), reason.text);
                End::Failed(Reason { text, ..reason })
            }
            End::Superseded { by, reason } => {
                let text = format!("{why}; {}", reason.text);
                End::Superseded { by, reason: Reason { text, ..reason } }
            }
        };
        let output = undone.outcome.output.into_iter().chain(back.output).collect();
        Ok(Outcome {
            tasks: back.tasks,
            output,
            put_on_hold: noted.into_iter().collect(),
            ..Outcome::of(end)
        })
    }

    async fn resume_way_back(
        &self,
        service: Service,
        wanted: &Wanted,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let image = wanted.image.as_ref();
        let what = image.map_or_else(|| "the new image".to_owned(), ImageRef::familiar);
        // Who watched it told nobody.
        let failures = match image {
            Some(image) => Box::pin(self.failures_of(&service, image)).await?,
            None => Vec::new(),
        };
        let output: Vec<String> = each_once(&failures).map(ToString::to_string).collect();
        let words = if output.is_empty() { String::new() } else { format!(": {}", output.join("; ")) };
        let why = Reason::new(reason::ROLLED_BACK, format!("{what} did not hold{words}"));
        let outcome = Outcome { output, ..Outcome::of(End::RolledBack(why.clone())) };
        let Some(good) = service.image() else { return Ok(outcome) };
        let image = image.unwrap_or(&good);
        let is_bad = service.fence.is_bad(image);
        let undone = Undone { wanted, image, outcome, why, is_bad, before: None };
        self.watch_way_back(undone, (&good, Way::Ours), progress).await
    }

    async fn write(
        &self,
        service: &Service,
        edit: &Edit<'_>,
        registry_key: Option<&str>,
    ) -> Result<(), TargetError> {
        let spec = service.edited(edit);
        self.client().write(Write { service, spec: &spec, registry_key }).await
    }
}

/// Whether a former worker has written the way back of this job.
fn is_on_its_way_back(service: &Service, wanted: &Wanted) -> bool {
    let mine = Some(wanted.job.id);
    let mark = Concern::of(&wanted.job.operation).mark(service);
    mark == mine && service.fence.back == mine
}

fn taken_over(undone: Undone<'_>, by: JobId) -> Outcome {
    let reason = Reason::new(reason::NEWER_WISH, format!("{}; a newer job took over", undone.why.text));
    Outcome { end: End::Superseded { by: Some(by), reason }, ..undone.outcome }
}

/// Beside the marks of an image, that of the text or the redeploy which brought it.
fn other_mark(wanted: &Wanted) -> Vec<(&'static str, Option<String>)> {
    let mark = Some(wanted.job.id.to_string());
    match Concern::of(&wanted.job.operation) {
        Concern::Stack => vec![(STACK, mark)],
        Concern::Redeploy => vec![(REDEPLOYED, mark)],
        Concern::Image | Concern::Running | Concern::Nothing => Vec::new(),
    }
}

/// Somebody's image came between, with our marks, which other tools leave as they are: it stands.
fn changed_elsewhere(undone: Undone<'_>) -> Outcome {
    let text = format!("{}; then somebody else changed the service's image", undone.why.text);
    let end = End::Superseded { by: None, reason: Reason::new(reason::CHANGED_ELSEWHERE, text) };
    Outcome { end, ..undone.outcome }
}

/// The engine went back to a tag that names the very image that did not hold.
fn nowhere_gone(undone: Undone<'_>, image: &ImageRef) -> Outcome {
    let text = format!("{}; {}", undone.why.text, known_by_tag_only(image));
    Outcome { end: End::Failed(Reason { text, ..undone.why }), ..undone.outcome }
}

fn nowhere_to_go(undone: Undone<'_>, why: &str) -> Outcome {
    let text = format!("{}; it is not rolled back, since {why}", undone.why.text);
    Outcome { end: End::Failed(Reason { text, ..undone.why }), ..undone.outcome }
}
