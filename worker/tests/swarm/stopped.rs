//! A success on a target that is stopped says so: nothing is known of whether what stands there runs.

use proto::{Operation, reason};
use serde_json::json;
use worker::target::End;

use crate::{
    carry_out::{carry_out, job_to},
    lab::{STAYS_UP, Service, deploy, wanted},
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
