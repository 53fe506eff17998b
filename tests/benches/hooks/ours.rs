//! Longshore, with nobody at work beside the ingress.

use std::fmt::Write;

use anyhow::{Context, Result};
use tests::broker::Broker;
use tests::fleet::{Engine, Fleet};

use crate::hooks::{REPOSITORIES, SECRET};

pub(crate) struct Ours {
    fleet: Fleet,
    program: &'static str,
}

/// The ingress on RabbitMQ. A worker has made the pool, and is gone.
pub(crate) async fn on_broker() -> Result<Ours> {
    let ours = start(Engine::Broker, "longshore-ingress").await?;
    ours.fleet.process("longshore-worker")?.signal("KILL").await?;
    Ok(ours)
}

/// A virtual host where all stands that Longshore declares, and nobody is at work.
pub(crate) async fn declared() -> Result<Broker> {
    let mut ours = start(Engine::Broker, "longshore-ingress").await?;
    ours.fleet.kill().await?;
    ours.fleet.broker.context("a fleet on a broker has one")
}

/// All in one process. Its worker is busy with the first job to the end.
pub(crate) async fn embedded() -> Result<Ours> {
    start(Engine::Embedded, "longshore").await
}

async fn start(engine: Engine, program: &'static str) -> Result<Ours> {
    let mut fleet = Fleet::prepare(engine).await?;
    fleet.configure(&sections())?;
    fleet.start().await?;
    Ok(Ours { fleet, program })
}

fn sections() -> String {
    let mut sections = format!(
        "sources:\n  push: {{kind: plain, secret: {SECRET}}}\nworker: {{at_once: 1}}\n\
         systems:\n  lab: {{kind: rehearsal}}\ntargets:\n"
    );
    for n in 0..REPOSITORIES {
        // Infallible: into a string.
        let _ = writeln!(sections, "  app-{n}: {{at: lab, takes: 1h, follow: \"acme/app-{n}:*\"}}");
    }
    sections
}

impl Ours {
    pub(crate) fn address(&self) -> &str {
        &self.fleet.address
    }

    pub(crate) fn id(&self) -> Result<u32> {
        self.fleet.process(self.program)?.id()
    }

    /// Bytes of it that are in memory.
    pub(crate) fn memory(&self) -> Result<u64> {
        memory_of(self.id()?)
    }
}

/// Bytes of a process that are in memory, its program's own pages too.
pub(crate) fn memory_of(process: u32) -> Result<u64> {
    let status =
        std::fs::read_to_string(format!("/proc/{process}/status")).context("read a process's status")?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("a process has no VmRSS")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().context("read VmRSS")?;
    Ok(kibibytes * 1024)
}
