//! The swarm target on a real engine: started by `tests/run`, or named by LONGSHORE_TEST_DOCKER.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "swarm/lab.rs"]
mod lab;
#[path = "swarm/registry.rs"]
mod registry;
#[path = "swarm/token_service.rs"]
mod token_service;
#[path = "swarm/wire.rs"]
mod wire;

#[path = "swarm/credentials.rs"]
mod credentials;
#[path = "swarm/discovery.rs"]
mod discovery;
#[path = "swarm/failures.rs"]
mod failures;
#[path = "swarm/marks.rs"]
mod marks;
#[path = "swarm/order.rs"]
mod order;
#[path = "swarm/poll.rs"]
mod poll;
#[path = "swarm/reach.rs"]
mod reach;
#[path = "swarm/updates.rs"]
mod updates;
