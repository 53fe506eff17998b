//! The docker command: it turns compose texts into services as everybody knows it from it.
//!
//! It runs without a shell, in a directory of its own, with nothing of our environment. The
//! text goes to its standard input, logins to registries into a file that only it is pointed to.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    ffi::OsString,
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use config::Secret;
use proto::{Given, StackText};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{io::AsyncWriteExt, process};

use super::{
    super::{Registries, SwarmSettings, answer::cut},
    room::Room,
    stand_in::{self, StandIn},
};
use crate::{redaction::Redaction, target::TargetError};

const DOCKER: &str = "docker";
/// Below its directory: the files of a text.
const FILES: &str = "files";
/// Put before it where there is such a program, so that it does not go on when its worker is killed outright: the lock
/// on the stack is another's then.
const END_WITH_US: [&str; 4] = ["setpriv", "--pdeathsig", "KILL", "--"];
/// A stack of many services, each image looked up by the command, takes its time.
const WITHIN: Duration = Duration::from_secs(300);
/// What to do about some of its refusals, by a part of them.
const MENDS: [(&str, &str); 3] = [
    (
        "only updates to Labels are allowed",
        "an engine never changes what is in a config or a secret: give the changed one another name, as in `name: \
         page-${TAG}`",
    ),
    ("Additional property", "stacks do not know this key: remove it from the compose file"),
    ("is declared as external, but could not be found", "make it first, or remove `external`"),
];
/// So many of its last lines are told.
const MOST_LINES: usize = 6;

/// Secrets by the names that stacks ask for them with.
pub type Secrets = BTreeMap<String, Secret>;

/// How the docker command is run for one swarm.
#[derive(Debug, Clone)]
pub(in crate::target::swarm) struct Command {
    settings: SwarmSettings,
    rooms: PathBuf,
    secrets: Secrets,
}

/// One run.
pub(super) struct Run<'a> {
    pub(super) system: &'a str,
    /// For errors, after "to".
    pub(super) attempted: &'static str,
    /// After the global options.
    pub(super) arguments: Vec<OsString>,
    /// What goes to its standard input, its variables and files, where it needs any.
    pub(super) input: Option<(&'a StackText, String)>,
    pub(super) registries: (&'a Registries, BTreeSet<String>),
    /// What it speaks to instead of the engine.
    pub(super) stand_in: Option<&'a StandIn>,
}

/// A running command and all it started; killed when dropped before its end.
struct Group(Option<Pid>);

impl Command {
    pub(in crate::target::swarm) fn of(settings: &SwarmSettings) -> Command {
        let rooms = env::temp_dir().join("longshore-stacks");
        Command { settings: settings.clone(), rooms, secrets: Secrets::new() }
    }

    pub(in crate::target::swarm) fn with(&self, rooms: &Path, secrets: Secrets) -> Command {
        Command { settings: self.settings.clone(), rooms: rooms.to_owned(), secrets }
    }

    /// The first secret of a text that this worker does not have.
    pub(super) fn lacks<'a>(&self, text: &'a StackText) -> Option<&'a str> {
        text.secrets().find(|name| !self.secrets.contains_key(*name))
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// [`TargetError::Refused`] with its own last words where it fails on the merits.
    pub(super) async fn run(&self, run: Run<'_>) -> Result<(), TargetError> {
        let not_begun = |source: io::Error| TargetError::Unavailable {
            system: "the docker command".to_owned(),
            answer: format!("it cannot be started: {source}"),
            retry_after: None,
        };
        let room = Room::open(&self.rooms).map_err(not_begun)?;
        let listening = run.stand_in.map(|stand_in| stand_in.listen(room.path()));
        let _listening = listening.transpose().map_err(not_begun)?;
        let mut command = self.prepare(&run, &room).map_err(not_begun)?;
        let mut child = command.spawn().map_err(not_begun)?;
        let mut group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
        let (stdin, input) = (child.stdin.take(), run.input.as_ref().map(|(_, input)| input.as_str()));
        let feeding = async move {
            if let (Some(mut stdin), Some(input)) = (stdin, input) {
                // One that ends before it has read all says why.
                let _ = stdin.write_all(input.as_bytes()).await;
            }
        };
        let both = async { tokio::join!(feeding, child.wait_with_output()).1 };
        let no_answer = || TargetError::NoAnswer { system: run.system.to_owned(), attempted: run.attempted };
        let done =
            tokio::time::timeout(WITHIN, both).await.map_err(|_| no_answer())?.map_err(|_| no_answer())?;
        group.0 = None;
        if done.status.success() {
            return Ok(());
        }
        // Before it is cut: half a secret would not be known for one.
        let words = Redaction::of(&self.secrets).text(&String::from_utf8_lossy(&done.stderr));
        // Files are told by the names that they came with.
        let words = words.replace(&format!("{}/", room.path().join(FILES).display()), "");
        Err(failed(&run, &last_lines(&words)))
    }

    fn prepare(&self, run: &Run<'_>, room: &Room) -> io::Result<process::Command> {
        let (registries, hosts) = &run.registries;
        room.write("config.json", registries.docker_config(hosts).to_string().as_bytes())?;
        let mut command = docker();
        // Whatever is there, a text may ask for: a bare name in `environment` or in an `env_file` takes it.
        command.env_clear();
        command.arg("--config").arg(room.path());
        match run.stand_in {
            Some(_) => _ = command.arg("--host").arg(stand_in::ADDRESS),
            None => self.point_to_the_engine(&mut command, room)?,
        }
        command.args(&run.arguments);
        let files = room.path().join(FILES);
        std::fs::create_dir(&files)?;
        if let Some((text, _)) = &run.input {
            for (path, given) in &text.files {
                room.write(&format!("{FILES}/{path}"), self.value(given).as_bytes())?;
            }
            command.envs(text.env.iter().map(|(name, given)| (name, self.value(given))));
        }
        command.current_dir(files).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        Ok(command)
    }

    fn point_to_the_engine(&self, command: &mut process::Command, room: &Room) -> io::Result<()> {
        command.arg("--host").arg(self.settings.host.to_string());
        for (name, option, content) in [
            ("ca.pem", "--tlscacert", self.settings.ca.as_deref()),
            ("cert.pem", "--tlscert", self.settings.cert.as_deref()),
            ("key.pem", "--tlskey", self.settings.key.as_ref().map(Secret::expose)),
        ] {
            if let Some(content) = content {
                command.arg(option).arg(room.write(name, content.as_bytes())?).arg("--tlsverify");
            }
        }
        Ok(())
    }

    /// A text without the secrets of this worker.
    pub(super) fn redacted(&self, text: &str) -> String {
        Redaction::of(&self.secrets).text(text)
    }

    /// One that is missing was refused before.
    fn value<'a>(&'a self, given: &'a Given) -> &'a str {
        match given {
            Given::Value(value) => value,
            Given::Secret(named) => self.secrets.get(&named.from).map(Secret::expose).unwrap_or_default(),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Whether this machine has the docker command.
///
/// # Errors
/// What is missing and how to mend it, for people.
pub fn command_is_here() -> Result<(), String> {
    if program(DOCKER).is_some() {
        return Ok(());
    }
    Err("the worker has no `docker` command, which stacks are deployed and removed with; install Docker's command line \
         client beside the worker (packages docker-ce-cli or docker-cli, docker.io on older systems)"
        .to_owned())
}

fn docker() -> process::Command {
    let [setpriv, arguments @ ..] = END_WITH_US;
    let docker = program(DOCKER).unwrap_or_else(|| PathBuf::from(DOCKER));
    let Some(setpriv) = program(setpriv) else { return process::Command::new(docker) };
    let mut command = process::Command::new(setpriv);
    command.args(arguments).arg(docker);
    command
}

/// The program of this name that the path to programs leads to.
fn program(name: &str) -> Option<PathBuf> {
    let is_here = |path: &PathBuf| {
        path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|folder| folder.join(name)).find(is_here)
}

fn last_lines(words: &str) -> String {
    let lines: Vec<&str> = words.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    cut(lines[lines.len().saturating_sub(MOST_LINES)..].join("; "))
}

/// What the command's last words mean.
fn failed(run: &Run<'_>, words: &str) -> TargetError {
    let says = |beginnings: &[&str]| beginnings.iter().any(|beginning| words.contains(beginning));
    let system = run.system.to_owned();
    if says(&["update out of sequence"]) {
        return TargetError::Conflict;
    }
    if says(&[
        "Cannot connect to the Docker daemon",
        "error during connect",
        "i/o timeout",
        "connection refused",
    ]) {
        return TargetError::Unreachable { system, source: words.to_owned().into() };
    }
    if says(&["does not have a leader", "context deadline exceeded", "code = Unavailable"]) {
        return TargetError::Unavailable { system, answer: words.to_owned(), retry_after: None };
    }
    let answer = if words.is_empty() { "the docker command failed without a word" } else { words };
    let mend = MENDS.iter().find(|(part, _)| answer.contains(part));
    let answer = mend.map_or(answer.to_owned(), |(_, mend)| format!("{answer} ({mend})"));
    TargetError::Refused { system, attempted: run.attempted, answer }
}

#[cfg(test)]
mod tests {
    use proto::Named;

    use super::*;

    fn command() -> Command {
        let settings = serde_json::from_value(serde_json::json!({"host": "tcp://127.0.0.1:1"})).unwrap();
        let secrets = [("db", "sup3rs3cret"), ("pem", "first-line\nsecond-line\n")];
        let secrets = secrets.map(|(name, value)| (name.to_owned(), Secret::new(value)));
        Command::of(&settings).with(Path::new("/nowhere"), secrets.into())
    }

    fn text() -> StackText {
        let named = |name: &str| Given::Secret(Named { from: name.to_owned() });
        let mut text = StackText::of("a");
        text.env.insert("DB".to_owned(), named("db"));
        text.files.insert("k.pem".to_owned(), named("pem"));
        text
    }

    fn run<'a>(text: &'a StackText, registries: &'a Registries) -> Run<'a> {
        let (system, attempted) = ("swarm", "deploy the stack");
        let registries = (registries, BTreeSet::new());
        Run {
            system,
            attempted,
            arguments: Vec::new(),
            input: Some((text, String::new())),
            registries,
            stand_in: None,
        }
    }

    #[test]
    fn a_secret_that_the_worker_lacks_is_named() {
        assert_eq!(command().lacks(&text()), None);
        let mut other = text();
        other.env.insert("X".to_owned(), Given::Secret(Named { from: "none".to_owned() }));
        assert_eq!(command().lacks(&other), Some("none"));
    }

    #[test]
    fn its_last_words_have_a_meaning() {
        let (text, registries) = (text(), Registries::default());
        let run = run(&text, &registries);
        let meaning = |words: &str| failed(&run, words);
        let stale = "Error response from daemon: rpc error: code = Unknown desc = update out of sequence";
        assert!(matches!(meaning(stale), TargetError::Conflict));
        let away = "Cannot connect to the Docker daemon at tcp://m:1. Is the docker daemon running?";
        assert!(matches!(meaning(away), TargetError::Unreachable { .. }));
        let refused = meaning("services.web.ports must be a list");
        assert_eq!(
            refused.to_string(),
            "swarm refuses to deploy the stack: services.web.ports must be a list"
        );
        let changed = "failed to update config shop_page: only updates to Labels are allowed";
        assert!(meaning(changed).to_string().contains("give the changed one another name"));
        assert_eq!(last_lines("\na\n\n b \n"), "a; b");
        assert_eq!(last_lines(""), "");
    }
}
