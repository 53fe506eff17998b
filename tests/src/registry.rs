//! A real registry for one test, with notifications to an endpoint of its own.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::process::Process;
use crate::wait::eventually;
use crate::{environment, http};

const START: Duration = Duration::from_secs(20);

/// A running registry on a free port of 127.0.0.1, which the engine may use without TLS. Dropping it ends it.
pub struct Registry {
    host: String,
    process: Process,
    _directory: TempDir,
}

/// Where the registry posts what was pushed to it.
#[derive(Debug, Clone)]
pub struct Notifications {
    /// The full URL.
    pub url: String,
    /// Headers sent with every post, such as `Authorization`.
    pub headers: Vec<(String, String)>,
}

impl Registry {
    /// Starts a registry that tells nobody.
    pub async fn start() -> Result<Self> {
        Self::start_with(Vec::new()).await
    }

    /// Starts a registry that posts its notifications to each of `endpoints`.
    pub async fn start_with(endpoints: Vec<Notifications>) -> Result<Self> {
        let directory = tempfile::tempdir().context("make a directory for a registry")?;
        let file = directory.path().join("config.yml");
        // JSON is YAML.
        let text = configuration(directory.path(), &endpoints).to_string();
        tokio::fs::write(&file, text).await.context("write a registry's configuration")?;
        let mut command = Command::new(environment::registry_program()?);
        command.arg("serve").arg(&file).env("OTEL_TRACES_EXPORTER", "none");
        let process = Process::start(command)?;
        let host = listening_address(&process).await?;
        let registry = Self { host, process, _directory: directory };
        registry.answers().await?;
        Ok(registry)
    }

    /// Host and port, as they stand in an image reference.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The reference of an image here: `image("shop/web:1")` is `127.0.0.1:40123/shop/web:1`.
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.host)
    }

    /// What the registry has said so far, for the text of a failing assertion.
    pub fn lines(&self) -> Vec<String> {
        self.process.lines()
    }

    /// Ends it as a crash would; what was pushed is gone with it.
    pub async fn kill(mut self) -> Result<()> {
        self.process.kill().await
    }

    async fn answers(&self) -> Result<()> {
        let client = http::client()?;
        let url = format!("http://{}/v2/", self.host);
        eventually(START, "the registry to answer", || async {
            let (status, _) = http::answer(client.get(&url)).await?;
            ensure!(status.is_success(), "the registry answered {status}");
            Ok(())
        })
        .await
    }
}

fn configuration(directory: &Path, endpoints: &[Notifications]) -> Value {
    let endpoints: Vec<Value> = endpoints.iter().enumerate().map(|(index, at)| endpoint(index, at)).collect();
    json!({
        "version": "0.1",
        "log": {"level": "info"},
        "storage": {"filesystem": {"rootdirectory": directory.join("data")}, "delete": {"enabled": true}},
        "http": {"addr": "127.0.0.1:0"},
        "notifications": {"endpoints": endpoints},
    })
}

fn endpoint(index: usize, at: &Notifications) -> Value {
    let headers: serde_json::Map<String, Value> =
        at.headers.iter().map(|(name, value)| (name.clone(), json!([value]))).collect();
    json!({
        "name": format!("endpoint-{index}"),
        "url": at.url,
        "headers": headers,
        "timeout": "5s",
        "threshold": 3,
        "backoff": "200ms",
    })
}

/// The registry takes a free port itself, so that no other test can be given it in between.
async fn listening_address(process: &Process) -> Result<String> {
    let line = process.wait_for_line("listening on 127.0.0.1:", START).await?;
    let (_, after) = line.split_once("listening on ").context("find the registry's address")?;
    let host: String = after.chars().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':')).collect();
    Ok(host)
}
