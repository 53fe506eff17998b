//! Stacks made from compose texts: what is written, what stays of newer jobs, and what is kept.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use proto::{ImageRef, Operation, StackText};
use serde_json::json;
use worker::target::{End, Standing, Target, TargetError, Wanted, swarm::Registries};

use crate::{
    carry_out::{carry_out, job_to},
    lab::{STAYS_UP, docker},
    registry::{PASSWORD, Registry, USER},
    text::{SECRET, Stack, carry_out_text, compose, deploy_job, secret, service, text, values, variables},
    transports::Front,
};

fn set(image: &ImageRef, service: &str) -> Operation {
    Operation::SetImage { image: image.clone(), service: Some(service.to_owned()) }
}

#[tokio::test]
async fn a_text_becomes_a_stack_with_all_that_it_names() {
    let (registry, stack) = (Registry::start(), Stack::new());
    registry.push("app:1", STAYS_UP);
    let app = format!("{}/app:${{TAG:?which}}", registry.host());
    let more = "    environment: {GREETING: \"${GREETING}\", KEY: $KEY}\n    configs: [page]\n    secrets: [key]\n    volumes: ['data:/data']\n";
    let more_still =
        "configs: {page: {file: ./page.html}}\nsecrets: {key: {file: key.txt}}\nvolumes: {data: {}}\n";
    let services = [service("web", &app, more), service("jobs", &app, "")];
    let mut first = text(compose(&services, more_still));
    first.env = values(&[("TAG", "1"), ("GREETING", "a: \"b\" $$c")]);
    first.env.insert("KEY".to_owned(), secret());
    first.files = values(&[("page.html", "<p>")]);
    first.files.insert("key.txt".to_owned(), secret());
    let (target, job) = (stack.target(), deploy_job(&first));
    assert_eq!(target.read(&job).await.unwrap().standing(job.id), Standing::Open);
    let outcome = carry_out_text(&target, &job).await.unwrap();
    assert_eq!(outcome.end, End::Converged, "{outcome:?}");
    assert!(outcome.output.contains(&"web: verify: Service converged".to_owned()), "{:?}", outcome.output);

    assert_eq!(stack.services(), ["jobs", "web"]);
    assert!(
        docker(&["stack", "ls", "--format", "{{.Name}} {{.Services}}"])
            .contains(&format!("{} 2", stack.name))
    );
    assert_eq!((stack.objects("config").len(), stack.objects("secret").len()), (1, 1));
    let web = stack.part("web");
    let pinned = target.resolve(&format!("{}/app:1", registry.host()).parse().unwrap()).await.unwrap();
    assert_eq!(web.image().await, pinned.to_string());
    for label in ["longshore.job", "longshore.stack"] {
        assert_eq!(web.label(label).await, Some(job.id.to_string()), "{label}");
    }
    let found = variables(&web).await;
    assert!(found.contains(&"GREETING=a: \"b\" $$c".to_owned()), "{found:?}");
    assert!(found.contains(&format!("KEY={SECRET}")), "{found:?}");
    // What is kept is the text with the secret's name.
    let now = target.look().await.unwrap();
    let deployed = now.deployed.unwrap();
    assert_eq!((deployed.by, &deployed.text), (job.id, &first));
    let kept = docker(&["config", "ls", "-q", "--filter", &format!("label=longshore.stack={}", stack.name)]);
    assert!(!docker(&["config", "inspect", kept.trim()]).contains(SECRET));
    // Nothing is left of the run, and a redelivery only watches.
    assert_eq!(fs::read_dir(stack.rooms()).unwrap().count(), 0);
    assert_eq!(target.read(&job).await.unwrap().standing(job.id), Standing::Applied);
    let before = web.inspect().await["Version"].clone();
    assert_eq!(carry_out_text(&target, &job).await.unwrap().end, End::Converged);
    assert_eq!(web.inspect().await["Version"], before);
}

#[tokio::test]
async fn a_newer_text_replaces_an_older_one_and_only_the_last_two_are_kept() {
    let (registry, stack) = (Registry::start(), Stack::new());
    let tags = ["1", "2", "3"].map(|tag| registry.push(&format!("app:{tag}"), STAYS_UP));
    let target = stack.target();
    let with = |image: &ImageRef, others: &[&str]| {
        let image = image.to_string();
        let mut services = vec![service("web", &image, "")];
        services.extend(others.iter().map(|name| service(name, &image, "")));
        text(compose(&services, ""))
    };
    let older = deploy_job(&with(&tags[0], &[]));
    let first = deploy_job(&with(&tags[0], &["old", "side"]));
    assert_eq!(carry_out_text(&target, &first).await.unwrap().end, End::Converged);
    assert_eq!(target.read(&older).await.unwrap().standing(older.id), Standing::Newer(first.id));
    let good = stack.part("web").image().await;

    let second = deploy_job(&with(&tags[1], &["side"]));
    let outcome = carry_out_text(&target, &second).await.unwrap();
    assert_eq!(outcome.end, End::Converged, "{outcome:?}");
    assert!(
        outcome.output.contains(&"old: not in the text, and left alone".to_owned()),
        "{:?}",
        outcome.output
    );
    let web = stack.part("web");
    assert!(web.image().await.contains("app:2@"));
    assert_eq!(web.label("longshore.good").await, Some(good));
    assert_eq!(stack.services(), ["old", "side", "web"]);
    let rollback = Operation::Rollback { service: None, job: None, image: None };
    assert_eq!(carry_out(&target, &job_to(rollback)).await.unwrap().end, End::Converged);
    assert!(web.image().await.contains("app:1@"));

    let mut pruned = with(&tags[2], &[]);
    pruned.prune = true;
    let plan = target.plan(&Operation::DeployStack(pruned.clone())).await.unwrap();
    let of: Vec<_> = plan.changes.iter().map(|change| (change.of.clone(), change.to.is_some())).collect();
    let name = |short: &str| format!("service {}_{short}", stack.name);
    assert_eq!(of, [(name("web"), true), (name("old"), false), (name("side"), false)]);
    let last = deploy_job(&pruned);
    assert_eq!(carry_out_text(&target, &last).await.unwrap().end, End::Converged);
    assert_eq!(stack.services(), ["web"]);
    let label = format!("label=longshore.stack={}", stack.name);
    assert_eq!(docker(&["config", "ls", "-q", "--filter", &label]).lines().count(), 2);
    assert_eq!(target.look().await.unwrap().deployed.unwrap().by, last.id);
}

#[tokio::test]
async fn what_newer_jobs_changed_stays_as_it_is() {
    let (registry, stack) = (Registry::start(), Stack::new());
    let (old, new) = (registry.push("app:1", STAYS_UP), registry.push("app:2", STAYS_UP));
    let target = stack.target();
    let with = |more: &str| {
        let image = old.to_string();
        text(compose(&[service("web", &image, more), service("jobs", &image, more)], ""))
    };
    assert_eq!(carry_out_text(&target, &deploy_job(&with(""))).await.unwrap().end, End::Converged);
    // Accepted before the two that follow, carried out after them.
    let late = deploy_job(&with("    environment: {A: b}\n"));
    let newer = job_to(set(&new, "web"));
    assert_eq!(carry_out(&target, &newer).await.unwrap().end, End::Converged);
    let stop = job_to(Operation::Stop);
    assert_eq!(carry_out(&target, &stop).await.unwrap().end, End::Converged);

    let outcome = carry_out_text(&target, &late).await.unwrap();
    assert_eq!(outcome.end, End::Converged, "{outcome:?}");
    let told = format!("web: keeps the image of the newer job {}", newer.id);
    assert!(outcome.output.contains(&told), "{:?}", outcome.output);
    let notes: Vec<&str> = outcome.notes.iter().map(|note| note.text.as_str()).collect();
    let stopped = format!("jobs: stays stopped as the newer job {} wishes", stop.id);
    assert!(notes.contains(&told.as_str()) && notes.contains(&stopped.as_str()), "{notes:?}");
    assert!(notes.iter().any(|note| note.starts_with("web: it is stopped (0 tasks)")), "{notes:?}");
    let (web, jobs) = (stack.part("web"), stack.part("jobs"));
    assert!(web.image().await.contains("app:2@"), "{}", web.image().await);
    assert_eq!(web.label("longshore.job").await, Some(newer.id.to_string()));
    assert_eq!(jobs.label("longshore.job").await, Some(late.id.to_string()));
    for part in [&web, &jobs] {
        assert_eq!(variables(part).await, ["A=b"]);
        assert_eq!(part.inspect().await["Spec"]["Mode"]["Replicated"]["Replicas"], json!(0));
        assert_eq!(part.label("longshore.running").await, Some(stop.id.to_string()));
    }
    assert_eq!(carry_out(&target, &job_to(Operation::Start)).await.unwrap().end, End::Converged);
    assert_eq!((web.tasks().await.len(), jobs.tasks().await.len()), (1, 1));
    // An image that was wished before the text gives way to it.
    let mut before = job_to(set(&old, "jobs"));
    before.id = late.id;
    assert_eq!(target.read(&before).await.unwrap().standing(late.id), Standing::Applied);
}

#[tokio::test]
async fn a_stack_of_another_tool_is_taken_over_only_where_that_is_said() {
    let (registry, stack) = (Registry::start(), Stack::new());
    let image = registry.push("app:1", STAYS_UP);
    let theirs = compose(&[service("web", &image.to_string(), "    environment: {BY: them}\n")], "");
    let file = stack.rooms().join("theirs.yml");
    fs::write(&file, theirs).unwrap();
    docker(&["stack", "deploy", "-c", file.to_str().unwrap(), &stack.name]);
    let target = stack.target();
    let mut ours = text(compose(&[service("web", &image.to_string(), "")], ""));
    // The engine itself writes a service once more before it makes its tasks.
    stack.part("web").wait_for("a task", async |service| !service.tasks().await.is_empty()).await;
    let before = stack.part("web").inspect().await["Version"].clone();
    for operation in [Operation::DeployStack(ours.clone()), Operation::RemoveStack { force: false }] {
        let job = job_to(operation);
        let found = target.read(&job).await.unwrap();
        let error = found.apply(&Wanted { job: job.clone(), image: None }).await.unwrap_err();
        let TargetError::Declined { why, .. } = error else { panic!("{error:?}") };
        assert!(why.contains("deployed by something else") && why.contains("`--"), "{why}");
        let planned = target.plan(&job.operation).await.unwrap_err();
        assert!(matches!(&planned, TargetError::Declined { why: told, .. } if *told == why), "{planned:?}");
    }
    // Asked for, it is told what would be replaced, though nothing is known of the text that theirs came from.
    ours.adopt = true;
    let plan = target.plan(&Operation::DeployStack(ours.clone())).await.unwrap();
    let fields: Vec<&str> = plan.changes.iter().map(|change| change.field.as_str()).collect();
    assert_eq!(fields, ["TaskTemplate.ContainerSpec.Env.BY"], "{plan:?}");
    let kept = format!("label=longshore.stack={}", stack.name);
    assert_eq!(docker(&["config", "ls", "-q", "--filter", &kept]), "", "a plan keeps no text");
    assert_eq!(stack.part("web").inspect().await["Version"], before);
    assert_eq!(carry_out_text(&target, &deploy_job(&ours)).await.unwrap().end, End::Converged);
    assert!(variables(&stack.part("web")).await.is_empty());
    // Whoever wipes the marks by hand does not make it theirs again.
    docker(&["stack", "deploy", "-c", file.to_str().unwrap(), &stack.name]);
    assert_eq!(stack.part("web").label("longshore.stack").await, None);
    ours.adopt = false;
    assert_eq!(carry_out_text(&target, &deploy_job(&ours)).await.unwrap().end, End::Converged);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_to_registries_are_seen_nowhere_but_in_the_commands_own_file() {
    let (registry, stack) = (Registry::start_private(), Stack::new());
    let image = tokio::task::block_in_place(|| registry.push_with_login("app:1", STAYS_UP));
    let registries = Registries::default().with(&registry.host(), USER, PASSWORD);
    let host = crate::lab::environment("LONGSHORE_TEST_DOCKER");
    let target = stack.target_with(&crate::lab::settings(&host), registries);
    let job = deploy_job(&text(compose(&[service("web", &image.to_string(), "")], "")));
    let stop = AtomicBool::new(false);
    let (seen, outcome) = thread::scope(|scope| {
        let looking = scope.spawn(|| look_at_processes(&stop, &stack.name));
        let handle = tokio::runtime::Handle::current();
        let outcome = tokio::task::block_in_place(|| handle.block_on(carry_out_text(&target, &job)));
        stop.store(true, Ordering::Relaxed);
        (looking.join().unwrap(), outcome)
    });
    assert_eq!(outcome.unwrap().end, End::Converged);
    assert!(seen.commands > 0, "the docker command was not seen at all");
    assert!(seen.told.is_empty(), "{:?}", seen.told);
    assert_eq!(fs::read_dir(stack.rooms()).unwrap().count(), 0);
    let wrong = Registries::default().with(&registry.host(), USER, "wr0ng-password");
    let refused = stack.target_with(&crate::lab::settings(&host), wrong);
    let error =
        carry_out_text(&refused, &deploy_job(&text(compose(&[service("new", &image.to_string(), "")], ""))))
            .await;
    let error = error.unwrap_err();
    assert!(matches!(error, TargetError::CredentialsRefused { .. }), "{error:?}");
    assert!(!format!("{error:?}").contains("wr0ng-password"));
}

struct Seen {
    /// How often a run of the docker command was seen.
    commands: usize,
    /// Where the password stood.
    told: Vec<String>,
}

/// Reads what any process of this machine shows of itself; other tests run the command at the same time.
fn look_at_processes(stop: &AtomicBool, stack: &str) -> Seen {
    let (mut seen, stack) = (Seen { commands: 0, told: Vec::new() }, format!(" {stack} "));
    while !stop.load(Ordering::Relaxed) {
        for entry in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let program = line.split(' ').next().unwrap_or_default();
            if !program.ends_with("/docker") || !line.contains("stack deploy") || !line.contains(&stack) {
                continue;
            }
            seen.commands += 1;
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            let environment = String::from_utf8_lossy(&environment).into_owned();
            let names: Vec<&str> = environment
                .split('\0')
                .filter_map(|it| it.split('=').next())
                .filter(|it| !it.is_empty())
                .collect();
            if line.contains(PASSWORD) || environment.contains(PASSWORD) || !names.is_empty() {
                seen.told.push(format!("{line} {names:?}"));
            }
        }
    }
    seen
}

#[tokio::test]
async fn an_engine_behind_mutual_tls_takes_texts_as_well() {
    let (registry, stack, front) = (Registry::start(), Stack::new(), Front::open().await);
    let image = registry.push("app:1", STAYS_UP);
    let target = stack.target_with(&front.settings("ca", Some("client")), Registries::default());
    let job = deploy_job(&text(compose(&[service("web", &image.to_string(), "")], "")));
    assert_eq!(carry_out_text(&target, &job).await.unwrap().end, End::Converged);
    assert_eq!(stack.services(), ["web"]);
    let removed = carry_out_text(&target, &job_to(Operation::RemoveStack { force: false })).await.unwrap();
    assert_eq!(removed.end, End::Converged);
}

#[tokio::test]
async fn what_cannot_be_deployed_is_refused_before_anything_is_touched() {
    let stack = Stack::new();
    let target = stack.target();
    let refused = |text: StackText| target.accepts(&Operation::DeployStack(text)).unwrap_err();
    assert!(refused(text("services: [".to_owned())).contains("compose text:"));
    assert!(
        refused(text("services: {web: {image: a, env_file: /etc/passwd}}".to_owned()))
            .contains("did not come")
    );
    let mut unknown = text("services: {web: {image: 'a:1'}}".to_owned());
    let named = proto::Named { from: "nobody".to_owned() };
    unknown.env.insert("A".to_owned(), proto::Given::Secret(named));
    assert!(refused(unknown).contains("no secret `nobody`"));
    assert!(crate::lab::swarm().service("a").accepts(&Operation::RemoveStack { force: false }).is_err());
    // What the text takes for given is looked for before the docker command runs.
    let alone =
        compose(&[service("web", "127.0.0.1:1/app:1", "")], "").replace("name: host", "name: none-such");
    let error = carry_out_text(&target, &deploy_job(&text(alone))).await.unwrap_err();
    let TargetError::Declined { why, .. } = &error else { panic!("{error:?}") };
    assert!(why.contains("does not have: the network `none-such`"), "{why}");
    // What only the docker command knows better, with its words.
    let odd = text(compose(&[service("web", "127.0.0.1:1/app:1", "    ports: {a: b}\n")], ""));
    let error = carry_out_text(&target, &deploy_job(&odd)).await.unwrap_err();
    assert!(matches!(error, TargetError::Unavailable { .. } | TargetError::Refused { .. }), "{error:?}");
    assert!(
        docker(&["service", "ls", "--format", "{{.Name}}"])
            .lines()
            .all(|name| !name.starts_with(&stack.name))
    );
}
