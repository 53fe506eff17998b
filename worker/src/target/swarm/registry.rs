//! The keys to registries, as an engine takes them.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use proto::{ImageRef, Repository};
use serde_json::{Map, Value, json};

const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_SERVER: &str = "https://index.docker.io/v1/";

/// The keys a worker has, by registry host (`docker.io`, `harbor.acme.lan:8443`), and the other addresses of
/// registries that have two.
#[derive(Debug, Clone, Default)]
pub struct Registries {
    keys: HashMap<String, RegistryKey>,
    pull_from: HashMap<String, String>,
}

/// User and password of one registry, encoded once for the engine and never shown.
#[derive(Clone)]
struct RegistryKey(String);

impl Registries {
    /// Adds the key of `host`, in place of an earlier one.
    #[must_use]
    pub fn with(mut self, host: &str, username: &str, password: &str) -> Registries {
        self.keys.insert(host.to_owned(), RegistryKey::new(host, username, password));
        // The same registry: its other address takes the same key, unless it has one of its own.
        if let Some(other) = self.pull_from.get(host) {
            let key = || RegistryKey::new(other, username, password);
            self.keys.entry(other.clone()).or_insert_with(key);
        }
        self
    }

    /// Says that engines pull from `other` what is named by `host`. To be said before the host's key.
    #[must_use]
    pub fn with_pull_from(mut self, host: &str, other: &str) -> Registries {
        self.pull_from.insert(host.to_owned(), other.to_owned());
        self
    }

    /// The image as engines are to pull it.
    #[must_use]
    pub fn pulled_as(&self, image: &ImageRef) -> ImageRef {
        let repository = image.repository();
        let Some(other) = self.pull_from.get(repository.host()) else { return image.clone() };
        let moved = format!("{other}/{}", repository.path()).parse::<Repository>().ok();
        let moved = moved.and_then(|moved| ImageRef::new(moved, image.tag(), image.digest().cloned()).ok());
        moved.unwrap_or_else(|| image.clone())
    }

    /// The logins to these registries in the form of the docker command's own file.
    pub(super) fn docker_config(&self, hosts: &BTreeSet<String>) -> Value {
        let login = |key: &RegistryKey| -> Option<(String, Value)> {
            let key: Value = serde_json::from_slice(&URL_SAFE.decode(&key.0).ok()?).ok()?;
            let text = |name: &str| key[name].as_str().map(str::to_owned);
            let auth = STANDARD.encode(format!("{}:{}", text("username")?, text("password")?));
            Some((text("serveraddress")?, json!({"auth": auth})))
        };
        let keys = hosts.iter().filter_map(|host| self.keys.get(host));
        json!({"auths": keys.filter_map(login).collect::<Map<String, Value>>()})
    }

    /// The value of `X-Registry-Auth` for an image of `repository`.
    pub(in crate::target) fn header_for(&self, repository: &Repository) -> Option<&str> {
        self.keys.get(repository.host()).map(|key| key.0.as_str())
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
        let back: Value = serde_json::from_slice(&URL_SAFE.decode(header).unwrap()).unwrap();
        assert_eq!(back, json!({"username": "ci", "password": "??>>~~", "serveraddress": "r.lan:5000"}));
        assert!(registries.header_for(&"nginx".parse().unwrap()).is_some());
        assert!(registries.header_for(&"other.lan/x".parse().unwrap()).is_none());
        assert!(!format!("{registries:?}").contains(header));
    }

    #[test]
    fn the_docker_command_gets_the_logins_that_it_needs_and_no_other() {
        let registries = Registries::default().with("r.lan:5000", "ci", "a:b").with("docker.io", "me", "x");
        let only = |host: &str| registries.docker_config(&BTreeSet::from([host.to_owned()]));
        assert_eq!(only("r.lan:5000"), json!({"auths": {"r.lan:5000": {"auth": STANDARD.encode("ci:a:b")}}}));
        let hub = json!({"auths": {DOCKER_HUB_SERVER: {"auth": STANDARD.encode("me:x")}}});
        assert_eq!(only("docker.io"), hub);
        assert_eq!(only("other.lan"), json!({"auths": {}}));
    }

    #[test]
    fn the_other_address_of_a_registry_is_pulled_from_with_the_same_key() {
        let image = |text: &str| text.parse::<ImageRef>().unwrap();
        let digest = format!("sha256:{}", "a".repeat(64));
        let registries =
            Registries::default().with_pull_from("r.lan:5000", "r-vpc.lan").with("r.lan:5000", "ci", "x");
        let pulled = registries.pulled_as(&image(&format!("r.lan:5000/a/b:1@{digest}")));
        assert_eq!(pulled.to_string(), format!("r-vpc.lan/a/b:1@{digest}"));
        assert_eq!(registries.pulled_as(&pulled), pulled);
        assert_eq!(registries.pulled_as(&image("other.lan/a:1")), image("other.lan/a:1"));
        let header = registries.header_for(pulled.repository()).unwrap();
        let key: Value = serde_json::from_slice(&URL_SAFE.decode(header).unwrap()).unwrap();
        assert_eq!(key, json!({"username": "ci", "password": "x", "serveraddress": "r-vpc.lan"}));
        let own = registries.with("r-vpc.lan", "vpc", "y").with("r.lan:5000", "ci", "z");
        let header = own.header_for(pulled.repository()).unwrap();
        let key: Value = serde_json::from_slice(&URL_SAFE.decode(header).unwrap()).unwrap();
        assert_eq!(key["username"], "vpc");
    }
}
