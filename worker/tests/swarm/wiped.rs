//! Services that lost what was noted on them, as by a `docker stack deploy` of an unchanged file: the history knows it still.

use proto::{Event, Job, Operation, PutOnHold, State};
use serde_json::json;
use worker::target::{End, Target};

use crate::{
    lab::{STAYS_UP, Service, environment},
    registry::Registry,
    stage::{Stage, carried_out, job},
    text::{Stack, carry_out_text, compose, deploy_job, service, text},
};

fn configuration(service: &Service) -> String {
    format!(
        "systems:\n  swarm: {{kind: swarm, host: \"{}\"}}\ntargets:\n  web: {{at: swarm, service: {}}}\n",
        environment("LONGSHORE_TEST_DOCKER"),
        service.name
    )
}

fn of(operation: Operation) -> Job {
    Job { slots: operation.slots(), operation, ..job("web", "any:1") }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_hold_is_noted_again_and_replaces_no_task() {
    let registry = Registry::start();
    let (old, bad) = (registry.push("again:1", STAYS_UP), registry.push("again:2", &["false"]));
    let service = Service::create(&old.to_string(), |spec| spec["Labels"] = json!({"team": "a"})).await;
    let bad = service.target().resolve(&bad).await.unwrap();
    let ids = async || service.tasks().await.iter().map(|task| task["ID"].clone()).collect::<Vec<_>>();
    let before = ids().await;

    let mut stage = Stage::empty().await;
    let (hold, tried) = (of(Operation::Hold { image: None }), job("web", &bad.to_string()));
    for job in [&hold, &tried] {
        stage.say(job, State::Accepted).await;
        stage.say(job, State::Started).await;
    }
    stage.say(&hold, State::Succeeded).await;
    let mut end = Event::of(&tried, State::RolledBack, 1, 0);
    end.data.put_on_hold = vec![PutOnHold { image: bad.clone(), part: None }];
    stage.queue.emit(&end).await.unwrap();
    stage.start(&configuration(&service));
    service
        .wait_for("what is on hold to be noted again", async |service| {
            service.label("longshore.hold").await == Some(hold.id.to_string())
        })
        .await;
    assert_eq!(service.label("longshore.bad").await, bad.digest().map(ToString::to_string));
    assert_eq!(service.label("team").await.as_deref(), Some("a"), "what is not ours stays");
    assert_eq!(ids().await, before);
    assert_eq!(service.target().look().await.unwrap().on_hold, Some(hold.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_of_a_stack_is_found_in_the_history() {
    let (registry, stack) = (Registry::start(), Stack::new());
    let [old, new, db] = ["way:1", "way:2", "db:1"].map(|name| registry.push(name, STAYS_UP).to_string());
    let services = [("web", &old), ("jobs", &old), ("db", &db)];
    let compose = compose(&services.map(|(name, image)| service(name, image, "")), "");
    assert_eq!(
        carry_out_text(&stack.target(), &deploy_job(&text(compose))).await.unwrap().end,
        End::Converged
    );
    let stage = Stage::new(&format!(
        "systems:\n  swarm: {{kind: swarm, host: \"{}\"}}\ntargets:\n  web: {{at: swarm, stack: {}}}\n",
        environment("LONGSHORE_TEST_DOCKER"),
        stack.name
    ))
    .await;
    let end = carried_out(&stage, &job("web", &new)).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    // As the docker command leaves them that deploys the same file.
    let wipe = async || {
        for (name, _) in services {
            let label = json!({"com.docker.stack.namespace": stack.name});
            stack.part(name).edit_by_hand(|spec| spec["Labels"] = label.clone()).await;
        }
    };
    wipe().await;
    let before = stack.part("db").inspect().await["Spec"].clone();
    let back = of(Operation::Rollback { service: None, job: None, image: None });
    // A worker had begun with one of them, and died.
    let pinned = stack.part("web").target().resolve(&old.parse().unwrap()).await.unwrap().to_string();
    stack
        .part("web")
        .edit_by_hand(|spec| {
            spec["Labels"]["longshore.trying"] = json!(back.id.to_string());
            spec["Labels"]["longshore.trying-image"] = json!(pinned);
        })
        .await;
    let end = carried_out(&stage, &back).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    for name in ["web", "jobs"] {
        let stands = stack.part(name).image().await;
        assert!(stands.starts_with(&format!("{old}@sha256:")), "{name}: {stands}");
    }
    assert_eq!(stack.part("db").inspect().await["Spec"], before, "what the job did not bring");

    // What the last job brought stands nowhere by now.
    wipe().await;
    let end = carried_out(&stage, &of(Operation::Rollback { service: None, job: None, image: None })).await;
    let why = end.data.reason.clone().unwrap();
    assert_eq!(end.state(), State::Failed, "{end:?}");
    assert!(why.text.contains("no image is known that any service of the stack"), "{why:?}");
    assert!(why.text.contains("with `--to`"), "{why:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_is_found_in_the_history() {
    let registry = Registry::start();
    let [old, new] = ["way:1", "way:2"].map(|name| registry.push(name, STAYS_UP));
    let service = Service::create(&old.to_string(), |_| ()).await;
    let stage = Stage::new(&configuration(&service)).await;
    for image in [&old, &new] {
        let end = carried_out(&stage, &job("web", &image.to_string())).await;
        assert_eq!(end.state(), State::Succeeded, "{end:?}");
    }
    service.edit_by_hand(|spec| spec["Labels"] = json!({})).await;
    let back = of(Operation::Rollback { service: None, job: None, image: None });
    let end = carried_out(&stage, &back).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    assert!(service.image().await.starts_with(&format!("{old}@sha256:")), "{}", service.image().await);
}
