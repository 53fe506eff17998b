//! A connection that is cut, or an answer that is another one, at any call: what stands there is read first, and nothing
//! is written twice.

use std::time::Duration;

use futures::{StreamExt, stream};
use proto::State;

use crate::{fake_http::Mishap, lab::Lab};

const AT_ONCE: usize = 12;
const PATIENCE: Duration = Duration::from_secs(180);

fn mishaps() -> [(&'static str, Mishap); 7] {
    [
        ("cut before", Mishap::CutBefore),
        ("cut after", Mishap::CutAfter),
        ("an empty 502 afterwards", Mishap::Afterwards(502, "")),
        ("a broken tunnel", Mishap::Instead(500, "failed to find Session for client stv-cluster-c-x")),
        ("a proxy's page instead", Mishap::Instead(504, "<html>gateway timeout</html>")),
        ("too many requests", Mishap::Later(429, r#"{"kind":"Status","message":"too many requests"}"#, 1)),
        ("slow", Mishap::Slowly(Duration::from_secs(2))),
    ]
}

/// What answers in its place while it is watched. Before anything is written, it is no API server at all.
fn others() -> [(&'static str, Mishap); 2] {
    [
        ("nobody there, says a proxy", Mishap::Instead(404, "default backend - 404")),
        ("a page for a while", Mishap::Instead(200, "<html>back soon</html>")),
    ]
}

/// The calls of a deploy until it converged.
async fn calls() -> Vec<String> {
    let lab = Lab::deployment();
    let stage = lab.stage("").await;
    let job = lab.set("2");
    stage.accept(&job).await;
    assert_eq!(stage.end(&job).await.state(), State::Succeeded);
    lab.kubernetes.server().requests()
}

async fn deployed_with(number: usize, name: &str, call: &str, mishap: Mishap) -> Result<(), String> {
    let lab = Lab::deployment();
    lab.kubernetes.server().befall_nth(number, mishap);
    let stage = lab.stage("").await;
    let job = lab.set("2");
    stage.accept(&job).await;
    let is_over = |events: &[proto::Event]| events.iter().any(|event| event.state().is_end());
    let events = stage.until_within(PATIENCE, &job, is_over).await;
    let end = events.iter().find(|event| event.state().is_end()).map(|event| event.state());
    let (image, writes) = (lab.stands(), lab.writes_of("2"));
    if end == Some(State::Succeeded) && image.starts_with(&format!("{}@", lab.image("2"))) && writes == 1 {
        Ok(())
    } else {
        Err(format!("{name} at {number} ({call}): {end:?}, {image}, {writes} writes: {events:?}"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_befalls_a_call_leads_to_a_second_write() {
    let calls = calls().await;
    let written = calls.iter().position(|call| call.starts_with("PATCH"));
    let written = written.unwrap_or_else(|| panic!("nothing is written: {calls:?}"));
    let cases = calls.iter().enumerate().flat_map(|(at, call)| {
        let others = others().into_iter().filter(move |_| at > written);
        mishaps()
            .into_iter()
            .chain(others)
            .map(move |(name, mishap)| deployed_with(at + 1, name, call, mishap))
    });
    let told: Vec<Result<(), String>> = stream::iter(cases).buffer_unordered(AT_ONCE).collect().await;
    let wrong: Vec<String> = told.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
