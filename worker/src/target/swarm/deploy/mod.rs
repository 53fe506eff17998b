//! A stack made from a compose text. The docker command carries it out; which images it brings, what stays of newer
//! jobs, and the marks on every service are put into the text before, and the watch afterwards is our own.

mod command;
mod compose;
mod external;
#[cfg(test)]
mod fuzzing;
mod gaps;
pub(super) mod half_way;
mod images;
mod kept;
mod left;
mod marks;
mod newer;
mod one_shot;
mod otherwise;
mod plan;
mod removal;
mod removing;
mod room;
mod stand_in;
mod watch;

use std::collections::BTreeSet;

use async_trait::async_trait;
use proto::{ImageRef, JobId, PutOnHold, StackText, ask::Deployed};

pub(super) use self::command::Command;
pub use self::command::{Secrets, command_is_here};
pub(crate) use self::room::sweep;
use self::{
    command::Run,
    compose::Compose,
    stand_in::{StandIn, Written},
};
use super::{
    SwarmStack,
    apply::FoundService,
    before::Before,
    hold,
    lifecycle::Concern,
    service::{Mode, Service},
    stack::{end::standing_of_all, found::of_part},
};
use crate::target::{BadPart, Found, Standing, TargetError, Wanted};

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
        Ok(Box::new(self.found_for(text).await?))
    }

    async fn found_for(&self, text: &StackText) -> Result<FoundText, TargetError> {
        let compose = Compose::read(text).map_err(|why| self.declined(why))?;
        let mut services = self.services().await?;
        let mut parts = Vec::new();
        for name in compose.services().map_err(|why| self.declined(why))? {
            let full = self.scoped(&name);
            let at = services.iter().position(|service| service.name() == full);
            let found = at.map(|at| FoundService {
                target: self.service(&full),
                service: services.swap_remove(at),
                concern: Concern::Stack,
                before: Before::default(),
                known_bad: Vec::new(),
            });
            parts.push(Part { name, found });
        }
        let (stack, text) = (self.clone(), text.clone());
        Ok(FoundText { stack, text, compose, parts, others: services })
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
        // Somebody's deploy wipes the marks; what is kept of us stays. It says nothing of a stack that was set up anew
        // after ours was removed by hand.
        let kept = self.swarm.kept(&self.name).await?;
        let is_older = |service: &&Service| {
            let made = service.created_at().parse().ok();
            kept.iter().any(|kept| kept.at.is_none() || made <= kept.at)
        };
        Ok(services.iter().any(is_older))
    }

    /// What whoever would replace it unasked is told, of a deploy and of its plan.
    fn is_anothers(&self) -> TargetError {
        self.declined(format!(
            "the stack `{}` was deployed by something else, and its text would replace that; say `--adopt` (`\"adopt\": \
             true`) once to take it over",
            self.name
        ))
    }

    /// The name that the docker command gives to a service of the text.
    fn scoped(&self, name: &str) -> String {
        format!("{}_{name}", self.name)
    }

    fn declined(&self, why: impl Into<String>) -> TargetError {
        let system = self.swarm.client.system().to_owned();
        TargetError::Declined { system, attempted: ATTEMPTED, why: why.into() }
    }

    /// The text that the stack runs as, for whoever looks.
    pub(super) async fn deployed(&self, services: &[Service]) -> Result<Option<Deployed>, TargetError> {
        let kept = self.swarm.kept(&self.name).await?;
        Ok(kept::deployed(kept, services, |name| self.short(name)))
    }
}

#[async_trait]
impl Found for FoundText {
    /// The newest text counts for all of the stack.
    fn standing(&self, id: JobId) -> Standing {
        let read = || self.parts.iter().filter_map(|part| part.found.as_ref().map(|found| &found.service));
        let newest = read().chain(&self.others).filter_map(|service| Concern::Stack.mark(service)).max();
        match newest {
            // It overwrote a part of a newer text: a look at it has to follow.
            Some(newer) if newer > id && self.stands_in_part(id) => Standing::Applied,
            Some(newer) if newer > id => Standing::Newer(newer),
            Some(_) | None => standing_of_all(self.parts.iter().map(|part| part.standing(id))),
        }
    }

    fn stands_in_part(&self, id: JobId) -> bool {
        self.parts.iter().any(|part| part.standing(id) == Standing::Applied)
    }

    fn image(&self) -> Option<ImageRef> {
        None
    }

    fn before(&self) -> Option<ImageRef> {
        None
    }

    fn on_hold(&self) -> Option<JobId> {
        let parts = self.parts.iter().filter_map(|part| part.found.as_ref().and_then(Found::on_hold));
        parts.chain(self.others.iter().filter_map(hold::on_hold)).max()
    }

    fn heed(&mut self, on_hold: &[PutOnHold]) {
        for Part { name, found } in &mut self.parts {
            if let Some(found) = found {
                found.heed(&of_part(on_hold, name));
            }
        }
    }

    async fn bad_parts(&self, id: JobId) -> Result<Vec<BadPart>, TargetError> {
        let found = |part: &Part| part.found.as_ref().is_some_and(Found::remembers_bad);
        let open: Vec<&Part> = self.open(id).into_iter().filter(|part| found(part)).collect();
        let images = self.images((&open, id)).await?;
        let is_bad =
            |(part, image): &(&Part, ImageRef)| part.found.as_ref().is_some_and(|found| found.is_bad(image));
        let bad = open.into_iter().zip(images).filter(is_bad);
        Ok(bad.map(|(part, image)| BadPart { part: part.name.clone(), image }).collect())
    }

    async fn would_take(&self, wanted: &Wanted) -> Result<(), TargetError> {
        self.refuse_anothers().await?;
        self.refuse_without_externals().await?;
        self.images((&self.open(wanted.job.id), wanted.job.id)).await.map(drop)
    }

    /// Whatever can be refused is refused before anything is written. What stands as a former attempt made it is not
    /// written again: the engine would forget what was there before it.
    async fn apply(self: Box<Self>, wanted: &Wanted) -> Result<(), TargetError> {
        let id = wanted.job.id;
        self.refuse_anothers().await?;
        self.refuse_without_externals().await?;
        let open = self.open(id);
        let images = self.images((&open, id)).await?;
        let names: Vec<&str> = open.iter().map(|part| part.name.as_str()).collect();
        let mut compose = self.compose.clone().only(&names);
        for (part, image) in open.iter().zip(&images) {
            let edit = part.marked(id, image).await?;
            compose.edit(&part.name, &edit).map_err(|why| self.stack.declined(why))?;
        }
        self.deploy(&compose, &images).await?;
        self.verify(id, (&open, &images)).await
    }
}

impl Part {
    fn standing(&self, id: JobId) -> Standing {
        self.found.as_ref().map_or(Standing::Open, |found| found.standing(id))
    }
}

impl FoundText {
    /// What the job `id` has yet to write.
    fn open(&self, id: JobId) -> Vec<&Part> {
        self.parts.iter().filter(|part| part.standing(id) != Standing::Applied).collect()
    }

    /// The image of each of these parts, looked up.
    async fn images(&self, (open, id): (&[&Part], JobId)) -> Result<Vec<ImageRef>, TargetError> {
        let mut images = Vec::new();
        for part in open {
            let image = self.compose.image(&part.name, &self.text).map_err(|why| self.stack.declined(why))?;
            let found = part.found.as_ref().map(|found| &found.service);
            images.push(self.stack.image_for(&image, (&part.name, found), id).await?);
        }
        Ok(images)
    }

    async fn refuse_anothers(&self) -> Result<(), TargetError> {
        let read = self.parts.iter().filter_map(|part| part.found.as_ref().map(|found| &found.service));
        let all: Vec<&Service> = read.chain(&self.others).collect();
        if self.text.adopt || self.stack.is_ours(&all).await? {
            return Ok(());
        }
        Err(self.stack.is_anothers())
    }

    /// Never with `--prune`: the command removes first and finds out afterwards what it cannot deploy.
    async fn deploy(&self, compose: &Compose, images: &[ImageRef]) -> Result<(), TargetError> {
        // Every image has its digest by now; this looks up what it is built for.
        let options = ["--with-registry-auth", "--resolve-image", "always"];
        let hosts = images.iter().map(|image| image.repository().host().to_owned()).collect();
        self.run(compose, (&options, hosts), None).await
    }

    /// What `deploy` would write.
    async fn would_write(&self, compose: &Compose) -> Result<Written, TargetError> {
        let stand_in = StandIn::of(&self.stack.swarm.client);
        let options = ["--resolve-image", "never"];
        self.run(compose, (&options, BTreeSet::new()), Some(&stand_in)).await?;
        Ok(stand_in.written())
    }

    async fn run(
        &self,
        compose: &Compose,
        (options, hosts): (&[&str], BTreeSet<String>),
        stand_in: Option<&StandIn>,
    ) -> Result<(), TargetError> {
        let mut arguments = vec!["stack", "deploy", "--compose-file", "-"];
        arguments.extend(options);
        arguments.push(&self.stack.name);
        let swarm = &self.stack.swarm;
        let run = |arguments: &[&str]| Run {
            system: swarm.client.system(),
            attempted: ATTEMPTED,
            arguments: arguments.iter().map(Into::into).collect(),
            input: Some((&self.text, compose.to_text())),
            registries: (&swarm.registries, hosts.clone()),
            stand_in,
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

    /// Whether the command wrote what it was told.
    async fn verify(&self, id: JobId, (parts, images): (&[&Part], &[ImageRef])) -> Result<(), TargetError> {
        let services = self.stack.services().await?;
        for (part, image) in parts.iter().zip(images) {
            let full = self.stack.scoped(&part.name);
            let service = services.iter().find(|service| service.name() == full);
            let is_written = service.is_some_and(|service| {
                Concern::Stack.mark(service) >= Some(id)
                    && (service.runs(image) || service.fence.job > Some(id))
            });
            // The engine may have taken it back this very moment: that is for the watch to tell.
            let is_tried = service.is_some_and(|service| service.fence.trying == Some(id));
            if !is_written && !is_tried {
                return Err(TargetError::Conflict);
            }
        }
        Ok(())
    }
}

/// Whether the service runs to its end instead of staying up.
fn runs_out(service: &Service) -> bool {
    service.mode() == Mode::Job
}
