//! What can be typed about one deploy or one target.

use clap::{Args, Subcommand};
use config::Span;
use proto::{ImageRef, JobId, TargetName, api::JobName};

use super::{EXIT_CODES, OfTarget, Reach, Rollback, Waiting, span};

/// What can be done with one deploy.
#[derive(Debug, Subcommand)]
pub(crate) enum Job {
    /// Show a deploy and everything that happened to it
    #[command(after_help = "\
Examples:
  longshore job show 0199f3a0-5d7c-7aa0-b6f0-3a2f5d1c9e42
  longshore job show letter-17
      what died and is no deploy that can be read, as `jobs --state dead` lists it")]
    Show {
        /// Its id, as `deploy` and `jobs` print it
        id: JobName,

        #[command(flatten)]
        reach: Reach,
    },

    /// Approve a deploy that is held for it: a new one takes its place, and waits for its window as before
    #[command(after_help = format!("\
Examples:
  longshore jobs --state held
      lists what waits, and for what
  longshore job approve 0199f3a0-5d7c-7aa0-b6f0-3a2f5d1c9e42 --wait
  longshore job approve 0199f3a0-5d7c-7aa0-b6f0-3a2f5d1c9e42 --force
      also where a newer deploy of the same thing would be overwritten

{EXIT_CODES}"))]
    Approve(Approve),

    /// Carry out once more what could not be carried out
    #[command(after_help = format!("\
Examples:
  longshore job replay 0199f3a0-5d7c-7aa0-b6f0-3a2f5d1c9e42 --wait
  longshore job replay 0199f3a0-5d7c-7aa0-b6f0-3a2f5d1c9e42 --force
      also where a newer deploy of the same thing would be overwritten

{EXIT_CODES}"))]
    Replay(Replay),

    /// Give up for good what could not be carried out
    #[command(after_help = "\
Example:
  longshore job discard letter-17")]
    Discard {
        /// Its id, as `jobs --state dead` prints it
        id: JobName,

        /// Discard it also where it could be replayed, were its user of the broker known to the server
        #[arg(long)]
        force: bool,

        #[command(flatten)]
        reach: Reach,
    },

    /// Call off a deploy that has not touched its target yet, and tell whether that came in time
    #[command(after_help = "\
Example:
  longshore job cancel 0199f3a0-5d7c-7aa0-b6f0-3a2f5d1c9e42

Exit code 0: it is called off. 5: it came too late, or the deploy had ended. 124: that is not known yet.")]
    Cancel(Cancel),
}

/// What `job approve` takes.
#[derive(Debug, Args)]
pub(crate) struct Approve {
    /// Its id, as `jobs --state held` prints it
    pub(crate) id: JobId,

    /// Approve it also where a newer deploy of the same thing was carried out since
    #[arg(long)]
    pub(crate) force: bool,

    #[command(flatten)]
    pub(crate) following: Waiting,

    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// What `job replay` takes.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// Its id, as `jobs --state dead` prints it
    pub(crate) id: JobName,

    /// Replay it also where a newer deploy of the same thing was carried out since
    #[arg(long)]
    pub(crate) force: bool,

    #[command(flatten)]
    pub(crate) following: Waiting,

    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// What `job cancel` takes.
#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// Its id, as `deploy` and `jobs` print it
    pub(crate) id: JobId,

    /// How long to wait for the outcome, as `90s`, `10m` or `1h30m` [default: until it is known]
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub(crate) timeout: Option<Span>,

    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// What can be done with one target.
#[derive(Debug, Subcommand)]
pub(crate) enum Target {
    /// Show how a target stands now, as a worker sees it
    #[command(after_help = "\
Examples:
  longshore target show web
  longshore target show office/web --json")]
    Show {
        /// Its name: `name`, or `pool/name`
        name: TargetName,

        #[command(flatten)]
        reach: Reach,
    },

    /// Let nothing else be deployed here until it is released; what is asked for meanwhile waits
    #[command(after_help = format!("\
Examples:
  longshore target hold web --wait
      every later deploy waits; a rollback does not
  longshore target hold web --image acme/web:1.4.2 --wait
      that image alone is not deployed any more
  longshore target release web --wait

{EXIT_CODES}"))]
    Hold(Hold),

    /// Release what was held last: the target itself, or an image that was rolled back here, which is tried again
    #[command(after_help = format!("\
Examples:
  longshore target release web --wait
  longshore jobs --state held
      lists what is held

{EXIT_CODES}"))]
    Release(Release),

    /// Run what was stopped, with as many tasks as before
    #[command(after_help = format!("\
Example:
  longshore target start web --wait

It is `longshore stack start`, for a target that is no stack.

{EXIT_CODES}"))]
    Start(OfTarget),

    /// Stop every task and remember how many there were
    #[command(after_help = format!("\
Example:
  longshore target stop web --wait

It is `longshore stack stop`, for a target that is no stack.

{EXIT_CODES}"))]
    Stop(OfTarget),

    /// Replace every task, with the same image
    #[command(after_help = format!("\
Example:
  longshore target restart web --wait

It is `longshore stack restart`, for a target that is no stack.

{EXIT_CODES}"))]
    Restart(OfTarget),

    /// Run again what ran well before, or what a former deploy brought
    #[command(after_help = format!("\
Examples:
  longshore target rollback web --wait
  longshore target rollback web --to 0199f3a0-5d7c-7aa0-b6f0-3a2f5d1c9e42
      the image of that deploy

{EXIT_CODES}"))]
    Rollback(Rollback),
}

/// What `target hold` takes.
#[derive(Debug, Args)]
pub(crate) struct Hold {
    /// Its name: `name`, or `pool/name`
    pub(crate) name: TargetName,

    /// This image alone: what its tag points to when it is put on hold [default: whatever may be deployed]
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<ImageRef>,

    #[command(flatten)]
    pub(crate) following: Waiting,

    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// What `target release` takes.
#[derive(Debug, Args)]
pub(crate) struct Release {
    /// Its name: `name`, or `pool/name`
    pub(crate) name: TargetName,

    #[command(flatten)]
    pub(crate) following: Waiting,

    #[command(flatten)]
    pub(crate) reach: Reach,
}
