//! The settings of an ingress, read from the configuration with every fault in it.

mod access;
mod backfill;
mod held;
mod keys;
mod limits;
mod publishers;
mod source;
mod target;
mod windows;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use config::{Document, Faults, Node, Span};

pub(crate) use self::source::{Typed, read_source};
pub(crate) use self::target::DEADLINE;
use crate::{
    access::{Access, TokenHash},
    known::SystemName,
    limits::Limits,
    overdue,
    publishers::Publishers,
    route::Targets,
    section::IngressSection,
    source::Source,
    windows::Windows,
};

/// Where an ingress listens unless told otherwise: the machine itself only.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);

/// How long the same push counts as a repetition unless told otherwise, and at most: producers come again within
/// seconds, people after they have looked.
const REPEATS_WITHIN: Duration = Duration::from_secs(30);
const LONGEST_REPEATS: Duration = Duration::from_secs(600);

/// Everything an ingress is told: who pushes, what follows, who may call.
///
/// It holds no address and no key of anything that is deployed to.
#[derive(Debug, Clone)]
pub struct Settings {
    pub(crate) listen: SocketAddr,
    /// Where hooks alone are taken beside it.
    pub(crate) hooks_listen: Option<SocketAddr>,
    pub(crate) public_url: Option<String>,
    pub(crate) sources: BTreeMap<String, Source>,
    /// The targets of the file alone; [`crate::known::Known`] has all.
    pub(crate) declared: Targets,
    /// When targets may be deployed.
    pub(crate) windows: Windows,
    /// The systems on which workers look for further targets.
    pub(crate) searched: BTreeSet<SystemName>,
    /// Where what workers tell is kept: that of the start.
    pub(crate) data: Option<PathBuf>,
    pub(crate) access: Access,
    /// Who may ask for what over the broker.
    pub(crate) publishers: Publishers,
    /// How long after its deadline a job without an end is given up.
    pub(crate) overdue_after: Duration,
    /// How long nothing may be said of a job that waits before its message is taken for lost.
    pub(crate) resend_after: Duration,
    /// How long the same push without a name counts as a repetition.
    pub(crate) repeats_within: Duration,
    /// How much callers may ask for.
    pub(crate) limits: Limits,
    pub(crate) warnings: Vec<String>,
}

impl Settings {
    /// Reads the sections of an ingress: `listen`, `hooks_listen`, `public_url`, `sources`, `windows`, `access`, `ingress`, `limits`, of `targets` what
    /// routes images to them and holds them back, and of `systems` the pools and whether targets are looked for there. Nothing else is opened or resolved.
    ///
    /// Every fault is pushed; the answer is none exactly when there was one.
    pub fn read(document: &Document, faults: &mut Faults) -> Option<Settings> {
        let (root, before) = (document.root(), faults.len());
        let listen = root.get("listen").map_or(Some(LISTEN), |node| listen(node, faults));
        let hooks_listen = hooks_listen(root.get("hooks_listen"), listen, faults);
        let public_url = root.get("public_url").map_or(Some(None), |node| public_url(node, faults).map(Some));
        let mut warnings = Vec::new();
        let exposed = is_exposed([listen, hooks_listen.flatten()], public_url.as_ref());
        let sources = source::read(root.get("sources"), exposed, &mut warnings, faults);
        let windows = windows::read(root.get("windows"), faults);
        let targets = target::read(root.get("targets"), (root.get("systems"), windows.as_ref()), faults);
        held::check(root, faults);
        let access = root.get("access").map_or(Some(Access::default()), |node| access::read(node, faults));
        let publishers = publishers::read(root.get("access").and_then(|access| access.get("amqp")), faults);
        let times = root.get("ingress").map_or(Some(Times::default()), |node| times(node, faults));
        let limits = limits::read(root.get("limits"), faults);
        let Times { overdue_after, resend_after, repeats_within } = times?;
        let settings = Settings {
            listen: listen?,
            hooks_listen: hooks_listen?,
            public_url: public_url?,
            sources: sources?,
            declared: targets?,
            windows: windows?,
            searched: target::searched(root.get("systems")),
            data: None,
            access: access?,
            publishers: publishers?,
            overdue_after,
            resend_after,
            repeats_within,
            limits: limits?,
            warnings,
        };
        (faults.len() == before).then_some(settings)
    }

    /// Settings for tests.
    #[cfg(test)]
    pub(crate) fn sample(text: &str) -> Settings {
        let mut faults = Faults::new();
        let document = Document::parse("sample.yaml", text).unwrap();
        Settings::read(&document, &mut faults).unwrap_or_else(|| panic!("{faults}"))
    }

    /// Lets the bearer of this token call the whole API.
    #[must_use]
    pub fn with_admin_token(mut self, hash: TokenHash) -> Settings {
        self.access.grant_admin(hash);
        self
    }

    /// The same with its files below `data`; without, what workers tell is not kept.
    #[must_use]
    pub fn with_data(mut self, data: &Path) -> Settings {
        self.data = Some(data.to_owned());
        self
    }

    /// Whether anybody may call the API.
    #[must_use]
    pub fn has_tokens(&self) -> bool {
        !self.access.is_closed()
    }

    /// The users of the broker who may ask for jobs, by name.
    #[must_use]
    pub fn publishers(&self) -> Vec<&str> {
        self.publishers.names().collect()
    }

    /// What can be used and will hardly be meant, for people.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Where to listen.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Where to take hooks alone, beside [`Settings::listen`]; none unless it is configured.
    #[must_use]
    pub fn hooks_listen(&self) -> Option<SocketAddr> {
        self.hooks_listen
    }

    /// What an ingress with these settings would have to be started anew for, to go by others: the keys by name.
    #[must_use]
    pub fn needs_a_start_for(&self, others: &Settings) -> Vec<&'static str> {
        let changed = [
            ("`hooks_listen`", self.hooks_listen != others.hooks_listen),
            ("`limits`", self.limits != others.limits),
        ];
        changed.into_iter().filter_map(|(name, is_other)| is_other.then_some(name)).collect()
    }

    /// The URL under which others reach the server, without a slash at its end; none when it was not given.
    #[must_use]
    pub fn public_url(&self) -> Option<&str> {
        self.public_url.as_deref()
    }
}

/// Whether others than this machine are meant to come in. Where it is not known, the addresses have a fault of their own.
fn is_exposed(listens: [Option<SocketAddr>; 2], public_url: Option<&Option<String>>) -> bool {
    listens.into_iter().flatten().any(|address| !address.ip().to_canonical().is_loopback())
        || public_url.is_some_and(Option::is_some)
}

fn listen(node: &Node, faults: &mut Faults) -> Option<SocketAddr> {
    let text: String = node.read(faults)?;
    match text.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            let fault = node.fault(format!("`{text}` is not an address with a port"));
            faults.push(fault.hint("write `127.0.0.1:8080`, or `0.0.0.0:8080` to be reached from elsewhere"));
            None
        }
    }
}

/// Where hooks alone are taken; the outer answer is none when it cannot be there.
fn hooks_listen(
    node: Option<&Node>,
    other: Option<SocketAddr>,
    faults: &mut Faults,
) -> Option<Option<SocketAddr>> {
    let Some(node) = node else { return Some(None) };
    let address = listen(node, faults)?;
    if address.port() != 0 && Some(address) == other {
        let fault = node.fault("this is where `listen` is, which takes hooks too");
        faults.push(fault.hint("give it another port, or leave it out"));
        return None;
    }
    Some(Some(address))
}

fn public_url(node: &Node, faults: &mut Faults) -> Option<String> {
    let text: String = node.read(faults)?;
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let plain = |c: char| c.is_ascii_graphic() && !"?#@\"<>\\".contains(c);
    if rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && rest.chars().all(plain)) {
        return Some(text.trim_end_matches('/').to_owned());
    }
    let fault = node.fault("this is not the URL of a server");
    faults.push(
        fault.hint("write the URL that others reach Longshore under, as in `https://deploy.example.com`"),
    );
    None
}

/// The times in the section `ingress`.
/// What the section `ingress` says.
struct Times {
    overdue_after: Duration,
    resend_after: Duration,
    repeats_within: Duration,
}

impl Default for Times {
    fn default() -> Times {
        Times {
            overdue_after: overdue::AFTER,
            resend_after: overdue::RESEND_AFTER,
            repeats_within: REPEATS_WITHIN,
        }
    }
}

fn times(node: &Node, faults: &mut Faults) -> Option<Times> {
    let section: IngressSection = node.read(faults)?;
    let before = faults.len();
    let mut wrong = |key: &str, message: &str, hint: &str| {
        faults.push(node.get(key).unwrap_or(node).fault(message).hint(hint));
    };
    if section.overdue_after.is_some_and(|Span(after)| after.is_zero()) {
        wrong(
            "overdue_after",
            "workers need time to tell how a job ended",
            "give more, as in `10m`, the default",
        );
    }
    if section.repeats_within.is_some_and(|Span(within)| within > LONGEST_REPEATS) {
        let hint = "give `10m` at most: whoever pushes the same again later wants it deployed again";
        wrong("repeats_within", "a push can only repeat another for some minutes", hint);
    }
    if section.resend_after.is_some_and(|Span(after)| after.is_zero()) {
        let hint = "give more, as in `20m`, the default: a job that failed may rest for ten minutes before the next attempt";
        wrong("resend_after", "workers need time to say something of a job", hint);
    }
    let usual = Times::default();
    (faults.len() == before).then(|| Times {
        overdue_after: section.overdue_after.map_or(usual.overdue_after, Duration::from),
        resend_after: section.resend_after.map_or(usual.resend_after, Duration::from),
        repeats_within: section.repeats_within.map_or(usual.repeats_within, Duration::from),
    })
}

/// The map of a section that may be left out; none, with a fault, when it is something else.
fn section<'a>(node: Option<&'a Node>, faults: &mut Faults) -> Option<Vec<(&'a config::Key, &'a Node)>> {
    let Some(node) = node else { return Some(Vec::new()) };
    if node.is_map() || node.text() == Some("") {
        return Some(node.entries().collect());
    }
    faults.push(node.fault("expected a map of names").hint("write `<name>: {…}`, one for each"));
    None
}

#[cfg(test)]
mod tests;
