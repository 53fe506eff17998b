//! The keys to registries, as an engine takes them.

use std::{collections::HashMap, fmt};

use base64::{Engine, engine::general_purpose::URL_SAFE};
use proto::Repository;
use serde_json::json;

const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_SERVER: &str = "https://index.docker.io/v1/";

/// The keys a worker has, by registry host (`docker.io`, `harbor.acme.lan:8443`).
#[derive(Debug, Clone, Default)]
pub struct Registries(HashMap<String, RegistryKey>);

/// User and password of one registry, encoded once for the engine and never shown.
#[derive(Clone)]
struct RegistryKey(String);

impl Registries {
    /// Adds the key of `host`, in place of an earlier one.
    #[must_use]
    pub fn with(mut self, host: &str, username: &str, password: &str) -> Registries {
        self.0.insert(host.to_owned(), RegistryKey::new(host, username, password));
        self
    }

    /// The value of `X-Registry-Auth` for an image of `repository`.
    pub(super) fn header_for(&self, repository: &Repository) -> Option<&str> {
        self.0.get(repository.host()).map(|key| key.0.as_str())
    }
}

impl RegistryKey {
    /// In the URL-safe alphabet with padding: with another one, engines silently pull without credentials.
    fn new(host: &str, username: &str, password: &str) -> RegistryKey {
        let server = if host == DOCKER_HUB { DOCKER_HUB_SERVER } else { host };
        let key = json!({"username": username, "password": password, "serveraddress": server});
        RegistryKey(URL_SAFE.encode(key.to_string()))
    }
}

impl fmt::Debug for RegistryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RegistryKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_url_safe_padded_and_hidden() {
        let registries = Registries::default().with("r.lan:5000", "ci", "??>>~~").with("docker.io", "a", "b");
        let header = registries.header_for(&"r.lan:5000/a/b".parse().unwrap()).unwrap();
        assert!(!header.contains(['+', '/']), "{header}");
        assert_eq!(header.len() % 4, 0);
        let back: serde_json::Value = serde_json::from_slice(&URL_SAFE.decode(header).unwrap()).unwrap();
        assert_eq!(back, json!({"username": "ci", "password": "??>>~~", "serveraddress": "r.lan:5000"}));
        assert!(registries.header_for(&"nginx".parse().unwrap()).is_some());
        assert!(registries.header_for(&"other.lan/x".parse().unwrap()).is_none());
        assert!(!format!("{registries:?}").contains(header));
    }
}
