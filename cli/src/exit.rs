//! Exit codes, which scripts rely on.

use std::process::ExitCode;

use proto::{Event, State, reason};

/// How a command ended, as its shell sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything went as wished.
    Succeeded,
    /// The deploy failed, or could not be carried out.
    Failed,
    /// The command line or the configuration is wrong.
    Usage,
    /// The target is back on what it ran before.
    RolledBack,
    /// A newer wish took its place, or it was called off.
    Superseded,
    /// Longshore refused it.
    Refused,
    /// It waits for a time, an approval or a release.
    Held,
    /// Longshore was not reached.
    NotReached,
    /// The wait ended; the job goes on.
    WaitEnded,
}

impl Exit {
    /// The code of a job that was last seen in `state`.
    #[must_use]
    pub fn of(state: State) -> Exit {
        match state {
            State::Succeeded => Exit::Succeeded,
            State::Failed | State::Dead => Exit::Failed,
            State::RolledBack => Exit::RolledBack,
            State::Superseded | State::Cancelled => Exit::Superseded,
            State::Rejected => Exit::Refused,
            State::Held => Exit::Held,
            State::Accepted | State::Started | State::Progress | State::Retrying => Exit::WaitEnded,
        }
    }

    /// The code of a job of which `event` was said last.
    #[must_use]
    pub fn after(event: &Event) -> Exit {
        match &event.data.reason {
            // Nothing newer took its place: an earlier one for the very same waits, and so does what was asked for.
            Some(why) if event.state() == State::Superseded && why.code == reason::HELD_ALREADY => Exit::Held,
            Some(_) | None => Exit::of(event.state()),
        }
    }

    /// The number the shell sees.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Exit::Succeeded => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::RolledBack => 3,
            Exit::Superseded => 4,
            Exit::Refused => 5,
            Exit::Held => 6,
            Exit::NotReached => 7,
            Exit::WaitEnded => 124,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_the_code_of_the_contract() {
        let codes = State::ALL.map(|state| (state.as_str(), Exit::of(state).code()));
        assert_eq!(
            codes,
            [
                ("accepted", 124),
                ("held", 6),
                ("started", 124),
                ("progress", 124),
                ("retrying", 124),
                ("succeeded", 0),
                ("rolled-back", 3),
                ("failed", 1),
                ("dead", 1),
                ("superseded", 4),
                ("rejected", 5),
                ("cancelled", 4),
            ]
        );
    }
}
