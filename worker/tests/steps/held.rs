//! The same of a job that is held, since its image was rolled back before: it is held once, and so is whatever brings
//! that image again.

use std::{fs, os::unix::process::ExitStatusExt};

use proto::{CauseKind, Event, ImageRef, Job, State};
use serde_json::json;
use tempfile::TempDir;
use worker::target::Target;

use crate::{
    dying::{KILLED, all_well, events_of, folder, run},
    lab::{STAYS_UP, Service, environment, job, swarm},
    registry::Registry,
};

/// Before it is said to be held, and from then on.
pub(crate) const STEPS: [&str; 4] = ["heldback", "said", "unlocked", "settled"];

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_may_die_while_it_holds_an_image() {
    let registry = Registry::start();
    let images = [registry.push("held:good", STAYS_UP), registry.push("held:bad", &["false"])];
    all_well(STEPS.into_iter().map(|step| die_and_go_on(step, &images))).await;
}

async fn die_and_go_on(step: &str, images: &[ImageRef; 2]) -> Result<(), String> {
    let bad = swarm().service("any").resolve(&images[1]).await.unwrap();
    let service = Service::create(&images[0].to_string(), |spec| {
        spec["Mode"]["Replicated"]["Replicas"] = json!(1);
        spec["Labels"] = json!({"longshore.bad": bad.digest().unwrap().to_string()});
    })
    .await;
    let configuration = format!(
        "systems:\n  swarm: {{kind: swarm, host: \"{}\"}}\ntargets:\n  web: {{at: swarm, service: {}}}\n",
        environment("LONGSHORE_TEST_DOCKER"),
        service.name
    );
    let first = job(&images[1]);
    let folder = folder(&configuration, &first);
    let mut wrong = Vec::new();
    let died = run(&folder, Some(step)).await;
    if died.signal() != Some(KILLED) {
        wrong.push(format!("not reached, {died}"));
    }
    go_on(&folder, &mut wrong).await;
    let mut sighting = job(&images[1]);
    sighting.cause.kind = CauseKind::Poll;
    next(&folder, &sighting);
    go_on(&folder, &mut wrong).await;

    let events = events_of(&folder).await;
    let (of_first, of_sighting) = (lives(&events, &first), lives(&events, &sighting));
    if of_first != [State::Held] {
        wrong.push(format!("it must be held once, and wait: {of_first:?}"));
    }
    if of_sighting != [State::Superseded] || !gave_way(&events, &sighting, &first) {
        wrong.push(format!("the sighting must give way to it: {of_sighting:?}"));
    }
    let stands = service.image().await;
    if stands != images[0].to_string() {
        wrong.push(format!("{stands} stands there"));
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("{step}: {}", wrong.join("; "))) }
}

async fn go_on(folder: &TempDir, wrong: &mut Vec<String>) {
    let worker = run(folder, None).await;
    if !worker.success() {
        wrong.push(format!("the next worker: {worker}"));
    }
}

/// The next worker on the same queue has this job, too.
fn next(folder: &TempDir, job: &Job) {
    fs::write(folder.path().join("job.json"), serde_json::to_vec(job).unwrap()).unwrap();
    fs::remove_file(folder.path().join("accepted")).unwrap();
}

/// How often a job was said to be held, and its ends; a resend counts once.
fn lives(events: &[Event], job: &Job) -> Vec<State> {
    let is_told = |event: &&Event| event.state() == State::Held || event.state().is_end();
    let mut told: Vec<&Event> =
        events.iter().filter(|event| event.job_id() == job.id).filter(is_told).collect();
    told.dedup_by_key(|event| event.id);
    told.iter().map(|event| event.state()).collect()
}

fn gave_way(events: &[Event], job: &Job, to: &Job) -> bool {
    let is_end = |event: &&Event| event.job_id() == job.id && event.state().is_end();
    events.iter().filter(is_end).all(|end| {
        let code = end.data.reason.as_ref().map_or("", |reason| &reason.code);
        end.data.by == Some(to.id) && code == "held-already"
    })
}
