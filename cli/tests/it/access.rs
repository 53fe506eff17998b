//! Tokens and users as they are made by hand.

use std::{os::unix::fs::PermissionsExt, time::Instant};

use crate::{shell::Shell, up::Running};

const CONFIGURATION: &str = "access: {tokens_file: here/tokens.yaml, users_file: here/users.yaml}\n";

#[test]
fn a_token_is_shown_once_and_listed_without_it() {
    let shell = Shell::new();
    shell.write("longshore.yaml", CONFIGURATION);
    let made =
        shell.run("token create ci --target web-* --operation set-image --config longshore.yaml").ended(0);
    // A path in a configuration is looked for from here: where that was, a new file says.
    let whole = shell.folder().canonicalize().unwrap().join("here/tokens.yaml");
    assert!(made.stderr.contains(&format!("`{}` is new", whole.display())), "{}", made.stderr);
    let token = made.stdout.lines().next().unwrap().to_owned();
    assert!(token.starts_with("lsh_") && token.len() > 60, "{}", made.stdout);
    let kept = std::fs::read_to_string(shell.folder().join("here/tokens.yaml")).unwrap();
    assert!(!kept.contains(token.rsplit('_').next().unwrap()), "{kept}");
    let listed = shell.run("token list --config longshore.yaml").ended(0);
    listed.said(&["ci", "web-*", "set-image"]);
    let json = shell.run("token list --config longshore.yaml --json").ended(0);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((&json[0]["name"], &json[0]["expired"]), (&"ci".into(), &false.into()));
    assert!(json[0].get("hash").is_none() && json[0]["expires_at"].is_string(), "{json}");
    shell.run("check --config longshore.yaml").ended(0);
    shell.run("token revoke ci --config longshore.yaml").ended(0);
    shell.run("token list --config longshore.yaml").ended(0).said(&["there is no token"]);
}

#[test]
fn a_token_without_a_scope_is_not_made() {
    let shell = Shell::new();
    shell.write("longshore.yaml", CONFIGURATION);
    for (typed, words) in [
        ("ci --operation read", "--target"),
        ("ci --target web", "--operation"),
        ("ci --target web --operation deploy", "set-image"),
        ("ci --target a/b/c --operation read", "is no pattern"),
        ("c/i --target web --operation read", "is no name"),
        ("ci --target web --operation read --expires soon", "30s"),
        ("ci --target web --operation read --expires 0s", "never"),
    ] {
        let ran = shell.run(&format!("token create {typed} --config longshore.yaml")).ended(2);
        assert!(ran.stderr.contains(words), "{typed}: {}", ran.stderr);
    }
    assert!(!shell.folder().join("here/tokens.yaml").exists());
    let nowhere = Shell::new().run("token create ci --target web --operation read").ended(2);
    assert!(nowhere.stderr.contains("--config"), "{}", nowhere.stderr);
}

#[test]
fn a_token_for_a_source_that_is_not_there_is_made_and_says_so() {
    let shell = Shell::new();
    shell.write(
        "longshore.yaml",
        &format!("{CONFIGURATION}sources: {{hub: {{kind: plain, key: k, loopback_only: true}}}}\n"),
    );
    for (name, source, is_known) in [("a", "hub", true), ("b", "h*", true), ("c", "hbu", false)] {
        let typed = format!("token create {name} --source {source} --config longshore.yaml");
        let made = shell.run(&typed).ended(0);
        assert_eq!(
            made.stderr.contains(&format!("no source is called `{source}`")),
            !is_known,
            "{}",
            made.stderr
        );
    }
}

#[test]
fn a_file_of_tokens_that_cannot_be_used_is_told_with_its_line() {
    let shell = Shell::new();
    shell.write("longshore.yaml", CONFIGURATION);
    shell.write("here/tokens.yaml", "version: 1\ntokens:\n  abc: {nme: x}\n");
    for command in ["check", "token list"] {
        let ran = shell.run(&format!("{command} --config longshore.yaml")).ended(2);
        assert!(ran.stderr.contains("here/tokens.yaml:3"), "{}", ran.stderr);
    }
}

#[test]
fn a_user_is_entered_with_a_password_that_stands_nowhere() {
    let shell = Shell::new();
    shell.write("longshore.yaml", CONFIGURATION);
    shell.write("password", "a password of hers\n");
    let add = "user add Anna --role approver --target web* --password-file password --config longshore.yaml";
    shell.run(add).ended(0).said(&["added", "Anna"]);
    let again = shell.run(add).ended(2);
    assert!(again.stderr.contains("there is a user `anna` already"), "{}", again.stderr);
    shell.run("user list --config longshore.yaml").ended(0).said(&["anna", "approver", "web*"]);
    let kept = std::fs::read_to_string(shell.folder().join("here/users.yaml")).unwrap();
    assert!(kept.contains("$argon2id$") && !kept.contains("password of hers"), "{kept}");
    assert!(shell.run("user list --config longshore.yaml").ended(0).stderr.is_empty());
    shell.run("user role ANNA viewer --config longshore.yaml").ended(0).said(&[
        "viewer",
        "web*",
        "stay logged in",
    ]);
    shell.run("user role anna deployer --target office/* --config longshore.yaml").ended(0);
    shell.run("user list --config longshore.yaml").ended(0).said(&["anna", "deployer", "office/*"]);
    for (wrong, words) in
        [("anna captain", "viewer"), ("bert viewer", "user list"), ("anna viewer --target a/b/c", "pattern")]
    {
        let ran = shell.run(&format!("user role {wrong} --config longshore.yaml")).ended(2);
        assert!(ran.stderr.contains(words), "{wrong}: {}", ran.stderr);
    }
    shell.run("user disable anna --config longshore.yaml").ended(0);
    shell.run("user list --config longshore.yaml").ended(0).said(&["disabled"]);
    shell.run("check --config longshore.yaml").ended(0);
    // Nothing is piped in, and nothing can be typed.
    let none = shell.run("user passwd anna --config longshore.yaml").ended(2);
    assert!(none.stderr.contains("there is no password"), "{}", none.stderr);
    shell.write("password", "short");
    let short = shell.run("user passwd anna --password-file password --config longshore.yaml").ended(2);
    assert!(short.stderr.contains("fewer than 10"), "{}", short.stderr);
    for command in ["disable", "remove"] {
        let unknown = shell.run(&format!("user {command} bert --config longshore.yaml")).ended(2);
        assert!(unknown.stderr.contains("longshore user list"), "{}", unknown.stderr);
    }
    shell.run("user remove Anna --config longshore.yaml").ended(0).said(&["removed", "every session"]);
    shell.run("user list --config longshore.yaml").ended(0).said(&["there is no user"]);
}

/// A Longshore with the user `anna`, and a shell of hers on another machine.
fn with_a_user() -> (Shell, Running, Shell) {
    let there = Shell::new();
    there.write(
        "longshore.yaml",
        "systems: {lab: {kind: rehearsal}}\ntargets: {web: {at: lab, takes: 10ms, follow: \"acme/web:*\"}}\n",
    );
    there.write("password", "a password of hers\n");
    there.run("user add anna --role viewer --password-file password --config longshore.yaml").ended(0);
    let mut running = Running::start(&there, "--config longshore.yaml");
    let here = Shell::new().with("LONGSHORE_URL", &running.url());
    let home = here.folder().to_str().unwrap().to_owned();
    here.write("password", "a password of hers\n");
    (there, running, here.with("HOME", &home))
}

#[test]
fn who_logs_in_once_goes_on_without_a_token() {
    let (there, _running, here) = with_a_user();
    let without = here.run("jobs").ended(5);
    assert!(without.stderr.contains(" login`"), "{}", without.stderr);
    here.write("wrong", "another password\n");
    here.run("login anna --password-file wrong").ended(5).said(&["no user has this name and password"]);
    here.run("login --password-file password").ended(2).said(&["longshore login anna"]);
    here.run("jobs").ended(5);

    let begun = here.run("login Anna --password-file password").ended(0).said(&["logged in as `"]);
    let folder = here.folder().join(".config/longshore/sessions");
    let kept: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(std::fs::metadata(&kept[0]).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&kept[0]).unwrap();
    assert!(!text.contains("password of hers") && !begun.stdout.contains("lss_"), "{text}");
    here.run("jobs").ended(0);
    here.run("targets").ended(0).said(&["acme/web"]);
    // A viewer stays one.
    here.run("deploy web --image acme/web:2").ended(5).said(&["set-image"]);
    // A token goes before the session.
    let with = |words: &str| {
        let url = text.split("\"url\":\"").nth(1).unwrap().split('"').next().unwrap();
        let home = here.folder().to_str().unwrap();
        Shell::new()
            .with("LONGSHORE_URL", url)
            .with("HOME", home)
            .with("LONGSHORE_TOKEN", "lsh_no")
            .run(words)
    };
    with("jobs").ended(5).said(&["the token came from LONGSHORE_TOKEN"]);

    here.run("logout").ended(0).said(&["logged out `"]);
    assert!(!kept[0].exists());
    here.run("jobs").ended(5);
    here.run("logout").ended(2).said(&["nobody is logged in"]);
    // What was kept goes on with nothing.
    std::fs::write(&kept[0], &text).unwrap();
    here.run("jobs").ended(5).said(&["the session was ended", " login`"]);
    drop(there);
}

#[test]
fn a_session_ends_where_its_user_is_kept_out() {
    let (there, _running, here) = with_a_user();
    here.run("login anna --password-file password").ended(0);
    here.run("jobs").ended(0);
    there.run("user disable anna --config longshore.yaml").ended(0);
    let began = Instant::now();
    while here.run("jobs").code == 0 {
        assert!(began.elapsed().as_secs() < 20, "the session goes on");
    }
    here.run("jobs").ended(5).said(&[" login`"]);
}
