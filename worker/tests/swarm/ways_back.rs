//! What ran well and is gone back to, and what an engine takes back itself.

use std::time::Duration;

use proto::{ImageRef, Operation, Timestamp};
use serde_json::json;
use worker::target::{
    End, Standing, Target, TargetError,
    swarm::{Policy, SwarmService},
};

use crate::{
    carry_out::{carry_out, job_to},
    lab::{STAYS_UP, Service, apply, deploy, docker, pinned, wanted, watch},
    registry::Registry,
    text::{Stack, carry_out_text, compose, deploy_job, service, text, variables},
};

const ROLLBACK: Operation = Operation::Rollback { service: None, job: None, image: None };

/// The digest that a tag names now.
async fn named_now(target: &SwarmService, image: &ImageRef) -> String {
    target.resolve(image).await.unwrap().to_string()
}

#[tokio::test]
async fn a_text_that_takes_over_a_rollout_and_is_taken_back_is_no_success() {
    let (registry, stack) = (Registry::start(), Stack::new());
    let image = registry.push("app:1", STAYS_UP).to_string();
    let target = stack.target();
    let with = |monitor: &str, more: &str| {
        let compose = compose(&[service("web", &image, more)], "");
        let compose = compose.replace("failure_action: pause", "failure_action: rollback");
        text(compose.replace("monitor: 1s", &format!("monitor: {monitor}")))
    };
    let first = deploy_job(&with("1s", "    environment: {A: first}\n"));
    assert_eq!(carry_out_text(&target, &first).await.unwrap().end, End::Converged);
    let web = stack.part("web");
    let second = deploy_job(&with("15s", "    environment: {A: second}\n"));
    let found = target.read(&second).await.unwrap();
    found.apply(&worker::target::Wanted { job: second.clone(), image: None }).await.unwrap();
    web.wait_until_it_rolls().await;
    // The engine goes back to the second text, which has the same image and an older mark.
    let third = deploy_job(&with("15s", "    command: [no-such-program]\n"));
    let outcome = carry_out_text(&target, &third).await.unwrap();
    let End::RolledBack(reason) = &outcome.end else { panic!("{outcome:?}") };
    assert!(reason.text.contains("no-such-program") || reason.text.contains("127"), "{reason:?}");
    assert_eq!(variables(&web).await, ["A=second"]);
    assert_eq!(web.label("longshore.stack").await, Some(third.id.to_string()));
    assert_eq!(web.label("longshore.back").await, Some(third.id.to_string()));
    assert_eq!(target.read(&third).await.unwrap().standing(third.id), Standing::Applied);
    let deployed = target.look().await.unwrap().deployed.unwrap();
    assert_ne!(deployed.by, third.id, "what went back is not what is deployed");
}

#[tokio::test]
async fn what_ran_by_a_tag_that_moves_is_found_again_by_its_content() {
    let registry = Registry::start();
    let image = registry.push("web:moving", STAYS_UP);
    let service = Service::create(&image.to_string(), |_| ()).await;
    let target = service.target();
    let former = named_now(&target, &image).await;
    registry.push("web:moving", &["sleep", "2000000"]);
    let newer = wanted(&target, &image).await;
    assert_ne!(pinned(&newer).to_string(), former);
    assert_eq!(deploy(&target, &newer).await.end, End::Converged);
    assert_eq!(service.label("longshore.good").await.as_ref(), Some(&former));
    assert_eq!(carry_out(&target, &job_to(ROLLBACK)).await.unwrap().end, End::Converged);
    assert_eq!(service.image().await, former);

    // Where only the tag is known, it leads nowhere; under another tag that names the same content, too.
    let again = wanted(&target, &image).await;
    assert_eq!(deploy(&target, &again).await.end, End::Converged);
    let alias = registry.push("web:alias", STAYS_UP);
    docker(&["tag", &pinned(&again).to_string(), &alias.to_string()]);
    docker(&["push", &alias.to_string()]);
    for by_tag in [&image, &alias] {
        service.edit_by_hand(|spec| spec["Labels"]["longshore.good"] = json!(by_tag.to_string())).await;
        let refused = carry_out(&target, &job_to(ROLLBACK)).await.unwrap_err();
        let TargetError::Refused { answer, .. } = &refused else { panic!("{refused:?}") };
        assert!(answer.contains(&format!("known only as `{}`", by_tag.familiar())), "{answer}");
        assert_eq!(service.image().await, pinned(&again).to_string());
    }
}

#[tokio::test]
async fn an_image_that_does_not_hold_is_taken_back_to_the_content_that_did() {
    let registry = Registry::start();
    let image = registry.push("web:moving", STAYS_UP);
    let service = Service::create(&image.to_string(), |_| ()).await;
    let target = service.target().with(Policy { stable: None, rollback: true });
    let former = named_now(&target, &image).await;
    registry.push("web:moving", &["false"]);
    let bad = wanted(&target, &image).await;
    let outcome = deploy(&target, &bad).await;
    assert!(matches!(outcome.end, End::RolledBack(_)), "{outcome:?}");
    assert_eq!(service.image().await, former);
    assert_eq!(service.label("longshore.bad").await, pinned(&bad).digest().map(ToString::to_string));
}

#[tokio::test]
async fn an_image_that_was_stopped_after_it_ran_well_is_the_one_before() {
    let registry = Registry::start();
    let images = [1, 2, 3].map(|n| registry.push(&format!("web:{n}"), STAYS_UP));
    let service = Service::create(&images[0].to_string(), |_| ()).await;
    let target = service.target();
    let second = wanted(&target, &images[1]).await;
    assert_eq!(deploy(&target, &second).await.end, End::Converged);
    assert_eq!(carry_out(&target, &job_to(Operation::Stop)).await.unwrap().end, End::Converged);
    assert_eq!(service.label("longshore.ran").await, Some(pinned(&second).to_string()));
    let third = wanted(&target, &images[2]).await;
    assert_eq!(deploy(&target, &third).await.end, End::Converged);
    assert_eq!(carry_out(&target, &job_to(Operation::Start)).await.unwrap().end, End::Converged);
    assert_eq!(service.label("longshore.ran").await, None);
    assert_eq!(carry_out(&target, &job_to(ROLLBACK)).await.unwrap().end, End::Converged);
    assert_eq!(service.image().await, pinned(&second).to_string());
}

#[tokio::test]
async fn a_start_that_takes_its_time_is_not_failed_by_an_old_crash() {
    let registry = Registry::start();
    let image = registry.push("web:1", STAYS_UP);
    // It runs once it is healthy: later than the window, and than its tasks have to be up.
    let service = Service::create(&image.to_string(), |spec| {
        spec["Mode"]["Replicated"]["Replicas"] = json!(1);
        spec["TaskTemplate"]["ContainerSpec"]["Healthcheck"] =
            json!({"Test": ["CMD", "true"], "Interval": 6_000_000_000u64});
    })
    .await;
    let target = service.target();
    let task = service.tasks().await.remove(0);
    let container = task["Status"]["ContainerStatus"]["ContainerID"].as_str().unwrap();
    docker(&["kill", container]);
    let is_another = async |service: &Service| {
        let tasks = service.tasks().await;
        tasks.len() == 1 && tasks[0]["ID"] != task["ID"] && tasks[0]["Status"]["State"] == "running"
    };
    service.wait_for("another task in its place", is_another).await;
    assert_eq!(carry_out(&target, &job_to(Operation::Stop)).await.unwrap().end, End::Converged);
    let outcome = carry_out(&target, &job_to(Operation::Start)).await.unwrap();
    assert_eq!(outcome.end, End::Converged, "{outcome:?}");
}

#[tokio::test]
async fn a_crash_after_the_window_takes_nothing_back_when_the_rollout_is_watched_again() {
    let registry = Registry::start();
    let images = [1, 2].map(|n| registry.push(&format!("web:{n}"), STAYS_UP));
    let service = Service::create(&images[0].to_string(), |_| ()).await;
    let target = service.target().with(Policy { stable: None, rollback: true });
    let second = wanted(&target, &images[1]).await;
    assert_eq!(deploy(&target, &second).await.end, End::Converged);

    // Its end could not be said; long after the window a task dies, and the engine makes another.
    let is_over = async |service: &Service| {
        let completed = service.inspect().await["UpdateStatus"]["CompletedAt"].as_str().map(str::to_owned);
        let completed: Option<Timestamp> = completed.and_then(|at| at.parse().ok());
        completed.is_some_and(|at| at + Duration::from_secs(8) < Timestamp::now())
    };
    service.wait_for("the window to be over", is_over).await;
    let task = service.tasks().await.remove(0);
    docker(&["kill", task["Status"]["ContainerStatus"]["ContainerID"].as_str().unwrap()]);
    let is_healed = async |service: &Service| {
        let tasks = service.tasks().await;
        let runs = |it: &serde_json::Value| it["ID"] != task["ID"] && it["Status"]["State"] == "running";
        tasks.len() == 2 && tasks.iter().filter(|it| it["Slot"] == task["Slot"]).all(runs)
    };
    service.wait_for("another task in its place", is_healed).await;
    let (outcome, _) = watch(&target, &second).await.unwrap();
    assert_eq!(outcome.end, End::Converged, "{outcome:?}");
    assert_eq!(service.image().await, pinned(&second).to_string());
    assert_eq!(service.label("longshore.bad").await, None);
}

#[tokio::test]
async fn a_service_that_names_no_tag_is_counted_and_gone_back_to() {
    let registry = Registry::start();
    let untagged = registry.push_untagged("web", STAYS_UP);
    let bad = registry.push("web:bad", &["false"]);
    let service = Service::create(&untagged, |_| ()).await;
    assert_eq!(service.image().await, untagged);
    let target = service.target().with(Policy { stable: None, rollback: true });
    let now = target.look().await.unwrap().tasks.unwrap();
    assert_eq!((now.running, now.wanted), (2, 2));
    assert_eq!(carry_out(&target, &job_to(Operation::Restart)).await.unwrap().end, End::Converged);
    let ran = named_now(&target, &format!("{untagged}:latest").parse().unwrap()).await;
    let outcome = deploy(&target, &wanted(&target, &bad).await).await;
    assert!(matches!(outcome.end, End::RolledBack(_)), "{outcome:?}");
    assert_eq!(service.image().await, ran);
}

#[tokio::test]
async fn a_rollback_by_hand_that_nobody_watched_holds_no_image() {
    let registry = Registry::start();
    let images = [1, 2].map(|n| registry.push(&format!("web:{n}"), STAYS_UP));
    let service = Service::create(&images[0].to_string(), |spec| {
        spec["UpdateConfig"]["Monitor"] = json!(15_000_000_000u64);
    })
    .await;
    let target = service.target();
    let second = wanted(&target, &images[1]).await;
    apply(&target, &second).await.unwrap();
    service.wait_until_it_rolls().await;
    docker(&["service", "rollback", "--detach", &service.name]);
    let is_back =
        async |service: &Service| service.state_of_update().await.as_deref() == Some("rollback_completed");
    service.wait_for("the rollback to be over", is_back).await;
    let (outcome, _) = watch(&target, &second).await.unwrap();
    let End::Superseded { by: None, reason } = &outcome.end else { panic!("{outcome:?}") };
    assert_eq!(reason.code, proto::reason::CHANGED_ELSEWHERE);
    assert_eq!(service.label("longshore.bad").await, None);
}

#[tokio::test]
async fn a_paused_update_is_not_set_going_again_by_what_follows_it() {
    let registry = Registry::start();
    let (old, new) = (registry.push("web:1", STAYS_UP), registry.push("web:3", STAYS_UP));
    let bad = registry.push("web:2", &["false"]);
    let service = Service::create(&old.to_string(), |spec| {
        spec["UpdateConfig"]["Monitor"] = json!(15_000_000_000u64);
    })
    .await;
    let target = service.target();
    let second = wanted(&target, &bad).await;
    assert!(matches!(deploy(&target, &second).await.end, End::Failed(_)));
    let is_paused = async |service: &Service| service.state_of_update().await.as_deref() == Some("paused");
    service.wait_for("the engine to pause the update", is_paused).await;

    let third = wanted(&target, &new).await;
    apply(&target, &third).await.unwrap();
    // What the engine was given last before the new image is what it paused, by whoever deployed that: nothing was
    // written in between.
    let former = &service.inspect().await["PreviousSpec"];
    assert_eq!(former["TaskTemplate"]["ContainerSpec"]["Image"], json!(pinned(&second).to_string()));
    assert_eq!(former["Labels"]["longshore.trying"], json!(second.job.id.to_string()));
    assert_eq!(watch(&target, &third).await.unwrap().0.end, End::Converged);
}

#[tokio::test]
async fn a_rollback_of_what_somebody_else_brought_goes_back_by_one_image() {
    let registry = Registry::start();
    let images = [1, 2, 3].map(|n| registry.push(&format!("web:{n}"), STAYS_UP));
    let service = Service::create(&images[0].to_string(), |_| ()).await;
    let target = service.target();
    let second = wanted(&target, &images[1]).await;
    assert_eq!(deploy(&target, &second).await.end, End::Converged);
    let by_hand = named_now(&target, &images[2]).await;
    let bring_by_hand = async || {
        let image = json!(by_hand.clone());
        service.edit_by_hand(|spec| spec["TaskTemplate"]["ContainerSpec"]["Image"] = image.clone()).await;
        let is_done =
            async |service: &Service| service.state_of_update().await.as_deref() == Some("completed");
        service.wait_for("somebody's update to be over", is_done).await;
    };
    bring_by_hand().await;
    for _ in 0..2 {
        assert_eq!(carry_out(&target, &job_to(ROLLBACK)).await.unwrap().end, End::Converged);
        assert_eq!(service.image().await, pinned(&second).to_string());
        assert_eq!(service.label("longshore.good").await, Some(pinned(&second).to_string()));
    }

    // An image of ours that did not hold is none to go back to.
    let bad = registry.push("web:bad", &["false"]);
    assert!(matches!(deploy(&target, &wanted(&target, &bad).await).await.end, End::Failed(_)));
    bring_by_hand().await;
    let refused = carry_out(&target, &job_to(ROLLBACK)).await.unwrap_err();
    let TargetError::Refused { answer, .. } = &refused else { panic!("{refused:?}") };
    assert!(answer.contains("did not hold") && answer.contains(&images[1].familiar()), "{answer}");
    assert_eq!(service.image().await, by_hand);
}

#[tokio::test]
async fn what_ran_before_anothers_update_that_was_given_up_is_the_way_back() {
    let registry = Registry::start();
    let [old, theirs] = [1, 2].map(|n| registry.push(&format!("web:{n}"), STAYS_UP));
    let bad = registry.push("web:bad", &["false"]);
    let service = Service::create(&old.to_string(), |spec| {
        spec["UpdateConfig"]["Monitor"] = json!(15_000_000_000u64);
    })
    .await;
    let target = service.target().with(Policy { stable: Some(Duration::from_secs(3)), rollback: true });
    let second = wanted(&target, &theirs).await;
    assert_eq!(deploy(&target, &second).await.end, End::Converged);
    // Somebody's update, by the side of our marks: the engine pauses it.
    let image = bad.to_string();
    service.edit_by_hand(|spec| spec["TaskTemplate"]["ContainerSpec"]["Image"] = json!(image)).await;
    let pauses = async |service: &Service| service.state_of_update().await.as_deref() == Some("paused");
    service.wait_for("the engine to pause the update", pauses).await;

    let worse = wanted(&target, &registry.push("web:worse", &["sh", "-c", "exit 4"])).await;
    let outcome = deploy(&target, &worse).await;
    assert!(matches!(outcome.end, End::RolledBack(_)), "{outcome:?}");
    assert_eq!(service.image().await, pinned(&second).to_string());
}

#[tokio::test]
async fn a_bad_text_over_a_rollout_of_the_same_image_is_taken_back_whole() {
    let (registry, stack) = (Registry::start(), Stack::new());
    let (good, bad) = (registry.push("app:1", STAYS_UP), registry.push("app:2", &["no-such-program"]));
    let target = stack.going_back();
    let with = |image: &ImageRef, more: &str| {
        let compose = compose(&[service("web", &image.to_string(), more)], "");
        text(compose.replace("monitor: 1s", "monitor: 8s").replace("replicas: 1", "replicas: 2"))
    };
    let first = deploy_job(&with(&good, "    environment: {A: first}\n"));
    assert_eq!(carry_out_text(&target, &first).await.unwrap().end, End::Converged);
    let web = stack.part("web");
    let image = web.image().await;
    for (wrong, more) in [(&bad, ""), (&good, "    command: [no-such-program]\n")] {
        // The same image with something else: nobody notes what ran well before it.
        let second = deploy_job(&with(&good, &format!("    environment: {{A: '{}'}}\n", wrong.familiar())));
        let found = target.read(&second).await.unwrap();
        found.apply(&worker::target::Wanted { job: second.clone(), image: None }).await.unwrap();
        web.wait_until_it_rolls().await;
        let third = deploy_job(&with(wrong, more));
        let outcome = carry_out_text(&target, &third).await.unwrap();
        let End::RolledBack(reason) = &outcome.end else { panic!("{outcome:?}") };
        assert!(reason.text.contains("; rolled back to"), "{reason:?}");
        assert_eq!(web.image().await, image);
        assert_eq!(variables(&web).await, [format!("A={}", wrong.familiar())]);
        assert_eq!(web.label("longshore.back").await, Some(third.id.to_string()));
    }
}
