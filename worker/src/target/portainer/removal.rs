//! Removing a stack. Nothing of it is left then that could carry a mark, and Portainer shows nobody but an administrator
//! all that is there: what is not listed need not be gone.

use async_trait::async_trait;
use proto::{ImageRef, JobId};

use super::{
    PortainerStack,
    answer::Call,
    fence::Marks,
    objects::{Environment, Stack, normalized},
    place::Where,
    unrecorded::is_for_administrators,
};
use crate::{
    memo,
    target::{Found, Standing, TargetError, Wanted},
    verdict::chain,
};

const REMOVE: &str = "remove the stack";

/// A stack that is to be removed, or that is gone already.
struct FoundRemoval {
    target: PortainerStack,
    found: Where,
    marks: Marks,
    force: bool,
}

impl PortainerStack {
    pub(super) async fn read_to_remove(&self, force: bool) -> Result<Box<dyn Found>, TargetError> {
        let found = self.find().await?;
        let text = match &found {
            Where::Here(stack) if stack.git.is_none() => self.portainer.client.file(stack).await?,
            Where::Here(_) | Where::Nowhere(_) => String::new(),
        };
        let marks = Marks::read(&text);
        Ok(Box::new(FoundRemoval { target: self.clone(), found, marks, force }))
    }

    /// A stack that is not listed is gone only where nobody has its number any more, or for somebody who sees them all, and
    /// where nothing runs under its name.
    async fn make_sure_it_is_gone(
        &self,
        environment: &Environment,
        (job, force): (JobId, bool),
    ) -> Result<(), TargetError> {
        let name = &self.name;
        let noted = || memo::memo().and_then(|number| number.parse().ok());
        let number = self.was_to_be_removed(environment.id, job).or_else(|| self.own_number()).or_else(noted);
        let has_no_record = match number {
            Some(number) => self.has_no_record(number).await?,
            None => false,
        };
        let who = self.portainer.client.who().await?;
        if !has_no_record && !who.is_administrator {
            let answer = format!(
                "no stack `{name}` is to be seen by {who}, who is no administrator, and one that was not given to it \
                 is not listed either; give it the stack in Portainer, or remove the stack there"
            );
            return Err(self.portainer.refused(REMOVE, answer));
        }
        let left = self.unrecorded(environment).await?;
        let mend = match (left.by_compose.is_empty(), left.on_swarm.is_empty()) {
            (true, true) => return Ok(()),
            (true, false) if force => return self.remove_unrecorded(environment).await,
            (true, false) => "remove it all the same with `--force`",
            (false, _) => "remove that where it was started",
        };
        let answer = format!(
            "Portainer has no stack `{name}`, but under that name runs what it does not know: {}; {mend}",
            left.all().join(", ")
        );
        Err(self.portainer.refused(REMOVE, answer))
    }

    /// Removes services of a swarm that run without a stack, as a create leaves them that failed midway.
    async fn remove_unrecorded(&self, environment: &Environment) -> Result<(), TargetError> {
        let (client, name) = (&self.portainer.client, normalized(&self.name));
        match client.delete_unrecorded(&name, environment.id).await {
            Ok(()) => Ok(()),
            Err(failure) if is_for_administrators(&failure) => {
                let answer = format!(
                    "Portainer has no stack `{name}`, and lets nobody but an administrator remove the services that run \
                     under that name"
                );
                Err(self.portainer.refused(REMOVE, answer))
            }
            // The next attempt looks again at what runs.
            Err(failure) => Err(failure.of(client.system(), Call::write(REMOVE, &format!("stack `{name}`")))),
        }
    }

    /// Notes the number of a stack that is about to be removed for whoever takes the job up where this worker dies: once it
    /// is gone, nothing else tells that from one that is not to be seen. Administrators see them all.
    async fn note_number(&self, stack: &Stack) -> Result<(), TargetError> {
        if self.portainer.client.who().await?.is_administrator {
            return Ok(());
        }
        memo::note(stack.id.to_string()).await.map_err(|error| TargetError::Unavailable {
            system: "the history of jobs".to_owned(),
            answer: chain(&error),
            retry_after: None,
        })
    }

    /// Whether there is no stack of this number, also none that is not to be seen: of such a one Portainer says that it is
    /// nobody's business.
    async fn has_no_record(&self, number: u64) -> Result<bool, TargetError> {
        match self.portainer.client.stack(number, &self.name).await {
            Err(TargetError::NotFound { .. }) => Ok(true),
            Ok(_) | Err(TargetError::CredentialsRefused { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl Found for FoundRemoval {
    /// A newer mark of any kind says that somebody wants the stack.
    fn standing(&self, id: JobId) -> Standing {
        match self.marks.newest() {
            Some(newest) if newest > id => Standing::Newer(newest),
            Some(_) | None => Standing::Open,
        }
    }

    fn image(&self) -> Option<ImageRef> {
        None
    }

    fn before(&self) -> Option<ImageRef> {
        None
    }

    async fn apply(self: Box<Self>, wanted: &Wanted) -> Result<(), TargetError> {
        let job = wanted.job.id;
        let stack = match &self.found {
            Where::Here(stack) => stack,
            Where::Nowhere(environment) => {
                return self.target.make_sure_it_is_gone(environment, (job, self.force)).await;
            }
        };
        if self.marks == Marks::default() && !self.force {
            let name = &self.target.name;
            let why = match &stack.git {
                Some(_) => format!(
                    "nobody can tell whether the stack `{name}` was deployed by Longshore, since its file is kept in git \
                     and nothing is noted there"
                ),
                None => format!("the stack `{name}` was not deployed by Longshore"),
            };
            let answer = format!("{why}; remove it all the same with `--force`");
            return Err(self.target.portainer.refused(REMOVE, answer));
        }
        let client = &self.target.portainer.client;
        self.target.note_removal(stack, job);
        self.target.note_number(stack).await?;
        let Err(failure) = client.delete(stack).await else { return Ok(()) };
        let in_doubt = failure.is_in_doubt();
        let what = format!("stack `{}`", stack.name);
        let error = failure.of(client.system(), Call::write(REMOVE, &what));
        // Read before it is said to have failed.
        let is_gone = matches!(self.target.find().await, Ok(Where::Nowhere(_)));
        if is_gone && (in_doubt || matches!(error, TargetError::NotFound { .. })) {
            Ok(())
        } else {
            Err(error)
        }
    }
}
