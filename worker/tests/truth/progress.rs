//! What is told while a rollout is under way: each change, not too often, in the words of the docker CLI.

use std::time::{Duration, Instant};

use proto::Tasks;
use serde_json::json;
use tokio::sync::mpsc;
use worker::target::{End, Progress, Target};

use crate::{
    lab::{STAYS_UP, Service, apply, wanted},
    registry::Registry,
};

const REPLICAS: u64 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_told_at_most_twice_a_second() {
    let registry = Registry::start();
    let (old, new) = (registry.push("progress:1", STAYS_UP), registry.push("progress:2", STAYS_UP));
    let service = Service::create(&old.to_string(), |spec| {
        spec["Mode"]["Replicated"]["Replicas"] = json!(REPLICAS);
        // One after the other, more slowly than is told.
        spec["UpdateConfig"]["Delay"] = json!(1_500_000_000u64);
        spec["UpdateConfig"]["Monitor"] = json!(2_000_000_000u64);
    })
    .await;
    let target = service.target();
    let wanted = wanted(&target, &new).await;
    apply(&target, &wanted).await.unwrap();
    let (sender, mut told) = mpsc::channel::<Progress>(1000);
    let hearing = tokio::spawn(async move {
        let mut heard = Vec::new();
        while let Some(progress) = told.recv().await {
            heard.push((Instant::now(), progress));
        }
        heard
    });
    let outcome = target.watch(&wanted, &sender).await.unwrap();
    drop(sender);
    let heard = hearing.await.unwrap();
    assert_eq!(outcome.end, End::Converged, "{outcome:?}");
    for pair in heard.windows(2) {
        let [(before, one), (after, other)] = pair else { unreachable!() };
        // Told half a second apart, and heard when this test was given the time.
        assert!(after.duration_since(*before) > Duration::from_millis(300), "{pair:?}");
        assert_ne!(one, other);
    }
    for running in 1..=REPLICAS {
        let tasks = Tasks { running, wanted: REPLICAS };
        assert!(heard.iter().any(|(_, progress)| progress.tasks == tasks), "{tasks:?} in {heard:?}");
        let line = format!("overall progress: {running} out of {REPLICAS} tasks");
        assert!(outcome.output.contains(&line), "{line} in {:?}", outcome.output);
    }
    let last: Vec<&str> = outcome.output.iter().rev().take(1).map(String::as_str).collect();
    assert_eq!(last, ["verify: Service converged"]);
    assert!(outcome.output.len() <= 40, "{:?}", outcome.output);
}
