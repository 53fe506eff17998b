//! `longshore check`: reads a configuration as the processes do, and connects to nothing unless it is asked to.

use config::Node;
use serde::Serialize;

use crate::{
    arguments::Check,
    configuration::Reading,
    exit::Exit,
    failure::Failure,
    output::{Output, table},
};

/// What is configured, by name; nothing secret stands in these keys.
#[derive(Debug, Serialize)]
struct Summary {
    sources: Vec<Kind>,
    systems: Vec<Kind>,
    targets: Vec<Target>,
    /// What will not work on this machine, though nothing is wrong with the configuration.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    /// What the broker, each system and each registry said, and what is behind the sources, where they were asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    connected: Vec<Said>,
}

/// What the broker said, or one system or registry, or what is behind one source.
#[derive(Debug, Default, Serialize)]
struct Said {
    /// By the first part of all names there.
    #[serde(skip_serializing_if = "Option::is_none")]
    broker: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    registry: Option<String>,
    found: Vec<String>,
    missing: Vec<String>,
}

/// A source or a system.
#[derive(Debug, Serialize)]
struct Kind {
    name: String,
    kind: String,
}

/// A target and the images it takes, as typed.
#[derive(Debug, Serialize)]
struct Target {
    name: String,
    at: String,
    follows: Vec<String>,
}

pub(crate) async fn run(check: Check, output: Output) -> Result<Exit, Failure> {
    let mut reading = Reading::of(&check.files.config)?;
    let (common, ingress, worker) = (reading.common(), reading.ingress(), reading.worker());
    let mut summary = Summary::of(reading.root());
    let ((common, ingress), worker) = reading.finish(common.zip(ingress).zip(worker))?;
    summary.warnings.extend_from_slice(ingress.warnings());
    if worker.has_stacks() {
        summary.warnings.extend(worker::target::swarm::command_is_here().err());
    }
    if check.connect {
        summary.connected = connect(&ingress, &worker).await?;
        summary.connected.splice(0..0, ask_broker(&common.queue, &worker).await);
    }
    output.document(&summary, || summary.told());
    let all_there = summary.connected.iter().all(|said| said.missing.is_empty());
    Ok(if all_there { Exit::Succeeded } else { Exit::Failed })
}

async fn connect(ingress: &ingress::Settings, worker: &worker::Settings) -> Result<Vec<Said>, Failure> {
    let connected = worker::connect(worker).await.map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Failure::setup(format!("{error}{cause}"), "mend the system in the configuration")
    })?;
    let of_source = |ingress::Connected { source, found, missing }| Said {
        source: Some(source),
        found,
        missing,
        ..Said::default()
    };
    let of_system = |worker::Connected { name, found, missing }| Said {
        system: Some(name),
        found,
        missing,
        ..Said::default()
    };
    let of_registry = |worker::Connected { name, found, missing }| Said {
        registry: Some(name),
        found,
        missing,
        ..Said::default()
    };
    let sources = ingress::connect(ingress).await.into_iter().map(of_source);
    let registries = worker::connect_registries(worker).await.into_iter().map(of_registry);
    Ok(sources.chain(registries).chain(connected.into_iter().map(of_system)).collect())
}

/// What the broker says; nothing where the queue needs none.
async fn ask_broker(settings: &queue::Settings, worker: &worker::Settings) -> Option<Said> {
    let queue::Settings::Amqp(settings) = settings else { return None };
    let queue::amqp::Examined { found, missing } = queue::amqp::examine(settings, &worker.pools()).await;
    Some(Said { broker: Some(settings.prefix.clone()), found, missing, ..Said::default() })
}

impl Summary {
    fn of(root: &Node) -> Summary {
        let entries = |section: &str| root.get(section).into_iter().flat_map(Node::entries);
        let text = |node: &Node, key: &str| node.get(key).and_then(Node::text).unwrap_or_default().to_owned();
        let kinds = |section: &str| {
            entries(section)
                .map(|(key, node)| Kind { name: key.text.clone(), kind: text(node, "kind") })
                .collect()
        };
        let targets = entries("targets").map(|(key, node)| Target {
            name: key.text.clone(),
            at: text(node, "at"),
            follows: node.get("follow").map(follows).unwrap_or_default(),
        });
        let (sources, systems) = (kinds("sources"), kinds("systems"));
        Summary { sources, systems, targets: targets.collect(), warnings: Vec::new(), connected: Vec::new() }
    }

    fn told(&self) -> String {
        let kinds = |kinds: &[Kind]| -> Vec<[String; 2]> {
            kinds.iter().map(|Kind { name, kind }| [name.clone(), kind.clone()]).collect()
        };
        let targets = self
            .targets
            .iter()
            .map(|Target { name, at, follows }| [name.clone(), at.clone(), follows.join(", ")]);
        [
            table(["SOURCE", "KIND"], kinds(&self.sources)),
            table(["SYSTEM", "KIND"], kinds(&self.systems)),
            table(["TARGET", "AT", "FOLLOWS"], targets),
            self.warnings.iter().map(|warning| format!("warning: {warning}\n")).collect(),
            self.connected.iter().map(Said::told).collect(),
            self.end(),
        ]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<String>>()
        .join("\n\n")
    }

    /// Whether it can be used; what is missing once more, since it may stand far above among what was found.
    fn end(&self) -> String {
        let missing = |said: &Said| -> Vec<String> {
            said.missing.iter().map(|line| format!("\n  {}: {line}", said.name())).collect()
        };
        let all: Vec<String> = self.connected.iter().flat_map(missing).collect();
        if all.is_empty() {
            return "the configuration can be used".to_owned();
        }
        format!("something is missing:{}", all.concat())
    }
}

impl Said {
    fn told(&self) -> String {
        let found = self.found.iter().map(|line| format!("  {line}\n"));
        let missing = self.missing.iter().map(|line| format!("  missing: {line}\n"));
        format!("{}:\n{}", self.name(), found.chain(missing).collect::<String>())
    }

    /// What was asked.
    fn name(&self) -> String {
        let broker = self.broker.as_ref().map(|prefix| format!("{prefix}.*"));
        let kinds = [
            ("broker,", &broker),
            ("source", &self.source),
            ("registry", &self.registry),
            ("system", &self.system),
        ];
        let named = kinds.iter().find_map(|(kind, name)| Some(format!("{kind} {}", name.as_ref()?)));
        named.unwrap_or_default()
    }
}

/// The one follow or the several of a target.
fn follows(node: &Node) -> Vec<String> {
    if let Some(text) = node.text() {
        return vec![text.to_owned()];
    }
    if node.is_map() {
        let image = node.get("image").and_then(Node::text).unwrap_or_default();
        let tags = node.get("tags").into_iter().flat_map(Node::entries);
        return tags
            .map(|(how, tag)| format!("{image} {}: {}", how.text, tag.text().unwrap_or_default()))
            .collect();
    }
    node.items().flat_map(follows).collect()
}
