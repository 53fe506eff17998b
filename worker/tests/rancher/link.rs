//! Where Kubernetes' own API is closed to a key, the workload is written by Rancher's link to it: the object as
//! Kubernetes has it, on the condition that nobody else changed it. Never in Rancher's own form.

use proto::State;

use crate::{
    fake_rancher::{CLUSTER, KEY, Proxy},
    lab::{Lab, image, set},
    stage::{Stage, carried_out, code, text},
};

#[tokio::test]
async fn the_link_is_as_good_as_the_proxy_and_changes_no_more() {
    for closed in [Proxy::Forbidden, Proxy::Hidden, Proxy::ReadOnly] {
        let lab = Lab::new();
        lab.rancher.close_proxy(closed);
        let before = lab.deployment();
        let stage = lab.stage().await;
        let end = carried_out(&stage, &set("2")).await;
        assert_eq!(end.state(), State::Succeeded, "{closed:?}: {end:?}");
        let mut after = lab.deployment();
        assert!(lab.image().ends_with(":2"));
        assert_eq!(lab.rancher.norman_puts(), Vec::<serde_json::Value>::new());
        // Less the one image, and what is noted on the workload, it is as it was.
        after["spec"]["template"]["spec"]["containers"][0]["image"] = image("1").into();
        assert_eq!(after["spec"], before["spec"], "{closed:?}");
        let puts: Vec<String> =
            lab.rancher.server().requests().into_iter().filter(|line| line.starts_with("PUT ")).collect();
        assert!(
            !puts.is_empty() && puts.iter().all(|line| line.ends_with("/deployment:shop:web/yaml")),
            "{puts:?}"
        );
    }
}

/// Rights come late, and an ingress reloads: one page of those moments does not close the proxy for good.
#[tokio::test]
async fn a_proxy_that_was_closed_is_tried_again() {
    for closed in [Proxy::Forbidden, Proxy::Hidden, Proxy::ReadOnly] {
        let lab = Lab::new();
        lab.rancher.close_proxy(closed);
        let stage = lab.stage().await;
        assert_eq!(carried_out(&stage, &set("2")).await.state(), State::Succeeded, "{closed:?}");
        lab.rancher.close_proxy(Proxy::Open);
        let before = lab.rancher.server().requests().len();
        assert_eq!(carried_out(&stage, &set("3")).await.state(), State::Succeeded, "{closed:?}");
        let since = lab.rancher.server().requests().split_off(before);
        let by_proxy = |line: &&String| line.starts_with("PATCH /k8s/clusters/");
        assert_eq!(since.iter().filter(by_proxy).count(), 1, "{closed:?}: {since:?}");
        assert!(!since.iter().any(|line| line.starts_with("PUT ")), "{closed:?}: {since:?}");
        // From then on it is read there as well.
        let written = since.iter().position(|line| line.starts_with("PATCH ")).unwrap();
        let read = |line: &&String| line.starts_with("GET ") && line.contains("deployments/web");
        assert!(since[written..].iter().any(|line| read(&line)), "{closed:?}: {since:?}");
        assert!(!since[written..].iter().any(|line| line.contains("/yaml")), "{closed:?}: {since:?}");
    }
}

#[tokio::test]
async fn a_conflict_is_met_by_reading_again() {
    let lab = Lab::new();
    lab.rancher.close_proxy(Proxy::Forbidden);
    lab.cluster().storm(2);
    let stage = lab.stage().await;
    let end = carried_out(&stage, &set("2")).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    assert_eq!(lab.writes_of("2"), 1);
}

#[tokio::test]
async fn the_link_knows_whether_the_project_is_right() {
    let lab = Lab::new();
    lab.rancher.close_proxy(Proxy::Forbidden);
    let workload = format!("workload: '{CLUSTER}:p-wrong/deployment:shop:web'");
    let stage = Stage::new(&lab.configured(&format!("token: '{KEY}'"), &workload)).await;
    let end = carried_out(&stage, &set("2")).await;
    assert_eq!(end.state(), State::Failed, "{end:?}");
    assert!(text(&end).contains("in that project: the project's id is wrong"), "{}", text(&end));
    assert_eq!(lab.cluster().writes(), Vec::new());
}

#[tokio::test]
async fn without_a_project_there_is_no_link() {
    let lab = Lab::new();
    lab.rancher.close_proxy(Proxy::Forbidden);
    let workload = format!("workload: '{CLUSTER}/deployment:shop:web'");
    let stage = Stage::new(&lab.configured(&format!("token: '{KEY}'"), &workload)).await;
    let end = carried_out(&stage, &set("2")).await;
    assert_eq!((end.state(), code(&end)), (State::Dead, "credentials-refused"), "{end:?}");
    assert!(text(&end).contains("name the workload with its project"), "{}", text(&end));
}

#[tokio::test]
async fn what_will_be_missing_is_told_beforehand() {
    let lab = Lab::new();
    lab.rancher.close_proxy(Proxy::Forbidden);
    let stage = Stage::empty().await;
    let told = worker::connect(&stage.settings(&lab.configuration())).await.unwrap();
    let found = told[0].found.join("\n");
    assert_eq!(told[0].missing, Vec::<String>::new());
    for line in [
        "Kubernetes' own API is closed to this key",
        "why one fails cannot be told",
        "registry.lan/acme/web:1",
    ] {
        assert!(found.contains(line), "{line}\n---\n{found}");
    }
}
