//! What is read of the file, and every fault that is told.

use config::Span;

use super::*;

fn read(text: &str) -> Result<Settings, String> {
    let document = Document::parse("longshore.yaml", text).map_err(|faults| faults.to_string())?;
    let mut faults = Faults::new();
    Settings::read(&document, &mut faults).ok_or_else(|| faults.to_string())
}

#[test]
fn a_target_is_named_in_the_pool_of_its_system() {
    let settings = read(
        "systems:\n  lab: {kind: rehearsal, pool: office}\ntargets:\n  demo: {at: lab, follow: 'demo:*', takes: 5s}\n",
    )
    .unwrap();
    assert_eq!(settings.targets[0].name.to_string(), "office/demo");
    let TargetKind::Rehearsal(rehearsal) = &settings.targets[0].kind else { panic!("not a rehearsal") };
    assert_eq!(rehearsal.takes, Some(Span(Duration::from_secs(5))));
}

#[test]
fn one_service_is_one_target_whatever_its_systems_are_called() {
    let faults = read(
        "systems:\n  a: {kind: swarm, host: 'tcp://m:2375'}\n  b: {kind: swarm, host: 'tcp://m', pool: office}\n\
         targets:\n  one: {at: a, service: web}\n  two: {at: b, service: web}\n",
    )
    .unwrap_err();
    assert!(faults.contains("longshore.yaml:6:8: targets.two: the service `web` is already"), "{faults}");
}

#[test]
fn a_service_is_named_in_full_or_by_its_stack() {
    let systems = "systems: {a: {kind: swarm, host: 'tcp://m:2375'}}\n";
    let kind = |target: &str| {
        let settings = read(&format!("{systems}targets: {{one: {{at: a, {target}}}}}")).unwrap();
        format!("{:?}", settings.targets[0].kind)
    };
    let policy = "policy: Policy { stable: Some(45s), rollback: true }";
    for (typed, meant) in [
        ("service: shop_web", r#"SwarmService { service: "shop_web", "#),
        ("stack: shop, service: web", r#"ServiceOfStack { stack: "shop", service: "web", "#),
        ("stack: shop", r#"SwarmStack { stack: "shop", "#),
    ] {
        assert_eq!(kind(&format!("{typed}, stable: 45s, rollback: true")), format!("{meant}{policy} }}"));
    }
}

#[test]
fn what_is_in_a_stack_that_is_a_target_is_no_second_target() {
    let systems = "systems: {a: {kind: swarm, host: 'tcp://m:2375'}}\n";
    let both = |one: &str, two: &str| {
        read(&format!("{systems}targets:\n  one: {{at: a, {one}}}\n  two: {{at: a, {two}}}\n")).err()
    };
    for (one, two, why) in [
        ("stack: shop", "service: shop_web", "the service `shop_web` is of the stack `shop`, which is"),
        ("stack: shop", "stack: shop, service: web", "the service `shop_web` is of the stack `shop`, which"),
        ("service: shop_web", "stack: shop", "the stack `shop` holds the service `shop_web`, which is"),
        ("stack: shop", "stack: shop", "the stack `shop` is already the target"),
        ("service: shop_web", "stack: shop, service: web", "the service `shop_web` is already the target"),
    ] {
        let faults = both(one, two).unwrap();
        assert!(faults.contains(&format!("longshore.yaml:4:8: targets.two: {why}")), "{faults}");
        assert!(faults.contains("the target `targets.one` (longshore.yaml:3:8)"), "{faults}");
    }
    assert_eq!(both("stack: shop", "service: shopping_web"), None);
    assert_eq!(both("stack: shop", "service: shop"), None);
}

#[test]
fn every_mistake_is_told_with_its_line() {
    let faults = read(
        "systems:\n  lab: {kind: rehersal}\n  dock: {kind: swarm, host: 'unix:///x'}\ntargets:\n  a: {at: dok, service: a}\n  b: {at: dock}\n  c: {at: dock, service: web, takes: 2s}\n  d: {at: dock, service: web}\n  e: {at: lab, folow: 'x:*'}\n",
    )
    .unwrap_err();
    for expected in [
        "longshore.yaml:2:15: systems.lab.kind: unknown kind `rehersal`",
        "longshore.yaml:5:11: targets.a.at: there is no system `dok`",
        "longshore.yaml:6:6: targets.b: neither `service` nor `stack` is given",
        "targets.c.takes: a target on a swarm system has no `takes`",
        "targets.d: the service `web` is already the target `targets.c` (longshore.yaml:7:6)",
        "targets.e.folow: ",
    ] {
        assert!(faults.contains(expected), "{expected}\n---\n{faults}");
    }
}

#[test]
fn a_limit_that_stops_every_job_is_a_fault() {
    for (limits, why) in [
        (
            "at_once: 0",
            "worker.at_once: a worker cannot carry out 0 jobs at once\n  hint: give from 1 to 1000",
        ),
        ("at_once: 1001", "worker.at_once: a worker cannot carry out 1001 jobs at once\n  hint: give from 1"),
        (
            "at_once: 70000",
            "worker.at_once: a worker cannot carry out 70000 jobs at once\n  hint: give from 1",
        ),
        (
            "delivery_hold: 0s",
            "worker.delivery_hold: no job could end with a hold of `0s`\n  hint: give more",
        ),
        (
            "delivery_hold: 26m",
            "worker.delivery_hold: RabbitMQ takes deliveries back after 30 minutes\n  hint: give 25m or less",
        ),
    ] {
        let faults = read(&format!("worker: {{{limits}}}")).unwrap_err();
        assert!(faults.contains(why), "{limits}\n---\n{faults}");
    }
    let limits = read("worker: {at_once: 1000, takeover_after: 0s, grace: 0s}").unwrap().limits;
    assert_eq!((limits.at_once, limits.grace), (1000, Duration::ZERO));
}

#[test]
fn a_section_of_another_shape_is_a_fault() {
    for (text, why) in [
        ("systems: [1]", "longshore.yaml:1:10: systems: expected a map of names\n  hint: "),
        ("targets: 3", "longshore.yaml:1:10: targets: expected a map of names\n  hint: "),
        ("registries: [x]", "longshore.yaml:1:13: registries: expected a map"),
        ("worker: 5", "longshore.yaml:1:9: worker: expected a map"),
        ("targets: {a: 5}", "longshore.yaml:1:14: targets.a: the target does not say where it runs"),
    ] {
        let faults = read(text).unwrap_err();
        assert!(faults.starts_with(why), "{text}\n---\n{faults}");
        assert_eq!(faults.matches("longshore.yaml").count(), 1, "{faults}");
    }
    assert!(read("systems:\ntargets:\n").is_ok());
}

#[test]
fn a_target_that_says_no_system_is_told_once_beside_its_other_faults() {
    let faults = read("targets: {a: {service: web, folow: x}, b: {at: , service: web}}").unwrap_err();
    assert_eq!(
        faults.matches("targets.a: the target does not say where it runs\n  hint: add `at").count(),
        1
    );
    assert!(faults.contains("targets.a.folow: unknown key"), "{faults}");
    assert!(faults.contains("targets.b.at: expected text, found nothing"), "{faults}");
    assert!(!faults.contains("is missing"), "{faults}");
}

#[test]
fn what_the_ingress_reads_of_a_target_is_left_to_it() {
    for follow in ["'UPPER:*'", "{image: a/b, tags: {semver: 'latest'}}", "[a, {b: c}]", "'${NOT_SET_HERE}'"]
    {
        let text = format!(
            "systems: {{lab: {{kind: rehearsal}}}}\ntargets: {{a: {{at: lab, follow: {follow}, deadline: soon}}}}"
        );
        assert_eq!(read(&text).map(|settings| settings.targets.len()), Ok(1), "{follow}");
    }
}

#[test]
fn versions_and_expressions_are_followed_here_too_so_that_workers_look_for_them() {
    let follow = "[{image: a/b, tags: {semver: '>=1, <2'}, allow_downgrade: true}, {image: a/c, tags: {regex: 'v[0-9]+'}}]";
    let text =
        format!("systems: {{lab: {{kind: rehearsal}}}}\ntargets: {{a: {{at: lab, follow: {follow}}}}}");
    let settings = read(&text).unwrap();
    let follows = settings.targets.into_iter().flat_map(|target| target.follows);
    let told: Vec<String> = follows.map(|follow| format!("{follow} {}", follow.is_upward_only())).collect();
    assert_eq!(told, ["a/b (semver >=1, <2) false", "a/c (regex v[0-9]+) false"]);
}

#[test]
fn a_wrong_name_comes_with_a_hint() {
    let faults = read("systems: {lab: {kind: rehearsal}}\ntargets: {a.b: {at: lab}}").unwrap_err();
    assert!(faults.contains("`a.b` is no name: use letters"), "{faults}");
    assert!(faults.contains("\n  hint: rename the target"), "{faults}");
}

#[test]
fn a_password_in_an_engines_address_is_not_told() {
    let faults = read("systems: {w: {kind: swarm, host: 'tcp://u:sup3rs3cret@h:1'}}").unwrap_err();
    assert!(
        faults.contains("systems.w.host: an engine's address takes no user or password\n  hint: "),
        "{faults}"
    );
    assert!(!faults.contains("sup3r"), "{faults}");
}

#[test]
fn the_schema_asks_for_the_system_of_a_target() {
    let schema = schemars::schema_for!(TypedTarget);
    assert_eq!(schema.get("required"), Some(&serde_json::json!(["at"])));
}

#[test]
fn a_stack_of_a_portainer_is_one_target_and_its_services_are_none() {
    let systems = "systems:\n  docks: {kind: portainer, url: 'https://p.lan:9443', api_key: k, environment: production}\n";
    let settings =
        read(&format!("{systems}targets: {{shop: {{at: docks, stack: shop, rollback: true, stable: 45s}}}}"))
            .unwrap();
    let kind = format!("{:?}", settings.targets[0].kind);
    let policy = "policy: Policy { stable: Some(45s), rollback: true }";
    assert_eq!(kind, format!(r#"PortainerStack {{ stack: "shop", {policy} }}"#));
    for (targets, why) in [
        ("a: {at: docks, stack: shop, service: web}", "targets.a.service: Portainer writes a stack at once"),
        ("a: {at: docks}", "targets.a: no `stack` is given"),
        (
            "a: {at: docks, stack: 'https://p.lan:9443/#!/1/docker/stacks/shop?id=5&type=1'}",
            "write its number, `stack: \"#5\"`, or its name",
        ),
        ("a: {at: docks, stack: 'https://p.lan/#!/1/docker/stacks'}", "its number as in `stack: \"#5\"`"),
        ("a: {at: docks, stack: shop, takes: 2s}", "a target on a portainer system has no `takes`"),
        (
            "a: {at: docks, stack: shop}, b: {at: docks, stack: shop}",
            "the stack `shop` is already the target `targets.a`",
        ),
    ] {
        let faults = read(&format!("{systems}targets: {{{targets}}}")).err().unwrap_or_default();
        assert!(faults.contains(why), "{targets}\n---\n{faults}");
    }
}

#[test]
fn a_workload_is_named_in_one_word_or_in_three() {
    let systems = "systems:\n  k8s: {kind: kubernetes, url: 'https://k:6443', token: t}\n  same: {kind: kubernetes, url: 'https://k:6443/', token: other}\n";
    for typed in ["workload: shop/statefulset/web", "namespace: shop, kind: statefulset, name: web"] {
        let settings = read(&format!(
            "{systems}targets: {{shop: {{at: k8s, {typed}, container: app, rollback: true}}}}"
        ))
        .unwrap();
        let TargetKind::Workload { place, container, policy } = &settings.targets[0].kind else {
            panic!("{:?}", settings.targets[0].kind)
        };
        assert_eq!(place.to_string(), "stateful set `web` in the namespace `shop`");
        assert_eq!((container.as_deref(), policy.rollback), (Some("app"), true));
    }
    for (targets, why) in [
        ("a: {at: k8s}", "targets.a: no `workload` is given"),
        ("a: {at: k8s, kind: deployment, name: web}", "targets.a: no `namespace` is given"),
        ("a: {at: k8s, workload: web}", "targets.a.workload: `web` names no workload"),
        ("a: {at: k8s, workload: shop/job/web}", "targets.a.workload: there is no kind `job` of workloads"),
        ("a: {at: k8s, namespace: shop, kind: pod, name: web}", "targets.a.kind"),
        ("a: {at: k8s, namespace: ../x, kind: deployment, name: web}", "`../x` cannot be the name"),
        (
            "a: {at: k8s, workload: shop/deployment/web, name: web}",
            "targets.a.name: `workload` says this already",
        ),
        (
            "a: {at: k8s, stack: shop, workload: shop/deployment/web}",
            "a target on a kubernetes system has no `stack`",
        ),
        (
            "a: {at: k8s, workload: shop/deployment/web, takes: 2s}",
            "a target on a kubernetes system has no `takes`",
        ),
        (
            "a: {at: k8s, workload: shop/deployment/web}, b: {at: same, workload: shop/deployment/web, container: b}",
            "the deployment `web` in the namespace `shop` is already the target `targets.a`",
        ),
    ] {
        let faults = read(&format!("{systems}targets: {{{targets}}}")).err().unwrap_or_default();
        assert!(faults.contains(why), "{targets}\n---\n{faults}");
    }
    let faults = read(
        "systems: {s: {kind: swarm, host: 'unix:///s'}}\ntargets: {a: {at: s, service: x, workload: y}}",
    );
    assert!(faults.err().unwrap().contains("a target on a swarm system has no `workload`"));
}

/// With a kubeconfig in place of the path of one.
#[test]
fn the_guide_to_kubernetes_shows_what_can_be_read() {
    let guide = include_str!("../../../docs/kubernetes.md");
    let example = guide.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let kubeconfig = r#"kubeconfig: '{"contexts":[{"name":"production","context":{"cluster":"c","user":"u"}}],"clusters":[{"name":"c","cluster":{"server":"https://k:6443"}}],"users":[{"name":"u","user":{"token":"t"}}]}'"#;
    let typed = example.replace("kubeconfig_file: /run/secrets/kubeconfig", kubeconfig);
    assert_ne!(typed, example);
    let settings = read(&typed).unwrap();
    let named: Vec<String> = settings.targets.iter().map(|target| format!("{:?}", target.kind)).collect();
    assert_eq!(named.len(), 2);
    assert!(named[1].contains(r#"container: Some("migrate")"#), "{named:?}");
}
