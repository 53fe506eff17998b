mod sources;

use super::*;

const TEXT: &str = r#"
listen: 0.0.0.0:9000
hooks_listen: 0.0.0.0:9001
public_url: https://deploy.acme.cn/
sources:
  hub: {kind: plain, key: k1-of-16-letters}
  acr: {kind: aliyun-acr, authorization: "Basic Y2k6b3BlbiBzZXNhbWU=", registry: registry.acme.cn:5000}
systems:
  swarm: {kind: swarm, host: "${NOT_SET_ANYWHERE}", api_key_file: /nowhere/at/all}
  far: {kind: rancher, pool: office, token_file: /nowhere/at/all}
targets:
  blog: {at: swarm, service: blog_web, follow: "acme/blog:latest", some_key_of_a_worker: 7}
  shop: {at: far, follow: ["a/b:*", {image: a/c, tags: {exact: "1"}}], deadline: 30m}
  bare: {at: far}
access: {admin_token: t}
ingress: {overdue_after: 20m, resend_after: 40m}
"#;

fn read(text: &str) -> Result<Settings, Vec<(String, String)>> {
    let mut faults = Faults::new();
    let document = Document::parse("l.yaml", text).unwrap();
    let settings = Settings::read(&document, &mut faults);
    assert_eq!(settings.is_none(), !faults.is_empty(), "{faults}");
    let told = faults.iter().map(|fault| (fault.path.clone(), fault.message.clone())).collect();
    settings.ok_or(told)
}

#[test]
fn the_contract_form_is_read_and_nothing_of_the_workers_is_opened() {
    let settings = read(TEXT).unwrap();
    assert_eq!(settings.listen().to_string(), "0.0.0.0:9000");
    assert_eq!(settings.hooks_listen().unwrap().to_string(), "0.0.0.0:9001");
    assert_eq!(settings.public_url(), Some("https://deploy.acme.cn"));
    let told: Vec<_> = settings
        .declared
        .iter()
        .map(|t| (t.name.to_string(), t.at.clone(), t.follows.len(), t.deadline.as_secs()))
        .collect();
    let expected = [
        ("default/blog".to_owned(), "swarm".to_owned(), 1, 3600),
        ("office/bare".to_owned(), "far".to_owned(), 0, 3600),
        ("office/shop".to_owned(), "far".to_owned(), 2, 1800),
    ];
    assert_eq!(told, expected);
    assert_eq!(settings.sources["acr"].rules.registry.as_deref(), Some("registry.acme.cn:5000"));
    assert!(!settings.access.is_closed());
    assert_eq!((settings.overdue_after.as_secs(), settings.resend_after.as_secs()), (1200, 2400));
}

#[test]
fn an_empty_file_is_a_closed_ingress_on_this_machine() {
    let settings = read("{}").unwrap();
    assert_eq!(settings.listen().to_string(), "127.0.0.1:8080");
    assert!(settings.sources.is_empty() && settings.access.is_closed());
    assert_eq!((settings.overdue_after.as_secs(), settings.resend_after.as_secs()), (600, 1200));
}

#[test]
fn every_fault_is_told_at_once_with_its_place() {
    let text = r#"
listen: localhost
public_url: deploy.acme.cn
sources:
  none: {kind: plain}
  both: {kind: plain, key: k, open: true}
  kindless: {key: k}
  other: {kind: dockerhob, key: k}
  typo: {kind: plain, kee: k, open: true}
  "a/b": {kind: plain, key: k}
  host: {kind: distribution, key: k, registry: nohost}
systems:
  env: {pool: "${POOL}"}
  bad: {pool: "a b"}
  s: {}
targets:
  a: {follow: "x:1"}
  b: {at: nowhere}
  c: {at: env}
  d: {at: bad}
  e: {at: s, follow: [x, "X:1"], deadline: 25h}
  f: {at: s, deadline: 0s, follow: {image: x, tags: {glob: "a b"}}}
  g.h: {at: s}
access: {tokens: x}
ingress: {overdue_after: 0s, resend_after: 0s}
"#;
    let faults = read(text).unwrap_err();
    let paths: Vec<&str> = faults.iter().map(|(path, _)| path.as_str()).collect();
    let expected = [
        "listen",
        "public_url",
        "sources.none",
        "sources.both",
        "sources.kindless",
        "sources.other.kind",
        "sources.typo.kee",
        "sources.a/b",
        "sources.host.registry",
        "systems.env.pool",
        "systems.bad.pool",
        "targets.a",
        "targets.b.at",
        "targets.e.follow[0]",
        "targets.e.follow[1]",
        "targets.e.deadline",
        "targets.f.follow",
        "targets.f.deadline",
        "targets[\"g.h\"]",
        "access.tokens",
        "ingress.overdue_after",
        "ingress.resend_after",
    ];
    for path in expected {
        assert!(paths.contains(&path), "{path} is missing in {faults:#?}");
    }
    assert_eq!(paths.len(), expected.len(), "{faults:#?}");
}

#[test]
fn what_is_wrong_with_one_source_hides_nothing_of_another() {
    let text = "sources:\n  p: {kind: poll, evry: 3}\n  q: {kind: poll, every: often}\n  s: {kind: plain, kee: k, open: true}\n";
    let faults = read(text).unwrap_err();
    let paths: Vec<&str> = faults.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["sources.p.evry", "sources.q.every", "sources.s.kee"]);
}

#[test]
fn a_fault_says_how_it_is_mended() {
    let text = "limits: {clients: 5}\nsystems: {s: {}}\ntargets:\n  a: {at: s, follow: {image: \"acme/web:1\", tags: {exact: \"1\"}}}\n";
    let mut faults = Faults::new();
    assert!(Settings::read(&Document::parse("l.yaml", text).unwrap(), &mut faults).is_none());
    let told: Vec<_> = faults.iter().map(|fault| (fault.path.as_str(), fault.hint.as_deref())).collect();
    let expected = [
        ("limits.clients", Some("write its keys below it, or `{key: value}`")),
        ("targets.a.follow.image", Some("write the repository alone, `tags` says which of its tags")),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_target_may_be_written_with_its_systems_pool_and_no_other() {
    let text = |key: &str| {
        format!(
            "systems: {{far: {{pool: office}}, near: {{}}}}\ntargets: {{\"{key}\": {{at: far}}, default/b: {{at: near}}}}"
        )
    };
    let names: Vec<_> =
        read(&text("office/shop")).unwrap().declared.iter().map(|t| t.name.to_string()).collect();
    assert_eq!(names, ["default/b", "office/shop"]);
    for (key, why) in [("default/shop", "belongs to the pool `office`, not `default`"), ("a/b/c", "")] {
        let faults = read(&text(key)).unwrap_err();
        assert_eq!(faults.len(), 1, "{key}: {faults:?}");
        assert!(faults[0].1.contains(why), "{faults:?}");
    }
}

#[test]
fn a_wrong_name_comes_with_a_hint() {
    for text in ["systems: {s: {}}\ntargets: {a.b: {at: s}}", "sources: {a.b: {kind: plain, key: k}}"] {
        let document = Document::parse("l.yaml", text).unwrap();
        let mut faults = Faults::new();
        assert!(Settings::read(&document, &mut faults).is_none());
        assert!(faults.to_string().contains("\n  hint: rename the "), "{faults}");
    }
}

#[test]
fn one_fault_anywhere_is_no_settings() {
    for text in ["sources: {s: {kind: plain}}", "sources: {a.b: {kind: plain, key: k}}"] {
        assert_eq!(read(text).unwrap_err().len(), 1, "{text}");
    }
}

#[test]
fn a_section_that_is_no_map_is_a_fault() {
    for text in ["sources: [x]", "targets: x", "access: x", "ingress: x"] {
        assert_eq!(read(text).unwrap_err().len(), 1, "{text}");
    }
}

#[test]
fn targets_are_held_back_as_they_say() {
    let text = r#"
systems: {s: {kind: rehearsal}}
targets:
  shop: {at: s, approve: true, window: [nights, holidays], min_age: 2h}
  blog: {at: s, window: "nights, holidays"}
  free: {at: s, approve: false}
windows:
  nights: {days: mon-fri, from: "20:00", to: "06:00", zone: Asia/Shanghai}
  holidays:
    - {freeze: true, from: 2026-12-20, to: 2027-01-04, zone: Europe/Berlin}
    - {freeze: true, days: [sat, sun], zone: UTC}
"#;
    let settings = read(text).unwrap();
    let target = |name: &str| settings.declared.get(&name.parse().unwrap()).unwrap().clone();
    let shop = target("shop");
    assert_eq!((shop.gates.approve, shop.gates.min_age_s), (true, Some(7200)));
    assert_eq!(shop.gates.window.as_deref(), Some("nights,holidays"));
    assert_eq!(shop.window.as_ref().map(|window| window.periods.len()), Some(3));
    assert_eq!(target("blog").window, shop.window);
    assert!(target("free").gates.is_open() && target("free").window.is_none());
}

#[test]
fn every_fault_of_a_window_is_told_where_it_stands() {
    let text = r#"
systems: {s: {kind: rehearsal}}
targets:
  a: {at: s, window: nihgts, min_age: 7d, approve: perhaps}
  b: {at: s, window: nights}
windows:
  nights: {from: "20:00", to: "06:00", zone: UTC}
"#;
    let told = read(text).unwrap_err();
    let paths: Vec<&str> = told.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["targets.a.window", "targets.a.min_age", "targets.a.approve"], "{told:?}");
    assert_eq!(told[0].1, "there is no window `nihgts`");
    let of = |window: &str| {
        let text = format!("windows:\n  w: {window}\n");
        let told = read(&text).unwrap_err();
        assert_eq!(told.len(), 1, "{told:?}");
        told[0].clone()
    };
    for (window, path, why) in [
        ("{from: \"20:00\", to: \"06:00\"}", "windows.w", "in which time zone"),
        ("{zone: Europe/Atlantis}", "windows.w.zone", "there is no time zone `Europe/Atlantis`"),
        ("{days: mon-foo, zone: UTC}", "windows.w.days", "`foo` is no day"),
        ("{from: \"20:00\", to: \"20:00\", zone: UTC}", "windows.w.to", "are the same time"),
        ("{from: \"26:00\", to: \"20:00\", zone: UTC}", "windows.w.from", "`26:00` is no time of day"),
        ("{from: \"20:00\", zone: UTC}", "windows.w", "together or not at all"),
        ("[{zone: UTC}, {from: 2026-12-20, to: 2026-12-01, zone: UTC}]", "windows.w[1].to", "is before"),
        ("{from: 2026-12-20, to: \"20:00\", zone: UTC}", "windows.w.to", "both times of day, or both dates"),
        ("{zone: UTC, day: mon}", "windows.w.day", "day"),
        ("always", "windows.w", "expected the times of a window"),
        ("{freeze: maybe, zone: UTC}", "windows.w.freeze", ""),
    ] {
        let (place, message) = of(window);
        assert!(place == path && message.contains(why), "{window}: {place} {message}");
    }
}

#[test]
fn access_is_read_whole() {
    let settings = read(
        r#"
access:
  tokens_file: /nowhere/tokens.yaml
  users_file: /nowhere/users.yaml
  session_key: "0123456789abcdef0123456789abcdef"
  registration: {role: viewer}
  oidc:
    github: {kind: github, audience: a, rules: [{claims: {repository: acme/web}, targets: [web], operations: [read]}]}
    gitlab: {kind: gitlab, issuer: "https://gitlab.acme.cn", audience: a, rules: [{claims: {project_path: [a/b, "c/*"]}, sources: [ci]}]}
"#,
    )
    .unwrap();
    let access = &settings.access;
    assert!(access.tokens_file.is_some() && access.users_file.is_some() && access.session_key.is_some());
    assert_eq!(access.registration.as_ref().map(|(_, targets)| targets.join(",")), Some("*".to_owned()));
    let issuers: Vec<_> = access.issuers.iter().map(|issuer| (&*issuer.name, &*issuer.url)).collect();
    let github = ("github", "https://token.actions.githubusercontent.com");
    assert_eq!(issuers, [github, ("gitlab", "https://gitlab.acme.cn")]);
}

#[test]
fn what_would_let_in_too_many_is_a_fault() {
    let told = read(
        r#"
access:
  session_key: short
  registration: {role: admin}
  oidc:
    token: {kind: github, audience: a, rules: [{claims: {ref: refs/heads/main}, targets: [web], operations: [deploy]}]}
    plain: {kind: other, issuer: "http://issuer.acme.cn", audience: " ", rules: []}
"#,
    )
    .unwrap_err();
    let paths: Vec<&str> = told.iter().map(|(path, _)| path.as_str()).collect();
    let expected = [
        "access.session_key",
        "access.registration",
        "access.oidc.token",
        "access.oidc.token.rules[0]",
        "access.oidc.token.rules[0].claims",
        "access.oidc.plain.issuer",
        "access.oidc.plain.audience",
        "access.oidc.plain.rules",
    ];
    assert_eq!(paths, expected, "{told:?}");
}

#[test]
fn what_users_of_the_broker_may_is_read_with_every_fault() {
    let text = "access:\n  amqp:\n    ci: {targets: \"shop-*, office/*\", operations: [set-image, restart]}\n    \
                bot: {targets: [web]}\n";
    let settings = read(text).unwrap();
    assert_eq!(settings.publishers(), ["bot", "ci"]);
    let target = "office/web".parse().unwrap();
    let may = |user: &str| settings.publishers.get(user).unwrap().allows("restart", &target);
    assert!(may("ci") && !may("bot"));
    assert!(settings.publishers.get("else").is_none());
    for (entry, fault) in [
        ("{}", "targets"),
        ("{targets: []}", "no target is named"),
        ("{targets: \"a b\"}", "`a b` is no pattern for targets"),
        ("{targets: web, operations: deploy}", "there is no operation `deploy`"),
        ("{targets: web, operations: []}", "no operation is named"),
        ("{targets: web, password: x}", "unknown key `password`"),
        ("web", "expected"),
    ] {
        let faults = read(&format!("access: {{amqp: {{ci: {entry}}}}}")).unwrap_err();
        assert!(faults.iter().any(|(_, message)| message.contains(fault)), "{entry}: {faults:?}");
    }
}

/// A configuration with a target that follows so.
fn following(follow: &str) -> String {
    format!("systems: {{s: {{kind: rehearsal}}}}\ntargets: {{shop: {{at: s, follow: {follow}}}}}")
}

#[test]
fn versions_and_expressions_are_followed_as_they_are_written() {
    let told = |follow: &str| {
        let settings = read(&following(follow)).unwrap();
        let shop = settings.declared.get(&"shop".parse().unwrap()).unwrap();
        (shop.follows[0].to_string(), shop.follows[0].is_upward_only())
    };
    let of_the_design = r#"{image: harbor.acme.lan/shop/web, tags: {semver: ">=1.4, <2"}}"#;
    assert_eq!(told(of_the_design), ("harbor.acme.lan/shop/web (semver >=1.4, <2)".to_owned(), true));
    let down = r#"{image: a/b, tags: {semver: "^1.4"}, allow_downgrade: true}"#;
    assert_eq!(told(down), ("a/b (semver ^1.4)".to_owned(), false));
    let expression = r#"{image: a/b, tags: {regex: "release-(?<build>[0-9]+)"}}"#;
    assert_eq!(told(expression), ("a/b (regex release-(?<build>[0-9]+))".to_owned(), false));
}

#[test]
fn a_wrong_rule_for_tags_is_told_with_how_to_write_it() {
    for (follow, why, hint) in [
        (
            r#"{image: a/b, tags: {semver: latest}}"#,
            "`latest` is no range of versions",
            "write `tags: {semver: ",
        ),
        (r#"{image: a/b, tags: {semver: ">=1 <2"}}"#, "is no range of versions", "separated by commas"),
        (r#"{image: a/b, tags: {regex: "v(["}}"#, "`v([` is no regular expression", "match the whole tag"),
        (r#"{image: a/b, tags: {regex: "((a{999}){999}){9}"}}"#, "is too large", "match the whole tag"),
        (
            r#"{image: a/b, tags: {glob: "1.*"}, allow_downgrade: true}"#,
            "belongs to `semver`",
            "leave `allow_downgrade`",
        ),
        (r#"{image: a/b, tags: {semvar: "1.*"}}"#, "unknown value `semvar`", "did you mean `semver`?"),
    ] {
        let document = Document::parse("l.yaml", &following(follow)).unwrap();
        let mut faults = Faults::new();
        assert!(Settings::read(&document, &mut faults).is_none(), "{follow}");
        let told = faults.to_string();
        assert!(
            told.starts_with("l.yaml:2:") && told.contains(why) && told.contains(hint),
            "{follow}: {told}"
        );
        assert_eq!(told.matches("l.yaml").count(), 1, "{told}");
    }
}
