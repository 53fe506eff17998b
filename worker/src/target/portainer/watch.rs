//! Watching a stack until it truly runs. Neither a success of Portainer's nor an error of its says that; the engine
//! behind it does.

use std::time::Duration;

use proto::{ImageRef, Operation, Reason, Tasks, reason};
use tokio::{sync::mpsc, time::Instant};

use super::{
    PortainerStack,
    ground::Ground,
    live::{Live, is_wanted},
    lookout::Seat,
    objects::{Stack, Status},
    patience::{Patience, passes_for_a_look, patiently},
    watch_compose::ComposeEye,
};
use crate::target::{End, Outcome, Progress, TargetError, Wanted, swarm::SeenRollout};

/// How long the engine may not have been told, though Portainer has the file and is not at work on it.
const TOLD_WITHIN: Duration = Duration::from_secs(45);
/// The same after Portainer called its deploy failed.
const TOLD_WITHIN_ERROR: Duration = Duration::from_secs(5);

/// How long a file is believed whose record stays as it was.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(3);

/// The services that are watched, each with the image that it is to run.
pub(super) type Watched = Vec<(String, ImageRef)>;

/// One look at everything.
struct Seen {
    stack: Stack,
    /// None where the file is not ours to read.
    ground: Option<Ground>,
    live: Live,
    /// Whether the file was read in this very look.
    is_fresh: bool,
}

/// The file as it was read last.
struct FileRead {
    /// Until when it is believed where the record stays as it was.
    until: Instant,
    updated_at: i64,
    status: Status,
    text: String,
}

impl FileRead {
    fn is_old(&self, stack: &Stack) -> bool {
        Instant::now() >= self.until || (stack.updated_at, stack.status) != (self.updated_at, self.status)
    }
}

/// One service that is watched.
pub(super) struct Eye<'a> {
    pub(super) service: String,
    pub(super) image: ImageRef,
    rollout: SeenRollout<'a>,
    compose: ComposeEye<'a>,
    end: Option<End>,
}

impl PortainerStack {
    /// Watches what `wanted` began, or, with a reason, says what it comes to at this moment.
    pub(super) async fn watched(
        &self,
        wanted: &Wanted,
        given_up: Option<Reason>,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        match &wanted.job.operation {
            Operation::Stop | Operation::RemoveStack { .. } => match given_up {
                Some(reason) => Ok(Outcome::failed(reason)),
                None => self.watch_until_gone(wanted, progress).await,
            },
            Operation::SetImage { .. } | Operation::Rollback { .. } => {
                self.watch_images(wanted, given_up, progress).await
            }
            Operation::DeployStack(_) => self.watch_text(wanted, given_up, progress).await,
            Operation::Start | Operation::Restart | Operation::Redeploy => {
                self.watch_everything(wanted, given_up, progress).await
            }
            Operation::DeployGit(_) => self.watch_git(wanted, given_up, progress).await,
            Operation::Migrate { environment, name } => {
                self.watch_migrated((environment, name.as_deref()), wanted, given_up, progress).await
            }
            Operation::PruneImages { .. }
            | Operation::Hold { .. }
            | Operation::Release { .. }
            | Operation::Cancel { .. } => {
                Err(self.portainer.refused("watch it", "there is nothing to watch"))
            }
        }
    }

    async fn watch_images(
        &self,
        wanted: &Wanted,
        given_up: Option<Reason>,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let operation = &wanted.job.operation;
        // It is written: whoever answers in Portainer's place now ends nothing.
        let ground = patiently(|| self.ground(operation)).await?;
        let services = self.chosen(&ground, operation, Some(wanted.job.id))?;
        if let Some(why) = self.portainer.take_refusal(wanted.job.id) {
            let end =
                End::Failed(Reason::new(reason::REFUSED, format!("Portainer's deploy was refused: {why}")));
            let output = why.lines().map(str::to_owned).collect();
            let outcome = Outcome { end, tasks: None, output, notes: Vec::new() };
            return match Box::pin(self.untouched(wanted, outcome)).await {
                Ok(untouched) => Ok(untouched),
                Err(outcome) => self.settle(wanted, &services, outcome, progress).await,
            };
        }
        let image = wanted.image.clone();
        let image = image.ok_or_else(|| self.portainer.refused("watch it", "the job brings no image"))?;
        let watched: Watched = services
            .iter()
            // What a newer job brought meanwhile is not ours to watch.
            .filter(|name| ground.marks.services.get(*name).is_none_or(|mark| mark.job <= wanted.job.id))
            .map(|name| (name.clone(), image.clone()))
            .collect();
        let outcome = self.watch_to_an_end(wanted, (watched, true), given_up, progress).await?;
        self.settle(wanted, &services, outcome, progress).await
    }

    /// Looks again and again until every service came to an end. `owned`: whether the file has to stay ours.
    pub(super) async fn watch_to_an_end(
        &self,
        wanted: &Wanted,
        (watched, owned): (Watched, bool),
        given_up: Option<Reason>,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let mut eyes: Vec<Eye<'_>> = watched
            .into_iter()
            .map(|(service, image)| Eye {
                service,
                image,
                rollout: SeenRollout::new(self.policy.stable, progress),
                compose: ComposeEye::new(self.policy.stable, progress),
                end: None,
            })
            .collect();
        let begun = Instant::now();
        let mut patience = Patience::begin();
        let seat = self.portainer.client.lookout().seat(patiently(|| self.portainer.environment()).await?.id);
        let mut read = None;
        loop {
            match patience.of(self.see((wanted, &seat), &mut read).await) {
                Ok(Some(seen)) => {
                    if owned && let Some(end) = overwritten(&seen, &eyes, wanted)? {
                        return Ok(Outcome::of(end));
                    }
                    for eye in eyes.iter_mut().filter(|eye| eye.end.is_none()) {
                        self.look_at((&seen, &seat), eye, begun).await?;
                    }
                    let all_ended = eyes.iter().all(|eye| eye.end.is_some());
                    if all_ended && owned && !seen.is_fresh {
                        // The file decides too, and was read a while ago.
                        read = None;
                        continue;
                    }
                    if eyes.iter().all(|eye| eye.end.is_some()) {
                        return Ok(self.conclude(eyes, owned.then_some(&seen)));
                    }
                }
                Ok(None) => {}
                Err(TargetError::NotFound { what, .. }) if owned => {
                    let text = format!("there is no {what} any more");
                    let reason = Reason::new(reason::CHANGED_ELSEWHERE, text);
                    return Ok(Outcome::of(End::Superseded { by: None, reason }));
                }
                Err(error) => return Err(error),
            }
            if let Some(reason) = &given_up {
                for eye in eyes.iter_mut().filter(|eye| eye.end.is_none()) {
                    eye.end = Some(End::Failed(reason.clone()));
                }
                return Ok(self.conclude(eyes, None));
            }
            Patience::rest().await;
        }
    }

    /// Looks at everything. The file is read again when its record says that somebody wrote it, and now and then
    /// besides: `read` is when it was read last, and what.
    async fn see(
        &self,
        (wanted, seat): (&Wanted, &Seat),
        read: &mut Option<FileRead>,
    ) -> Result<Seen, TargetError> {
        let stack = self.found_watching().await?;
        let live = self.live_watching(&stack, seat).await?;
        if stack.git.is_some() {
            return Ok(Seen { stack, ground: None, live, is_fresh: true });
        }
        let operation = &wanted.job.operation;
        let is_fresh = read.as_ref().is_none_or(|read| read.is_old(&stack));
        let ground = match &*read {
            Some(read) if !is_fresh => self.ground_from(stack.clone(), &read.text, operation)?,
            Some(_) | None => {
                let at = Instant::now();
                let ground = self.ground_of(stack.clone(), operation).await?;
                let text = ground.file.text().to_owned();
                let (updated_at, status) = (stack.updated_at, stack.status);
                // Dates have seconds: another write in the very same one does not show.
                let until = if stack.updated_at == 0 { at } else { at + READ_AGAIN_AFTER };
                *read = Some(FileRead { until, updated_at, status, text });
                ground
            }
        };
        Ok(Seen { stack, ground: Some(ground), live, is_fresh })
    }

    async fn look_at(
        &self,
        (seen, seat): (&Seen, &Seat),
        eye: &mut Eye<'_>,
        begun: Instant,
    ) -> Result<(), TargetError> {
        let Seen { stack, live, .. } = seen;
        let is_told = live.runs(stack, &eye.service, &eye.image) || live.went_back(stack, &eye.service);
        let within = match stack.status {
            Status::Deploying => return Ok(()),
            Status::Error => TOLD_WITHIN_ERROR,
            Status::Unknown | Status::Active | Status::Inactive => TOLD_WITHIN,
        };
        if !is_told {
            if begun.elapsed() < within {
                return Ok(());
            }
            return self.not_told(stack, eye);
        }
        match live.swarm_service(stack, &eye.service) {
            Some(service) => {
                let sight = match self.sight(stack, service, seat).await {
                    Ok(sight) => sight,
                    Err(error) if passes_for_a_look(&error) => return Ok(()),
                    Err(error) => return Err(error),
                };
                let named = service.image().filter(|named| is_wanted(named, &eye.image));
                let image = named.unwrap_or_else(|| eye.image.clone());
                eye.end = eye.rollout.look(service, &image, &sight).map(|(end, _)| end);
            }
            None => {
                let containers: Vec<_> = live.containers(&eye.service).collect();
                if self.is_of_other_content(stack, &containers, &eye.image).await {
                    if begun.elapsed() >= within {
                        return self.not_told(stack, eye);
                    }
                    return Ok(());
                }
                eye.end = eye.compose.look(&containers, Instant::now());
            }
        }
        Ok(())
    }

    /// Portainer has the file, and the engine was not told of it.
    fn not_told(&self, stack: &Stack, eye: &mut Eye<'_>) -> Result<(), TargetError> {
        let Status::Error = stack.status else { return Err(TargetError::Conflict) };
        let said = stack.said.as_deref().unwrap_or("it does not say why");
        let said = self.without_values(&stack.env, said);
        let text = format!("Portainer's deploy failed: {said}");
        eye.end = Some(End::Failed(Reason::new(reason::REFUSED, text)));
        Ok(())
    }

    /// The one end of all. `stored`: what was seen last, where the file has to name what runs.
    fn conclude(&self, eyes: Vec<Eye<'_>>, stored: Option<&Seen>) -> Outcome {
        let stays_up =
            eyes.iter().any(|eye| matches!(eye.end, Some(End::Converged)) && !eye.compose.is_done());
        let mut parts: Vec<(String, Outcome)> = Vec::new();
        for eye in eyes {
            let mut end = eye.end.unwrap_or(End::Converged);
            if eye.compose.is_done() && !stays_up && end == End::Converged {
                let text = format!("`{}` ran to its end and does not stay up", eye.service);
                end = End::Failed(Reason::new(reason::ROLLOUT_FAILED, text));
            }
            if end == End::Converged
                && let Some(seen) = stored
                && let Some(why) = self.not_stored(seen, &eye.service, &eye.image)
            {
                end = End::Failed(Reason::new(reason::CHANGED_ELSEWHERE, why).hint("deploy it again"));
            }
            let outcome = match eye.compose.has_looked() {
                true => eye.compose.close(end),
                false => eye.rollout.close(end),
            };
            parts.push((eye.service, outcome));
        }
        of_all(parts)
    }

    /// Why what runs will not last: Portainer keeps another file.
    fn not_stored(&self, seen: &Seen, service: &str, image: &ImageRef) -> Option<String> {
        let stored = seen.ground.as_ref()?.image(service);
        if stored.as_ref().is_some_and(|stored| is_wanted(stored, image)) {
            return None;
        }
        let said = seen.stack.said.as_deref().unwrap_or("it does not say why");
        let said = self.without_values(&seen.stack.env, said);
        Some(format!(
            "`{service}` runs {}, but Portainer calls the deploy failed ({said}) and has put the former file back: the next \
             deploy of the stack takes it away again",
            image.familiar()
        ))
    }
}

/// Whether somebody else wrote the file. One that says what we wished is as good as ours, whoever wrote it.
fn overwritten(seen: &Seen, eyes: &[Eye<'_>], wanted: &Wanted) -> Result<Option<End>, TargetError> {
    let Some(ground) = &seen.ground else { return Ok(None) };
    for eye in eyes {
        let mark = ground.marks.services.get(&eye.service).map(|mark| mark.job);
        let is_wished = ground.image(&eye.service).is_some_and(|image| is_wanted(&image, &eye.image));
        let newer_text = ground.marks.newer_text(wanted.job.id).filter(|_| !is_wished);
        if let Some(newer) = mark.filter(|job| *job > wanted.job.id).or(newer_text) {
            let reason = Reason::new(reason::NEWER_WISH, "a newer job wrote the stack during the rollout");
            return Ok(Some(End::Superseded { by: Some(newer), reason }));
        }
        if is_wished {
            continue;
        }
        let why = match (seen.stack.status, mark) {
            // It put the former file back by itself: what the engine does counts.
            (Status::Error | Status::Deploying, _) => continue,
            (Status::Inactive, _) => "somebody stopped the stack during the rollout",
            // An older job wrote over it: to be written again.
            (Status::Unknown | Status::Active, Some(_)) => return Err(TargetError::Conflict),
            (Status::Unknown | Status::Active, None) => {
                "somebody else changed the stack's file during the rollout"
            }
        };
        let reason = Reason::new(reason::CHANGED_ELSEWHERE, why);
        return Ok(Some(End::Superseded { by: None, reason }));
    }
    Ok(None)
}

/// Whatever went wrong with one service went wrong with all.
pub(super) fn of_all(parts: Vec<(String, Outcome)>) -> Outcome {
    let rank = |end: &End| match end {
        End::Failed(_) => 3,
        End::RolledBack(_) => 2,
        End::Superseded { .. } => 1,
        End::Converged => 0,
    };
    let several = parts.len() > 1;
    let mut all = Outcome::of(End::Converged);
    for (name, part) in parts {
        let lines = part.output.into_iter();
        all.output.extend(lines.map(|line| if several { format!("{name}: {line}") } else { line }));
        all.tasks = match (all.tasks, part.tasks) {
            (Some(a), Some(b)) => Some(Tasks { running: a.running + b.running, wanted: a.wanted + b.wanted }),
            (a, b) => a.or(b),
        };
        let told = |reason: Reason| match several {
            true => Reason { text: format!("{name}: {}", reason.text), ..reason },
            false => reason,
        };
        let end = match part.end {
            End::Failed(reason) => End::Failed(told(reason)),
            End::RolledBack(reason) => End::RolledBack(told(reason)),
            other @ (End::Superseded { .. } | End::Converged) => other,
        };
        if rank(&end) > rank(&all.end) {
            all.end = end;
        }
    }
    all
}
