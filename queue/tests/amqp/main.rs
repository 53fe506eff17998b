//! The engine on RabbitMQ, on a real broker.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::wildcard_enum_match_arm)]

mod events;
mod jobs;
mod locks;
mod proxy;
mod publishing;
mod sessions;
mod support;
