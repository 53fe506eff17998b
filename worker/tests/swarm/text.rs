//! A stack of a test's own, made from compose texts.

use std::{collections::BTreeMap, path::Path, process::Command, time::Instant};

use proto::{Given, Job, Named, Operation, StackText};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc;
use worker::target::{
    Outcome, Standing, Target, TargetError, Wanted,
    swarm::{Policy, Registries, Secrets, Swarm, SwarmSettings, SwarmStack},
};

use crate::{
    carry_out::job_to,
    lab::{PATIENCE, Service, docker, environment, settings, unique_name},
};

/// A secret of the worker's configuration, which must not be seen anywhere but where it is asked for.
pub(crate) const SECRET: &str = "h1dden-from-all";

/// Removed with everything in it when dropped.
pub(crate) struct Stack {
    pub(crate) name: String,
    rooms: TempDir,
}

impl Stack {
    pub(crate) fn new() -> Stack {
        Stack { name: unique_name(), rooms: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn target(&self) -> SwarmStack {
        self.target_with(&settings(&environment("LONGSHORE_TEST_DOCKER")), Registries::default())
    }

    pub(crate) fn target_with(&self, settings: &SwarmSettings, registries: Registries) -> SwarmStack {
        let swarm = Swarm::new("swarm", settings, registries).unwrap();
        let secrets = [("hidden".to_owned(), config::Secret::new(SECRET))];
        swarm.with_stacks(self.rooms.path(), Secrets::from(secrets)).stack(&self.name)
    }

    pub(crate) fn going_back(&self) -> SwarmStack {
        self.target().with(Policy { stable: None, rollback: true })
    }

    /// Where the docker command's files are while it runs.
    pub(crate) fn rooms(&self) -> &Path {
        self.rooms.path()
    }

    /// A service of it, left to the stack to remove.
    pub(crate) fn part(&self, name: &str) -> std::mem::ManuallyDrop<Service> {
        std::mem::ManuallyDrop::new(Service { name: format!("{}_{name}", self.name) })
    }

    /// The names of its services, as the docker command lists them.
    pub(crate) fn services(&self) -> Vec<String> {
        let listed = docker(&["stack", "services", "--format", "{{.Name}}", &self.name]);
        let mut names: Vec<String> =
            listed.lines().map(|name| name[self.name.len() + 1..].to_owned()).collect();
        names.sort();
        names
    }

    /// What there is of a kind (`network`, `config`, `secret`, `volume`) with the stack's label.
    pub(crate) fn objects(&self, kind: &str) -> Vec<String> {
        let label = format!("label=com.docker.stack.namespace={}", self.name);
        let listed = docker(&[kind, "ls", "--filter", &label, "--format", "{{.Name}}"]);
        listed.lines().map(str::to_owned).collect()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let host = environment("LONGSHORE_TEST_DOCKER");
        let run =
            |arguments: &[&str]| Command::new("docker").args(arguments).env("DOCKER_HOST", &host).output();
        let _ = run(&["stack", "rm", &self.name]);
        let label = format!("label=longshore.stack={}", self.name);
        if let Ok(kept) = run(&["config", "ls", "-q", "--filter", &label]) {
            for id in String::from_utf8_lossy(&kept.stdout).lines() {
                let _ = run(&["config", "rm", id]);
            }
        }
    }
}

/// Services that use the host's network need none of their own; one monitored second, paused on failure.
pub(crate) fn service(name: &str, image: &str, more: &str) -> String {
    format!(
        "  {name}:\n    image: '{image}'\n    init: true\n    stop_grace_period: 1s\n    networks: [outside]\n    deploy:\n      \
         replicas: 1\n      restart_policy: {{condition: any, delay: 200ms}}\n      update_config: {{monitor: 1s, \
         failure_action: pause, order: stop-first}}\n{more}"
    )
}

pub(crate) fn compose(services: &[String], more: &str) -> String {
    format!(
        "version: '3.8'\nservices:\n{}networks:\n  outside: {{external: true, name: host}}\n{more}",
        services.concat()
    )
}

pub(crate) fn text(compose: String) -> StackText {
    StackText::of(compose)
}

pub(crate) fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, Given> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), Given::Value((*value).to_owned()))).collect()
}

pub(crate) fn secret() -> Given {
    Given::Secret(Named { from: "hidden".to_owned() })
}

pub(crate) fn deploy_job(text: &StackText) -> Job {
    job_to(Operation::DeployStack(text.clone()))
}

/// Everything that `job` asks of `target`, as a worker does it, written again where somebody interferes.
pub(crate) async fn carry_out_text(target: &SwarmStack, job: &Job) -> Result<Outcome, TargetError> {
    target.accepts(&job.operation).unwrap();
    let wanted = Wanted { job: job.clone(), image: None };
    let began = Instant::now();
    loop {
        let found = target.read(job).await?;
        if found.standing(job.id) != Standing::Open {
            break;
        }
        match found.apply(&wanted).await {
            Err(TargetError::Conflict) if began.elapsed() < PATIENCE => {}
            applied => break applied?,
        }
    }
    let (sender, _progress) = mpsc::channel(1000);
    tokio::time::timeout(PATIENCE * 2, target.watch(&wanted, &sender)).await.unwrap()
}

/// The variables of a service's containers.
pub(crate) async fn variables(service: &Service) -> Vec<String> {
    let raw = service.inspect().await;
    let env = raw.pointer("/Spec/TaskTemplate/ContainerSpec/Env").and_then(Value::as_array).cloned();
    env.unwrap_or_default().iter().filter_map(|it| it.as_str().map(str::to_owned)).collect()
}
