//! Texts of which a part is written and the rest never is, carried out by a whole worker.

use std::{fs, os::unix::process::ExitStatusExt, path::Path, process::ExitStatus, time::Instant};

use proto::{Event, ImageRef, Job, Operation, StackText, State};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    dying::{KILLED, PATIENCE, events_of, open_when_free, run},
    lab::{STAYS_UP, Service, docker, environment, job},
    registry::Registry,
    texts::Stack,
};

/// Of so many services, most are written before or after the one that is refused: the command's order is drawn.
const OTHERS: [&str; 5] = ["a", "b", "c", "d", "e"];
/// So often all of them may come after it.
const MOST_TRIES: usize = 6;

fn part(image: &ImageRef) -> Value {
    json!({
        "image": image, "init": true, "stop_grace_period": "1s", "networks": ["outside"],
        "deploy": {"update_config": {"monitor": "1s", "order": "stop-first"}},
    })
}

/// All services with one image; with `odd`, one more that the engine takes or refuses.
fn text(image: &ImageRef, odd: Option<&Value>) -> StackText {
    let mut services: serde_json::Map<String, Value> =
        OTHERS.iter().map(|name| ((*name).to_owned(), part(image))).collect();
    if let Some(more) = odd {
        let mut odd = part(image);
        odd.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        services.insert("odd".to_owned(), odd);
    }
    let networks = json!({"outside": {"external": true, "name": "host"}});
    StackText::of(json!({"services": services, "networks": networks}).to_string())
}

/// What an engine finds wrong only when that very service is written.
fn refused() -> Value {
    json!({"ports": ["8099:80", "8099:81"]})
}

fn prepare(folder: &Path, stack: &Stack, rollback: bool, text: StackText) -> Job {
    let host = environment("LONGSHORE_TEST_DOCKER");
    let configuration = format!(
        "systems:\n  swarm: {{kind: swarm, host: \"{host}\"}}\ntargets:\n  web: {{at: swarm, stack: {}, rollback: {rollback}}}\n",
        stack.0
    );
    fs::write(folder.join("longshore.yaml"), configuration).unwrap();
    let mut job = job(&"any:1".parse().unwrap());
    job.operation = Operation::DeployStack(text);
    job.slots = job.operation.slots();
    next(folder, &job);
    job
}

fn next(folder: &Path, job: &Job) {
    fs::write(folder.join("job.json"), serde_json::to_vec(job).unwrap()).unwrap();
    let _ = fs::remove_file(folder.join("accepted"));
}

fn service(stack: &Stack, name: &str) -> std::mem::ManuallyDrop<Service> {
    std::mem::ManuallyDrop::new(Service { name: format!("{}_{name}", stack.0) })
}

/// A worker runs until its job has ended, or until it is killed. The folder's queue is free once all that this test
/// did with it has ended.
async fn work(folder: &TempDir, dies_at: Option<&str>) -> ExitStatus {
    let began = Instant::now();
    loop {
        let status = run(folder, dies_at).await;
        if status.success() || status.signal() == Some(KILLED) {
            return status;
        }
        assert!(began.elapsed() < PATIENCE, "the worker cannot begin: {status}");
    }
}

async fn end_of(folder: &TempDir, job: &Job) -> Event {
    let events = events_of(folder).await;
    let end = events.into_iter().find(|event| event.job_id() == job.id && event.state().is_end());
    end.expect("the job must end")
}

async fn deploy(folder: &TempDir, stack: &Stack, rollback: bool, text: StackText) -> Event {
    let job = prepare(folder.path(), stack, rollback, text);
    work(folder, None).await;
    end_of(folder, &job).await
}

/// Until it happens that some of it is written before the rest is refused.
async fn deploy_half_way(folder: &TempDir, stack: &Stack, rollback: bool, image: &ImageRef) -> Event {
    for _ in 0..MOST_TRIES {
        let end = deploy(folder, stack, rollback, text(image, Some(&refused()))).await;
        let told = &end.data.reason.as_ref().unwrap().text;
        if told.contains("written before that") {
            return end;
        }
        assert_eq!(end.state(), State::Failed, "{end:?}");
    }
    panic!("it never happened");
}

async fn images(stack: &Stack) -> Vec<String> {
    let mut images = Vec::new();
    for name in OTHERS.into_iter().chain(["odd"]) {
        images.push(service(stack, name).image().await);
    }
    images
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_of_a_refused_text_is_taken_back_where_the_target_asks_for_it() {
    let registry = Registry::start();
    let [old, new] = ["half:old", "half:new"].map(|name| registry.push(name, STAYS_UP));
    let (stack, folder) = (Stack::new(), tempfile::tempdir().unwrap());
    let first = deploy(&folder, &stack, true, text(&old, Some(&json!({})))).await;
    assert_eq!(first.state(), State::Succeeded, "{first:?}");
    let before = images(&stack).await;

    let end = deploy_half_way(&folder, &stack, true, &new).await;
    assert_eq!(end.state(), State::RolledBack, "{end:?}");
    let reason = end.data.reason.as_ref().unwrap();
    assert!(reason.text.contains("duplicate published ports"), "{reason:?}");
    assert!(reason.text.contains("not written: ") && reason.text.contains("taken back: "), "{reason:?}");
    assert!(reason.hint.as_ref().unwrap().contains("mend the compose file"), "{reason:?}");
    assert_eq!(images(&stack).await, before);
    for name in OTHERS {
        let service = service(&stack, name);
        assert_eq!(service.label("longshore.bad").await, None, "{name}: nothing is wrong with the image");
        assert_eq!(service.tasks().await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_stack_of_which_a_part_is_refused_is_gone_again() {
    let registry = Registry::start();
    let image = registry.push("half:old", STAYS_UP);
    let (stack, folder) = (Stack::new(), tempfile::tempdir().unwrap());
    let end = deploy_half_way(&folder, &stack, true, &image).await;
    assert_eq!(end.state(), State::RolledBack, "{end:?}");
    let filter = format!("label=com.docker.stack.namespace={}", stack.0);
    assert_eq!(docker(&["service", "ls", "-q", "--filter", &filter]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_of_a_refused_text_is_watched_and_told_elsewhere() {
    let registry = Registry::start();
    let [old, new] = ["half:old", "half:new"].map(|name| registry.push(name, STAYS_UP));
    let (stack, folder) = (Stack::new(), tempfile::tempdir().unwrap());
    let first = deploy(&folder, &stack, false, text(&old, Some(&json!({})))).await;
    assert_eq!(first.state(), State::Succeeded, "{first:?}");
    let end = deploy_half_way(&folder, &stack, false, &new).await;
    assert_eq!(end.state(), State::Failed, "{end:?}");
    let told = &end.data.reason.as_ref().unwrap().text;
    for name in OTHERS {
        let is_new = service(&stack, name).image().await.contains("half:new");
        assert_eq!(told.contains(&format!("{name} (runs as the text has it)")), is_new, "{name}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_may_die_while_it_takes_a_part_back() {
    let registry = Registry::start();
    let [old, new] = ["half:old", "half:new"].map(|name| registry.push(name, STAYS_UP));
    let (stack, folder) = (Stack::new(), tempfile::tempdir().unwrap());
    let first = deploy(&folder, &stack, true, text(&old, Some(&json!({})))).await;
    assert_eq!(first.state(), State::Succeeded, "{first:?}");
    let before = images(&stack).await;
    for _ in 0..MOST_TRIES {
        let job = prepare(folder.path(), &stack, true, text(&new, Some(&refused())));
        let has_died = work(&folder, Some("wentback")).await.signal() == Some(KILLED);
        if has_died {
            work(&folder, None).await;
        }
        let end = end_of(&folder, &job).await;
        assert_eq!(end.state(), if has_died { State::RolledBack } else { State::Failed }, "{end:?}");
        assert_eq!(images(&stack).await, before);
        if has_died {
            return;
        }
    }
    panic!("it never happened");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_text_that_overwrote_a_part_of_a_newer_one_puts_that_back() {
    let registry = Registry::start();
    let [old, new] = ["half:old", "half:new"].map(|name| registry.push(name, STAYS_UP));
    let (stack, folder) = (Stack::new(), tempfile::tempdir().unwrap());
    let late = prepare(folder.path(), &stack, false, text(&old, None));
    let newer = deploy(&folder, &stack, false, text(&new, None)).await;
    assert_eq!(newer.state(), State::Succeeded, "{newer:?}");
    let web = service(&stack, "a");
    let stands = web.image().await;
    // As far as its worker came that was killed in the command.
    web.edit_by_hand(|spec| {
        spec["TaskTemplate"]["ContainerSpec"]["Image"] = json!(old.to_string());
        for mark in ["longshore.job", "longshore.stack", "longshore.trying"] {
            spec["Labels"][mark] = json!(late.id.to_string());
        }
    })
    .await;
    take_up(&folder, &late).await;

    let end = end_of(&folder, &late).await;
    assert_eq!((end.state(), end.data.by), (State::Superseded, Some(newer.job_id())), "{end:?}");
    assert_eq!(end.data.reason.as_ref().unwrap().code, "put-back", "{end:?}");
    assert_eq!(web.image().await, stands);
    assert_eq!(web.label("longshore.stack").await, Some(newer.job_id().to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_was_written_after_the_stack_was_removed_is_gone_again() {
    let registry = Registry::start();
    let image = registry.push("half:old", STAYS_UP);
    let (stack, folder) = (Stack::new(), tempfile::tempdir().unwrap());
    let first = deploy(&folder, &stack, false, text(&image, None)).await;
    assert_eq!(first.state(), State::Succeeded, "{first:?}");
    let late = prepare(folder.path(), &stack, false, text(&image, None));
    let mut removal = job(&image);
    removal.operation = Operation::RemoveStack { force: false };
    removal.slots = removal.operation.slots();
    next(folder.path(), &removal);
    work(&folder, None).await;
    assert_eq!(end_of(&folder, &removal).await.state(), State::Succeeded);
    // As far as its worker came that was killed in the command.
    let marks = ["job", "stack", "trying"].map(|mark| format!("longshore.{mark}={}", late.id));
    let namespace = format!("com.docker.stack.namespace={}", stack.0);
    let (name, image) = (format!("{}_a", stack.0), image.to_string());
    let mut create = vec!["service", "create", "--detach", "--network", "host", "--name", &name];
    for label in marks.iter().chain([&namespace]) {
        create.extend(["--label", label]);
    }
    docker(&[&create[..], &[image.as_str()]].concat());
    take_up(&folder, &late).await;

    let end = end_of(&folder, &late).await;
    assert_eq!((end.state(), end.data.by), (State::Superseded, Some(removal.id)), "{end:?}");
    let filter = format!("label={namespace}");
    assert_eq!(docker(&["service", "ls", "-q", "--filter", &filter]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_may_die_while_it_removes_a_stack() {
    let registry = Registry::start();
    let image = registry.push("half:old", STAYS_UP);
    for step in ["announced", "applied"] {
        let (stack, folder) = (Stack::new(), tempfile::tempdir().unwrap());
        let first = deploy(&folder, &stack, false, text(&image, None)).await;
        assert_eq!(first.state(), State::Succeeded, "{first:?}");
        let mut removal = job(&image);
        removal.operation = Operation::RemoveStack { force: false };
        removal.slots = removal.operation.slots();
        next(folder.path(), &removal);
        assert_eq!(work(&folder, Some(step)).await.signal(), Some(KILLED), "{step}");
        work(&folder, None).await;
        let end = end_of(&folder, &removal).await;
        assert_eq!(end.state(), State::Succeeded, "{step}: {end:?}");
        for label in ["com.docker.stack.namespace", "longshore.stack", "longshore.removing"] {
            let filter = format!("label={label}={}", stack.0);
            assert_eq!(docker(&["service", "ls", "-q", "--filter", &filter]), "", "{step}");
            assert_eq!(docker(&["config", "ls", "-q", "--filter", &filter]), "", "{step}: {label}");
        }
    }
}

/// Another worker takes up a job whose first one was killed.
async fn take_up(folder: &TempDir, job: &Job) {
    let queue = open_when_free(folder).await;
    queue.publish(job).await.unwrap();
    for state in [State::Accepted, State::Started] {
        queue.emit(&Event::of(job, state, u32::from(state == State::Started), 0)).await.unwrap();
    }
    drop(queue);
    next(folder.path(), job);
    fs::write(folder.path().join("accepted"), "").unwrap();
    work(folder, None).await;
}
