//! The calls made to one engine: sessions, versions, time limits.
//!
//! Reading goes through bollard. The spec does not: bollard's model lacks the health check (and every field
//! younger than the model), so a spec that it read and wrote back would lose them. Services travel as raw
//! JSON over reqwest.

mod calls;
mod login;
mod objects;
mod passed_on;

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bollard::{
    API_DEFAULT_VERSION, Docker,
    models::{EventMessage, Node},
    query_parameters::EventsOptionsBuilder,
};
use deadpool::{
    Runtime,
    managed::{self, Metrics, Object, Pool, PoolError, RecycleError, RecycleResult, TimeoutType},
};
use futures::{StreamExt, stream::BoxStream};
use proto::Timestamp;
use rustls::ClientConfig;
use serde_json::Value;

use self::login::{Login, NOBODY};
use super::{
    answer::{Call, Failure, cut, message_of},
    service::Service,
    settings::SwarmHost,
    tls,
};
use crate::target::{CALL_TIMEOUT, TargetError, retry_after::retry_after};

const REGISTRY_KEY: &str = "X-Registry-Auth";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A session's version is asked again after this long: engines are upgraded.
const SESSION_AGE: Duration = Duration::from_secs(60);

/// The calls of one system, so many at once.
pub(super) struct Client {
    system: String,
    sessions: Pool<Connector>,
}

/// Makes sessions: connects and agrees on a version.
struct Connector {
    system: String,
    host: SwarmHost,
    /// How TLS is spoken, where it is.
    tls: Option<ClientConfig>,
}

/// One place at the engine.
struct Session {
    docker: Docker,
    http: reqwest::Client,
    /// `http://host/v1.41`
    base: String,
    opened: Instant,
    suspect: bool,
}

/// Why the registry, or the engine before it, does not tell of an image.
pub(super) struct RegistryRefusal {
    pub(super) status: u16,
    pub(super) message: String,
    pub(super) retry_after: Option<Duration>,
}

/// How a spec is written.
pub(super) struct Write<'a> {
    pub(super) service: &'a Service,
    pub(super) spec: &'a Value,
    /// `X-Registry-Auth` of the registry that the image comes from, where one is configured. Without it the service keeps
    /// the one it has for that registry, and takes none to another.
    pub(super) registry_key: Option<&'a str>,
}

impl Client {
    pub(super) fn new(
        system: &str,
        (host, tls): (SwarmHost, Option<ClientConfig>),
        at_once: usize,
    ) -> Result<Client, TargetError> {
        let connector = Connector { system: system.to_owned(), host, tls };
        let sessions = Pool::builder(connector)
            .max_size(at_once)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(CALL_TIMEOUT))
            .create_timeout(Some(CALL_TIMEOUT))
            .build()
            .map_err(|error| TargetError::Unavailable {
                system: system.to_owned(),
                answer: error.to_string(),
                retry_after: None,
            })?;
        Ok(Client { system: system.to_owned(), sessions })
    }

    pub(super) fn system(&self) -> &str {
        &self.system
    }

    /// The service of that very name: the engine alone would also take a beginning of an id.
    pub(super) async fn service(&self, name: &str) -> Result<Service, TargetError> {
        let what = format!("service `{name}`");
        let missing = || TargetError::NotFound { system: self.system.clone(), what: what.clone() };
        if !is_a_name(name) {
            return Err(missing());
        }
        let call = Call { system: &self.system, attempted: "show the service", writes: false, what: &what };
        let raw = self.get(&["services", name], None).await?.map_err(|failure| failure.of(call))?;
        let service = Service::from_raw(raw)
            .ok_or_else(|| Failure::Nonsense("a service without id, version or spec".into()).of(call))?;
        if service.name() != name && service.id != name {
            return Err(missing());
        }
        Ok(service)
    }

    /// Writes a spec on the condition that the service is still as it was read.
    pub(super) async fn write(&self, write: Write<'_>) -> Result<(), TargetError> {
        let what = format!("service `{}`", write.service.name());
        let call = Call { system: &self.system, attempted: "update the service", writes: true, what: &what };
        let mut session = self.session().await?;
        let url =
            session.url(&["services", &write.service.id, "update"]).map_err(|failure| failure.of(call))?;
        let mut request =
            session.http.post(url).query(&[("version", write.service.index.to_string())]).json(write.spec);
        request = match Login::of(write.service, write.spec, write.registry_key) {
            Login::Configured(key) => request.header(REGISTRY_KEY, key),
            Login::AsItIs => request.query(&[("registryAuthFrom", "spec")]),
            Login::AsBefore => request.query(&[("registryAuthFrom", "previous-spec")]),
            Login::Nobody => request.header(REGISTRY_KEY, NOBODY),
        };
        let answer = session.note(send(request).await).map_err(|failure| failure.of(call))?;
        for warning in answer["Warnings"].as_array().into_iter().flatten() {
            tracing::warn!(system = self.system, service = write.service.name(), %warning, "the engine warns");
        }
        Ok(())
    }

    /// What the registry has under a reference, asked through the engine. The inner error: what the engine
    /// or the registry said to it.
    pub(super) async fn distribution(
        &self,
        image: &str,
        key: Option<&str>,
    ) -> Result<Result<Value, RegistryRefusal>, TargetError> {
        let call = Call { system: &self.system, attempted: "look up the image", writes: false, what: image };
        let path: Vec<&str> = ["distribution"].into_iter().chain(image.split('/')).chain(["json"]).collect();
        match self.get(&path, key).await? {
            Ok(answer) => Ok(Ok(answer)),
            Err(Failure::Answered { status, message, retry_after }) => {
                Ok(Err(RegistryRefusal { status, message: cut(message), retry_after }))
            }
            Err(failure) => Err(failure.of(call)),
        }
    }

    /// The node of the engine that is asked, where it can be told.
    pub(super) async fn own_node(&self) -> Option<String> {
        let info = self.get(&["info"], None).await.ok()?.ok()?;
        info.pointer("/Swarm/NodeID")?.as_str().map(str::to_owned)
    }

    /// Whether a container of that engine has no process any more. What cannot be told is not down.
    pub(super) async fn is_down(&self, container: &str) -> bool {
        match self.get(&["containers", container, "top"], None).await {
            Ok(Ok(top)) => top["Processes"].as_array().is_none_or(Vec::is_empty),
            Ok(Err(Failure::Answered { status, message, .. })) => {
                status == 404 || message.contains("is not running")
            }
            Ok(Err(
                Failure::NotConnected(_) | Failure::Broken(_) | Failure::TimedOut | Failure::Nonsense(_),
            ))
            | Err(_) => false,
        }
    }

    pub(super) async fn nodes(&self) -> Result<Vec<Node>, TargetError> {
        let call = Call { system: &self.system, attempted: "list the nodes", writes: false, what: "nodes" };
        let mut session = self.session().await?;
        let nodes = in_time(session.docker.list_nodes(None)).await;
        session.note(nodes).map_err(|failure| failure.of(call))
    }

    /// Every service.
    pub(super) async fn services(&self) -> Result<Vec<Service>, TargetError> {
        let call =
            Call { system: &self.system, attempted: "list the services", writes: false, what: "services" };
        let mut session = self.session().await?;
        let url = session.url(&["services"]).map_err(|failure| failure.of(call))?;
        let listed = send(session.http.get(url)).await;
        let listed = session.note(listed).map_err(|failure| failure.of(call))?;
        let services = listed.as_array().cloned().unwrap_or_default();
        Ok(services.into_iter().filter_map(Service::from_raw).collect())
    }

    /// What happens to any service from `since` on, by the engine's clock. The stream holds no place at the engine:
    /// it may stay open for as long as one likes.
    pub(super) async fn service_events(
        &self,
        since: Option<Timestamp>,
    ) -> Result<BoxStream<'static, Result<EventMessage, Failure>>, TargetError> {
        let docker = self.session().await?.docker.clone();
        let filters: HashMap<&str, Vec<&str>> = HashMap::from([("type", vec!["service"])]);
        let mut options = EventsOptionsBuilder::default().filters(&filters);
        if let Some(since) = since {
            options = options.since(&format!("{}.{:09}", since.as_second(), since.subsec_nanosecond()));
        }
        Ok(docker.events(Some(options.build())).map(|event| event.map_err(Failure::from)).boxed())
    }

    /// The outer error: no session; the inner: what went wrong on it.
    async fn get(&self, path: &[&str], key: Option<&str>) -> Result<Result<Value, Failure>, TargetError> {
        let mut session = self.session().await?;
        let answer = match session.url(path) {
            Ok(url) => {
                let mut request = session.http.get(url);
                if let Some(key) = key {
                    request = request.header(REGISTRY_KEY, key);
                }
                send(request).await
            }
            Err(failure) => Err(failure),
        };
        Ok(session.note(answer))
    }

    async fn session(&self) -> Result<Object<Connector>, TargetError> {
        self.sessions.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error,
            PoolError::Timeout(TimeoutType::Wait) => TargetError::Busy { system: self.system.clone() },
            PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle) => TargetError::Unreachable {
                system: self.system.clone(),
                source: "no connection in time".into(),
            },
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                self.unavailable("the sessions are closed")
            }
        })
    }

    fn unavailable(&self, answer: &str) -> TargetError {
        let answer = answer.to_owned();
        TargetError::Unavailable { system: self.system.clone(), answer, retry_after: None }
    }
}

impl managed::Manager for Connector {
    type Type = Session;
    type Error = TargetError;

    async fn create(&self) -> Result<Session, TargetError> {
        let call =
            Call { system: &self.system, attempted: "tell its version", writes: false, what: "version" };
        self.connect().await.map_err(|failure| failure.of(call))
    }

    async fn recycle(&self, session: &mut Session, _: &Metrics) -> RecycleResult<TargetError> {
        if session.suspect || session.opened.elapsed() > SESSION_AGE {
            return Err(RecycleError::message("broken or old"));
        }
        Ok(())
    }
}

impl Connector {
    /// Connects, and agrees on the newest version that both sides speak.
    async fn connect(&self) -> Result<Session, Failure> {
        let (docker, http, root) = self.clients()?;
        let url = reqwest::Url::parse(&format!("{root}/version"))
            .map_err(|error| Failure::NotConnected(error.into()))?;
        let answer = send(http.get(url)).await?;
        let theirs = answer["ApiVersion"].as_str().and_then(read_version);
        let theirs = theirs.ok_or_else(|| Failure::Nonsense(cut(answer.to_string())))?;
        let ours = (API_DEFAULT_VERSION.major_version, API_DEFAULT_VERSION.minor_version);
        let (major, minor) = theirs.min(ours);
        let base = format!("{root}/v{major}.{minor}");
        Ok(Session { docker, http, base, opened: Instant::now(), suspect: false })
    }

    fn clients(&self) -> Result<(Docker, reqwest::Client, String), Failure> {
        install_crypto();
        let seconds = CALL_TIMEOUT.as_secs();
        let http = reqwest::Client::builder();
        let http = match &self.tls {
            Some(config) => http.tls_backend_preconfigured(config.clone()),
            // The engine is spoken to in the clear: no certificates are loaded.
            None => http.tls_certs_only([]),
        };
        let http = http.no_proxy().connect_timeout(CONNECT_TIMEOUT).timeout(CALL_TIMEOUT);
        match (&self.host, &self.tls) {
            (SwarmHost::Unix(path), _) => {
                let docker =
                    Docker::connect_with_unix(&path.to_string_lossy(), seconds, API_DEFAULT_VERSION)?;
                Ok((docker, http.unix_socket(path.as_path()).build()?, "http://localhost".to_owned()))
            }
            (SwarmHost::Tcp(address), Some(config)) => {
                let docker = tls::docker(address, config, seconds)?;
                Ok((docker, http.build()?, format!("https://{address}")))
            }
            (SwarmHost::Tcp(address), None) => {
                let docker = Docker::connect_with_http(address, seconds, API_DEFAULT_VERSION)?;
                Ok((docker, http.build()?, format!("http://{address}")))
            }
        }
    }
}

impl Session {
    /// The address of a call, every part of the path escaped.
    fn url(&self, path: &[&str]) -> Result<reqwest::Url, Failure> {
        let base = format!("{}/", self.base);
        let mut url = reqwest::Url::parse(&base).map_err(|error| Failure::NotConnected(error.into()))?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        Ok(url)
    }

    /// Remembers whether the session broke, so that it is not taken again.
    fn note<T>(&mut self, answer: Result<T, impl Into<Failure>>) -> Result<T, Failure> {
        answer.map_err(Into::into).inspect_err(|failure| self.suspect |= failure.breaks_the_session())
    }
}

/// Sends a request and reads the JSON that comes back.
async fn send(request: reqwest::RequestBuilder) -> Result<Value, Failure> {
    let response = request.send().await?;
    let status = response.status();
    let retry_after = retry_after(response.headers(), Timestamp::now());
    let body = response.text().await?;
    if !status.is_success() {
        return Err(Failure::Answered { status: status.as_u16(), message: message_of(&body), retry_after });
    }
    serde_json::from_str(&body).map_err(|_| Failure::Nonsense(cut(body)))
}

async fn in_time<T>(call: impl Future<Output = Result<T, bollard::errors::Error>>) -> Result<T, Failure> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Failure::TimedOut),
    }
}

/// Whether a service can be called so. Engines decode an escaped slash and follow it, so nothing else may
/// become a part of a path.
fn is_a_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

fn read_version(text: &str) -> Option<(usize, usize)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// `reqwest` panics in `build` where no provider was chosen, whether it needs one or not.
fn install_crypto() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Lost only to another thread that installed one meanwhile.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}
