//! The calls made to one Portainer: who asks, how many at once, and for how long.

mod calls;
mod git;
mod login;
mod tls;

use std::{sync::Arc, time::Duration};

use deadpool::{
    Runtime,
    managed::{self, Metrics, Object, Pool, PoolError, RecycleResult, TimeoutType},
};
use proto::Timestamp;
use reqwest::{Method, header::HeaderValue, redirect::Policy};
use serde_json::Value;

use self::login::Login;
pub(super) use self::{calls::Update, git::GitUpdate};
use super::{
    answer::{Answer, Call, Failure},
    lookout::Lookout,
    settings::{Credentials, DEFAULT_AT_ONCE, PortainerSettings, PortainerUrl},
};
use crate::target::{CALL_TIMEOUT, TargetError, retry_after::retry_after};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one waits for others to be done with Portainer.
const PLACE_WITHIN: Duration = Duration::from_secs(10);
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;

/// The calls of one system, so many at once.
pub(super) struct Client {
    system: String,
    /// Shared by all systems that are environments of one Portainer.
    line: Arc<Line>,
}

/// The way to one Portainer: who asks, and how many at once.
struct Line {
    url: String,
    http: reqwest::Client,
    who: Who,
    places: Pool<Places>,
    lookout: Lookout,
}

enum Who {
    ApiKey(HeaderValue),
    Login(Login),
}

/// Hands out places; a session holds nothing of its own, since all share the one login.
struct Places;

/// One place at Portainer.
struct Place;

/// A request less who asks.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    /// Below `/api`.
    pub(super) path: String,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) body: Option<&'a Value>,
    pub(super) registry_key: Option<&'a str>,
    pub(super) within: Duration,
}

impl<'a> Request<'a> {
    pub(super) fn new(method: Method, path: impl Into<String>) -> Request<'a> {
        let (query, body, registry_key) = (Vec::new(), None, None);
        Request { method, path: path.into(), query, body, registry_key, within: CALL_TIMEOUT }
    }

    pub(super) fn get(path: impl Into<String>) -> Request<'a> {
        Request::new(Method::GET, path)
    }

    pub(super) fn query(mut self, name: &'static str, value: impl ToString) -> Request<'a> {
        self.query.push((name, value.to_string()));
        self
    }

    pub(super) fn body(mut self, body: &'a Value) -> Request<'a> {
        self.body = Some(body);
        self
    }

    pub(super) fn within(mut self, within: Duration) -> Request<'a> {
        self.within = within;
        self
    }
}

impl Client {
    /// Calls at the Portainer that messages call `system`. Nothing is connected yet.
    pub(super) fn new(system: &str, settings: &PortainerSettings) -> Result<Client, TargetError> {
        let unusable = |source: Box<dyn std::error::Error + Send + Sync>| TargetError::Unreachable {
            system: system.to_owned(),
            source,
        };
        let credentials = settings.credentials().map_err(|wrong| unusable(wrong.into()))?;
        let who = match credentials {
            Credentials::ApiKey(key) => {
                let mut key = HeaderValue::from_str(key.expose())
                    .map_err(|_| unusable("the access token holds what no header can".into()))?;
                key.set_sensitive(true);
                Who::ApiKey(key)
            }
            Credentials::Login { username, password } => Who::Login(Login::new(username, password)),
        };
        let places = Pool::builder(Places)
            .max_size(settings.at_once.map_or(DEFAULT_AT_ONCE, std::num::NonZeroUsize::get))
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(PLACE_WITHIN))
            .build()
            .map_err(|error| unusable(error.into()))?;
        let http = http(settings).map_err(unusable)?;
        let url = settings.url.as_str().to_owned();
        Ok(Client {
            system: system.to_owned(),
            line: Arc::new(Line { url, http, who, places, lookout: Lookout::default() }),
        })
    }

    /// The same Portainer under the name of another system.
    pub(super) fn named(&self, system: &str) -> Client {
        Client { system: system.to_owned(), line: Arc::clone(&self.line) }
    }

    /// What is looked at there for everyone who watches.
    pub(super) fn lookout(&self) -> &Lookout {
        &self.line.lookout
    }

    /// A number that all systems on one Portainer share.
    pub(super) fn line(&self) -> usize {
        Arc::as_ptr(&self.line) as usize
    }

    pub(super) fn is_at(&self, url: &PortainerUrl) -> bool {
        self.line.url == url.as_str()
    }

    pub(super) fn system(&self) -> &str {
        &self.system
    }

    /// Asks, and takes a success with JSON or with nothing.
    pub(super) async fn ask(&self, request: Request<'_>, call: Call<'_>) -> Result<Value, TargetError> {
        self.send(&request).await.and_then(Answer::json).map_err(|failure| failure.of(&self.system, call))
    }

    /// Asks; where Portainer does not know our login any more, once again with a new one.
    pub(super) async fn send(&self, request: &Request<'_>) -> Result<Answer, Failure> {
        let _place = self.place().await.map_err(Failure::NotAsked)?;
        let login = match &self.line.who {
            Who::ApiKey(key) => return self.send_as("X-API-Key", key, request).await,
            Who::Login(login) => login,
        };
        let token = self.token(login, None).await?;
        let answer = self.send_as("Authorization", &token, request).await?;
        if answer.status != reqwest::StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let token = self.token(login, Some(&token)).await?;
        self.send_as("Authorization", &token, request).await
    }

    async fn token(&self, login: &Login, stale: Option<&HeaderValue>) -> Result<HeaderValue, Failure> {
        let token = login.token(stale, &self.system, |body| async move {
            let request =
                self.line.http.post(format!("{}/api/auth", self.line.url)).json(&body).timeout(CALL_TIMEOUT);
            answer_to(request).await
        });
        token.await.map_err(Failure::NotAsked)
    }

    async fn send_as(
        &self,
        header: &'static str,
        value: &HeaderValue,
        request: &Request<'_>,
    ) -> Result<Answer, Failure> {
        let url = format!("{}/api{}", self.line.url, request.path);
        let mut built = self.line.http.request(request.method.clone(), url).timeout(request.within);
        built = built.header(header, value.clone()).query(&request.query);
        if let Some(body) = request.body {
            built = built.json(body);
        }
        if let Some(key) = request.registry_key {
            built = built.header("X-Registry-Auth", key);
        }
        answer_to(built).await
    }

    async fn place(&self) -> Result<Object<Places>, TargetError> {
        let system = self.system.clone();
        self.line.places.get().await.map_err(|error| match error {
            PoolError::Timeout(TimeoutType::Wait | TimeoutType::Create | TimeoutType::Recycle) => {
                TargetError::Busy { system }
            }
            PoolError::Backend(never) => match never {},
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                TargetError::Unavailable {
                    system,
                    answer: "the worker is stopping".to_owned(),
                    retry_after: None,
                }
            }
        })
    }
}

/// One client without a memory for cookies: with one, Portainer asks for what only browsers have.
fn http(settings: &PortainerSettings) -> Result<reqwest::Client, Box<dyn std::error::Error + Send + Sync>> {
    // Fails where another part of the process was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder =
        reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).redirect(Policy::none()).http1_only();
    if let Some(pem) = &settings.ca {
        builder = builder.tls_backend_preconfigured(tls::trusting(pem)?);
    } else if settings.url.as_str().starts_with("http://") {
        // What the machine trusts is not even read.
        builder = builder.tls_certs_only([]);
    }
    if settings.insecure_tls.unwrap_or_default() {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    Ok(builder.build()?)
}

async fn answer_to(request: reqwest::RequestBuilder) -> Result<Answer, Failure> {
    let mut response = request.send().await?;
    let retry_after = retry_after(response.headers(), Timestamp::now());
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > LARGEST_ANSWER {
            return Err(Failure::Nonsense("an answer of more than 64 MiB".to_owned()));
        }
    }
    Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned(), retry_after })
}

impl managed::Manager for Places {
    type Type = Place;
    type Error = std::convert::Infallible;

    async fn create(&self) -> Result<Place, Self::Error> {
        Ok(Place)
    }

    async fn recycle(&self, _: &mut Place, _: &Metrics) -> RecycleResult<Self::Error> {
        Ok(())
    }
}
