//! A program under test or a service of one test: its output by line, its end, and its sudden death.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::environment;

/// Lines that a program's output is cut to after a failure.
const LAST: usize = 40;

/// A started program. Dropping it kills it at once.
pub struct Process {
    name: String,
    child: Child,
    lines: watch::Receiver<Vec<String>>,
}

/// A command for the program `name` of this workspace, to be given arguments and environment.
pub fn longshore(name: &str) -> Result<Command> {
    environment::binary(name).map(Command::new)
}

impl Process {
    /// Starts `command` with no input; standard output and error are both kept by line.
    pub fn start(mut command: Command) -> Result<Self> {
        let name = program_name(&command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("start {name}"))?;
        let (sender, lines) = watch::channel(Vec::new());
        if let Some(output) = child.stdout.take() {
            tokio::spawn(keep_lines(output, sender.clone()));
        }
        if let Some(output) = child.stderr.take() {
            tokio::spawn(keep_lines(output, sender));
        }
        Ok(Self { name, child, lines })
    }

    /// The program's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Everything said so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.borrow().clone()
    }

    /// The first line, of those said and those to come, that contains `text`.
    ///
    /// # Errors
    /// When the program closed its output or `deadline` passed; the text holds all that was said.
    pub async fn wait_for_line(&self, text: &str, deadline: Duration) -> Result<String> {
        let mut lines = self.lines.clone();
        let found = timeout(deadline, lines.wait_for(|lines| line_with(lines, text).is_some())).await;
        match found {
            Ok(Ok(lines)) => line_with(&lines, text).context("find the line again"),
            Ok(Err(_)) => Err(self.complaint(&format!("ended without the line `{text}`"))),
            Err(_) => Err(self.complaint(&format!("did not say `{text}` within {deadline:?}"))),
        }
    }

    /// The process id.
    pub fn id(&self) -> Result<u32> {
        self.child.id().ok_or_else(|| self.complaint("has ended already"))
    }

    /// Sends the signal named `signal` (`TERM`, `STOP`, `CONT`, `HUP`).
    pub async fn signal(&self, signal: &str) -> Result<()> {
        let id = self.id()?.to_string();
        let status =
            Command::new("/bin/kill").args(["-s", signal, &id]).status().await.context("run kill")?;
        status.success().then_some(()).with_context(|| format!("send {signal} to {}", self.name))
    }

    /// Kills it as a crash would, and waits until it is gone.
    pub async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.with_context(|| format!("kill {}", self.name))
    }

    /// Asks it to end (SIGTERM) and waits for that.
    pub async fn stop(&mut self, deadline: Duration) -> Result<ExitStatus> {
        self.signal("TERM").await?;
        self.wait(deadline).await
    }

    /// Waits until it has ended by itself.
    pub async fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        match timeout(deadline, self.child.wait()).await {
            Ok(status) => status.with_context(|| format!("wait for {}", self.name)),
            Err(_) => Err(self.complaint(&format!("did not end within {deadline:?}"))),
        }
    }

    fn complaint(&self, what: &str) -> anyhow::Error {
        anyhow!("{} {what}; it said:\n{}", self.name, self.lines().join("\n"))
    }
}

/// When a test fails, what its programs said last is what one wants to read.
impl Drop for Process {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let lines = self.lines();
        let last = &lines[lines.len().saturating_sub(LAST)..];
        println!("---- {} said last:\n{}", self.name, last.join("\n"));
    }
}

fn program_name(command: &Command) -> String {
    let program = Path::new(command.as_std().get_program());
    program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()
}

fn line_with(lines: &[String], text: &str) -> Option<String> {
    lines.iter().find(|line| line.contains(text)).cloned()
}

async fn keep_lines(output: impl AsyncRead + Unpin, sender: watch::Sender<Vec<String>>) {
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line).await, Ok(1..)) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        sender.send_modify(|lines| lines.push(text));
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Process {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        Process::start(command).unwrap()
    }

    #[tokio::test]
    async fn lines_of_both_outputs_are_kept() {
        let mut process = shell("echo out; echo err >&2; exit 3");
        process.wait_for_line("out", SOON).await.unwrap();
        process.wait_for_line("err", SOON).await.unwrap();
        assert_eq!(process.wait(SOON).await.unwrap().code(), Some(3));
    }

    #[tokio::test]
    async fn an_end_before_the_awaited_line_is_an_error_with_what_was_said() {
        let error = shell("echo something else").wait_for_line("ready", SOON).await.unwrap_err().to_string();
        assert!(
            error.contains("ended without the line `ready`") && error.contains("something else"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn it_can_be_asked_to_end_and_killed() {
        let mut polite = shell("trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done");
        polite.wait_for_line("ready", SOON).await.unwrap();
        assert_eq!(polite.stop(SOON).await.unwrap().code(), Some(5));
        let mut stubborn = shell("trap '' TERM; echo ready; while :; do sleep 0.05; done");
        stubborn.wait_for_line("ready", SOON).await.unwrap();
        stubborn.kill().await.unwrap();
        assert!(stubborn.id().is_err());
    }
}
