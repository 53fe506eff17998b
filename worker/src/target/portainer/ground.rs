//! What a decision on a stack stands on: its record, its file, its marks, and what runs.

use proto::{ImageRef, Job, JobId, Operation};

use super::{
    PortainerStack,
    accept::attempted,
    fence::Marks,
    image::meant,
    live::Live,
    objects::{Stack, Status},
    text::StackFile,
};
use crate::target::TargetError;

/// A stack as it was read.
pub(super) struct Ground {
    pub(super) stack: Stack,
    pub(super) file: StackFile,
    pub(super) marks: Marks,
}

impl Ground {
    /// The image that the file and the variables mean for a service.
    pub(super) fn image(&self, service: &str) -> Option<ImageRef> {
        meant(self.file.image(service)?, &self.stack.env)
    }
}

impl PortainerStack {
    /// Reads the stack with its file.
    ///
    /// # Errors
    /// [`TargetError::Declined`] for a stack whose file is kept elsewhere or makes no sense.
    pub(super) async fn ground(&self, operation: &Operation) -> Result<Ground, TargetError> {
        let stack = self.found().await?;
        self.ground_of(stack, operation).await
    }

    fn refuse_git(&self, stack: &Stack, operation: &Operation) -> Result<(), TargetError> {
        if stack.git.is_none() {
            return Ok(());
        }
        let why = format!(
            "the file of the stack `{}` is kept in git, and writing it would cut the stack off from there for good; change \
             the file in git and redeploy, or detach the stack in Portainer first",
            self.name
        );
        Err(self.portainer.refused(attempted(operation), why))
    }

    pub(super) async fn ground_of(&self, stack: Stack, operation: &Operation) -> Result<Ground, TargetError> {
        self.refuse_git(&stack, operation)?;
        let text = self.portainer.client.file(&stack).await?;
        self.ground_from(stack, &text, operation)
    }

    /// The same for a text that takes the place of the file whole: what is wrong with that keeps nobody from mending it.
    pub(super) async fn ground_to_replace(
        &self,
        stack: Stack,
        operation: &Operation,
    ) -> Result<Ground, TargetError> {
        self.refuse_git(&stack, operation)?;
        let text = self.portainer.client.file(&stack).await?;
        Ok(Ground { marks: Marks::read(&text), stack, file: StackFile::to_replace(&text) })
    }

    /// The same of a file that was read before.
    pub(super) fn ground_from(
        &self,
        stack: Stack,
        text: &str,
        operation: &Operation,
    ) -> Result<Ground, TargetError> {
        let refused = |why: String| self.portainer.refused(attempted(operation), why);
        let file = StackFile::read(text).map_err(|why| {
            refused(format!("the file of the stack `{}` cannot be edited: {why}", self.name))
        })?;
        Ok(Ground { marks: Marks::read(text), stack, file })
    }

    /// Makes sure that a write is what is due: a stopped stack would be started by it, one that Portainer is at work
    /// on refuses it.
    pub(super) fn refuse_by_status(&self, stack: &Stack, operation: &Operation) -> Result<(), TargetError> {
        match stack.status {
            Status::Inactive => Err(self.portainer.refused(
                attempted(operation),
                format!(
                    "the stack `{}` is stopped, and writing it would start it; start it first",
                    self.name
                ),
            )),
            Status::Deploying => Err(TargetError::Busy { system: self.portainer.client.system().to_owned() }),
            Status::Unknown | Status::Active | Status::Error => Ok(()),
        }
    }

    /// The services that `operation` concerns; `mine` may have been written for some of them already.
    pub(super) fn chosen(
        &self,
        ground: &Ground,
        operation: &Operation,
        mine: Option<JobId>,
    ) -> Result<Vec<String>, TargetError> {
        let is_mine = |name: &str| {
            let mark = ground.marks.services.get(name);
            mine.is_some() && mark.is_some_and(|mark| Some(mark.job) == mine || mark.back == mine)
        };
        let undone = ground.marks.services.values().map(|mark| mark.job).max();
        let concerns = |name: &str| match operation {
            Operation::SetImage { service: Some(service), .. }
            | Operation::Rollback { service: Some(service), .. } => {
                self.is_called(&ground.stack, name, service)
            }
            Operation::SetImage { image, service: None }
            | Operation::Rollback { image: Some(image), service: None, .. } => {
                let pulled_as = self.portainer.registries.pulled_as(image);
                let runs = ground.image(name);
                runs.is_some_and(|runs| {
                    [image, &pulled_as].iter().any(|it| it.repository() == runs.repository())
                })
            }
            Operation::Rollback { image: None, service: None, .. } => {
                // Where nothing is noted, the engine may know what ran before.
                ground.marks.services.get(name).map(|mark| mark.job) == undone && ground.image(name).is_some()
            }
            Operation::Start | Operation::Restart | Operation::Redeploy | Operation::DeployStack(_) => true,
            Operation::Stop
            | Operation::RemoveStack { .. }
            | Operation::DeployGit(_)
            | Operation::Migrate { .. }
            | Operation::PruneImages { .. }
            | Operation::Hold { .. }
            | Operation::Release { .. }
            | Operation::Cancel { .. } => false,
        };
        let chosen: Vec<String> = ground
            .file
            .services()
            .filter(|name| is_mine(name) || concerns(name))
            .map(str::to_owned)
            .collect();
        if chosen.is_empty() { Err(self.nothing_concerned(ground, operation)) } else { Ok(chosen) }
    }

    /// A service by its name in the file, or by the one that a swarm gives it.
    fn is_called(&self, stack: &Stack, name: &str, called: &str) -> bool {
        name == called
            || called.strip_prefix(&stack.name).and_then(|rest| rest.strip_prefix('_')) == Some(name)
    }

    pub(super) fn nothing_concerned(&self, ground: &Ground, operation: &Operation) -> TargetError {
        let of = |name: &str| {
            let image = ground.file.image(name).unwrap_or("built there");
            format!("`{name}` ({image})")
        };
        let listed = ground.file.services().map(of).collect::<Vec<_>>().join(", ");
        let stack = &self.name;
        let what = match operation {
            Operation::SetImage { service: Some(service), .. }
            | Operation::Rollback { service: Some(service), .. } => {
                format!("service `{service}` in the stack `{stack}`, which has {listed}")
            }
            Operation::SetImage { image, .. } | Operation::Rollback { image: Some(image), .. } => {
                let repository = image.repository().familiar();
                let is_unclear =
                    |name: &&str| ground.file.image(name).is_some() && ground.image(name).is_none();
                let unclear: Vec<String> =
                    ground.file.services().filter(is_unclear).map(|name| format!("`{name}`")).collect();
                let unclear = match unclear.is_empty() {
                    true => String::new(),
                    false => {
                        format!(" (what image the file means for {} cannot be told)", unclear.join(", "))
                    }
                };
                format!("service in the stack `{stack}` that runs `{repository}`; it has {listed}{unclear}")
            }
            Operation::Rollback { image: None, .. } => {
                format!("service in the stack `{stack}` of which an image is known that ran well before")
            }
            Operation::DeployStack(_)
            | Operation::RemoveStack { .. }
            | Operation::Start
            | Operation::Stop
            | Operation::Restart
            | Operation::Redeploy
            | Operation::DeployGit(_)
            | Operation::Migrate { .. }
            | Operation::PruneImages { .. }
            | Operation::Hold { .. }
            | Operation::Release { .. }
            | Operation::Cancel { .. } => format!("service in the stack `{stack}`"),
        };
        let system = self.portainer.client.system().to_owned();
        let names_nothing = matches!(operation, Operation::Rollback { image: None, service: None, .. });
        if names_nothing {
            TargetError::NotFound { system, what }
        } else {
            TargetError::NoPart { system, what }
        }
    }

    pub(super) async fn read_for(&self, job: &Job) -> Result<Box<dyn crate::target::Found>, TargetError> {
        match &job.operation {
            Operation::SetImage { .. } | Operation::Rollback { .. } => self.read_for_image(job).await,
            Operation::DeployStack(text) => self.read_for_text(text).await,
            Operation::RemoveStack { force } => self.read_to_remove(*force).await,
            Operation::DeployGit(git) => self.read_for_git(git).await,
            Operation::Migrate { environment, name } => {
                self.read_to_migrate((environment, name.as_deref())).await
            }
            Operation::Start
            | Operation::Stop
            | Operation::Restart
            | Operation::Redeploy
            | Operation::PruneImages { .. }
            | Operation::Hold { .. }
            | Operation::Release { .. }
            | Operation::Cancel { .. } => self.read_for_state().await,
        }
    }

    /// Whether what a job of mine wrote is also what the engine was told, or took back.
    pub(super) fn has_arrived(ground: &Ground, live: &Live, service: &str) -> bool {
        let stack = &ground.stack;
        let is_wished = ground.image(service).is_some_and(|image| live.runs(stack, service, &image));
        is_wished || live.went_back(stack, service)
    }
}
