//! The HTTP API as its callers see it: one call for each thing asked, errors by what they mean.

mod session;

use std::{net::IpAddr, time::Duration};

use proto::{
    JobId, Operation, State, TargetName,
    api::{
        Accepted, DeadPage, Discarded, JobName, JobPage, Problem, Shown, StackList, StacksFound,
        StacksSought, TargetList, TargetPlan, TargetStatus, Wish,
    },
    ask::PortainerStackShown,
};
use reqwest::{RequestBuilder, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::{exit::Exit, failure::Failure, server::Server, typed};

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// An event stream says at least that it is alive more often than this.
const STREAM_SILENCE: Duration = Duration::from_secs(60);
/// Times a wish is sent when the connection breaks: with one idempotency key it is one wish.
const SENDINGS: u32 = 3;

/// Speaks to one Longshore.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    server: Server,
    /// Of the session that is used where no token was found.
    live: Mutex<Option<session::Live>>,
}

/// Why Longshore did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// No answer at all.
    #[error("cannot reach Longshore at {url}")]
    Unreachable { url: String, source: reqwest::Error },
    /// It cannot serve now; the same later may do.
    #[error("Longshore at {url} cannot take this now: {}", .problem.detail)]
    Unavailable { url: String, problem: Problem },
    /// It is there, and the system behind the target is not.
    #[error("the target cannot be looked at now: {}", .0.detail)]
    TargetAway(Problem),
    /// The token is missing or wrong.
    #[error("Longshore at {url} refuses the token: {}", .problem.detail)]
    Unauthorized { url: String, token_place: String, had_token: bool, problem: Problem },
    /// It understood and refused.
    #[error("{}", .0.detail)]
    Refused(Problem),
    /// It answered what a Longshore does not answer.
    #[error("what answers at {url} is not Longshore, or another version of it (status {status})")]
    NotLongshore { url: String, status: StatusCode },
}

impl ClientError {
    /// The code for the shell.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            ClientError::Unreachable { .. }
            | ClientError::Unavailable { .. }
            | ClientError::TargetAway(_)
            | ClientError::NotLongshore { .. } => Exit::NotReached,
            ClientError::Unauthorized { .. } | ClientError::Refused(_) => Exit::Refused,
        }
    }

    /// Whether the same call may succeed in a moment.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            ClientError::Unreachable { .. }
            | ClientError::Unavailable { .. }
            | ClientError::TargetAway(_) => true,
            // A proxy in front of a Longshore that starts anew answers for it.
            ClientError::NotLongshore { status, .. } => status.is_server_error(),
            ClientError::Unauthorized { .. } | ClientError::Refused(_) => false,
        }
    }

    /// What to do next.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            ClientError::Unreachable { .. } => Some(
                "start one with `longshore up`, or set LONGSHORE_URL to the address of the one you mean"
                    .to_owned(),
            ),
            ClientError::NotLongshore { .. } => {
                Some("set LONGSHORE_URL to the address of your Longshore".to_owned())
            }
            ClientError::Unauthorized { token_place, had_token: true, .. } => {
                Some(format!("the token came from {token_place}; set LONGSHORE_TOKEN to a valid one"))
            }
            ClientError::Unauthorized { token_place, had_token: false, .. } => Some(format!(
                "no token was found in {token_place}; set LONGSHORE_TOKEN, or log in with `{} login`",
                typed::program()
            )),
            ClientError::Unavailable { problem, .. }
            | ClientError::TargetAway(problem)
            | ClientError::Refused(problem) => Some(problem.hint.clone()).filter(|hint| !hint.is_empty()),
        }
    }
}

impl Client {
    /// A client of `server`; nothing is connected yet.
    ///
    /// # Errors
    /// When the machine's TLS cannot be set up.
    pub(crate) fn new(server: Server) -> Result<Client, Failure> {
        // Fails only when another one is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder()
            .user_agent(concat!("longshore/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_WITHIN)
            .read_timeout(STREAM_SILENCE)
            .redirect(reqwest::redirect::Policy::none());
        let builder = if is_this_machine(&server.url) { builder.no_proxy() } else { builder };
        let http = builder.build().map_err(|error| {
            Failure::setup(
                format!("cannot set up HTTPS: {}", crate::failure::with_causes(&error)),
                "check the certificates that this machine trusts (SSL_CERT_FILE, SSL_CERT_DIR)",
            )
        })?;
        Ok(Client { http, server, live: Mutex::default() })
    }

    /// The address of the Longshore that it speaks to.
    pub(crate) fn url(&self) -> &str {
        &self.server.url
    }

    /// Asks for a deploy. Sent again when the connection breaks on the way: it stays one wish.
    pub(crate) async fn deploy(&self, wish: &Wish) -> Result<Accepted, ClientError> {
        let key = Uuid::now_v7().to_string();
        let mut sent = 0;
        loop {
            let request = self.http.post(self.address("/v1/jobs")).timeout(ANSWER_WITHIN);
            let answer = self.send(request.header("Idempotency-Key", &key).json(wish)).await;
            sent += 1;
            match answer {
                Err(ClientError::Unreachable { source, .. }) if !source.is_connect() && sent < SENDINGS => {}
                other => return self.decode(other?).await,
            }
        }
    }

    /// One job with its events, or what died and is none.
    pub(crate) async fn job(&self, name: JobName) -> Result<Shown, ClientError> {
        self.get(&format!("/v1/jobs/{name}"), &[]).await
    }

    /// Replays what died; `force`: also where a newer one was applied since.
    pub(crate) async fn replay(&self, name: JobName, force: bool) -> Result<Accepted, ClientError> {
        let force = if force { "?force=true" } else { "" };
        self.post(&format!("/v1/jobs/{name}/replay{force}")).await
    }

    /// Approves what is held for it; `force`: also where a newer one was applied since.
    pub(crate) async fn approve(&self, id: JobId, force: bool) -> Result<Accepted, ClientError> {
        let force = if force { "?force=true" } else { "" };
        self.post(&format!("/v1/jobs/{id}/approve{force}")).await
    }

    /// Discards what died; `force`: also what could be replayed, were it known who left it.
    pub(crate) async fn discard(&self, name: JobName, force: bool) -> Result<Discarded, ClientError> {
        let force = if force { "?force=true" } else { "" };
        self.post(&format!("/v1/jobs/{name}/discard{force}")).await
    }

    /// Calls a job off; the answer names the job that does it.
    pub(crate) async fn cancel(&self, id: JobId) -> Result<Accepted, ClientError> {
        self.post(&format!("/v1/jobs/{id}/cancel")).await
    }

    /// Has an image that was rolled back tried again; the answer names the job that does it.
    pub(crate) async fn release(&self, target: &TargetName) -> Result<Accepted, ClientError> {
        self.post(&format!("/v1/targets/{}/{}/release", target.pool(), target.name())).await
    }

    /// What could not be carried out, the newest death first.
    pub(crate) async fn dead(
        &self,
        target: Option<&TargetName>,
        limit: u16,
    ) -> Result<DeadPage, ClientError> {
        let mut query = vec![("limit", limit.to_string()), ("state", State::Dead.to_string())];
        query.extend(target.map(|target| ("target", target.to_string())));
        self.get("/v1/jobs", &query).await
    }

    /// How a target stands now.
    pub(crate) async fn target(&self, name: &TargetName) -> Result<TargetStatus, ClientError> {
        self.get(&format!("/v1/targets/{name}"), &[]).await
    }

    /// What an operation would change on a target.
    pub(crate) async fn plan(
        &self,
        target: &TargetName,
        operation: &Operation,
    ) -> Result<TargetPlan, ClientError> {
        let request = self.http.post(self.address(&format!("/v1/targets/{target}/plan")));
        let body = serde_json::json!({"operation": operation});
        self.decode(self.send(request.timeout(ANSWER_WITHIN).json(&body)).await?).await
    }

    /// The newest jobs.
    pub(crate) async fn jobs(
        &self,
        target: Option<&TargetName>,
        state: Option<State>,
        limit: u16,
    ) -> Result<JobPage, ClientError> {
        let mut query = vec![("limit", limit.to_string())];
        query.extend(target.map(|target| ("target", target.to_string())));
        query.extend(state.map(|state| ("state", state.to_string())));
        self.get("/v1/jobs", &query).await
    }

    /// Which targets some stacks of a Portainer are.
    pub(crate) async fn find(&self, sought: &StacksSought) -> Result<StacksFound, ClientError> {
        let request = self.http.post(self.address("/v1/targets/find")).timeout(ANSWER_WITHIN);
        self.decode(self.send(request.json(sought)).await?).await
    }

    /// Every stack of every Portainer.
    pub(crate) async fn stacks(&self) -> Result<StackList, ClientError> {
        self.get("/v1/stacks", &[]).await
    }

    /// The stack of a Portainer that a target is, where it is one: no other is asked for.
    pub(crate) async fn stack_of(
        &self,
        target: &TargetName,
    ) -> Result<Option<PortainerStackShown>, ClientError> {
        let list: StackList = self.get("/v1/stacks", &[("target", target.to_string())]).await?;
        Ok(list.stacks.into_iter().find(|stack| stack.target.as_ref() == Some(target)))
    }

    /// The targets.
    pub(crate) async fn targets(&self) -> Result<TargetList, ClientError> {
        self.get("/v1/targets", &[]).await
    }

    /// Opens an event stream, behind the message named `after` where one is.
    pub(crate) async fn events(&self, path: &str, after: Option<&str>) -> Result<Response, ClientError> {
        let request = self.http.get(self.address(path)).header("Accept", "text/event-stream");
        let request = match after {
            Some(id) => request.header("Last-Event-ID", id),
            None => request,
        };
        let opened = tokio::time::timeout(ANSWER_WITHIN, self.send(request));
        match opened.await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::NotLongshore {
                url: self.server.url.clone(),
                status: StatusCode::GATEWAY_TIMEOUT,
            }),
        }
    }

    /// An error of a connection that broke while it was read.
    pub(crate) fn broken(&self, source: reqwest::Error) -> ClientError {
        ClientError::Unreachable { url: self.server.url.clone(), source: source.without_url() }
    }

    /// Sends a hook, without the token, and gives the answer.
    pub(crate) async fn deliver(
        &self,
        path: &str,
        is_get: bool,
        headers: impl Iterator<Item = (&str, &str)>,
        body: Vec<u8>,
    ) -> Result<serde_json::Value, ClientError> {
        let address = self.address(path);
        let request = if is_get { self.http.get(address) } else { self.http.post(address) };
        let request = headers.fold(request, |request, (name, value)| request.header(name, value));
        let response = request.timeout(ANSWER_WITHIN).body(body).send().await;
        let response = response.map_err(|error| self.broken(error))?;
        let status = response.status();
        if status.is_success() {
            return self.decode(response).await;
        }
        let problem = response.json::<Problem>().await.ok();
        Err(match (status, problem) {
            // Not about the token, which was not sent.
            (StatusCode::UNAUTHORIZED, Some(problem)) => ClientError::Refused(problem),
            (status, problem) => self.meaning(status, problem),
        })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T, ClientError> {
        let request = self.http.get(self.address(path)).query(query).timeout(ANSWER_WITHIN);
        self.decode(self.send(request).await?).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let request = self.http.post(self.address(path)).timeout(ANSWER_WITHIN);
        self.decode(self.send(request).await?).await
    }

    fn address(&self, path: &str) -> String {
        format!("{}{path}", self.server.url)
    }

    /// Sends a request and tells a refusal by its meaning.
    async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let request = match self.token().await? {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        };
        let response = request.send().await.map_err(|error| self.broken(error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let problem = response.json::<Problem>().await.ok();
        Err(self.meaning(status, problem))
    }

    fn meaning(&self, status: StatusCode, problem: Option<Problem>) -> ClientError {
        let url = self.server.url.clone();
        let Some(mut problem) = problem else {
            return ClientError::NotLongshore { url, status };
        };
        // Longshore's own hint speaks to callers of the API.
        let (program, reach) = (typed::program(), &self.server.reach);
        let hint = match problem.type_url.as_str() {
            "/problems/unknown-target" => Some(format!("`{program} targets{reach}` lists them")),
            "/problems/unknown-job" => Some(format!("`{program} jobs{reach}` lists them")),
            "/problems/not-dead" | "/problems/already-closed" => {
                Some(format!("`{program} jobs --state dead{reach}` lists those that wait"))
            }
            "/problems/needs-no-approval" => {
                Some(format!("`{program} jobs --state held{reach}` lists what waits, and for what"))
            }
            "/problems/newer-applied" => {
                Some("to put the older one over it all the same, add --force".to_owned())
            }
            _ => None,
        };
        problem.hint = hint.unwrap_or(problem.hint);
        match status {
            StatusCode::UNAUTHORIZED => ClientError::Unauthorized {
                url,
                token_place: self.server.token_place.clone(),
                had_token: self.server.token.is_some() || self.server.login.is_some(),
                problem,
            },
            _ if problem.type_url == "/problems/target-unreadable" => ClientError::TargetAway(problem),
            StatusCode::TOO_MANY_REQUESTS => ClientError::Unavailable { url, problem },
            status if status.is_server_error() => ClientError::Unavailable { url, problem },
            _ => ClientError::Refused(problem),
        }
    }

    async fn decode<T: DeserializeOwned>(&self, response: Response) -> Result<T, ClientError> {
        let status = response.status();
        let body = response.bytes().await.map_err(|error| self.broken(error))?;
        serde_json::from_slice(&body)
            .map_err(|_| ClientError::NotLongshore { url: self.server.url.clone(), status })
    }
}

/// Whether the address is of this machine, where no proxy can stand in between.
fn is_this_machine(url: &str) -> bool {
    let host = Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}
