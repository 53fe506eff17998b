//! Why a command did not do what was asked, in words for the person who typed it.

use std::fmt::{self, Display};

use config::Faults;

use crate::{client::ClientError, exit::Exit};

/// Why a command ended early: what, how to mend it, and the exit code.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The configuration cannot be used: every fault, with its line.
    Configuration(Faults),
    /// What a CI step says in its variables cannot be used: every one that is missing or wrong.
    Variables(Faults),
    /// Something in the command's surroundings is wrong: a port, a directory, an address.
    Setup { text: String, hint: String },
    /// Longshore was asked, and did not do it.
    Client(Box<ClientError>),
    /// A process that should run on ended.
    Process { text: String },
}

impl Failure {
    pub(crate) fn setup(text: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure::Setup { text: text.into(), hint: hint.into() }
    }

    /// The code for the shell.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Failure::Configuration(_) | Failure::Variables(_) | Failure::Setup { .. } => Exit::Usage,
            Failure::Client(error) => error.exit(),
            Failure::Process { .. } => Exit::Failed,
        }
    }

    /// How to mend it, where one sentence says so.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Failure::Configuration(_) | Failure::Variables(_) | Failure::Process { .. } => None,
            Failure::Setup { hint, .. } => Some(hint.clone()),
            Failure::Client(error) => error.hint(),
        }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Configuration(faults) | Failure::Variables(faults) => faults.fmt(f),
            Failure::Setup { text, .. } | Failure::Process { text } => f.write_str(text),
            Failure::Client(error) => match root_cause(error.as_ref()) {
                Some(cause) => write!(f, "{error}: {cause}"),
                None => error.fmt(f),
            },
        }
    }
}

impl From<Faults> for Failure {
    fn from(faults: Faults) -> Failure {
        Failure::Configuration(faults)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        Failure::Client(Box::new(error))
    }
}

/// The last cause alone: those between it and the error are a library's words.
fn root_cause(error: &dyn std::error::Error) -> Option<String> {
    let cause = std::iter::successors(error.source(), |cause| cause.source()).last()?.to_string();
    let words = cause.split(" (os error ").next().unwrap_or_default();
    Some(words.to_owned())
}

/// An error and what caused it, in one line; a cause that only repeats what was said is left out.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let words = next.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = next.source();
    }
    text
}
