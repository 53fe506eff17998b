//! What befalls a fleet under load, and the account of it: every accepted job ends once, the newest wish last.
//!
//! One scenario at a time, since each has the machine to itself; `tests/run --soak` makes them five times as long.
//! Those with `broker` in their path, `processes` and `network` depend on the broker's own doing, and are run on each.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod broker_alarms;
mod broker_copies;
mod broker_kills;
mod crew;
mod engine;
mod engine_account;
mod marks;
mod network;
mod processes;
mod run;
