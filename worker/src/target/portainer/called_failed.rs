//! A stack whose deploy Portainer calls failed. From 2.44 on it looks at the tasks of a swarm and may take an old one of the
//! history for one of its own; then it puts the former file back over what runs. So the engine is asked.

use proto::{JobId, Operation, Reason, StackText, reason};
use tokio::sync::mpsc;

use super::{
    PortainerStack,
    ground::Ground,
    image::meant,
    objects::{Env, Stack},
    overwritten::Keeps,
    patience::patiently,
    text::StackFile,
    watch::Watched,
    watch_whole::ToWatch,
};
use crate::target::{End, Outcome, Progress, TargetError, Wanted};

impl PortainerStack {
    /// What a deploy comes to that Portainer calls failed. A text that the engine runs all the same is watched like any
    /// other.
    pub(super) async fn watch_called_failed(
        &self,
        wanted: &Wanted,
        stack: &Stack,
        given_up: Option<Reason>,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let said = stack.said.as_deref().unwrap_or("it does not say why");
        let said = self.without_values(&stack.env, said);
        let operation = &wanted.job.operation;
        // Of anything else, nothing tells what it brought from what ran before.
        let brought = if let Operation::DeployStack(text) = operation {
            patiently(|| self.brought(stack, (operation, text), wanted.job.id)).await?
        } else {
            None
        };
        let Some(brought) = brought else { return Ok(Outcome::failed(failed(&said))) };
        let outcome = self.watch_to_an_end(wanted, (brought, Keeps::Nothing), given_up, progress).await?;
        let ground = patiently(|| self.ground(operation)).await?;
        if outcome.end != End::Converged || ground.marks.stack == Some(wanted.job.id) {
            return Ok(outcome);
        }
        let text = format!(
            "the text runs, but Portainer calls the deploy failed ({said}) and has put the former file back: the next deploy \
             of the stack takes it away again"
        );
        let why = Reason::new(reason::CHANGED_ELSEWHERE, text).hint("deploy it again");
        Ok(Outcome { end: End::Failed(why), ..outcome })
    }

    /// What is to be watched of a text that the engine was told of; none where it was not, or where that cannot be told.
    async fn brought(
        &self,
        stack: &Stack,
        (operation, text): (&Operation, &StackText),
        job: JobId,
    ) -> Result<Option<Watched>, TargetError> {
        let ground = self.ground_of(stack.clone(), operation).await?;
        let Ok(file) = StackFile::read(&text.compose) else { return Ok(None) };
        let env = self.variables_of(text, &stack.env)?;
        let Some(former) = self.former_of(&ground, job) else { return Ok(None) };
        let live = self.live(stack).await?;
        let is_newer = |name: &str| ground.marks.services.get(name).is_some_and(|mark| mark.job > job);
        let mut watched = ToWatch::of((&file, &env), (stack, &live)).services;
        watched.retain(|(name, _)| !is_newer(name));
        let changed: Vec<_> = watched
            .iter()
            .filter_map(|(name, image)| Some((name, image.as_ref()?)))
            .filter(|(name, image)| former.image(name).as_ref() != Some(*image))
            .collect();
        let is_told =
            !changed.is_empty() && changed.iter().all(|(name, image)| live.runs(stack, name, image));
        Ok(is_told.then_some(watched))
    }

    /// What stood before a job's text, as far as that is known: the file itself where Portainer has put it back.
    fn former_of(&self, ground: &Ground, job: JobId) -> Option<Before> {
        if ground.marks.stack == Some(job) {
            let former = self.portainer.former(job)?;
            return Some(Before { file: StackFile::read(&former.text).ok()?, env: former.env });
        }
        Some(Before { file: ground.file.clone(), env: ground.stack.env.clone() })
    }
}

struct Before {
    file: StackFile,
    env: Env,
}

impl Before {
    fn image(&self, service: &str) -> Option<proto::ImageRef> {
        meant(self.file.image(service)?, &self.env)
    }
}

/// What Portainer calls failed it has not deployed, or not as a whole; what runs well then is what ran before.
fn failed(said: &str) -> Reason {
    Reason::new(reason::REFUSED, format!("Portainer's deploy failed: {said}"))
        .hint("look at the stack in Portainer: what ran before may run on, or part of what was wished")
}
