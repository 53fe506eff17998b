//! What can be typed to run, stop and clean what is deployed.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use config::Span;
use proto::{ImageRef, JobId, TargetName};

use super::{
    ComposeText, DeployStack, EXIT_CODES, GitStack, ListStacks, Migrate, Reach, RemoveStack, ShowStack,
    Waiting, span,
};

/// What can be done with everything of one target.
#[derive(Debug, Subcommand)]
pub(crate) enum Stack {
    /// Make a stack what a compose file says
    #[command(after_help = format!("\
Examples:
  longshore stack deploy shop --file compose.yml --env TAG=1.4.2 --wait
  longshore stack deploy shop --file compose.yml --with nginx.conf --secret-env DB_PASSWORD=shop_db --prune
      the file nginx.conf that a config names goes along; the password is a secret of the workers' configuration
  longshore stack deploy shop --file compose.yml --adopt
      takes over a stack that was deployed by something else, once

Images are looked up and pinned when it is carried out. A service whose image was deployed later keeps that image.

{EXIT_CODES}"))]
    Deploy(DeployStack),

    /// Remove a stack: its services, networks, configs and secrets; volumes stay
    #[command(after_help = format!("\
Example:
  longshore stack remove shop --wait
      ends once not even a container is left

{EXIT_CODES}"))]
    Remove(RemoveStack),

    /// Make a stack of a Portainer what a git repository says, or change how it is read from there
    #[command(after_help = format!("\
Examples:
  longshore stack git shop --url https://git.example.com/shop.git --reference refs/heads/main --wait
      makes the stack; where it is of that repository already, deploys what is there now
  longshore stack git shop --url https://git.example.com/shop.git --username robot --password-secret git_robot --settings-only
      only changes who reads it; the password is a secret of the workers' configuration

What is left out stays as it is: reference, credentials, variables, the time between two looks for pushes.

{EXIT_CODES}"))]
    Git(GitStack),

    /// Move a stack of a Portainer to another of its environments; volumes stay where they are
    #[command(after_help = format!("\
Example:
  longshore stack migrate shop --to office --wait
      declare the target on a system with that environment afterwards

{EXIT_CODES}"))]
    Migrate(Migrate),

    /// List the stacks of which a compose file is kept
    #[command(after_help = "\
Examples:
  longshore stack list
  longshore stack show shop
      prints the one of the target `shop`")]
    List(ListStacks),

    /// Print the compose file that a stack was deployed from last
    #[command(after_help = "\
Examples:
  longshore stack show shop > compose.yml
  longshore stack show shop --before > compose.yml && longshore stack deploy shop --file compose.yml
      deploys the one before again; what it takes beside the file stands under --json
  longshore stack show shop --json
      with its variables, its files and the deploy that brought it; secrets by name")]
    Show(ShowStack),

    /// Run what was stopped, with as many tasks as before
    #[command(after_help = format!("\
Examples:
  longshore stack start shop
  longshore stack start shop --wait --timeout 5m

{EXIT_CODES}"))]
    Start(OfTarget),

    /// Stop every task and remember how many there were
    #[command(after_help = format!("\
Example:
  longshore stack stop shop --wait

A service that runs on every node (global mode) cannot be stopped this way.

{EXIT_CODES}"))]
    Stop(OfTarget),

    /// Replace every task, with the same image
    #[command(after_help = format!("\
Example:
  longshore stack restart shop --wait

What is stopped is started.

{EXIT_CODES}"))]
    Restart(OfTarget),

    /// Look the image's tag up again, and replace every task with what it points to now
    #[command(after_help = format!("\
Example:
  longshore stack redeploy shop --wait

{EXIT_CODES}"))]
    Redeploy(Redeploy),
}

/// What `stack redeploy` takes.
#[derive(Debug, Args)]
pub(crate) struct Redeploy {
    /// Do it at once, whatever the target's window says; an approval is needed all the same
    #[arg(long)]
    pub(crate) now: bool,

    #[command(flatten)]
    pub(crate) of: OfTarget,
}

/// A target, and whether to wait.
#[derive(Debug, Args)]
pub(crate) struct OfTarget {
    /// The target: `name`, or `pool/name`
    pub(crate) target: TargetName,

    #[command(flatten)]
    pub(crate) following: Waiting,

    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// What `target rollback` takes.
#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// Its name: `name`, or `pool/name`
    pub(crate) name: TargetName,

    /// The deploy whose image is to run again [default: the last image that ran well before]
    #[arg(long, value_name = "ID")]
    pub(crate) to: Option<JobId>,

    /// The service within the target, where the target is a stack of several
    #[arg(long, value_name = "NAME")]
    pub(crate) service: Option<String>,

    #[command(flatten)]
    pub(crate) following: Waiting,

    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// What `prune` takes.
#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// A target: the images go from the engine that its worker speaks to
    pub(crate) target: TargetName,

    /// Only images made longer ago than this, as `12h` or `30d`
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = span)]
    pub(crate) older_than: Span,

    /// Only images with this label, `name` or `name=value`; several must all be there
    #[arg(long = "label", value_name = "LABEL")]
    pub(crate) labels: Vec<String>,

    #[command(flatten)]
    pub(crate) following: Waiting,

    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// What `plan` takes.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("wish").required(true).args(["image", "file", "start", "stop", "restart", "redeploy", "rollback"]))]
pub(crate) struct Plan {
    /// The target: `name`, or `pool/name`
    pub(crate) target: TargetName,

    /// The image it would run
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<ImageRef>,

    /// The compose file it would be deployed from; `-` reads it from standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) with: ComposeText,

    /// It would start
    #[arg(long)]
    pub(crate) start: bool,

    /// It would stop
    #[arg(long)]
    pub(crate) stop: bool,

    /// It would restart
    #[arg(long)]
    pub(crate) restart: bool,

    /// It would look its image's tag up again
    #[arg(long)]
    pub(crate) redeploy: bool,

    /// It would go back to what ran well before
    #[arg(long)]
    pub(crate) rollback: bool,

    /// The service within the target, where the target is a stack of several
    #[arg(long, value_name = "NAME", conflicts_with_all = ["start", "stop", "restart", "redeploy"])]
    pub(crate) service: Option<String>,

    #[command(flatten)]
    pub(crate) reach: Reach,
}
