//! What can be typed to look at jobs and targets.

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use config::Span;
use proto::{JobId, State, TargetName};

use super::{Reach, span};

/// What `targets` takes.
#[derive(Debug, Args)]
pub(crate) struct Targets {
    /// List every stack of every Portainer, be it a target or not
    #[arg(long)]
    pub(crate) stacks: bool,

    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// What `watch` takes.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// One deploy, by its id
    pub(crate) job: Option<JobId>,

    /// How long to watch, as `90s`, `10m` or `1h30m` [default: to the end of the deploy, or until Ctrl-C]
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub(crate) timeout: Option<Span>,

    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// What `jobs` takes.
#[derive(Debug, Args)]
pub(crate) struct Jobs {
    /// Those of this target
    #[arg(long, value_name = "NAME")]
    pub(crate) target: Option<TargetName>,

    /// Those in this state
    #[arg(long, value_parser = states())]
    pub(crate) state: Option<State>,

    /// At most this many, from 1 to 500
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub(crate) limit: u16,

    #[command(flatten)]
    pub(crate) reach: Reach,
}

fn states() -> impl TypedValueParser<Value = State> {
    PossibleValuesParser::new(State::ALL.map(State::as_str)).try_map(|text| text.parse::<State>())
}
