//! The calls made to one Portainer: who asks, how many at once, and for how long.

mod calls;
mod login;

use std::time::Duration;

use reqwest::{Method, header::HeaderValue};
use serde_json::Value;

pub(super) use self::calls::Update;
use self::login::Login;
use super::{
    answer::{Answer, Call, Failure},
    settings::{Credentials, DEFAULT_AT_ONCE, PortainerSettings},
};
use crate::target::{
    CALL_TIMEOUT, TargetError,
    web::{self, Trust},
    wire::{Places, answer_to},
};

/// The calls of one system, so many at once.
pub(super) struct Client {
    system: String,
    url: String,
    http: reqwest::Client,
    who: Who,
    places: Places,
}

enum Who {
    ApiKey(HeaderValue),
    Login(Login),
}

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
        let at_once = settings.at_once.unwrap_or(DEFAULT_AT_ONCE);
        let places = Places::new(at_once).map_err(|error| unusable(error.into()))?;
        let url = settings.url.as_str().to_owned();
        let insecure = settings.insecure_tls.unwrap_or_default();
        let http = web::client(Trust::of(&url, settings.ca.as_deref(), insecure))
            .map_err(|error| unusable(error.into()))?;
        Ok(Client { system: system.to_owned(), url, http, who, places })
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
        let _place = self.places.take(&self.system).await.map_err(Failure::NotAsked)?;
        let login = match &self.who {
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
            let request = self.http.post(format!("{}/api/auth", self.url)).json(&body).timeout(CALL_TIMEOUT);
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
        let url = format!("{}/api{}", self.url, request.path);
        let mut built = self.http.request(request.method.clone(), url).timeout(request.within);
        built = built.header(header, value.clone()).query(&request.query);
        if let Some(body) = request.body {
            built = built.json(body);
        }
        if let Some(key) = request.registry_key {
            built = built.header("X-Registry-Auth", key);
        }
        answer_to(built).await
    }
}
