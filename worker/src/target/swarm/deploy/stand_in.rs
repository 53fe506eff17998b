//! What the docker command would write, without writing it: it speaks to a stand-in here, which asks the engine whatever
//! the command asks, and takes down what it would write instead of passing that on.
//!
//! What a compose text comes to on a service is the docker command's to say; so a plan asks the command itself.

use std::{
    fs::File,
    io,
    os::fd::AsRawFd,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Json, Router,
    body::{self, Body},
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tokio::{net::UnixListener, task::AbortHandle};

use super::super::client::Client;

/// Its name in the directory of a run.
const SOCKET: &str = "engine.sock";
/// As the command calls it, which runs in a directory below: whole paths may be too long for a socket.
pub(super) const ADDRESS: &str = "unix://../engine.sock";
/// A spec with its configs; engines take no larger ones.
const LARGEST_BODY: usize = 8 << 20;
/// What an engine says to whoever changes what is in a config.
const UNCHANGEABLE: &str = "only updates to Labels are allowed";

/// What would have been written.
#[derive(Debug, Clone, Default)]
pub(super) struct Written {
    /// The specs of services, new ones too, in the order in which they were to be written.
    pub(super) services: Vec<Value>,
    /// Networks, configs and secrets that would be made: of which kind, and their specs.
    pub(super) made: Vec<(&'static str, Value)>,
    /// Secrets that are there already and would be written again.
    pub(super) secrets: Vec<String>,
}

/// One, for one run.
#[derive(Clone)]
pub(super) struct StandIn {
    client: Arc<Client>,
    written: Arc<Mutex<Written>>,
}

/// Listens until it is dropped.
pub(super) struct Listening(AbortHandle);

impl StandIn {
    pub(super) fn of(client: &Arc<Client>) -> StandIn {
        StandIn { client: Arc::clone(client), written: Arc::default() }
    }

    /// What the command would have written by now.
    pub(super) fn written(&self) -> Written {
        self.taken_down().clone()
    }

    /// Answers in `folder`, which nobody else can enter.
    pub(super) fn listen(&self, folder: &Path) -> io::Result<Listening> {
        let folder = File::open(folder)?;
        // The same directory by a short name.
        let listener = UnixListener::bind(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()))?;
        let router = Router::new().fallback(answer).with_state(self.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Listening(serving.abort_handle()))
    }

    fn taken_down(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn asks(&self, is_head: bool, uri: &Uri) -> Response {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let answer = match self.client.pass_on(is_head, path).await {
            Ok(answer) => answer,
            Err(error) => return refusal(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
        };
        let kind = kind_listed(uri.path());
        let body = match (kind, serde_json::from_slice::<Value>(&answer.body)) {
            (Some(kind), Ok(Value::Array(listed))) => self.with_those_made(kind, listed).to_string().into(),
            (_, Ok(_) | Err(_)) => answer.body,
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = answer.status;
        let told = ["content-type", "api-version", "ostype", "swarm", "server", "docker-experimental"];
        *response.headers_mut() = told
            .into_iter()
            .filter_map(|name| Some((name.parse().ok()?, answer.headers.get(name)?.clone())))
            .collect::<HeaderMap>();
        response
    }

    /// The command looks up what it has made.
    fn with_those_made(&self, kind: &str, mut listed: Vec<Value>) -> Value {
        let written = self.taken_down();
        let made = written.made.iter().filter(|(of, _)| *of == kind);
        listed.extend(made.map(|(_, spec)| json!({"ID": id_of(spec), "Spec": spec})));
        Value::Array(listed)
    }

    async fn writes(&self, request: Request) -> Response {
        let path = request.uri().path().to_owned();
        let Ok(body) = body::to_bytes(request.into_body(), LARGEST_BODY).await else {
            return refusal(StatusCode::PAYLOAD_TOO_LARGE, "too large");
        };
        let Ok(spec) = serde_json::from_slice::<Value>(&body) else {
            return refusal(StatusCode::BAD_REQUEST, "no JSON");
        };
        let parts: Vec<&str> = path.split('/').collect();
        match parts.as_slice() {
            [.., "services", "create"] | [.., "services", _, "update"] => {
                let id = id_of(&spec);
                self.taken_down().services.push(spec);
                (StatusCode::CREATED, Json(json!({"ID": id}))).into_response()
            }
            [.., "networks", "create"] => self.makes("networks", spec),
            [.., "configs", "create"] => self.makes("configs", spec),
            [.., "secrets", "create"] => self.makes("secrets", spec),
            [.., "configs", id, "update"] => self.changes_config(id, &spec).await,
            [.., "secrets", _, "update"] => {
                self.taken_down().secrets.extend(spec["Name"].as_str().map(str::to_owned));
                StatusCode::OK.into_response()
            }
            _ => refusal(StatusCode::NOT_IMPLEMENTED, "this is a plan: nothing is passed on"),
        }
    }

    fn makes(&self, kind: &'static str, spec: Value) -> Response {
        let id = id_of(&spec);
        self.taken_down().made.push((kind, spec));
        (StatusCode::CREATED, Json(json!({"ID": id, "Id": id, "Warning": ""}))).into_response()
    }

    /// As an engine would answer it: other labels are all that it takes.
    async fn changes_config(&self, id: &str, spec: &Value) -> Response {
        match self.client.config(id).await {
            Ok(Some(stands)) if stands["Spec"]["Data"] == spec["Data"] => StatusCode::OK.into_response(),
            Ok(_) => refusal(StatusCode::BAD_REQUEST, UNCHANGEABLE),
            Err(error) => refusal(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn answer(State(stand_in): State<StandIn>, request: Request) -> Response {
    let is_head = request.method() == Method::HEAD;
    match is_head || request.method() == Method::GET {
        // By itself: a whole request cannot be shared between threads.
        true => stand_in.asks(is_head, &request.uri().clone()).await,
        false => stand_in.writes(request).await,
    }
}

/// What a request lists of the things that the command makes and looks up again.
fn kind_listed(path: &str) -> Option<&'static str> {
    ["configs", "secrets"].into_iter().find(|kind| path.rsplit('/').next() == Some(kind))
}

/// An id for what is not there.
fn id_of(spec: &Value) -> String {
    format!("planned-{}", spec["Name"].as_str().unwrap_or_default())
}

fn refusal(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"message": message}))).into_response()
}
