//! Start, stop, restart, redeploy, rollback.

use proto::{Operation, State};
use serde_json::{Value, json};

use crate::{
    lab::Lab,
    stage::{carried_out, text, wish},
};

fn restarted_at(lab: &Lab) -> Value {
    lab.object()["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"].clone()
}

#[tokio::test]
async fn a_workload_is_stopped_and_started_as_it_was() {
    for plural in ["deployments", "statefulsets"] {
        let lab = Lab::of(plural);
        let stage = lab.stage("").await;
        for (operation, replicas, remembered) in [
            (Operation::Stop, 0, Some("3")),
            // Twice, it still remembers.
            (Operation::Stop, 0, Some("3")),
            (Operation::Start, 3, None),
            (Operation::Start, 3, None),
            (Operation::Stop, 0, Some("3")),
            (Operation::Restart, 3, None),
        ] {
            let end = carried_out(&stage, &wish(operation.clone())).await;
            assert_eq!(end.state(), State::Succeeded, "{plural} {operation:?}: {end:?}");
            assert_eq!(lab.object()["spec"]["replicas"], replicas, "{plural} {operation:?}");
            assert_eq!(lab.annotation("longshore.replicas").as_deref(), remembered, "{plural} {operation:?}");
            // None are not told at all.
            let running = lab.object()["status"]["replicas"].as_u64().unwrap_or(0);
            assert_eq!(running, replicas, "{plural} {operation:?}");
        }
        assert!(lab.stands().ends_with("acme/web:1"));
    }
}

#[tokio::test]
async fn a_restart_replaces_pods_and_no_image() {
    for plural in ["deployments", "statefulsets", "daemonsets"] {
        let lab = Lab::of(plural);
        let stage = lab.stage("").await;
        let (stands, before) = (lab.stands(), restarted_at(&lab));
        let end = carried_out(&stage, &wish(Operation::Restart)).await;
        assert_eq!(end.state(), State::Succeeded, "{plural}: {end:?}");
        assert!(before.is_null() && restarted_at(&lab).is_string());
        assert_eq!(lab.stands(), stands);
    }
}

#[tokio::test]
async fn a_redeploy_looks_the_tag_up_again() {
    let lab = Lab::deployment();
    let stage = lab.stage("").await;
    let job = wish(Operation::Redeploy);
    let end = carried_out(&stage, &job).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    assert!(lab.stands().starts_with(&format!("{}@sha256:", lab.image("1"))), "{}", lab.stands());
    assert!(restarted_at(&lab).is_string());
    assert_eq!(lab.annotation("longshore.redeployed"), Some(job.id.to_string()));
}

#[tokio::test]
async fn a_rollback_goes_to_what_ran_well_or_to_what_is_named() {
    let lab = Lab::deployment();
    let stage = lab.stage("").await;
    let rollback = |image: Option<String>| {
        let image = image.map(|image| image.parse().unwrap());
        wish(Operation::Rollback { service: None, job: None, image })
    };
    let end = carried_out(&stage, &rollback(None)).await;
    assert_eq!(end.state(), State::Rejected, "{end:?}");
    assert!(text(&end).contains("no image is known that the deployment `web`"), "{}", text(&end));
    for tag in ["2", "3"] {
        assert_eq!(carried_out(&stage, &lab.set(tag)).await.state(), State::Succeeded);
    }
    let end = carried_out(&stage, &rollback(None)).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    assert!(lab.stands().starts_with(&lab.image("2")), "{}", lab.stands());
    let end = carried_out(&stage, &rollback(Some(lab.image("3")))).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    assert!(lab.stands().starts_with(&lab.image("3")), "{}", lab.stands());
}

#[tokio::test]
async fn a_cron_job_is_suspended_and_has_nothing_to_restart() {
    let lab = Lab::of("cronjobs");
    let stage = lab.stage("").await;
    for (operation, suspend) in [(Operation::Stop, true), (Operation::Start, false)] {
        let end = carried_out(&stage, &wish(operation)).await;
        assert_eq!(end.state(), State::Succeeded, "{end:?}");
        assert_eq!(lab.object()["spec"]["suspend"], suspend);
    }
    let end = carried_out(&stage, &wish(Operation::Restart)).await;
    assert!(end.state().is_end() && end.state() != State::Succeeded, "{end:?}");
    assert!(text(&end).contains("no pods to restart between its runs"), "{}", text(&end));
}

#[tokio::test]
async fn an_autoscaler_is_not_fought() {
    let scaler = |name: &str, least: u64| {
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": name},
               "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "minReplicas": least, "maxReplicas": 9}})
    };
    for (name, least, stops) in [("web", 2, true), ("web", 0, false), ("keda-hpa-web", 1, false)] {
        let lab = Lab::deployment();
        lab.cluster().add("horizontalpodautoscalers", "shop", scaler(name, least));
        let stage = lab.stage("").await;
        let end = carried_out(&stage, &wish(Operation::Stop)).await;
        if stops {
            assert_eq!(end.state(), State::Succeeded, "{end:?}");
        } else {
            assert_eq!(end.state(), State::Rejected, "{end:?}");
            assert!(text(&end).contains("would start the deployment `web`"), "{}", text(&end));
            assert_eq!(lab.object()["spec"]["replicas"], 3);
        }
    }
}

#[tokio::test]
async fn a_daemon_set_cannot_be_stopped_and_says_why() {
    let lab = Lab::of("daemonsets");
    let stage = lab.stage("").await;
    let end = carried_out(&stage, &wish(Operation::Stop)).await;
    assert!(end.state().is_end() && end.state() != State::Succeeded, "{end:?}");
    assert!(text(&end).contains("runs on every node that fits"), "{}", text(&end));
    assert_eq!(lab.cluster().writes(), []);
}
