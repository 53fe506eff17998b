//! Who does: jobs change targets and become events.
pub mod target;
