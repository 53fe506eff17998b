//! The section `sources`.

use std::collections::BTreeMap;

use config::{Faults, Key, Node};
use proto::{PoolName, TargetName};

use crate::{
    access::TokenHash,
    authenticate::Door,
    section::{PlainSource, PollSource, RegistrySource},
    source::{Kind, Source, is_registry_host},
};

/// Reads every source, whatever is wrong with the one before.
pub(super) fn read(node: Option<&Node>, faults: &mut Faults) -> Option<BTreeMap<String, Source>> {
    let entries = super::section(node, faults)?;
    let (polls, entries): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|(_, node)| node.get("kind").and_then(Node::text) == Some("poll"));
    let polls: Option<Vec<PollSource>> =
        polls.into_iter().map(|(_, node)| node.without(&["kind"]).read(faults)).collect();
    polls?;
    let read: Vec<Option<Source>> =
        entries.into_iter().map(|(key, node)| source(key, node, faults)).collect();
    let sources: Option<Vec<Source>> = read.into_iter().collect();
    Some(sources?.into_iter().map(|source| (source.name.clone(), source)).collect())
}

fn source(key: &Key, node: &Node, faults: &mut Faults) -> Option<Source> {
    // The same letters as a target's name: it stands in a path.
    if let Err(error) = TargetName::new(PoolName::default(), &key.text) {
        let hint = "rename the source, as in `sources: {docker-hub: {…}}`: its name stands in the hook's URL";
        faults.push(node.fault(error.to_string()).hint(hint));
    }
    let Some(kind) = node.get("kind") else {
        faults.push(
            node.fault("the source has no `kind`")
                .hint("say who sends: `kind: plain`, `aliyun-acr`, `distribution`"),
        );
        return None;
    };
    let kind: Kind = kind.read(faults)?;
    let rest = node.without(&["kind"]);
    let section: RegistrySource = match kind {
        Kind::Plain => rest.read::<PlainSource>(faults)?.into(),
        Kind::AliyunAcr | Kind::Distribution => rest.read(faults)?,
    };
    check(&section, node, faults);
    let door = Door {
        keys: section.key.iter().map(|key| TokenHash::of(key.expose())).collect(),
        authorizations: section.authorization.iter().map(|header| TokenHash::of(header.expose())).collect(),
        open: section.open,
        loopback_only: section.loopback_only,
    };
    Some(Source { name: key.text.clone(), kind, registry: section.registry, door })
}

fn check(section: &RegistrySource, node: &Node, faults: &mut Faults) {
    let has_secret = section.key.is_some() || section.authorization.is_some();
    if !has_secret && !section.open {
        let fault = node.fault("the source has no secret, anyone could deploy through it");
        faults.push(
            fault.hint("give it `key_file` or `authorization_file`; if everyone may, say `open: true`"),
        );
    }
    if has_secret && section.open {
        let fault = node.fault("the source has a secret and is open, so the secret would not be asked for");
        faults.push(fault.hint("leave out `open`, or the secret"));
    }
    if let Some(registry) = section.registry.as_deref().filter(|host| !is_registry_host(host)) {
        let at = node.get("registry").unwrap_or(node);
        let fault = at.fault(format!("`{registry}` is no registry host"));
        faults.push(
            fault.hint("write the host as it stands in image names, as in `registry.example.com:5000`"),
        );
    }
}

impl From<PlainSource> for RegistrySource {
    fn from(plain: PlainSource) -> RegistrySource {
        let PlainSource { key, authorization, open, loopback_only } = plain;
        RegistrySource { key, authorization, open, loopback_only, registry: None }
    }
}
