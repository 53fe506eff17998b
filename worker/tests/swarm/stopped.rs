//! A success on a target that is stopped says so: nothing is known of whether what stands there runs.

use proto::{Operation, Timestamp, reason};
use serde_json::{Value, json};
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

/// Comes up again and again until the other one is there, as whatever is written for compose files does.
#[tokio::test]
async fn a_start_waits_for_a_service_that_waits_for_another() {
    let (registry, name) = (Registry::start(), unique_name());
    let slow = registry.push("db:1", &["sh", "-c", "sleep 10; echo > /data/up; sleep 1000000"]);
    // What it finds it takes, so that the next start has to wait anew.
    let waits = registry.push("app:1", &["sh", "-c", "rm /data/up || exit 5; sleep 1000000"]);
    let part = async |short: &str, image: &str| {
        Service::create_named(format!("{name}_{short}"), image, |spec| {
            spec["Labels"] = json!({"com.docker.stack.namespace": name});
            spec["Mode"]["Replicated"]["Replicas"] = json!(1);
            spec["TaskTemplate"]["ContainerSpec"]["Mounts"] =
                json!([{"Type": "volume", "Source": format!("{name}-data"), "Target": "/data"}]);
        })
        .await
    };
    let _db = part("db", &slow.to_string()).await;
    let app = part("app", &waits.to_string()).await;
    app.wait_for("it to stay up", stays_up).await;
    let target = swarm().stack(&name);
    for operation in [Operation::Stop, Operation::Start] {
        let outcome = carry_out(&target, &job_to(operation)).await.unwrap();
        assert_eq!(outcome.end, End::Converged, "{outcome:?}");
        let exited = outcome.output.iter().any(|line| line.contains("non-zero exit (5)"));
        assert_eq!(exited, outcome.tasks.unwrap().running > 0, "{outcome:?}");
    }
}

/// Whether its task is no more one of those that exit at once.
async fn stays_up(service: &Service) -> bool {
    let tasks = service.tasks().await;
    let since = |task: &Value| task["Status"]["Timestamp"].as_str()?.parse::<Timestamp>().ok();
    let is_up = |task: &Value| {
        let up_for = since(task).map(|since| Timestamp::now().duration_since(since).as_secs());
        task["Status"]["State"] == "running" && up_for >= Some(3)
    };
    tasks.iter().any(is_up)
}
