//! Updates that go wrong: each has its true end, with the engine's words.

use std::time::{Duration, Instant};

use proto::{ImageRef, Reason, reason};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};
use worker::target::{End, Outcome, Progress, Standing, Target, TargetError, Wanted, swarm::Policy};

use crate::{
    lab::{PATIENCE, STAYS_UP, Service, apply, deploy, docker, job, pinned, wanted, watch},
    registry::Registry,
};

const EXITS: &[&str] = &["false"];

/// On a busy machine an engine notices an exit so late that a shorter monitor is over by then: it calls the
/// update completed, whatever it was told to do on failure.
fn patiently(spec: &mut Value) {
    spec["UpdateConfig"]["Monitor"] = json!(15_000_000_000u64);
}

/// A digest that no registry has: the engine finds out when a task pulls it.
fn missing(image: &ImageRef) -> Wanted {
    let image = image.with_digest(format!("sha256:{}", "1".repeat(64)).parse().unwrap());
    Wanted { job: job(&image), image: Some(image) }
}

fn failure(outcome: &Outcome) -> &str {
    let End::Failed(reason) = &outcome.end else { panic!("{outcome:?}") };
    assert_eq!(reason.code, reason::ROLLOUT_FAILED);
    &reason.text
}

#[tokio::test]
async fn a_missing_image_fails_with_the_task_the_node_and_the_engines_words() {
    let registry = Registry::start();
    let old = registry.push("web:1", STAYS_UP);
    let service = Service::create(&old.to_string(), |_| ()).await;
    let target = service.target();
    let wanted = missing(&old);
    let outcome = deploy(&target, &wanted).await;
    let text = failure(&outcome);
    assert!(text.contains("No such image"), "{text}");
    assert!(text.contains(&format!("{}.", service.name)), "{text}");
    assert!(text.contains(" on "), "{text}");
    assert!(outcome.output.iter().any(|line| line.contains("No such image")), "{outcome:?}");
}

/// A node without a key to the registry, or whose registry is away, says nothing of what is in the image.
#[tokio::test]
async fn what_no_node_could_pull_is_taken_back_and_not_put_on_hold() {
    let registry = Registry::start();
    let old = registry.push("web:1", STAYS_UP);
    let service = Service::create(&old.to_string(), |_| ()).await;
    let target = service.target().with(Policy { stable: None, rollback: true });
    let outcome = deploy(&target, &missing(&old)).await;
    let End::RolledBack(reason) = &outcome.end else { panic!("{outcome:?}") };
    assert!(reason.text.contains("No such image"), "{reason:?}");
    assert!(reason.hint.as_ref().is_some_and(|hint| hint.contains("deploy it again")), "{reason:?}");
    assert_eq!((service.label("longshore.bad").await, outcome.put_on_hold), (None, Vec::new()));
}

#[tokio::test]
async fn a_crash_at_start_fails_where_the_engine_pauses() {
    let registry = Registry::start();
    let old = registry.push("web:1", STAYS_UP);
    let bad = registry.push("web:2", EXITS);
    let service = Service::create(&old.to_string(), patiently).await;
    let target = service.target();
    let wanted = wanted(&target, &bad).await;
    let outcome = deploy(&target, &wanted).await;
    let text = failure(&outcome);
    assert!(text.contains("the engine paused the update") && text.contains("non-zero exit (1)"), "{text}");
    // With the content that its tag named: the service had none.
    let ran = target.resolve(&old).await.unwrap();
    assert_eq!(service.label("longshore.good").await, Some(ran.to_string()));
}

#[tokio::test]
async fn the_same_image_again_after_a_pause_is_tried_again() {
    let registry = Registry::start();
    let old = registry.push("web:1", STAYS_UP);
    let bad = registry.push("web:2", EXITS);
    let service = Service::create(&old.to_string(), patiently).await;
    let target = service.target();
    let first = wanted(&target, &bad).await;
    failure(&deploy(&target, &first).await);
    // The failure is told as soon as it is known, which may be before the engine says that it pauses.
    let pauses = async |service: &Service| service.state_of_update().await.as_deref() == Some("paused");
    service.wait_for("the engine to pause the update", pauses).await;
    let force = |service: &Value| service["Spec"]["TaskTemplate"]["ForceUpdate"].as_u64().unwrap_or(0);
    let before = force(&service.inspect().await);

    let again = wanted(&target, &bad).await;
    let outcome = deploy(&target, &again).await;
    assert!(failure(&outcome).contains("non-zero exit (1)"), "{outcome:?}");
    assert_eq!(force(&service.inspect().await), before + 1);
    // What ran well is still known.
    let ran = target.resolve(&old).await.unwrap();
    assert_eq!(service.label("longshore.good").await, Some(ran.to_string()));
}

#[tokio::test]
async fn an_engine_told_to_continue_completes_with_nothing_running_and_that_fails() {
    let registry = Registry::start();
    let old = registry.push("web:1", STAYS_UP);
    let service = Service::create(&old.to_string(), |spec| {
        spec["UpdateConfig"]["FailureAction"] = json!("continue");
    })
    .await;
    let target = service.target();
    let outcome = deploy(&target, &missing(&old)).await;
    let text = failure(&outcome);
    assert!(text.contains("completed the update, but not all tasks "), "{text}");
    assert!(text.contains("No such image"), "{text}");
}

#[tokio::test]
async fn a_crash_loop_that_an_engine_calls_completed_is_no_success() {
    let registry = Registry::start();
    let old = registry.push("web:1", STAYS_UP);
    let bad = registry.push("web:2", &["sh", "-c", "sleep 2; exit 3"]);
    let service = Service::create(&old.to_string(), |spec| {
        spec["UpdateConfig"]["FailureAction"] = json!("continue");
        spec["UpdateConfig"]["Parallelism"] = json!(2);
        spec["UpdateConfig"]["Monitor"] = json!(5_000_000_000u64);
    })
    .await;
    let target = service.target();
    let wanted = wanted(&target, &bad).await;
    let outcome = deploy(&target, &wanted).await;
    assert_ne!(outcome.end, End::Converged, "{:?}", outcome.output);
}

#[tokio::test]
async fn a_rollback_by_the_engine_ends_rolled_back_and_is_known_ever_after() {
    let registry = Registry::start();
    let old = registry.push("web:1", STAYS_UP);
    let bad = registry.push("web:2", EXITS);
    let service = Service::create(&old.to_string(), |spec| {
        patiently(spec);
        spec["UpdateConfig"]["FailureAction"] = json!("rollback");
        spec["RollbackConfig"] = json!({"Parallelism": 0, "Monitor": 100_000_000});
    })
    .await;
    let target = service.target();
    let before = wanted(&target, &old).await;
    assert_eq!(deploy(&target, &before).await.end, End::Converged);

    let wanted = wanted(&target, &bad).await;
    let outcome = deploy(&target, &wanted).await;
    let End::RolledBack(reason) = &outcome.end else { panic!("{outcome:?}") };
    assert_eq!(reason.code, reason::ROLLED_BACK);
    assert!(reason.text.contains("non-zero exit (1)"), "{}", reason.text);
    assert!(outcome.output.iter().any(|line| line.starts_with("service rolled back")), "{outcome:?}");
    assert_eq!(service.image().await, pinned(&before).to_string());

    // The engine took the mark back as well: it was written again, and a worker that takes the job up knows.
    assert_eq!(service.label("longshore.job").await, Some(wanted.job.id.to_string()));
    assert_eq!(service.label("longshore.back").await, Some(wanted.job.id.to_string()));
    let found = target.read(&wanted.job).await.unwrap();
    assert_eq!(found.standing(wanted.job.id), Standing::Applied);
    assert!(found.is_bad(wanted.image.as_ref().unwrap()));
    assert!(matches!(watch(&target, &wanted).await.unwrap().0.end, End::RolledBack(_)));
    // A newer job is free to try.
    assert_eq!(found.standing(job(&old).id), Standing::Open);
}

#[tokio::test]
async fn what_cannot_be_placed_goes_on_with_the_reason_in_its_progress() {
    let registry = Registry::start();
    let old = registry.push("web:1", STAYS_UP);
    let new = registry.push("web:2", STAYS_UP);
    let service = Service::create(&old.to_string(), |_| ()).await;
    service
        .edit_by_hand(|spec| {
            spec["TaskTemplate"]["Placement"] = json!({"Constraints": ["node.labels.none==such"]});
            spec["UpdateConfig"]["Order"] = json!("start-first");
        })
        .await;
    let target = service.target();
    let wanted = wanted(&target, &new).await;
    apply(&target, &wanted).await.unwrap();
    let (sender, mut said) = mpsc::channel::<Progress>(1000);
    let seen = async {
        while let Some(step) = said.recv().await {
            if step.line.contains("no suitable node") {
                return;
            }
        }
    };
    tokio::select! {
        outcome = target.watch(&wanted, &sender) => panic!("{outcome:?}"),
        seen = timeout(PATIENCE, seen) => seen.unwrap(),
    }
}

#[tokio::test]
async fn a_deadline_puts_on_hold_only_an_image_whose_task_came_down() {
    let registry = Registry::start();
    let [old, slow, bad] = [("app:1", STAYS_UP), ("app:2", &["sleep", "2000000"]), ("app:3", EXITS)]
        .map(|(tag, command)| registry.push(tag, command));
    let service = Service::create(&old.to_string(), |spec| {
        patiently(spec);
        spec["Mode"]["Replicated"]["Replicas"] = json!(1);
        spec["UpdateConfig"]["FailureAction"] = json!("continue");
    })
    .await;
    let policy = Policy { stable: Some(Duration::from_secs(600)), rollback: true };
    let target = service.target().with(policy);
    for (image, comes_down) in [(&slow, false), (&bad, true)] {
        let wanted = wanted(&target, image).await;
        let began = Instant::now();
        while let Err(error) = apply(&target, &wanted).await {
            assert!(matches!(error, TargetError::Conflict) && began.elapsed() < PATIENCE, "{error:?}");
        }
        service
            .wait_for("what the deadline finds", async |it| match comes_down {
                true => docker(&["service", "ps", "--no-trunc", &it.name]).contains("non-zero exit (1)"),
                false => it.state_of_update().await.as_deref() == Some("completed"),
            })
            .await;
        let (sender, _progress) = mpsc::channel(1000);
        let late = Reason::new(reason::DEADLINE, "its deadline passed");
        let outcome = timeout(PATIENCE * 2, target.give_up(&wanted, late, &sender)).await.unwrap().unwrap();
        assert!(matches!(outcome.end, End::RolledBack(_)), "{outcome:?}");
        assert!(service.image().await.contains("app:1@"), "{}", service.image().await);
        let digest = pinned(&wanted).digest().unwrap().to_string();
        assert_eq!(service.label("longshore.bad").await, comes_down.then_some(digest));
        assert_eq!(outcome.put_on_hold.len(), usize::from(comes_down), "{outcome:?}");
    }
}
