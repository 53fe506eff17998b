//! A stack made from a compose text. The docker command carries it out; which images it brings, what stays of newer
//! jobs, and the marks on every service are put into the text before, and the watch afterwards is our own.

mod command;
mod compose;
mod kept;
mod marks;
mod plan;
mod removal;
mod room;
pub(super) mod variables;
mod watch;

use std::collections::BTreeSet;

use async_trait::async_trait;
use proto::{ImageRef, JobId, StackText};

pub(super) use self::command::Command;
pub use self::command::{Secrets, command_is_here};
pub(crate) use self::room::sweep;
use self::{command::Run, compose::Compose};
use super::{
    SwarmStack,
    apply::FoundService,
    lifecycle::Concern,
    service::{Mode, Service},
    stack::end::standing_of_all,
};
use crate::target::{Found, Standing, Target, TargetError, Wanted};

/// For errors, after "to".
const ATTEMPTED: &str = "deploy the stack";

/// A stack as it was read, and the text that is to be made of it.
struct FoundText {
    stack: SwarmStack,
    text: StackText,
    compose: Compose,
    parts: Vec<Part>,
    /// Services of the stack that the text does not have.
    others: Vec<Service>,
}

/// One service of a text.
struct Part {
    /// As the text calls it.
    name: String,
    /// None where it is not there yet.
    found: Option<FoundService>,
}

impl SwarmStack {
    /// Whether a text can be deployed at all, as far as can be told without the engine.
    pub(super) fn accepts_text(&self, text: &StackText) -> Result<(), String> {
        command_is_here()?;
        text.check().map_err(|error| error.to_string())?;
        if let Some(name) = self.swarm.command.lacks(text) {
            return Err(format!(
                "the worker's configuration has no secret `{name}`; declare it there under `secrets`, or mend the name"
            ));
        }
        Compose::read(text).map(drop)
    }

    pub(super) async fn read_for_text(&self, text: &StackText) -> Result<Box<dyn Found>, TargetError> {
        let compose = Compose::read(text).map_err(|why| self.refused(why))?;
        let mut services = self.services().await?;
        let mut parts = Vec::new();
        for name in compose.services().map_err(|why| self.refused(why))? {
            let full = self.scoped(&name);
            let at = services.iter().position(|service| service.name() == full);
            let found = at.map(|at| FoundService {
                target: self.service(&full),
                service: services.swap_remove(at),
                concern: Concern::Stack,
            });
            parts.push(Part { name, found });
        }
        let (stack, text) = (self.clone(), text.clone());
        Ok(Box::new(FoundText { stack, text, compose, parts, others: services }))
    }

    /// The services of the stack; none where there is no stack.
    async fn services(&self) -> Result<Vec<Service>, TargetError> {
        match self.swarm.client.services_of(&self.name).await {
            Err(TargetError::NotFound { .. }) => Ok(Vec::new()),
            services => services,
        }
    }

    /// Whether Longshore deployed the stack from a text before, or there is none.
    async fn is_ours(&self, services: &[&Service]) -> Result<bool, TargetError> {
        let is_marked = |service: &&Service| Concern::Stack.mark(service).is_some();
        if services.is_empty() || services.iter().any(is_marked) {
            return Ok(true);
        }
        // Somebody's deploy wipes the marks; what is kept of us stays.
        Ok(!self.swarm.kept(&self.name).await?.is_empty())
    }

    /// The name that the docker command gives to a service of the text.
    fn scoped(&self, name: &str) -> String {
        format!("{}_{name}", self.name)
    }

    fn refused(&self, answer: impl Into<String>) -> TargetError {
        let (system, attempted) = (self.swarm.client.system().to_owned(), ATTEMPTED);
        TargetError::Refused { system, attempted, answer: answer.into() }
    }

    /// The text that the stack was deployed from last, for whoever looks.
    pub(super) async fn deployed(&self) -> Result<Option<proto::ask::Deployed>, TargetError> {
        self.swarm.deployed(&self.name).await
    }
}

#[async_trait]
impl Found for FoundText {
    /// The newest text counts for all of the stack.
    fn standing(&self, id: JobId) -> Standing {
        let read = || self.parts.iter().filter_map(|part| part.found.as_ref().map(|found| &found.service));
        let newest = read().chain(&self.others).filter_map(|service| Concern::Stack.mark(service)).max();
        match newest {
            Some(newer) if newer > id => Standing::Newer(newer),
            Some(_) | None => standing_of_all(self.parts.iter().map(|part| part.standing(id))),
        }
    }

    fn image(&self) -> Option<ImageRef> {
        None
    }

    fn before(&self) -> Option<ImageRef> {
        None
    }

    /// Whatever can be refused is refused before anything is written.
    async fn apply(self: Box<Self>, wanted: &Wanted) -> Result<(), TargetError> {
        let id = wanted.job.id;
        self.refuse_anothers().await?;
        let mut images = Vec::new();
        for part in &self.parts {
            images.push(self.image_for(part, id).await?);
        }
        let mut compose = self.compose.clone();
        for (part, image) in self.parts.iter().zip(&images) {
            let edit = part.marked(id, image).await?;
            compose.edit(&part.name, &edit).map_err(|why| self.stack.refused(why))?;
        }
        self.deploy(&compose, &images).await?;
        self.verify(id, &images).await
    }
}

impl Part {
    fn standing(&self, id: JobId) -> Standing {
        self.found.as_ref().map_or(Standing::Open, |found| found.standing(id))
    }
}

impl FoundText {
    async fn refuse_anothers(&self) -> Result<(), TargetError> {
        let read = self.parts.iter().filter_map(|part| part.found.as_ref().map(|found| &found.service));
        let all: Vec<&Service> = read.chain(&self.others).collect();
        if self.text.adopt || self.stack.is_ours(&all).await? {
            return Ok(());
        }
        Err(self.stack.refused(format!(
            "the stack `{}` was deployed by something else, and its text would replace that; say `--adopt` (`\"adopt\": \
             true`) once to take it over",
            self.stack.name
        )))
    }

    /// The image that a service gets: what a newer job brought, or this one before a crash, stays.
    async fn image_for(&self, part: &Part, id: JobId) -> Result<ImageRef, TargetError> {
        let named = self.compose.image(&part.name, &self.text).map_err(|why| self.stack.refused(why))?;
        let image: ImageRef = match named.parse().or_else(|_| format!("{named}:latest").parse()) {
            Ok(image) => image,
            Err(error) => {
                let why =
                    format!("the image `{named}` of the service `{}` cannot be used: {error}", part.name);
                return Err(self.stack.refused(why));
            }
        };
        let image = self.stack.swarm.registries.pulled_as(&image);
        if let Some(found) = &part.found {
            let is_newer = found.service.fence.job > Some(id);
            let is_mine = Concern::Stack.mark(&found.service) == Some(id);
            let stands = found.service.image().filter(|stands| is_newer || stands.by_tag() == image.by_tag());
            if let Some(stands) = stands.filter(|stands| (is_newer || is_mine) && stands.digest().is_some()) {
                return Ok(stands);
            }
        }
        self.stack.service(&self.stack.scoped(&part.name)).resolve(&image).await
    }

    /// Never with `--prune`: the command removes first and finds out afterwards what it cannot deploy.
    async fn deploy(&self, compose: &Compose, images: &[ImageRef]) -> Result<(), TargetError> {
        let mut arguments = vec!["stack", "deploy", "--compose-file", "-", "--with-registry-auth"];
        // Every image has its digest by now; this looks up what it is built for.
        arguments.extend(["--resolve-image", "always"]);
        arguments.push(&self.stack.name);
        let hosts: BTreeSet<String> =
            images.iter().map(|image| image.repository().host().to_owned()).collect();
        let swarm = &self.stack.swarm;
        let run = |arguments: &[&str]| Run {
            system: swarm.client.system(),
            attempted: ATTEMPTED,
            arguments: arguments.iter().map(Into::into).collect(),
            input: Some((&self.text, compose.to_text())),
            registries: (&swarm.registries, hosts.clone()),
        };
        // Younger commands would wait, which is for the watch to do; older ones do not know the word.
        let detached: Vec<&str> = arguments.iter().copied().chain(["--detach=true"]).collect();
        match swarm.command.run(run(&detached)).await {
            Err(TargetError::Refused { answer, .. }) if answer.contains("unknown flag: --detach") => {
                swarm.command.run(run(&arguments)).await
            }
            done => done,
        }
    }

    /// Whether the command wrote what it was told. It reads and writes each service on its own, so another worker's
    /// newer write may have come in between: the engine remembers that, and it is written again.
    async fn verify(&self, id: JobId, images: &[ImageRef]) -> Result<(), TargetError> {
        let services = self.stack.services().await?;
        for (part, image) in self.parts.iter().zip(images) {
            let full = self.stack.scoped(&part.name);
            let service = services.iter().find(|service| service.name() == full);
            let written = service.filter(|service| {
                Concern::Stack.mark(service) >= Some(id)
                    && (service.runs(image) || service.fence.job > Some(id))
            });
            // The engine may have taken it back this very moment: that is for the watch to tell.
            let is_tried = service.is_some_and(|service| service.fence.trying == Some(id));
            let Some(service) = written.or(service.filter(|_| is_tried)) else {
                return Err(TargetError::Conflict);
            };
            part.put_back_newer(id, service, &self.stack).await?;
        }
        Ok(())
    }
}

/// Whether the service runs to its end instead of staying up.
fn runs_out(service: &Service) -> bool {
    service.mode() == Mode::Job
}
