//! Services become targets by their labels, and cease to be.

use anyhow::{Context, ensure};
use serde_json::json;
use tests::environment::unique;
use tests::fleet;
use tests::wait::eventually;

use super::stage::{SOON, Stage};

const SOURCES: &str = "{push: {kind: plain, open: true, loopback_only: true}}";

#[tokio::test]
async fn a_label_makes_a_target_on_the_embedded_queue() {
    a_label_makes_a_target(fleet::Engine::Embedded).await;
}

#[tokio::test]
async fn a_label_makes_a_target_on_the_broker() {
    a_label_makes_a_target(fleet::Engine::Broker).await;
}

async fn a_label_makes_a_target(on: fleet::Engine) {
    let stage = Stage::new(on, SOURCES).await.unwrap();
    let repository = unique("app");
    let first = stage.push(&repository, "v1", "one").await.unwrap();
    let service = stage.service(&first, &[]).await.unwrap();
    let follow = format!("longshore.follow={}", stage.registry.image(&format!("{repository}:v*")));

    stage.relabel(&service, "--label-add", &follow).await.unwrap();
    let target = stage.until_target(&service.name, true).await.unwrap();
    assert_eq!((&target["system"], &target["discovered"]), (&json!("swarm"), &json!(true)), "{target}");

    let second = stage.push(&repository, "v2", "two").await.unwrap();
    let body = json!({"image": second.reference});
    let answer = stage.fleet.post("/hooks/push", &body).send().await.unwrap();
    assert_eq!(answer.status(), 202, "{}", answer.text().await.unwrap());
    let jobs = stage.until_it_runs(&service, &service.name, &second).await.unwrap();
    assert_eq!(jobs.len(), 1, "{jobs:?}");

    // The labels of Longshore and of its owner stand beside each other; the target goes with its own.
    stage.relabel(&service, "--label-rm", "longshore.follow").await.unwrap();
    stage.until_target(&service.name, false).await.unwrap();
    let answer = stage.fleet.post("/hooks/push", &body).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());

    stage.relabel(&service, "--label-add", &follow).await.unwrap();
    stage.until_target(&service.name, true).await.unwrap();
    let name = service.name.clone();
    drop(service);
    stage.until_target(&name, false).await.unwrap();
}

#[tokio::test]
async fn mistakes_in_labels_are_told_on_the_broker() {
    let stage = Stage::new(fleet::Engine::Broker, SOURCES).await.unwrap();
    let mut heard =
        stage.fleet.broker.as_ref().unwrap().subscribe("longshore.events", "catalogue.#").await.unwrap();
    let repository = unique("app");
    let image = stage.push(&repository, "v1", "one").await.unwrap();
    let follow =
        |tag: &str| format!("longshore.follow={}", stage.registry.image(&format!("{repository}{tag}")));
    let called = unique("shop");
    let name = format!("longshore.name={called}");
    let faulty = stage.service(&image, &[follow("")]).await.unwrap();
    let first = stage.service(&image, &[follow(":v*"), name.clone()]).await.unwrap();
    stage.until_target(&called, true).await.unwrap();
    let later = stage.service(&image, &[follow(":v*"), name]).await.unwrap();

    let told = eventually(SOON, "both mistakes to be told", || async {
        let told = stage.told().await?;
        let faults = told["faults"].as_array().cloned().unwrap_or_default();
        let of =
            |name: &str| faults.iter().find(|fault| fault["thing"] == format!("service `{name}`")).cloned();
        Ok((of(&faulty.name).context("no word of it")?, of(&later.name).context("no word of it")?))
    })
    .await
    .unwrap();
    assert!(told.0["text"].as_str().unwrap().contains("names no tags"), "{told:?}");
    let taken = format!("its name `default/{called}` is taken by the service `{}`", first.name);
    assert!(told.1["text"].as_str().unwrap().starts_with(&taken), "{told:?}");
    assert!(told.1["hint"].as_str().unwrap().contains("longshore.name"), "{told:?}");

    // Subscribers hear the same.
    loop {
        let event = heard.next(SOON).await.unwrap();
        assert_eq!(event.routing_key, "catalogue.default.swarm");
        assert_eq!(event.body["type"], "longshore.catalogue");
        if event.body["data"]["faults"].to_string().contains(&later.name) {
            break;
        }
    }

    // The name is free once the first one gives it up.
    drop(first);
    eventually(SOON, "the later one to be the target", || async {
        let told = stage.told().await?.to_string();
        ensure!(told.contains(&called) && !told.contains("is taken by"), "{told}");
        Ok(())
    })
    .await
    .unwrap();
}
