//! What would change, said without changing anything.

use proto::{
    Given, Operation, StackText,
    ask::{Change, Plan},
};
use serde_json::json;
use worker::target::{End, Target, TargetError};

use crate::{
    lab::{STAYS_UP, Service, deploy, docker, pinned, wanted},
    registry::Registry,
    text::{SECRET, Stack, carry_out_text, compose, deploy_job, secret, text},
};

#[tokio::test]
async fn each_field_that_would_change_is_told_and_nothing_is_changed() {
    let registry = Registry::start();
    let (old, new) = (registry.push("web:1", STAYS_UP), registry.push("web:2", STAYS_UP));
    let service = Service::create(&old.to_string(), |_| ()).await;
    let target = service.target();
    let rollback = Operation::Rollback { service: None, job: None, image: None };
    let refused = target.plan(&rollback).await;
    assert!(matches!(refused, Err(TargetError::Refused { .. })), "{refused:?}");
    let first = wanted(&target, &old).await;
    deploy(&target, &first).await;
    let before = service.inspect().await;

    let set = |image| Operation::SetImage { image, service: None };
    let plan = target.plan(&set(new.clone())).await.unwrap();
    let change = |field: &str, from, to| Change {
        of: format!("service {}", service.name),
        field: field.to_owned(),
        from: Some(from),
        to: Some(to),
    };
    let next = target.resolve(&new).await.unwrap();
    let image = "TaskTemplate.ContainerSpec.Image";
    let expected = change(image, json!(pinned(&first)), json!(next));
    assert_eq!(plan.changes, [expected]);
    assert_eq!(plan.notes, ["replaces all of its 2 tasks"]);

    let same = target.plan(&set(old.clone())).await.unwrap();
    assert_eq!((same.changes.len(), same.notes.len()), (0, 1), "{same:?}");
    let stop = target.plan(&Operation::Stop).await.unwrap();
    assert_eq!(stop.changes, [change("Mode.Replicated.Replicas", json!(2), json!(0))]);
    assert_eq!(stop.notes, ["stops all of its 2 tasks"]);
    let restart = target.plan(&Operation::Restart).await.unwrap();
    assert_eq!(restart.changes, [change("TaskTemplate.ForceUpdate", json!(0), json!(1))]);
    let other = Operation::SetImage { image: new, service: Some("another".to_owned()) };
    assert!(matches!(target.plan(&other).await, Err(TargetError::Refused { .. })));
    assert_eq!(service.inspect().await, before);
}

/// Options that engines and the docker command write in forms of their own.
const OPTIONS: &str = "    environment: ['A=1', 'DB=${DB}']
    command: ['sh', '-c', 'exec sleep 1000']
    healthcheck: {test: ['CMD', 'true'], interval: 5s, retries: 3}
    stop_grace_period: 1s
    init: true
    volumes: ['data:/data', {type: tmpfs, target: /tmp}]
    networks: [outside]
    configs: [{source: page, target: /page}]
    secrets: [key]
    cap_drop: [NET_RAW]
    deploy:
      replicas: 2
      labels: {team: a}
      resources: {limits: {memory: 64M}}
      restart_policy: {condition: any, delay: 1s}
      update_config: {parallelism: 1, delay: 0s, monitor: 1s, order: start-first}
      placement: {constraints: ['node.role == manager']}
";
const BESIDE: &str = "\
volumes: {data: {}}
configs: {page: {file: page.html}}
secrets: {key: {file: key.txt}}
";

fn with_all_options(image: &str) -> StackText {
    let mut all = text(compose(&[format!("  web:\n    image: '{image}'\n{OPTIONS}")], BESIDE));
    all.env.insert("DB".to_owned(), secret());
    all.files.insert("page.html".to_owned(), Given::Value("hello".to_owned()));
    all.files.insert("key.txt".to_owned(), secret());
    all
}

fn fields(plan: &Plan) -> Vec<&str> {
    plan.changes.iter().map(|change| change.field.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_compared_with_what_stands_whoever_made_it_so() {
    let (registry, stack) = (Registry::start(), Stack::new());
    let image = registry.push("app:1", STAYS_UP).to_string();
    let target = stack.target();
    let all = with_all_options(&image);
    let plan = async |text: &StackText| target.plan(&Operation::DeployStack(text.clone())).await.unwrap();
    let mut networked = all.clone();
    let networks = "networks: {default: {aliases: [db]}}";
    networked.compose = networked.compose.replace("networks: [outside]", networks);
    let first = plan(&networked).await;
    let mut of: Vec<&str> = first.changes.iter().filter_map(|change| change.of.split(' ').next()).collect();
    of.sort_unstable();
    assert_eq!(of, ["config", "network", "secret", "service"], "{first:?}");
    assert_eq!((stack.services().len(), stack.objects("network")), (0, Vec::new()));

    assert_eq!(carry_out_text(&target, &deploy_job(&all)).await.unwrap().end, End::Converged);
    let same = plan(&all).await;
    assert_eq!(fields(&same), Vec::<&str>::new(), "{same:?}");
    assert!(same.notes.iter().any(|note| note == "everything is as wished already"), "{same:?}");

    // Somebody changes it by hand: the text would change it back.
    let web = stack.part("web");
    let by_hand =
        ["--env-add", "BY=them", "--limit-memory", "128M", "--replicas", "3", "--label-add", "team=b"];
    docker(&[&["service", "update", "-d"], by_hand.as_slice(), &[&web.name]].concat());
    let before = web.inspect().await["Spec"].clone();
    let back = plan(&all).await;
    let mut told = fields(&back);
    told.sort_unstable();
    let container = "TaskTemplate.ContainerSpec.Env.BY";
    let memory = "TaskTemplate.Resources.Limits.MemoryBytes";
    assert_eq!(told, ["Labels.team", "Mode.Replicated.Replicas", container, memory], "{back:?}");
    let replicas = back.changes.iter().find(|change| change.field.ends_with("Replicas")).unwrap();
    assert_eq!((&replicas.from, &replicas.to), (&Some(json!(3)), &Some(json!(2))));
    let replaced = format!("{}: replaces all of its 3 tasks by 2", web.name);
    assert!(back.notes.contains(&replaced), "{back:?}");
    let removal = target.plan(&Operation::RemoveStack { force: false }).await.unwrap();
    assert!(removal.notes.contains(&format!("{}: stops all of its 3 tasks", web.name)), "{removal:?}");
    assert_eq!(web.inspect().await["Spec"], before, "a plan changes nothing");

    // What the engine would refuse is refused, and no secret is told.
    let mut changed = all.clone();
    changed.files.insert("page.html".to_owned(), Given::Value("other".to_owned()));
    let refused = target.plan(&Operation::DeployStack(changed)).await.unwrap_err();
    assert!(refused.to_string().contains("give the changed one another name"), "{refused}");
    let mut leaking = all.clone();
    leaking.compose = leaking.compose.replace("exec sleep 1000", "exec sleep 1000 ${DB}");
    let leaking = plan(&leaking).await;
    assert!(fields(&leaking).contains(&"TaskTemplate.ContainerSpec.Args"), "{leaking:?}");
    assert!(!format!("{leaking:?}").contains(SECRET), "{leaking:?}");
}
