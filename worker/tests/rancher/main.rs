//! Workloads behind a Rancher, deployed by a real worker on the embedded queue. Before a fake that has every ugly habit
//! that is known; and, where `LONGSHORE_TEST_RANCHER_URL` names one, before a real Rancher as well.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod authorities;
mod berth;
mod check;
#[path = "../contract/mod.rs"]
mod contract;
mod deaths;
#[path = "../steps/dying.rs"]
#[allow(dead_code, reason = "shared with another test program")]
mod dying;
#[path = "../../../tests/src/fake_http.rs"]
#[allow(dead_code, unreachable_pub, missing_docs, reason = "shared with the whole-system tests")]
mod fake_http;
#[path = "../../../tests/src/fake_kubernetes/mod.rs"]
#[allow(dead_code, unreachable_pub, missing_docs, reason = "shared with the whole-system tests")]
mod fake_kubernetes;
#[path = "../../../tests/src/fake_rancher/mod.rs"]
#[allow(dead_code, unreachable_pub, missing_docs, reason = "shared with the whole-system tests")]
mod fake_rancher;
#[path = "../contract/forward.rs"]
mod forward;
#[allow(dead_code, reason = "shared with another test program")]
mod front;
mod keys;
mod lab;
mod link;
mod losses;
mod names;
mod refusals;
#[path = "../life/stage.rs"]
#[allow(dead_code, reason = "shared with another test program")]
mod stage;
mod steps;
