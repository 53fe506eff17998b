//! The section `registries`: how workers get in, and where engines pull from.

use std::collections::BTreeMap;

use config::{Faults, Node, Secret};
use proto::Repository;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::target::web;

/// `registries.<host>`: how to read from a registry.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    /// Who logs in; without, nobody does.
    #[serde(default)]
    pub username: Option<String>,
    /// With what.
    #[serde(default)]
    pub password: Option<Secret>,
    /// Another address of the same registry, which engines pull from: images are followed and named by this
    /// entry's host, and services get them from there.
    #[serde(default)]
    pub pull_from: Option<String>,
    /// Path of a file with PEM certificates of the authorities that vouch for the registry, for workers that ask
    /// it themselves; the machine's own without.
    #[serde(default)]
    #[schemars(rename = "ca_file")]
    pub ca: Option<String>,
}

impl Registry {
    /// Who logs in and with what, where somebody does.
    #[must_use]
    pub fn login(&self) -> Option<(&str, &str)> {
        Some((self.username.as_deref()?, self.password.as_ref()?.expose()))
    }
}

/// Reads every entry, whatever is wrong with the one before.
pub(super) fn read(root: &Node, faults: &mut Faults) -> Option<BTreeMap<String, Registry>> {
    let entries = super::section(root.get("registries"), faults);
    let mut registries = BTreeMap::new();
    let mut whole = true;
    for (key, node) in entries {
        let before = faults.len();
        let registry: Option<Registry> = node.read(faults);
        if let Some(registry) = &registry {
            check(&key.text, registry, node, faults);
        }
        match registry {
            Some(registry) if faults.len() == before => {
                registries.insert(key.text.clone(), registry);
            }
            Some(_) | None => whole = false,
        }
    }
    whole.then_some(registries)
}

fn check(host: &str, registry: &Registry, node: &Node, faults: &mut Faults) {
    const AS_IN_IMAGES: &str =
        "write the host as it stands in image names, as in `registry.example.com:5000`";
    if !is_registry_host(host) {
        faults.push(node.fault(format!("`{host}` is no registry host")).hint(AS_IN_IMAGES));
    }
    if let Some(other) = registry.pull_from.as_deref().filter(|other| !is_registry_host(other)) {
        let at = node.get("pull_from").unwrap_or(node);
        faults.push(at.fault(format!("`{other}` is no registry host")).hint(AS_IN_IMAGES));
    }
    match (&registry.username, &registry.password) {
        (Some(_), None) => {
            let fault = node.fault("a `username` without a password");
            faults.push(fault.hint("add `password_file`, or leave both out"));
        }
        (None, Some(_)) => {
            let fault = node.fault("a password without a `username`");
            faults
                .push(fault.hint("add `username`; registries that give tokens alone name the user to write"));
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
    if registry.ca.as_ref().is_some_and(|pem| !web::holds_certificates(pem)) {
        let at = node.get("ca_file").or_else(|| node.get("ca")).unwrap_or(node);
        let fault = at.fault("the registry's authorities hold no certificate in PEM");
        faults.push(fault.hint("it begins with `-----BEGIN CERTIFICATE-----`"));
    }
}

/// Whether a reference that begins with `host` is taken to mean that registry.
fn is_registry_host(host: &str) -> bool {
    format!("{host}/x/x").parse::<Repository>().is_ok_and(|repository| repository.host() == host)
}

#[cfg(test)]
mod tests {
    use config::Document;

    use super::*;

    fn faults(text: &str) -> String {
        let document = Document::parse("longshore.yaml", text).unwrap();
        let mut faults = Faults::new();
        let read = read(document.root(), &mut faults);
        assert_eq!(read.is_none(), !faults.is_empty());
        faults.to_string()
    }

    #[test]
    fn a_registry_may_have_two_addresses_and_nobody_to_log_in() {
        let text = "registries:\n  docker.io: {username: a, password: b}\n  'r.example.com:5000': {pull_from: r-vpc.example.com}\n";
        let document = Document::parse("longshore.yaml", text).unwrap();
        let mut none = Faults::new();
        let registries = read(document.root(), &mut none).unwrap();
        assert_eq!(registries["docker.io"].login(), Some(("a", "b")));
        assert_eq!(registries["r.example.com:5000"].login(), None);
        assert_eq!(registries["r.example.com:5000"].pull_from.as_deref(), Some("r-vpc.example.com"));
    }

    #[test]
    fn every_mistake_is_told() {
        let told = faults(
            "registries:\n  harbor: {}\n  r.lan: {username: ci}\n  s.lan: {password: x}\n  t.lan: {pull_from: 'https://vpc'}\n  u.lan: {ca: nonsense}\n",
        );
        for expected in [
            "longshore.yaml:2:11: registries.harbor: `harbor` is no registry host",
            r#"registries["r.lan"]: a `username` without a password"#,
            r#"registries["s.lan"]: a password without a `username`"#,
            r#"registries["t.lan"].pull_from: `https://vpc` is no registry host"#,
            r#"registries["u.lan"].ca: the registry's authorities hold no certificate in PEM"#,
        ] {
            assert!(told.contains(expected), "{expected}\n---\n{told}");
        }
    }
}
