//! Debian's package `webhook`: it checks a signature, starts a command and answers; nothing is kept.

use std::time::Duration;
use tokio::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tests::ports;
use tests::process::Process;
use tests::wait::eventually;
use tokio::net::TcpStream;

use crate::{hooks::SECRET, ours::memory_of};

pub(crate) struct Package {
    address: String,
    process: Process,
    _folder: tempfile::TempDir,
}

pub(crate) async fn start() -> Result<Package> {
    let is_there = Command::new("webhook").arg("-version").output().await.is_ok();
    ensure!(is_there, "there is no `webhook` to compare with: apt-get install webhook");
    let folder = tempfile::tempdir().context("make a directory")?;
    let file = folder.path().join("hooks.json");
    let signed = json!({
        "type": "payload-hmac-sha256",
        "secret": SECRET,
        "parameter": {"source": "header", "name": "X-Hub-Signature-256"},
    });
    let hook = json!([{
        "id": "push",
        "execute-command": "/bin/true",
        "success-http-response-code": 202,
        "trigger-rule": {"match": signed},
    }]);
    std::fs::write(&file, hook.to_string()).context("write the hooks")?;
    let port = ports::take_two()?;
    let mut command = Command::new("webhook");
    command.arg("-hooks").arg(&file).args(["-ip", "127.0.0.1", "-port", &port.to_string()]);
    let (process, address) = (Process::start(command)?, format!("127.0.0.1:{port}"));
    eventually(Duration::from_secs(10), "webhook to listen", || async {
        TcpStream::connect(&address).await.context("connect to it")
    })
    .await?;
    Ok(Package { address, process, _folder: folder })
}

impl Package {
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn id(&self) -> Result<u32> {
        self.process.id()
    }

    /// Bytes of it that are in memory.
    pub(crate) fn memory(&self) -> Result<u64> {
        memory_of(self.id()?)
    }
}
