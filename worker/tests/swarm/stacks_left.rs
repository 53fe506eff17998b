//! Services of a stack that a job leaves alone.

use proto::{ImageRef, Operation, Reason};
use serde_json::{Value, json};
use worker::target::{End, Target, TargetError, swarm::Policy};

use crate::{
    carry_out::{carry_out, job_to},
    lab::{STAYS_UP, Service, swarm, unique_name},
    registry::Registry,
};

async fn part(stack: &str, short: &str, image: &ImageRef, edit: impl FnOnce(&mut Value)) -> Service {
    Service::create_named(format!("{stack}_{short}"), &image.to_string(), |spec| {
        spec["Labels"] = json!({"com.docker.stack.namespace": stack});
        edit(spec);
    })
    .await
}

#[tokio::test]
async fn a_global_service_does_not_keep_the_rest_of_its_stack_running() {
    let (registry, stack) = (Registry::start(), unique_name());
    let image = registry.push("app:1", STAYS_UP);
    let web = part(&stack, "web", &image, |_| ()).await;
    let agent = part(&stack, "agent", &image, |spec| spec["Mode"] = json!({"Global": {}})).await;
    let target = swarm().stack(&stack);
    let plan = target.plan(&Operation::Stop).await.unwrap();
    assert!(plan.notes.iter().any(|note| note.starts_with("agent: left running")), "{plan:?}");
    let outcome = carry_out(&target, &job_to(Operation::Stop)).await.unwrap();
    assert_eq!(outcome.end, End::Converged, "{outcome:?}");
    assert!(outcome.output.iter().any(|line| line.starts_with("agent: left running")), "{outcome:?}");
    assert!(outcome.notes.iter().any(|note| note.text.starts_with("agent: left running")), "{outcome:?}");
    assert_eq!((web.tasks().await.len(), agent.tasks().await.len()), (0, 1));
    assert_eq!(carry_out(&target, &job_to(Operation::Start)).await.unwrap().end, End::Converged);
    assert_eq!(web.tasks().await.len(), 2);
    // With nothing else to stop, it says why it cannot.
    drop(web);
    let refused = carry_out(&target, &job_to(Operation::Stop)).await.unwrap_err();
    let TargetError::Refused { answer, .. } = &refused else { panic!("{refused:?}") };
    assert!(answer.contains("global mode"), "{answer}");
}

#[tokio::test]
async fn a_redeploy_of_a_stack_brings_nothing_that_was_rolled_back_there() {
    let (registry, stack) = (Registry::start(), unique_name());
    let (app, db) = (registry.push("app:moving", STAYS_UP), registry.push("db:1", STAYS_UP));
    let web = part(&stack, "web", &app, |_| ()).await;
    let target = swarm().stack(&stack).with(Policy { stable: None, rollback: true });
    registry.push("app:moving", &["false"]);
    let set = Operation::SetImage { image: app.clone(), service: None };
    let outcome = carry_out(&target, &job_to(set)).await.unwrap();
    assert!(matches!(outcome.end, End::RolledBack(_)), "{outcome:?}");
    let before = web.image().await;

    // With nothing else to redeploy it is refused, untouched.
    let refused = carry_out(&target, &job_to(Operation::Redeploy)).await.unwrap_err();
    let TargetError::Declined { why, .. } = &refused else { panic!("{refused:?}") };
    assert!(why.contains("app:moving") && why.contains("rolled back"), "{why}");
    let database = part(&stack, "db", &db, |_| ()).await;
    let job = job_to(Operation::Redeploy);
    let outcome = carry_out(&target, &job).await.unwrap();
    assert_eq!(outcome.end, End::Converged, "{outcome:?}");
    assert!(outcome.output.iter().any(|line| line.starts_with("web: left alone")), "{outcome:?}");
    assert_eq!(web.image().await, before);
    assert!(database.image().await.contains('@'), "it was looked up again");
    // Taken up again, nothing of it is open.
    assert_eq!(target.read(&job).await.unwrap().standing(job.id), worker::target::Standing::Applied);

    // Whoever releases it has it deployed.
    let mut released = job_to(Operation::Redeploy);
    released.cause.kind = proto::CauseKind::Release;
    let outcome = carry_out(&target, &released).await.unwrap();
    assert!(matches!(outcome.end, End::RolledBack(_) | End::Failed(_)), "{outcome:?}");
}

#[tokio::test]
async fn a_rollback_takes_back_what_a_service_without_tasks_was_given() {
    let (registry, stack) = (Registry::start(), unique_name());
    let [old, bad] =
        [("app:1", STAYS_UP), ("app:2", &["false"][..])].map(|(tag, command)| registry.push(tag, command));
    let none = |spec: &mut Value| spec["Mode"]["Replicated"]["Replicas"] = json!(0);
    let (web, idle) = (part(&stack, "web", &old, |_| ()).await, part(&stack, "idle", &old, none).await);
    let target = swarm().stack(&stack);
    let outcome = carry_out(&target, &job_to(set(&bad))).await.unwrap();
    assert!(matches!(outcome.end, End::Failed(_)), "{outcome:?}");
    assert!(idle.image().await.contains("app:2@"), "what has no task takes it like any other");

    let rollback = Operation::Rollback { service: None, job: None, image: None };
    let plan = target.plan(&rollback).await.unwrap();
    assert_eq!(plan.changes.iter().filter(|change| change.field.ends_with("Image")).count(), 2, "{plan:?}");
    // Repeated, it stays there.
    for _ in 0..2 {
        let outcome = carry_out(&target, &job_to(rollback.clone())).await.unwrap();
        assert_eq!(outcome.end, End::Converged, "{outcome:?}");
        for (service, name) in [(&web, "web"), (&idle, "idle")] {
            assert!(service.image().await.contains("app:1@"), "{}", service.image().await);
            let told = |note: &Reason| {
                note.text.starts_with(&format!("{name}: back to ")) && note.text.contains("app:1@")
            };
            assert!(outcome.notes.iter().any(told), "{outcome:?}");
        }
    }
}

#[tokio::test]
async fn what_a_rollback_cannot_take_back_is_said_with_its_success() {
    let (registry, stack) = (Registry::start(), unique_name());
    let moving = registry.push("app:moving", STAYS_UP);
    let none = |spec: &mut Value| spec["Mode"]["Replicated"]["Replicas"] = json!(0);
    let _web = part(&stack, "web", &moving, |_| ()).await;
    let idle = part(&stack, "idle", &moving, none).await;
    let target = swarm().stack(&stack);
    // No task of it tells which content the tag named then.
    registry.push("app:moving", &["sleep", "2000000"]);
    assert_eq!(carry_out(&target, &job_to(set(&moving))).await.unwrap().end, End::Converged);
    let stands = idle.image().await;
    let rollback = Operation::Rollback { service: None, job: None, image: None };
    let left = "idle: left at ";
    let plan = target.plan(&rollback).await.unwrap();
    assert!(plan.notes.iter().any(|note| note.starts_with(left)), "{plan:?}");
    let outcome = carry_out(&target, &job_to(rollback)).await.unwrap();
    assert_eq!(outcome.end, End::Converged, "{outcome:?}");
    assert!(outcome.notes.iter().any(|note| note.text.starts_with(left)), "{outcome:?}");
    assert_eq!(idle.image().await, stands);
}

fn set(image: &ImageRef) -> Operation {
    Operation::SetImage { image: image.clone(), service: None }
}
