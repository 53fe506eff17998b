//! The marks on a service: who may write, and who notices whom.

use proto::reason;
use serde_json::json;
use worker::target::{End, Standing, Target, TargetError};

use crate::{
    lab::{STAYS_UP, Service, apply, deploy, job, pinned, wanted, watch},
    registry::Registry,
};

/// Long enough that a test can act while it rolls.
fn slowly(spec: &mut serde_json::Value) {
    spec["UpdateConfig"]["Monitor"] = json!(4_000_000_000u64);
}

#[tokio::test]
async fn an_older_job_finds_the_newer_ones_mark() {
    let registry = Registry::start();
    let old = registry.push("web:1", STAYS_UP);
    let new = registry.push("web:2", STAYS_UP);
    let service = Service::create(&old.to_string(), |_| ()).await;
    let target = service.target();
    let older = job(&old);
    let newer = wanted(&target, &new).await;
    assert_eq!(deploy(&target, &newer).await.end, End::Converged);
    let found = target.read(&older).await.unwrap();
    assert_eq!(found.standing(older.id), Standing::Newer(newer.job.id));
}

#[tokio::test]
async fn a_write_on_what_was_read_before_another_change_is_a_conflict() {
    let registry = Registry::start();
    let old = registry.push("web:1", STAYS_UP);
    let new = registry.push("web:2", STAYS_UP);
    let service = Service::create(&old.to_string(), |_| ()).await;
    let target = service.target();
    let wanted = wanted(&target, &new).await;
    let found = target.read(&wanted.job).await.unwrap();
    service.edit_by_hand(|spec| spec["Labels"] = json!({"by": "hand"})).await;
    let error = found.apply(&wanted).await.unwrap_err();
    assert!(matches!(error, TargetError::Conflict), "{error:?}");
    assert_eq!(service.image().await, old.to_string());
    // Read and decided again, it goes through, and the other change stays.
    assert_eq!(deploy(&target, &wanted).await.end, End::Converged);
    assert_eq!(service.label("by").await.as_deref(), Some("hand"));
}

#[tokio::test]
async fn somebody_elses_image_during_the_rollout_supersedes() {
    let registry = Registry::start();
    let old = registry.push("web:1", STAYS_UP);
    let new = registry.push("web:2", STAYS_UP);
    let by_hand = registry.push("web:3", STAYS_UP);
    let service = Service::create(&old.to_string(), slowly).await;
    let target = service.target();
    let wanted = wanted(&target, &new).await;
    apply(&target, &wanted).await.unwrap();
    let watching = tokio::spawn(async move { watch(&target, &wanted).await });
    service.wait_until_it_rolls().await;
    service
        .edit_by_hand(|spec| spec["TaskTemplate"]["ContainerSpec"]["Image"] = json!(by_hand.to_string()))
        .await;
    let (outcome, _) = watching.await.unwrap().unwrap();
    let End::Superseded { by: None, reason } = &outcome.end else { panic!("{outcome:?}") };
    assert_eq!(reason.code, reason::CHANGED_ELSEWHERE);
}

#[tokio::test]
async fn a_newer_job_takes_over_a_rollout_under_way() {
    let registry = Registry::start();
    let old = registry.push("web:1", STAYS_UP);
    let between = registry.push("web:2", STAYS_UP);
    let newest = registry.push("web:3", STAYS_UP);
    let service = Service::create(&old.to_string(), slowly).await;
    let target = service.target();
    let first = wanted(&target, &between).await;
    apply(&target, &first).await.unwrap();
    let watching = {
        let (target, first) = (target.clone(), first.clone());
        tokio::spawn(async move { watch(&target, &first).await })
    };
    service.wait_until_it_rolls().await;

    let second = wanted(&target, &newest).await;
    apply(&target, &second).await.unwrap();
    let (outcome, _) = watching.await.unwrap().unwrap();
    assert!(
        matches!(outcome.end, End::Superseded { by: Some(by), .. } if by == second.job.id),
        "{outcome:?}"
    );
    assert_eq!(watch(&target, &second).await.unwrap().0.end, End::Converged);
    // The image in between never converged: what ran well is the one before it.
    let ran = target.resolve(&old).await.unwrap();
    assert_eq!(service.label("longshore.good").await, Some(ran.to_string()));
    assert_eq!(service.image().await, pinned(&second).to_string());
}

#[tokio::test]
async fn a_newer_job_for_the_image_that_rolls_joins_and_writes_nothing() {
    let registry = Registry::start();
    let old = registry.push("web:1", STAYS_UP);
    let new = registry.push("web:2", STAYS_UP);
    let service = Service::create(&old.to_string(), slowly).await;
    let target = service.target();
    let first = wanted(&target, &new).await;
    apply(&target, &first).await.unwrap();
    service.wait_until_it_rolls().await;

    let second = wanted(&target, &new).await;
    apply(&target, &second).await.unwrap();
    // Nothing was written in the rollout: the engine could still go back.
    assert_eq!(service.label("longshore.job").await, Some(first.job.id.to_string()));
    assert_eq!(service.state_of_update().await.as_deref(), Some("updating"));
    assert_eq!(watch(&target, &second).await.unwrap().0.end, End::Converged);
    // Nor after it: the engine can still.
    assert_eq!(service.label("longshore.job").await, Some(first.job.id.to_string()));
    let former = &service.inspect().await["PreviousSpec"]["TaskTemplate"]["ContainerSpec"]["Image"];
    assert_eq!(*former, old.to_string());
}

#[tokio::test]
async fn a_job_whose_worker_died_between_its_two_writes_is_open() {
    let registry = Registry::start();
    let old = registry.push("web:1", STAYS_UP);
    let new = registry.push("web:2", STAYS_UP);
    let service = Service::create(&old.to_string(), |_| ()).await;
    let target = service.target();
    let wanted = wanted(&target, &new).await;
    service
        .edit_by_hand(|spec| spec["Labels"] = json!({"longshore.trying": wanted.job.id.to_string()}))
        .await;
    let found = target.read(&wanted.job).await.unwrap();
    assert_eq!(found.standing(wanted.job.id), Standing::Open);
    assert_eq!(deploy(&target, &wanted).await.end, End::Converged);
}

#[tokio::test]
async fn labels_wiped_by_somebody_else_come_back_after_the_rollout() {
    let registry = Registry::start();
    let old = registry.push("web:1", STAYS_UP);
    let new = registry.push("web:2", STAYS_UP);
    let service = Service::create(&old.to_string(), slowly).await;
    let target = service.target();
    let wanted = wanted(&target, &new).await;
    apply(&target, &wanted).await.unwrap();
    let watching = {
        let (target, wanted) = (target.clone(), wanted.clone());
        tokio::spawn(async move { watch(&target, &wanted).await })
    };
    service.wait_until_it_rolls().await;
    service.edit_by_hand(|spec| spec["Labels"] = json!({})).await;
    assert_eq!(watching.await.unwrap().unwrap().0.end, End::Converged);
    assert_eq!(service.label("longshore.job").await, Some(wanted.job.id.to_string()));
}

#[tokio::test]
async fn who_asks_is_told_what_runs_and_who_put_it_there() {
    let registry = Registry::start();
    let (old, new) = (registry.push("web:1", STAYS_UP), registry.push("web:2", STAYS_UP));
    let service = Service::create(&old.to_string(), |_| ()).await;
    let target = service.target();
    let before = target.look().await.unwrap();
    assert_eq!((before.kind.as_str(), before.images, before.last_job), ("swarm-service", vec![old], None));
    assert_eq!((before.running, before.tasks.unwrap().running, before.tasks.unwrap().wanted), (true, 2, 2));
    let newer = wanted(&target, &new).await;
    assert_eq!(deploy(&target, &newer).await.end, End::Converged);
    let after = target.look().await.unwrap();
    assert_eq!((after.images, after.last_job), (vec![newer.image.clone().unwrap()], Some(newer.job.id)));
    let gone = crate::lab::swarm().service("nobody-made-this").look().await;
    assert!(matches!(gone, Err(TargetError::NotFound { .. })), "{gone:?}");
}
