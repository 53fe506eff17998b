//! Workloads of a cluster, deployed by a real worker on the embedded queue. Before a fake API server that has every ugly
//! habit that is known; and, where `LONGSHORE_TEST_KUBE_URL` names one, before a real one as well.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod berth;
mod certificates;
mod check;
#[path = "../contract/mod.rs"]
mod contract;
mod deaths;
#[path = "../steps/dying.rs"]
#[allow(dead_code, reason = "shared with another test program")]
mod dying;
mod failures;
#[path = "../../../tests/src/fake_http.rs"]
#[allow(dead_code, unreachable_pub, missing_docs, reason = "shared with the whole-system tests")]
mod fake_http;
#[path = "../../../tests/src/fake_kubernetes/mod.rs"]
#[allow(dead_code, unreachable_pub, missing_docs, reason = "shared with the whole-system tests")]
mod fake_kubernetes;
#[path = "../contract/forward.rs"]
mod forward;
#[path = "../rancher/front.rs"]
#[allow(dead_code, reason = "shared with another test program")]
mod front;
mod lab;
mod lifecycle;
mod order;
mod refusals;
mod rollouts;
#[path = "../life/stage.rs"]
#[allow(dead_code, reason = "shared with another test program")]
mod stage;
mod steps;
