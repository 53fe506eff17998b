//! Bad answers: each its own clear end, and nothing written; and what passes is waited for.

use proto::State;

use crate::{
    fake_http::Mishap,
    fake_rancher::KEY,
    lab::{Lab, configured, set},
    stage::{Stage, carried_out, code, text},
};

#[tokio::test]
async fn a_page_instead_of_json_is_a_wrong_address() {
    for page in [Mishap::Instead(200, "<!DOCTYPE html><html>welcome</html>"), Mishap::Instead(301, "")] {
        let lab = Lab::new();
        let stage = lab.stage().await;
        let elsewhere = matches!(page, Mishap::Instead(301, _));
        lab.rancher.server().befall_next("GET /k8s/clusters/", page);
        let end = carried_out(&stage, &set("2")).await;
        assert_eq!(end.state(), State::Failed, "{end:?}");
        let why =
            if elsewhere { "it sends us elsewhere" } else { "a web page came back instead of an answer" };
        assert!(text(&end).contains(why), "{}", text(&end));
        assert_eq!(lab.cluster().writes(), Vec::new());
    }
}

#[tokio::test]
async fn null_where_an_object_should_be_is_no_success() {
    let lab = Lab::new();
    let stage = lab.stage().await;
    lab.rancher.server().befall_next("GET /k8s/clusters/", Mishap::Instead(200, "null"));
    let end = carried_out(&stage, &set("2")).await;
    assert_eq!(end.state(), State::Failed, "{end:?}");
    assert!(text(&end).contains("it answers `null`"), "{}", text(&end));
    assert_eq!(lab.cluster().writes(), Vec::new());
}

#[tokio::test]
async fn a_cluster_whose_agent_is_away_is_waited_for() {
    let lab = Lab::new();
    lab.rancher.lose_agent(true);
    let stage = lab.stage().await;
    let job = set("2");
    stage.accept(&job).await;
    let retrying = stage.until_said(&job, State::Retrying).await;
    assert!(
        text(&retrying).contains("the cluster's own agent is not connected to Rancher"),
        "{}",
        text(&retrying)
    );
    lab.rancher.lose_agent(false);
    assert_eq!(stage.end(&job).await.state(), State::Succeeded);
    assert_eq!(lab.writes_of("2"), 1);
}

/// Nobody answers there at all: the job is tried again, and its deadline is its own.
#[tokio::test]
async fn a_rancher_that_is_not_there_is_tried_again() {
    let configuration = configured(
        "http://127.0.0.1:1",
        &format!("token: '{KEY}'"),
        "workload: 'local:p-x/deployment:shop:web'",
    );
    let stage = Stage::new(&configuration).await;
    let job = set("2");
    stage.accept(&job).await;
    let retrying = stage.until_said(&job, State::Retrying).await;
    assert_eq!(code(&retrying), "unreachable", "{retrying:?}");
}
