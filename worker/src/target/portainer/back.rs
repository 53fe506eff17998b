//! What follows a rollout that did not hold. The stack's file still names its image, so that the next deploy of the
//! stack, whatever for, would bring it back: where the target says so, the old text is put back.

use std::{collections::BTreeMap, time::Duration};

use proto::{ImageRef, JobId, PutOnHold, Reason, reason};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{
    PortainerStack,
    fence::Mark,
    ground::Ground,
    image::Edits,
    live::is_wanted,
    objects::{StackKind, Status},
    overwritten::Keeps,
    patience::passes,
    watch::Watched,
    write::{Writing, Written},
};
use crate::{
    steps::{Step, reached},
    target::{End, Outcome, Progress, TargetError, Wanted, rolled_back::what_next},
};

pub(super) const MOST_TRIES: usize = 20;
pub(super) const TRY_EVERY: Duration = Duration::from_secs(1);
/// How long what was put back may take to run.
const RUNS_WITHIN: Duration = Duration::from_secs(240);

impl PortainerStack {
    /// The end of a job that brought an image, with what its failure leaves behind.
    pub(super) async fn settle(
        &self,
        wanted: &Wanted,
        services: &[String],
        outcome: Outcome,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let (why, engine_went_back) = match &outcome.end {
            End::Converged | End::Superseded { .. } => return Ok(outcome),
            // It runs; only the file does not say so.
            End::Failed(why) if why.code == reason::CHANGED_ELSEWHERE => return Ok(outcome),
            End::Failed(why) => (why.clone(), false),
            End::RolledBack(why) => (why.clone(), true),
        };
        reached(Step::Undone);
        if let Ok(stack) = self.found().await {
            self.give_up_rollouts(&stack, |name| services.iter().any(|service| service == name)).await;
        }
        if !self.policy.rollback {
            let reason = self.stored(wanted, services, why, engine_went_back).await.hint(TO_PUT_BACK);
            return Ok(Outcome { end: End::Failed(reason), ..outcome });
        }
        if let Some(newer) = self.newer_there(wanted, services).await {
            let reason =
                Reason::new(reason::NEWER_WISH, "a newer job wrote the stack before this one was taken back");
            return Ok(Outcome { end: End::Superseded { by: Some(newer), reason }, ..outcome });
        }
        let gone_back = self.go_back(wanted, services).await;
        let why = match gone_back {
            Ok(_) => why,
            Err(_) => self.stored(wanted, services, why, engine_went_back).await,
        };
        self.end_of_going_back(wanted, (outcome, why), gone_back, progress).await
    }

    /// The end of a job whose text or image was put back, or was to be.
    pub(super) async fn end_of_going_back(
        &self,
        wanted: &Wanted,
        (outcome, why): (Outcome, Reason),
        gone_back: Result<Watched, TargetError>,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let watched = match gone_back {
            Ok(watched) => watched,
            Err(error) => {
                let text = format!(
                    "{}; the old text could not be put back: {}",
                    why.text,
                    crate::verdict::chain(&error)
                );
                let end = End::Failed(Reason { text, ..why }.hint(PUT_BACK_BY_HAND));
                return Ok(Outcome { end, ..outcome });
            }
        };
        reached(Step::WentBack);
        let put_on_hold = noted_bad(wanted, &watched);
        let runs = self.watch_to_an_end(wanted, (watched, Keeps::Nothing), None, progress);
        let (end, mut output) = match timeout(RUNS_WITHIN, runs).await {
            Ok(Ok(after)) if after.end == End::Converged => {
                let text = format!("{}; the old text was put back, and what ran before runs again", why.text);
                let next = wanted.image.as_ref().map(|image| what_next(&wanted.job.target, image));
                (
                    End::RolledBack(Reason { hint: next, ..Reason::new(reason::ROLLED_BACK, text) }),
                    after.output,
                )
            }
            Ok(Ok(after)) => {
                let text =
                    format!("{}; the old text was put back, and what ran before does not run", why.text);
                (End::Failed(Reason { text, ..why }), after.output)
            }
            Ok(Err(_)) | Err(_) => {
                let text = format!("{}; the old text was put back, and it is not seen to run yet", why.text);
                (End::Failed(Reason { text, ..why }), Vec::new())
            }
        };
        let mut lines = outcome.output;
        lines.append(&mut output);
        Ok(Outcome { tasks: outcome.tasks, output: lines, put_on_hold, ..Outcome::of(end) })
    }

    /// Why it failed, and what that leaves behind where nothing is put back.
    async fn stored(
        &self,
        wanted: &Wanted,
        services: &[String],
        why: Reason,
        engine_went_back: bool,
    ) -> Reason {
        let Ok(ground) = self.ground(&wanted.job.operation).await else { return why };
        let wished = wanted.image.as_ref();
        let names_it = services.iter().any(|service| {
            ground.image(service).zip(wished).is_some_and(|(stored, wished)| is_wanted(&stored, wished))
        });
        let live = self.live(&ground.stack).await;
        let is_down = live.as_ref().is_ok_and(super::live::Live::is_empty);
        let went = if engine_went_back { "; the engine went back by itself" } else { "" };
        let mut text = format!("{}{went}", why.text);
        if names_it {
            text = format!(
                "{text}; the stack's stored file still names the image, so the next deploy of the stack brings it back"
            );
        }
        if is_down {
            text = format!("{text}; nothing of the stack runs any more");
        }
        let code = if engine_went_back { reason::ROLLOUT_FAILED.into() } else { why.code };
        Reason { code, text, ..why }
    }

    /// The newer job whose image stands on one of the services: what it brought is not ours to take away.
    async fn newer_there(&self, wanted: &Wanted, services: &[String]) -> Option<JobId> {
        let ground = self.ground(&wanted.job.operation).await.ok()?;
        newer_of(&ground, wanted, services)
    }

    /// Puts the old text back, with a note of what did not hold. What is to run then.
    async fn go_back(&self, wanted: &Wanted, services: &[String]) -> Result<Watched, TargetError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_to_go_back(wanted, services).await {
                Err(TargetError::Conflict) if tries < MOST_TRIES => {}
                Err(error) if passes(&error) && tries < MOST_TRIES => {}
                done => return done,
            }
            sleep(TRY_EVERY).await;
        }
    }

    async fn try_to_go_back(&self, wanted: &Wanted, services: &[String]) -> Result<Watched, TargetError> {
        let operation = &wanted.job.operation;
        let ground = self.ground(operation).await?;
        let refused = |why: String| self.portainer.refused("put the old text back", why);
        if ground.stack.status == Status::Deploying {
            return Err(TargetError::Busy { system: self.portainer.client.system().to_owned() });
        }
        if newer_of(&ground, wanted, services).is_some() {
            return Err(refused("a newer job wrote the stack meanwhile".to_owned()));
        }
        let mut file = ground.file.clone();
        let (mut env, mut marks) = (ground.stack.env.clone(), ground.marks.clone());
        let (mut watched, mut all) = (Watched::new(), BTreeMap::new());
        let mut pinned = true;
        for service in services {
            let before = before(&ground, service, wanted)
                .ok_or_else(|| refused(format!("no image is known that `{service}` ran well before")))?;
            let one = std::slice::from_ref(service);
            let edits = Edits::to_bring(&before, (one, services), &ground.file, &env).map_err(refused)?;
            for (name, value) in &edits.env {
                env.set(name, value);
            }
            pinned &= edits.are_pinned();
            all.extend(edits.file);
            let mark = marks.services.entry(service.clone()).or_insert_with(|| Mark::of(wanted.job.id));
            mark.job = wanted.job.id;
            mark.back = Some(wanted.job.id);
            mark.image = Some(before.clone());
            mark.good = Some(before.clone());
            mark.note_bad(wanted.image.as_ref());
            watched.push((service.clone(), Some(before)));
        }
        file = file.with_images(&all).map_err(refused)?;
        self.wait_to_go_back(wanted, &ground.stack).await?;
        let text = marks.written_into(file.text());
        let writing = Writing {
            stack: &ground.stack,
            before: ground.file.text(),
            text: &text,
            env: &env,
            prune: ground.stack.prune,
            pull: ground.stack.kind == StackKind::Compose || !pinned,
        };
        match self.write(&writing).await? {
            Written::Taken => Ok(watched),
            Written::Refused(why) => Err(refused(why)),
        }
    }
}

const TO_PUT_BACK: &str =
    "deploy an image that works, or write `rollback: true` into the target to have the old text put back";

/// What the old text came back with a note of, for each service: only content can be told from other content.
fn noted_bad(wanted: &Wanted, services: &Watched) -> Vec<PutOnHold> {
    let Some(image) = wanted.image.as_ref().filter(|image| image.digest().is_some()) else {
        return Vec::new();
    };
    let noted = |part: &String| PutOnHold { image: image.clone(), part: Some(part.clone()) };
    services.iter().map(|(service, _)| noted(service)).collect()
}

const PUT_BACK_BY_HAND: &str =
    "look at the stack in Portainer: its stored file may still name the image that did not hold";

/// What a service is to run again: what ran well before, or, where Portainer put the former file back itself, what that
/// one names.
fn before(ground: &Ground, service: &str, wanted: &Wanted) -> Option<ImageRef> {
    let mark = ground.marks.services.get(service);
    if let Some(mark) = mark.filter(|mark| mark.job == wanted.job.id) {
        return mark.good.clone();
    }
    let named = ground.image(service)?;
    let is_bad = wanted.image.as_ref().is_some_and(|wanted| is_wanted(&named, wanted));
    (!is_bad).then_some(named)
}

fn newer_of(ground: &Ground, wanted: &Wanted, services: &[String]) -> Option<JobId> {
    let marks = services.iter().filter_map(|service| ground.marks.services.get(service));
    let written = marks.map(|mark| mark.job).max().max(ground.marks.stack);
    written.filter(|job| *job > wanted.job.id)
}

#[cfg(test)]
mod tests {
    use proto::Operation;
    use serde_json::json;

    use super::*;
    use crate::{
        target::portainer::{fence::Marks, objects::Stack, text::StackFile},
        testing::job,
    };

    /// Written over by a worker that was frozen between its watch and its way back, it would be lost.
    #[test]
    fn what_a_newer_job_wrote_is_seen_whichever_way_it_did() {
        let (older, mine, newer) = (job(1, "acme/web:1"), job(2, "acme/web:2"), job(3, "acme/web:3"));
        let wanted = Wanted { job: mine.clone(), image: None };
        assert!(matches!(wanted.job.operation, Operation::SetImage { .. }));
        let text = "services:\n  web: {image: 'acme/web:2'}\n  db: {image: 'postgres:16'}\n";
        let services = ["web".to_owned()];
        let newer_with = |marked: &[(&str, JobId)], stack: Option<JobId>| {
            let mut ground = Ground {
                stack: Stack::of(&json!({"Id": 1, "Name": "shop", "Type": 1, "EndpointId": 1})).unwrap(),
                file: StackFile::read(text).unwrap(),
                marks: Marks::default(),
            };
            ground.marks.stack = stack;
            for (service, job) in marked {
                ground.marks.services.insert((*service).to_owned(), Mark::of(*job));
            }
            newer_of(&ground, &wanted, &services)
        };
        assert_eq!(newer_with(&[], None), None);
        assert_eq!(newer_with(&[("web", mine.id)], Some(older.id)), None);
        assert_eq!(newer_with(&[("web", mine.id), ("db", newer.id)], None), None, "of another service");
        assert_eq!(newer_with(&[("web", newer.id)], None), Some(newer.id));
        assert_eq!(newer_with(&[("web", mine.id)], Some(newer.id)), Some(newer.id), "a whole text");
    }
}
