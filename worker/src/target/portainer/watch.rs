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
    overwritten::{Keeps, overwritten},
    patience::{Patience, passes, patiently},
    watch_compose::ComposeEye,
};
use crate::target::{End, Outcome, Progress, TargetError, Wanted, swarm::SeenRollout};

/// How long the engine may not have been told, though Portainer has the file and is not at work on it.
const TOLD_WITHIN: Duration = Duration::from_secs(45);
/// The same after Portainer called its deploy failed, and where nothing was deployed.
const TOLD_WITHIN_ERROR: Duration = Duration::from_secs(5);

/// How long a file is believed whose record stays as it was.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(3);

/// The services that are watched, each with the image that it is to run; without where the file does not tell which that
/// is, as it is built, or named by variables in a way that is not read.
pub(super) type Watched = Vec<(String, Option<ImageRef>)>;

/// One look at everything.
pub(super) struct Seen {
    pub(super) stack: Stack,
    /// None where the file is not ours to read.
    pub(super) ground: Option<Ground>,
    pub(super) live: Live,
    /// Whether the file was read in this very look.
    pub(super) is_fresh: bool,
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
    pub(super) image: Option<ImageRef>,
    /// Whether it is written once more where the engine was not told of it.
    is_written: bool,
    /// How long the engine may not have been told.
    told_within: Duration,
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
        let ground = patiently(|| self.ground(operation)).await?;
        let services = self.chosen(&ground, operation, Some(wanted.job.id))?;
        if let Some(why) = self.portainer.take_refusal(wanted.job.id) {
            let end =
                End::Failed(Reason::new(reason::REFUSED, format!("Portainer's deploy was refused: {why}")));
            let output = why.lines().map(str::to_owned).collect();
            let outcome = Outcome { output, ..Outcome::of(end) };
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
            .map(|name| (name.clone(), Some(image.clone())))
            .collect();
        let outcome = self.watch_to_an_end(wanted, (watched, Keeps::Images), given_up, progress).await?;
        self.settle(wanted, &services, outcome, progress).await
    }

    /// Looks again and again until every service came to an end. `keeps`: what of the file has to stay ours.
    pub(super) async fn watch_to_an_end(
        &self,
        wanted: &Wanted,
        (watched, keeps): (Watched, Keeps),
        given_up: Option<Reason>,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let mut eyes: Vec<Eye<'_>> = watched
            .into_iter()
            .map(|(service, image)| Eye {
                compose: ComposeEye::new(&service, self.policy.stable, progress),
                rollout: SeenRollout::new(&service, self.policy.stable, progress),
                service,
                image,
                is_written: is_written_again(&wanted.job.operation),
                told_within: told_within(&wanted.job.operation),
                end: None,
            })
            .collect();
        let (owned, begun) = (keeps != Keeps::Nothing, Instant::now());
        let mut patience = Patience::begin();
        let seat = self.portainer.client.lookout().seat(self.portainer.environment().await?.id);
        let mut read = None;
        loop {
            match patience.of(self.see((wanted, &seat), &mut read).await) {
                Ok(Some(seen)) => {
                    if let Some(end) = overwritten(keeps, &seen, &eyes, wanted)? {
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
                        return Ok(self.conclude(eyes, (keeps == Keeps::Images).then_some(&seen)));
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
        let runs = match &eye.image {
            Some(image) => live.runs(stack, &eye.service, image),
            None => live.has_any_of(stack, &eye.service),
        };
        let is_told = runs || live.went_back(stack, &eye.service);
        let within = match stack.status {
            Status::Deploying => return Ok(()),
            Status::Error => TOLD_WITHIN_ERROR,
            Status::Unknown | Status::Active | Status::Inactive => eye.told_within,
        };
        if !is_told {
            if begun.elapsed() < within {
                return Ok(());
            }
            return self.not_told(seen, eye);
        }
        match live.swarm_service(stack, &eye.service) {
            Some(service) => {
                let sight = match self.sight(stack, service, seat).await {
                    Ok(sight) => sight,
                    Err(error) if passes(&error) => return Ok(()),
                    Err(error) => return Err(error),
                };
                let is_it =
                    |named: &ImageRef| eye.image.as_ref().is_none_or(|wished| is_wanted(named, wished));
                let Some(image) = service.image().filter(is_it).or_else(|| eye.image.clone()) else {
                    let why = format!("the engine does not say which image `{}` runs", eye.service);
                    eye.end = Some(End::Failed(Reason::new(reason::ROLLOUT_FAILED, why)));
                    return Ok(());
                };
                eye.end = eye.rollout.look(service, &image, &sight).map(|(end, _)| end);
            }
            None => {
                let containers: Vec<_> = live.containers(&eye.service).collect();
                if let Some(image) = &eye.image
                    && self.is_of_other_content(stack, &containers, image).await
                {
                    if begun.elapsed() >= within {
                        return self.not_told(seen, eye);
                    }
                    return Ok(());
                }
                eye.end = eye.compose.look(&containers, Instant::now());
                // Its deploy is over: what was not started by then, as what it depends on is not well, never will be.
                let is_left = stack.status == Status::Error && containers.iter().any(|it| it.is_made_alone());
                if eye.end.is_none() && is_left && begun.elapsed() >= within {
                    return self.not_told(seen, eye);
                }
            }
        }
        Ok(())
    }

    /// Portainer has the file, and the engine was not told of it.
    fn not_told(&self, seen: &Seen, eye: &mut Eye<'_>) -> Result<(), TargetError> {
        let stack = &seen.stack;
        if stack.status != Status::Error {
            // Written again, it would come to the same where nothing was written, or nobody knows what it should be.
            if eye.is_written && eye.image.is_some() {
                return Err(TargetError::Conflict);
            }
            eye.end = Some(End::Failed(not_there(seen, &eye.service)));
            return Ok(());
        }
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
                && let (Some(seen), Some(image)) = (stored, &eye.image)
                && let Some(why) = self.not_stored(seen, &eye.service, image)
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

/// Whether the next attempt would write what the engine was not told of: of a stack that was started, restarted or moved
/// nothing is left to be done once Portainer did so.
fn is_written_again(operation: &Operation) -> bool {
    !matches!(operation, Operation::Start | Operation::Restart | Operation::Migrate { .. })
}

fn told_within(operation: &Operation) -> Duration {
    if matches!(operation, Operation::Start | Operation::Restart) { TOLD_WITHIN_ERROR } else { TOLD_WITHIN }
}

/// What is said of a service that is not as the stack's file has it, though nobody is at work on it.
fn not_there(seen: &Seen, service: &str) -> Reason {
    let text = match seen.live.has_any_of(&seen.stack, service) {
        true => format!("`{service}` runs another image than the stack's file names"),
        false => format!("nothing of `{service}` runs"),
    };
    Reason::new(reason::ROLLOUT_FAILED, text).hint(super::restart::REDEPLOY)
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
