//! What can be typed.

mod access;
mod broker;
mod deploy;
mod explain;
mod look;
mod one;
mod operate;
mod stack;
mod start;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use config::Span;

pub(crate) use access::{AddUser, CreateToken, Expiry, LogIn, LogOut, Token, User};
pub(crate) use broker::{Broker, Setup};
use deploy::CI_VARIABLES;
pub(crate) use deploy::Deploy;
pub(crate) use explain::Explain;
pub(crate) use look::{Jobs, Targets, Watch};
pub(crate) use one::{Approve, Cancel, Hold, Job, Replay, Target};
pub(crate) use operate::{OfTarget, Plan, Prune, Rollback, Stack};
pub(crate) use stack::{ComposeText, DeployStack, GitStack, ListStacks, Migrate, RemoveStack, ShowStack};
pub(crate) use start::{Check, Hook, HookSend, HookUrl, Init, Schema};

const EXIT_CODES: &str = "\
Exit codes:
  0    succeeded
  1    failed, or could not be carried out
  2    the command line or the configuration is wrong
  3    rolled back: the target runs what it ran before
  4    superseded by a newer deploy, or cancelled
  5    refused
  6    held: waits for a time, an approval or a release
  7    Longshore was not reached, or cannot serve now (no worker, broker away, queue full)
  124  the wait ended (--timeout, Ctrl-C), the deploy goes on";

const FINDING: &str = "\
Where Longshore is found, the first that says so:
  LONGSHORE_URL, LONGSHORE_TOKEN   the environment
  --config FILE                    what runs on its `data` directory, else its `public_url` or `listen`
  --data DIR                       the directory of a `longshore up` on this machine [./longshore-data]
The token is never taken from the command line, where other users of the machine could read it.";

/// Carries new images to where they run, and says truthfully how it went
#[derive(Debug, Parser)]
#[command(name = "longshore", version, disable_help_subcommand = true)]
#[command(after_help = "\
Start in a minute:
  longshore up
  curl -d '{\"image\":\"demo:2\"}' http://127.0.0.1:8080/hooks/demo

`longshore COMMAND --help` shows examples of each command.")]
#[command(after_long_help = format!("\
Start in a minute:
  longshore up
  curl -d '{{\"image\":\"demo:2\"}}' http://127.0.0.1:8080/hooks/demo
  longshore watch

{FINDING}

{EXIT_CODES}

`longshore COMMAND --help` shows examples of each command."))]
pub struct Arguments {
    /// Print JSON instead of text: one document, or a line for each event
    #[arg(long, global = true, display_order = 100)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Everything `longshore` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything in one process; needs no configuration to try it
    #[command(after_help = "\
Examples:
  longshore up
      listens on 127.0.0.1:8080 with a target to try things on, keeps its data in ./longshore-data
  longshore up --config longshore.yaml
      the same process with your own sources, systems and targets

Ctrl-C stops it; what is unfinished goes on at the next start. SIGHUP has it read its files again.")]
    Up(Up),

    /// Run the process that takes webhooks and calls
    #[command(after_help = "\
Example:
  longshore ingress --config longshore.yaml

SIGHUP has it read its files again.")]
    Ingress(Ingress),

    /// Run a process that carries deploys out
    #[command(after_help = "\
Example:
  longshore worker --config longshore.yaml

Start as many as you like: they share the work, and one takes over from another. SIGHUP has it read its
files again.")]
    Worker(Worker),

    /// Write a first configuration from what runs on this machine
    #[command(after_help = "\
Examples:
  longshore init
      writes ./longshore.yaml, with the swarm behind /var/run/docker.sock and the Portainers on it, commented
  longshore init --print --portainer https://portainer.example.org:9443

Nothing is changed anywhere, and a file that is there is never overwritten.")]
    Init(Init),

    /// Print what to paste at a sender of webhooks, and try it
    #[command(subcommand)]
    Hook(Hook),

    /// Check a configuration: every fault at once, with its line
    #[command(after_help = "\
Examples:
  longshore check --config longshore.yaml
  longshore check --config base.yaml --config office.yaml
      several files are merged by key, the later one wins
  longshore check --config longshore.yaml --connect
      asks each system as well what is there and what its key may do, and GitHub whether missed deliveries
      can be fetched

Exit code 0: it can be used. 2: it has faults, all of them are printed. 1: with --connect, something is missing.")]
    Check(Check),

    /// Tell what becomes of an image or of a webhook, and why
    #[command(after_help = "\
Examples:
  longshore explain acme/web:1.4.2
      which targets of the Longshore that runs take it, those found by their labels too, and which nearly do
  longshore explain acme/web:1.4.2 --config longshore.yaml
      the same of the targets in a file, without a server
  longshore explain @payload.json --source github --header 'X-GitHub-Event: package' --json
      what a hook of this kind would make of the body; nothing is sent, no signature is checked")]
    Explain(Explain),

    /// Deploy an image to a target
    #[command(after_help = format!("\
Examples:
  longshore deploy web --image acme/web:1.4.2
      asks for it and returns
  longshore deploy web --image acme/web:1.4.2 --wait --timeout 10m
      follows it to its end; the exit code says how it ended
  longshore deploy shop --service api --image acme/api@sha256:…
      one service of a target that is a stack
  longshore deploy --from-ci-env
      all places on a Portainer that the variables of a CI step name, a line for each; without a fleet
      it carries them out itself

{CI_VARIABLES}

{EXIT_CODES}"))]
    Deploy(Deploy),

    /// Tell what a deploy would change, field by field, and change nothing
    #[command(after_help = "\
Examples:
  longshore plan web --image acme/web:1.4.2
  longshore plan shop --file compose.yml --env TAG=1.4.2
  longshore plan shop --stop --json")]
    Plan(Plan),

    /// Follow deploys as they happen: all of them, or one until its end
    #[command(after_help = "\
Examples:
  longshore watch
      a line for each state of each deploy, until Ctrl-C
  longshore watch 0199f3a0-5d7c-7aa0-b6f0-3a2f5d1c9e42
      from its beginning until its end; the exit code says how it ended
  longshore watch --json | jq -r 'select(.data.state == \"failed\") | .subject'")]
    Watch(Watch),

    /// List deploys, newest first
    #[command(after_help = "\
Examples:
  longshore jobs
  longshore jobs --target web --state failed --limit 5
  longshore jobs --state dead
      what could not be carried out and waits to be replayed or discarded
  longshore jobs --state held
      what waits for a time or an approval, why, and until when")]
    Jobs(Jobs),

    /// Look at one deploy, approve, replay, discard or cancel it
    #[command(subcommand)]
    Job(Job),

    /// List the targets and what each of them follows
    #[command(after_help = "\
Examples:
  longshore targets --json
  longshore targets --stacks
      every stack of every Portainer, and which target it is; with --json its variables too, secrets hidden")]
    Targets(Targets),

    /// Look at one target, or roll it back
    #[command(subcommand)]
    Target(Target),

    /// Deploy or remove a stack; start, stop, restart or redeploy what a target runs
    #[command(subcommand)]
    Stack(Stack),

    /// Remove old images that nothing uses
    #[command(after_help = "\
Examples:
  longshore prune web --wait
      images made more than 7 days ago, from the one engine that web's worker speaks to; prints what was freed
  longshore prune web --older-than 30d --label org.opencontainers.image.vendor=acme --wait")]
    Prune(Prune),

    /// Log in as a user: the commands after it use the session
    #[command(
        name = "login",
        after_help = "\
Examples:
  longshore login anna
      at LONGSHORE_URL, asks for the password; the session goes on while it is used, and ends seven days after the last command
  pass show longshore/anna | longshore login anna

It is kept for you alone in ~/.config/longshore, for each address by itself. LONGSHORE_TOKEN, and the token in the
data directory of a `longshore up` on this machine, go before it."
    )]
    LogIn(LogIn),

    /// End the session that `login` began
    #[command(
        name = "logout",
        after_help = "\
Examples:
  longshore logout
  longshore logout --everywhere
      every session of the user, also in browsers"
    )]
    LogOut(LogOut),

    /// Make, list and take away tokens for the API and for hooks
    #[command(subcommand)]
    Token(Token),

    /// Enter users, give them passwords, keep them out
    #[command(subcommand)]
    User(User),

    /// Prepare the broker: exchanges and queues, users and what they may
    #[command(subcommand)]
    Broker(Broker),

    /// Write the JSON Schemas of jobs, events and the configuration
    #[command(hide = true)]
    Schema(Schema),
}

/// What `up` takes.
#[derive(Debug, Args)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) files: OptionalFiles,

    /// The address to listen on [default: 127.0.0.1:8080, or the configuration's `listen`]
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub(crate) listen: Option<SocketAddr>,

    /// The directory for everything that must be kept [default: ./longshore-data, or the configuration's `data`]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// Takes webhooks and calls of the API, and makes deploy jobs of them.
#[derive(Debug, Parser)]
#[command(name = "longshore-ingress", version)]
pub(crate) struct IngressAlone {
    #[command(flatten)]
    pub(crate) ingress: Ingress,
}

/// Takes deploy jobs, carries them out, and says what became of them.
#[derive(Debug, Parser)]
#[command(name = "longshore-worker", version)]
pub(crate) struct WorkerAlone {
    #[command(flatten)]
    pub(crate) worker: Worker,
}

/// What `ingress` takes.
#[derive(Debug, Args)]
pub(crate) struct Ingress {
    #[command(flatten)]
    pub(crate) files: Files,

    /// Listen here instead of what the configuration says
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub(crate) listen: Option<SocketAddr>,

    /// Keep the data here instead of where the configuration says
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// What `worker` takes.
#[derive(Debug, Args)]
pub(crate) struct Worker {
    #[command(flatten)]
    pub(crate) files: Files,

    /// Keep the data here instead of where the configuration says
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// Files that must be given.
#[derive(Debug, Args)]
pub(crate) struct Files {
    /// A configuration file; several are merged by key, the later one wins
    #[arg(long = "config", value_name = "FILE", required = true)]
    pub(crate) config: Vec<PathBuf>,
}

/// Files that may be given.
#[derive(Debug, Args)]
pub(crate) struct OptionalFiles {
    /// A configuration file; several are merged by key, the later one wins
    #[arg(long = "config", value_name = "FILE")]
    pub(crate) config: Vec<PathBuf>,
}

/// How a client finds Longshore.
#[derive(Debug, Args)]
pub(crate) struct Reach {
    /// A configuration file that says where Longshore listens and keeps its data
    #[arg(long = "config", value_name = "FILE", display_order = 90)]
    pub(crate) config: Vec<PathBuf>,

    /// The data directory of a `longshore up` on this machine [default: ./longshore-data]
    #[arg(long, value_name = "DIR", display_order = 91)]
    pub(crate) data: Option<PathBuf>,
}

/// Whether a deploy is followed, and for how long.
#[derive(Debug, Args)]
pub(crate) struct Waiting {
    /// Follow the deploy to its end
    #[arg(long)]
    pub(crate) wait: bool,

    /// How long to wait, as `90s`, `10m` or `1h30m` [default: until the deploy ends]
    #[arg(long, value_name = "TIME", requires = "wait", value_parser = span)]
    pub(crate) timeout: Option<Span>,
}

fn span(text: &str) -> Result<Span, String> {
    text.parse().map_err(|error: config::UnitError| format!("{error}; {}", error.hint()))
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected an IP address and a port, as in `127.0.0.1:8080`".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn no_argument_takes_a_token() {
        fn names(command: &clap::Command) -> Vec<String> {
            let own = command.get_arguments().map(|argument| argument.get_id().to_string());
            own.chain(command.get_subcommands().flat_map(names)).collect()
        }
        assert!(!names(&Arguments::command()).iter().any(|name| name.contains("token")));
    }
}
