//! Many rollouts at once on one engine: they look at it together.

use std::time::Instant;

use futures::future::join_all;
use serde_json::json;
use worker::target::{
    End,
    swarm::{Registries, Swarm},
};

use crate::{
    lab::{STAYS_UP, Service, apply, deploy, docker, settings, wanted, watch},
    registry::Registry,
    wire::Wire,
};

const MANY: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn many_rollouts_share_one_list_a_second_and_one_stream() {
    let registry = Registry::start();
    let (old, new) = (registry.push("crowd:1", STAYS_UP), registry.push("crowd:2", STAYS_UP));
    let one = |spec: &mut serde_json::Value| spec["Mode"] = json!({"Replicated": {"Replicas": 1}});
    let old = old.to_string();
    let services = join_all((0..MANY).map(|_| Service::create(&old, one))).await;
    let wire = Wire::lay().await;
    let swarm = Swarm::new("swarm", &settings(&wire.host), Registries::default()).unwrap();

    let began = Instant::now();
    let outcomes = join_all(services.iter().map(async |service| {
        let target = swarm.service(&service.name);
        let wanted = wanted(&target, &new).await;
        apply(&target, &wanted).await.unwrap();
        // Of those that are watched together one is lost: that is no fault of the others.
        if service.name == services[0].name {
            service.wait_until_it_rolls().await;
            docker(&["service", "rm", &service.name]);
        }
        watch(&target, &wanted).await
    }))
    .await;
    let seconds = began.elapsed().as_secs() as usize;

    let (lost, _) = outcomes[0].as_ref().unwrap();
    assert!(matches!(lost.end, End::Superseded { by: None, .. }), "{lost:?}");
    for outcome in &outcomes[1..] {
        let (outcome, said) = outcome.as_ref().unwrap();
        assert_eq!(outcome.end, End::Converged, "{outcome:?}");
        assert!(!said.is_empty());
    }
    let lists = wire.asked(|line| line.contains("/tasks?"));
    // A few are saved up before.
    assert!(lists <= seconds + 4, "{lists} lists of tasks in {seconds} s");
    let streams = wire.asked(|line| line.contains("/events?"));
    assert!(streams <= 2, "{streams} streams of events");
}

#[tokio::test]
async fn one_rollout_alone_asks_no_more_often_than_a_crowd() {
    let registry = Registry::start();
    let (old, new) = (registry.push("alone:1", STAYS_UP), registry.push("alone:2", STAYS_UP));
    let service = Service::create(&old.to_string(), |spec| {
        spec["UpdateConfig"]["Monitor"] = json!(5_000_000_000u64);
    })
    .await;
    let wire = Wire::lay().await;
    let target =
        Swarm::new("swarm", &settings(&wire.host), Registries::default()).unwrap().service(&service.name);
    let began = Instant::now();
    let outcome = deploy(&target, &wanted(&target, &new).await).await;
    let seconds = began.elapsed().as_secs() as usize;
    assert_eq!(outcome.end, End::Converged, "{outcome:?}");
    let lists = wire.asked(|line| line.contains("/tasks?"));
    assert!(lists <= seconds + 4, "{lists} lists of tasks in {seconds} s");
}
