//! What can be typed to deploy, show and remove a stack.

use std::path::PathBuf;

use clap::Args;
use proto::TargetName;

use super::{Reach, Waiting};

/// What `stack deploy` takes.
#[derive(Debug, Args)]
pub(crate) struct DeployStack {
    /// The target: `name`, or `pool/name`
    pub(crate) target: TargetName,

    /// The compose file; `-` reads it from standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// A variable of the compose file; without a value, the one of this shell's environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,

    /// A file of variables, a `NAME=VALUE` on each line
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,

    /// A variable whose value is a secret of the workers' configuration
    #[arg(long, value_name = "NAME=SECRET")]
    pub(crate) secret_env: Vec<String>,

    /// A file that the compose file names, for a config, a secret or an `env_file`; by the path that stands there
    #[arg(long = "with", value_name = "PATH")]
    pub(crate) with: Vec<String>,

    /// The same, with a secret of the workers' configuration in it
    #[arg(long, value_name = "PATH=SECRET")]
    pub(crate) secret_file: Vec<String>,

    /// Remove services that the compose file does not have
    #[arg(long)]
    pub(crate) prune: bool,

    /// Take over a stack that something else deployed
    #[arg(long)]
    pub(crate) adopt: bool,

    /// Do it at once, whatever the target's window says; an approval is needed all the same
    #[arg(long)]
    pub(crate) now: bool,

    #[command(flatten)]
    pub(crate) following: Waiting,

    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// What `stack remove` takes.
#[derive(Debug, Args)]
pub(crate) struct RemoveStack {
    /// The target: `name`, or `pool/name`
    pub(crate) target: TargetName,

    /// Also where something else deployed it
    #[arg(long)]
    pub(crate) force: bool,

    /// Do it at once, whatever the target's window says; an approval is needed all the same
    #[arg(long)]
    pub(crate) now: bool,

    #[command(flatten)]
    pub(crate) following: Waiting,

    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// What `stack show` takes.
#[derive(Debug, Args)]
pub(crate) struct ShowStack {
    /// The target: `name`, or `pool/name`
    pub(crate) target: TargetName,

    #[command(flatten)]
    pub(crate) reach: Reach,
}
