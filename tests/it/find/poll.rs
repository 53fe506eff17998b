//! New images are found by looking: a swarm behind a firewall needs nothing else.

use anyhow::ensure;
use serde_json::json;
use tests::environment::unique;
use tests::fleet;
use tests::wait::eventually;

use super::stage::{SOON, Stage};

const SOURCES: &str = "{poll: {kind: poll, every: 2s}}";

#[tokio::test]
async fn a_new_image_is_found_and_deployed_on_the_embedded_queue() {
    a_new_image_is_found_and_deployed(fleet::Engine::Embedded).await;
}

#[tokio::test]
async fn a_new_image_is_found_and_deployed_on_the_broker() {
    a_new_image_is_found_and_deployed(fleet::Engine::Broker).await;
}

async fn a_new_image_is_found_and_deployed(on: fleet::Engine) {
    let stage = Stage::new(on, SOURCES).await.unwrap();
    let repository = unique("app");
    let first = stage.push(&repository, "latest", "one").await.unwrap();
    let follow = format!("longshore.follow={}", first.reference);
    let service = stage.service(&first, &[follow]).await.unwrap();
    stage.until_target(&service.name, true).await.unwrap();
    stage.until_looked_at(&repository, 2).await.unwrap();
    assert_eq!(stage.jobs(&service.name).await.unwrap(), Vec::<serde_json::Value>::new(), "nothing is new");

    let second = stage.push(&repository, "latest", "two").await.unwrap();
    let jobs = stage.until_it_runs(&service, &service.name, &second).await.unwrap();
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    assert_eq!(jobs[0]["cause"]["kind"], "poll", "{jobs:?}");
    assert_eq!(jobs[0]["cause"]["source"], "poll", "{jobs:?}");
    stage.until_looked_at(&repository, 3).await.unwrap();
    assert_eq!(stage.jobs(&service.name).await.unwrap().len(), 1, "what is known is no news");

    // A worker that starts anew remembers nothing, and makes nothing of it.
    let mut stage = stage;
    stage.fleet.kill().await.unwrap();
    stage.fleet.start().await.unwrap();
    stage.until_looked_at(&repository, 2).await.unwrap();
    assert_eq!(stage.jobs(&service.name).await.unwrap().len(), 1, "what is known is no news");

    // Back to what the tag was before is news again.
    let third = stage.push(&repository, "latest", "one").await.unwrap();
    stage.until_it_runs(&service, &service.name, &third).await.unwrap();
}

#[tokio::test]
async fn a_new_tag_of_a_pattern_is_found_on_the_embedded_queue() {
    let stage = Stage::new(fleet::Engine::Embedded, SOURCES).await.unwrap();
    let repository = unique("app");
    let first = stage.push(&repository, "v1", "one").await.unwrap();
    let pattern = stage.registry.image(&format!("{repository}:v*"));
    let service = stage.service(&first, &[format!("longshore.follow={pattern}")]).await.unwrap();
    stage.until_target(&service.name, true).await.unwrap();
    stage.until_looked_at(&repository, 2).await.unwrap();
    stage.push(&repository, "other", "no").await.unwrap();
    let second = stage.push(&repository, "v2", "two").await.unwrap();
    let jobs = stage.until_it_runs(&service, &service.name, &second).await.unwrap();
    assert_eq!(jobs.len(), 1, "{jobs:?}");
}

#[tokio::test]
async fn of_a_range_the_highest_comes_and_what_was_rolled_back_does_not_on_the_embedded_queue() {
    let mut stage = Stage::new(fleet::Engine::Embedded, SOURCES).await.unwrap();
    let repository = unique("app");
    let first = stage.push(&repository, "1.0.0", "one").await.unwrap();
    let (image, _) = first.reference.rsplit_once(':').unwrap();
    let labels = [format!("longshore.follow={image}"), "longshore.tags=semver:^1".to_owned()];
    let service = stage.service(&first, &labels).await.unwrap();
    stage.until_target(&service.name, true).await.unwrap();
    stage.until_looked_at(&repository, 4).await.unwrap();
    assert_eq!(stage.jobs(&service.name).await.unwrap(), Vec::<serde_json::Value>::new(), "nothing is new");

    // What was pushed while nobody looked is found by whoever looks next.
    stage.fleet.kill().await.unwrap();
    let second = stage.push(&repository, "1.10.0", "two").await.unwrap();
    stage.push(&repository, "1.9.0", "between").await.unwrap();
    stage.fleet.start().await.unwrap();
    let jobs = stage.until_it_runs(&service, &service.name, &second).await.unwrap();
    assert_eq!(jobs.len(), 1, "{jobs:?}");

    let path = format!("/v1/targets/default/{}/rollback", service.name);
    let answer = stage.fleet.post(&path, &json!({})).send().await.unwrap();
    assert_eq!(answer.status(), 202, "{}", answer.text().await.unwrap());
    stage.until_it_runs(&service, &service.name, &first).await.unwrap();
    stage.fleet.kill().await.unwrap();
    stage.fleet.start().await.unwrap();
    stage.until_looked_at(&repository, 6).await.unwrap();
    let jobs = stage.jobs(&service.name).await.unwrap();
    assert_eq!(jobs.len(), 2, "what was rolled back is no news: {jobs:?}");

    let third = stage.push(&repository, "1.11.0", "three").await.unwrap();
    stage.until_it_runs(&service, &service.name, &third).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_read_on_the_intake_is_laid_aside_by_the_broker() {
    let stage = Stage::new(fleet::Engine::Broker, "{}").await.unwrap();
    let broker = stage.fleet.broker.as_ref().unwrap();
    broker.publish("longshore.intake", "ci", b"{\"image\": 7}").await.unwrap();
    eventually(SOON, "the message among the dead letters", || async {
        let page = stage.fleet.get("/v1/jobs?state=dead").send().await?;
        let page: serde_json::Value = page.json().await?;
        let letter = page["unreadable"][0].clone();
        ensure!(letter.to_string().contains("`image` is not a text"), "{page}");
        ensure!(letter.to_string().contains("undecodable"), "{page}");
        Ok(())
    })
    .await
    .unwrap();

    // What can be read beside it is matched; nothing follows it here.
    broker
        .publish("longshore.intake", "ci", json!({"image": "acme/web:2"}).to_string().as_bytes())
        .await
        .unwrap();
    eventually(SOON, "the sighting to be taken in", || async {
        let lines = stage.fleet.lines().join("\n");
        ensure!(lines.contains("seen, and nothing is to be deployed"), "{lines}");
        Ok(())
    })
    .await
    .unwrap();
}
