//! Asking registries what a tag points to, without pulling anything.

mod error;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use proto::{Digest, ImageRef, Repository, Timestamp};
use reqwest::{Method, Response, StatusCode, header::ACCEPT};
use serde::Deserialize;

pub(crate) use self::error::RegistryError;
use super::{
    challenge::{Challenge, challenge},
    limit::pause,
    pauses::Pauses,
};
use crate::settings::Registry;

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// So that a registry's operator sees who asks.
const WHO_ASKS: &str = concat!("longshore/", env!("CARGO_PKG_VERSION"));

/// An index before its manifests: what is deployed is the index.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";
const DIGEST: &str = "docker-content-digest";

const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_SERVER: &str = "registry-1.docker.io";

/// How long a token serves whose service does not say, and how long before its end it is not used any more.
const TOKEN_SERVES: u64 = 60;
const TOKEN_MARGIN: Duration = Duration::from_secs(10);

/// Most pages of a list of tags.
const MOST_PAGES: usize = 20;

/// The tags of a repository.
pub(crate) struct Listed {
    pub(crate) tags: BTreeSet<String>,
    /// All of them were read.
    pub(crate) is_whole: bool,
}

/// Asks registries, with the keys of the configuration.
pub(crate) struct RegistryClient {
    registries: BTreeMap<String, Registry>,
    http: Mutex<HashMap<String, reqwest::Client>>,
    /// Tokens by registry and scope, and until when they serve.
    tokens: Mutex<HashMap<(String, String), (String, Instant)>>,
    /// Registries that want a password with every question.
    with_password: Mutex<HashSet<String>>,
    /// Registries that are left alone, and until when.
    pauses: Arc<Pauses>,
}

/// What a token service answers.
#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

#[derive(Deserialize)]
struct Tags {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

/// One question to a registry.
struct Question<'a> {
    method: Method,
    /// The host as images name it.
    host: &'a str,
    url: String,
    /// What a token must be for.
    scope: String,
}

impl RegistryClient {
    pub(crate) fn new(registries: BTreeMap<String, Registry>) -> RegistryClient {
        RegistryClient {
            registries,
            http: Mutex::default(),
            tokens: Mutex::default(),
            with_password: Mutex::default(),
            pauses: Arc::default(),
        }
    }

    /// The same, bound by the pauses that registries asked others for.
    pub(super) fn heeding(self, pauses: Arc<Pauses>) -> RegistryClient {
        RegistryClient { pauses, ..self }
    }

    /// Whether both are one repository: a registry may have another address from which engines pull.
    pub(super) fn is_same(&self, one: &Repository, other: &Repository) -> bool {
        let pulls_from = |one: &str, other: &str| {
            self.registries.get(one).is_some_and(|registry| registry.pull_from.as_deref() == Some(other))
        };
        let (host, others) = (one.host(), other.host());
        one.path() == other.path() && (host == others || pulls_from(host, others) || pulls_from(others, host))
    }

    /// Whether a login is configured for a registry.
    pub(crate) fn has_key(&self, host: &str) -> bool {
        self.login(host).is_some()
    }

    /// Asks for nothing but an answer, with the key that is configured.
    ///
    /// # Errors
    /// When it cannot be asked, or refuses the key.
    pub(crate) async fn greet(&self, host: &str) -> Result<(), RegistryError> {
        let url = format!("{}/v2/", self.base(host));
        let answer = self.ask(&Question { method: Method::GET, host, url, scope: String::new() }).await?;
        match answer.status().is_success() {
            true => Ok(()),
            false => Err(RegistryError::BadAnswer {
                host: host.to_owned(),
                answer: format!("{} when asked whether it is a registry", answer.status()),
            }),
        }
    }

    /// What the tag of `image` points to; none where the registry has no such tag, or hides it.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub(crate) async fn digest(&self, image: &ImageRef) -> Result<Option<Digest>, RegistryError> {
        let (repository, tag) = (image.repository(), image.tag().unwrap_or_default());
        let url = format!("{}/v2/{}/manifests/{tag}", self.base(repository.host()), repository.path());
        let question =
            Question { method: Method::HEAD, host: repository.host(), url, scope: scope(repository) };
        let answer = self.ask(&question).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let digest = answer.headers().get(DIGEST).and_then(|digest| digest.to_str().ok()?.parse().ok());
        let digest = digest.filter(|_| answer.status().is_success());
        digest.map(Some).ok_or_else(|| RegistryError::BadAnswer {
            host: repository.host().to_owned(),
            answer: format!("{} without a digest for {}", answer.status(), image.familiar()),
        })
    }

    /// The tags of a repository, as far as they are listed on so many pages.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub(crate) async fn tags(&self, repository: &Repository) -> Result<Listed, RegistryError> {
        let host = repository.host();
        let mut tags = BTreeSet::new();
        let first = format!("/v2/{}/tags/list?n=1000", repository.path());
        let mut next = Some(first);
        for _ in 0..MOST_PAGES {
            let Some(path) = next else { break };
            let url = format!("{}{path}", self.base(host));
            let question = Question { method: Method::GET, host, url, scope: scope(repository) };
            let answer = self.ask(&question).await?;
            if !answer.status().is_success() {
                let answer = format!("{} for the tags of {repository}", answer.status());
                return Err(RegistryError::BadAnswer { host: host.to_owned(), answer });
            }
            next = next_page(&answer);
            let page: Tags = answer.json().await.map_err(|source| unreachable(host, source))?;
            tags.extend(page.tags.into_iter().flatten());
        }
        Ok(Listed { tags, is_whole: next.is_none() })
    }

    /// Asks; once more with what the registry wants to be shown.
    async fn ask(&self, question: &Question<'_>) -> Result<Response, RegistryError> {
        self.ensure_not_paused(question.host)?;
        let known = self.token(question);
        let as_user = known.is_none() && self.with_password().contains(question.host);
        let answer = self.send(question, known.as_deref(), as_user).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let login = self.login(question.host);
        let answer = match challenge(answer.headers()) {
            Some(Challenge::Basic) if login.is_some() && !as_user => {
                self.with_password().insert(question.host.to_owned());
                self.send(question, None, true).await?
            }
            Some(Challenge::Bearer { realm, service, scope }) => {
                let scope = scope.unwrap_or_else(|| question.scope.clone());
                let token = self.fetch_token(question, &realm, service.as_deref(), &scope).await?;
                self.send(question, Some(&token), false).await?
            }
            Some(Challenge::Basic) | None => answer,
        };
        match answer.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(refused(question.host, answer.status().to_string()))
            }
            _ => Ok(answer),
        }
    }

    async fn send(
        &self,
        question: &Question<'_>,
        token: Option<&str>,
        as_user: bool,
    ) -> Result<Response, RegistryError> {
        let http = self.http(question.host)?;
        let mut request = http.request(question.method.clone(), &question.url).header(ACCEPT, MANIFESTS);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        } else if as_user && let Some((username, password)) = self.login(question.host) {
            request = request.basic_auth(username, Some(password));
        }
        let answer = request.send().await.map_err(|source| unreachable(question.host, source))?;
        self.heed(question.host, &answer)?;
        Ok(answer)
    }

    /// Leaves a registry alone for as long as it, or the service that gives its tokens, asks for.
    fn heed(&self, host: &str, answer: &Response) -> Result<(), RegistryError> {
        if let Some(pause) = pause(answer.status(), answer.headers(), Timestamp::now()) {
            self.pauses.begin(&self.base(host), self.login(host), pause);
        }
        if answer.status() == StatusCode::TOO_MANY_REQUESTS { self.ensure_not_paused(host) } else { Ok(()) }
    }

    async fn fetch_token(
        &self,
        question: &Question<'_>,
        realm: &str,
        service: Option<&str>,
        scope: &str,
    ) -> Result<String, RegistryError> {
        let host = question.host;
        let bad = |answer: String| RegistryError::BadAnswer { host: host.to_owned(), answer };
        let url = reqwest::Url::parse(realm).map_err(|_| bad(format!("its token service `{realm:.200}`")))?;
        let mut request = self.http(host)?.get(url.clone());
        if !scope.is_empty() {
            request = request.query(&[("scope", scope)]);
        }
        if let Some(service) = service {
            request = request.query(&[("service", service)]);
        }
        // A password goes only where nobody on the way can read it, or where the registry itself is reached so.
        let is_safe = url.scheme() == "https" || self.base(host).starts_with("http://");
        if let Some((username, password)) = self.login(host).filter(|_| is_safe) {
            request = request.basic_auth(username, Some(password));
        }
        let answer = request.send().await.map_err(|source| unreachable(host, source))?;
        self.heed(host, &answer)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(|source| unreachable(host, source))?;
        if status.is_server_error() {
            let words = words(&body).unwrap_or_default();
            return Err(bad(format!("its token service cannot serve now: {status} {words}")));
        }
        if !status.is_success() {
            return Err(refused(host, words(&body).unwrap_or_else(|| status.to_string())));
        }
        let given: Token = serde_json::from_slice(&body).map_err(|_| bad("its token service".to_owned()))?;
        let token = given.token.or(given.access_token);
        let token = token.ok_or_else(|| bad("a token service without a token".to_owned()))?;
        let serves =
            Duration::from_secs(given.expires_in.unwrap_or(TOKEN_SERVES)).saturating_sub(TOKEN_MARGIN);
        let name = (host.to_owned(), question.scope.clone());
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.insert(name, (token.clone(), Instant::now() + serves.min(Duration::from_secs(3600))));
        Ok(token)
    }

    fn token(&self, question: &Question<'_>) -> Option<String> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        tokens.retain(|_, (_, until)| *until > now);
        tokens.get(&(question.host.to_owned(), question.scope.clone())).map(|(token, _)| token.clone())
    }

    fn with_password(&self) -> MutexGuard<'_, HashSet<String>> {
        self.with_password.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn login(&self, host: &str) -> Option<(&str, &str)> {
        self.registries.get(host)?.login()
    }

    fn ensure_not_paused(&self, host: &str) -> Result<(), RegistryError> {
        match self.pauses.left(&self.base(host), self.login(host)) {
            Some(for_another) => Err(RegistryError::Limited { host: host.to_owned(), for_another }),
            None => Ok(()),
        }
    }

    /// Where the registry of `host` answers: where engines pull from, in the clear only on this machine.
    fn base(&self, host: &str) -> String {
        let registry = self.registries.get(host);
        let has_authority = registry.is_some_and(|registry| registry.ca.is_some());
        let host = registry.and_then(|registry| registry.pull_from.as_deref()).unwrap_or(host);
        let server = if host == DOCKER_HUB { DOCKER_HUB_SERVER } else { host };
        let scheme = if is_loopback(server) && !has_authority { "http" } else { "https" };
        format!("{scheme}://{server}")
    }

    fn http(&self, host: &str) -> Result<reqwest::Client, RegistryError> {
        let mut clients = self.http.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(host) {
            return Ok(client.clone());
        }
        let authority = self.registries.get(host).and_then(|registry| registry.ca.as_deref());
        let client = client(authority, self.base(host).starts_with("http://"));
        let client = client.map_err(|source| unreachable(host, source))?;
        clients.insert(host.to_owned(), client.clone());
        Ok(client)
    }
}

fn client(authority: Option<&str>, in_the_clear: bool) -> Result<reqwest::Client, reqwest::Error> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Lost only to another thread that installed one meanwhile.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let builder = reqwest::Client::builder().user_agent(WHO_ASKS);
    let builder = builder.connect_timeout(CONNECT_WITHIN).timeout(ANSWER_WITHIN);
    match authority {
        Some(pem) => builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem.as_bytes())?).build(),
        // Certificates are not needed, and reading the machine's costs time.
        None if in_the_clear => builder.tls_certs_only([]).no_proxy().build(),
        None => builder.build(),
    }
}

fn scope(repository: &Repository) -> String {
    format!("repository:{}:pull", repository.path())
}

fn unreachable(host: &str, source: reqwest::Error) -> RegistryError {
    RegistryError::Unreachable { host: host.to_owned(), source: source.without_url() }
}

fn refused(host: &str, answer: String) -> RegistryError {
    RegistryError::CredentialsRefused { host: host.to_owned(), answer }
}

/// The registry's own words in an error's body.
fn words(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let error =
        body.pointer("/errors/0/message").or_else(|| body.get("message")).or_else(|| body.get("details"));
    Some(error?.as_str()?.chars().take(300).collect())
}

/// The path of the next page: `Link: </v2/a/tags/list?last=x&n=1000>; rel="next"`.
fn next_page(answer: &Response) -> Option<String> {
    let link = answer.headers().get("link")?.to_str().ok()?;
    let (target, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    let path = target.find("/v2/").and_then(|at| target.get(at..));
    path.filter(|_| rest.contains("next")).map(str::to_owned)
}

/// As engines do: what runs on this machine needs no certificate.
fn is_loopback(server: &str) -> bool {
    let name = server.rsplit_once(':').map_or(server, |(name, _)| name).trim_matches(['[', ']']);
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests;
