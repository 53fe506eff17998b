//! What can be typed to deploy, show and remove a stack.

use std::path::PathBuf;

use clap::Args;
use proto::TargetName;

use super::{Reach, Waiting};

/// What goes with a compose file.
#[derive(Debug, Args)]
pub(crate) struct ComposeText {
    /// A variable of the compose file; without a value, the one of this shell's environment
    #[arg(long, value_name = "NAME[=VALUE]", requires = "file")]
    pub(crate) env: Vec<String>,

    /// A file of variables, a `NAME=VALUE` on each line
    #[arg(long, value_name = "FILE", requires = "file")]
    pub(crate) env_file: Vec<PathBuf>,

    /// A variable whose value is a secret of the workers' configuration
    #[arg(long, value_name = "NAME=SECRET", requires = "file")]
    pub(crate) secret_env: Vec<String>,

    /// A file that the compose file names for a config or an `env_file`, by the path that stands there; it is kept readable
    #[arg(long = "with", value_name = "PATH", requires = "file")]
    pub(crate) files: Vec<String>,

    /// A file that it names for a secret (or a config or an `env_file`), with a secret of the workers' configuration in it
    #[arg(long, value_name = "PATH=SECRET", requires = "file")]
    pub(crate) secret_file: Vec<String>,

    /// Remove services that the compose file does not have
    #[arg(long, requires = "file")]
    pub(crate) prune: bool,

    /// Take over a stack that something else deployed
    #[arg(long, requires = "file")]
    pub(crate) adopt: bool,
}

impl ComposeText {
    /// Whether any of it was typed.
    pub(crate) fn is_typed(&self) -> bool {
        let lists = [&self.env, &self.secret_env, &self.files, &self.secret_file];
        self.prune || self.adopt || !self.env_file.is_empty() || lists.iter().any(|list| !list.is_empty())
    }
}

/// What `stack deploy` takes.
#[derive(Debug, Args)]
pub(crate) struct DeployStack {
    /// The target: `name`, or `pool/name`
    pub(crate) target: TargetName,

    /// The compose file; `-` reads it from standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) file: PathBuf,

    #[command(flatten)]
    pub(crate) with: ComposeText,

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

/// What `stack list` takes.
#[derive(Debug, Args)]
pub(crate) struct ListStacks {
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// What `stack show` takes.
#[derive(Debug, Args)]
pub(crate) struct ShowStack {
    /// The target: `name`, or `pool/name`
    pub(crate) target: TargetName,

    /// The compose file that it was deployed from before the last one
    #[arg(long)]
    pub(crate) before: bool,

    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// What `stack git` takes.
#[derive(Debug, Args)]
pub(crate) struct GitStack {
    /// The target: `name`, or `pool/name`
    pub(crate) target: TargetName,

    /// The repository, as in `https://git.example.com/shop.git`; without user and password
    #[arg(long, value_name = "URL")]
    pub(crate) url: String,

    /// The whole reference, as in `refs/heads/main`
    #[arg(long, value_name = "REFERENCE")]
    pub(crate) reference: Option<String>,

    /// The compose file in the repository [default: docker-compose.yml]
    #[arg(long, value_name = "PATH")]
    pub(crate) file: Option<String>,

    /// A compose file to lay over it; several in their order
    #[arg(long = "with", value_name = "PATH")]
    pub(crate) more_files: Vec<String>,

    /// Who reads the repository
    #[arg(long, value_name = "NAME", requires = "password_secret")]
    pub(crate) username: Option<String>,

    /// The secret of the workers' configuration that is the password
    #[arg(long, value_name = "SECRET", requires = "username")]
    pub(crate) password_secret: Option<String>,

    /// A variable of the stack; without a value, the one of this shell's environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,

    /// A variable whose value is a secret of the workers' configuration
    #[arg(long, value_name = "NAME=SECRET")]
    pub(crate) secret_env: Vec<String>,

    /// How often Portainer itself looks for pushes, as `5m`
    #[arg(long, value_name = "TIME", value_parser = super::span)]
    pub(crate) every: Option<config::Span>,

    /// Change how the stack is read, and deploy nothing
    #[arg(long)]
    pub(crate) settings_only: bool,

    /// Do it at once, whatever the target's window says; an approval is needed all the same
    #[arg(long)]
    pub(crate) now: bool,

    #[command(flatten)]
    pub(crate) following: Waiting,

    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// What `stack migrate` takes.
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// The target: `name`, or `pool/name`
    pub(crate) target: TargetName,

    /// The environment to move to, by its name or number
    #[arg(long, value_name = "ENVIRONMENT")]
    pub(crate) to: String,

    /// Its name there [default: the one it has]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// Do it at once, whatever the target's window says; an approval is needed all the same
    #[arg(long)]
    pub(crate) now: bool,

    #[command(flatten)]
    pub(crate) following: Waiting,

    #[command(flatten)]
    pub(crate) reach: Reach,
}
