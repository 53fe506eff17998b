//! A connection that is cut, or an answer that is another one, at any call: what stands there is read first, and nothing
//! is written twice blindly.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use proto::State;
use tokio::sync::Notify;

use crate::{
    fake_http::Mishap,
    fake_rancher::{CLUSTER_NAME, KEY, Proxy},
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

/// What answers in its place while it is watched. Before anything is written, it is no Rancher at all.
fn others() -> [(&'static str, Mishap); 2] {
    [
        ("nobody there, says a proxy", Mishap::Instead(404, "default backend - 404")),
        ("a page for a while", Mishap::Instead(200, "<html>back soon</html>")),
    ]
}

/// How a deploy gets to its workload.
#[derive(Debug, Clone, Copy)]
enum By {
    Id,
    ClusterName,
    Link,
}

fn lab(by: By) -> (Lab, String) {
    let lab = Lab::new();
    let workload = match by {
        By::Id => lab.short(),
        By::ClusterName => format!("workload: '{CLUSTER_NAME}/deployment:shop:web'"),
        By::Link => {
            lab.rancher.close_proxy(Proxy::Forbidden);
            lab.short()
        }
    };
    let configuration = lab.configured(&format!("token: '{KEY}'"), &workload);
    (lab, configuration)
}

/// The calls of a deploy until it converged.
async fn calls(by: By) -> Vec<String> {
    let (lab, configuration) = lab(by);
    let stage = lab.stage_of(&configuration).await;
    let job = set("2");
    let before = lab.rancher.server().requests().len();
    stage.accept(&job).await;
    assert_eq!(stage.end(&job).await.state(), State::Succeeded);
    lab.rancher.server().requests().split_off(before)
}

async fn deployed_with(
    by: By,
    number: usize,
    (name, call): (&str, &str),
    mishap: Mishap,
) -> Result<(), String> {
    let (lab, configuration) = lab(by);
    let stage = lab.stage_of(&configuration).await;
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

async fn every_step(by: By, write: &str) {
    let calls = calls(by).await;
    assert!(calls.iter().any(|call| call.starts_with(write)), "{calls:?}");
    // A deploy ends with looks at what runs, and one of them is like the other.
    let last = calls.iter().rposition(|call| !call.starts_with("GET")).unwrap() + 4;
    let written = calls.iter().rposition(|call| call.starts_with(write)).unwrap();
    let cases = calls.iter().take(last).enumerate().flat_map(|(at, call)| {
        let others = others().into_iter().filter(move |_| at > written);
        let all = mishaps().into_iter().chain(others);
        all.map(move |(name, mishap)| deployed_with(by, at + 1, (name, call), mishap))
    });
    let told: Vec<Result<(), String>> = stream::iter(cases).buffer_unordered(AT_ONCE).collect().await;
    let wrong: Vec<String> = told.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// A write is on its way for longer than anybody waits, and is let through in the end: by then it is an old one, and the
/// API server knows.
#[tokio::test]
async fn a_write_that_comes_late_changes_nothing_any_more() {
    let lab = Lab::new();
    let stage = lab.stage().await;
    let gate = Arc::new(Notify::new());
    lab.rancher.server().befall_next("PATCH /k8s/clusters/", Mishap::Held(Arc::clone(&gate)));
    let (first, second) = (set("2"), set("3"));
    stage.accept(&first).await;
    let ended =
        stage.until_within(PATIENCE, &first, |events| events.iter().any(|event| event.state().is_end()));
    let end = ended.await.into_iter().find(|event| event.state().is_end()).unwrap();
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    stage.accept(&second).await;
    assert_eq!(stage.end(&second).await.state(), State::Succeeded);
    let before = lab.cluster().writes().len();
    gate.notify_one();
    let arrived = async {
        while lab.cluster().writes().len() == before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, arrived).await.expect("the late write never arrived");
    assert_eq!(lab.cluster().writes().last().map(|write| write.status), Some(409));
    assert_eq!(lab.image(), "registry.lan/acme/web:3");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_befalls_a_call_leads_to_a_blind_second_write() {
    every_step(By::Id, "PATCH /k8s/clusters/").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_does_it_where_the_link_is_written() {
    every_step(By::Link, "PUT /v3/project/").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_where_the_cluster_has_to_be_looked_up() {
    every_step(By::ClusterName, "PATCH /k8s/clusters/").await;
}
