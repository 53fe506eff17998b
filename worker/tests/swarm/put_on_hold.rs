//! Services that are put on hold, and images.

use proto::{ImageRef, Operation};
use worker::target::{End, Target};

use crate::{
    carry_out::{carry_out, job_to},
    lab::{STAYS_UP, Service, deploy, pinned, wanted},
    registry::Registry,
    text::{Stack, carry_out_text, compose, deploy_job, service, text},
};

#[tokio::test]
async fn a_service_is_put_on_hold_and_released_and_keeps_its_tasks() {
    let registry = Registry::start();
    let image = registry.push("web:1", STAYS_UP);
    let service = Service::create(&image.to_string(), |_| ()).await;
    let target = service.target();
    assert_eq!(deploy(&target, &wanted(&target, &image).await).await.end, End::Converged);
    let before = service.tasks().await.iter().map(|task| task["ID"].clone()).collect::<Vec<_>>();

    let hold = job_to(Operation::Hold { image: None });
    assert_eq!(carry_out(&target, &hold).await.unwrap().end, End::Converged);
    let later = wanted(&target, &image).await.job;
    assert_eq!(target.read(&later).await.unwrap().on_hold(), Some(hold.id));
    assert_eq!(target.look().await.unwrap().on_hold, Some(hold.id));
    // Carried out again by another worker, nothing is written.
    let version = service.inspect().await["Version"].clone();
    assert_eq!(carry_out(&target, &hold).await.unwrap().end, End::Converged);
    assert_eq!(service.inspect().await["Version"], version);

    let release = job_to(Operation::Release { image: None });
    assert_eq!(carry_out(&target, &release).await.unwrap().end, End::Converged);
    assert_eq!(target.read(&later).await.unwrap().on_hold(), None);
    // A hold that was asked for before the release and comes late holds nothing.
    assert!(carry_out(&target, &hold).await.is_err());
    assert_eq!(service.label("longshore.hold").await, None);
    let after = service.tasks().await.iter().map(|task| task["ID"].clone()).collect::<Vec<_>>();
    assert_eq!(before, after);
}

/// Any write would set the paused update going again. That the history tells of it is in `truth/holds`.
#[tokio::test]
async fn what_is_put_on_hold_while_its_update_is_paused_is_left_as_it_is() {
    let registry = Registry::start();
    let (old, bad) = (registry.push("web:1", STAYS_UP), registry.push("web:2", &["false"]));
    let monitor = |spec: &mut serde_json::Value| {
        spec["UpdateConfig"]["Monitor"] = serde_json::json!(15_000_000_000u64);
    };
    let service = Service::create(&old.to_string(), monitor).await;
    let target = service.target();
    let outcome = deploy(&target, &wanted(&target, &bad).await).await;
    assert!(matches!(outcome.end, End::Failed(_)), "{outcome:?}");
    let pauses = async |service: &Service| service.state_of_update().await.as_deref() == Some("paused");
    service.wait_for("the engine to pause the update", pauses).await;

    let version = service.inspect().await["Version"].clone();
    let outcome = carry_out(&target, &job_to(Operation::Hold { image: None })).await.unwrap();
    assert_eq!(outcome.end, End::Converged);
    let note = outcome.notes.first().expect("nobody is told that the service does not tell of it");
    assert!(note.text.contains("paused half-way"), "{note:?}");
    let outcome = carry_out(&target, &job_to(Operation::Release { image: None })).await.unwrap();
    assert_eq!((outcome.end, outcome.notes), (End::Converged, Vec::new()));
    let by_image = job_to(Operation::Hold { image: Some(old) });
    let refused = carry_out(&target, &by_image).await.unwrap_err().to_string();
    assert!(refused.contains("put the whole target on hold"), "{refused}");
    assert_eq!(service.inspect().await["Version"], version, "something was written");
    assert!(pauses(&service).await);
}

#[tokio::test]
async fn an_image_is_put_on_hold_by_what_its_tag_points_to() {
    let registry = Registry::start();
    let (old, bad) = (registry.push("web:1", STAYS_UP), registry.push("web:2", STAYS_UP));
    let service = Service::create(&old.to_string(), |_| ()).await;
    let target = service.target();
    let tried = wanted(&target, &bad).await;
    let is_bad = async || target.read(&tried.job).await.unwrap().is_bad(pinned(&tried));
    assert!(!is_bad().await);
    let hold = job_to(Operation::Hold { image: Some(bad.clone()) });
    assert_eq!(carry_out(&target, &hold).await.unwrap().end, End::Converged);
    assert!(is_bad().await && service.label("longshore.hold").await.is_none());
    assert_eq!(carry_out(&target, &hold).await.unwrap().end, End::Converged);
    let release = job_to(Operation::Release { image: Some(pinned(&tried).clone()) });
    assert_eq!(carry_out(&target, &release).await.unwrap().end, End::Converged);
    assert!(!is_bad().await);
}

#[tokio::test]
async fn a_stack_on_hold_stays_so_when_its_text_is_deployed_all_the_same() {
    let (registry, stack) = (Registry::start(), Stack::new());
    let app: ImageRef = registry.push("app:1", STAYS_UP);
    let of = |names: &[&str]| {
        let services: Vec<String> = names.iter().map(|name| service(name, &app.to_string(), "")).collect();
        text(compose(&services, ""))
    };
    let target = stack.target();
    let first = deploy_job(&of(&["web", "jobs"]));
    assert_eq!(carry_out_text(&target, &first).await.unwrap().end, End::Converged);
    let hold = job_to(Operation::Hold { image: None });
    assert_eq!(carry_out(&target, &hold).await.unwrap().end, End::Converged);
    for name in ["web", "jobs"] {
        assert_eq!(stack.part(name).label("longshore.hold").await, Some(hold.id.to_string()), "{name}");
    }
    let again = deploy_job(&of(&["web", "jobs", "more"]));
    assert_eq!(target.read(&again).await.unwrap().on_hold(), Some(hold.id));
    assert_eq!(carry_out_text(&target, &again).await.unwrap().end, End::Converged);
    let later = deploy_job(&of(&["web"]));
    assert_eq!(target.read(&later).await.unwrap().on_hold(), Some(hold.id));
    assert_eq!(target.look().await.unwrap().on_hold, Some(hold.id));
}
