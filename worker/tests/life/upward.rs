//! Versions that go upward only.

use proto::{CauseKind, Job, State};

use crate::stage::{Stage, carried_out, code, job, rehearsal, text};

/// A push of this version, for a target that takes higher ones alone.
fn pushed(version: &str) -> Job {
    let mut job = job("demo", &format!("demo:{version}"));
    job.cause.kind = CauseKind::Hook;
    job.gates.upward = true;
    job
}

#[tokio::test]
async fn a_lower_version_than_what_runs_is_rejected_and_a_person_may_have_it_all_the_same() {
    let stage = Stage::new(&rehearsal("10ms", "")).await;
    for version in ["1.4.2", "v1.10.0", "v1.10.0"] {
        assert_eq!(carried_out(&stage, &pushed(version)).await.state(), State::Succeeded, "{version}");
    }
    let lower = pushed("1.9.0");
    let end = carried_out(&stage, &lower).await;
    assert_eq!((end.state(), code(&end)), (State::Rejected, "downgrade"));
    assert!(text(&end).starts_with("`default/demo` runs demo:v1.10.0, and 1.9.0 is lower"), "{}", text(&end));
    let hint = end.data.reason.as_ref().and_then(|reason| reason.hint.clone()).unwrap();
    assert!(hint.contains("longshore deploy default/demo --image demo:1.9.0"), "{hint}");
    assert!(hint.contains("allow_downgrade: true"), "{hint}");
    assert!(stage.mark().contains("demo:v1.10.0"), "{}", stage.mark());

    assert_eq!(carried_out(&stage, &job("demo", "demo:1.9.0")).await.state(), State::Succeeded);
    assert_eq!(carried_out(&stage, &pushed("1.9.1")).await.state(), State::Succeeded, "upward from there");
    assert_eq!(carried_out(&stage, &job("demo", "demo:latest")).await.state(), State::Succeeded);
    assert_eq!(
        carried_out(&stage, &pushed("1.4.2")).await.state(),
        State::Succeeded,
        "above what is no version"
    );
}

#[tokio::test]
async fn a_lower_version_neither_takes_over_from_a_higher_one_nor_supersedes_it() {
    let stage = Stage::new(&rehearsal("3s", "")).await;
    let (higher, lower) = (pushed("1.5.0"), pushed("1.4.3"));
    stage.accept(&higher).await;
    stage.until_said(&higher, State::Started).await;
    stage.accept(&lower).await;
    stage.until_said(&lower, State::Retrying).await;
    assert_eq!(stage.end(&higher).await.state(), State::Succeeded);
    let end = stage.end(&lower).await;
    assert_eq!((end.state(), code(&end)), (State::Rejected, "downgrade"));
    assert!(stage.mark().contains("demo:1.5.0"), "{}", stage.mark());
}

#[tokio::test]
async fn of_two_versions_that_wait_the_higher_goes_first_though_it_is_older() {
    let patient = rehearsal("6s", "").replace("takeover_after: 300ms", "takeover_after: 60s");
    let stage = Stage::new(&patient).await;
    let (first, higher, lower) = (pushed("1.4.2"), pushed("1.5.0"), pushed("1.4.3"));
    stage.accept(&first).await;
    stage.until_said(&first, State::Started).await;
    for waits in [&higher, &lower] {
        stage.accept(waits).await;
        stage.until_said(waits, State::Retrying).await;
    }
    assert_eq!(stage.end(&higher).await.state(), State::Succeeded);
    let end = stage.end(&lower).await;
    assert_eq!((end.state(), code(&end)), (State::Rejected, "downgrade"));
    assert!(stage.mark().contains("demo:1.5.0"), "{}", stage.mark());
}
