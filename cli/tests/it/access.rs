//! Tokens and users as they are made by hand.

use crate::shell::Shell;

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
    ] {
        let ran = shell.run(&format!("token create {typed} --config longshore.yaml")).ended(2);
        assert!(ran.stderr.contains(words), "{typed}: {}", ran.stderr);
    }
    assert!(!shell.folder().join("here/tokens.yaml").exists());
    let nowhere = Shell::new().run("token create ci --target web --operation read").ended(2);
    assert!(nowhere.stderr.contains("--config"), "{}", nowhere.stderr);
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
