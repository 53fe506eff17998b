//! The `queue` section: which engine.

mod address;
mod keep;
mod tls;

use std::{borrow::Cow, time::Duration};

use config::{Faults, Node, Secret};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

pub(crate) use self::address::Host;
use self::address::{Address, Scheme};
pub(crate) use self::keep::SPAN;
pub use self::keep::{Keep, Kept, Waiting};
pub use self::tls::{ClientCertificate, TlsSettings};
use crate::QueueError;

/// Which engine carries the words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settings {
    /// One process, one directory, and what is kept there.
    Embedded(Keep),
    /// RabbitMQ.
    Amqp(AmqpSettings),
}

/// How to reach RabbitMQ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AmqpSettings {
    /// Brokers of one cluster, `host` or `host:port`, tried in turn.
    pub hosts: Vec<String>,
    /// Who logs in.
    pub user: String,
    /// With what.
    pub password: Secret,
    /// Under which other names processes of the fleet log in, or did.
    pub logins: Vec<String>,
    /// The virtual host.
    pub vhost: String,
    /// First part of every name on the broker.
    pub prefix: String,
    /// Speak TLS, and trust these PEM certificates (besides the machine's own when there are none).
    pub tls: Option<TlsSettings>,
    /// How long dead letters and the history are kept, and how much of them. All processes of a broker must have the same.
    pub keep: Keep,
    /// How long the rungs of a pool's ladder keep a job. Not in the file: they are part of names that
    /// all processes share.
    pub rungs: Vec<Duration>,
}

/// Longest prefix: the longest name made of it, a lock's, must fit a name on the broker.
const LONGEST_PREFIX: usize = 100;

impl Default for Settings {
    fn default() -> Settings {
        Settings::Embedded(Keep::default())
    }
}

impl Settings {
    /// What is kept of the past, and how much may wait.
    #[must_use]
    pub fn keep(&self) -> Keep {
        match self {
            Settings::Embedded(keep) => *keep,
            Settings::Amqp(amqp) => amqp.keep,
        }
    }

    /// The same engine, keeping as much as `keep` says.
    #[must_use]
    pub fn keeping(self, keep: Keep) -> Settings {
        match self {
            Settings::Embedded(_) => Settings::Embedded(keep),
            Settings::Amqp(amqp) => Settings::Amqp(AmqpSettings { keep, ..amqp }),
        }
    }

    /// Reads the keys `queue` and `keep` of a configuration: `embedded`, which it is without the key, or RabbitMQ.
    ///
    /// Every fault found is pushed; the answer is none exactly when there was one.
    pub fn read(root: &Node, faults: &mut Faults) -> Option<Settings> {
        let section = root.get("queue");
        let keep = Keep::read(root, section.is_some_and(Node::is_map), faults);
        let Some(section) = section else { return keep.map(Settings::Embedded) };
        if section.is_map() {
            let typed: Typed = section.read(faults)?;
            let amqp = amqp(section, typed, faults)?;
            return Some(Settings::Amqp(AmqpSettings { keep: keep?, ..amqp }));
        }
        match section.read::<String>(faults)?.as_str() {
            "embedded" => keep.map(Settings::Embedded),
            _ => {
                let hint = "`embedded`, or `{amqp: HOST, user: NAME, password_file: PATH}` for RabbitMQ";
                faults.push(section.fault("there is no such queue").hint(hint));
                None
            }
        }
    }
}

impl JsonSchema for Settings {
    fn schema_name() -> Cow<'static, str> {
        "Queue".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let amqp = Typed::json_schema(generator);
        json_schema!({
            "description": "Where jobs wait and events are kept.",
            "oneOf": [
                {"const": "embedded", "description": "In the data directory of this one process."},
                amqp,
            ],
        })
    }
}

/// Makes settings of a section, with a fault at each address that is none.
fn amqp(section: &Node, typed: Typed, faults: &mut Faults) -> Option<AmqpSettings> {
    let node = section.get("amqp").unwrap_or(section);
    let addresses: Vec<(String, &Node)> = match typed.amqp {
        OneOrMany::One(address) => vec![(address, node)],
        OneOrMany::Many(addresses) => addresses.into_iter().zip(node.items()).collect(),
    };
    let mut found = Faults::new();
    if addresses.is_empty() {
        found.push(node.fault("no broker is named").hint("give at least one `host` or `host:port`"));
    }
    let mut hosts = Vec::new();
    let mut schemes = Vec::new();
    for (address, node) in &addresses {
        match Address::parse(address) {
            Ok(Address { scheme, host }) => {
                schemes.extend(scheme);
                hosts.push(host.to_string());
            }
            Err(wrong) => found.push(node.fault(wrong.message()).hint(wrong.hint())),
        }
    }
    let certificates = typed.ca.is_some() || typed.cert.is_some() || typed.key.is_some();
    let tls = typed.tls.unwrap_or_else(|| certificates || schemes.contains(&Scheme::Amqps));
    if schemes.contains(if tls { &Scheme::Amqp } else { &Scheme::Amqps }) || (certificates && !tls) {
        let hint = "all brokers are reached alike: `amqps://`, `ca_file`, `cert_file` and `tls: true` speak \
                    TLS, `amqp://` and `tls: false` do not";
        found.push(section.fault("it is not clear whether to speak TLS").hint(hint));
    }
    if !is_prefix(&typed.prefix) {
        let node = section.get("prefix").unwrap_or(section);
        found.push(node.fault("this cannot begin names on the broker").hint(PREFIX_RULE));
    }
    let tls_settings = tls::read(section, (typed.ca, typed.cert, typed.key), &mut found);
    let sound = found.is_empty();
    faults.append(found);
    sound.then(|| AmqpSettings {
        logins: typed.logins,
        vhost: typed.vhost,
        prefix: typed.prefix,
        tls: tls.then_some(tls_settings),
        ..AmqpSettings::new(hosts, typed.user, typed.password)
    })
}

impl AmqpSettings {
    /// The rungs of the contract.
    pub const RUNGS: [Duration; 4] = [
        Duration::from_secs(5),
        Duration::from_secs(30),
        Duration::from_secs(2 * 60),
        Duration::from_secs(10 * 60),
    ];

    /// Settings for these brokers, with everything else as it is by default.
    #[must_use]
    pub fn new(hosts: Vec<String>, user: impl Into<String>, password: Secret) -> AmqpSettings {
        AmqpSettings {
            hosts,
            user: user.into(),
            password,
            logins: Vec::new(),
            vhost: default_vhost(),
            prefix: default_prefix(),
            tls: None,
            keep: Keep::default(),
            rungs: AmqpSettings::RUNGS.to_vec(),
        }
    }

    /// The brokers' addresses.
    pub(crate) fn hosts(&self) -> Result<Vec<Host>, QueueError> {
        let parse = |host: &String| {
            host.parse().map_err(|()| QueueError::Settings(format!("`{host}` is no broker's address")))
        };
        self.hosts.iter().map(parse).collect()
    }

    /// Whether they can work at all.
    pub(crate) fn check(&self) -> Result<(), QueueError> {
        if self.hosts()?.is_empty() {
            return Err(QueueError::Settings("no broker is named".to_owned()));
        }
        if !is_prefix(&self.prefix) {
            return Err(QueueError::Settings(format!("`{}` is no prefix: {PREFIX_RULE}", self.prefix)));
        }
        if let Some(wrong) = self.tls.as_ref().and_then(TlsSettings::wrong) {
            return Err(QueueError::Settings(wrong.to_owned()));
        }
        let shortest = Duration::from_millis(1);
        if self.rungs.is_empty() || self.rungs.iter().any(|rung| *rung < shortest) {
            return Err(QueueError::Settings("the ladder needs rungs of a millisecond or more".to_owned()));
        }
        Ok(())
    }
}

const PREFIX_RULE: &str = "use letters, digits, `.`, `_` and `-`, 100 at most";

fn is_prefix(text: &str) -> bool {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    !text.is_empty() && text.len() <= LONGEST_PREFIX && text.chars().all(allowed)
}

/// The section as it is typed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Typed {
    /// Brokers of one cluster, tried in turn: `host`, `host:port`, or `amqp://` / `amqps://` with those.
    amqp: OneOrMany,
    /// Who logs in.
    user: String,
    /// With what.
    password: Secret,
    /// Other names under which Longshore's own processes log in to this broker, or did as long ago as dead letters
    /// are kept. Only what was published under `user` or one of these is believed to be a deploy of Longshore's own.
    #[serde(default)]
    logins: Vec<String>,
    /// The virtual host.
    #[serde(default = "default_vhost")]
    vhost: String,
    /// First part of every name on the broker. Processes with the same prefix work together.
    #[serde(default = "default_prefix")]
    prefix: String,
    /// Path of a file with PEM certificates of the authorities to trust; TLS is spoken when it is given.
    #[serde(default)]
    #[schemars(rename = "ca_file")]
    ca: Option<String>,
    /// Path of a file with the PEM certificate to show to a broker that asks for one.
    #[serde(default)]
    #[schemars(rename = "cert_file")]
    cert: Option<String>,
    /// The private key of that certificate, in PEM.
    #[serde(default)]
    key: Option<Secret>,
    /// Speak TLS. On its own when a certificate or an `amqps://` address is given.
    #[serde(default)]
    tls: Option<bool>,
}

/// One text or several.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a broker's address, or a list of them")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

fn default_vhost() -> String {
    "/".to_owned()
}

fn default_prefix() -> String {
    "longshore".to_owned()
}

#[cfg(test)]
mod tests {
    use config::Document;

    use super::*;

    fn read(text: &str) -> Result<Settings, String> {
        let document = Document::parse("l.yaml", text).unwrap();
        let mut faults = Faults::new();
        match Settings::read(document.root(), &mut faults) {
            Some(settings) if faults.is_empty() => Ok(settings),
            read => {
                assert!(read.is_none());
                Err(faults.to_string())
            }
        }
    }

    fn read_amqp(text: &str) -> AmqpSettings {
        match read(text) {
            Ok(Settings::Amqp(settings)) => settings,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_queue_is_embedded_unless_it_is_said_otherwise() {
        assert_eq!(read("version: 1"), Ok(Settings::default()));
        assert_eq!(read("queue: embedded"), Ok(Settings::default()));
        let faults = read("queue: embeded").unwrap_err();
        assert!(
            faults.starts_with("l.yaml:1:8: queue: there is no such queue\n  hint: `embedded`"),
            "{faults}"
        );
    }

    #[test]
    fn a_section_as_it_is_typed_is_as_it_is_meant() {
        let directory = tempfile::tempdir().unwrap();
        let password = directory.path().join("password");
        std::fs::write(&password, "hunter2\n").unwrap();
        let settings = read_amqp(&format!(
            "queue: {{amqp: [rabbit-1, \"rabbit-2:5671\", \"amqp://10.0.0.1\", \"[::1]:5672\"], \
             user: longshore, password_file: {}}}",
            password.display()
        ));
        assert_eq!(settings.hosts, ["rabbit-1", "rabbit-2:5671", "10.0.0.1", "[::1]:5672"]);
        assert_eq!(settings.password.expose(), "hunter2");
        assert_eq!((settings.vhost.as_str(), settings.prefix.as_str()), ("/", "longshore"));
        assert!(settings.tls.is_none());
        assert_eq!(settings.rungs, AmqpSettings::RUNGS);
        assert!(settings.check().is_ok());
        assert!(!format!("{settings:?}").contains("hunter2"));
        let one =
            read_amqp("queue: {amqp: rabbit, user: u, password: p, vhost: ci, prefix: dock.1, logins: [v]}");
        assert_eq!((&settings.logins[..], &one.logins[..]), (&[][..], &["v".to_owned()][..]));
        assert_eq!((one.vhost.as_str(), one.prefix.as_str()), ("ci", "dock.1"));
        assert_eq!(one.hosts, ["rabbit"]);
    }

    #[test]
    fn tls_is_spoken_when_anything_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let ca = directory.path().join("ca.pem");
        std::fs::write(&ca, tls::tests::CERTIFICATE).unwrap();
        let tls = |rest: &str| read_amqp(&format!("queue: {{user: u, password: p, {rest}}}")).tls;
        assert!(tls("amqp: a").is_none());
        assert!(tls("amqp: a, tls: false").is_none());
        assert!(tls("amqp: a, tls: true").is_some_and(|tls| tls.authorities.is_none()));
        assert!(tls("amqp: [\"amqps://a\", b]").is_some());
        let trusting = tls(&format!("amqp: a, ca_file: {}", ca.display()));
        assert_eq!(trusting.unwrap().authorities.as_deref(), Some(tls::tests::CERTIFICATE));
        for unclear in ["amqp: [\"amqps://a\", \"amqp://b\"]", "amqp: \"amqps://a\", tls: false"] {
            let faults = read(&format!("queue: {{user: u, password: p, {unclear}}}")).unwrap_err();
            assert!(faults.contains("it is not clear whether to speak TLS"), "{faults}");
        }
    }

    #[test]
    fn every_fault_has_its_place_and_none_shows_a_password() {
        let faults = read(
            "queue:\n  amqp:\n    - amqp://bot:hunter2@rabbit-1\n    - rabbit-2/ci\n    - a b\n    \
             - http://rabbit\n    - rabbit:0\n  user: u\n  password: p\n  prefix: a b\n",
        )
        .unwrap_err();
        for line in [3, 4, 5, 6, 7, 10] {
            assert!(faults.contains(&format!("l.yaml:{line}:")), "{line}: {faults}");
        }
        assert!(faults.contains("`password_file`") && faults.contains("`vhost`"), "{faults}");
        assert!(!faults.contains("hunter2"), "{faults}");
        let faults = read("queue: {amqp: [], user: u, pasword: p}").unwrap_err();
        assert!(faults.contains("unknown key `pasword`") && faults.contains("`password`"), "{faults}");
        let faults = read("queue: {amqp: [], user: u, password: p}").unwrap_err();
        assert!(faults.contains("no broker is named"), "{faults}");
    }

    #[test]
    fn the_schema_takes_a_password_in_either_form() {
        let mut schema = schemars::schema_for!(Settings);
        config::allow_secret_files(&mut schema);
        let schema = serde_json::to_value(&schema).unwrap();
        assert_eq!(schema["oneOf"][0]["const"], "embedded");
        let properties = schema["oneOf"][1]["properties"].as_object().unwrap();
        for key in [
            "amqp",
            "user",
            "password",
            "password_file",
            "logins",
            "vhost",
            "prefix",
            "ca_file",
            "cert_file",
            "key_file",
            "tls",
        ] {
            assert!(properties.contains_key(key), "{key}: {schema}");
        }
        assert!(!properties.contains_key("cert"), "{schema}");
        assert!(!properties.contains_key("ca") && !properties.contains_key("rungs"), "{schema}");
    }
}
