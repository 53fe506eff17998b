//! Each call that is made to Portainer, and to the Docker engine behind it.

use std::{fmt, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    super::{
        answer::{Answer, Call, Failure, cut},
        objects::{Env, Environment, Stack, StackKind},
    },
    Client, Request,
};
use crate::target::{CALL_TIMEOUT, TargetError};

/// Longest wait for a deploy. Portainer carries out one after the other and answers when the docker command is done.
pub(in super::super) const DEPLOY_WITHIN: Duration = Duration::from_secs(300);

/// What a stack is to be.
pub(in super::super) struct Update<'a> {
    pub(in super::super) text: &'a str,
    pub(in super::super) env: &'a Env,
    pub(in super::super) prune: bool,
    /// Whether tags are looked up again; a stack of Compose pulls before it touches anything.
    pub(in super::super) pull: bool,
}

/// As whom Portainer is asked.
pub(in super::super) struct Who {
    /// None where that version does not tell.
    name: Option<String>,
    /// Nobody else sees every stack.
    pub(in super::super) is_administrator: bool,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "the user `{name}`"),
            None => f.write_str("the user of these credentials"),
        }
    }
}

impl Client {
    /// Every environment that we may see.
    pub(in super::super) async fn environments(&self) -> Result<Vec<Environment>, TargetError> {
        let call = Call::read("list the environments", "environments").known_to_all();
        let listed = self.ask(Request::get("/endpoints").query("excludeSnapshots", true), call).await?;
        self.list(listed, call, Environment::of)
    }

    /// Every stack that we may see, of all environments: the filters of this list leave out stacks that they should
    /// have.
    pub(in super::super) async fn stacks(&self) -> Result<Vec<Stack>, TargetError> {
        let call = Call::read("list the stacks", "stacks").known_to_all();
        let listed = self.ask(Request::get("/stacks"), call).await?;
        self.list(listed, call, Stack::of)
    }

    fn list<T>(
        &self,
        listed: Value,
        call: Call<'_>,
        read: fn(&Value) -> Option<T>,
    ) -> Result<Vec<T>, TargetError> {
        let nonsense = || Failure::Nonsense(format!("no list of {}", call.what)).of(self.system(), call);
        match listed {
            Value::Null => Ok(Vec::new()),
            Value::Array(all) => Ok(all.iter().filter_map(read).collect()),
            Value::Object(_) | Value::String(_) | Value::Bool(_) | Value::Number(_) => Err(nonsense()),
        }
    }

    pub(in super::super) async fn stack(&self, id: u64, name: &str) -> Result<Stack, TargetError> {
        let what = format!("stack `{name}`");
        let call = Call::read("show the stack", &what).known_to_all();
        let shown = self.ask(Request::get(format!("/stacks/{id}")), call).await?;
        let nonsense = || Failure::Nonsense("a stack without a number".to_owned()).of(self.system(), call);
        Stack::of(&shown).ok_or_else(nonsense)
    }

    /// The file of a stack, byte for byte.
    pub(in super::super) async fn file(&self, stack: &Stack) -> Result<String, TargetError> {
        let what = format!("file of the stack `{}`", stack.name);
        let call = Call::read("show the stack's file", &what).known_to_all();
        let shown = self.ask(Request::get(format!("/stacks/{}/file", stack.id)), call).await?;
        let nonsense = || Failure::Nonsense("no text of the file".to_owned()).of(self.system(), call);
        shown["StackFileContent"].as_str().map(str::to_owned).ok_or_else(nonsense)
    }

    /// Writes a stack. Everything that is left out of this call would be emptied.
    pub(in super::super) async fn update(&self, stack: &Stack, update: &Update<'_>) -> Result<(), Failure> {
        let mut body = json!({
            "StackFileContent": update.text,
            "Env": update.env.to_json(),
            "Prune": update.prune,
            // The older name, and the one of 2.36 and later.
            "PullImage": update.pull,
            "RepullImageAndRedeploy": update.pull,
        });
        // What the business edition keeps of a stack beside its file; the other one does not read it.
        if let Some(webhook) = &stack.webhook {
            body["Webhook"] = json!(webhook);
        }
        if stack.git.is_none() && !stack.auto_update.is_null() {
            body["AutoUpdate"] = stack.auto_update.clone();
        }
        let request = Request::new(Method::PUT, format!("/stacks/{}", stack.id))
            .of(stack)
            .query("endpointId", stack.environment)
            .body(&body)
            .within(DEPLOY_WITHIN);
        self.send(&request).await.and_then(Answer::json).map(drop)
    }

    /// Makes a stack of a text. `swarm`: the number of the swarm that it is for, where it is for one.
    pub(in super::super) async fn create(
        &self,
        (name, environment): (&str, u64),
        swarm: Option<&str>,
        update: &Update<'_>,
    ) -> Result<(), Failure> {
        let mut body = json!({"Name": name, "StackFileContent": update.text, "Env": update.env.to_json()});
        let (kind, number) = match swarm {
            Some(swarm) => {
                body["SwarmID"] = json!(swarm);
                ("swarm", 1)
            }
            None => ("standalone", 2),
        };
        self.make((kind, number, "string"), environment, &body).await
    }

    /// Makes a stack by the route of the newer versions, and where they do not know it, by the older one.
    pub(super) async fn make(
        &self,
        (kind, number, method): (&str, u8, &str),
        environment: u64,
        body: &Value,
    ) -> Result<(), Failure> {
        let request = Request::new(Method::POST, format!("/stacks/create/{kind}/{method}"))
            .query("endpointId", environment)
            .body(body)
            .within(DEPLOY_WITHIN);
        let answer = self.send(&request).await?;
        if !matches!(answer.status.as_u16(), 404 | 405) || answer.json_says_something() {
            return answer.json().map(drop);
        }
        // As it was until 2.19.
        let request = Request::new(Method::POST, "/stacks")
            .query("type", number)
            .query("method", method)
            .query("endpointId", environment)
            .body(body)
            .within(DEPLOY_WITHIN);
        self.send(&request).await.and_then(Answer::json).map(drop)
    }

    /// Starts a stack that was stopped, or stops one.
    pub(in super::super) async fn set_running(&self, stack: &Stack, runs: bool) -> Result<(), Failure> {
        let verb = if runs { "start" } else { "stop" };
        let request = Request::new(Method::POST, format!("/stacks/{}/{verb}", stack.id))
            .of(stack)
            .query("endpointId", stack.environment)
            .within(DEPLOY_WITHIN);
        self.send(&request).await.and_then(Answer::json).map(drop)
    }

    /// Moves a stack to another environment, and to its swarm where it has one.
    pub(in super::super) async fn migrate(
        &self,
        stack: &Stack,
        (environment, swarm, name): (u64, Option<&str>, &str),
    ) -> Result<(), Failure> {
        let mut body = json!({"EndpointID": environment, "Name": name});
        if let Some(swarm) = swarm {
            body["SwarmID"] = json!(swarm);
        }
        let request = Request::new(Method::POST, format!("/stacks/{}/migrate", stack.id))
            .of(stack)
            .query("endpointId", stack.environment)
            .body(&body)
            .within(DEPLOY_WITHIN);
        self.send(&request).await.and_then(Answer::json).map(drop)
    }

    /// Removes a stack. Always with its own environment: with another one, that one's stack of the same name goes.
    pub(in super::super) async fn delete(&self, stack: &Stack) -> Result<(), Failure> {
        let request = Request::new(Method::DELETE, format!("/stacks/{}", stack.id))
            .of(stack)
            .query("endpointId", stack.environment)
            .query("external", false)
            .within(DEPLOY_WITHIN);
        self.send(&request).await.and_then(Answer::json).map(drop)
    }

    /// Removes the services of a swarm that run under the name of a stack that Portainer has no record of.
    pub(in super::super) async fn delete_unrecorded(
        &self,
        name: &str,
        environment: u64,
    ) -> Result<(), Failure> {
        let request = Request::new(Method::DELETE, format!("/stacks/{name}"))
            .query("endpointId", environment)
            .query("external", true)
            .within(DEPLOY_WITHIN);
        self.send(&request).await.and_then(Answer::json).map(drop)
    }

    /// What version it is.
    pub(in super::super) async fn version(&self) -> Result<String, TargetError> {
        let call = Call::read("tell its version", "page that tells the version");
        // Its older name is known to all versions, and to newer ones still.
        let status = match self.ask(Request::get("/system/status"), call).await {
            Err(
                TargetError::Refused { .. } | TargetError::OtherServer { .. } | TargetError::NotFound { .. },
            ) => self.ask(Request::get("/status"), call).await?,
            other => other?,
        };
        let version = status["Version"].as_str().map(str::to_owned);
        version.ok_or_else(|| Failure::Nonsense(cut(status.to_string())).of(self.system(), call))
    }

    /// As whom we ask.
    pub(in super::super) async fn who(&self) -> Result<Who, TargetError> {
        let call = Call::read("tell who asks", "page that tells who asks");
        let me = match self.ask(Request::get("/users/me"), call).await {
            Err(
                TargetError::Refused { .. } | TargetError::OtherServer { .. } | TargetError::NotFound { .. },
            ) => {
                return self.who_of_old().await;
            }
            other => other?,
        };
        let name = me["Username"].as_str().map(str::to_owned);
        Ok(Who { name, is_administrator: me["Role"].as_u64() == Some(1) })
    }

    /// Versions before 2.20 do not tell; their settings they show to administrators alone. (Their list of registries they
    /// show to everybody, cut down to what each may use.)
    async fn who_of_old(&self) -> Result<Who, TargetError> {
        let call = Call::read("tell who asks", "settings");
        match self.ask(Request::get("/settings"), call).await {
            Ok(_) => Ok(Who { name: None, is_administrator: true }),
            Err(TargetError::CredentialsRefused { .. }) => Ok(Who { name: None, is_administrator: false }),
            Err(error) => Err(error),
        }
    }

    /// Asks the Docker engine of an environment.
    pub(in super::super) async fn docker(
        &self,
        environment: u64,
        (path, filters): (&str, Option<Value>),
        call: Call<'_>,
    ) -> Result<Value, TargetError> {
        let mut request = Request::get(format!("/endpoints/{environment}/docker/{path}"));
        if let Some(filters) = filters {
            request = request.query("filters", filters);
        }
        if path == "containers/json" {
            request = request.query("all", 1);
        }
        // The way to the engine is older than any version that is still about.
        self.ask(request, call.known_to_all()).await
    }

    /// What the registry has under a reference, asked through the engine of an environment.
    pub(in super::super) async fn distribution(
        &self,
        environment: u64,
        (reference, key): (&str, Option<&str>),
    ) -> Result<Answer, Failure> {
        let mut request =
            Request::get(format!("/endpoints/{environment}/docker/distribution/{reference}/json"));
        request.registry_key = key;
        self.send(&request).await
    }

    /// Has the Docker engine of an environment do something.
    pub(in super::super) async fn have_docker(
        &self,
        environment: u64,
        asked: (&str, &[(&'static str, String)], &Value),
        call: Call<'_>,
    ) -> Result<Value, TargetError> {
        self.have_docker_within(CALL_TIMEOUT, environment, asked, call).await
    }

    /// The same of what takes its time.
    pub(in super::super) async fn have_docker_within(
        &self,
        within: Duration,
        environment: u64,
        (path, query, body): (&str, &[(&'static str, String)], &Value),
        call: Call<'_>,
    ) -> Result<Value, TargetError> {
        let path = format!("/endpoints/{environment}/docker/{path}");
        let mut request = Request::new(Method::POST, path).within(within);
        // A body that nobody reads is one that Portainer may fail to hand on, and then the answer is lost.
        request.body = (!body.is_null()).then_some(body);
        request.query.extend(query.iter().cloned());
        let answer = self.send(&request).await;
        let failure = match answer {
            Ok(answer) if answer.words().contains("update out of sequence") => {
                return Err(TargetError::Conflict);
            }
            Ok(answer) => match answer.json() {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            },
            Err(failure) => failure,
        };
        Err(failure.of(self.system(), call))
    }
}

impl StackKind {
    /// The label by which an engine knows what belongs to a stack.
    pub(in super::super) fn label(self) -> &'static str {
        match self {
            StackKind::Swarm | StackKind::Kubernetes => "com.docker.stack.namespace",
            StackKind::Compose => "com.docker.compose.project",
        }
    }
}
