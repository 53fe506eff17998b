//! Longshore itself, started as its users start it: all in one process, or ingress and worker on a broker.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

use crate::broker::Broker;
use crate::load::Load;
use crate::process::{Process, longshore};
use crate::wait::eventually;
use crate::{http, ports, sse::EventStream};

const SOON: Duration = Duration::from_secs(30);
const TOKEN: &str = "lsh_a-token-for-tests-that-opens-one-fleet-only";

/// Which engine carries the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// `longshore up`, with the embedded queue.
    Embedded,
    /// `longshore-ingress` and `longshore-worker`, on RabbitMQ.
    Broker,
}

/// A fleet in a directory of its own. Dropping it kills its processes.
pub struct Fleet {
    /// Where it listens: `127.0.0.1:port`.
    pub address: String,
    /// The broker it runs on, if it does.
    pub broker: Option<Broker>,
    folder: tempfile::TempDir,
    engine: Engine,
    client: Client,
    processes: Vec<Process>,
}

impl Fleet {
    /// A place for a fleet: its address and directory are known, nothing runs yet.
    pub async fn prepare(engine: Engine) -> Result<Self> {
        let broker = match engine {
            Engine::Embedded => None,
            Engine::Broker => Some(Broker::own_virtual_host().await?),
        };
        Self::place(engine, broker)
    }

    /// The same on a broker of the caller's choice, such as one of the test's own or one behind a proxy.
    pub async fn prepare_on(broker: Broker) -> Result<Self> {
        Self::place(Engine::Broker, Some(broker))
    }

    fn place(engine: Engine, broker: Option<Broker>) -> Result<Self> {
        Ok(Self {
            address: format!("127.0.0.1:{}", ports::take_two()?),
            broker,
            folder: tempfile::tempdir().context("make a fleet's directory")?,
            engine,
            client: http::client()?,
            processes: Vec::new(),
        })
    }

    /// The fleet's directory.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes the configuration, `sections` beside those that say where and on what it runs.
    pub fn configure(&self, sections: &str) -> Result<PathBuf> {
        self.configure_with(sections, "")
    }

    /// The same, with further entries of `access`: `, key: value`.
    pub fn configure_with(&self, sections: &str, access: &str) -> Result<PathBuf> {
        let folder = self.folder().display();
        std::fs::write(self.folder().join("token"), TOKEN).context("write the token")?;
        let queue = match &self.broker {
            None => "embedded".to_owned(),
            Some(broker) => {
                std::fs::write(self.folder().join("password"), broker.password()?)
                    .context("write the password")?;
                let (host, user, vhost) = (broker.host()?, broker.user()?, broker.virtual_host()?);
                format!(
                    "{{amqp: [\"{host}\"], user: {user}, password_file: {folder}/password, vhost: {vhost}}}"
                )
            }
        };
        let text = format!(
            "version: 1\nlisten: {}\ndata: {folder}/data\nqueue: {queue}\naccess: {{admin_token_file: {folder}/token{access}}}\n{sections}",
            self.address
        );
        let file = self.folder().join("longshore.yaml");
        std::fs::write(&file, text).context("write the configuration")?;
        Ok(file)
    }

    /// Starts it with what was configured, and waits until it is ready.
    pub async fn start(&mut self) -> Result<()> {
        let file = self.folder().join("longshore.yaml");
        let programs: &[(&str, &[&str])] = match self.engine {
            Engine::Embedded => &[("longshore", &["up"])],
            Engine::Broker => &[("longshore-worker", &[]), ("longshore-ingress", &[])],
        };
        for (name, arguments) in programs {
            let mut command = longshore(name)?;
            command.args(*arguments).arg("--config").arg(&file).current_dir(self.folder());
            self.processes.push(Process::start(command)?);
        }
        let ready = eventually(SOON, "the fleet to be ready", || async {
            let response = self.client.get(self.url("/readyz")).send().await?;
            ensure!(response.status().is_success(), "{}", response.status());
            Ok(())
        });
        let served = eventually(SOON, "the worker to serve its pool", || async {
            let Some(broker) = &self.broker else { return Ok(()) };
            broker.find_consumer("longshore.jobs.default").await
        });
        let started = async {
            ready.await?;
            served.await
        };
        started.await.with_context(|| format!("it said:\n{}", self.lines().join("\n")))
    }

    /// Kills it with SIGKILL; [`Fleet::start`] starts it again on what it left.
    pub async fn kill(&mut self) -> Result<()> {
        for mut process in self.processes.drain(..) {
            process.kill().await?;
        }
        Ok(())
    }

    /// One of its processes, by the name of its program.
    pub fn process(&self, program: &str) -> Result<&Process> {
        let found = self.processes.iter().find(|process| process.name() == program);
        found.with_context(|| format!("no {program} runs"))
    }

    /// Everything its processes said.
    pub fn lines(&self) -> Vec<String> {
        self.processes.iter().flat_map(Process::lines).collect()
    }

    /// A path as a URL.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A request as a caller with the token makes it.
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(self.url(path)).bearer_auth(TOKEN)
    }

    /// A POST as a caller with the token makes it.
    pub fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.client.post(self.url(path)).bearer_auth(TOKEN).json(body)
    }

    /// The same to another URL, such as that of a proxy before it.
    pub fn post_to(&self, url: &str, body: &Value) -> RequestBuilder {
        self.client.post(url).bearer_auth(TOKEN).json(body)
    }

    /// A request of any kind, with the token or without.
    pub fn request(&self, method: Method, path: &str, with_token: bool) -> RequestBuilder {
        let request = self.client.request(method, self.url(path));
        if with_token { request.bearer_auth(TOKEN) } else { request }
    }

    /// A request of somebody's own client, with the token.
    pub fn with_token(&self, request: RequestBuilder) -> RequestBuilder {
        request.bearer_auth(TOKEN)
    }

    /// Callers with the token that post to `path`, see [`Load`].
    pub fn load(&self, path: &str, connections: usize, within: Duration) -> Result<Load> {
        let load = Load::new(&self.url(path), connections, within)?;
        Ok(load.header("authorization", &format!("Bearer {TOKEN}")))
    }

    /// An event stream, read with the token.
    pub async fn events(&self, path: &str) -> Result<EventStream> {
        EventStream::open(self.get(path)).await
    }
}
