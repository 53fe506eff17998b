//! Wishes for one bad image that come in the same moment.

use std::{sync::Arc, time::Duration};

use proto::{CauseKind, Event, Job, JobId, Operation, State, Timestamp};
use serde_json::json;
use worker::target::Target;

use crate::{
    lab::{STAYS_UP, Service, environment, swarm},
    lagging::Lagging,
    registry::Registry,
    stage::{Stage, code, job},
};

const PATIENCE: Duration = Duration::from_secs(180);

/// The service as the target `web`.
fn on(service: &Service) -> String {
    format!(
        "systems:\n  swarm: {{kind: swarm, host: \"{}\"}}\ntargets:\n  web: {{at: swarm, service: {}}}\n",
        environment("LONGSHORE_TEST_DOCKER"),
        service.name
    )
}

fn wish_for(operation: Operation) -> Job {
    Job { slots: operation.slots(), operation, ..job("web", "any:1") }
}

async fn first_of(stage: &Stage, job: &Job, is_it: impl Fn(&Event) -> bool) -> Event {
    let events = stage.until_within(PATIENCE, job, |events| events.iter().any(&is_it)).await;
    events.into_iter().find(is_it).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_are_held_in_the_same_moment_the_first_wish_stays() {
    let registry = Registry::start();
    let [old, new] = ["holds:old", "holds:new"].map(|name| registry.push(name, STAYS_UP));
    let bad = registry.push("holds:bad", &["false"]);
    let digest = swarm().service("any").resolve(&bad).await.unwrap().digest().unwrap().to_string();
    let service = Service::create(&old.to_string(), |spec| {
        spec["Labels"] = json!({"longshore.bad": digest});
        spec["UpdateConfig"]["Monitor"] = json!(15_000_000_000u64);
    })
    .await;
    let mut stage = Stage::empty().await;
    let queue = Lagging::before(Arc::clone(&stage.queue), true);
    let settings = stage.settings(&format!(
        "systems:\n  swarm: {{kind: swarm, host: \"{}\"}}\ntargets:\n  web: {{at: swarm, service: {}}}\n",
        environment("LONGSHORE_TEST_DOCKER"),
        service.name
    ));
    stage.start_on(queue.clone(), settings);
    let at_work = job("web", &new.to_string());
    stage.accept(&at_work).await;
    service.wait_until_it_rolls().await;

    // Neither hears that the other is held.
    queue.flows.send_replace(false);
    let waiting = [job("web", &bad.to_string()), job("web", &bad.to_string())];
    for job in &waiting {
        stage.accept(job).await;
    }
    for job in &waiting {
        let held = first_of(&stage, job, |event| event.state() == State::Held).await;
        assert_eq!(code(&held), "bad-image");
    }
    queue.flows.send_replace(true);
    let [first, second] = &waiting;
    let end = first_of(&stage, second, |event| event.state().is_end()).await;
    assert_eq!((end.state(), code(&end), end.data.by), (State::Superseded, "held-already", Some(first.id)));
    let end = first_of(&stage, &at_work, |event| event.state().is_end()).await;
    assert_eq!(end.state(), State::Succeeded, "nobody took over: {end:?}");
    assert!(!stage.states(first).iter().any(|state| state.is_end()), "{:?}", stage.states(first));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_stays_held_though_somebody_wiped_what_the_service_remembers() {
    let registry = Registry::start();
    let (old, bad) = (registry.push("wiped:old", STAYS_UP), registry.push("wiped:bad", &["false"]));
    let digest = swarm().service("any").resolve(&bad).await.unwrap().digest().unwrap().to_string();
    let service = Service::create(&old.to_string(), |spec| {
        spec["Labels"] = json!({"longshore.bad": digest});
    })
    .await;
    let stage = Stage::new(&on(&service)).await;
    // It is looked at again as long as it may be held, and given up only while it still is.
    let mut held = job("web", &bad.to_string());
    held.gates.hold_until = Some(Timestamp::now() + Duration::from_secs(60));
    stage.accept(&held).await;
    let said = first_of(&stage, &held, |event| event.state() == State::Held).await;
    assert_eq!(code(&said), "bad-image");

    // As `docker stack deploy` of the same file does.
    service.edit_by_hand(|spec| spec["Labels"] = json!({})).await;
    let again = job("web", &bad.to_string());
    stage.accept(&again).await;
    let end = first_of(&stage, &again, |event| event.state().is_end()).await;
    assert_eq!((end.state(), code(&end), end.data.by), (State::Superseded, "held-already", Some(held.id)));
    let end = first_of(&stage, &held, |event| event.state().is_end()).await;
    assert_eq!((end.state(), code(&end)), (State::Rejected, "hold-expired"), "{end:?}");
    assert_eq!(service.image().await, old.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_back_is_on_hold_though_nothing_is_held_and_its_marks_were_wiped() {
    let registry = Registry::start();
    let image = registry.push("gone:1", STAYS_UP);
    let service = Service::create(&image.to_string(), |_| ()).await;
    let stage = Stage::new(&format!(
        "systems:\n  swarm: {{kind: swarm, host: \"{}\"}}\ntargets:\n  web: {{at: swarm, service: {}, rollback: true}}\n",
        environment("LONGSHORE_TEST_DOCKER"),
        service.name
    ))
    .await;
    registry.push("gone:1", &["false"]);
    let bad = swarm().service("any").resolve(&image).await.unwrap();
    let tried = job("web", &image.to_string());
    stage.accept(&tried).await;
    let end = first_of(&stage, &tried, |event| event.state().is_end()).await;
    assert_eq!(end.state(), State::RolledBack, "{end:?}");
    let noted: Vec<_> = end.data.put_on_hold.iter().map(|noted| &noted.image).collect();
    assert_eq!(noted, [&bad]);

    service.edit_by_hand(|spec| spec["Labels"] = json!({})).await;
    let stands = service.image().await;
    let again = job("web", &image.to_string());
    let redeploy =
        Job { slots: Operation::Redeploy.slots(), operation: Operation::Redeploy, ..job("web", "any:1") };
    for wish in [&again, &redeploy] {
        stage.accept(wish).await;
        let said =
            first_of(&stage, wish, |event| event.state().is_end() || event.state() == State::Held).await;
        assert_eq!((said.state(), code(&said)), (State::Held, "bad-image"), "{said:?}");
    }
    assert_eq!(service.image().await, stands, "nothing was written");

    // Whoever releases it has it tried once more.
    let mut released = job("web", &bad.to_string());
    (released.cause.kind, released.replays) = (CauseKind::Release, Some(again.id));
    stage.accept(&released).await;
    let end = first_of(&stage, &released, |event| event.state().is_end()).await;
    assert_eq!(end.state(), State::RolledBack, "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_stays_on_hold_though_somebody_wiped_what_the_service_remembers() {
    let registry = Registry::start();
    let [old, new] = ["frozen:1", "frozen:2"].map(|tag| registry.push(tag, STAYS_UP));
    let service = Service::create(&old.to_string(), |_| ()).await;
    let stage = Stage::new(&on(&service)).await;
    let hold = wish_for(Operation::Hold { image: None });
    stage.accept(&hold).await;
    let end = first_of(&stage, &hold, |event| event.state().is_end()).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    let earlier = job("web", &new.to_string());
    stage.accept(&earlier).await;
    let said = first_of(&stage, &earlier, |event| event.state() == State::Held).await;
    assert_eq!(code(&said), "on-hold");

    // As `docker stack deploy` of the same file does.
    service.edit_by_hand(|spec| spec["Labels"] = json!({})).await;
    let later = job("web", &new.to_string());
    stage.accept(&later).await;
    let said = first_of(&stage, &later, |event| event.state() == State::Held || event.state().is_end()).await;
    assert_eq!((said.state(), code(&said)), (State::Held, "on-hold"), "{said:?}");
    assert_eq!(service.image().await, old.to_string(), "nothing was written");

    let release = wish_for(Operation::Release { image: None });
    stage.accept(&release).await;
    let end = first_of(&stage, &release, |event| event.state().is_end()).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    let end = first_of(&stage, &later, |event| event.state().is_end()).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
}

/// The engine has paused the update of what failed, and whoever is called out wants peace first of all.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_is_put_on_hold_right_after_a_deploy_that_failed() {
    let registry = Registry::start();
    let [old, new] = ["paused:1", "paused:2"].map(|tag| registry.push(tag, STAYS_UP));
    let bad = registry.push("paused:bad", &["false"]);
    let service = Service::create(&old.to_string(), |spec| {
        spec["UpdateConfig"]["Monitor"] = json!(15_000_000_000u64);
    })
    .await;
    let stage = Stage::new(&on(&service)).await;
    let failed = job("web", &bad.to_string());
    stage.accept(&failed).await;
    let end = first_of(&stage, &failed, |event| event.state().is_end()).await;
    assert_eq!(end.state(), State::Failed, "{end:?}");
    let pauses = async |service: &Service| service.state_of_update().await.as_deref() == Some("paused");
    service.wait_for("the engine to pause the update", pauses).await;

    let hold = wish_for(Operation::Hold { image: None });
    stage.accept(&hold).await;
    let end = first_of(&stage, &hold, |event| event.state().is_end()).await;
    assert_eq!((end.state(), code(&end)), (State::Succeeded, "left-alone"), "{end:?}");
    let next = job("web", &new.to_string());
    stage.accept(&next).await;
    let said = first_of(&stage, &next, |event| event.state() == State::Held || event.state().is_end()).await;
    assert_eq!((said.state(), code(&said)), (State::Held, "on-hold"), "{said:?}");
    assert!(pauses(&service).await, "what was paused goes on");

    // With the rollback the service can be told, and is.
    let back = wish_for(Operation::Rollback { service: None, job: None, image: None });
    stage.accept(&back).await;
    let end = first_of(&stage, &back, |event| event.state().is_end()).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    let by = Some(hold.id.to_string());
    let noted = async {
        while service.label("longshore.hold").await != by {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(PATIENCE, noted).await.expect("its hold is never noted");
    let release = wish_for(Operation::Release { image: None });
    let last = job("web", &new.to_string());
    for job in [&release, &last] {
        stage.accept(job).await;
        let end = first_of(&stage, job, |event| event.state().is_end()).await;
        assert_eq!(end.state(), State::Succeeded, "{end:?}");
    }
}

/// Of a hold that is older than all deadlines, a service whose labels were wiped tells nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_is_still_on_hold_days_after_it_was_put_there() {
    let registry = Registry::start();
    let [old, new] = ["days:1", "days:2"].map(|tag| registry.push(tag, STAYS_UP));
    let service = Service::create(&old.to_string(), |_| ()).await;
    let mut stage = Stage::empty().await;
    let days_ago = Timestamp::now() - Duration::from_secs(3 * 24 * 3600);
    let hold = Job {
        id: JobId::mint(days_ago, None),
        accepted_at: days_ago,
        ..wish_for(Operation::Hold { image: None })
    };
    for state in [State::Accepted, State::Started, State::Succeeded] {
        let mut event = Event::of(&hold, state, 1, 0);
        event.time = days_ago;
        stage.queue.emit(&event).await.unwrap();
    }
    stage.start(&on(&service));
    let later = job("web", &new.to_string());
    stage.accept(&later).await;
    let said = first_of(&stage, &later, |event| event.state() == State::Held || event.state().is_end()).await;
    assert_eq!((said.state(), code(&said)), (State::Held, "on-hold"), "{said:?}");
    assert_eq!(service.image().await, old.to_string(), "nothing was written");
}
