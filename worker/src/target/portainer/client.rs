//! The calls made to one Portainer: who asks, how many at once, and for how long.

mod calls;
mod git;
mod login;

use std::{sync::Arc, time::Duration};

use reqwest::{Method, StatusCode, header::HeaderValue};
use serde_json::{Value, json};
use tokio::time::Instant;

use self::login::Login;
pub(super) use self::{
    calls::{Update, Who},
    git::GitUpdate,
};
use super::{
    answer::{Answer, Call, Failure},
    lookout::Lookout,
    objects::Stack,
    settings::{Credentials, DEFAULT_AT_ONCE, LONGEST_DEPLOY, PortainerSettings, PortainerUrl},
};
use crate::{
    aside::say_that_it_is_slow,
    redaction::Redaction,
    target::{
        CALL_TIMEOUT, TargetError,
        findings::Findings,
        web::{self, Trust},
        wire::{Place, Places, answer_to},
    },
};

/// The calls of one system, so many at once.
pub(super) struct Client {
    system: String,
    /// Shared by all systems that are environments of one Portainer.
    line: Arc<Line>,
    /// The one place in which all calls are made, where there is one.
    place: Option<Place>,
}

/// The way to one Portainer: who asks, and how many at once.
struct Line {
    url: String,
    /// Whether any certificate is taken there.
    is_insecure: bool,
    http: reqwest::Client,
    door: Door,
    places: Places,
    lookout: Lookout,
    longest_deploy: Duration,
}

/// What its "Invalid JWT token" means to whoever sent an access token.
const UNKNOWN_KEY: &str = "it does not know the access token, which may have been deleted in Portainer";

/// Whoever answers a question no sooner is slow.
const SLOW: Duration = Duration::from_secs(2);

/// What opens it.
enum Door {
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
    /// What an error may quote, and nobody is to read.
    pub(super) hidden: Vec<&'a str>,
    pub(super) within: Duration,
}

impl<'a> Request<'a> {
    pub(super) fn new(method: Method, path: impl Into<String>) -> Request<'a> {
        let (query, body, registry_key, hidden) = (Vec::new(), None, None, Vec::new());
        Request { method, path: path.into(), query, body, registry_key, hidden, within: CALL_TIMEOUT }
    }

    pub(super) fn get(path: impl Into<String>) -> Request<'a> {
        Request::new(Method::GET, path)
    }

    pub(super) fn query(mut self, name: &'static str, value: impl ToString) -> Request<'a> {
        self.query.push((name, value.to_string()));
        self
    }

    /// With a body, whose variables and passwords no error is to repeat.
    pub(super) fn body(mut self, body: &'a Value) -> Request<'a> {
        let sent = body["Env"].as_array().into_iter().flatten().filter_map(|pair| pair["value"].as_str());
        self.hidden.extend(sent.chain(body["RepositoryPassword"].as_str()));
        self.body = Some(body);
        self
    }

    /// Of a stack, whose variables no error is to repeat.
    pub(super) fn of(mut self, stack: &'a Stack) -> Request<'a> {
        self.hidden.extend(stack.env.values());
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
        let door = match credentials {
            Credentials::ApiKey(key) => {
                let mut key = HeaderValue::from_str(key.expose())
                    .map_err(|_| unusable("the access token holds what no header can".into()))?;
                key.set_sensitive(true);
                Door::ApiKey(key)
            }
            Credentials::Login { username, password } => {
                let within = settings.login_within.map(|span| span.0);
                Door::Login(Login::new(username, password, within))
            }
        };
        let at_once = settings.at_once.unwrap_or(DEFAULT_AT_ONCE);
        let places = Places::new(at_once).map_err(|error| unusable(error.into()))?;
        let http = http(settings).map_err(unusable)?;
        let url = settings.url.as_str().to_owned();
        let is_insecure = settings.insecure_tls.unwrap_or_default();
        let longest_deploy = settings.longest_deploy.map_or(LONGEST_DEPLOY, |span| span.0);
        Ok(Client {
            system: system.to_owned(),
            line: Arc::new(Line {
                url,
                is_insecure,
                http,
                door,
                places,
                lookout: Lookout::default(),
                longest_deploy,
            }),
            place: None,
        })
    }

    /// The same Portainer under the name of another system.
    pub(super) fn named(&self, system: &str) -> Client {
        Client { system: system.to_owned(), line: Arc::clone(&self.line), place: None }
    }

    /// The same in one place for all its calls, which is held until this is dropped: nothing has to be waited for
    /// between them.
    pub(super) async fn in_one_place(&self) -> Result<Client, TargetError> {
        let place = self.line.places.take(&self.system).await?;
        Ok(Client { place: Some(place), ..self.named(&self.system) })
    }

    /// What is looked at there for everyone who watches.
    pub(super) fn lookout(&self) -> &Lookout {
        &self.line.lookout
    }

    /// A number that all systems on one Portainer share.
    pub(super) fn line(&self) -> usize {
        Arc::as_ptr(&self.line) as usize
    }

    /// What `check --connect` begins with.
    pub(super) fn findings(&self) -> Findings {
        Findings::at(&self.line.url, self.line.is_insecure)
    }

    pub(super) fn is_at(&self, url: &PortainerUrl) -> bool {
        self.line.url == url.as_str()
    }

    /// How long a deploy may take there, its place in the queue counted.
    pub(super) fn longest_deploy(&self) -> Duration {
        self.line.longest_deploy
    }

    pub(super) fn system(&self) -> &str {
        &self.system
    }

    /// Asks, and takes a success with JSON or with nothing.
    pub(super) async fn ask(&self, request: Request<'_>, call: Call<'_>) -> Result<Value, TargetError> {
        self.send(&request).await.and_then(Answer::json).map_err(|failure| failure.of(&self.system, call))
    }

    /// Asks. What an error quotes of the variables is hidden before anybody cuts it short.
    pub(super) async fn send(&self, request: &Request<'_>) -> Result<Answer, Failure> {
        let answer = self.send_logged_in(request).await?;
        if answer.status.is_success() || request.hidden.is_empty() {
            return Ok(answer);
        }
        Ok(answer.without(&Redaction::of_values(request.hidden.iter().copied())))
    }

    /// Asks; where Portainer does not know our login any more, once again with a new one.
    async fn send_logged_in(&self, request: &Request<'_>) -> Result<Answer, Failure> {
        let place = self.own_place().await?;
        let login = match &self.line.door {
            Door::ApiKey(key) => return self.send_with_key(key, request).await,
            Door::Login(login) => login,
        };
        let token = self.token(login, None).await?;
        let answer = self.send_as("Authorization", &token, request).await?;
        if !answer.is_stale_login() {
            return Ok(answer);
        }
        // A new login takes its time, and nobody is kept from a place by that.
        drop(place);
        let token = self.token(login, Some(&token)).await?;
        let _place = self.own_place().await?;
        let answer = self.send_as("Authorization", &token, request).await?;
        if answer.is_stale_login() {
            return Err(Failure::NotAsked(login::forgotten(&self.system, None)));
        }
        Ok(answer)
    }

    /// A place for one call, where this has none for all of them.
    async fn own_place(&self) -> Result<Option<Place>, Failure> {
        match &self.place {
            Some(_) => Ok(None),
            None => self.line.places.take(&self.system).await.map(Some).map_err(Failure::NotAsked),
        }
    }

    async fn token(&self, login: &Login, stale: Option<&HeaderValue>) -> Result<HeaderValue, Failure> {
        let token = login.token(stale, &self.system, |body| async move {
            let request =
                self.line.http.post(format!("{}/api/auth", self.line.url)).json(&body).timeout(CALL_TIMEOUT);
            answer_to(request).await
        });
        token.await.map_err(Failure::NotAsked)
    }

    /// As [`Client::send_as`], with the access token. What Portainer says of one that it does not know is of logins.
    async fn send_with_key(&self, key: &HeaderValue, request: &Request<'_>) -> Result<Answer, Failure> {
        let answer = self.send_as("X-API-Key", key, request).await?;
        let is_unknown = answer.status == StatusCode::UNAUTHORIZED && answer.words().contains("JWT");
        Ok(match is_unknown {
            true => Answer { body: json!({"message": UNKNOWN_KEY}).to_string(), ..answer },
            false => answer,
        })
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
        let asked = Instant::now();
        let answer = answer_to(built).await;
        let took = asked.elapsed();
        // A write takes as long as its deploy.
        if took >= SLOW && request.method == Method::GET {
            say_that_it_is_slow(|| {
                format!(
                    "{} takes {} s for an answer, and a deploy asks it for many",
                    self.system,
                    took.as_secs()
                )
            });
        }
        answer
    }
}

/// What connects to it, and whose certificates are taken for its own.
fn http(settings: &PortainerSettings) -> Result<reqwest::Client, Box<dyn std::error::Error + Send + Sync>> {
    let insecure = settings.insecure_tls.unwrap_or_default();
    web::client(Trust::of(settings.url.as_str(), settings.ca.as_deref(), insecure), None)
}
