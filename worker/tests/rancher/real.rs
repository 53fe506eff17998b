//! The same before a real Rancher, where one is named: `LONGSHORE_TEST_RANCHER_URL`, with `LONGSHORE_TEST_RANCHER_TOKEN`,
//! an existing deployment in `LONGSHORE_TEST_RANCHER_WORKLOAD` (in any spelling), and two images that its cluster can run
//! in `LONGSHORE_TEST_RANCHER_IMAGES` (`repo:one,repo:two`).

use std::env::var;

use proto::{Operation, State};

use crate::{
    fake_rancher::KEY,
    lab::{Lab, image},
    stage::{Stage, carried_out, job, wish},
};

/// Where it is, and the images; without one, the fake stands in with the same steps.
fn place(lab: &Lab) -> (String, [String; 2]) {
    let Ok(url) = var("LONGSHORE_TEST_RANCHER_URL") else {
        return (lab.configuration(), [image("1"), image("2")]);
    };
    let named =
        |name: &str| var(format!("LONGSHORE_TEST_RANCHER_{name}")).unwrap_or_else(|_| panic!("no {name}"));
    let images = named("IMAGES");
    let (one, two) = images.split_once(',').expect("two images");
    let insecure = if url.starts_with("https") { ", insecure_tls: true" } else { "" };
    let configuration = format!(
        "systems:\n  docks: {{kind: rancher, url: '{url}', token: '{}'{insecure}}}\n\
         targets:\n  demo: {{at: docks, workload: '{}', stable: 2s, rollback: true}}\n",
        named("TOKEN"),
        named("WORKLOAD"),
    );
    (configuration, [one.to_owned(), two.to_owned()])
}

#[tokio::test]
async fn a_workload_is_deployed_restarted_stopped_and_started() {
    let lab = Lab::new();
    let (configuration, [one, two]) = place(&lab);
    let stage = Stage::new(&configuration).await;
    for job in [
        job("demo", &two),
        job("demo", &one),
        wish(Operation::Restart),
        wish(Operation::Stop),
        wish(Operation::Start),
    ] {
        let end = carried_out(&stage, &job).await;
        assert_eq!(end.state(), State::Succeeded, "{:?}: {end:?}", job.operation);
    }
}

#[tokio::test]
async fn what_is_there_and_what_is_missing_is_told_beforehand() {
    let lab = Lab::new();
    let stage = Stage::empty().await;
    let told = async |configuration: &str| {
        let told = worker::connect(&stage.settings(configuration)).await.unwrap();
        (told[0].found.join("\n"), told[0].missing.join("\n"))
    };
    let (found, missing) = told(&lab.configuration()).await;
    for line in [
        "Rancher v2.4.3",
        "asked with the key `token-admin`, which never expires",
        "cluster `c-l5nxb`: Kubernetes v1.36.0",
        "registry.lan/acme/web:1",
    ] {
        assert!(found.contains(line), "{line}\n---\n{found}");
    }
    assert_eq!(missing, "");
    let (_, missing) = told(&lab.configuration().replace(":web'", ":webb'")).await;
    assert!(missing.contains("deployment `webb` in the namespace `shop`"), "{missing}");
    lab.cluster().deny("patch", "deployments");
    let (_, missing) = told(&lab.configuration()).await;
    assert!(missing.contains("may not patch deployments in the namespace `shop`"), "{missing}");
    let wrong = lab.configuration().replace(KEY, "token-typo:x");
    let (_, missing) = told(&wrong).await;
    assert!(missing.contains("must authenticate"), "{missing}");
    assert_eq!(lab.cluster().writes(), Vec::new());
}
