use std::collections::BTreeMap;
use std::env::VarError;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::*;
use crate::{Bytes, Document, Secret, Span};

fn lookup(name: &str) -> Result<String, VarError> {
    match name {
        "PORT" => Ok("8443".to_owned()),
        "TILDE" => Ok("~".to_owned()),
        "HOST" => Ok("swarm.example.org".to_owned()),
        "PASSWORD" => Ok("correct horse".to_owned()),
        _ => Err(VarError::NotPresent),
    }
}

fn read_text<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let document = Document::parse("l.yaml", text).unwrap();
    let mut faults = Faults::new();
    let value = read(document.root(), &lookup, &mut faults);
    assert_eq!(value.is_none(), !faults.is_empty(), "none exactly when there is a fault:\n{faults}");
    value.ok_or_else(|| faults.to_string())
}

fn faults_of<T: DeserializeOwned>(text: &str) -> String {
    read_text::<T>(text).err().expect("the text has faults")
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct System {
    host: Host,
    port: u16,
    password: Secret,
    #[serde(default)]
    tls: bool,
    every: Option<Span>,
    most: Option<Bytes>,
    users_file: Option<String>,
    #[serde(default)]
    when: Vec<State>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Succeeded,
    RolledBack,
    After(u16),
    Between { from: u16, to: u16 },
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
struct Host(String);

impl TryFrom<String> for Host {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.contains('.') {
            Ok(Self(text))
        } else {
            Err(format!("`{text}` is not a host\nhint: give its full name, as in `{text}.example.org`"))
        }
    }
}

type Systems = BTreeMap<String, System>;

#[test]
fn a_section_is_read_as_it_is_meant() {
    let text = "a:\n  host: ${HOST}\n  port: ${PORT}\n  password: ${PASSWORD}\n  tls: true\n  every: 1h30m\n  \
                most: 64KiB\n  users_file: access/users.yaml\n  when: [succeeded, {after: 3}, {between: {from: 1, to: 2}}]\n";
    let systems: Systems = read_text(text).unwrap();
    let expected = System {
        host: Host("swarm.example.org".to_owned()),
        port: 8443,
        password: Secret::new("correct horse"),
        tls: true,
        every: Some(Span(std::time::Duration::from_secs(5400))),
        most: Some(Bytes(65_536)),
        users_file: Some("access/users.yaml".to_owned()),
        when: vec![State::Succeeded, State::After(3), State::Between { from: 1, to: 2 }],
    };
    assert_eq!(systems["a"], expected);
}

#[test]
fn text_stays_as_typed() {
    let text = "a: 1.10\nb: true\nc: 007\nd: 0x10\ne: \"\"\nf: 'null'\n";
    let texts: BTreeMap<String, String> = read_text(text).unwrap();
    assert_eq!(texts.values().collect::<Vec<_>>(), ["1.10", "true", "007", "0x10", "", "null"]);
}

#[test]
fn a_variable_that_looks_like_nothing_is_text_and_an_empty_one_is_nothing() {
    let texts: BTreeMap<String, Option<String>> =
        read_text("a: ${TILDE}\nb: ${NONE:-}\nc: '${NONE:-}'\n").unwrap();
    assert_eq!(texts.into_values().collect::<Vec<_>>(), [Some("~".to_owned()), None, Some(String::new())]);
}

#[test]
fn plain_words_mean_what_yaml_says() {
    let text = "a: 1.5\nb: true\nc: 7\nd: 0x10\ne: ~\nf: -3\ng: '7'\nh: [1, x]\ni: 0o17\nj: 1.2.3\nk: +5\nl: .inf.\n";
    let values: serde_json::Value = read_text(text).unwrap();
    let expected = serde_json::json!({
        "a": 1.5, "b": true, "c": 7, "d": 16, "e": null, "f": -3, "g": "7", "h": [1, "x"], "i": 15, "j": "1.2.3",
        "k": 5, "l": ".inf.",
    });
    assert_eq!(values, expected);
}

#[test]
fn an_empty_section_is_an_empty_map_and_null_is_none() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Sections {
        systems: Systems,
        span: Option<Span>,
    }
    let sections: Sections = read_text("systems:\nspan: null\n").unwrap();
    assert_eq!(sections, Sections { systems: Systems::new(), span: None });
}

#[test]
fn every_fault_is_found_at_once() {
    let text = "a:\n  hots: a.b\n  port: many\n  tls: 'yes'\n  every: 30\nb:\n  host: ${NONE}\n  port: 70000\n  \
                password: [x]\n  when: [succeeded, roled-back, [1], {after: x}]\n  most: lots\nc: 7\nd: {}\n";
    assert_eq!(
        faults_of::<Systems>(text),
        "l.yaml:2:3: a.hots: unknown key `hots`\n  hint: did you mean `host`?\n\
         l.yaml:2:3: a: `host` is missing\n  hint: add `host: …` here\n\
         l.yaml:2:3: a: `password` is missing\n  hint: give `password_file`, the path of a file that holds it, or `password`\n\
         l.yaml:3:9: a.port: expected a whole number from 0 to 65535, found text\n  hint: write the digits alone, without quotes or a unit\n\
         l.yaml:4:8: a.tls: expected true or false, found text\n  hint: write `true` or `false`, without quotes\n\
         l.yaml:5:10: a.every: `30` is not a span of time\n  hint: give each number its unit, the greatest first: `30s`, `10m`, `1h30m`, `7d`, `250ms`\n\
         l.yaml:7:9: b.host: the environment variable NONE is not set\n  hint: set it where Longshore is started, or give a default: `${NONE:-…}`\n\
         l.yaml:8:9: b.port: expected a whole number from 0 to 65535, found `70000`\n\
         l.yaml:9:13: b.password: expected text, found a list\n  hint: write one text, in quotes where it holds a `:`\n\
         l.yaml:10:21: b.when[1]: unknown value `roled-back`\n  hint: did you mean `rolled-back`?\n\
         l.yaml:10:33: b.when[2]: expected one of the names known here, found a list\n\
         l.yaml:10:46: b.when[3].after: expected a whole number from 0 to 65535, found text\n  hint: write the digits alone, without quotes or a unit\n\
         l.yaml:11:9: b.most: `lots` is not an amount of bytes\n  hint: write a whole number and a unit: `64KiB`, `10MB`; a number alone means bytes\n\
         l.yaml:12:4: c: expected a map, found `7`\n  hint: write its keys below it, or `{key: value}`\n\
         l.yaml:13:4: d: `host` is missing\n  hint: add `host: …` here\n\
         l.yaml:13:4: d: `port` is missing\n  hint: add `port: …` here\n\
         l.yaml:13:4: d: `password` is missing\n  hint: give `password_file`, the path of a file that holds it, or `password`"
    );
}

#[test]
fn what_a_type_says_itself_is_told_with_its_hint() {
    assert_eq!(
        faults_of::<Systems>("a: {host: web, port: 1, password: x}"),
        "l.yaml:1:11: a.host: `web` is not a host\n  hint: give its full name, as in `web.example.org`"
    );
}

#[test]
fn secrets_are_read_from_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, "$hunter${2}\n").unwrap();
    let text = format!("a: {{host: a.b, port: 1, password_file: {}}}", path.display());
    let systems: Systems = read_text(&text).unwrap();
    assert_eq!(systems["a"].password, Secret::new("$hunter${2}"));

    std::fs::write(&path, "8080\n").unwrap();
    let text = format!("a: {{host: a.b, port_file: {}, password: x}}", path.display());
    assert_eq!(read_text::<Systems>(&text).unwrap()["a"].port, 8080);
}

#[test]
fn files_that_cannot_be_used_are_faults() {
    let text = "a: {host: a.b, port: 1, password_file: /none/x}\n\
                b: {host: a.b, port: 1, password_file: [x]}\n\
                c: {host: a.b, port: 1, password_file: x, password: y}\n\
                d: {host: a.b, port: 1, password: y, pasword_file: x}\n";
    assert_eq!(
        faults_of::<Systems>(text),
        "l.yaml:1:40: a.password_file: cannot read /none/x: there is no such file\n  \
         hint: check the path and who may read the file; a relative path starts where Longshore is started\n\
         l.yaml:2:40: b.password_file: expected the path of a file, found a list\n\
         l.yaml:3:25: c.password_file: `password` and `password_file` are both given\n  hint: keep one of them\n\
         l.yaml:4:38: d.pasword_file: unknown key `pasword_file`\n  \
         hint: did you mean `password_file`?"
    );
}

#[test]
fn faults_never_show_what_variables_and_files_hold() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("word");
    std::fs::write(&path, "hunter2hunter").unwrap();
    let path = path.display();
    let text = format!(
        "a: {{host: '${{PASSWORD}}', port: '${{PASSWORD}}', password: x, tls: \"${{PORT}}\", every: '${{PORT}}', when: ['${{HOST}}']}}\n\
         b: {{host_file: {path}, port_file: {path}, password: x}}\n\
         c:\n  tls: ${{PORT}}\n"
    );
    let shown = faults_of::<Systems>(&text);
    for value in ["correct", "horse", "8443", "swarm", "hunter"] {
        assert!(!shown.contains(value), "{value} in:\n{shown}");
    }
    let withheld = "is not accepted here\n  hint: the reason is not shown, because it repeats the value";
    assert!(shown.contains(&format!("a.host: the value from ${{PASSWORD}} {withheld}")), "{shown}");
    assert!(shown.contains(&format!("b.host_file: the value from {path} {withheld}")), "{shown}");
    assert!(shown.contains("a.tls: expected true or false, found text"), "{shown}");
    assert!(shown.contains("c.tls: expected true or false, found a number"), "{shown}");
    assert!(shown.contains("a.when[0]: the value from ${HOST} is not known here"), "{shown}");
    assert!(shown.contains("b.port_file: expected a whole number from 0 to 65535, found text"), "{shown}");
}

#[test]
fn faults_never_show_a_typed_secret() {
    #[derive(Debug, Deserialize)]
    #[serde(try_from = "Login")]
    struct Checked;

    #[derive(Deserialize)]
    struct Login {
        name: String,
        password: Secret,
    }

    impl TryFrom<Login> for Checked {
        type Error = String;

        fn try_from(login: Login) -> Result<Self, String> {
            Err(format!("{} has the weak password {}", login.name, login.password.expose()))
        }
    }

    assert_eq!(
        faults_of::<BTreeMap<String, Checked>>("a: {name: bob, password: swordfish}"),
        "l.yaml:1:4: a: the value from this secret is not accepted here\n  \
         hint: the reason is not shown, because it repeats the value"
    );
}

#[test]
fn an_empty_secret_is_a_fault() {
    assert_eq!(
        faults_of::<Systems>("a: {host: a.b, port: 1, password: \"${NONE:-}\"}"),
        "l.yaml:1:35: a.password: the secret is empty\n  hint: give it a value, or leave the key out"
    );
}

#[test]
fn untagged_and_tagged_enums_are_read() {
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(untagged, expecting = "a text, or a map with `image`")]
    enum Follow {
        Text(String),
        Map { image: String },
    }
    let text = "a: x:y\nb: {image: z}\n";
    let follows: BTreeMap<String, Follow> = read_text(text).unwrap();
    assert_eq!(follows["a"], Follow::Text("x:y".to_owned()));
    assert_eq!(follows["b"], Follow::Map { image: "z".to_owned() });
    assert_eq!(
        faults_of::<BTreeMap<String, Follow>>("a: [1]\nb: {imag: z}\n"),
        "l.yaml:1:4: a: a text, or a map with `image`\nl.yaml:2:4: b: a text, or a map with `image`"
    );

    #[derive(Debug, Deserialize)]
    #[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
    #[allow(dead_code)]
    enum Kind {
        Swarm { host: String },
    }
    assert_eq!(
        faults_of::<BTreeMap<String, Kind>>(
            "a: {kind: swarm, host: x, hots: y}\nb: {kind: swarms}\nc: {kind: swarm}\n"
        ),
        "l.yaml:1:27: a.hots: unknown key `hots`\n  hint: did you mean `host`?\n\
         l.yaml:2:11: b.kind: unknown value `swarms`\n  hint: did you mean `swarm`?\n\
         l.yaml:3:4: c: `host` is missing\n  hint: add `host: …` here"
    );
}

#[test]
fn a_missing_field_whose_type_takes_no_stand_in_ends_in_that_fault_alone() {
    #[derive(Debug, Deserialize)]
    #[serde(try_from = "String")]
    struct Never;

    impl TryFrom<String> for Never {
        type Error = String;

        fn try_from(_: String) -> Result<Self, String> {
            Err("never".to_owned())
        }
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Needs {
        never: Never,
        inner: Option<Systems>,
    }
    assert_eq!(
        faults_of::<BTreeMap<String, Needs>>("a: {inner: {b: {host: 1}}}\nc: {}\n").lines().count(),
        10,
        "missing in a, host, port and password in b, missing in c; each with a hint"
    );
}

#[test]
fn a_thousand_faults_end() {
    let items: Vec<String> = (0..1000).map(|index| format!("k{index}: 1")).collect();
    assert!(faults_of::<System>(&items.join("\n")).lines().count() >= 900);
}

#[test]
fn short_values_are_looked_for_as_words() {
    assert!(gives_away("`7` is too small", "7"));
    assert!(!gives_away("expected 17 to 70", "7"));
    assert!(gives_away("cannot use CORRECT HORSE here", "the correct horse battery"));
    assert!(!gives_away("cannot use it", "the correct horse battery"));
}
