//! A connection that is cut, or an answer that is another one, at any call: what stands there is read first, and nothing
//! is written twice blindly.

use std::time::Duration;

use futures::{StreamExt, stream};
use proto::State;

use crate::{
    fake_http::Mishap,
    fake_rancher::Proxy,
    lab::{Lab, set},
};

const AT_ONCE: usize = 12;
const PATIENCE: Duration = Duration::from_secs(120);

fn mishaps() -> [(&'static str, Mishap); 6] {
    [
        ("cut before", Mishap::CutBefore),
        ("cut after", Mishap::CutAfter),
        ("an empty 502 afterwards", Mishap::Afterwards(502, "")),
        ("a proxy's page instead", Mishap::Instead(504, "<html>gateway timeout</html>")),
        ("no tunnel", Mishap::Instead(500, "failed to find Session for client stv-cluster-c-l5nxb")),
        (
            "cluster unavailable",
            Mishap::Instead(
                503,
                r#"{"type":"error","status":503,"code":"ClusterUnavailable","message":"not ready"}"#,
            ),
        ),
    ]
}

fn lab(closed: Proxy) -> Lab {
    let lab = Lab::new();
    lab.rancher.close_proxy(closed);
    lab
}

/// The calls of a deploy until it converged.
async fn calls(closed: Proxy) -> Vec<String> {
    let lab = lab(closed);
    let stage = lab.stage().await;
    let job = set("2");
    let before = lab.rancher.server().requests().len();
    stage.accept(&job).await;
    assert_eq!(stage.end(&job).await.state(), State::Succeeded);
    lab.rancher.server().requests().split_off(before)
}

async fn deployed_with(
    closed: Proxy,
    number: usize,
    (name, call): (&str, &str),
    mishap: Mishap,
) -> Result<(), String> {
    let lab = lab(closed);
    let stage = lab.stage().await;
    lab.rancher.server().befall_nth(number, mishap);
    let job = set("2");
    stage.accept(&job).await;
    let events =
        stage.until_within(PATIENCE, &job, |events| events.iter().any(|event| event.state().is_end())).await;
    let end = events.iter().find(|event| event.state().is_end()).map(|event| event.state());
    let (image, writes) = (lab.image(), lab.writes_of("2"));
    if end == Some(State::Succeeded) && image.ends_with(":2") && writes == 1 {
        Ok(())
    } else {
        Err(format!("{name} at {number} ({call}): {end:?}, {image}, {writes} writes: {events:?}"))
    }
}

async fn every_step(closed: Proxy, write: &str) {
    let calls = calls(closed).await;
    assert!(calls.iter().any(|call| call.starts_with(write)), "{calls:?}");
    // A deploy ends with looks at what runs, and one of them is like the other.
    let last = calls.iter().rposition(|call| !call.starts_with("GET")).unwrap() + 4;
    let cases = calls.iter().take(last).enumerate().flat_map(|(at, call)| {
        mishaps().into_iter().map(move |(name, mishap)| deployed_with(closed, at + 1, (name, call), mishap))
    });
    let told: Vec<Result<(), String>> = stream::iter(cases).buffer_unordered(AT_ONCE).collect().await;
    let wrong: Vec<String> = told.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_befalls_a_call_leads_to_a_blind_second_write() {
    every_step(Proxy::Open, "PATCH /k8s/clusters/").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_does_it_where_the_link_is_written() {
    every_step(Proxy::Forbidden, "PUT /v3/project/").await;
}
