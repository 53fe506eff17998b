//! A connection that is cut, or an answer that is another one, at any call: what stands there is read first, and nothing
//! is written twice blindly.

use std::time::Duration;

use futures::{StreamExt, stream};
use proto::State;

use crate::{
    fake_portainer::{COMPOSE, Family, Mishap, SWARM},
    lab::{FILE, Lab, set},
};

const AT_ONCE: usize = 12;
const PATIENCE: Duration = Duration::from_secs(120);

fn mishaps() -> [(&'static str, Mishap); 5] {
    [
        ("cut before", Mishap::CutBefore),
        ("cut after", Mishap::CutAfter),
        ("an empty 502 afterwards", Mishap::Afterwards(502, "")),
        ("an empty error afterwards", Mishap::Afterwards(500, "{}")),
        ("a proxy's page instead", Mishap::Instead(504, "<html>gateway timeout</html>")),
    ]
}

/// What answers in its place while Portainer, or the proxy before it, is restarted: it befalls who looks at what was
/// written.
fn strangers() -> [(&'static str, Mishap); 2] {
    [
        ("nobody's page", Mishap::Instead(404, "404 page not found\n")),
        ("a page for people", Mishap::Instead(200, "<html>back soon</html>")),
    ]
}

/// Where a stack is: on which sort of Portainer, in which environment.
type Ground = (Family, u64);

/// The calls of a deploy until it converged.
async fn calls((family, environment): Ground) -> Vec<String> {
    let lab = Lab::of(family, environment, FILE);
    let stage = lab.stage("").await;
    let job = set("acme/web:2");
    let before = lab.portainer.requests().len();
    stage.accept(&job).await;
    assert_eq!(stage.end(&job).await.state(), State::Succeeded);
    lab.portainer.requests().split_off(before)
}

async fn deployed_with(
    ground: Ground,
    number: usize,
    (name, call): (&str, &str),
    mishap: Mishap,
) -> Result<(), String> {
    let lab = Lab::of(ground.0, ground.1, FILE);
    let stage = lab.stage("").await;
    lab.portainer.befall_nth(number, mishap);
    let job = set("acme/web:2");
    stage.accept(&job).await;
    let events =
        stage.until_within(PATIENCE, &job, |events| events.iter().any(|event| event.state().is_end())).await;
    let end = events.iter().find(|event| event.state().is_end()).map(|event| event.state());
    let (image, writes) = (lab.image("web"), lab.writes_of("acme/web:2"));
    let is_write = call.starts_with("PUT");
    // What never arrived, or what nobody can tell of, may be written once more after it was read; what arrived, never.
    let most = if is_write && matches!(name, "cut before" | "a proxy's page instead") { 2 } else { 1 };
    let is_right =
        end == Some(State::Succeeded) && image.starts_with("acme/web:2@") && (1..=most).contains(&writes);
    let file = lab.bare_file() == FILE.replace("acme/web:1", &image);
    if is_right && file {
        Ok(())
    } else {
        Err(format!("{ground:?}, {name} at {number} ({call}): {end:?}, {image}, {writes} writes: {events:?}"))
    }
}

async fn every_call_on(ground: Ground) {
    let calls = calls(ground).await;
    let written = calls.iter().position(|call| call.starts_with("PUT")).expect("a write");
    let cases = calls.iter().enumerate().flat_map(|(at, call)| {
        let told = move |(name, mishap)| Box::pin(deployed_with(ground, at + 1, (name, call), mishap));
        let is_of_the_watch = at > written && call.starts_with("GET");
        let strangers = strangers().into_iter().filter(move |_| is_of_the_watch);
        mishaps().into_iter().chain(strangers).map(told)
    });
    let told: Vec<Result<(), String>> = stream::iter(cases).buffer_unordered(AT_ONCE).collect().await;
    let wrong: Vec<String> = told.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_befalls_a_call_leads_to_a_blind_second_write() {
    every_call_on((Family::Synchronous, SWARM)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_does_it_where_compose_runs_the_stack() {
    every_call_on((Family::Synchronous, COMPOSE)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_where_a_success_means_only_that_a_deploy_is_queued() {
    every_call_on((Family::Asynchronous, SWARM)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_where_a_record_has_no_dates() {
    every_call_on((Family::First, SWARM)).await;
}

/// The answer comes later than anybody waits for: a proxy gave up, and the deploy went on.
#[tokio::test]
async fn a_deploy_that_goes_on_after_the_answer_was_given_up_is_waited_for() {
    let lab = Lab::swarm(FILE);
    let stage = lab.stage("").await;
    lab.portainer.deploy_slowly(Duration::from_secs(4));
    lab.portainer.befall_next("PUT /api/stacks/", Mishap::CutAfter);
    let job = set("acme/web:2");
    stage.accept(&job).await;
    assert_eq!(stage.end(&job).await.state(), State::Succeeded);
    assert_eq!(lab.writes_of("acme/web:2"), 1);
}
