//! Services of a stack that a job leaves alone.

use proto::{ImageRef, Operation};
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
