//! Lives of jobs, carried out by a real worker on the embedded queue and rehearsed targets.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod dock;
#[path = "../../../tests/src/fake_swarm/mod.rs"]
#[allow(dead_code, unreachable_pub, missing_docs, reason = "shared with the whole-system tests")]
mod fake_swarm;
mod held;
mod history;
mod lagging;
mod late;
mod order;
mod put_on_hold;
mod rollouts;
mod seen;
#[allow(dead_code, reason = "shared with other test programs")]
mod stage;
mod upward;
mod verdicts;
mod window;
