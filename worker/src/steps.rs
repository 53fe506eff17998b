//! The steps of an attempt by name, so that tests can kill a worker at each of them.
//!
//! Only a worker built with the feature `steps`, which the tests turn on, looks where it is to die.

/// A step of an attempt that was just reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The message was read.
    Decoded,
    /// Nothing ends the job before its target is touched.
    Admitted,
    /// Others are kept away from the target.
    Locked,
    /// `started` came back.
    Started,
    /// The target was read.
    Read,
    /// The image was looked up.
    Resolved,
    /// The target says what is about to be tried.
    Announced,
    /// The target was written.
    Applied,
    /// The rollout did not hold, and nothing was done about it yet.
    Undone,
    /// The way back was written, or, where the system went back by itself, that it did.
    WentBack,
    /// The end is known.
    Watched,
    /// It is to be held, and nobody was told yet.
    HeldBack,
    /// What became of it was said.
    Said,
    /// Others may come to the target.
    Unlocked,
    /// The message is done with.
    Settled,
}

#[cfg(not(feature = "steps"))]
#[inline]
pub(crate) const fn reached(_: Step) {}

#[cfg(feature = "steps")]
pub(crate) use named::reached;

#[cfg(feature = "steps")]
pub use named::{DIES_AT, names};

#[cfg(feature = "steps")]
mod named {
    use super::Step;

    /// The variable that names the step at which a worker is to die.
    pub const DIES_AT: &str = "LONGSHORE_TEST_DIES_AT";

    const ALL: [Step; 15] = [
        Step::Decoded,
        Step::Admitted,
        Step::Locked,
        Step::Started,
        Step::Read,
        Step::Resolved,
        Step::Announced,
        Step::Applied,
        Step::Undone,
        Step::WentBack,
        Step::Watched,
        Step::HeldBack,
        Step::Said,
        Step::Unlocked,
        Step::Settled,
    ];

    /// The names of all steps, in their order.
    pub fn names() -> impl Iterator<Item = String> {
        ALL.into_iter().map(name)
    }

    /// Kills this process, as `kill -9` does, where it is to die at that step.
    pub(crate) fn reached(step: Step) {
        if std::env::var(DIES_AT).is_ok_and(|dies_at| dies_at == name(step)) {
            let this = std::process::id().to_string();
            // Dead before the command has ended, unless it could not be run.
            let _ = std::process::Command::new("kill").args(["-9", &this]).status();
            std::process::abort();
        }
    }

    fn name(step: Step) -> String {
        format!("{step:?}").to_lowercase()
    }
}
