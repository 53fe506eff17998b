//! What workers tell of the services they find.

use std::time::Duration;

use proto::{Catalogue, ask};
use queue::{Entry, History, Since};

use crate::{
    lab::{PATIENCE, STAYS_UP, Service, docker},
    poll::Fleet,
    registry::Registry,
    wire::Wire,
};

async fn fleet(host: &str, more: &str) -> (Fleet, Box<dyn History>) {
    let configuration =
        format!("systems: {{swarm: {{kind: swarm, host: '{host}', discover: labels}}}}\n{more}");
    let fleet = Fleet::start(2, &configuration).await;
    let history = fleet.queue.history(Since::Start).await.unwrap();
    (fleet, history)
}

/// The next catalogue that is as wanted.
async fn until_told(history: &mut dyn History, what: &str, wanted: impl Fn(&Catalogue) -> bool) -> Catalogue {
    let told = async {
        loop {
            if let Entry::Catalogue(catalogue) = history.next().await.unwrap().entry
                && wanted(&catalogue)
            {
                return *catalogue;
            }
        }
    };
    tokio::time::timeout(PATIENCE, told).await.unwrap_or_else(|_| panic!("it is never told that {what}"))
}

fn has(catalogue: &Catalogue, name: &str) -> bool {
    catalogue.data.targets.iter().any(|listing| listing.target.name() == name)
}

async fn labelled(image: &str, label: &str) -> Service {
    Service::create(image, |spec| spec["Labels"]["longshore.follow"] = serde_json::json!(label)).await
}

#[tokio::test]
async fn a_service_is_found_and_can_be_looked_at_and_is_lost_with_its_label() {
    let image = Registry::start();
    let image = image.push("web:1", STAYS_UP).to_string();
    let service = labelled(&image, "acme/web:1").await;
    let (fleet, mut history) = fleet(&crate::lab::environment("LONGSHORE_TEST_DOCKER"), "").await;
    let told = until_told(&mut *history, "it is there", |told| has(told, &service.name)).await;
    let listing = told.data.targets.iter().find(|listing| listing.target.name() == service.name).unwrap();
    assert_eq!((listing.kind.as_str(), listing.discovered), ("swarm-service", true));
    assert!(!String::from_utf8_lossy(&told.encode()).contains("docker.sock"), "{told:?}");

    let question = ask::Question::Target { target: listing.target.clone() };
    let asked = fleet.queue.ask(listing.target.pool(), question.encode().into(), Duration::from_secs(30));
    let answer = ask::Answer::decode(&asked.await.unwrap()).unwrap();
    let ask::Answer::Target(now) = answer else { panic!("{answer:?}") };
    assert_eq!(now.images[0].to_string(), image);

    docker(&["service", "update", "--detach", "--label-rm", "longshore.follow", &service.name]);
    until_told(&mut *history, "it is gone", |told| !has(told, &service.name)).await;
    fleet.queue.close().await;
}

#[tokio::test]
async fn a_declared_service_is_no_second_target() {
    let registry = Registry::start();
    let image = registry.push("web:1", STAYS_UP).to_string();
    let declared = labelled(&image, "acme/web:1").await;
    let found = labelled(&image, "acme/web:1").await;
    let more =
        format!("targets: {{shop: {{at: swarm, service: {}, follow: 'acme/shop:*'}}}}\n", declared.name);
    let (fleet, mut history) = fleet(&crate::lab::environment("LONGSHORE_TEST_DOCKER"), &more).await;
    let told = until_told(&mut *history, "the other is there", |told| has(told, &found.name)).await;
    assert!(has(&told, "shop") && !has(&told, &declared.name), "{told:?}");
    fleet.queue.close().await;
}

#[tokio::test]
async fn an_engine_that_was_lost_is_followed_again() {
    let registry = Registry::start();
    let image = registry.push("web:1", STAYS_UP).to_string();
    let service = labelled(&image, "acme/web:1").await;
    let wire = Wire::lay().await;
    let (fleet, mut history) = fleet(&wire.host, "").await;
    until_told(&mut *history, "it is there", |told| has(told, &service.name)).await;
    wire.cut();
    let later = labelled(&image, "acme/web:2").await;
    let _again = Wire::lay_again(&wire).await;
    let told = until_told(&mut *history, "the later is there", |told| has(told, &later.name)).await;
    // What was known stayed so meanwhile.
    assert!(has(&told, &service.name), "{told:?}");
    fleet.queue.close().await;
}
