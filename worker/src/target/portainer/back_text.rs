//! What follows a text that did not hold: where the target says so, what stood before is put back, its variables with it.

use proto::{Reason, reason};
use tokio::{sync::mpsc, time::sleep};

use super::{
    PortainerStack,
    back::{MOST_TRIES, TRY_EVERY},
    fence::Marks,
    ground::Ground,
    left_over::adds_services,
    objects::{Env, Status},
    patience::passes,
    text::StackFile,
    watch::Watched,
    watch_whole::ToWatch,
    write::{Writing, Written},
};
use crate::{
    steps::{Step, reached},
    target::{End, Outcome, Progress, TargetError, Wanted},
};

const UNKNOWN: &str = "what the stack's file said before is not known any more";

const TO_PUT_BACK: &str =
    "deploy a text that works, or write `rollback: true` into the target to have the old text put back";

/// What stood before a text was written.
#[derive(Clone)]
pub(super) struct Former {
    pub(super) text: String,
    pub(super) env: Env,
}

impl Former {
    pub(super) fn of(ground: &Ground) -> Former {
        Former { text: ground.file.text().to_owned(), env: ground.stack.env.clone() }
    }
}

impl PortainerStack {
    /// The end of a job that brought a text, with what its failure leaves behind.
    pub(super) async fn settle_text(
        &self,
        wanted: &Wanted,
        outcome: Outcome,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let former = self.portainer.take_former(wanted.job.id);
        let why = match &outcome.end {
            End::Converged | End::Superseded { .. } => return Ok(outcome),
            End::Failed(why) if why.code == reason::CHANGED_ELSEWHERE => return Ok(outcome),
            End::Failed(why) | End::RolledBack(why) => why.clone(),
        };
        if self.policy.rollback && former.is_none() && self.is_made_by(wanted).await {
            return Ok(Outcome { end: End::Failed(nothing_before(wanted, why)), ..outcome });
        }
        reached(Step::Undone);
        let outcome = match Box::pin(self.untouched(wanted, outcome)).await {
            Ok(untouched) => return Ok(untouched),
            Err(outcome) => outcome,
        };
        if let Ok(stack) = self.found().await {
            // It wrote them all.
            self.give_up_rollouts(&stack, |_| true).await;
        }
        if !self.policy.rollback {
            let end = End::Failed(self.left_behind(wanted, why).await.hint(TO_PUT_BACK));
            return Ok(Outcome { end, ..outcome });
        }
        let gone_back = self.go_back_to_text(wanted, former).await;
        let why = match gone_back {
            Ok(_) => why,
            Err(_) => self.left_behind(wanted, why).await,
        };
        let mut outcome = self.end_of_going_back(wanted, (outcome, why), gone_back, progress).await?;
        if let End::RolledBack(reason) | End::Failed(reason) = &mut outcome.end
            && let Some(left) = Box::pin(self.what_runs_on(&wanted.job.operation)).await
        {
            reason.text = format!("{}; {left}", reason.text);
        }
        Ok(outcome)
    }

    /// Whether this job made the stack.
    async fn is_made_by(&self, wanted: &Wanted) -> bool {
        self.found().await.is_ok_and(|stack| self.was_made_for(&stack, wanted.job.id))
    }

    /// Why it failed, and what that leaves behind where nothing is put back.
    async fn left_behind(&self, wanted: &Wanted, why: Reason) -> Reason {
        let Ok(ground) = self.ground(&wanted.job.operation).await else { return why };
        let mut text = why.text.clone();
        if ground.marks.stack == Some(wanted.job.id) {
            text.push_str("; the stack's stored file is still this text, so the next deploy of the stack brings it back");
        }
        if self.live(&ground.stack).await.is_ok_and(|live| live.is_empty()) {
            text.push_str("; nothing of the stack runs any more");
        }
        Reason { text, ..why }
    }

    async fn go_back_to_text(&self, wanted: &Wanted, former: Option<Former>) -> Result<Watched, TargetError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_to_go_back_to(wanted, former.as_ref()).await {
                Err(TargetError::Conflict) if tries < MOST_TRIES => {}
                Err(error) if passes(&error) && tries < MOST_TRIES => {}
                done => return done,
            }
            sleep(TRY_EVERY).await;
        }
    }

    async fn try_to_go_back_to(
        &self,
        wanted: &Wanted,
        former: Option<&Former>,
    ) -> Result<Watched, TargetError> {
        let operation = &wanted.job.operation;
        let ground = self.ground(operation).await?;
        let refused = |why: String| self.portainer.refused("put the old text back", why);
        if ground.stack.status == Status::Deploying {
            return Err(TargetError::Busy { system: self.portainer.client.system().to_owned() });
        }
        let is_ours = ground.marks.stack == Some(wanted.job.id);
        if ground.marks.newest().is_some_and(|newest| newest > wanted.job.id) {
            return Err(refused("a newer job wrote the stack meanwhile".to_owned()));
        }
        let restored = || (!is_ours).then(|| Former::of(&ground));
        // Where Portainer put the former file back by itself, that is the one, and it kept the variables too.
        let former = restored().or(former.cloned()).ok_or_else(|| refused(UNKNOWN.to_owned()))?;
        let mut marks = Marks::read(&former.text);
        (marks.stack, marks.back) = (Some(wanted.job.id), Some(wanted.job.id));
        let text = marks.written_into(&former.text);
        let file = StackFile::read(&text).map_err(&refused)?;
        self.wait_to_go_back(wanted, &ground.stack).await?;
        let writing = Writing {
            stack: &ground.stack,
            before: ground.file.text(),
            text: &text,
            env: &former.env,
            // What the text added is in no file any more.
            prune: ground.stack.prune || adds_services(&ground.file, &file),
            pull: true,
        };
        match self.write(&writing).await? {
            Written::Taken => {
                let live = self.live(&ground.stack).await?;
                Ok(ToWatch::of((&file, &former.env), (&ground.stack, &live)).services)
            }
            Written::Refused(why) => Err(refused(why)),
        }
    }
}

/// The end of a text of a new stack: there is no other that could be put back.
fn nothing_before(wanted: &Wanted, why: Reason) -> Reason {
    let text =
        format!("{}; the stack is new, so there is nothing to go back to: it stands as it is", why.text);
    let target = &wanted.job.target;
    let hint = format!("deploy a text that works, or remove it: `longshore stack remove {target}`");
    Reason { text, ..why }.hint(hint)
}
