//! Stacks that are kept in git, and stacks that move. Every call replaces all of the settings.

use std::sync::Arc;

use serde_json::{Value, json};

use super::connections::Answer;
use super::stacks::{Deploy, error, no_stack, normalized};
use super::{ATTIC, COMPOSE, Family, SWARM, Shared, State};
use crate::fake_http::Request;

impl State {
    /// The file of a repository, read with what the body says and, where its password is empty, what is stored.
    fn clone_git(&self, url: &str, body: &Value, stored: &Value) -> Result<String, Answer> {
        let unreadable = || {
            let words = "Unable to clone git repository directory";
            let why = "Invalid git credential: authentication failed, please ensure that the git credentials are correct";
            error(500, words, why)
        };
        let Some((file, wanted)) = self.repositories.get(url) else { return Err(unreadable()) };
        let reference = body["RepositoryReferenceName"].as_str().unwrap_or_default();
        if !reference.is_empty() && !reference.starts_with("refs/") {
            return Err(error(500, "Unable to clone git repository directory", "could not find ref"));
        }
        let given = body["RepositoryPassword"].as_str().filter(|password| !password.is_empty());
        let password = match body["RepositoryAuthentication"] == true {
            true => given.or_else(|| stored["Authentication"]["Password"].as_str()),
            false => None,
        };
        match wanted {
            Some(wanted) if password != Some(wanted) => Err(unreadable()),
            Some(_) | None => Ok(file.clone()),
        }
    }
}

/// Authentication off deletes what is stored.
fn authentication(body: &Value, stored: &Value) -> Value {
    if body["RepositoryAuthentication"] != true {
        return Value::Null;
    }
    let given = body["RepositoryPassword"].as_str().filter(|password| !password.is_empty());
    let password = given.or_else(|| stored["Authentication"]["Password"].as_str()).unwrap_or_default();
    json!({"Username": body["RepositoryUsername"], "Password": password})
}

impl Shared {
    pub(super) async fn create_from_git(self: &Arc<Self>, kind: &str, request: &Request) -> Answer {
        let body = &request.body;
        let name = normalized(body["Name"].as_str().unwrap_or_default());
        let environment = request.parameter("endpointId").and_then(|id| id.parse().ok()).unwrap_or(0);
        let url = body["RepositoryURL"].as_str().unwrap_or_default();
        if kind == "swarm" && body["SwarmID"].as_str().is_none_or(str::is_empty) {
            return error(400, "Invalid request payload", "Invalid Swarm ID");
        }
        if self.state().is_taken(&name, environment) {
            let taken = format!("A stack with the normalized name '{name}' already exists");
            return error(409, &taken, &taken);
        }
        let cloned = self.state().clone_git(url, body, &Value::Null);
        let text = match cloned {
            Ok(text) => text,
            Err(answer) => return answer,
        };
        let is_later = self.state().family == Family::Asynchronous;
        let id = if is_later {
            self.state().record(environment, &name, &text, body["Env"].clone())
        } else {
            if let Err(said) = self.state().read(environment, (&text, &body["Env"]), false) {
                return error(500, &said, &said);
            }
            let _turn = self.deploying.lock().await;
            let takes = self.state().deploy_takes;
            tokio::time::sleep(takes).await;
            match self.create_stack(environment, &name, &text, body["Env"].clone()) {
                Ok(id) => id,
                Err(said) => return error(500, &said, &said),
            }
        };
        let mut state = self.state();
        if let Some(record) = state.stacks.get_mut(&id) {
            record.git = json!({
                "URL": url,
                "ReferenceName": body["RepositoryReferenceName"],
                "ConfigFilePath": body["ComposeFile"],
                "Authentication": authentication(body, &Value::Null),
                "TLSSkipVerify": false,
            });
            record.auto_update = body["AutoUpdate"].clone();
        }
        drop(state);
        if is_later {
            let env = body["Env"].clone();
            let deploy = Deploy { stack: id, text, env, prune: false, pull: true, afresh: false };
            return self.deploy_later(deploy);
        }
        (200, self.state().show(id).to_string())
    }

    pub(super) fn set_git(&self, id: u64, request: &Request) -> Answer {
        let body = &request.body;
        let mut state = self.state();
        let Some(record) = state.stacks.get(&id).cloned() else { return no_stack(id) };
        if !record.git.is_object() {
            return error(500, "Stack is not created from git", "stack is not created from git");
        }
        if request.parameter("endpointId").is_none() {
            return error(404, "Unable to find the environment associated to the stack", "Object not found");
        }
        // Without authentication the repository is not even asked.
        let url = record.git["URL"].as_str().unwrap_or_default();
        if body["RepositoryAuthentication"] == true
            && let Err(answer) = state.clone_git(url, body, &record.git)
        {
            return answer;
        }
        if let Some(record) = state.stacks.get_mut(&id) {
            record.git["Authentication"] = authentication(body, &record.git);
            record.git["ReferenceName"] = body["RepositoryReferenceName"].clone();
            record.auto_update = body["AutoUpdate"].clone();
            record.env = body["Env"].clone();
            record.option = json!({"Prune": body["Prune"] == true});
        }
        // It dates the record, though nothing is deployed.
        let now = state.tick();
        if let Some(record) = state.stacks.get_mut(&id) {
            record.update_date = now;
        }
        (200, state.show(id).to_string())
    }

    pub(super) async fn redeploy_git(self: &Arc<Self>, id: u64, request: &Request) -> Answer {
        let deploy = {
            let mut state = self.state();
            let Some(record) = state.stacks.get(&id).cloned() else { return no_stack(id) };
            if record.status == 3 {
                return error(409, "Unable to update stack", "Stack deployment is already in progress");
            }
            if !record.git.is_object() {
                return error(400, "Stack is not created from git", "Stack is not created from git");
            }
            let body = &request.body;
            let url = record.git["URL"].as_str().unwrap_or_default().to_owned();
            let text = match state.clone_git(&url, body, &record.git) {
                Ok(text) => text,
                Err(answer) => return answer,
            };
            if let Some(record) = state.stacks.get_mut(&id) {
                record.git["Authentication"] = authentication(body, &record.git);
                record.git["ReferenceName"] = body["RepositoryReferenceName"].clone();
                record.backup = std::mem::replace(&mut record.file, text.clone());
                record.option = json!({"Prune": body["Prune"] == true});
            }
            let afresh = state.family == Family::Asynchronous && record.status == 4;
            let (env, prune) = (body["Env"].clone(), body["Prune"] == true);
            Deploy { stack: id, text, env, prune, pull: true, afresh }
        };
        if self.state().family == Family::Asynchronous {
            return self.deploy_later(deploy);
        }
        self.deploy(deploy).await
    }

    /// One file, read with the login of the request alone: what is stored with a stack is not used.
    pub(super) fn preview_git(&self, request: &Request) -> Answer {
        let state = self.state();
        let url = request.body["repository"].as_str().unwrap_or_default().to_owned();
        let file = request.body["targetFile"].as_str().unwrap_or_default().to_owned();
        let is_open = state.repositories.get(&url).is_some_and(|(_, password)| password.is_none());
        if !is_open {
            return error(
                400,
                "Invalid git credential",
                "authentication failed, please ensure that the git credentials are correct",
            );
        }
        let begins_at = state.branches.get(&url).map_or("refs/heads/main", String::as_str);
        let reference = match request.body["reference"].as_str().unwrap_or_default() {
            // Of all its calls this one alone does not leave that to the repository.
            "" => "refs/heads/main",
            "HEAD" => begins_at,
            named => named,
        };
        if reference != begins_at {
            let words = format!("unable to clone git repository, error: reference not found: {reference}");
            return error(500, &words, &words);
        }
        match state.beside.get(&(url, file)) {
            Some(content) => (200, json!({"FileContent": content}).to_string()),
            None => {
                error(500, "Unable to retrieve custom template file from disk", "no such file or directory")
            }
        }
    }

    /// Deployed there, then taken away here; its update date stays.
    pub(super) fn migrate(&self, id: u64, request: &Request) -> Answer {
        let mut state = self.state();
        let Some(record) = state.stacks.get(&id).cloned() else { return no_stack(id) };
        let body = &request.body;
        let to = body["EndpointID"].as_u64().unwrap_or(0);
        if !matches!(to, SWARM | COMPOSE | ATTIC) {
            return error(
                404,
                "Unable to find an environment with the specified identifier",
                "Object not found",
            );
        }
        let name = body["Name"].as_str().filter(|name| !name.is_empty()).unwrap_or(&record.name).to_owned();
        if state.stacks.values().any(|one| one.name == name && one.environment == to) {
            return error(409, &format!("A stack with the name '{name}' already exists"), "name taken");
        }
        if let Some(there) = state.stacks.get_mut(&id) {
            there.environment = to;
            there.name = name;
        }
        let (text, env) = (record.file.clone(), record.env.clone());
        let deploy = Deploy { stack: id, text, env, prune: true, pull: true, afresh: false };
        if let Err(said) = state.run(&deploy) {
            state.stacks.insert(id, record);
            return error(500, &said, &said);
        }
        state.take_down(&record);
        (200, state.show(id).to_string())
    }
}
