//! The help texts, and what is typed wrongly.

use crate::shell::Shell;

const COMMANDS: &[&str] = &[
    "",
    "up",
    "ingress",
    "worker",
    "init",
    "hook url",
    "hook send",
    "check",
    "explain",
    "deploy",
    "plan",
    "watch",
    "jobs",
    "job show",
    "job approve",
    "targets",
    "target show",
    "target rollback",
    "target start",
    "target stop",
    "target restart",
    "stack deploy",
    "stack remove",
    "stack show",
    "stack start",
    "stack stop",
    "stack restart",
    "stack redeploy",
    "prune",
    "login",
    "logout",
    "token create",
    "token list",
    "token revoke",
    "user add",
    "user passwd",
    "user disable",
    "user enable",
    "user role",
    "user remove",
    "user list",
    "broker setup",
];

#[test]
fn every_command_teaches_with_an_example() {
    for command in COMMANDS {
        let ran = Shell::new().run(&format!("{command} --help")).ended(0);
        assert!(
            ran.stdout.contains(&format!("  longshore {command}").trim_end().to_owned()),
            "{}",
            ran.stdout
        );
        assert!(ran.stdout.contains("Usage:"), "{}", ran.stdout);
        for inner in ["slot", "fence", "verdict", "rung", "chain"] {
            assert!(!ran.stdout.contains(inner), "`{inner}` in the help of `{command}`");
        }
    }
}

#[test]
fn the_exit_codes_are_told() {
    Shell::new().run("--help").ended(0).said(&["LONGSHORE_URL", "./longshore-data", "124  the wait ended"]);
    Shell::new().run("deploy --help").ended(0).said(&["rolled back", "124  the wait ended"]);
}

#[test]
fn what_is_typed_wrongly_is_told_before_anything_connects() {
    for (typed, words) in [
        ("", "Usage:"),
        ("deply", "deploy"),
        ("deploy web", "--image"),
        ("deploy we.b --image a:1", "`we.b` is no name"),
        ("deploy web --image nginx", "names no tag and no digest"),
        ("deploy web --image a:1 --timeout 5s", "--wait"),
        ("deploy web --image a:1 --wait --timeout 5", "30s"),
        ("deploy web --image a:1 --token lsh_x", "--token"),
        ("job show 1", "nor the name of a dead letter"),
        ("jobs --state done", "rolled-back"),
        ("jobs --limit 0", "1..=500"),
        ("jobs --limit 501", "1..=500"),
        ("up --listen localhost:8080", "an IP address and a port"),
        ("worker", "--config"),
        ("plan web", "--image"),
        ("plan web --stop --start", "cannot be used with"),
        ("plan web --stop --env TAG=2", "--file"),
        ("plan web --stop --service api", "cannot be used with"),
        ("prune web --older-than 5", "30s"),
        ("target rollback web --to 1", "--to"),
        ("explain", "<IMAGE|@FILE>"),
        ("explain @none.json --source github", "cannot read `none.json`"),
        ("explain acme/web:1 --source github", "an image has no sender"),
        ("explain acme/web:1 --config x", "cannot read x"),
        ("broker setup", "--config"),
        ("broker setup --config x --diun d", "--print"),
        ("stack stop", "<TARGET>"),
        ("stack deploy shop", "--file"),
        ("stack deploy shop --file none.yml", "cannot read `none.yml`"),
    ] {
        Shell::new().run(typed).ended(2).said(&[words]);
    }
}

/// Which target takes an image is known to a server as well as to a configuration.
#[test]
fn an_image_that_is_explained_without_a_configuration_is_asked_of_the_server() {
    Shell::new().run("explain acme/web:1").ended(7).said(&["LONGSHORE_URL"]);
}
