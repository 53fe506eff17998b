//! The processes of a fleet: one ingress and some workers, which die and are started again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::broker::Broker;
use tests::fleet::Fleet;
use tests::http;
use tests::process::{Process, longshore};
use tests::wait::eventually;

const SOON: Duration = Duration::from_secs(60);

/// An ingress and workers of one fleet, as processes of their own.
pub(crate) struct Crew {
    pub(crate) fleet: Fleet,
    pub(crate) ingress: Member,
    pub(crate) workers: Vec<Member>,
    /// What [`Crew::deploy`] was answered.
    pub(crate) answers: Vec<Value>,
}

/// One of them. What it says is kept in a file in the run's directory.
pub(crate) struct Member {
    name: String,
    program: &'static str,
    configuration: PathBuf,
    log: PathBuf,
    process: Option<Process>,
    kills: usize,
}

impl Crew {
    /// A fleet with `workers` on `broker`; its logs go to `logs`. Nothing runs yet.
    pub(crate) async fn prepare(broker: Broker, sections: &str, workers: usize, logs: &Path) -> Result<Crew> {
        let fleet = Fleet::prepare_on(broker).await?;
        let configuration = fleet.configure(sections)?;
        let member = |name: String, program| Member {
            log: logs.join(format!("{name}.log")),
            name,
            program,
            configuration: configuration.clone(),
            process: None,
            kills: 0,
        };
        let ingress = member("ingress".to_owned(), "longshore-ingress");
        let workers = (0..workers).map(|n| member(format!("worker-{n}"), "longshore-worker")).collect();
        Ok(Crew { fleet, ingress, workers, answers: Vec::new() })
    }

    /// Starts all of them, and waits until hooks are taken and jobs are carried out.
    pub(crate) async fn start(&mut self) -> Result<()> {
        for member in self.workers.iter_mut().chain([&mut self.ingress]) {
            member.start()?;
        }
        self.is_ready().await?;
        let broker = self.broker()?;
        eventually(SOON, "the workers to serve their pool", || broker.find_consumer("longshore.jobs.default"))
            .await
    }

    /// Leads a member to the broker by way of `address`.
    pub(crate) fn lead(&mut self, which: impl Fn(&mut Crew) -> &mut Member, address: &str) -> Result<()> {
        let host = self.broker()?.host()?;
        let member = which(self);
        let text = std::fs::read_to_string(&member.configuration).context("read the configuration")?;
        member.configuration = member.configuration.with_file_name(format!("{}.yaml", member.name));
        std::fs::write(&member.configuration, text.replace(&host, address)).context("write a configuration")
    }

    /// A job of its own for a target, beside the load; with `parameters` of the request. Gives the answer.
    pub(crate) async fn deploy(&mut self, target: &str, parameters: &str) -> Result<&Value> {
        let body = json!({"target": target, "image": format!("acme/app:own-{}", self.answers.len())});
        let request = self.fleet.post(&format!("/v1/jobs{parameters}"), &body);
        let (status, answer) = http::answer(request).await?;
        ensure!(status.is_success(), "{status} {answer}");
        self.answers.push(answer);
        self.answers.last().context("find the answer")
    }

    /// How often a worker was killed.
    pub(crate) fn kills(&self) -> usize {
        self.workers.iter().map(|worker| worker.kills).sum()
    }

    /// The broker itself, whatever way the processes take.
    pub(crate) fn broker(&self) -> Result<&Broker> {
        self.fleet.broker.as_ref().context("find the broker")
    }

    /// Waits until the ingress reaches the broker and keeps no jobs for it.
    pub(crate) async fn is_ready(&self) -> Result<()> {
        eventually(SOON, "the ingress to be ready", || async {
            let body = self.readiness().await?;
            ensure!(body["status"] == "ready" && body["spooled"].is_null(), "{body}");
            Ok(())
        })
        .await
    }

    /// Waits until the ingress says that it keeps jobs.
    pub(crate) async fn is_spooling(&self) -> Result<()> {
        eventually(SOON, "the ingress to keep jobs", || async {
            let body = self.readiness().await?;
            ensure!(body["status"] == "spooling", "{body}");
            Ok(())
        })
        .await
    }

    async fn readiness(&self) -> Result<Value> {
        Ok(http::answer(self.fleet.get("/readyz")).await?.1)
    }
}

impl Member {
    pub(crate) fn start(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "{} runs already", self.name);
        let mut command = longshore(self.program)?;
        command.arg("--config").arg(&self.configuration);
        self.process = Some(Process::start(command)?);
        Ok(())
    }

    /// Kills it as a crash would.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        let mut process = self.process.take().with_context(|| format!("{} does not run", self.name))?;
        let killed = process.kill().await;
        self.kills += 1;
        self.keep_log(&process)?;
        killed
    }

    pub(crate) async fn kill_and_restart(&mut self) -> Result<()> {
        self.kill().await?;
        self.start()
    }

    /// Freezes it: its connections stand, and nothing answers.
    pub(crate) async fn freeze(&self) -> Result<()> {
        self.running()?.signal("STOP").await
    }

    /// Lets it go on where it was frozen.
    pub(crate) async fn thaw(&self) -> Result<()> {
        self.running()?.signal("CONT").await
    }

    /// Whether it has said `text` since it was started.
    pub(crate) fn has_said(&self, text: &str) -> Result<bool> {
        Ok(self.running()?.lines().iter().any(|line| line.contains(text)))
    }

    fn running(&self) -> Result<&Process> {
        self.process.as_ref().with_context(|| format!("{} does not run", self.name))
    }

    fn keep_log(&self, process: &Process) -> Result<()> {
        use std::io::Write;
        let mut log = std::fs::File::options().create(true).append(true).open(&self.log);
        let log = log.as_mut().ok().with_context(|| format!("open {}", self.log.display()))?;
        writeln!(log, "{}\n-- its end", process.lines().join("\n")).context("keep what a process said")
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // For whoever keeps the run's directory; without the log the account still tells what is wrong.
        let _ = self.process.take().map(|process| self.keep_log(&process));
    }
}
