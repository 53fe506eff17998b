//! Texts that bring an image that is on hold, and what is held while its target is at work.

use std::time::Duration;

use proto::{CauseKind, Event, Job, Operation, State, Timestamp};
use serde_json::json;
use worker::target::Target;

use crate::{
    lab::{STAYS_UP, Service, environment, swarm},
    registry::Registry,
    stage::{Stage, code, job, text as told},
    text::{Stack, compose, service, text},
};

const PATIENCE: Duration = Duration::from_secs(180);

async fn first_of(stage: &Stage, job: &Job, is_it: impl Fn(&Event) -> bool) -> Event {
    let events = stage.until_within(PATIENCE, job, |events| events.iter().any(&is_it)).await;
    events.into_iter().find(is_it).unwrap()
}

/// How a job ended, or that it is held.
async fn outcome(stage: &Stage, job: &Job) -> Event {
    stage.accept(job).await;
    first_of(stage, job, |event| event.state().is_end() || event.state() == State::Held).await
}

fn configuration(target: &str) -> String {
    let host = environment("LONGSHORE_TEST_DOCKER");
    format!(
        "systems:\n  swarm: {{kind: swarm, host: \"{host}\"}}\ntargets:\n  web: {{at: swarm, {target}}}\n"
    )
}

fn of(operation: Operation) -> Job {
    Job { slots: operation.slots(), operation, ..job("web", "any:1") }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_was_rolled_back_is_held_until_it_is_released() {
    let (registry, stack) = (Registry::start(), Stack::new());
    let app = format!("{}/texts:${{TAG}}", registry.host());
    registry.push("texts:good", STAYS_UP);
    registry.push("texts:bad", &["false"]);
    let with = |tag: &str, more: &str| {
        let mut text = text(compose(
            &[service("app", &app, ""), service("side", &app.replace("${TAG}", "good"), "")],
            more,
        ));
        text.env = crate::text::values(&[("TAG", tag)]);
        Operation::DeployStack(text)
    };
    let stage = Stage::new(&configuration(&format!("stack: {}, rollback: true", stack.name))).await;
    let good = outcome(&stage, &of(with("good", ""))).await;
    assert_eq!(good.state(), State::Succeeded, "{good:?}");
    let tried = outcome(&stage, &of(with("bad", ""))).await;
    assert_eq!(tried.state(), State::RolledBack, "{tried:?}");

    let before = stack.part("app").inspect().await["Version"].clone();
    let again = of(with("bad", ""));
    let held = outcome(&stage, &again).await;
    assert_eq!((held.state(), code(&held)), (State::Held, "bad-image"), "{held:?}");
    assert!(told(&held).contains("texts:bad") && told(&held).contains("`app`"), "{held:?}");
    assert!(!told(&held).contains("`side`"), "{held:?}");
    let hint = held.data.reason.as_ref().unwrap().hint.clone().unwrap();
    assert!(hint.contains("longshore target release default/web"), "{hint}");
    let plan = stack.target().plan(&with("bad", "")).await.unwrap();
    assert!(
        plan.notes.iter().any(|note| note.contains("_app: ") && note.contains("on hold here")),
        "{plan:?}"
    );

    // The same once more gives way to it, and says what it waits for; another text is a wish of its own.
    let repeated = outcome(&stage, &of(with("bad", ""))).await;
    assert_eq!((code(&repeated), repeated.data.by), ("held-already", Some(again.id)), "{repeated:?}");
    assert!(told(&repeated).contains("texts:bad"), "{repeated:?}");
    assert_eq!(repeated.data.reason.unwrap().hint, Some(hint));
    let other = outcome(&stage, &of(with("bad", "x-other: 1\n"))).await;
    assert_eq!((other.state(), code(&other)), (State::Held, "bad-image"), "{other:?}");
    assert_eq!(stack.part("app").inspect().await["Version"], before, "nothing of them was written");

    let mut released = of(with("bad", ""));
    (released.cause.kind, released.replays) = (CauseKind::Release, Some(again.id));
    let tried = outcome(&stage, &released).await;
    assert_eq!(tried.state(), State::RolledBack, "it was tried again: {tried:?}");
    let newer = outcome(&stage, &of(with("good", "x-newer: 1\n"))).await;
    assert_eq!(newer.state(), State::Succeeded, "{newer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_stays_held_while_another_job_brings_that_image() {
    let registry = Registry::start();
    let [old, bad] = ["busy:old", "busy:bad"].map(|name| registry.push(name, STAYS_UP));
    let digest = swarm().service("any").resolve(&bad).await.unwrap().digest().unwrap().to_string();
    let service = Service::create(&old.to_string(), |spec| {
        spec["Labels"] = json!({"longshore.bad": digest});
        spec["UpdateConfig"]["Monitor"] = json!(60_000_000_000u64);
    })
    .await;
    let stage = Stage::new(&configuration(&format!("service: {}", service.name))).await;
    let mut held = job("web", &bad.to_string());
    held.gates.hold_until = Some(Timestamp::now() + Duration::from_secs(30));
    assert_eq!(outcome(&stage, &held).await.state(), State::Held);

    let mut at_work = job("web", &bad.to_string());
    at_work.cause.kind = CauseKind::Release;
    stage.accept(&at_work).await;
    service.wait_until_it_rolls().await;
    // It is looked at meanwhile, and given up when its time is over.
    let end = first_of(&stage, &held, |event| event.state().is_end()).await;
    assert_eq!((end.state(), code(&end)), (State::Rejected, "hold-expired"), "{end:?}");
    let states = stage.states(&held);
    assert!(!states.contains(&State::Retrying), "{states:?}");
    assert!(
        !stage.states(&at_work).iter().any(|state| state.is_end()),
        "the target was at work all the time"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_held_though_somebody_wiped_what_its_services_remember() {
    let (registry, stack) = (Registry::start(), Stack::new());
    let app = format!("{}/worn:${{TAG}}", registry.host());
    registry.push("worn:good", STAYS_UP);
    registry.push("worn:bad", &["false"]);
    // Another service may run well with the very image.
    let with = |app_tag: &str, side_tag: &str| {
        let mut text = text(compose(
            &[
                service("app", &app.replace("TAG", "APP"), ""),
                service("side", &app.replace("TAG", "SIDE"), "    command: [sleep, '1000000']\n"),
            ],
            "",
        ));
        text.env = crate::text::values(&[("APP", app_tag), ("SIDE", side_tag)]);
        Operation::DeployStack(text)
    };
    let stage = Stage::new(&configuration(&format!("stack: {}, rollback: true", stack.name))).await;
    assert_eq!(outcome(&stage, &of(with("good", "good"))).await.state(), State::Succeeded);
    let tried = outcome(&stage, &of(with("bad", "good"))).await;
    assert_eq!(tried.state(), State::RolledBack, "{tried:?}");
    let parts: Vec<_> = tried.data.put_on_hold.iter().map(|noted| noted.part.as_deref()).collect();
    assert_eq!(parts, [Some("app")]);

    // As `docker stack deploy` does with labels.
    let app = stack.part("app");
    app.edit_by_hand(|spec| {
        spec["Labels"].as_object_mut().unwrap().retain(|name, _| !name.starts_with("longshore."));
    })
    .await;
    let held = outcome(&stage, &of(with("bad", "good"))).await;
    assert_eq!((held.state(), code(&held)), (State::Held, "bad-image"), "{held:?}");
    assert!(told(&held).contains("worn:bad") && told(&held).contains("`app`"), "{held:?}");
    let other = outcome(&stage, &of(with("good", "bad"))).await;
    assert_eq!(other.state(), State::Succeeded, "{other:?}");
}
