//! `longshore broker setup --print`: what a person runs where the broker runs.

use crate::shell::Shell;

const TEXT: &str = "\
queue: {amqp: rabbit, user: longshore, password_file: /nowhere/at/all, vhost: ci}
access:
  amqp:
    shop-ci: {targets: \"shop-*\"}
";

#[test]
fn the_commands_are_printed_without_a_broker_and_without_a_password() {
    let shell = Shell::new();
    shell.write("l.yaml", TEXT);
    let ran = shell.run("broker setup --config l.yaml --print --publisher bot").ended(0);
    let commands: Vec<&str> =
        ran.stdout.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert_eq!(
        commands,
        [
            "rabbitmqctl add_vhost ci",
            "rabbitmqctl add_user longshore",
            r"rabbitmqctl set_permissions -p ci longshore '^longshore\.' '^(longshore\..*|amq\.default)$' '^longshore\.'",
            "rabbitmqctl add_user shop-ci",
            r"rabbitmqctl set_permissions -p ci shop-ci '^$' '^longshore\.intake$' '^$'",
            "rabbitmqctl set_user_tags shop-ci",
            "rabbitmqctl add_user bot",
            r"rabbitmqctl set_permissions -p ci bot '^$' '^longshore\.intake$' '^$'",
            "rabbitmqctl set_user_tags bot",
        ]
    );
    let ran = shell.run("broker setup --config l.yaml --print --json").ended(0);
    let steps: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(steps[0]["command"], serde_json::json!(["rabbitmqctl", "add_vhost", "ci"]));
}

#[test]
fn without_a_broker_in_the_configuration_there_is_nothing_to_set_up() {
    let shell = Shell::new();
    shell.write("none.yaml", "version: 1\n");
    shell.write("half.yaml", "queue: {amqp: rabbit}\n");
    shell.run("broker setup --config none.yaml --print").ended(2).said(&["names no broker", "queue: {amqp"]);
    shell
        .run("broker setup --config half.yaml --print")
        .ended(2)
        .said(&["half.yaml:1:", "`user` is missing"]);
    shell.run("broker setup --config none.yaml").ended(2).said(&["embedded", "RabbitMQ"]);
}

#[test]
fn the_guide_says_what_the_command_prints_and_its_configuration_is_sound() {
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/intake.md")).unwrap();
    let example = guide.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let shell = Shell::new();
    shell.write("l.yaml", &format!("queue: {{amqp: rabbit, user: longshore, password: p}}\n{example}"));
    shell.run("check --config l.yaml").ended(0);
    let ran = shell.run("broker setup --config l.yaml --print").ended(0);
    let by_hand = r"rabbitmqctl set_permissions -p / shop-ci '^$' '^longshore\.intake$' '^$'";
    assert!(guide.contains(by_hand) && ran.stdout.contains(by_hand), "{}", ran.stdout);
    assert!(ran.stdout.contains("rabbitmqctl add_user ops"), "{}", ran.stdout);
}
