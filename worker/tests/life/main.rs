//! Lives of jobs, carried out by a real worker on the embedded queue and rehearsed targets.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod held;
mod history;
mod lagging;
mod late;
mod order;
mod rollouts;
#[allow(dead_code, reason = "shared with other test programs")]
mod stage;
mod verdicts;
mod window;
