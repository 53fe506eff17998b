//! Jobs for a swarm, carried out by a whole worker on a fake engine.

use std::time::Duration;

use proto::{Job, Operation, State, Timestamp};
use serde_json::json;
use worker::target::{Target, swarm};

use crate::{
    fake_swarm::FakeSwarm,
    stage::{DEADLINE, Stage, code, job, text, wish},
};

const ROLLOUT: Duration = Duration::from_secs(3);

/// What every service runs at first, as nobody but the engine knows it any more.
fn first(tag: &str) -> String {
    format!("docker.io/acme/app:{tag}@sha256:{}", "a".repeat(64))
}

fn configuration(dock: &FakeSwarm, target: &str) -> String {
    format!(
        "worker: {{takeover_after: 300ms, grace: 100ms}}\n\
         registries: {{docker.io: {{username: ci, password: not-told}}}}\n\
         systems:\n  dock: {{kind: swarm, host: 'tcp://{}'}}\n\
         targets:\n  demo: {{at: dock, {target}}}\n",
        dock.address()
    )
}

/// A stack of two services of one repository, of which the second cannot be written.
fn stack() -> FakeSwarm {
    let dock = FakeSwarm::start(ROLLOUT / 3).unwrap();
    for service in ["shop_a", "shop_b"] {
        dock.add_labelled(service, &first("1"), json!({"com.docker.stack.namespace": "shop"}));
    }
    dock.refuse_writes_to(Some("shop_b"));
    dock
}

fn image_of(dock: &FakeSwarm, service: &str) -> String {
    let spec = dock.spec(service).unwrap();
    spec["TaskTemplate"]["ContainerSpec"]["Image"].as_str().unwrap().to_owned()
}

fn label(dock: &FakeSwarm, service: &str, label: &str) -> Option<String> {
    dock.spec(service).unwrap()["Labels"][label].as_str().map(str::to_owned)
}

/// Waits until the image of the service `web` was written.
async fn until_it_rolls(dock: &FakeSwarm, image: &str) {
    let written = async {
        while !image_of(dock, "web").contains(image) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, written).await.expect("it is never written");
}

#[tokio::test]
async fn what_stands_in_part_is_finished_though_it_was_called_off_meanwhile() {
    let dock = stack();
    let stage = Stage::new(&configuration(&dock, "stack: shop")).await;
    let deploy = job("demo", "acme/app:2");
    stage.accept(&deploy).await;
    stage.until_said(&deploy, State::Retrying).await;
    assert!(image_of(&dock, "shop_a").contains("app:2@"), "half of it is written");
    let cancel = wish(Operation::Cancel { job: deploy.id });
    stage.accept(&cancel).await;
    stage.until_said(&cancel, State::Retrying).await;
    dock.refuse_writes_to(None);

    let end = stage.end(&deploy).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    assert!(image_of(&dock, "shop_b").contains("app:2@"));
    assert_eq!(stage.end(&cancel).await.state(), State::Rejected);
}

#[tokio::test]
async fn what_stands_in_part_is_watched_or_taken_back_where_the_rest_is_never_written() {
    for (rollback, state) in [("true", State::RolledBack), ("false", State::Dead)] {
        let dock = stack();
        let target = format!("stack: shop, rollback: {rollback}");
        let stage = Stage::new(&configuration(&dock, &target)).await;
        let mut deploy = job("demo", "acme/app:2");
        deploy.deadline = Timestamp::now() + Duration::from_secs(4);
        stage.accept(&deploy).await;
        let end = stage.end(&deploy).await;
        assert_eq!(end.state(), state, "{end:?}");
        let told = text(&end);
        assert!(told.contains("does not have a leader") && told.contains("; not written: b"), "{told}");
        if rollback == "true" {
            assert!(told.ends_with("; written before that, and taken back: a"), "{told}");
            assert_eq!(image_of(&dock, "shop_a"), first("1"));
            assert_eq!(label(&dock, "shop_a", "longshore.bad"), None, "nothing is wrong with the image");
        } else {
            assert!(told.ends_with("; written before that: a (as wished)"), "{told}");
        }
    }
}

#[tokio::test]
async fn a_wish_that_cannot_be_carried_out_takes_no_rollout_away() {
    let dock = FakeSwarm::start(ROLLOUT * 2).unwrap();
    dock.add("web", &first("1"));
    let stage = Stage::new(&configuration(&dock, "service: web, rollback: true")).await;
    let bad = job("demo", "acme/app:2-bad");
    stage.accept(&bad).await;
    until_it_rolls(&dock, "app:2-bad@").await;
    let nowhere = job("demo", "acme/app:3-missing");
    stage.accept(&nowhere).await;
    let waits = stage.until_said(&nowhere, State::Retrying).await;
    assert_eq!((code(&waits), waits.data.counted), ("image-not-found", Some(false)), "{waits:?}");

    let end = stage.end(&bad).await;
    assert_eq!(end.state(), State::RolledBack, "{end:?}");
    assert_eq!(image_of(&dock, "web"), first("1"));
    let end = stage.end(&nowhere).await;
    assert_eq!((end.state(), code(&end)), (State::Failed, "image-not-found"));
}

#[tokio::test]
async fn a_redeploy_that_brings_bad_content_goes_back_and_that_content_is_held() {
    let dock = FakeSwarm::start(ROLLOUT / 3).unwrap();
    dock.add("web", &first("1-bad"));
    let stage = Stage::new(&configuration(&dock, "service: web, rollback: true")).await;
    let redeploy = wish(Operation::Redeploy);
    stage.accept(&redeploy).await;
    let end = stage.end(&redeploy).await;
    assert_eq!(end.state(), State::RolledBack, "{end:?}");
    assert_eq!(image_of(&dock, "web"), first("1-bad"));
    let brought = end.data.image.unwrap().to.unwrap().digest().unwrap().to_string();
    assert_eq!(label(&dock, "web", "longshore.bad"), Some(brought));
    assert_eq!(label(&dock, "web", "longshore.redeployed"), Some(redeploy.id.to_string()));
    assert_eq!(label(&dock, "web", "longshore.job"), None, "it is no wish for an image");

    for again in [job("demo", "acme/app:1-bad"), wish(Operation::Redeploy)] {
        stage.accept(&again).await;
        let held = stage.until(&again, |events| events.iter().any(is_held_or_ended)).await;
        let last = held.iter().rfind(|event| is_held_or_ended(event)).unwrap();
        assert!(["bad-image", "held-already"].contains(&code(last)), "{last:?}");
    }
}

fn is_held_or_ended(event: &proto::Event) -> bool {
    event.state() == State::Held || event.state().is_end()
}

#[tokio::test]
async fn a_service_that_somebody_removes_during_its_rollout_is_nobodys_failure() {
    let dock = FakeSwarm::start(ROLLOUT * 2).unwrap();
    dock.add("web", &first("1"));
    let stage = Stage::new(&configuration(&dock, "service: web")).await;
    let deploy = job("demo", "acme/app:2");
    stage.accept(&deploy).await;
    until_it_rolls(&dock, "app:2@").await;
    dock.remove("web");
    let end = stage.end(&deploy).await;
    assert_eq!((end.state(), code(&end)), (State::Superseded, "changed-elsewhere"), "{end:?}");
}

#[tokio::test]
async fn a_restart_brings_the_key_to_the_registry_as_it_is_by_now() {
    let dock = FakeSwarm::start(ROLLOUT / 3).unwrap();
    dock.add("web", &first("1"));
    let stage = Stage::new(&configuration(&dock, "service: web")).await;
    let restart: Job = wish(Operation::Restart);
    stage.accept(&restart).await;
    assert_eq!(stage.end(&restart).await.state(), State::Succeeded);
    let writes = dock.record().writes;
    assert!(writes.last().unwrap().with_key, "{writes:?}");
}

#[tokio::test]
async fn a_plan_tells_of_tasks_that_are_replaced_and_of_images_on_hold() {
    let dock = FakeSwarm::start(ROLLOUT / 3).unwrap();
    let bad = format!("sha256:{}", "b".repeat(64));
    dock.add_labelled("web", &first("1"), json!({"longshore.bad": bad}));
    let settings = serde_json::from_value(json!({"host": format!("tcp://{}", dock.address())})).unwrap();
    let registries = swarm::Registries::default().with_pull_from("r.lan", "vpc.lan");
    let target = swarm::Swarm::new("dock", &settings, registries).unwrap().service("web");
    let set = |image: &str| Operation::SetImage { image: image.parse().unwrap(), service: None };
    let plan = target.plan(&set(&format!("acme/app:2@{bad}"))).await.unwrap();
    assert!(plan.notes.iter().any(|note| note.contains("rolled back here before")), "{plan:?}");
    let plan = target.plan(&set("r.lan/app:2")).await.unwrap();
    assert!(plan.changes[0].to.as_ref().unwrap().as_str().unwrap().starts_with("vpc.lan/app:2@"), "{plan:?}");

    // One that came to nothing: the same image once more replaces the tasks.
    let stage = Stage::new(&configuration(&dock, "service: web")).await;
    let deploy = job("demo", "acme/app:3-bad");
    stage.accept(&deploy).await;
    assert_eq!(stage.end(&deploy).await.state(), State::Failed);
    let plan = target.plan(&set("acme/app:3-bad")).await.unwrap();
    assert_eq!(plan.notes, ["replaces all of its 2 tasks"], "{plan:?}");
}
