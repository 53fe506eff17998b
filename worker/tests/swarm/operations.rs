//! Start, stop, restart, redeploy and rollback of one service.

use std::collections::HashSet;

use proto::{ImageRef, Operation, Tasks, reason};
use serde_json::{Value, json};
use worker::target::{End, Standing, Target, TargetError};

use crate::{
    carry_out::{carry_out, job_to, watch_any, write},
    lab::{STAYS_UP, Service, deploy, pinned, wanted},
    registry::Registry,
};

const ROLLBACK: Operation = Operation::Rollback { service: None, job: None, image: None };

async fn ids(service: &Service) -> HashSet<String> {
    service.tasks().await.iter().map(|task| task["ID"].to_string()).collect()
}

async fn replicas(service: &Service) -> Value {
    service.inspect().await["Spec"]["Mode"]["Replicated"]["Replicas"].clone()
}

#[tokio::test]
async fn a_stopped_service_runs_nothing_and_starts_with_as_many_tasks_as_before() {
    let registry = Registry::start();
    let image = registry.push("web:1", STAYS_UP);
    let service = Service::create(&image.to_string(), |_| ()).await;
    let target = service.target();

    let stop = job_to(Operation::Stop);
    let outcome = carry_out(&target, &stop).await.unwrap();
    assert_eq!((outcome.end, outcome.tasks), (End::Converged, Some(Tasks { running: 0, wanted: 0 })));
    assert_eq!(outcome.output.last().map(String::as_str), Some("stopped: no task runs"));
    assert_eq!((replicas(&service).await, service.tasks().await.len()), (json!(0), 0));
    assert_eq!(service.label("longshore.replicas").await.as_deref(), Some("2"));
    assert!(!target.look().await.unwrap().running);
    assert_eq!(target.look().await.unwrap().last_job, Some(stop.id));
    // Taken up by another worker, it is done already; stopped again, the count is not forgotten.
    assert_eq!(target.read(&stop).await.unwrap().standing(stop.id), Standing::Applied);
    carry_out(&target, &job_to(Operation::Stop)).await.unwrap();
    assert_eq!(service.label("longshore.replicas").await.as_deref(), Some("2"));

    let start = job_to(Operation::Start);
    let outcome = carry_out(&target, &start).await.unwrap();
    assert_eq!((outcome.end, outcome.tasks), (End::Converged, Some(Tasks { running: 2, wanted: 2 })));
    assert_eq!((replicas(&service).await, service.tasks().await.len()), (json!(2), 2));
    assert_eq!(service.label("longshore.replicas").await, None);
    assert_eq!(target.read(&stop).await.unwrap().standing(stop.id), Standing::Newer(start.id));
    // What runs is left alone.
    let before = ids(&service).await;
    assert_eq!(carry_out(&target, &job_to(Operation::Start)).await.unwrap().end, End::Converged);
    assert_eq!(ids(&service).await, before);
}

#[tokio::test]
async fn a_service_that_does_not_come_up_again_did_not_start() {
    let registry = Registry::start();
    let image = registry.push("web:1", STAYS_UP);
    let service = Service::create(&image.to_string(), |_| ()).await;
    let target = service.target();
    carry_out(&target, &job_to(Operation::Stop)).await.unwrap();
    service
        .edit_by_hand(|spec| spec["TaskTemplate"]["ContainerSpec"]["Command"] = json!(["no-such-program"]))
        .await;
    let outcome = carry_out(&target, &job_to(Operation::Start)).await.unwrap();
    let End::Failed(reason) = outcome.end else { panic!("{outcome:?}") };
    // A task that comes up for a moment may be seen up.
    assert!(reason.text.starts_with("not all tasks run (") && !reason.text.contains("(2 of 2"), "{reason:?}");
    assert!(reason.text.contains("non-zero exit (127)"), "{reason:?}");
}

#[tokio::test]
async fn a_restart_replaces_every_task_once_and_leaves_the_image_and_its_mark() {
    let registry = Registry::start();
    let image = registry.push("web:1", STAYS_UP);
    let service = Service::create(&image.to_string(), |_| ()).await;
    let target = service.target();
    let deployed = wanted(&target, &image).await;
    assert_eq!(deploy(&target, &deployed).await.end, End::Converged);
    let (before, good) = (ids(&service).await, service.label("longshore.good").await);

    let older = job_to(Operation::Restart);
    let restart = job_to(Operation::Restart);
    let outcome = carry_out(&target, &restart).await.unwrap();
    assert_eq!((outcome.end, outcome.tasks), (End::Converged, Some(Tasks { running: 2, wanted: 2 })));
    let after = ids(&service).await;
    assert!(after.len() == 2 && after.is_disjoint(&before), "{before:?} {after:?}");
    assert_eq!(service.image().await, pinned(&deployed).to_string());
    assert_eq!(service.label("longshore.job").await, Some(deployed.job.id.to_string()));
    assert_eq!(service.label("longshore.good").await, good);
    // Neither a redelivery nor an older one restarts it again.
    for (job, standing) in [(&restart, Standing::Applied), (&older, Standing::Newer(restart.id))] {
        assert_eq!(target.read(job).await.unwrap().standing(job.id), standing);
    }
    // It is no newer wish for an image.
    let image_job = wanted(&target, &image).await.job;
    let mut older_image = image_job.clone();
    older_image.id = older.id;
    assert_eq!(target.read(&older_image).await.unwrap().standing(older.id), Standing::Open);
}

#[tokio::test]
async fn a_restart_that_somebody_takes_back_is_told_so_and_not_tried_again() {
    let registry = Registry::start();
    let image = registry.push("web:1", STAYS_UP);
    let service = Service::create(&image.to_string(), |spec| {
        spec["UpdateConfig"]["FailureAction"] = json!("rollback");
        spec["RollbackConfig"] = json!({"Parallelism": 0, "Monitor": 500_000_000});
    })
    .await;
    let target = service.target();
    let restart = job_to(Operation::Restart);
    let wanted = write(&target, &restart).await.unwrap();
    service.wait_until_it_rolls().await;
    // Somebody takes it back while it rolls.
    crate::lab::docker(&["service", "rollback", "--detach", &service.name]);
    let outcome = watch_any(&target, &wanted).await.unwrap();
    let End::Superseded { by: None, reason } = &outcome.end else { panic!("{outcome:?}") };
    assert_eq!(reason.code, reason::CHANGED_ELSEWHERE);
    // Whoever takes it up watches how that ends, and does not write it again.
    assert_ne!(target.read(&restart).await.unwrap().standing(restart.id), Standing::Open);
}

#[tokio::test]
async fn a_redeploy_rolls_to_what_the_tag_points_to_now() {
    let registry = Registry::start();
    let image = registry.push("web:1", STAYS_UP);
    let service = Service::create(&image.to_string(), |_| ()).await;
    let target = service.target();
    let first = wanted(&target, &image).await;
    assert_eq!(deploy(&target, &first).await.end, End::Converged);
    registry.push("web:1", &["sleep", "2000000"]);
    let moved = target.resolve(&image).await.unwrap();

    let redeploy = job_to(Operation::Redeploy);
    assert_eq!(carry_out(&target, &redeploy).await.unwrap().end, End::Converged);
    assert_eq!(service.image().await, moved.to_string());
    assert_eq!(service.label("longshore.good").await, Some(pinned(&first).to_string()));
    assert_eq!(target.read(&redeploy).await.unwrap().standing(redeploy.id), Standing::Applied);

    // With nothing new behind the tag, the tasks are replaced all the same.
    let before = ids(&service).await;
    assert_eq!(carry_out(&target, &job_to(Operation::Redeploy)).await.unwrap().end, End::Converged);
    assert!(ids(&service).await.is_disjoint(&before));
    assert_eq!(service.label("longshore.good").await, Some(pinned(&first).to_string()));
}

#[tokio::test]
async fn a_rollback_goes_to_what_ran_well_before_and_repeated_it_stays_there() {
    let registry = Registry::start();
    let (old, new) = (registry.push("web:1", STAYS_UP), registry.push("web:2", STAYS_UP));
    let service = Service::create(&old.to_string(), |_| ()).await;
    let target = service.target();
    let refused = carry_out(&target, &job_to(ROLLBACK)).await.unwrap_err();
    assert!(matches!(&refused, TargetError::Refused { answer, .. } if answer.contains("no image is known")));

    let (first, second) = (wanted(&target, &old).await, wanted(&target, &new).await);
    assert_eq!(deploy(&target, &first).await.end, End::Converged);
    assert_eq!(deploy(&target, &second).await.end, End::Converged);
    let backs = [job_to(ROLLBACK), job_to(ROLLBACK)];
    for back in &backs {
        assert_eq!(carry_out(&target, back).await.unwrap().end, End::Converged);
        assert_eq!(service.image().await, pinned(&first).to_string());
        // Repeated, it finds the image there.
        let wrote = backs[0].id;
        assert_eq!(service.label("longshore.job").await, Some(wrote.to_string()));
        assert_eq!(service.label("longshore.good").await, Some(pinned(&first).to_string()));
        assert_eq!(target.read(&second.job).await.unwrap().standing(second.job.id), Standing::Newer(wrote));
    }
    // A named job's image, whichever that is.
    let image: Option<ImageRef> = second.image.clone();
    let to = Operation::Rollback { service: None, job: Some(second.job.id), image };
    assert_eq!(carry_out(&target, &job_to(to)).await.unwrap().end, End::Converged);
    assert_eq!(service.image().await, pinned(&second).to_string());
    let unknown = Operation::Rollback { service: None, job: Some(second.job.id), image: None };
    assert!(target.accepts(&unknown).unwrap_err().contains(&second.job.id.to_string()));
}

#[tokio::test]
async fn a_global_service_says_why_it_cannot_be_stopped_and_restarts() {
    let registry = Registry::start();
    let image = registry.push("web:1", STAYS_UP);
    let service = Service::create(&image.to_string(), |spec| spec["Mode"] = json!({"Global": {}})).await;
    let target = service.target();
    let before = service.inspect().await;
    let error = carry_out(&target, &job_to(Operation::Stop)).await.unwrap_err();
    let TargetError::Refused { answer, attempted, .. } = error else { panic!("{error:?}") };
    assert_eq!(attempted, "stop the service");
    assert!(answer.contains("global mode") && answer.contains("remove the service"), "{answer}");
    assert_eq!(service.inspect().await["Version"], before["Version"]);
    let tasks = ids(&service).await;
    assert_eq!(carry_out(&target, &job_to(Operation::Restart)).await.unwrap().end, End::Converged);
    assert!(ids(&service).await.is_disjoint(&tasks));
}
