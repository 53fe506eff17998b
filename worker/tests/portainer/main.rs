//! Stacks of a Portainer, deployed by a real worker on the embedded queue. Before a fake that has every ugly habit that
//! is known; and, where `LONGSHORE_TEST_PORTAINER_URL` names one, before a real Portainer as well.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod asynchronous;
mod at_once;
mod berth;
mod berth_of_texts;
mod built;
mod by_hand;
mod closed;
mod compose;
#[path = "../contract/mod.rs"]
mod contract;
mod crowd;
mod cut_short;
mod deaths;
#[path = "../steps/dying.rs"]
#[allow(dead_code, reason = "shared with another test program")]
mod dying;
#[path = "../../../tests/src/fake_http.rs"]
#[allow(dead_code, unreachable_pub, missing_docs, reason = "shared with the whole-system tests")]
mod fake_http;
#[path = "../../../tests/src/fake_portainer/mod.rs"]
#[allow(dead_code, unreachable_pub, missing_docs, reason = "shared with the whole-system tests")]
mod fake_portainer;
#[path = "../contract/forward.rs"]
mod forward;
#[path = "../rancher/front.rs"]
#[allow(dead_code, reason = "shared with another test program")]
mod front;
mod git;
mod hanging;
mod hidden;
mod images;
mod lab;
mod lifecycle;
mod login;
mod making;
mod migrate;
mod old;
mod operations;
mod order;
mod overwritten;
mod patience;
mod plans;
mod real;
mod refusals;
mod refused;
#[path = "../life/stage.rs"]
#[allow(dead_code, reason = "shared with another test program")]
mod stage;
mod steps;
mod texts;
mod texts_taken_back;
mod tls;
mod told;
