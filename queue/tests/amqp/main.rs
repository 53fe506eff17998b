//! The engine on RabbitMQ, on a real broker.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::wildcard_enum_match_arm)]

mod attested;
mod bindings;
mod contract;
mod events;
mod examine;
mod jobs;
mod letters;
mod locks;
mod proxy;
mod publishing;
mod questions;
mod refusals;
mod retention;
mod separate;
mod sessions;
mod support;
mod tls;
mod topology;
