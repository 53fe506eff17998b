//! What Portainer does to stacks.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::compose_engine::ComposeEngine;
use super::connections::Answer;
use super::deploy::FIRST;
use super::file::services;
use super::{ATTIC, COMPOSE, Family, Put, Record, SWARM, Shared, State};
use crate::fake_http::Request;

/// What a deploy is of.
pub(super) struct Deploy {
    pub(super) stack: u64,
    pub(super) text: String,
    pub(super) env: Value,
    pub(super) prune: bool,
    pub(super) pull: bool,
    /// What ran is taken down first: so the newest do where the deploy before failed.
    pub(super) afresh: bool,
}

pub(super) fn error(status: u16, message: &str, details: &str) -> Answer {
    (status, json!({"message": message, "details": details}).to_string())
}

pub(super) fn no_stack(id: u64) -> Answer {
    let message = "Unable to find a stack with the specified identifier inside the database";
    error(404, message, &format!("Object not found inside the database (bucket=stacks, key={id})"))
}

pub(super) fn no_environment(message: &str, id: u64) -> Answer {
    let details = format!("Object not found inside the database (bucket=endpoints, key={id})");
    error(404, &format!("Unable to find {message} inside the database"), &details)
}

/// The environment that a request names. Without one it is refused; before 2.19 it is taken for environment 0.
fn environment_of(family: Family, request: &Request) -> Result<u64, Answer> {
    match request.parameter("endpointId").and_then(|id| id.parse().ok()) {
        Some(id) => Ok(id),
        None if family.is_old() => Ok(0),
        None => Err(error(400, "Invalid query parameter: endpointId", "Missing query parameter")),
    }
}

/// What the docker command says comes with its last line's end, and again: from 2.20 on with a capital.
fn said_by_command(family: Family, said: &str) -> Answer {
    let mut letters = said.chars();
    let first = letters.next().into_iter();
    let details: String = match family.is_old() {
        true => said.to_owned(),
        false => first.flat_map(char::to_uppercase).chain(letters).collect(),
    };
    error(500, &format!("{said}\n"), &format!("{details}\n"))
}

impl Shared {
    pub(super) fn add_stack(&self, environment: u64, name: &str, file: &str, env: Value) -> u64 {
        let mut state = self.state();
        let id = state.record(environment, name, file, env.clone());
        let deploy =
            Deploy { stack: id, text: file.to_owned(), env, prune: false, pull: true, afresh: false };
        let _ = state.run(&deploy);
        id
    }

    /// Everything that the body leaves out is emptied: above all the variables.
    pub(super) async fn update(self: &Arc<Self>, id: u64, request: &Request) -> Answer {
        let Some(text) = request.body["StackFileContent"].as_str().filter(|text| !text.is_empty()) else {
            return error(400, "Invalid request payload", "Invalid stack file content");
        };
        let family = self.state().family;
        let environment = match environment_of(family, request) {
            Ok(environment) => environment,
            Err(refusal) => return refusal,
        };
        let deploy = {
            let mut state = self.state();
            let body = &request.body;
            let name = state.stacks.get(&id).map(|record| record.name.clone()).unwrap_or_default();
            let put = Put {
                stack: id,
                environment,
                text: text.to_owned(),
                env: body["Env"].clone(),
                prune: body["Prune"].clone(),
                pull: body["PullImage"].clone(),
                repull: body["RepullImageAndRedeploy"].clone(),
                into_rollout: state.swarm.rolls(&name),
            };
            state.puts.push(put);
            let Some(record) = state.stacks.get_mut(&id) else { return no_stack(id) };
            if !matches!(environment, SWARM | COMPOSE | ATTIC) {
                let message = "Unable to find the environment associated to the stack inside the database";
                return match family.is_old() {
                    true => error(404, message, "object not found inside the database"),
                    false => no_environment("the environment associated to the stack", environment),
                };
            }
            if record.status == 3 {
                return error(409, "Unable to update stack", "Stack deployment is already in progress");
            }
            // A plain write cuts the stack off from git for good, and one with another environment moves it there.
            record.cut_off |= record.git.is_object();
            // What the business edition keeps beside the file is replaced with it (portainer/portainer#8929).
            record.auto_update =
                if record.git.is_object() { Value::Null } else { body["AutoUpdate"].clone() };
            record.git = Value::Null;
            body["Webhook"].as_str().unwrap_or_default().clone_into(&mut record.webhook);
            record.environment = environment;
            let afresh = family == Family::Asynchronous && record.status == 4;
            // The file is written before anything is deployed, and before its turn has come.
            record.backup = std::mem::replace(&mut record.file, text.to_owned());
            if family == Family::Asynchronous {
                record.status = 3;
            }
            // `PullImage` has a second name from 2.36 on.
            let pull = ["PullImage", "RepullImageAndRedeploy"].iter().any(|name| body[*name] == true);
            Deploy {
                stack: id,
                text: text.to_owned(),
                env: body["Env"].clone(),
                prune: body["Prune"] == true,
                pull,
                afresh,
            }
        };
        match family {
            Family::First | Family::Old | Family::Synchronous => self.deploy(deploy).await,
            Family::Asynchronous => self.deploy_later(deploy),
        }
    }

    /// The file as last written is not the file as deployed: the record says nothing of it.
    pub(super) fn die_under(&self, request: &Request) {
        let id = request.path.rsplit('/').next().and_then(|id| id.parse().ok()).unwrap_or(0);
        let text = request.body["StackFileContent"].as_str().unwrap_or_default().to_owned();
        let mut state = self.state();
        state.process += 1;
        let put = Put { stack: id, text: text.clone(), env: request.body["Env"].clone(), ..Put::default() };
        state.puts.push(put);
        if let Some(record) = state.stacks.get_mut(&id) {
            record.file = text;
        }
    }

    /// One after the other, whatever stack and environment it is. What is deployed is the file as it stands when its
    /// turn has come: of two writes at once the second one's, and what is put back is the first one's (recorded: "good
    /// then broken").
    pub(super) async fn deploy(&self, mut deploy: Deploy) -> Answer {
        let _turn = self.deploying.lock().await;
        let takes = self.state().deploy_takes;
        sleep(takes).await;
        let mut state = self.state();
        let Some(record) = state.stacks.get(&deploy.stack).cloned() else { return no_stack(deploy.stack) };
        deploy.text.clone_from(&record.file);
        if deploy.afresh {
            state.take_down(&record);
        }
        let result = state.run(&deploy);
        let result = match (result, state.false_errors) {
            (Ok(()), true) => Err("task failed: an old one of the history".to_owned()),
            (result, _) => result,
        };
        let now = state.tick();
        let family = state.family;
        let Some(record) = state.stacks.get_mut(&deploy.stack) else { return no_stack(deploy.stack) };
        match result {
            Ok(()) => {
                record.env = deploy.env;
                record.update_date = now;
                record.status = 1;
                (200, state.show(deploy.stack).to_string())
            }
            Err(said) => {
                // The file is put back from 2.16 on; what the engine was told stays told.
                if !family.is_old() {
                    record.file.clone_from(&record.backup);
                }
                if record.status == 3 {
                    record.status = 4;
                }
                record.said.clone_from(&said);
                said_by_command(family, &said)
            }
        }
    }

    pub(super) async fn create(self: &Arc<Self>, kind: &str, request: &Request) -> Answer {
        let body = &request.body;
        let name = normalized(body["Name"].as_str().unwrap_or_default());
        let family = self.state().family;
        let environment = match environment_of(family, request) {
            Ok(environment @ (SWARM | COMPOSE | ATTIC)) => environment,
            Ok(other) => return no_environment("an environment with the specified identifier", other),
            Err(refusal) => return refusal,
        };
        let is_empty = |field: &str| body[field].as_str().is_none_or(str::is_empty);
        for (field, details) in [
            ("Name", "Invalid stack name"),
            ("SwarmID", "Invalid Swarm ID"),
            ("StackFileContent", "Invalid stack file content"),
        ] {
            if is_empty(field) && (field != "SwarmID" || kind == "swarm") {
                return error(400, "Invalid request payload", details);
            }
        }
        if self.state().is_taken(&name, environment) {
            let taken = format!("A stack with the normalized name '{name}' already exists");
            return error(409, &taken, &taken);
        }
        let text = body["StackFileContent"].as_str().unwrap_or_default();
        if family == Family::Asynchronous {
            let id = self.state().record(environment, &name, text, body["Env"].clone());
            let (text, env) = (text.to_owned(), body["Env"].clone());
            let deploy = Deploy { stack: id, text, env, prune: false, pull: true, afresh: false };
            return self.deploy_later(deploy);
        }
        if kind == "swarm" && self.state().swarm.has(&name) {
            let taken = format!("A stack with the name '{name}' already exists");
            return error(409, &taken, &taken);
        }
        // It takes its turn, and is recorded once it is deployed: two at once become two records of one stack.
        let _turn = self.deploying.lock().await;
        let takes = self.state().deploy_takes;
        sleep(takes).await;
        if let Err(said) = self.state().read(environment, (text, &body["Env"]), false) {
            return said_by_command(family, &said);
        }
        match self.create_stack(environment, &name, text, body["Env"].clone()) {
            Ok(id) => (200, self.state().show(id).to_string()),
            Err(said) => said_by_command(family, &said),
        }
    }

    /// Deploys, and keeps what came to be deployed: of a create that fails midway there is no record, its number is burnt,
    /// and the services of a swarm that were made before stay (reference, "POST /stacks/create").
    pub(super) fn create_stack(
        &self,
        environment: u64,
        name: &str,
        text: &str,
        env: Value,
    ) -> Result<u64, String> {
        let mut state = self.state();
        let stack = state.record(environment, name, text, env.clone());
        let deploy = Deploy { stack, text: text.to_owned(), env, prune: false, pull: true, afresh: false };
        let deployed = state.run(&deploy);
        if deployed.is_err() {
            state.stacks.remove(&stack);
        }
        deployed.map(|()| stack)
    }

    /// Removes what runs in a swarm without a record, by its name; a name that is nowhere goes as well (recorded: "delete
    /// external unknown").
    pub(super) fn delete_external(&self, name: &str, request: &Request) -> Answer {
        let mut state = self.state();
        if state.hidden.is_some() {
            return error(401, "Permission denied to delete the stack", "Access denied to resource");
        }
        if state.stacks.values().any(|record| record.name == name) {
            return error(
                400,
                "A stack with this name exists inside the database. Cannot use external delete method",
                "",
            );
        }
        if request.parameter("endpointId").and_then(|id| id.parse().ok()) == Some(SWARM) {
            state.swarm.remove(name);
        }
        (204, String::new())
    }

    /// A stack is recorded and shown at once; where its deploy fails, the record stays.
    pub(super) fn deploy_later(self: &Arc<Self>, deploy: Deploy) -> Answer {
        let id = deploy.stack;
        if let Some(record) = self.state().stacks.get_mut(&id) {
            record.status = 3;
        }
        let of_it = Arc::clone(self);
        tokio::spawn(async move { of_it.deploy(deploy).await });
        (200, self.state().show(id).to_string())
    }

    /// A start is a deploy: in a swarm it takes its turn, and it takes as long as any. A stop waits for nobody.
    pub(super) async fn set_running(&self, id: u64, runs: bool, request: &Request) -> Answer {
        let Some(record) = self.state().stacks.get(&id).cloned() else { return no_stack(id) };
        if let Err(refusal) = environment_of(self.state().family, request) {
            return refusal;
        }
        if runs && self.state().runs(&record) {
            let runs = format!("A stack with the name '{}' is already running", record.name);
            return error(409, &runs, &runs);
        }
        // Compose is started beside the queue of deploys.
        let _turn = if runs && record.kind == 1 { Some(self.deploying.lock().await) } else { None };
        let takes = if runs { self.state().deploy_takes } else { std::time::Duration::ZERO };
        sleep(takes).await;
        let mut state = self.state();
        if !runs && record.status == 2 {
            return error(400, "Stack is already inactive", "Stack is already inactive");
        }
        // Its network goes last, and is not made again before.
        if runs && record.kind == 1 && state.swarm.is_leaving(&record.name) {
            let name = &record.name;
            let services = services(&record.file, &record.env).unwrap_or_default();
            let first = services.first().map(|service| service.name.as_str()).unwrap_or_default();
            let why = format!(
                "{FIRST}\nfailed to create service {name}_{first}: Error response from daemon: network {name}_default not found\n"
            );
            return error(500, "Unable to start stack", &why);
        }
        if runs {
            let (text, env) = (record.file, record.env);
            let deploy = Deploy { stack: id, text, env, prune: true, pull: true, afresh: false };
            if let Err(said) = state.run(&deploy) {
                return error(500, "Unable to start stack", &format!("{said}\n"));
            }
        } else {
            state.take_down(&record);
        }
        if let Some(record) = state.stacks.get_mut(&id) {
            record.status = if runs { 1 } else { 2 };
        }
        (200, state.show(id).to_string())
    }

    /// It removes the stack of that name in the environment that was asked for, which need not be its own.
    pub(super) fn delete(&self, id: u64, request: &Request) -> Answer {
        let mut state = self.state();
        if !state.stacks.contains_key(&id) {
            return no_stack(id);
        }
        let environment = request.parameter("endpointId").and_then(|id| id.parse().ok()).unwrap_or(0);
        if !matches!(environment, SWARM | COMPOSE | ATTIC) {
            return no_environment("the endpoint associated to the stack", environment);
        }
        let Some(mut record) = state.stacks.remove(&id) else { return no_stack(id) };
        record.environment = environment;
        state.take_down(&record);
        (204, String::new())
    }
}

/// Names are made small, and lose what is no letter, digit, `-` or `_`, without a word (recorded: "create swarm string").
pub(super) fn normalized(name: &str) -> String {
    let known = |letter: &char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    name.to_lowercase().chars().filter(known).collect()
}

impl State {
    /// Keeps a stack of which nothing runs yet.
    pub(super) fn record(&mut self, environment: u64, name: &str, file: &str, env: Value) -> u64 {
        let id = self.next_stack;
        self.next_stack += 1;
        let kind = if matches!(environment, COMPOSE | ATTIC) { 2 } else { 1 };
        let record = Record {
            name: name.to_owned(),
            kind,
            environment,
            env,
            file: file.to_owned(),
            backup: file.to_owned(),
            status: 1,
            update_date: 0,
            git: Value::Null,
            auto_update: Value::Null,
            said: String::new(),
            option: Value::Null,
            cut_off: false,
            webhook: String::new(),
        };
        self.stacks.insert(id, record);
        id
    }

    pub(super) fn tick(&mut self) -> i64 {
        self.clock += 1;
        self.clock
    }

    /// Goes on with every rollout.
    pub(super) fn go_on(&mut self) {
        let rollout = self.rollout;
        self.swarm.go_on(rollout);
    }

    pub(super) fn compose(&mut self, environment: u64) -> &mut ComposeEngine {
        self.composes.entry(environment).or_default()
    }
}
