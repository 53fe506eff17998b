//! Handles to the real services that `tests/run` starts, and to our own binaries, for whole-system tests.
//!
//! Every handle works for tests that run side by side: each takes ports and names of its own, and gives up
//! what it started when dropped. A service that is not there is an error that says how to run the tests,
//! never a skipped test.

pub mod broker;
pub mod clock;
pub mod description;
pub mod engine;
pub mod environment;
pub mod fake_github;
pub mod fake_http;
pub mod fake_issuer;
pub mod fake_kubernetes;
pub mod fake_portainer;
pub mod fake_rancher;
pub mod fake_swarm;
#[cfg(test)]
#[path = "fake_swarm/tests.rs"]
mod fake_swarm_tests;
pub mod fault_proxy;
pub mod fleet;
pub mod history;
pub mod http;
pub mod ledger;
pub mod load;
pub mod own_broker;
pub mod ports;
pub mod process;
pub mod receiver;
pub mod registry;
pub mod shown;
pub mod sse;
pub mod wait;
