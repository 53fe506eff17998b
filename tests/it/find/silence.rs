//! Nothing that does not work is passed over in silence.

use serde_json::{Value, json};
use tests::environment::unique;
use tests::fleet::{Engine, Fleet};

use super::stage::Stage;

const SOURCES: &str = "{poll: {kind: poll, every: 2s}}";

#[tokio::test]
async fn looks_that_fail_are_told_until_they_do_not_on_the_embedded_queue() {
    let stage = Stage::new(Engine::Embedded, SOURCES).await.unwrap();
    let repository = unique("app");
    let image = stage.push(&repository, "v1", "one").await.unwrap();
    let missing = stage.registry.image(&format!("{repository}:stable"));
    // Nobody listens at the lowest port.
    let labels = [format!("longshore.follow={missing},127.0.0.1:1/app:1")];
    let service = stage.service(&image, &labels).await.unwrap();
    let target = format!("default/{}", service.name);

    let fault = stage.until_fault(&[&missing, "has no such tag"], true).await.unwrap();
    assert_eq!((&fault["kind"], &fault["targets"]), (&json!("look"), &json!([target])), "{fault}");
    let away = stage.until_fault(&["127.0.0.1:1/app:1", "cannot ask the registry"], true).await.unwrap();
    assert!(!away["hint"].as_str().unwrap().is_empty(), "{away}");
    let shown = stage.fleet.get(&format!("/v1/targets/{target}")).send().await.unwrap();
    let shown: Value = shown.json().await.unwrap();
    assert_eq!(shown["faults"].as_array().map(Vec::len), Some(2), "{shown}");

    let pushed = stage.push(&repository, "stable", "two").await.unwrap();
    stage.until_it_runs(&service, &service.name, &pushed).await.unwrap();
    stage.until_fault(&[&missing], false).await.unwrap();
}

#[tokio::test]
async fn what_a_look_passes_over_is_told_and_a_tag_that_is_moved_is_a_new_wish() {
    let stage = Stage::new(Engine::Embedded, SOURCES).await.unwrap();
    let repository = unique("app");
    let first = stage.push(&repository, "latest", "one").await.unwrap();
    let second = stage.push(&repository, "2", "two").await.unwrap();
    let service = stage.service(&first, &[format!("longshore.follow={}", first.reference)]).await.unwrap();
    stage.until_target(&service.name, true).await.unwrap();
    let roll_back = async || {
        let path = format!("/v1/targets/default/{}/rollback", service.name);
        let answer = stage.fleet.post(&path, &json!({})).send().await.unwrap();
        assert_eq!(answer.status(), 202, "{}", answer.text().await.unwrap());
        stage.until_it_runs(&service, &service.name, &first).await.unwrap();
    };

    // Tried by hand under another tag, and taken back; the week after it is what `latest` names.
    let wish = json!({"target": service.name, "image": second.reference});
    let answer = stage.fleet.post("/v1/jobs", &wish).send().await.unwrap();
    assert_eq!(answer.status(), 202, "{}", answer.text().await.unwrap());
    stage.until_it_runs(&service, &service.name, &second).await.unwrap();
    roll_back().await;
    stage.until_looked_at(&repository, 3).await.unwrap();
    stage.engine.docker(&["tag", &second.reference, &first.reference]).await.unwrap();
    stage.engine.push(&first.reference).await.unwrap();
    let jobs = stage.until_it_runs(&service, &service.name, &second).await.unwrap();
    assert_eq!((jobs.len(), &jobs[0]["cause"]["kind"]), (3, &json!("poll")), "{jobs:?}");

    // What a look brought and somebody took back stays back, and that is told.
    roll_back().await;
    let fault = stage.until_fault(&[&first.reference, "a look does not bring it again"], true).await.unwrap();
    assert_eq!(fault["kind"], "look", "{fault}");
    assert_eq!(stage.jobs(&service.name).await.unwrap().len(), 4);
}

#[tokio::test]
async fn systems_that_cannot_be_reached_are_told_at_the_start() {
    let mut fleet = Fleet::prepare(Engine::Embedded).await.unwrap();
    let away = "host: \"unix:///nothere/docker.sock\"";
    fleet
        .configure(&format!(
            "systems:\n  found: {{kind: swarm, {away}, discover: labels}}\n  declared: {{kind: swarm, {away}}}\n\
             targets: {{web: {{at: declared, service: web}}}}\n"
        ))
        .unwrap();
    fleet.start().await.unwrap();
    for system in ["found", "declared"] {
        tests::wait::eventually(super::stage::SOON, &format!("`{system}` to be told of"), || async {
            let told: Value = fleet.get("/v1/targets").send().await?.json().await?;
            let faults = told["faults"].as_array().cloned().unwrap_or_default();
            let is_it = |fault: &Value| fault["system"] == system && fault["kind"] == "system";
            anyhow::ensure!(faults.iter().any(is_it), "{told}");
            Ok(())
        })
        .await
        .unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.lines().join("\n")));
    }
}

#[tokio::test]
async fn labels_that_nobody_knows_and_labels_of_containers_are_told() {
    let stage = Stage::new(Engine::Embedded, "{}").await.unwrap();
    let repository = unique("app");
    let image = stage.push(&repository, "v1", "one").await.unwrap();
    let misspelled = stage.service(&image, &[format!("longshore.folow={}", image.reference)]).await.unwrap();
    let fault = stage.until_fault(&[&misspelled.name, "`longshore.folow`"], true).await.unwrap();
    assert_eq!(fault["hint"], "write `longshore.follow`", "{fault}");
    let option = format!("longshore.follow={}", image.reference);
    let update =
        ["service", "update", "--detach", "--label-rm", "longshore.folow", "--container-label-add", &option];
    stage.engine.docker(&[&update[..], &[&misspelled.name]].concat()).await.unwrap();
    let fault = stage.until_fault(&[&misspelled.name, "label of its containers"], true).await.unwrap();
    assert!(fault["hint"].as_str().unwrap().contains("`deploy: labels:`"), "{fault}");
}
