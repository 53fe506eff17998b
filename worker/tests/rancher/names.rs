//! One workload in every spelling that people hold, and names that lead nowhere.

use proto::State;

use crate::{
    fake_rancher::{CLUSTER, CLUSTER_NAME, KEY, PROJECT},
    lab::{Lab, set},
    stage::{Stage, carried_out, text},
};

#[tokio::test]
async fn every_spelling_leads_to_the_workload() {
    let lab = Lab::new();
    let url = lab.rancher.workload_url(PROJECT, "deployment:shop:web");
    let proxied =
        format!("{}/k8s/clusters/{CLUSTER}/apis/apps/v1/namespaces/shop/deployments/web", lab.rancher.url());
    for (n, workload) in [
        format!("workload: '{CLUSTER}:{PROJECT}/deployment:shop:web'"),
        format!("workload: '{CLUSTER}/deployment:shop:web'"),
        format!("workload: '{CLUSTER_NAME}/deployment:shop:web'"),
        format!("cluster: {CLUSTER_NAME}, namespace: shop, kind: deployment, name: web, container: web"),
        format!("workload: '{url}'"),
        format!(
            "workload: '{}'",
            url.replace(CLUSTER, &format!("{CLUSTER}%3A{PROJECT}"))
                .replace(&format!("%3A{PROJECT}:{PROJECT}"), &format!("%3A{PROJECT}"))
        ),
        format!("workload: '{}/'", url.replace("/v3/", "//v3/")),
        format!("workload: '{url}/yaml'"),
        format!("workload: '{proxied}'"),
        // The workload's page in a browser, old and new.
        format!("workload: '{}/p/{CLUSTER}:{PROJECT}/workload/deployment:shop:web'", lab.rancher.url()),
        format!(
            "workload: '{}/dashboard/c/{CLUSTER}/explorer/apps.deployment/shop/web#pods'",
            lab.rancher.url()
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let stage = Stage::new(&lab.configured(&format!("token: '{KEY}'"), &workload)).await;
        let tag = format!("named-{n}");
        let end = carried_out(&stage, &set(&tag)).await;
        assert_eq!(end.state(), State::Succeeded, "{workload}: {end:?}");
        assert!(lab.image().ends_with(&tag), "{workload}: {}", lab.image());
    }
    assert_eq!(lab.rancher.norman_puts(), Vec::<serde_json::Value>::new());
    assert!(lab.rancher.server().requests().iter().all(|line| !line.contains("//")));
}

#[tokio::test]
async fn names_that_lead_nowhere_are_told_and_nothing_is_written() {
    let lab = Lab::new();
    lab.rancher.add_cluster("c-aaaaa", "twins");
    lab.rancher.add_cluster("c-bbbbb", "twins");
    for (workload, why) in [
        // It answers as if it were away, and never comes back.
        (
            "c-zzzzz:p-x/deployment:shop:web",
            "no such cluster (clusters.management.cattle.io \"c-zzzzz\" not found)",
        ),
        ("offic/deployment:shop:web", "no cluster `offic`"),
        ("twins/deployment:shop:web", "several are called `twins`; name one by its id: c-aaaaa, c-bbbbb"),
        ("office/deployment:shop:webb", "no deployment `webb` in the namespace `shop`"),
        ("office/deployment:shopp:web", "no deployment `web` in the namespace `shopp`"),
        ("office/statefulset:shop:web", "`web` in the namespace `shop`"),
    ] {
        let configuration = lab.configured(&format!("token: '{KEY}'"), &format!("workload: '{workload}'"));
        let stage = Stage::new(&configuration).await;
        let end = carried_out(&stage, &set("2")).await;
        assert_eq!(end.state(), State::Failed, "{workload}: {end:?}");
        assert!(text(&end).contains(why), "{workload}: {}", text(&end));
    }
    assert_eq!(lab.cluster().writes(), Vec::new());
}

/// With the proxy the project is not looked at, and need not be right.
#[tokio::test]
async fn a_wrong_project_does_no_harm_where_kubernetes_is_asked_itself() {
    let lab = Lab::new();
    let workload = format!("workload: '{CLUSTER}:p-wrong/deployment:shop:web'");
    let stage = Stage::new(&lab.configured(&format!("token: '{KEY}'"), &workload)).await;
    assert_eq!(carried_out(&stage, &set("2")).await.state(), State::Succeeded);
}

/// A filter that a version does not know is overlooked, and everything comes: the first that is listed is not the one.
#[tokio::test]
async fn a_cluster_is_looked_for_on_every_page_of_a_list_that_knows_no_filter() {
    let lab = Lab::new();
    lab.rancher.add_cluster("c-aaaaa", "another");
    lab.rancher.add_cluster("c-bbbbb", "wanted");
    lab.rancher.overlook_filters();
    for (cluster, why) in [
        (CLUSTER_NAME, ""),
        ("wanted", "no such cluster (clusters.management.cattle.io \"c-bbbbb\" not found)"),
        ("unknown", "there is `office` (c-l5nxb), `another` (c-aaaaa), `wanted` (c-bbbbb)"),
    ] {
        let workload = format!("workload: '{cluster}/deployment:shop:web'");
        let stage = Stage::new(&lab.configured(&format!("token: '{KEY}'"), &workload)).await;
        let end = carried_out(&stage, &set("2")).await;
        let expected = if why.is_empty() { State::Succeeded } else { State::Failed };
        assert_eq!(end.state(), expected, "{cluster}: {end:?}");
        assert!(text(&end).contains(why), "{cluster}: {}", text(&end));
    }
}

#[tokio::test]
async fn a_container_that_there_is_not_is_told_with_those_that_there_are() {
    let lab = Lab::new();
    let workload = format!("{}, container: webb", lab.short());
    let stage = Stage::new(&lab.configured(&format!("token: '{KEY}'"), &workload)).await;
    let end = carried_out(&stage, &set("2")).await;
    assert_eq!(end.state(), State::Failed, "{end:?}");
    assert!(text(&end).contains("`webb`") && text(&end).contains("`migrate`"), "{}", text(&end));
    assert_eq!(lab.cluster().writes(), Vec::new());
}

/// A cluster that was made anew under its name has another id.
#[tokio::test]
async fn a_cluster_that_was_made_anew_is_found_by_its_name() {
    let lab = Lab::new();
    lab.rancher.add_cluster("c-aaaaa", "moving");
    let workload = "workload: 'moving/deployment:shop:web'";
    let stage = Stage::new(&lab.configured(&format!("token: '{KEY}'"), workload)).await;
    let end = carried_out(&stage, &set("2")).await;
    assert_eq!(end.state(), State::Failed, "{end:?}");
    assert!(text(&end).contains("no such cluster"), "{}", text(&end));
    lab.rancher.remove_cluster("c-aaaaa");
    lab.rancher.add_cluster(CLUSTER, "moving");
    let end = carried_out(&stage, &set("3")).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    assert!(lab.image().ends_with(":3"), "{}", lab.image());
}
