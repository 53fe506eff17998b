//! What can be typed about who may come in.

use std::{path::PathBuf, str::FromStr};

use clap::{
    Args, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use config::Span;
use ingress::Role;

use super::Reach;

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token, and show it this once
    #[command(after_help = "\
Examples:
  longshore token create ci-web --target web --operation set-image
      may deploy images to one target, and look at it
  longshore token create ops --target '*' --operation '*' --expires never
      may do everything
  longshore token create office --target 'office/*' --operation start --operation stop
      all targets of a pool
  longshore token create hub --source hub --target 'blog-*'
      opens the hook of one source in place of its key, for some targets

What uses it finds it in LONGSHORE_TOKEN, or sends `Authorization: Bearer TOKEN`. A running Longshore takes it within a
second; no restart is needed.

Operations: read, plan, set-image, deploy-stack, remove-stack, deploy-git, migrate, start, stop, restart, redeploy,
rollback, prune-images, cancel, approve, release, replay, discard, and * for all. Whoever may do anything to a target may
look at it.")]
    Create(CreateToken),

    /// List the tokens, with what each of them may do
    #[command(after_help = "\
Example:
  longshore token list --config longshore.yaml")]
    List {
        #[command(flatten)]
        reach: Reach,
    },

    /// Take a token away: within a second it opens nothing
    #[command(after_help = "\
Examples:
  longshore token revoke ci-web
  longshore token revoke 3f9a01c2d4e5
      by the part of it behind `lsh_`, as where it was found in a log")]
    Revoke {
        /// Its name, or the part of it behind `lsh_`
        name: String,

        #[command(flatten)]
        reach: Reach,
    },
}

/// What `token create` takes.
#[derive(Debug, Args)]
pub(crate) struct CreateToken {
    /// What it is for, as `ci-web`
    pub(crate) name: String,

    /// The targets, as `web`, `web-*`, `office/*`, or `*`; several times for several
    #[arg(long = "target", value_name = "PATTERN")]
    pub(crate) targets: Vec<String>,

    /// What may be done to them, as `set-image`, or `*`; several times for several
    #[arg(long = "operation", value_name = "NAME")]
    pub(crate) operations: Vec<String>,

    /// A source whose hook it opens, for the targets given [default: all]; several times for several
    #[arg(long = "source", value_name = "PATTERN")]
    pub(crate) sources: Vec<String>,

    /// For how long, as `30d`, or `never`
    #[arg(long, value_name = "TIME", default_value = "365d")]
    pub(crate) expires: Expiry,

    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// For how long a token opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// So long.
    After(Span),
    /// For ever.
    Never,
}

impl FromStr for Expiry {
    type Err = String;

    fn from_str(text: &str) -> Result<Expiry, String> {
        match text {
            "never" => Ok(Expiry::Never),
            span => match super::span(span)? {
                Span(time) if time.is_zero() => {
                    Err("it would open nothing: write `30d`, or `never`".to_owned())
                }
                span => Ok(Expiry::After(span)),
            },
        }
    }
}

/// What can be done with users.
#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Enter a user, who can log in at once
    #[command(after_help = "\
Examples:
  longshore user add anna --role deployer --target 'web-*'
      asks for the password
  longshore user add bert --role viewer --password-file bert.txt
  pass show longshore/cora | longshore user add cora --role approver --full-name 'Cora C.' --phone '+49 30 1234'

Roles, each with all of the one before:
  viewer    looks, and asks what would change
  deployer  deploys, and does whatever else can be done to a target
  approver  approves, releases, replays and discards
  admin     everything")]
    Add(AddUser),

    /// Give a user another password; every session of theirs ends
    #[command(after_help = "\
Examples:
  longshore user passwd anna
  longshore user passwd anna --password-file new.txt")]
    Passwd {
        /// Their name
        name: String,

        /// A file whose first line is the password, instead of asking for it
        #[arg(long = "password-file", value_name = "FILE")]
        password_file: Option<PathBuf>,

        #[command(flatten)]
        reach: Reach,
    },

    /// Keep a user out: every session of theirs ends within a second
    #[command(after_help = "\
Example:
  longshore user disable anna")]
    Disable {
        /// Their name
        name: String,

        #[command(flatten)]
        reach: Reach,
    },

    /// Let a user in again
    #[command(after_help = "\
Example:
  longshore user enable anna")]
    Enable {
        /// Their name
        name: String,

        #[command(flatten)]
        reach: Reach,
    },

    /// Give a user another role: what they may do changes within a second, and they stay logged in
    #[command(after_help = "\
Examples:
  longshore user role anna approver
      on the targets that she has
  longshore user role anna deployer --target 'web-*' --target office/shop")]
    Role {
        /// Their name
        name: String,

        /// What they may do from now on
        #[arg(value_parser = roles())]
        role: Role,

        /// Their targets from now on, as `web`, `web-*` or `office/*`; several times for several [default: those they have]
        #[arg(long = "target", value_name = "PATTERN")]
        targets: Vec<String>,

        #[command(flatten)]
        reach: Reach,
    },

    /// Take a user out for good: every session of theirs ends within a second
    #[command(after_help = "\
Example:
  longshore user remove anna

Who is entered under the name later is somebody else: no former session is theirs. To keep somebody out for
a while, `longshore user disable` them.")]
    Remove {
        /// Their name
        name: String,

        #[command(flatten)]
        reach: Reach,
    },

    /// List the users
    #[command(after_help = "\
Example:
  longshore user list --config longshore.yaml")]
    List {
        #[command(flatten)]
        reach: Reach,
    },
}

/// What `user add` takes.
#[derive(Debug, Args)]
pub(crate) struct AddUser {
    /// The name to log in with
    pub(crate) name: String,

    /// What they may do
    #[arg(long, value_parser = roles())]
    pub(crate) role: Role,

    /// The targets, as `web`, `web-*` or `office/*`; several times for several [default: all]
    #[arg(long = "target", value_name = "PATTERN")]
    pub(crate) targets: Vec<String>,

    /// What people call them
    #[arg(long = "full-name", value_name = "TEXT")]
    pub(crate) full_name: Option<String>,

    /// How they are reached
    #[arg(long, value_name = "TEXT")]
    pub(crate) phone: Option<String>,

    /// A file whose first line is the password, instead of asking for it
    #[arg(long = "password-file", value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// What `login` takes.
#[derive(Debug, Args)]
pub(crate) struct LogIn {
    /// The name to log in with [default: asked for]
    pub(crate) user: Option<String>,

    /// A file whose first line is the password, instead of asking for it
    #[arg(long = "password-file", value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// What `logout` takes.
#[derive(Debug, Args)]
pub(crate) struct LogOut {
    /// End every session of the user, also those on other machines and in browsers
    #[arg(long)]
    pub(crate) everywhere: bool,

    #[command(flatten)]
    pub(crate) reach: Reach,
}

fn roles() -> impl TypedValueParser<Value = Role> {
    let of = |text: String| Role::ALL.into_iter().find(|role| role.as_str() == text);
    PossibleValuesParser::new(Role::ALL.map(Role::as_str)).try_map(move |text| of(text).ok_or("no such role"))
}
