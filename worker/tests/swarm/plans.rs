//! What would change, said without changing anything.

use proto::{Operation, ask::Change};
use serde_json::json;
use worker::target::{Target, TargetError};

use crate::{
    lab::{STAYS_UP, Service, deploy, pinned, wanted},
    registry::Registry,
};

#[tokio::test]
async fn each_field_that_would_change_is_told_and_nothing_is_changed() {
    let registry = Registry::start();
    let (old, new) = (registry.push("web:1", STAYS_UP), registry.push("web:2", STAYS_UP));
    let service = Service::create(&old.to_string(), |_| ()).await;
    let target = service.target();
    let rollback = Operation::Rollback { service: None, job: None, image: None };
    let refused = target.plan(&rollback).await;
    assert!(matches!(refused, Err(TargetError::Refused { .. })), "{refused:?}");
    let first = wanted(&target, &old).await;
    deploy(&target, &first).await;
    let before = service.inspect().await;

    let set = |image| Operation::SetImage { image, service: None };
    let plan = target.plan(&set(new.clone())).await.unwrap();
    let change = |field: &str, from, to| Change {
        of: format!("service {}", service.name),
        field: field.to_owned(),
        from: Some(from),
        to: Some(to),
    };
    let next = target.resolve(&new).await.unwrap();
    let image = "TaskTemplate.ContainerSpec.Image";
    let expected = change(image, json!(pinned(&first)), json!(next));
    assert_eq!(plan.changes, [expected]);
    assert_eq!(plan.notes, ["replaces all of its 2 tasks"]);

    let same = target.plan(&set(old.clone())).await.unwrap();
    assert_eq!((same.changes.len(), same.notes.len()), (0, 1), "{same:?}");
    let stop = target.plan(&Operation::Stop).await.unwrap();
    assert_eq!(stop.changes, [change("Mode.Replicated.Replicas", json!(2), json!(0))]);
    let restart = target.plan(&Operation::Restart).await.unwrap();
    assert_eq!(restart.changes, [change("TaskTemplate.ForceUpdate", json!(0), json!(1))]);
    let other = Operation::SetImage { image: new, service: Some("another".to_owned()) };
    assert!(matches!(target.plan(&other).await, Err(TargetError::Refused { .. })));
    assert_eq!(service.inspect().await, before);
}
