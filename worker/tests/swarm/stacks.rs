//! A whole stack as one target.

use std::time::Duration;

use proto::{ImageRef, Operation, Reason, Tasks, reason};
use serde_json::json;
use tokio::{sync::mpsc, time::timeout};
use worker::target::{
    End, Standing, Target, TargetError,
    swarm::{Policy, SwarmStack},
};

use crate::{
    carry_out::{carry_out, job_to, watch_any, write},
    lab::{PATIENCE, STAYS_UP, Service, swarm, unique_name, wanted},
    registry::Registry,
};

/// A stack of three services: two of them run one repository.
struct Stack {
    registry: Registry,
    name: String,
    web: Service,
    jobs: Service,
    db: Service,
}

impl Stack {
    async fn create() -> Stack {
        let registry = Registry::start();
        let (app, db) = (registry.push("app:1", STAYS_UP), registry.push("db:1", STAYS_UP));
        let name = unique_name();
        let part = async |short: &str, image: &ImageRef| {
            let labels = json!({"com.docker.stack.namespace": name});
            Service::create_named(format!("{name}_{short}"), &image.to_string(), |spec| {
                spec["Labels"] = labels;
            })
            .await
        };
        let (web, jobs, db) = (part("web", &app).await, part("jobs", &app).await, part("db", &db).await);
        Stack { registry, name, web, jobs, db }
    }

    fn target(&self) -> SwarmStack {
        swarm().stack(&self.name)
    }

    async fn images(&self) -> [String; 3] {
        [self.web.image().await, self.jobs.image().await, self.db.image().await]
    }
}

fn set(image: &ImageRef, service: Option<&str>) -> Operation {
    Operation::SetImage { image: image.clone(), service: service.map(str::to_owned) }
}

#[tokio::test]
async fn an_image_goes_to_every_service_that_runs_its_repository() {
    let stack = Stack::create().await;
    let target = stack.target();
    let new = stack.registry.push("app:2", STAYS_UP);
    let db_before = stack.db.inspect().await;
    let app = format!("{}/app:1", stack.registry.host());
    let _migration = Service::create_named(format!("{}_migrate", stack.name), &app, |spec| {
        spec["Labels"] = json!({"com.docker.stack.namespace": stack.name});
        spec["Mode"] = json!({"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 1}});
        spec.as_object_mut().unwrap().remove("UpdateConfig");
        spec["TaskTemplate"]["RestartPolicy"]["Condition"] = json!("none");
    })
    .await;
    let job = job_to(set(&new, None));
    let found = target.read(&job).await.unwrap();
    assert_eq!(found.image(), Some(format!("{}/app:1", stack.registry.host()).parse().unwrap()));

    let outcome = carry_out(&target, &job).await.unwrap();
    assert_eq!((outcome.end, outcome.tasks), (End::Converged, Some(Tasks { running: 4, wanted: 4 })));
    for line in [
        "jobs: verify: Service converged",
        "web: verify: Service converged",
        "migrate: left alone, it runs to its end and is not run again",
    ] {
        assert!(outcome.output.contains(&line.to_owned()), "{:?}", outcome.output);
    }
    let pinned = target.resolve(&new).await.unwrap().to_string();
    let [web, jobs, _] = stack.images().await;
    assert_eq!([web, jobs], [pinned.clone(), pinned]);
    for service in [&stack.web, &stack.jobs] {
        assert_eq!(service.label("longshore.job").await, Some(job.id.to_string()));
    }
    assert_eq!(stack.db.inspect().await, db_before);
    assert_eq!(target.read(&job).await.unwrap().standing(job.id), Standing::Applied);
    let now = target.look().await.unwrap();
    assert_eq!((now.kind.as_str(), now.images.len(), now.last_job), ("swarm-stack", 2, Some(job.id)));
    assert_eq!(now.tasks, Some(Tasks { running: 6, wanted: 6 }));
}

#[tokio::test]
async fn a_job_can_name_one_service_of_the_stack() {
    let stack = Stack::create().await;
    let new = stack.registry.push("app:2", STAYS_UP);
    let before = stack.images().await;
    let job = job_to(set(&new, Some("web")));
    assert_eq!(carry_out(&stack.target(), &job).await.unwrap().end, End::Converged);
    let after = stack.images().await;
    assert!(after[0] != before[0] && after[1..] == before[1..], "{before:?} {after:?}");
    // An older job for both finds its way to the other one only.
    let mut older = job_to(set(&new, None));
    older.id = wanted(&stack.web.target(), &new).await.job.id;
    let newest = job_to(set(&stack.registry.push("app:3", STAYS_UP), Some("web")));
    carry_out(&stack.target(), &newest).await.unwrap();
    let outcome = carry_out(&stack.target(), &older).await.unwrap();
    assert_eq!(outcome.end, End::Converged);
    let left = format!("web: left as the newer job {} made it", newest.id);
    assert!(outcome.output.contains(&left), "{:?}", outcome.output);
    let last = stack.images().await;
    assert!(last[0].contains("app:3@") && last[1].contains("app:2@"), "{last:?}");
    // The same service is a target by its short name as well.
    let one = swarm().service_of(&stack.name, "db");
    let other = stack.registry.push("db:2", STAYS_UP);
    assert_eq!(carry_out(&one, &job_to(set(&other, Some("db")))).await.unwrap().end, End::Converged);
    assert!(one.accepts(&set(&other, Some("web"))).is_err());
}

#[tokio::test]
async fn what_the_stack_does_not_have_is_said_with_what_it_has() {
    let stack = Stack::create().await;
    let target = stack.target();
    let host = stack.registry.host();
    let missing = |error: Option<TargetError>| match error {
        Some(TargetError::NotFound { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    let other: ImageRef = format!("{host}/other:1").parse().unwrap();
    let what = missing(target.read(&job_to(set(&other, None))).await.err());
    assert!(what.contains(&format!("that runs `{host}/other`; it has `db` ({host}/db), `jobs`")), "{what}");
    let what = missing(target.read(&job_to(set(&other, Some("nobody")))).await.err());
    assert!(what.starts_with("service `nobody` in the stack"), "{what}");
    let nowhere = swarm().stack("no-such-stack");
    let what = missing(nowhere.read(&job_to(Operation::Restart)).await.err());
    assert_eq!(what, "stack `no-such-stack`");
    let rollback = Operation::Rollback { service: None, job: None, image: None };
    let why = target.read(&job_to(rollback.clone())).await.unwrap().meant(&rollback).unwrap_err().to_string();
    assert!(why.contains("any service of the stack") && why.contains("with `--to`"), "{why}");
}

#[tokio::test]
async fn one_service_that_fails_fails_the_job_and_is_named() {
    let stack = Stack::create().await;
    let target = stack.target();
    // Only where the program is not given by the service does the image's own run.
    stack
        .jobs
        .edit_by_hand(|spec| spec["TaskTemplate"]["ContainerSpec"]["Command"] = json!(["sleep", "1000000"]))
        .await;
    stack
        .jobs
        .wait_for("the edit to roll", async |it| it.state_of_update().await.as_deref() == Some("completed"))
        .await;
    let broken = stack.registry.push("app:2", &["no-such-program"]);
    let outcome = carry_out(&target, &job_to(set(&broken, None))).await.unwrap();
    let End::Failed(reason) = outcome.end else { panic!("{outcome:?}") };
    // Under load it says that it is done before it has noticed.
    let is_told = ["web: the engine paused the update", "web: the engine completed the update, but"];
    assert!(is_told.iter().any(|told| reason.text.starts_with(told)), "{reason:?}");
    assert!(reason.text.contains("non-zero exit (127)"), "{reason:?}");
    assert!(reason.text.ends_with("; as wished: jobs"), "{reason:?}");
}

#[tokio::test]
async fn a_job_that_was_cut_off_between_two_services_goes_on_with_the_rest() {
    let stack = Stack::create().await;
    let target = stack.target();
    let new = stack.registry.push("app:2", STAYS_UP);
    let mut job = job_to(set(&new, None));
    // As far as a worker came that died after the first.
    job.operation = set(&new, Some("jobs"));
    write(&target, &job).await.unwrap();
    job.operation = set(&new, None);
    let wanted = write(&target, &job).await.unwrap();
    assert_eq!(target.read(&job).await.unwrap().standing(job.id), Standing::Applied);
    let outcome = watch_any(&target, &wanted).await.unwrap();
    assert_eq!((outcome.end, outcome.tasks), (End::Converged, Some(Tasks { running: 4, wanted: 4 })));
}

#[tokio::test]
async fn a_stack_stops_starts_restarts_and_rolls_back_as_one() {
    let stack = Stack::create().await;
    let target = stack.target();
    let outcome = carry_out(&target, &job_to(Operation::Stop)).await.unwrap();
    assert_eq!((outcome.end, outcome.tasks), (End::Converged, Some(Tasks { running: 0, wanted: 0 })));
    assert!(!target.look().await.unwrap().running);
    let outcome = carry_out(&target, &job_to(Operation::Start)).await.unwrap();
    assert_eq!((outcome.end, outcome.tasks), (End::Converged, Some(Tasks { running: 6, wanted: 6 })));

    let other = stack.registry.push("db:2", STAYS_UP);
    carry_out(&target, &job_to(set(&other, None))).await.unwrap();
    let before = stack.images().await;
    let new = stack.registry.push("app:2", STAYS_UP);
    let last = job_to(set(&new, None));
    carry_out(&target, &last).await.unwrap();
    assert_eq!(carry_out(&target, &job_to(Operation::Redeploy)).await.unwrap().end, End::Converged);
    // It takes back what the last job brought, and nothing that others did before.
    let rollback = Operation::Rollback { service: None, job: None, image: None };
    for undone in 0..2 {
        let back = job_to(rollback.clone());
        assert_eq!(carry_out(&target, &back).await.unwrap().end, End::Converged);
        let after = stack.images().await;
        assert!(after[0].starts_with(&before[0]) && after[1].starts_with(&before[1]), "{before:?} {after:?}");
        assert_eq!(after[2], before[2]);
        let label = stack.web.label("longshore.undone").await;
        assert_eq!(label, Some(last.id.to_string()));
        let standing = target.read(&back).await.unwrap().standing(back.id);
        // Repeated, it finds the images there, and writes nothing.
        let expected = if undone == 0 { Standing::Applied } else { Standing::Open };
        assert_eq!(standing, expected, "the other service is not of it");
    }

    let plan = target.plan(&set(&new, None)).await.unwrap();
    let of: Vec<_> = plan.changes.iter().map(|change| change.of.clone()).collect();
    assert_eq!(of, [format!("service {}_jobs", stack.name), format!("service {}_web", stack.name)]);
}

#[tokio::test]
async fn the_deadline_takes_back_what_was_not_done_by_then() {
    let stack = Stack::create().await;
    let policy = Policy { stable: Some(Duration::from_secs(600)), rollback: true };
    let target = stack.target().with(policy);
    let new = stack.registry.push("app:2", STAYS_UP);
    let job = job_to(set(&new, None));
    let wanted = write(&target, &job).await.unwrap();
    for service in [&stack.web, &stack.jobs] {
        service
            .wait_for("the update", async |it| it.state_of_update().await.as_deref() == Some("completed"))
            .await;
    }
    // All runs by now, though not for as long as was asked.
    let (sender, _progress) = mpsc::channel(1000);
    let late = Reason::new(reason::DEADLINE, "its deadline passed");
    let outcome = timeout(PATIENCE, target.give_up(&wanted, late, &sender)).await.unwrap().unwrap();
    let End::RolledBack(reason) = outcome.end else { panic!("{outcome:?}") };
    assert!(reason.text.contains("web: its deadline passed"), "{reason:?}");
    for image in stack.images().await {
        assert!(!image.contains("app:2"), "{image}");
    }
}
