//! The real binary, run as a shell would run it.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod access;
mod asking;
mod brokers;
mod configuration;
mod connecting;
mod explaining;
mod fake;
#[path = "../../../tests/src/fake_github.rs"]
#[allow(dead_code, unreachable_pub, missing_docs, reason = "shared with the whole-system tests")]
mod fake_github;
#[path = "../../../tests/src/fake_http.rs"]
#[allow(dead_code, unreachable_pub, missing_docs, reason = "shared with the whole-system tests")]
mod fake_http;
#[path = "../../../tests/src/fake_portainer/mod.rs"]
#[allow(dead_code, unreachable_pub, missing_docs, reason = "shared with the whole-system tests")]
mod fake_portainer;
mod following;
mod from_ci;
#[path = "../../../worker/tests/rancher/front.rs"]
#[allow(dead_code, clippy::expect_used, reason = "shared with the worker's tests")]
mod front;
mod help;
mod letters;
mod portainers;
mod producers;
mod shell;
mod stacks;
mod up;
