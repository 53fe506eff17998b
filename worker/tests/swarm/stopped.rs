//! A success on a target that is stopped says so: nothing is known of whether what stands there runs.

use proto::{Operation, reason};
use serde_json::json;
use worker::target::End;

use crate::{
    carry_out::{carry_out, job_to},
    lab::{STAYS_UP, Service, deploy, swarm, unique_name, wanted},
    registry::Registry,
};

#[tokio::test]
async fn a_deploy_to_a_stopped_service_says_that_nothing_was_started() {
    let registry = Registry::start();
    let (old, bad) = (registry.push("web:1", STAYS_UP), registry.push("web:2", &["no-such-program"]));
    let service = Service::create(&old.to_string(), |_| ()).await;
    let target = service.target();
    let outcome = deploy(&target, &wanted(&target, &old).await).await;
    assert_eq!((outcome.end, outcome.notes), (End::Converged, Vec::new()));
    assert_eq!(carry_out(&target, &job_to(Operation::Stop)).await.unwrap().notes, Vec::new());

    let outcome = deploy(&target, &wanted(&target, &bad).await).await;
    assert_eq!(outcome.end, End::Converged, "{outcome:?}");
    let note = &outcome.notes[0];
    assert_eq!(note.code, reason::STOPPED);
    assert!(note.text.contains("nothing was started"), "{note:?}");
    assert_eq!(note.hint.as_deref(), Some("`longshore stack start default/web` starts it"));
    assert_eq!(service.inspect().await["Spec"]["Mode"]["Replicated"]["Replicas"], json!(0));
}

#[tokio::test]
async fn a_stack_that_starts_leaves_at_no_task_what_had_none() {
    let registry = Registry::start();
    let app = registry.push("app:1", STAYS_UP);
    let image = app.to_string();
    let name = unique_name();
    let part = async |short: &str, replicas: u64| {
        let labels = json!({"com.docker.stack.namespace": name});
        Service::create_named(format!("{name}_{short}"), &image, |spec| {
            spec["Labels"] = labels;
            spec["Mode"]["Replicated"]["Replicas"] = json!(replicas);
        })
        .await
    };
    let (web, migrate) = (part("web", 1).await, part("migrate", 0).await);
    let target = swarm().stack(&name);
    let replicas =
        async |service: &Service| service.inspect().await["Spec"]["Mode"]["Replicated"]["Replicas"].as_u64();
    for operation in [Operation::Restart, Operation::Stop, Operation::Start, Operation::Start] {
        let is_stop = operation == Operation::Stop;
        let outcome = carry_out(&target, &job_to(operation)).await.unwrap();
        assert_eq!(outcome.end, End::Converged, "{outcome:?}");
        assert_eq!((replicas(&web).await, replicas(&migrate).await), (Some(u64::from(!is_stop)), Some(0)));
        let line = "migrate: left alone, it had no task before the stack was stopped".to_owned();
        assert_eq!(outcome.output.contains(&line), !is_stop, "{:?}", outcome.output);
    }
    // So nobody is sent to that start.
    let alone = migrate.target();
    let outcome = deploy(&alone, &wanted(&alone, &app).await).await;
    let hint = format!("`docker service scale {}=1` gives it a task", migrate.name);
    assert_eq!(outcome.notes[0].hint, Some(hint));
}
