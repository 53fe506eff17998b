//! Where a cluster is and who asks it, as the configuration says it.

use std::{num::NonZeroUsize, path::PathBuf};

use config::{Faults, Node, Secret};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    client::{Credential, Trust},
    kubeconfig,
};
use crate::target::{web, wrong::Wrong};

/// Where a pod finds what its service account is given.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// A cluster of Kubernetes in the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KubernetesSettings {
    /// A kubeconfig, as `kubectl config view --flatten --raw` prints it; `kubeconfig_file` names its file.
    #[serde(default)]
    pub kubeconfig: Option<Secret>,
    /// Which of the kubeconfig's contexts is meant; its current one without.
    #[serde(default)]
    pub context: Option<String>,
    /// The address of the API server, where there is no kubeconfig: `https://10.0.0.1:6443`.
    #[serde(default)]
    pub url: Option<String>,
    /// The bearer token of the service account to act as.
    #[serde(default)]
    pub token: Option<Secret>,
    /// The PEM certificate to show, in place of a token.
    #[serde(default)]
    pub client_certificate: Option<Secret>,
    /// The PEM key of that certificate.
    #[serde(default)]
    pub client_key: Option<Secret>,
    /// Path of a file with PEM certificates of the authorities that vouch for the API server; the machine's own without.
    #[serde(default)]
    #[schemars(rename = "ca_file")]
    pub ca: Option<String>,
    /// Take any certificate. Whoever stands in between reads the token; `ca_file` is the better way.
    #[serde(default)]
    pub insecure_tls: Option<bool>,
    /// The worker runs in the cluster itself: it asks as the service account of its own pod.
    #[serde(default)]
    pub in_cluster: Option<bool>,
    /// Most calls under way at once, 8 by default.
    #[serde(default)]
    pub at_once: Option<NonZeroUsize>,
}

/// Where the API server is, whom to trust, and who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Door {
    pub(super) base: String,
    pub(super) trust: Trust,
    pub(super) credential: Credential,
}

impl KubernetesSettings {
    /// Adds a fault at whatever cannot be used.
    pub(crate) fn check(&self, node: &Node, faults: &mut Faults) {
        if let Err(wrong) = self.door() {
            wrong.tell(node, faults);
        }
    }

    /// What tells this cluster from others, whatever the system is called.
    pub(crate) fn host(&self) -> String {
        self.door().map(|door| door.base).unwrap_or_default()
    }

    pub(super) fn door(&self) -> Result<Door, Wrong> {
        let in_cluster = self.in_cluster.unwrap_or_default();
        match (&self.kubeconfig, &self.url, in_cluster) {
            (Some(text), None, false) => {
                self.nothing_beside_kubeconfig()?;
                kubeconfig::door(text, self.context.as_deref())
            }
            (None, Some(url), false) => self.door_at(url),
            (None, None, true) => door_of_pod(),
            (None, None, false) => Err(Wrong::new(
                &[],
                "nothing says where the cluster is",
                "add `kubeconfig_file`, or `url` with `token_file` and `ca_file`, or `in_cluster: true`",
            )),
            _ => Err(Wrong::new(
                &["in_cluster", "url"],
                "the cluster is named in several ways",
                "keep one of `kubeconfig_file`, `url` and `in_cluster`",
            )),
        }
    }

    fn nothing_beside_kubeconfig(&self) -> Result<(), Wrong> {
        let others = self.token.is_some()
            || self.client_certificate.is_some()
            || self.client_key.is_some()
            || self.ca.is_some()
            || self.insecure_tls.is_some();
        if !others {
            return Ok(());
        }
        const KEYS: &[&str] = &[
            "token",
            "token_file",
            "client_certificate",
            "client_certificate_file",
            "client_key",
            "client_key_file",
            "ca",
            "ca_file",
            "insecure_tls",
        ];
        Err(Wrong::new(
            KEYS,
            "the kubeconfig says this already",
            "write it into the kubeconfig, or use `url` in its place",
        ))
    }

    fn door_at(&self, url: &str) -> Result<Door, Wrong> {
        let base = base(url, &["url"])?;
        let identity = match (&self.client_certificate, &self.client_key) {
            (Some(certificate), Some(key)) => Some(identity(certificate.expose(), key.expose())?),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                return Err(Wrong::new(
                    &["client_certificate", "client_certificate_file", "client_key", "client_key_file"],
                    "a certificate and its key belong together",
                    "give both `client_certificate_file` and `client_key_file`",
                ));
            }
        };
        let credential = match (&self.token, &identity) {
            (Some(token), None) => Credential::Bearer(token.clone()),
            (None, Some(_)) => Credential::Certificate,
            (Some(_), Some(_)) => {
                return Err(Wrong::new(
                    &["token", "token_file"],
                    "a token and a certificate",
                    "keep one of the two",
                ));
            }
            (None, None) => {
                return Err(Wrong::new(&[], "nothing says who asks the cluster", "add `token_file`"));
            }
        };
        if self.context.is_some() {
            return Err(Wrong::new(&["context"], "a `context` is one of a kubeconfig", "remove it"));
        }
        let trust = Trust { ca: self.ca.clone(), insecure: self.insecure_tls.unwrap_or_default(), identity };
        checked(Door { base, trust, credential }, &["ca_file", "ca", "insecure_tls"])
    }
}

/// What can be said of a door before anybody knocks.
pub(super) fn checked(door: Door, keys: &'static [&'static str]) -> Result<Door, Wrong> {
    let Trust { ca, insecure, identity } = &door.trust;
    if door.base.starts_with("http://") && (ca.is_some() || *insecure || identity.is_some()) {
        return Err(Wrong::no_tls(keys));
    }
    if ca.is_some() && *insecure {
        return Err(Wrong::anyone_beside_authorities(keys));
    }
    if ca.as_ref().is_some_and(|pem| !web::holds_certificates(pem)) {
        return Err(Wrong::no_authorities(keys));
    }
    Ok(door)
}

/// The certificate and the key to show, as one text.
pub(super) fn identity(certificate: &str, key: &str) -> Result<Secret, Wrong> {
    const KEYS: &[&str] = &["client_certificate_file", "client_certificate", "kubeconfig_file", "kubeconfig"];
    let whole = Secret::new(format!("{certificate}\n{key}"));
    if reqwest::Identity::from_pem(whole.expose().as_bytes()).is_err() {
        return Err(Wrong::new(
            KEYS,
            "the certificate to show, or its key, is not in PEM",
            "they begin with `-----BEGIN CERTIFICATE-----` and `-----BEGIN … PRIVATE KEY-----`",
        ));
    }
    Ok(whole)
}

/// An address without a slash at its end. Whatever is wrong, it is not repeated: it may hold a password.
pub(super) fn base(text: &str, keys: &'static [&'static str]) -> Result<String, Wrong> {
    web::address(text).map_err(|wrong| match wrong {
        web::AddressError::Form => {
            Wrong::new(keys, "this is no address of an API server", "write `https://10.0.0.1:6443`")
        }
        web::AddressError::UserInfo => {
            Wrong::new(keys, "the address takes no user or password", "give `token_file`")
        }
    })
}

fn door_of_pod() -> Result<Door, Wrong> {
    const KEYS: &[&str] = &["in_cluster"];
    let missing = |what: String| {
        Wrong::new(
            KEYS,
            what,
            "this process does not run in a pod with a service account; use `kubeconfig_file`",
        )
    };
    let variable =
        |name: &str| std::env::var(name).map_err(|_| missing(format!("the variable {name} is not set")));
    let (host, port) = (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
    // An address of IPv6 stands in brackets.
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let ca = std::fs::read_to_string(format!("{SERVICE_ACCOUNT}/ca.crt"))
        .map_err(|error| missing(format!("{SERVICE_ACCOUNT}/ca.crt cannot be read: {error}")))?;
    let base = base(&format!("https://{host}:{port}"), KEYS)?;
    let credential = Credential::BearerFile(PathBuf::from(format!("{SERVICE_ACCOUNT}/token")));
    checked(Door { base, trust: Trust { ca: Some(ca), ..Trust::default() }, credential }, KEYS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        let document = config::Document::parse("longshore.yaml", &format!("system: {text}")).unwrap();
        let mut faults = Faults::new();
        let node = document.root().get("system").unwrap();
        if let Some(settings) = node.read::<KubernetesSettings>(&mut faults) {
            settings.check(node, &mut faults);
        }
        faults.to_string()
    }

    #[test]
    fn each_mistake_is_told_at_its_key() {
        for (text, said) in [
            ("{}", "system: nothing says where the cluster is"),
            ("{url: 'https://k:6443'}", "system: nothing says who asks the cluster"),
            ("{url: 'k:6443', token: t}", "system.url: this is no address of an API server"),
            (
                "{url: 'https://u:sup3rs3cret@k', token: t}",
                "system.url: the address takes no user or password",
            ),
            (
                "{url: 'https://k', token: t, in_cluster: true}",
                "system.in_cluster: the cluster is named in several ways",
            ),
            ("{url: 'https://k', token: t, ca: x}", "system.ca: the authorities hold no certificate in PEM"),
            (
                "{url: 'http://k', token: t, insecure_tls: true}",
                "system.insecure_tls: the address speaks no TLS",
            ),
            (
                "{url: 'https://k', client_certificate: c}",
                "system.client_certificate: a certificate and its key belong together",
            ),
            (
                "{url: 'https://k', client_certificate: c, client_key: k}",
                "system.client_certificate: the certificate to show",
            ),
            (
                "{url: 'https://k', token: t, context: c}",
                "system.context: a `context` is one of a kubeconfig",
            ),
            ("{kubeconfig: '{}', token: t}", "system.token: the kubeconfig says this already"),
            ("{url: 'https://k', token: t, tokn: t}", "unknown key `tokn`"),
            ("{in_cluster: true}", "system.in_cluster: the variable KUBERNETES_SERVICE_HOST is not set"),
        ] {
            assert!(told(text).contains(said), "{text}\n---\n{}", told(text));
            assert!(!told(text).contains("sup3r"), "{}", told(text));
        }
        for text in [
            "{url: 'https://k:6443/', token: t}",
            "{url: 'https://r/k8s/clusters/c-x', token: t, insecure_tls: true}",
        ] {
            assert_eq!(told(text), "", "{text}");
        }
    }
}
