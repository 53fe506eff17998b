//! What the docker command makes of a stack's file.

use serde_json::Value;

use super::file::{FileService, services};
use super::stacks::Deploy;
use super::{ATTIC, COMPOSE, Family, Record, SWARM, State};

/// What it says first, whatever becomes of it.
pub(super) const FIRST: &str = "Since --detach=false was not specified, tasks will be created in the background.\nIn a \
                                future release, --detach=false will become the default.";

impl State {
    /// Whether the name of a new stack is one already: of a record, or of services in a swarm that no record has
    /// (recorded: "create swarm over a leftover"). Containers without a record are adopted.
    pub(super) fn is_taken(&self, name: &str, environment: u64) -> bool {
        let is_left = environment == SWARM && self.swarm.has(name);
        is_left || self.stacks.values().any(|one| one.name == name && one.environment == environment)
    }

    /// The services of a file, as the command of its environment reads them.
    pub(super) fn read(
        &self,
        environment: u64,
        (text, env): (&str, &Value),
        pull: bool,
    ) -> Result<Vec<FileService>, String> {
        let read = services(text, env);
        let is_down = self.engines_down.contains(&environment);
        if matches!(environment, COMPOSE | ATTIC) {
            let attempted =
                if pull { "failed to pull images of the stack" } else { "failed to deploy a stack" };
            if is_down {
                let asked = "request returned Bad Gateway for API route and version http://PROXY/v1.46/containers/json";
                return Err(format!(
                    "{attempted}: {asked}, check if the server supports the requested API version"
                ));
            }
            return match read {
                Ok(services) if services.is_empty() => Err(format!("{attempted}: no service selected")),
                read => read.map_err(|said| format!("{attempted}: {said}")),
            };
        }
        // What is no YAML is refused before anything is said.
        let read = read.map_err(|said| match said.starts_with("yaml:") {
            true => said,
            false => format!("{FIRST}\n{said}"),
        })?;
        if is_down {
            let away = "Cannot connect to the Docker daemon at tcp://engine2.example:2375. Is the docker daemon running?";
            return Err(format!("{FIRST}\n{away}"));
        }
        if read.iter().any(|service| service.is_built) {
            return Err(format!("{FIRST}\ninvalid reference format"));
        }
        Ok(read)
    }

    pub(super) fn run(&mut self, deploy: &Deploy) -> Result<(), String> {
        let Some(record) = self.stacks.get(&deploy.stack).cloned() else { return Err("no stack".to_owned()) };
        let environment = record.environment;
        let services = self.read(environment, (&deploy.text, &deploy.env), deploy.pull);
        if matches!(environment, COMPOSE | ATTIC) {
            if let Some(why) = self.pull_fails.take_if(|_| deploy.pull) {
                return Err(format!("failed to pull images of the stack: {why}"));
            }
            let deployed = services
                .and_then(|services| self.compose(environment).deploy(&record.name, &services, deploy.pull));
            // From 2.15 on whatever `up` ends with takes the whole stack down; pulling comes first, and does not.
            let takes_down = self.family == Family::Synchronous && !self.engines_down.contains(&environment);
            if deployed.as_ref().is_err_and(|said| takes_down && said.starts_with("failed to deploy")) {
                self.take_down(&record);
            }
            return deployed;
        }
        let services = services?;
        let meddled = std::mem::take(&mut self.meddled);
        let deployed = self.swarm.deploy(&record.name, &services, (deploy.prune, deploy.pull), meddled);
        deployed.map_err(|said| format!("{FIRST}\n{said}"))
    }

    pub(super) fn runs(&self, record: &Record) -> bool {
        match record.environment {
            environment @ (COMPOSE | ATTIC) => {
                self.composes.get(&environment).is_some_and(|engine| engine.has(&record.name))
            }
            _ => self.swarm.has(&record.name),
        }
    }

    pub(super) fn take_down(&mut self, record: &Record) {
        match record.environment {
            COMPOSE | ATTIC => self.compose(record.environment).remove(&record.name),
            _ => self.swarm.remove(&record.name),
        }
    }
}
