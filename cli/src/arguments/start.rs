//! What can be typed before anything runs.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Reach;

/// What `init` takes.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The file to write; one that is there is never overwritten
    #[arg(long, value_name = "FILE", default_value = "longshore.yaml", conflicts_with = "print")]
    pub(crate) out: PathBuf,

    /// Print it instead
    #[arg(long)]
    pub(crate) print: bool,

    /// The engine's socket [default: that of DOCKER_HOST, or /var/run/docker.sock]
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,

    /// A Portainer elsewhere; several are given one by one
    #[arg(long = "portainer", value_name = "URL")]
    pub(crate) portainers: Vec<String>,
}

/// What `hook` takes.
#[derive(Debug, Subcommand)]
pub(crate) enum Hook {
    /// Print what to paste at the sender: the URL, and the header or secret; it shows the source's secrets
    #[command(after_help = "\
Example:
  longshore hook url hub --config longshore.yaml")]
    Url(HookUrl),

    /// Send a sample as the sender would, signed and with its key; an image that a target follows is deployed
    #[command(after_help = "\
Examples:
  longshore hook send hub --config longshore.yaml
  longshore hook send forge --sample release --config longshore.yaml
      one of several samples; a wrong name tells the right ones
  longshore hook send ci --body body.json --config longshore.yaml
      a body of your own

Exit code 0: taken, or ignored for the reason that is printed. 5: refused. 7: Longshore was not reached.")]
    Send(HookSend),
}

/// What `hook url` takes.
#[derive(Debug, Args)]
pub(crate) struct HookUrl {
    /// The source, by its name in the configuration
    #[arg(value_name = "SOURCE")]
    pub(crate) source: String,

    #[command(flatten)]
    pub(crate) files: super::Files,
}

/// What `hook send` takes.
#[derive(Debug, Args)]
pub(crate) struct HookSend {
    /// The source, by its name in the configuration
    #[arg(value_name = "SOURCE")]
    pub(crate) source: String,

    /// Which sample [default: a push, or the kind's most usual message]
    #[arg(long, value_name = "NAME", conflicts_with = "body")]
    pub(crate) sample: Option<String>,

    /// A file with a body of your own
    #[arg(long, value_name = "FILE")]
    pub(crate) body: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// What is looked at, and whether anybody is asked.
#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) files: super::Files,
    /// Also ask each system what is there; nothing is changed
    #[arg(long)]
    pub(crate) connect: bool,
}

/// What `schema` takes.
#[derive(Debug, Args)]
pub(crate) struct Schema {
    /// The directory to write `job.json`, `event.json` and `configuration.json` to; standard output without it
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}
