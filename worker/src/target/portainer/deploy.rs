//! Making a stack what a text says.

mod plan;

use std::collections::BTreeMap;

use async_trait::async_trait;
use proto::{Given, ImageRef, JobId, StackText};
use tokio::time::Instant;

use super::{
    PortainerStack,
    answer::{Call, last_lines},
    back_text::Former,
    client::Update,
    fence::{Mark, Marks},
    ground::Ground,
    image::{meant, variables},
    live::Live,
    objects::{Env, StackKind},
    place::Where,
    text::StackFile,
    write::{Writing, Written},
};
use crate::target::{Found, Standing, TargetError, Wanted};

const ATTEMPTED: &str = "deploy the stack";
/// What follows Portainer's word that a name is taken, though no stack of that name is to be seen.
const TAKEN_UNSEEN: &str = "; none of that name is to be seen with these credentials: give it to their user in Portainer, \
                            or remove the services of that name that run without a stack";

/// A stack that is to be as a text says, where it is there.
struct FoundText {
    target: PortainerStack,
    text: StackText,
    file: StackFile,
    stands: Stands,
}

enum Stands {
    /// With what runs of it.
    Here(Box<(Ground, Live)>),
    Nowhere {
        environment: u64,
    },
}

impl PortainerStack {
    pub(super) async fn read_for_text(&self, text: &StackText) -> Result<Box<dyn Found>, TargetError> {
        Ok(Box::new(self.found_for_text(text).await?))
    }

    async fn found_for_text(&self, text: &StackText) -> Result<FoundText, TargetError> {
        let refused = |why: String| self.portainer.refused(ATTEMPTED, why);
        let file = StackFile::read(&text.compose).map_err(|why| refused(format!("the text: {why}")))?;
        let stands = match self.find().await? {
            Where::Nowhere(environment) => Stands::Nowhere { environment: environment.id },
            Where::Here(stack) if stack.kind == StackKind::Kubernetes => {
                return Err(refused("the stack is one of Kubernetes".to_owned()));
            }
            Where::Here(stack) => {
                let operation = proto::Operation::DeployStack(text.clone());
                let ground = self.ground_to_replace(*stack, &operation).await?;
                let live = self.live(&ground.stack).await?;
                Stands::Here(Box::new((ground, live)))
            }
        };
        Ok(FoundText { target: self.clone(), text: text.clone(), file, stands })
    }

    /// The number of the swarm behind an environment; none where there is no swarm.
    pub(super) async fn swarm_of(&self, environment: u64) -> Result<Option<String>, TargetError> {
        let call = Call::read("show the engine", "engine");
        let info = self.portainer.client.docker(environment, ("info", None), call).await?;
        let is_manager = info.pointer("/Swarm/ControlAvailable").and_then(serde_json::Value::as_bool);
        let id = info.pointer("/Swarm/Cluster/ID").and_then(serde_json::Value::as_str);
        Ok(id.filter(|id| is_manager.unwrap_or_default() && !id.is_empty()).map(str::to_owned))
    }
}

impl PortainerStack {
    /// The variables of a stack: those that a text comes with, before those that the stack has.
    pub(super) fn variables_of(&self, text: &StackText, env: &Env) -> Result<Env, TargetError> {
        let mut env = env.clone();
        for (name, given) in &text.env {
            let value = match given {
                Given::Value(value) => value.as_str(),
                Given::Secret(named) => {
                    let secret = self.portainer.secrets.get(&named.from).map(config::Secret::expose);
                    secret.ok_or_else(|| {
                        let from = &named.from;
                        let why = format!("there is no secret `{from}` in the worker's configuration");
                        self.portainer.refused(ATTEMPTED, why)
                    })?
                }
            };
            env.set(name, value);
        }
        Ok(env)
    }
}

impl FoundText {
    fn env(&self, env: &Env) -> Result<Env, TargetError> {
        self.target.variables_of(&self.text, env)
    }

    fn refused(&self, why: String) -> TargetError {
        self.target.portainer.refused(ATTEMPTED, why)
    }

    /// What a newer job brought to a service stays: what the file names, and the variables by which it does.
    fn with_newer_kept(&self, ground: &Ground, id: JobId) -> Result<(StackFile, Env), TargetError> {
        let mut env = self.env(&ground.stack.env)?;
        let mut images = BTreeMap::new();
        for service in self.file.services().filter(|name| is_newer(ground, name, id)) {
            let Some(written) = ground.file.image(service) else { continue };
            images.insert(service.to_owned(), written.to_owned());
            for name in variables(written) {
                if let Some(value) = ground.stack.env.get(&name) {
                    env.set(&name, value);
                }
            }
        }
        let file = self.file.with_images(&images).map_err(|why| self.refused(format!("the text: {why}")))?;
        Ok((file, env))
    }

    /// The marks of a stack that becomes `file`. Of a service that runs another image from then on it is noted what
    /// ran well until now, as for any other deploy: a rollback would go one too far without.
    async fn marked(
        &self,
        (ground, live): (&Ground, &Live),
        (file, env): (&StackFile, &Env),
        id: JobId,
    ) -> Result<Marks, TargetError> {
        let mut marks = Marks { stack: Some(id), ..Marks::default() };
        for service in file.services() {
            let former = ground.marks.services.get(service).cloned();
            let (stood, next) = (ground.image(service), file.image(service).and_then(|it| meant(it, env)));
            let mark = match former {
                former if stood.is_some() && stood != next && !is_newer(ground, service, id) => {
                    let ran_well = self.target.worth_noting(ground, live, service).await?;
                    Some(Mark::succeeding(former, id, (ran_well, next.as_ref())))
                }
                former => former,
            };
            marks.services.extend(mark.map(|mark| (service.to_owned(), mark)));
        }
        Ok(marks)
    }

    /// Makes sure that what stands there may be written over.
    fn refuse_to_replace(&self, ground: &Ground) -> Result<(), TargetError> {
        let operation = proto::Operation::DeployStack(self.text.clone());
        self.target.refuse_by_status(&ground.stack, &operation)?;
        if ground.marks == Marks::default() && !self.text.adopt {
            let name = &self.target.name;
            let why = format!(
                "the stack `{name}` was not deployed by Longshore; take it over with `--adopt` (`\"adopt\": true`)"
            );
            return Err(self.refused(why));
        }
        Ok(())
    }

    /// Makes sure that a stack may be made there; the swarm that it is made in, where there is one.
    async fn may_be_made(&self, environment: u64) -> Result<Option<String>, TargetError> {
        let swarm = self.target.swarm_of(environment).await?;
        let kind = kind_in(swarm.as_deref());
        let place = (environment, kind, self.target.name.as_str());
        self.target.refuse_to_make_over(ATTEMPTED, place, Some(self.text.adopt)).await?;
        Ok(swarm)
    }

    async fn update(&self, (ground, live): (&Ground, &Live), wanted: &Wanted) -> Result<(), TargetError> {
        let target = &self.target;
        let stack = &ground.stack;
        self.refuse_to_replace(ground)?;
        target.look_on(ground, ground.marks.stack == Some(wanted.job.id)).await?;
        let (file, env) = self.with_newer_kept(ground, wanted.job.id)?;
        let after = target.live_after_rollouts(stack, live).await?;
        let live = after.as_ref().unwrap_or(live);
        let marks = self.marked((ground, live), (&file, &env), wanted.job.id).await?;
        let text = marks.written_into(file.text());
        let before = ground.file.text();
        if ground.marks.stack != Some(wanted.job.id) {
            target.portainer.note_former(stack.id, wanted.job.id, Former::of(ground));
        }
        let writing = Writing { stack, before, text: &text, env: &env, prune: self.text.prune, pull: true };
        if let Written::Refused(why) = target.write(&writing).await? {
            target.portainer.note_refusal(wanted.job.id, why);
        }
        Ok(())
    }

    async fn create(&self, environment: u64, wanted: &Wanted) -> Result<(), TargetError> {
        let (target, client) = (&self.target, &self.target.portainer.client);
        let swarm = self.may_be_made(environment).await?;
        let kind = kind_in(swarm.as_deref());
        let env = self.env(&Env::default())?;
        let marks = Marks { stack: Some(wanted.job.id), ..Marks::default() };
        let text = marks.written_into(self.file.text());
        let update = Update { text: &text, env: &env, prune: false, pull: true };
        target.wait_while_it_is_made(environment).await?;
        let (asked, making) = (Instant::now(), target.making_in(environment));
        target.note_asked(making.clone(), wanted.job.id, None);
        let created = client.create((&target.name, environment), swarm.as_deref(), &update).await;
        let Err(failure) = created else {
            target.portainer.asked.settle(&making, true);
            return Ok(());
        };
        let in_doubt = failure.is_in_doubt();
        // Read before anything is said: it may be there all the same.
        let made = target.made_meanwhile(&failure, asked).await;
        target.portainer.asked.settle(&making, false);
        let made = made?;
        let what = format!("environment of the stack `{}`", target.name);
        let error = failure.of(client.system(), Call::write("make the stack", &what));
        match (error, made) {
            (_, Some(stack)) if in_doubt => {
                let is_ours = client.file(&stack).await? == text;
                if is_ours { Ok(()) } else { Err(TargetError::Conflict) }
            }
            // Somebody else was quicker.
            (_, Some(_)) => Err(TargetError::Conflict),
            (TargetError::Refused { system, answer, .. }, None) => {
                let mut answer = target.without_values(&env, &last_lines(&answer));
                if answer.contains("already exists") {
                    answer.push_str(TAKEN_UNSEEN);
                } else if kind == StackKind::Swarm || !self.text.adopt {
                    answer.extend(target.left_by_create((environment, kind)).await);
                }
                Err(TargetError::Refused { system, attempted: "make the stack", answer })
            }
            (error, None) => Err(error),
        }
    }
}

/// What a new stack is where there is this swarm, or none.
fn kind_in(swarm: Option<&str>) -> StackKind {
    if swarm.is_some() { StackKind::Swarm } else { StackKind::Compose }
}

/// Whether a job newer than `id` brought a service its image.
fn is_newer(ground: &Ground, service: &str, id: JobId) -> bool {
    ground.marks.services.get(service).is_some_and(|mark| mark.job > id)
}

#[async_trait]
impl Found for FoundText {
    fn standing(&self, id: JobId) -> Standing {
        let Stands::Here(here) = &self.stands else { return Standing::Open };
        let (ground, live) = &**here;
        // What was written counts only once the engine was told: Portainer may have died in between.
        let is_told = |service: &str| match ground.image(service) {
            _ if !live.has_any_of(&ground.stack, service) => ground.file.is_idle(service),
            Some(_) => PortainerStack::has_arrived(ground, live, service),
            None => true,
        };
        let has_arrived = || ground.file.services().all(is_told);
        match ground.marks.stack {
            _ if ground.marks.back == Some(id) => Standing::RolledBack,
            Some(job) if job == id && has_arrived() => Standing::Applied,
            Some(job) if job > id => Standing::Newer(job),
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
        match &self.stands {
            Stands::Here(here) => self.update((&here.0, &here.1), wanted).await,
            Stands::Nowhere { environment } => self.create(*environment, wanted).await,
        }
    }
}
