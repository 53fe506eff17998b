//! Deploys that succeed: of every kind, with everything else of the workload as it was.

use std::{sync::Arc, time::Duration};

use proto::{ImageRef, Operation, PoolName, State, Tasks, ask};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::{
    fake_http::Mishap,
    lab::Lab,
    stage::{carried_out, code, text, wish},
};

/// The object less what a deploy may change.
fn rest(mut object: Value) -> Value {
    object["status"] = Value::Null;
    for field in ["resourceVersion", "generation"] {
        object["metadata"][field] = Value::Null;
    }
    if let Some(annotations) = object["metadata"]["annotations"].as_object_mut() {
        annotations.retain(|name, _| {
            !name.starts_with("longshore.") && !name.contains("change-cause") && !name.contains("revision")
        });
    }
    for template in ["/spec/template", "/spec/jobTemplate/spec/template"] {
        if let Some(image) = object.pointer_mut(&format!("{template}/spec/containers/0/image")) {
            *image = Value::Null;
        }
    }
    object
}

#[tokio::test]
async fn every_kind_is_deployed_and_nothing_else_of_it_changes() {
    for plural in ["deployments", "statefulsets", "daemonsets", "cronjobs"] {
        let lab = Lab::of(plural);
        let before = lab.object();
        let stage = lab.stage("").await;
        let job = lab.set("2");
        let end = carried_out(&stage, &job).await;
        assert_eq!(end.state(), State::Succeeded, "{plural}: {end:?}");
        let stands = lab.stands();
        assert!(stands.starts_with(&format!("{}@sha256:", lab.image("2"))), "{stands}");
        assert_eq!(rest(lab.object()), rest(before), "{plural}");
        assert_eq!(lab.cluster().writes().len(), 1, "{plural}");
        assert_eq!(lab.annotation("longshore.job/web"), Some(job.id.to_string()));
        assert_eq!(lab.annotation("longshore.good/web"), Some(lab.image("1")));
        let cause = lab.annotation("kubernetes.io/change-cause").unwrap();
        assert!(cause.contains(&job.id.to_string()) && cause.contains("acme/web:2"), "{cause}");
        let image = end.data.image.clone().unwrap();
        assert_eq!(image.from.map(|it| it.familiar()), Some(lab.image("1")));
        match plural {
            "cronjobs" => assert!(text(&end).contains("the cron job's next run uses it"), "{end:?}"),
            "daemonsets" => assert_eq!(end.data.tasks, Some(Tasks { running: 2, wanted: 2 })),
            _ => assert_eq!(end.data.tasks, Some(Tasks { running: 3, wanted: 3 })),
        }
        // The very same again replaces nothing.
        let end = carried_out(&stage, &lab.set("2")).await;
        assert_eq!((end.state(), lab.stands()), (State::Succeeded, stands), "{plural}: {end:?}");
    }
}

#[tokio::test]
async fn a_cron_job_of_an_old_cluster_is_found_under_its_former_version() {
    let lab = Lab::of("cronjobs");
    lab.cluster().have_old_cron_jobs();
    let stage = lab.stage("").await;
    for tag in ["2", "3"] {
        let end = carried_out(&stage, &lab.set(tag)).await;
        assert_eq!(end.state(), State::Succeeded, "{end:?}");
        assert!(lab.stands().starts_with(&format!("{}@sha256:", lab.image(tag))), "{}", lab.stands());
    }
    let requests = lab.kubernetes.server().requests();
    let tried = requests.iter().filter(|line| line.contains("/apis/batch/v1/")).count();
    assert_eq!(tried, 1, "once is enough: {requests:?}");
}

#[tokio::test]
async fn a_success_is_not_said_of_the_rollout_before() {
    let lab = Lab::deployment();
    let stage = lab.stage("").await;
    let end = carried_out(&stage, &lab.set("2")).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    let object = lab.object();
    let status = |field: &str| object["status"][field].as_u64().unwrap();
    assert_eq!((status("updatedReplicas"), status("replicas"), status("availableReplicas")), (3, 3, 3));
    assert_eq!(object["status"]["observedGeneration"], object["metadata"]["generation"]);
}

#[tokio::test]
async fn a_container_is_chosen_by_its_name_or_by_what_it_runs() {
    let lab = Lab::deployment();
    let side = json!({"name": "side", "image": "acme/side:1"});
    lab.change(|object| {
        object["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().push(side);
    });
    let stage = lab.stage("").await;
    assert_eq!(carried_out(&stage, &lab.set("2")).await.state(), State::Succeeded);
    assert!(lab.stands().starts_with(&lab.image("2")));
    // One that runs before the others, by a digest of its own.
    let digest = "9".repeat(64);
    let image: ImageRef = format!("acme/migrate:2@sha256:{digest}").parse().unwrap();
    let job = wish(Operation::SetImage { image, service: Some("migrate".to_owned()) });
    let end = carried_out(&stage, &job).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    assert_eq!(
        lab.cluster().image("deployments", "web", "migrate"),
        format!("acme/migrate:2@sha256:{digest}")
    );
    assert!(lab.stands().starts_with(&lab.image("2")));
    let containers = lab.object()["spec"]["template"]["spec"]["containers"].as_array().unwrap().len();
    assert_eq!(containers, 2);
    // Each has a mark of its own.
    assert_eq!(lab.annotation("longshore.job/migrate"), Some(job.id.to_string()));
    assert_ne!(lab.annotation("longshore.job/web"), Some(job.id.to_string()));
}

#[tokio::test]
async fn what_an_autoscaler_decided_stays() {
    let lab = Lab::deployment();
    let gate = Arc::new(Notify::new());
    lab.kubernetes.server().befall_next("PATCH ", Mishap::Held(Arc::clone(&gate)));
    let stage = lab.stage("").await;
    let job = lab.set("2");
    stage.accept(&job).await;
    let held = async {
        while !lab.kubernetes.server().requests().iter().any(|line| line.starts_with("PATCH")) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), held).await.expect("nothing is written");
    lab.change(|object| object["spec"]["replicas"] = json!(5));
    gate.notify_one();
    let end = stage.end(&job).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    let statuses: Vec<u16> = lab.cluster().writes().iter().map(|write| write.status).collect();
    // The controller, which makes the two more pods, may come between a second time.
    let (last, before) = statuses.split_last().unwrap();
    assert!(*last == 200 && !before.is_empty() && before.iter().all(|it| *it == 409), "{statuses:?}");
    assert_eq!(lab.object()["spec"]["replicas"], 5);
    assert_eq!(end.data.tasks, Some(Tasks { running: 5, wanted: 5 }));
}

#[tokio::test]
async fn a_storm_of_conflicts_is_outlived() {
    let lab = Lab::deployment();
    lab.cluster().storm(5);
    let stage = lab.stage("").await;
    let end = carried_out(&stage, &lab.set("2")).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    assert_eq!((lab.cluster().writes().len(), lab.writes_of("2")), (6, 1));
}

#[tokio::test]
async fn where_no_registry_tells_the_tag_is_deployed_and_said_to_be() {
    let lab = Lab::deployment();
    let stage = lab.stage("").await;
    let job = crate::stage::job("demo", "127.0.0.1:1/acme/web:2");
    let end = carried_out(&stage, &job).await;
    assert_eq!((end.state(), code(&end)), (State::Succeeded, "not-pinned"), "{end:?}");
    assert!(text(&end).contains("the tag was deployed as it is"), "{}", text(&end));
    assert_eq!(lab.stands(), "127.0.0.1:1/acme/web:2");
    // The same tag may be another image by now: its pods are replaced.
    let end = carried_out(&stage, &crate::stage::job("demo", "127.0.0.1:1/acme/web:2")).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    let template = &lab.object()["spec"]["template"];
    assert!(template["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"].is_string());
    // Those of the pods are kept.
    assert_eq!(template["metadata"]["annotations"]["team"], "front");
}

/// What it goes back to runs already, whatever its tag points to: it stays there.
#[tokio::test]
async fn a_rollback_that_is_repeated_replaces_no_pods() {
    let lab = Lab::deployment();
    let stage = lab.stage("").await;
    for tag in ["2", "3"] {
        let job = crate::stage::job("demo", &format!("127.0.0.1:1/acme/web:{tag}"));
        assert_eq!(carried_out(&stage, &job).await.state(), State::Succeeded);
    }
    for _ in 0..2 {
        let rollback = wish(Operation::Rollback { service: None, job: None, image: None });
        let end = carried_out(&stage, &rollback).await;
        assert_eq!(end.state(), State::Succeeded, "{end:?}");
        assert_eq!(lab.stands(), "127.0.0.1:1/acme/web:2");
        let annotations = &lab.object()["spec"]["template"]["metadata"]["annotations"];
        assert_eq!(annotations["kubectl.kubernetes.io/restartedAt"], json!(null), "{annotations}");
    }
}

#[tokio::test]
async fn nothing_is_said_to_run_where_nothing_does() {
    let lab = Lab::deployment();
    lab.change(|object| object["spec"]["replicas"] = json!(0));
    let stage = lab.stage("").await;
    let end = carried_out(&stage, &lab.set("2")).await;
    assert_eq!((end.state(), code(&end)), (State::Succeeded, "stopped"), "{end:?}");
    assert_eq!(end.data.tasks, Some(Tasks { running: 0, wanted: 0 }));
}

#[tokio::test]
async fn a_partition_keeps_pods_and_the_event_says_so() {
    let lab = Lab::of("statefulsets");
    lab.change(|object| object["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = json!(2));
    let stage = lab.stage("").await;
    let end = carried_out(&stage, &lab.set("2")).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    assert!(text(&end).contains("2 of its pods stay as they were"), "{}", text(&end));
}

#[tokio::test]
async fn lists_are_read_to_their_end() {
    let lab = Lab::deployment();
    lab.cluster().page_by(1);
    let stage = lab.stage("").await;
    assert_eq!(carried_out(&stage, &lab.set("2")).await.state(), State::Succeeded);
}

#[tokio::test]
async fn a_plan_tells_the_one_field_and_a_look_what_stands_there() {
    let lab = Lab::deployment();
    let stage = lab.stage("").await;
    let first = lab.set("2");
    assert_eq!(carried_out(&stage, &first).await.state(), State::Succeeded);
    let (before, writes) = (lab.object(), lab.cluster().writes().len());
    let asked = async |question: ask::Question| {
        let answer =
            stage.queue.ask(&PoolName::default(), question.encode().into(), Duration::from_secs(30)).await;
        ask::Answer::decode(&answer.unwrap()).unwrap()
    };
    let target = || "demo".parse().unwrap();
    let operation = lab.set("3").operation;
    let ask::Answer::Plan(plan) = asked(ask::Question::Plan { target: target(), operation }).await else {
        panic!("no plan")
    };
    let fields: Vec<&str> = plan.changes.iter().map(|change| change.field.as_str()).collect();
    assert_eq!(fields, ["spec.template.spec.containers.web.image"], "{plan:?}");
    assert_eq!(plan.notes, ["replaces all of its 3 pods"]);
    let operation = Operation::Stop;
    let ask::Answer::Plan(plan) = asked(ask::Question::Plan { target: target(), operation }).await else {
        panic!("no plan")
    };
    assert_eq!(plan.changes[0].field, "spec.replicas");
    assert_eq!(plan.notes, ["replaces no pod"]);
    let ask::Answer::Target(now) = asked(ask::Question::Target { target: target() }).await else {
        panic!("not looked at")
    };
    assert_eq!((now.kind.as_str(), now.last_job), ("kubernetes-deployment", Some(first.id)));
    assert_eq!(now.tasks, Some(Tasks { running: 3, wanted: 3 }));
    assert_eq!((lab.object(), lab.cluster().writes().len()), (before, writes));
}
