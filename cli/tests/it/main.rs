//! The real binary, run as a shell would run it.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod asking;
mod configuration;
mod explaining;
mod fake;
mod following;
mod help;
mod letters;
mod shell;
mod stacks;
mod up;
