//! Stacks made from compose texts: what is told of them, and what newer jobs find.

use std::{fs, time::Instant};

use proto::{ImageRef, Operation};
use serde_json::json;
use worker::target::{End, Standing, Target, TargetError, swarm::Registries};

use crate::{
    carry_out::{carry_out, job_to},
    lab::{PATIENCE, STAYS_UP, docker, settings},
    registry::Registry,
    text::{Stack, carry_out_text, compose, deploy_job, service, text, values, variables},
    wire::Wire,
};

fn set(image: &ImageRef) -> Operation {
    Operation::SetImage { image: image.clone(), service: Some("web".to_owned()) }
}

#[tokio::test]
async fn what_newer_jobs_wrote_under_the_commands_hands_is_put_back() {
    let (registry, stack) = (Registry::start(), Stack::new());
    let (old, new) = (registry.push("app:1", STAYS_UP), registry.push("app:2", STAYS_UP));
    let target = stack.target();
    let one = text(compose(&[service("web", &old.to_string(), "")], ""));
    assert_eq!(carry_out_text(&target, &deploy_job(&one)).await.unwrap().end, End::Converged);
    let web = stack.part("web");
    let pinned = web.image().await;
    for (newer, mark) in [(set(&new), "longshore.job"), (Operation::Stop, "longshore.running")] {
        let late = deploy_job(&one);
        let newer = job_to(newer);
        assert_eq!(carry_out(&target, &newer).await.unwrap().end, End::Converged);
        let (image, before) = (web.image().await, web.inspect().await);
        // As the command writes it that has read the service before the newer job wrote it.
        web.edit_by_hand(|spec| {
            spec["TaskTemplate"]["ContainerSpec"]["Image"] = json!(pinned);
            spec["Mode"]["Replicated"]["Replicas"] = json!(1);
            for mark in ["job", "stack", "running", "redeployed", "trying"] {
                spec["Labels"][format!("longshore.{mark}")] = json!(late.id.to_string());
            }
            spec["Labels"].as_object_mut().unwrap().remove("longshore.replicas");
        })
        .await;
        assert_eq!(target.read(&late).await.unwrap().standing(late.id), Standing::Applied);
        let outcome = carry_out_text(&target, &late).await.unwrap();
        assert_eq!(outcome.end, End::Converged, "{outcome:?}");
        let noted = outcome.notes.iter().any(|note| note.text.contains(&newer.id.to_string()));
        assert!(noted, "{outcome:?}");
        let is_image = mark == "longshore.job";
        assert_eq!(web.image().await, if is_image { image } else { pinned.clone() });
        assert_eq!(web.label(mark).await, Some(newer.id.to_string()));
        let after = web.inspect().await;
        assert_eq!(after["Spec"]["Mode"], before["Spec"]["Mode"]);
        let count = &after["Spec"]["Labels"]["longshore.replicas"];
        assert_eq!(*count, before["Spec"]["Labels"]["longshore.replicas"]);
        // Started again, for what comes next.
        assert_eq!(carry_out(&target, &job_to(Operation::Start)).await.unwrap().end, End::Converged);
    }
}

#[tokio::test]
async fn a_newer_wish_is_put_back_though_the_engine_writes_at_the_same_time() {
    let (registry, stack, wire) = (Registry::start(), Stack::new(), Wire::lay().await);
    let (old, new) = (registry.push("app:1", STAYS_UP), registry.push("app:2", STAYS_UP));
    let target = stack.target_with(&settings(&wire.host), Registries::default());
    let one = text(compose(&[service("web", &old.to_string(), "")], ""));
    assert_eq!(carry_out_text(&target, &deploy_job(&one)).await.unwrap().end, End::Converged);
    let web = stack.part("web");
    let (late, newer) = (deploy_job(&one), job_to(set(&new)));
    let pinned = web.image().await;
    assert_eq!(carry_out(&target, &newer).await.unwrap().end, End::Converged);
    let image = web.image().await;
    web.edit_by_hand(|spec| {
        spec["TaskTemplate"]["ContainerSpec"]["Image"] = json!(pinned);
        for mark in ["job", "stack", "trying"] {
            spec["Labels"][format!("longshore.{mark}")] = json!(late.id.to_string());
        }
    })
    .await;
    wire.make_stale(&format!("\"longshore.job\":\"{}\"", newer.id), 2);
    let outcome = carry_out_text(&target, &late).await.unwrap();
    assert_eq!((outcome.end, wire.stale_to_come()), (End::Converged, 0));
    assert_eq!((web.image().await, web.label("longshore.job").await), (image, Some(newer.id.to_string())));
}

#[tokio::test]
async fn a_way_back_that_comes_too_late_is_gone_all_the_same() {
    let (registry, stack, wire) = (Registry::start(), Stack::new(), Wire::lay().await);
    let (good, bad) = (registry.push("app:1", STAYS_UP), registry.push("app:2", &["no-such-program"]));
    let with = |image: &ImageRef, action: &str| {
        let body = compose(&[service("web", &image.to_string(), "    environment: {A: b}\n")], "");
        text(body.replace("failure_action: pause", &format!("failure_action: {action}")))
    };
    // Whoever goes back: we, or the engine, whose rollback only wants our marks.
    for action in ["pause", "rollback"] {
        let target = stack.target_with(&settings(&wire.host), Registries::default());
        let target = target.with(worker::target::swarm::Policy { stable: None, rollback: true });
        let first = with(&good, action);
        assert_eq!(carry_out_text(&target, &deploy_job(&first)).await.unwrap().end, End::Converged);
        let job = deploy_job(&with(&bad, action));
        wire.make_stale(&format!("\"longshore.back\":\"{}\"", job.id), 2);
        let outcome = carry_out_text(&target, &job).await.unwrap();
        assert!(matches!(outcome.end, End::RolledBack(_)), "{action}: {outcome:?}");
        assert_eq!(wire.stale_to_come(), 0, "{action}");
        let web = stack.part("web");
        assert!(web.image().await.contains("app:1@"), "{action}: {}", web.image().await);
        assert_eq!(web.label("longshore.back").await, Some(job.id.to_string()), "{action}");
        let digest = target.resolve(&bad).await.unwrap().digest().unwrap().to_string();
        assert_eq!(web.label("longshore.bad").await, Some(digest), "{action}");
    }
}

#[tokio::test]
async fn a_text_that_went_back_is_not_told_as_the_one_that_runs() {
    let (registry, stack) = (Registry::start(), Stack::new());
    let image = registry.push("app:1", STAYS_UP).to_string();
    let target = stack.going_back();
    let with = |web: &str, jobs: &str| {
        text(compose(&[service("web", &image, web), service("jobs", &image, jobs)], ""))
    };
    let (well, wrong) = ("    environment: {A: b}\n", "    command: [no-such-program]\n");
    let before = deploy_job(&with("    environment: {A: before}\n", ""));
    let first = deploy_job(&with("", ""));
    for job in [&before, &first] {
        assert_eq!(carry_out_text(&target, job).await.unwrap().end, End::Converged);
    }
    // Twice: the text that runs is not forgotten over those that never did.
    for _ in 0..2 {
        let job = deploy_job(&with(wrong, wrong));
        let outcome = carry_out_text(&target, &job).await.unwrap();
        let End::RolledBack(reason) = &outcome.end else { panic!("{outcome:?}") };
        let hint = reason.hint.as_ref().unwrap();
        assert!(hint.contains("mend the compose file") && hint.contains("stack show default/web"), "{hint}");
        let deployed = target.look().await.unwrap().deployed.unwrap();
        assert_eq!(deployed.by, first.id);
        assert_eq!(
            deployed.before.as_ref().map(|text| text.by),
            Some(before.id),
            "the one before is kept still"
        );
        assert!(deployed.notes.iter().all(|note| note.contains("taken back")), "{deployed:?}");
        assert_eq!(deployed.notes.len(), 2, "{deployed:?}");
    }
    // Where a part holds, the text stands, and what went back is said.
    let part = deploy_job(&with(well, wrong));
    assert!(matches!(carry_out_text(&target, &part).await.unwrap().end, End::RolledBack(_)));
    let deployed = target.look().await.unwrap().deployed.unwrap();
    assert_eq!(deployed.by, part.id);
    assert_eq!(deployed.notes, ["jobs: went back to what it was before this text"]);
}

#[tokio::test]
async fn a_refused_text_removes_nothing_of_what_it_would_prune() {
    let (registry, stack) = (Registry::start(), Stack::new());
    let image = registry.push("app:1", STAYS_UP).to_string();
    let target = stack.target();
    let page = |content: &str| {
        let services = [service("web", &image, "    configs: [page]\n"), service("api", &image, "")];
        let mut text = text(compose(&services, "configs: {page: {file: page.html}}\n"));
        text.files = values(&[("page.html", content)]);
        text
    };
    assert_eq!(carry_out_text(&target, &deploy_job(&page("1"))).await.unwrap().end, End::Converged);
    let mut missing =
        text(compose(&[service("web", &image, "")], "").replace("name: host", "name: no-such-net"));
    missing.prune = true;
    let mut changed = page("2");
    changed.compose = changed.compose.replace("  api:", "  api2:");
    changed.prune = true;
    for (refused, why) in [(missing, "make it first"), (changed, "give the changed one another name")] {
        let error = carry_out_text(&target, &deploy_job(&refused)).await.unwrap_err();
        // By us before the docker command runs, or by that.
        let (TargetError::Declined { why: told, .. } | TargetError::Refused { answer: told, .. }) = &error
        else {
            panic!("{error:?}")
        };
        assert!(told.contains(why), "{told}");
        assert_eq!(stack.services(), ["api", "web"]);
    }
}

#[tokio::test]
async fn a_text_that_is_kept_makes_no_stack_ours_that_was_set_up_anew() {
    let (registry, stack) = (Registry::start(), Stack::new());
    let image = registry.push("app:1", STAYS_UP).to_string();
    let theirs = compose(&[service("web", &image, "    environment: {BY: them}\n")], "");
    let file = stack.rooms().join("theirs.yml");
    fs::write(&file, theirs).unwrap();
    let target = stack.target();
    let ours = deploy_job(&text(compose(&[service("web", &image, "")], "")));
    assert_eq!(carry_out_text(&target, &ours).await.unwrap().end, End::Converged);
    docker(&["stack", "rm", &stack.name]);
    let began = Instant::now();
    while !stack.services().is_empty() {
        assert!(began.elapsed() < PATIENCE, "{:?}", stack.services());
    }
    docker(&["stack", "deploy", "-c", file.to_str().unwrap(), &stack.name]);
    let next = deploy_job(&text(compose(&[service("web", &image, "")], "")));
    for operation in [next.operation, Operation::RemoveStack { force: false }] {
        let error = carry_out_text(&target, &job_to(operation)).await.unwrap_err();
        assert!(matches!(&error, TargetError::Declined { .. }), "{error:?}");
    }
    assert_eq!(variables(&stack.part("web")).await, ["BY=them"]);
}

#[tokio::test]
async fn what_a_text_leaves_open_is_told_before_and_after() {
    let (registry, stack) = (Registry::start(), Stack::new());
    let image = registry.push("app:latest", STAYS_UP);
    let bare = image.repository().to_string();
    let target = stack.target();
    let gone = target.plan(&Operation::RemoveStack { force: false }).await.unwrap();
    assert!(gone.changes.is_empty(), "{gone:?}");
    let open = text(compose(
        &[service("web", &bare, "    environment: ['A=x$NOPE', PATH, HOME, DOCKER_CONFIG]\n")],
        "",
    ));
    let plan = target.plan(&Operation::DeployStack(open.clone())).await.unwrap();
    assert_eq!(plan.changes.len(), 1, "{plan:?}");
    let outcome = carry_out_text(&target, &deploy_job(&open)).await.unwrap();
    assert_eq!(outcome.end, End::Converged, "{outcome:?}");
    let told: Vec<&str> = outcome.notes.iter().map(|note| note.text.as_str()).collect();
    assert_eq!(told, ["the variable `NOPE` is not given: nothing stands in the place"]);
    let latest = "web: its image names no tag, which means `latest`".to_owned();
    assert!(outcome.output.contains(&latest), "{:?}", outcome.output);
    // Those of the worker have no value there.
    assert_eq!(variables(&stack.part("web")).await, ["A=x", "DOCKER_CONFIG", "HOME", "PATH"]);
    let again = target.plan(&Operation::DeployStack(open)).await.unwrap();
    assert!(again.changes.is_empty(), "{again:?}");
    let more = text(compose(&[service("web", &bare, "    environment: ['A=y']\n    ports: ['8080']\n")], ""));
    let plan = target.plan(&Operation::DeployStack(more)).await.unwrap();
    let fields: Vec<&str> = plan.changes.iter().map(|change| change.field.as_str()).collect();
    let env =
        ["A", "DOCKER_CONFIG", "HOME", "PATH"].map(|name| format!("TaskTemplate.ContainerSpec.Env.{name}"));
    assert_eq!(fields, [env.as_slice(), &["EndpointSpec.Ports".to_owned()]].concat(), "{plan:?}");
}

#[tokio::test]
async fn a_rollback_takes_back_what_the_last_text_changed_and_nothing_else() {
    let (registry, stack) = (Registry::start(), Stack::new());
    let [app, newer, newest] = [1, 2, 3].map(|n| registry.push(&format!("app:{n}"), STAYS_UP));
    let db = [1, 2].map(|n| registry.push(&format!("db:{n}"), STAYS_UP));
    let target = stack.target();
    let with = |web: &ImageRef, db: &ImageRef, more: &str| {
        let services = [service("web", &web.to_string(), more), service("db", &db.to_string(), "")];
        deploy_job(&text(compose(&services, "")))
    };
    let deploy = async |job: &proto::Job| {
        assert_eq!(carry_out_text(&target, job).await.unwrap().end, End::Converged);
    };
    deploy(&with(&app, &db[0], "")).await;
    deploy(&with(&newer, &db[1], "")).await;
    let last = with(&newest, &db[1], "");
    deploy(&last).await;
    let (web, data) = (stack.part("web"), stack.part("db"));
    let before = data.inspect().await;
    let rollback = Operation::Rollback { service: None, job: None, image: None };
    for _ in 0..2 {
        assert_eq!(carry_out(&target, &job_to(rollback.clone())).await.unwrap().end, End::Converged);
        assert!(web.image().await.contains("app:2@"), "{}", web.image().await);
        assert_eq!(data.inspect().await, before, "the last text did not change it");
    }
    // A text that brings no image leaves none to take back, whatever came before it.
    deploy(&with(&newer, &db[1], "    environment: {A: other}\n")).await;
    let refused = target.read(&job_to(rollback)).await.err();
    let Some(TargetError::Declined { why, .. }) = refused else { panic!("{refused:?}") };
    assert!(why.contains("replaced no image that ran well before"), "{why}");
    assert_eq!(data.image().await, before["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]);
}
