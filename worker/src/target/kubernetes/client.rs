//! The calls made to one API server, wherever it is reached: directly, or below a path of something that stands before
//! it. JSON over HTTP; nothing of an object is lost on its way, since none is turned into types.

use std::{
    num::NonZeroUsize,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use config::Secret;
use reqwest::{
    Method, RequestBuilder, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, HeaderValue},
};
use serde_json::Value;

use super::answer::{meaning, object};
use crate::target::{
    CALL_TIMEOUT, TargetError, web,
    wire::{Answer, Call, Failure, Places, answer_to},
};

/// Calls that one worker has under way at an API server at once, where the configuration does not say.
pub(in crate::target) const DEFAULT_AT_ONCE: NonZeroUsize = NonZeroUsize::new(8).unwrap();

/// Who wrote a field, as `metadata.managedFields` tells it.
pub(in crate::target) const FIELD_MANAGER: &str = "longshore";

/// So many objects of a list come at once.
const PAGE: &str = "500";
/// What a server says of a kind that it does not have, in place of the name of an object.
const NO_SUCH_RESOURCE: &str = "the server could not find the requested resource";
/// A list that goes on for ever is none.
const MOST_PAGES: usize = 200;

/// The calls of one system.
pub(in crate::target) struct Client {
    system: String,
    way: Arc<dyn Way>,
    /// Whether the server, of before 1.21, knows cron jobs under the former version of their group alone.
    has_old_cron_jobs: Arc<AtomicBool>,
}

/// How a request gets to an API server: straight, or through what stands before it.
#[async_trait]
pub(in crate::target) trait Way: Send + Sync {
    /// Asks; whatever was answered.
    async fn send(&self, request: &Request<'_>) -> Result<Answer, Failure>;
}

/// The straight way, for so many calls at once.
struct Straight {
    system: String,
    access: Access,
    places: Places,
}

/// Where an API server is, and who asks it.
pub(in crate::target) struct Access {
    /// Its address, with the path below which it answers where that is not the root: `https://10.0.0.1:6443`,
    /// `https://rancher.lan/k8s/clusters/c-x`. Without a slash at its end.
    pub(in crate::target) base: String,
    /// Made by [`http`] or with the same care: no redirects, a time for connecting.
    pub(in crate::target) http: reqwest::Client,
    pub(in crate::target) credential: Credential,
}

/// How an API server is told who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::target) enum Credential {
    /// By the certificate of the client that asks, or not at all.
    Certificate,
    Bearer(Secret),
    /// A token that somebody else renews: read anew for each call.
    BearerFile(PathBuf),
    Basic {
        username: String,
        password: Secret,
    },
}

/// How a patch is to be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::target) enum Patch {
    /// Lists of containers, of variables and the like are merged by name.
    StrategicMerge,
}

/// What a connection to an API server trusts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::target) struct Trust {
    /// PEM certificates of the authorities that vouch for the server; the machine's own without.
    pub(in crate::target) ca: Option<String>,
    /// Take any certificate.
    pub(in crate::target) insecure: bool,
    /// PEM of the certificate and the key to show.
    pub(in crate::target) identity: Option<Secret>,
}

/// A request less who asks.
#[derive(Clone)]
pub(in crate::target) struct Request<'a> {
    pub(in crate::target) method: Method,
    /// Below the base, with its slash: `/apis/apps/v1/namespaces/default/deployments/web`.
    pub(in crate::target) path: &'a str,
    pub(in crate::target) query: Vec<(&'static str, String)>,
    pub(in crate::target) body: Option<(&'static str, &'a Value)>,
    pub(in crate::target) within: Duration,
}

impl<'a> Request<'a> {
    pub(in crate::target) fn new(method: Method, path: &'a str) -> Request<'a> {
        Request { method, path, query: Vec::new(), body: None, within: CALL_TIMEOUT }
    }

    pub(in crate::target) fn query(mut self, name: &'static str, value: impl ToString) -> Request<'a> {
        self.query.push((name, value.to_string()));
        self
    }

    pub(in crate::target) fn json(mut self, body: &'a Value) -> Request<'a> {
        self.body = Some(("application/json", body));
        self
    }
}

impl Client {
    /// Calls at the API server that messages call `system`. Nothing is connected yet.
    pub(in crate::target) fn new(
        system: &str,
        access: Access,
        at_once: Option<NonZeroUsize>,
    ) -> Result<Client, TargetError> {
        let places = Places::new(at_once.unwrap_or(DEFAULT_AT_ONCE))
            .map_err(|error| TargetError::Unreachable { system: system.to_owned(), source: error.into() })?;
        let straight = Straight { system: system.to_owned(), access, places };
        Ok(Client::through(system, Arc::new(straight)))
    }

    /// Calls at an API server that is reached in another way.
    pub(in crate::target) fn through(system: &str, way: Arc<dyn Way>) -> Client {
        Client { system: system.to_owned(), way, has_old_cron_jobs: Arc::default() }
    }

    pub(in crate::target) fn system(&self) -> &str {
        &self.system
    }

    /// One object.
    ///
    /// # Errors
    /// [`TargetError::NotFound`] where there is none.
    pub(in crate::target) async fn get(&self, path: &str, call: Call<'_>) -> Result<Value, TargetError> {
        self.ask(Request::new(Method::GET, path), call).await
    }

    /// All objects of a collection that have the labels of `selector`, page by page.
    pub(in crate::target) async fn list(
        &self,
        path: &str,
        selector: Option<&str>,
        call: Call<'_>,
    ) -> Result<Vec<Value>, TargetError> {
        let mut all = Vec::new();
        let mut next = String::new();
        for _ in 0..MOST_PAGES {
            let mut request = Request::new(Method::GET, path).query("limit", PAGE);
            if let Some(selector) = selector {
                request = request.query("labelSelector", selector);
            }
            if !next.is_empty() {
                request = request.query("continue", &next);
            }
            let mut page = self.ask(request, call).await?;
            let is_list = page["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
            let items = page["items"].take();
            // Old servers write an empty list as null.
            let is_empty = is_list && items.is_null();
            if !items.is_array() && !is_empty {
                return Err(meaning(Failure::Nonsense("no list".to_owned()), &self.system, call));
            }
            if let Value::Array(items) = items {
                all.extend(items);
            }
            next = page.pointer("/metadata/continue").and_then(Value::as_str).unwrap_or_default().to_owned();
            if next.is_empty() {
                break;
            }
        }
        Ok(all)
    }

    /// Changes an object by what `patch` says of it; the object as it is then. A `metadata.resourceVersion` in the
    /// patch is a condition, and the failure of it is told as [`TargetError::Conflict`] by [`meaning`].
    pub(in crate::target) async fn patch(
        &self,
        path: &str,
        (how, patch): (Patch, &Value),
    ) -> Result<Value, Failure> {
        let kind = match how {
            Patch::StrategicMerge => "application/strategic-merge-patch+json",
        };
        let mut request = Request::new(Method::PATCH, path).query("fieldManager", FIELD_MANAGER);
        request.body = Some((kind, patch));
        self.send(&request).await.and_then(object)
    }

    /// Has the server make something of `body`, a review or an object.
    pub(in crate::target) async fn post(
        &self,
        path: &str,
        body: &Value,
        call: Call<'_>,
    ) -> Result<Value, TargetError> {
        self.ask(Request::new(Method::POST, path).json(body), call).await
    }

    pub(in crate::target) async fn delete(&self, path: &str, call: Call<'_>) -> Result<(), TargetError> {
        self.ask(Request::new(Method::DELETE, path), call).await.map(drop)
    }

    /// Asks, and takes a success with an object.
    pub(in crate::target) async fn ask(
        &self,
        request: Request<'_>,
        call: Call<'_>,
    ) -> Result<Value, TargetError> {
        let answer = self.send(&request).await.and_then(object);
        answer.map_err(|failure| meaning(failure, &self.system, call))
    }

    /// Asks; whatever was answered.
    pub(in crate::target) async fn send(&self, request: &Request<'_>) -> Result<Answer, Failure> {
        let Some(former) = former_path(request.path) else { return self.way.send(request).await };
        if !self.has_old_cron_jobs.load(Ordering::Relaxed) {
            let answer = self.way.send(request).await?;
            if answer.status != StatusCode::NOT_FOUND || !answer.body.contains(NO_SUCH_RESOURCE) {
                return Ok(answer);
            }
        }
        let request = Request { path: &former, ..request.clone() };
        let answer = self.way.send(&request).await?;
        let knows = answer.status != StatusCode::NOT_FOUND || !answer.body.contains(NO_SUCH_RESOURCE);
        self.has_old_cron_jobs.store(knows, Ordering::Relaxed);
        Ok(answer)
    }
}

/// Where cron jobs were before 1.21; none for anything else.
fn former_path(path: &str) -> Option<String> {
    let rest = path.strip_prefix("/apis/batch/v1/")?;
    rest.contains("/cronjobs").then(|| format!("/apis/batch/v1beta1/{rest}"))
}

#[async_trait]
impl Way for Straight {
    async fn send(&self, request: &Request<'_>) -> Result<Answer, Failure> {
        let _place = self.places.take(&self.system).await.map_err(Failure::NotAsked)?;
        let url = format!("{}{}", self.access.base, request.path);
        let mut built = self.access.http.request(request.method.clone(), url).timeout(request.within);
        built = built.header(ACCEPT, "application/json").query(&request.query);
        if let Some((kind, body)) = request.body {
            built = built.header(CONTENT_TYPE, kind).body(body.to_string());
        }
        answer_to(self.signed(built).await.map_err(Failure::NotAsked)?).await
    }
}

impl Straight {
    async fn signed(&self, request: RequestBuilder) -> Result<RequestBuilder, TargetError> {
        let refused =
            |answer: String| TargetError::CredentialsRefused { system: self.system.clone(), answer };
        let bearer = |token: &str| {
            let value = HeaderValue::from_str(&format!("Bearer {}", token.trim()));
            let mut value = value.map_err(|_| refused("the token holds what no header can".to_owned()))?;
            value.set_sensitive(true);
            Ok(value)
        };
        match &self.access.credential {
            Credential::Certificate => Ok(request),
            Credential::Bearer(token) => Ok(request.header("Authorization", bearer(token.expose())?)),
            Credential::BearerFile(path) => {
                let token = tokio::fs::read_to_string(path).await.map_err(|error| {
                    refused(format!("the token cannot be read from {}: {error}", path.display()))
                })?;
                Ok(request.header("Authorization", bearer(&token)?))
            }
            Credential::Basic { username, password } => {
                Ok(request.basic_auth(username, Some(password.expose())))
            }
        }
    }
}

/// A client for the server at `base`. It follows no redirects: whoever follows one with a write loses its body.
pub(in crate::target) fn http(
    base: &str,
    trust: &Trust,
) -> Result<reqwest::Client, Box<dyn std::error::Error + Send + Sync>> {
    let identity = trust.identity.as_ref().map(Secret::expose);
    web::client(web::Trust::of(base, trust.ca.as_deref(), trust.insecure), identity)
}
