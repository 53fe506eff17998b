//! What ran well before is known, whoever brought what stands there now.

use std::time::{Duration, Instant};

use proto::Operation;
use serde_json::{Value, json};
use worker::target::{End, Target, TargetError, swarm::Policy};

use crate::{
    carry_out::{carry_out, job_to, watch_any, write},
    lab::{STAYS_UP, Service, apply, deploy, docker, pinned, wanted, watch},
    registry::Registry,
};

const ROLLBACK: Operation = Operation::Rollback { service: None, job: None, image: None };
/// What never gets healthy is there for longer than a minute before the engine gives it up.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(240);

/// Writes another image as somebody else would.
async fn bring_by_hand(service: &Service, image: &str) {
    let image = json!(image);
    service.edit_by_hand(|spec| spec["TaskTemplate"]["ContainerSpec"]["Image"] = image.clone()).await;
}

/// The same to its good end.
async fn run_by_hand(service: &Service, image: &str) {
    let former = service.inspect().await["UpdateStatus"]["StartedAt"].clone();
    bring_by_hand(service, image).await;
    // What came before was completed, too.
    service
        .wait_for("somebody's update to be over", async |it| {
            let update = &it.inspect().await["UpdateStatus"];
            update["StartedAt"] != former && update["State"] == "completed"
        })
        .await;
}

async fn is_in(service: &Service, state: &str) -> bool {
    service.state_of_update().await.as_deref() == Some(state)
}

#[tokio::test]
async fn a_job_that_joins_anothers_rollout_goes_back_by_one_image() {
    let registry = Registry::start();
    let [old, new] = [1, 2].map(|n| registry.push(&format!("web:{n}"), STAYS_UP));
    let bad = registry.push("web:bad", &["sh", "-c", "sleep 8; exit 3"]);
    let going_back = async |failure_action: &str, rollback: bool| {
        let service = Service::create(&old.to_string(), |spec| {
            spec["Mode"]["Replicated"]["Replicas"] = json!(1);
            spec["UpdateConfig"]["FailureAction"] = json!(failure_action);
            spec["UpdateConfig"]["Monitor"] = json!(20_000_000_000u64);
            spec["RollbackConfig"] = json!({"Monitor": 1_000_000_000u64, "FailureAction": "pause"});
        })
        .await;
        let target = service.target().with(Policy { stable: Some(Duration::from_secs(3)), rollback });
        let second = wanted(&target, &new).await;
        assert_eq!(deploy(&target, &second).await.end, End::Converged);
        service.wait_for("the engine's own end", async |it| is_in(it, "completed").await).await;
        // The pipeline's own command, and the hook of the same push.
        let third = wanted(&target, &bad).await;
        bring_by_hand(&service, &pinned(&third).to_string()).await;
        service.wait_until_it_rolls().await;
        apply(&target, &third).await.unwrap();
        let (outcome, _) = watch(&target, &third).await.unwrap();
        assert!(matches!(outcome.end, End::RolledBack(_)), "{failure_action}: {outcome:?}");
        assert_eq!(service.image().await, pinned(&second).to_string(), "{failure_action}: {outcome:?}");
        // As after any deploy that was taken back: whoever rolls back stays there.
        let tried = service.label("longshore.trying-image").await;
        assert_eq!(tried, Some(pinned(&third).to_string()), "{failure_action}");
        assert_eq!(
            service.label("longshore.brought").await,
            Some(third.job.id.to_string()),
            "{failure_action}"
        );
        for _ in 0..2 {
            assert_eq!(
                service.label("longshore.good").await,
                Some(pinned(&second).to_string()),
                "{failure_action}"
            );
            assert_eq!(carry_out(&target, &job_to(ROLLBACK)).await.unwrap().end, End::Converged);
            assert_eq!(service.image().await, pinned(&second).to_string(), "{failure_action}");
        }
    };
    tokio::join!(going_back("rollback", false), going_back("pause", true));
}

#[tokio::test]
async fn a_job_for_what_stands_there_writes_nothing_and_leaves_the_engine_its_way_back() {
    let registry = Registry::start();
    let [old, new] = [1, 2].map(|n| registry.push(&format!("web:{n}"), STAYS_UP));
    let service = Service::create(&old.to_string(), |_| ()).await;
    let target = service.target();
    assert_eq!(deploy(&target, &wanted(&target, &new).await).await.end, End::Converged);
    service.wait_for("the engine's own end", async |it| is_in(it, "completed").await).await;
    let before = service.inspect().await;
    assert_eq!(deploy(&target, &wanted(&target, &new).await).await.end, End::Converged);
    let after = service.inspect().await;
    assert_eq!((&after["Version"], &after["Spec"]), (&before["Version"], &before["Spec"]));
    docker(&["service", "rollback", "--detach", &service.name]);
    service.wait_for("the engine's way back", async |it| it.image().await == old.to_string()).await;
}

#[tokio::test]
async fn a_rollback_goes_back_by_one_image_though_a_job_came_by_or_nobody_of_ours_ever_did() {
    let registry = Registry::start();
    let images = [1, 2, 3, 4].map(|n| registry.push(&format!("web:{n}"), STAYS_UP));
    let service = Service::create(&images[0].to_string(), |_| ()).await;
    let target = service.target();
    let second = wanted(&target, &images[1]).await;
    assert_eq!(deploy(&target, &second).await.end, End::Converged);
    let [third, fourth] = [wanted(&target, &images[2]).await, wanted(&target, &images[3]).await];
    run_by_hand(&service, &pinned(&third).to_string()).await;
    // The hook of what somebody deployed by hand.
    assert_eq!(deploy(&target, &third).await.end, End::Converged);
    assert_eq!(carry_out(&target, &job_to(ROLLBACK)).await.unwrap().end, End::Converged);
    assert_eq!(service.image().await, pinned(&second).to_string());
    // Two by hand, one after the other.
    for by_hand in [&third, &fourth] {
        run_by_hand(&service, &pinned(by_hand).to_string()).await;
    }
    for _ in 0..2 {
        assert_eq!(carry_out(&target, &job_to(ROLLBACK)).await.unwrap().end, End::Converged);
        assert_eq!(service.image().await, pinned(&third).to_string());
    }
}

/// With one task it is that one that the next image comes for: it ran for little longer than the engine watched it.
#[tokio::test]
async fn what_the_engine_watched_to_its_end_is_gone_back_to_though_the_next_came_right_after() {
    let registry = Registry::start();
    let images = [1, 2, 3, 4].map(|n| registry.push(&format!("web:{n}"), STAYS_UP));
    let one = |spec: &mut Value| {
        spec["Mode"]["Replicated"]["Replicas"] = json!(1);
        spec["UpdateConfig"]["Monitor"] = json!(100_000_000);
    };
    let service = Service::create(&images[0].to_string(), one).await;
    let target = service.target();
    let second = wanted(&target, &images[1]).await;
    assert_eq!(deploy(&target, &second).await.end, End::Converged);
    let [third, fourth] = [wanted(&target, &images[2]).await, wanted(&target, &images[3]).await];
    for by_hand in [&third, &fourth] {
        run_by_hand(&service, &pinned(by_hand).to_string()).await;
    }
    let outcome = carry_out(&target, &job_to(ROLLBACK)).await.unwrap();
    assert_eq!((outcome.end, outcome.notes), (End::Converged, Vec::new()));
    assert_eq!(service.image().await, pinned(&third).to_string());
}

/// Whoever rolls back expects what stood there last.
#[tokio::test]
async fn a_rollback_that_passes_over_what_was_not_there_for_long_enough_says_so() {
    let registry = Registry::start();
    let images = [1, 2, 3, 4].map(|n| registry.push(&format!("web:{n}"), STAYS_UP));
    let service = Service::create(&images[0].to_string(), |_| ()).await;
    let target = service.target();
    let second = wanted(&target, &images[1]).await;
    assert_eq!(deploy(&target, &second).await.end, End::Converged);
    let [third, fourth] = [wanted(&target, &images[2]).await, wanted(&target, &images[3]).await];
    for by_hand in [&third, &fourth] {
        run_by_hand(&service, &pinned(by_hand).to_string()).await;
    }
    let hours = service.target().with(Policy { stable: Some(Duration::from_secs(7200)), rollback: false });
    let says_so = |told: &str| {
        let image = pinned(&third).familiar();
        assert!(told.contains(&image) && told.contains("passed over"), "{told}");
        assert!(told.contains("it is believed after 7200 s"), "{told}");
    };
    says_so(&hours.plan(&ROLLBACK).await.unwrap().notes.join("; "));
    let back = write(&hours, &job_to(ROLLBACK)).await.unwrap();
    let outcome = watch_any(&target, &back).await.unwrap();
    assert_eq!(outcome.end, End::Converged);
    says_so(&outcome.notes.first().unwrap().text);
    assert_eq!(service.image().await, pinned(&second).to_string());
    let again = wanted(&target, &images[3]).await;
    assert_eq!(deploy(&target, &again).await.end, End::Converged);
    assert_eq!(service.label("longshore.passed-over").await, None);
}

/// One task; what has `sick` in its command is never healthy, and is given up after more than a minute.
async fn with_a_health_check(image: &str, failure_action: &str) -> Service {
    Service::create(image, |spec: &mut Value| {
        spec["Mode"]["Replicated"]["Replicas"] = json!(1);
        spec["UpdateConfig"]["FailureAction"] = json!(failure_action);
        spec["TaskTemplate"]["ContainerSpec"]["Healthcheck"] = json!({
            "Test": ["CMD-SHELL", "! grep -q sick /proc/1/cmdline"], "Interval": 8_000_000_000u64, "Retries": 9
        });
    })
    .await
}

async fn given_up(service: &Service, state: &str) {
    let deadline = Instant::now() + GIVEN_UP_WITHIN;
    while !is_in(service, state).await {
        assert!(Instant::now() < deadline, "{}", docker(&["service", "ps", "--no-trunc", &service.name]));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn an_image_that_was_never_healthy_is_none_that_ran_well_however_long_it_was_there() {
    let registry = Registry::start();
    let [old, new, other] = [1, 2, 3].map(|n| registry.push(&format!("web:{n}"), STAYS_UP));
    let sick = registry.push("web:sick", &["sh", "-c", "sleep 1000000; : sick"]);
    let over_a_continued_update = async {
        let service = with_a_health_check(&old.to_string(), "continue").await;
        let target = service.target();
        let ran = target.resolve(&old).await.unwrap();
        apply(&target, &wanted(&target, &sick).await).await.unwrap();
        given_up(&service, "completed").await;
        apply(&target, &wanted(&target, &other).await).await.unwrap();
        assert_eq!(service.label("longshore.good").await, Some(ran.to_string()));
    };
    let after_somebodys_mend = async {
        let service = with_a_health_check(&old.to_string(), "pause").await;
        let target = service.target();
        let second = wanted(&target, &new).await;
        assert_eq!(deploy(&target, &second).await.end, End::Converged);
        apply(&target, &wanted(&target, &sick).await).await.unwrap();
        given_up(&service, "paused").await;
        let mended = target.resolve(&other).await.unwrap().to_string();
        run_by_hand(&service, &mended).await;
        let refused = carry_out(&target, &job_to(ROLLBACK)).await.unwrap_err();
        let TargetError::Refused { answer, .. } = &refused else { panic!("{refused:?}") };
        assert!(answer.contains("did not hold") && answer.contains(&pinned(&second).familiar()), "{answer}");
        assert_eq!(service.image().await, mended);
    };
    tokio::join!(over_a_continued_update, after_somebodys_mend);
}
