//! A broker of one test's own, of the version of the run, for tests that kill, freeze or alarm it.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;
use tokio::time::timeout;

use crate::broker::Broker;
use crate::environment;
use crate::ports;
use crate::process::Process;
use crate::wait::eventually;

const START: Duration = Duration::from_secs(90);
const END: Duration = Duration::from_secs(60);
const ANSWER: Duration = Duration::from_secs(60);

/// A node of its own, with its own port and data. Dropping it kills it.
pub struct OwnBroker {
    node: String,
    folder: PathBuf,
    port: u16,
    consumer_timeout: Option<Duration>,
    process: Option<Process>,
}

impl OwnBroker {
    /// Starts a node and waits until it takes connections, some five seconds.
    pub async fn start() -> Result<Self> {
        let run = environment::directory()?;
        let port = ports::take_two()?;
        let node = format!("own-{port}");
        let folder = run.join(&node);
        std::fs::create_dir_all(folder.join("log")).context("make a directory for a broker")?;
        let mut broker =
            Self { node: format!("{node}@localhost"), folder, port, consumer_timeout: None, process: None };
        broker.start_again().await?;
        Ok(broker)
    }

    /// Starts it on the data it has, on the same port, after [`OwnBroker::kill`] or [`OwnBroker::stop`].
    pub async fn start_again(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "{} runs already", self.node);
        self.configure()?;
        let mut command = self.command("rabbitmq-server")?;
        // Its own, so that one signal reaches the node and the script that started it.
        command.process_group(0);
        let process = self.process.insert(Process::start(command)?);
        process.wait_for_line("Server startup complete", START).await?;
        let (broker, what) = (self.broker(), format!("{} to take connections", self.node));
        eventually(ANSWER, &what, || async { broker.connect().await.map(drop) }).await
    }

    /// Kills it as a power cut would (SIGKILL), and waits until it is gone.
    pub async fn kill(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { bail!("{} does not run", self.node) };
        signal("KILL", &format!("-{}", process.id()?)).await?;
        process.wait(END).await?;
        self.keep_log(&process);
        self.is_gone().await
    }

    /// Asks it to end (SIGTERM), and waits until it has put everything away.
    pub async fn stop(&mut self) -> Result<()> {
        let node_id = self.node_id()?;
        let Some(mut process) = self.process.take() else { bail!("{} does not run", self.node) };
        signal("TERM", &node_id).await?;
        process.wait(END).await?;
        self.keep_log(&process);
        self.is_gone().await
    }

    /// Freezes it (SIGSTOP): its connections stay open, and nothing answers.
    pub async fn freeze(&self) -> Result<()> {
        signal("STOP", &self.node_id()?).await
    }

    /// Lets it go on where [`OwnBroker::freeze`] stopped it.
    pub async fn thaw(&self) -> Result<()> {
        signal("CONT", &self.node_id()?).await
    }

    /// Puts what was declared so far on the disk: the metadata, and which files belong to which queue. The broker
    /// itself leaves both for a moment, so a queue declared right before [`OwnBroker::kill`] may be gone afterwards,
    /// or begin anew without a leader, and confirmed messages with it.
    pub async fn keep_declarations(&self) -> Result<()> {
        let expression = "ok = mnesia:sync_log(), lists:usort([dets:sync(Table) || Table <- dets:all()]).";
        let kept = self.control(&["eval", expression]).await?;
        ensure!(kept.trim() == "[ok]", "keep what was declared on {}: {kept}", self.node);
        Ok(())
    }

    /// Closes every connection as an operator would (320, CONNECTION_FORCED).
    pub async fn close_all_connections(&self) -> Result<()> {
        self.control(&["close_all_connections", "closed by a test"]).await.map(drop)
    }

    /// Raises or clears the memory alarm: while it is on, connections that publish are blocked.
    pub async fn set_memory_alarm(&self, is_on: bool) -> Result<()> {
        let alarm = "{resource_limit, memory, node()}";
        let expression = if is_on {
            format!("rabbit_alarm:set_alarm({{{alarm}, []}}).")
        } else {
            format!("rabbit_alarm:clear_alarm({alarm}).")
        };
        self.control(&["eval", &expression]).await.map(drop)
    }

    /// How long a delivery may stay unsettled before its channel is closed (406), for channels opened from now
    /// on, also after another start. The broker looks as often as this, so it may take twice as long.
    pub async fn set_consumer_timeout(&mut self, limit: Duration) -> Result<()> {
        self.consumer_timeout = Some(limit);
        let set = timeout_settings(limit)
            .map(|(name, value)| format!("ok = application:set_env(rabbit, {name}, {value})"));
        self.control(&["eval", &format!("{}.", set.join(", "))]).await.map(drop)
    }

    /// Runs `rabbitmqctl` on it and gives its standard output.
    pub async fn control(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.command("rabbitmqctl")?;
        let running = command.args(arguments).kill_on_drop(true).output();
        let output = timeout(ANSWER, running).await.context("rabbitmqctl does not end")??;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "rabbitmqctl {arguments:?} on {}: {errors}", self.node);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Its default virtual host, for a plain client or a fleet.
    pub fn broker(&self) -> Broker {
        Broker::at(self.uri())
    }

    /// The URI of its default virtual host, with user and password.
    pub fn uri(&self) -> String {
        format!("amqp://guest:guest@{}/%2f", self.host())
    }

    /// `127.0.0.1:port`, the same for its whole life.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What it has said since it was started, for the text of a failing assertion.
    pub fn lines(&self) -> Vec<String> {
        self.process.as_ref().map(Process::lines).unwrap_or_default()
    }

    /// For whoever keeps the run's directory.
    fn keep_log(&self, process: &Process) {
        let mut log = OpenOptions::new();
        if let Ok(mut log) = log.create(true).append(true).open(self.folder.join("log/said")) {
            // Nothing hangs on it.
            let _ = writeln!(log, "{}", process.lines().join("\n"));
        }
    }

    fn configure(&self) -> Result<()> {
        let own = format!("listeners.tcp.1 = {}\n", self.host());
        let common = "log.console = true\nlog.console.level = info\nlog.file = false\n\
             vm_memory_high_watermark.absolute = 1GiB\ndisk_free_limit.absolute = 100MB\n";
        std::fs::write(self.folder.join("rabbitmq.conf"), format!("{own}{common}"))
            .context("write a broker's configuration")?;
        let settings = self.consumer_timeout.map(timeout_settings);
        let terms: Vec<_> =
            settings.iter().flatten().map(|(name, value)| format!("{{{name}, {value}}}")).collect();
        std::fs::write(self.folder.join("advanced.config"), format!("[{{rabbit, [{}]}}].", terms.join(", ")))
            .context("write a broker's advanced configuration")
    }

    /// The run's own `name`, turned to this node.
    fn command(&self, name: &str) -> Result<Command> {
        let mut command = Command::new(environment::directory()?.join("bin").join(name));
        let path = |name: &str| self.folder.join(name);
        command
            .env("RABBITMQ_NODENAME", &self.node)
            .env("RABBITMQ_NODE_PORT", self.port.to_string())
            .env("RABBITMQ_DIST_PORT", (self.port + 1).to_string())
            .env("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", path("advanced.config"))
            .env("RABBITMQ_MNESIA_BASE", path("mnesia"))
            .env("RABBITMQ_LOG_BASE", path("log"))
            .env("RABBITMQ_GENERATED_CONFIG_DIR", path("config"))
            .env("RABBITMQ_PID_FILE", path("pid"))
            .env("ERL_CRASH_DUMP", path("crash.dump"));
        Ok(command)
    }

    /// The process that is the broker, as it wrote itself; the one we started is a script around it.
    fn node_id(&self) -> Result<String> {
        ensure!(self.process.is_some(), "{} does not run", self.node);
        let text = std::fs::read_to_string(self.folder.join("pid")).context("read a broker's process id")?;
        Ok(text.trim().to_owned())
    }

    /// Its name and port are free again.
    async fn is_gone(&self) -> Result<()> {
        eventually(END, &format!("{} to be gone", self.node), || async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port + 1));
            listener.map(drop).context("take its port")
        })
        .await
    }
}

impl Drop for OwnBroker {
    fn drop(&mut self) {
        let Some(id) = self.process.as_ref().and_then(|process| process.id().ok()) else { return };
        self.process.iter().for_each(|process| self.keep_log(process));
        // What does not die here dies with the run.
        let _ =
            std::process::Command::new("/bin/kill").args(["-s", "KILL", "--", &format!("-{id}")]).status();
    }
}

/// The limit, and how often the broker looks: unless told so, once a minute. Only the former can stand in the
/// newer form of its configuration.
fn timeout_settings(limit: Duration) -> [(&'static str, u128); 2] {
    ["consumer_timeout", "channel_tick_interval"].map(|name| (name, limit.as_millis()))
}

async fn signal(name: &str, process: &str) -> Result<()> {
    let status = Command::new("/bin/kill").args(["-s", name, "--", process]).status().await;
    ensure!(status.context("run kill")?.success(), "send {name} to process {process}");
    Ok(())
}
