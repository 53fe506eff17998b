//! The `queue` section: which engine.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use config::{Faults, Node, Secret};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use crate::QueueError;

/// Which engine carries the words.
#[derive(Debug, Clone, Default)]
pub enum Settings {
    /// One process, one directory.
    #[default]
    Embedded,
    /// RabbitMQ.
    Amqp(AmqpSettings),
}

/// How to reach RabbitMQ.
#[derive(Debug, Clone)]
pub struct AmqpSettings {
    /// Brokers of one cluster, `host` or `host:port`, tried in turn.
    pub hosts: Vec<String>,
    /// Who logs in.
    pub user: String,
    /// With what.
    pub password: Secret,
    /// The virtual host.
    pub vhost: String,
    /// First part of every name on the broker.
    pub prefix: String,
    /// Speak TLS, and trust these PEM certificates (besides the machine's own when there are none).
    pub tls: Option<TlsSettings>,
    /// How long the rungs of a pool's ladder keep a job. Not in the file: they are part of names that
    /// all processes share.
    pub rungs: Vec<Duration>,
}

/// How to trust the broker.
#[derive(Debug, Clone, Default)]
pub struct TlsSettings {
    /// Certificates of the authorities to trust, in PEM.
    pub authorities: Option<String>,
}

/// A broker's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) port: Option<u16>,
}

/// Longest prefix: the longest name made of it, a lock's, must fit a name on the broker.
const LONGEST_PREFIX: usize = 100;

impl Settings {
    /// Reads the key `queue` of a configuration: `embedded`, which it is without the key, or RabbitMQ.
    ///
    /// Every fault found is pushed; the answer is none exactly when there was one.
    pub fn read(root: &Node, faults: &mut Faults) -> Option<Settings> {
        let Some(section) = root.get("queue") else { return Some(Settings::Embedded) };
        if section.is_map() {
            let typed: Typed = section.read(faults)?;
            return amqp(section, typed, faults).map(Settings::Amqp);
        }
        match section.read::<String>(faults)?.as_str() {
            "embedded" => Some(Settings::Embedded),
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
    let trusts = typed.ca.is_some();
    let tls = typed.tls.unwrap_or_else(|| trusts || schemes.contains(&Scheme::Amqps));
    if schemes.contains(if tls { &Scheme::Amqp } else { &Scheme::Amqps }) || (trusts && !tls) {
        let hint = "all brokers are reached alike: `amqps://`, `ca_file` and `tls: true` speak TLS, \
                    `amqp://` and `tls: false` do not";
        found.push(section.fault("it is not clear whether to speak TLS").hint(hint));
    }
    if !is_prefix(&typed.prefix) {
        let node = section.get("prefix").unwrap_or(section);
        found.push(node.fault("this cannot begin names on the broker").hint(PREFIX_RULE));
    }
    let sound = found.is_empty();
    faults.append(found);
    sound.then(|| AmqpSettings {
        vhost: typed.vhost,
        prefix: typed.prefix,
        tls: tls.then_some(TlsSettings { authorities: typed.ca }),
        ..AmqpSettings::new(hosts, typed.user, typed.password)
    })
}

/// A broker as it is typed.
struct Address {
    scheme: Option<Scheme>,
    host: Host,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Amqp,
    Amqps,
}

/// Why a text is no broker's address. Never shows it: there may be a password in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BadAddress {
    Credentials,
    Path,
    Other,
}

impl BadAddress {
    fn message(self) -> &'static str {
        match self {
            BadAddress::Credentials => "a broker's address with a user or password in it",
            BadAddress::Path => "a broker's address with more than host and port",
            BadAddress::Other => "this is no broker's address",
        }
    }

    fn hint(self) -> &'static str {
        match self {
            BadAddress::Credentials => "leave them out here; give `user` and `password_file` beside it",
            BadAddress::Path => "give the virtual host as `vhost`, and leave options out",
            BadAddress::Other => "write `host`, `host:port`, `amqp://host:port` or `amqps://host:port`",
        }
    }
}

impl Address {
    fn parse(text: &str) -> Result<Address, BadAddress> {
        let (scheme, rest) = match text.split_once("://") {
            Some(("amqp", rest)) => (Some(Scheme::Amqp), rest),
            Some(("amqps", rest)) => (Some(Scheme::Amqps), rest),
            Some(_) => return Err(BadAddress::Other),
            None => (None, text),
        };
        if rest.contains('@') {
            return Err(BadAddress::Credentials);
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?']) {
            return Err(BadAddress::Path);
        }
        let host = rest.parse().map_err(|()| BadAddress::Other)?;
        Ok(Address { scheme, host })
    }
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
            vhost: default_vhost(),
            prefix: default_prefix(),
            tls: None,
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

impl FromStr for Host {
    type Err = ();

    /// `host`, `host:port`, `[v6]` or `[v6]:port`.
    fn from_str(text: &str) -> Result<Host, ()> {
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (name, rest) = rest.split_once(']').ok_or(())?;
                name.parse::<std::net::Ipv6Addr>().map_err(drop)?;
                (name, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or(())?) })
            }
            None => match text.split_once(':') {
                Some((name, port)) => (name, Some(port)),
                None => (text, None),
            },
        };
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || ".-_:".contains(letter);
        let port = port.map(|port| port.parse::<u16>().map_err(drop)).transpose()?;
        if name.is_empty() || !name.chars().all(allowed) || port == Some(0) {
            return Err(());
        }
        Ok(Host { name: name.to_owned(), port })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name: Cow<'_, str> =
            if self.name.contains(':') { format!("[{}]", self.name).into() } else { (&self.name).into() };
        match self.port {
            Some(port) => write!(f, "{name}:{port}"),
            None => f.write_str(&name),
        }
    }
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
