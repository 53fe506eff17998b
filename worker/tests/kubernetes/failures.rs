//! Rollouts that do not hold: each ends as a failure, with what the pods say, and goes back where the target asks for it.

use std::time::Duration;

use proto::{State, Timestamp};
use serde_json::json;

use crate::{
    fake_kubernetes::{BAD, CRASHING, FLAKY, NOWHERE, QUOTA},
    lab::Lab,
    stage::{carried_out, code, text},
};

/// A deployment whose controller gives up after a second.
fn impatient() -> Lab {
    Lab::with("deployments", |_, object| object["spec"]["progressDeadlineSeconds"] = json!(1))
}

#[tokio::test]
async fn what_does_not_run_is_told_with_its_pod_and_node() {
    for (ending, expected, said) in [
        (BAD, "rollout-failed", "ImagePullBackOff: Back-off pulling image: manifest unknown"),
        (CRASHING, "rollout-failed", "CrashLoopBackOff: the container `web` exited with 3"),
        (NOWHERE, "no-suitable-node", "Unschedulable: 0/2 nodes are available"),
        (QUOTA, "rollout-failed", "FailedCreate: pods \"web-x\" is forbidden: exceeded quota"),
        // kubectl calls this a success.
        (FLAKY, "rollout-failed", "all new pods were up, but they do not stay up (0 of 3 run): pod web-"),
    ] {
        let lab = impatient();
        let stage = lab.stage("").await;
        let end = carried_out(&stage, &lab.set(&format!("2{ending}"))).await;
        assert_eq!((end.state(), code(&end)), (State::Failed, expected), "{ending}: {end:?}");
        assert!(text(&end).contains(said), "{ending}: {}", text(&end));
        if !matches!(ending, NOWHERE | QUOTA) {
            assert!(text(&end).contains(" on node-"), "{ending}: {}", text(&end));
        }
        // Nobody asked to go back.
        assert!(lab.stands().starts_with(&lab.image(&format!("2{ending}"))), "{}", lab.stands());
        assert_eq!(lab.cluster().writes().len(), 1);
    }
}

#[tokio::test]
async fn a_target_that_asks_for_it_goes_back_to_what_ran_well() {
    for ending in [BAD, FLAKY] {
        let lab = impatient();
        let stage = lab.stage(", rollback: true").await;
        assert_eq!(carried_out(&stage, &lab.set("2")).await.state(), State::Succeeded);
        let good = lab.stands();
        let bad = lab.set(&format!("3{ending}"));
        let end = carried_out(&stage, &bad).await;
        assert_eq!(end.state(), State::RolledBack, "{ending}: {end:?}");
        assert!(text(&end).contains("; rolled back to "), "{}", text(&end));
        assert_eq!(lab.stands(), good);
        assert_eq!(lab.annotation("longshore.back/web"), Some(bad.id.to_string()));
        let noted = lab.annotation("longshore.bad/web").unwrap();
        assert!(noted.starts_with("sha256:"));
        // Whoever hears of the end hears what is on hold since.
        let told: Vec<&str> =
            end.data.put_on_hold.iter().filter_map(|it| Some(it.image.digest()?.as_str())).collect();
        assert_eq!(told, [noted.as_str()]);
        assert_eq!(lab.annotation("longshore.good/web"), Some(good.clone()));
        // The next one is deployed as if nothing had been.
        let end = carried_out(&stage, &lab.set("4")).await;
        assert_eq!(end.state(), State::Succeeded, "{end:?}");
        assert_eq!(lab.annotation("longshore.good/web"), Some(good));
        assert_eq!(lab.annotation("longshore.back/web"), None);
    }
}

#[tokio::test]
async fn where_nothing_ran_well_before_there_is_no_way_back() {
    let lab = Lab::with("deployments", |lab, object| {
        object["spec"]["progressDeadlineSeconds"] = json!(1);
        object["spec"]["template"]["spec"]["containers"][0]["image"] = json!(lab.image("0-crash"));
    });
    let stage = lab.stage(", rollback: true").await;
    let end = carried_out(&stage, &lab.set("2-bad")).await;
    assert_eq!(end.state(), State::Failed, "{end:?}");
    assert!(text(&end).contains("no other image is known to have run well"), "{}", text(&end));
}

/// Its controller never gives up, and never deletes the broken pod that it waits for: putting the old image back is not
/// enough.
#[tokio::test]
async fn a_stateful_set_that_is_stuck_is_brought_back() {
    let lab = Lab::of("statefulsets");
    let stage = lab.stage(", rollback: true").await;
    assert_eq!(carried_out(&stage, &lab.set("2")).await.state(), State::Succeeded);
    let good = lab.stands();
    let mut job = lab.set("3-bad");
    job.deadline = Timestamp::now() + Duration::from_secs(4);
    let end = carried_out(&stage, &job).await;
    assert_eq!(end.state(), State::RolledBack, "{end:?}");
    assert_eq!(lab.stands(), good);
    let deleted: Vec<String> = lab
        .cluster()
        .writes()
        .into_iter()
        .filter(|write| write.method == "DELETE")
        .map(|write| write.path)
        .collect();
    assert_eq!(deleted, ["/api/v1/namespaces/shop/pods/web-2"]);
    assert!(end.data.output.iter().any(|line| line.contains("web-2") && line.contains("deleted")), "{end:?}");
}

#[tokio::test]
async fn a_stateful_set_whose_pods_may_not_be_deleted_says_what_to_do() {
    let lab = Lab::of("statefulsets");
    lab.cluster().deny("delete", "pods");
    let stage = lab.stage("").await;
    let mut job = lab.set("2-bad");
    job.deadline = Timestamp::now() + Duration::from_secs(3);
    let end = carried_out(&stage, &job).await;
    assert_eq!((end.state(), code(&end)), (State::Failed, "deadline"), "{end:?}");
    assert!(text(&end).contains("pod web-2 on node-"), "{}", text(&end));
    let mut job = lab.set("3");
    job.deadline = Timestamp::now() + Duration::from_secs(4);
    let end = carried_out(&stage, &job).await;
    assert_eq!(end.state(), State::Failed, "{end:?}");
    assert!(end.data.output.iter().any(|line| line.contains("`kubectl delete pod web-2`")), "{end:?}");
}

#[tokio::test]
async fn without_a_look_at_pods_less_is_told_and_the_end_is_the_same() {
    let lab = impatient();
    lab.cluster().deny("list", "pods");
    lab.cluster().deny("list", "replicasets");
    let stage = lab.stage("").await;
    let end = carried_out(&stage, &lab.set("2-bad")).await;
    assert_eq!(end.state(), State::Failed, "{end:?}");
    assert!(text(&end).contains("ProgressDeadlineExceeded"), "{}", text(&end));
    assert_eq!(carried_out(&stage, &lab.set("3")).await.state(), State::Succeeded);
}
