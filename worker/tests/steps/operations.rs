//! The same of jobs that bring no image from outside: what they do is done once.

use proto::{ImageRef, Operation, State};
use serde_json::{Value, json};
use worker::target::Target;

use crate::{
    dying::{all_well, dies_and_another_goes_on, folder},
    lab::{STAYS_UP, Service, environment, job, swarm},
    registry::Registry,
};

/// The steps at which each is about to write, has written, or has seen what came of it.
const STEPS: [&str; 3] = ["announced", "applied", "watched"];

fn operations() -> Vec<Operation> {
    let rollback = Operation::Rollback { service: None, job: None, image: None };
    vec![Operation::Restart, Operation::Stop, Operation::Start, Operation::Redeploy, rollback]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_brings_no_image_may_die_at_any_step() {
    let registry = Registry::start();
    let images = ["steps:now", "steps:before"].map(|name| registry.push(name, STAYS_UP));
    let mut dying = Vec::new();
    for operation in operations() {
        // What replaces no task is not announced.
        let is_announced = !matches!(operation, Operation::Stop | Operation::Start);
        let steps = STEPS.into_iter().filter(|step| is_announced || *step != "announced");
        dying.extend(steps.map(|step| die_and_go_on(operation.clone(), step, &images)));
    }
    all_well(dying.into_iter()).await;
}

async fn die_and_go_on(operation: Operation, step: &str, images: &[ImageRef; 2]) -> Result<(), String> {
    let target = swarm().service("any");
    let [now, before] = [&images[0], &images[1]].map(|image| target.resolve(image));
    let (now, before) = (now.await.unwrap(), before.await.unwrap());
    let service = Service::create(&now.to_string(), |spec| {
        spec["Labels"] = json!({"longshore.good": before.to_string()});
        spec["Mode"]["Replicated"]["Replicas"] = json!(1);
        if operation == Operation::Start {
            // As a stop leaves it.
            spec["Labels"]["longshore.replicas"] = json!("1");
            spec["Mode"]["Replicated"]["Replicas"] = json!(0);
        }
    })
    .await;
    let host = environment("LONGSHORE_TEST_DOCKER");
    let configuration = format!(
        "systems:\n  swarm: {{kind: swarm, host: \"{host}\"}}\ntargets:\n  web: {{at: swarm, service: {}}}\n",
        service.name
    );
    let mut job = job(&images[0]);
    job.operation = operation.clone();
    job.slots = job.operation.slots();
    let folder = folder(&configuration, &job);
    let mut wrong = dies_and_another_goes_on(&folder, step, State::Succeeded).await;
    let spec = service.inspect().await["Spec"].clone();
    wrong.extend(difference(&operation, &spec, (&now, &before)));
    if wrong.is_empty() { Ok(()) } else { Err(format!("{operation:?} {step}: {}", wrong.join("; "))) }
}

/// What is not as one run of the operation makes it.
fn difference(operation: &Operation, spec: &Value, (now, before): (&ImageRef, &ImageRef)) -> Option<String> {
    let is_rollback = matches!(operation, Operation::Rollback { .. });
    let forced = matches!(operation, Operation::Restart | Operation::Redeploy);
    let stopped = *operation == Operation::Stop;
    let image = if is_rollback { before } else { now };
    let expected = (json!(image.to_string()), u64::from(forced), u64::from(!stopped));
    let seen = (
        spec["TaskTemplate"]["ContainerSpec"]["Image"].clone(),
        spec["TaskTemplate"]["ForceUpdate"].as_u64().unwrap_or(0),
        spec["Mode"]["Replicated"]["Replicas"].as_u64().unwrap_or(0),
    );
    (seen != expected).then(|| format!("{seen:?} stands there, not {expected:?}"))
}
