//! Users of the broker, and the commands that make them.

use serde::Serialize;

use super::Named;

/// A command for the broker's machine.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Step {
    /// What it is for.
    pub(super) why: String,
    /// The program and its arguments.
    pub(super) command: Vec<String>,
}

/// What a user may do: patterns of names that it may declare, write to, and read from.
struct Rights {
    configure: String,
    write: String,
    read: String,
}

/// Who is to use the broker beside Longshore's own processes.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// May publish to the intake.
    pub(super) publishers: Vec<String>,
    /// May listen to events.
    pub(super) subscribers: Vec<String>,
    /// Diun's user.
    pub(super) diun: Option<String>,
}

/// Matches no name.
const NOTHING: &str = "^$";

/// Everything that is to be done, in this order. A step that was done before fails, and harms nothing.
pub(super) fn steps(broker: &Named, others: &Others) -> Vec<Step> {
    let prefix = escaped(&broker.prefix);
    let mut steps = Vec::new();
    if broker.vhost != "/" {
        steps.push(step("the virtual host", &["add_vhost", &broker.vhost]));
    }
    let own = Rights {
        configure: format!("^{prefix}\\."),
        // Markers go through the default exchange.
        write: format!("^({prefix}\\..*|amq\\.default)$"),
        read: format!("^{prefix}\\."),
    };
    let why = format!("{}, as whom Longshore's own processes log in", broker.user);
    steps.extend(user(broker, &broker.user, why, &own));
    let intake = format!("^{prefix}\\.intake$");
    for name in &others.publishers {
        let rights =
            Rights { configure: NOTHING.to_owned(), write: intake.clone(), read: NOTHING.to_owned() };
        let why = format!("{name}, who may publish to {}.intake and nothing else", broker.prefix);
        steps.extend(user(broker, name, why, &rights));
        steps.push(no_tags(name));
    }
    for name in &others.subscribers {
        let own = format!("amq\\.gen-.*|{}\\..*", escaped(name));
        let rights = Rights {
            configure: format!("^({own})$"),
            write: format!("^({own})$"),
            read: format!("^({prefix}\\.events|{own})$"),
        };
        let why = format!(
            "{name}, who may listen to {}.events through queues of its own, `{name}.…` or unnamed ones",
            broker.prefix
        );
        steps.extend(user(broker, name, why, &rights));
    }
    if let Some(name) = &others.diun {
        let configure = format!("^{}$", escaped(name));
        let rights = Rights { configure, write: intake, read: NOTHING.to_owned() };
        let elsewhere = match broker.vhost.as_str() {
            "/" => "",
            _ => "; note that Diun's own notifier only knows the virtual host /",
        };
        let why = format!(
            "{name}, who may publish to {}.intake and declare a queue `{name}`, as Diun does{elsewhere}",
            broker.prefix
        );
        steps.extend(user(broker, name, why, &rights));
        steps.push(no_tags(name));
    }
    steps
}

/// Whoever has the tag `impersonator` publishes in anybody's name, Longshore's too.
fn no_tags(name: &str) -> Step {
    step(
        "no tags: with `impersonator`, messages could be given Longshore's own name",
        &["set_user_tags", name],
    )
}

fn user(broker: &Named, name: &str, why: String, rights: &Rights) -> [Step; 2] {
    let Rights { configure, write, read } = rights;
    [
        step(&format!("{why}; asks for the password"), &["add_user", name]),
        step(
            "what they may declare, write to, and read",
            &["set_permissions", "-p", &broker.vhost, name, configure, write, read],
        ),
    ]
}

fn step(why: &str, arguments: &[&str]) -> Step {
    let command = ["rabbitmqctl"].iter().chain(arguments).map(|&word| word.to_owned()).collect();
    Step { why: why.to_owned(), command }
}

/// The steps as a script for `sh`.
pub(super) fn script(broker: &Named, steps: &[Step]) -> String {
    let mut text = format!(
        "# Users of the broker for Longshore, in the virtual host {}. Run it where rabbitmqctl reaches the broker, from a file:\n\
         # passwords are read from standard input, or as in `rabbitmqctl add_user NAME < NAME.password`.\n\
         # What is there already is told, and left as it is; permissions and tags are set anew.\n",
        commented(&broker.vhost)
    );
    for Step { why, command } in steps {
        let words: Vec<String> = command.iter().map(|word| quoted(word)).collect();
        text.push_str(&format!("\n# {}\n{}\n", commented(why), words.join(" ")));
    }
    text
}

/// A comment ends with its line.
fn commented(text: &str) -> String {
    text.replace(|c: char| c.is_control(), " ")
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    if !word.is_empty() && word.chars().all(plain) && !word.starts_with('-') {
        return word.to_owned();
    }
    if word == "-p" {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// A name as a pattern that matches nothing else.
fn escaped(name: &str) -> String {
    name.chars()
        .flat_map(|c| {
            let special = "\\.^$|()[]{}*+?".contains(c).then_some('\\');
            special.into_iter().chain([c])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(vhost: &str) -> Named {
        Named {
            user: "longshore".to_owned(),
            logins: vec!["dockers".to_owned()],
            vhost: vhost.to_owned(),
            prefix: "long.shore".to_owned(),
        }
    }

    #[test]
    fn a_publisher_may_write_to_the_intake_and_nothing_else() {
        let others = Others {
            publishers: vec!["bot".to_owned()],
            subscribers: vec!["page".to_owned()],
            diun: Some("diun".to_owned()),
        };
        let steps = steps(&named("ci"), &others);
        let told: Vec<String> = steps.iter().map(|step| step.command[1..].join(" ")).collect();
        assert_eq!(
            told,
            [
                "add_vhost ci",
                "add_user longshore",
                r"set_permissions -p ci longshore ^long\.shore\. ^(long\.shore\..*|amq\.default)$ ^long\.shore\.",
                "add_user bot",
                r"set_permissions -p ci bot ^$ ^long\.shore\.intake$ ^$",
                "set_user_tags bot",
                "add_user page",
                r"set_permissions -p ci page ^(amq\.gen-.*|page\..*)$ ^(amq\.gen-.*|page\..*)$ ^(long\.shore\.events|amq\.gen-.*|page\..*)$",
                "add_user diun",
                r"set_permissions -p ci diun ^diun$ ^long\.shore\.intake$ ^$",
                "set_user_tags diun",
            ]
        );
        assert_eq!(super::steps(&named("/"), &Others::default())[0].command[1], "add_user");
    }

    #[test]
    fn a_shell_reads_back_what_was_meant() {
        assert_eq!(quoted("web-1"), "web-1");
        assert_eq!(quoted("^$"), "'^$'");
        assert_eq!(quoted("it's; rm -rf /"), r"'it'\''s; rm -rf /'");
        assert_eq!(quoted(""), "''");
        let others = Others { publishers: vec!["b'c".to_owned()], ..Others::default() };
        let steps = steps(&named("a\nrm"), &others);
        let script = script(&named("a\nrm"), &steps);
        assert!(!script.lines().any(|line| line.starts_with("rm")) || script.contains("'a\nrm'"), "{script}");
        assert!(script.contains(r"rabbitmqctl add_user 'b'\''c'"), "{script}");
    }

    #[test]
    fn a_name_is_no_pattern() {
        assert_eq!(escaped("a.b+c"), r"a\.b\+c");
    }
}
