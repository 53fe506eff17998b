//! Where a swarm is, as the configuration says it.

use std::{fmt, num::NonZeroUsize, path::PathBuf, str::FromStr};

use config::Secret;
use schemars::JsonSchema;
use serde::Deserialize;

const DEFAULT_PORT: u16 = 2375;

/// Calls that one worker has under way at a swarm at once, where the configuration does not say.
pub(super) const DEFAULT_AT_ONCE: usize = 16;

/// A swarm in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SwarmSettings {
    /// One of the swarm's managers: `unix:///var/run/docker.sock` or `tcp://host:port`.
    pub host: SwarmHost,
    /// Path of a file with PEM certificates of the authorities to trust; TLS is spoken when it is given, by `tcp://`
    /// alone.
    #[serde(default)]
    #[schemars(rename = "ca_file")]
    pub ca: Option<String>,
    /// Path of a file with the PEM certificate to show to the engine.
    #[serde(default)]
    #[schemars(rename = "cert_file")]
    pub cert: Option<String>,
    /// The private key of that certificate, in PEM.
    #[serde(default)]
    pub key: Option<Secret>,
    /// Most calls under way at once, 16 by default. Watching a rollout takes none while it waits.
    #[serde(default)]
    pub at_once: Option<NonZeroUsize>,
    /// How targets are found that are not declared: `labels`, every service with the label `longshore.follow`.
    /// Without, none are looked for.
    #[serde(default)]
    pub discover: Option<Discover>,
}

/// How targets are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Discover {
    /// By the labels of services.
    Labels,
}

/// How a manager's engine is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("pattern" = "^(unix:///.+|tcp://.+)$"))]
pub enum SwarmHost {
    /// A socket on this machine.
    Unix(PathBuf),
    /// Host and port of an engine that listens in the clear, or, where certificates are given, speaks TLS.
    Tcp(String),
}

/// Why a text is no host of a swarm. It never repeats the text, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SwarmHostError {
    /// Neither a socket's path nor a host with or without a port.
    #[error("this is no engine's address\nhint: write unix:///var/run/docker.sock or tcp://host:2375")]
    Form,
    /// Somebody is to be logged in, which an engine knows nothing of.
    #[error(
        "an engine's address takes no user or password\nhint: write tcp://host:2375, without what stands before `@`"
    )]
    UserInfo,
}

impl FromStr for SwarmHost {
    type Err = SwarmHostError;

    fn from_str(text: &str) -> Result<Self, SwarmHostError> {
        if let Some(path) = text.strip_prefix("unix://") {
            let is_absolute = path.starts_with('/');
            return is_absolute.then(|| SwarmHost::Unix(path.into())).ok_or(SwarmHostError::Form);
        }
        if text.contains('@') {
            return Err(SwarmHostError::UserInfo);
        }
        let address = text.strip_prefix("tcp://").ok_or(SwarmHostError::Form)?.trim_end_matches('/');
        let url = reqwest::Url::parse(&format!("http://{address}")).map_err(|_| SwarmHostError::Form)?;
        let plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let host = url.host_str().filter(|host| plain && !host.is_empty()).ok_or(SwarmHostError::Form)?;
        // `Url` drops a port that is the scheme's own.
        let port = if address.ends_with(":80") { 80 } else { url.port().unwrap_or(DEFAULT_PORT) };
        Ok(SwarmHost::Tcp(format!("{host}:{port}")))
    }
}

impl TryFrom<String> for SwarmHost {
    type Error = SwarmHostError;

    fn try_from(text: String) -> Result<Self, SwarmHostError> {
        text.parse()
    }
}

impl fmt::Display for SwarmHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SwarmHost::Unix(path) => write!(f, "unix://{}", path.display()),
            SwarmHost::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_and_printed() {
        for (typed, printed) in [
            ("unix:///var/run/docker.sock", "unix:///var/run/docker.sock"),
            ("tcp://10.0.0.7:2376", "tcp://10.0.0.7:2376"),
            ("tcp://manager.lan", "tcp://manager.lan:2375"),
            ("tcp://manager.lan:80/", "tcp://manager.lan:80"),
            ("tcp://[::1]:2375", "tcp://[::1]:2375"),
        ] {
            assert_eq!(
                typed.parse::<SwarmHost>().map(|host| host.to_string()),
                Ok(printed.into()),
                "{typed}"
            );
        }
        for typed in [
            "",
            "docker.sock",
            "unix://docker.sock",
            "tcp://",
            "tcp://a/b",
            "tcp://a?b=c",
            "tcp://a#b",
            "http://a",
        ] {
            assert_eq!(typed.parse::<SwarmHost>(), Err(SwarmHostError::Form), "{typed}");
        }
        assert!("unix:///run/a@b.sock".parse::<SwarmHost>().is_ok());
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_never_repeated() {
        for typed in [
            "tcp://u:sup3rs3cret@h:1",
            "tcp://sup3rs3cret@h",
            "u:sup3rs3cret@h",
            "tcp://u:sup3rs3cret@h:99999",
        ] {
            assert_eq!(typed.parse::<SwarmHost>(), Err(SwarmHostError::UserInfo), "{typed}");
        }
        for typed in ["tcp://u:sup3rs3cret@h:1", "http://u:sup3rs3cret@h", "tcp://u:sup3rs3cret"] {
            let error = typed.parse::<SwarmHost>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("sup3r"), "{error}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let good = r#"{"host": "tcp://a:1", "at_once": 4}"#;
        assert_eq!(serde_json::from_str::<SwarmSettings>(good).unwrap().at_once, NonZeroUsize::new(4));
        assert!(serde_json::from_str::<SwarmSettings>(r#"{"host": "tcp://a:1", "hots": 1}"#).is_err());
        assert!(serde_json::from_str::<SwarmSettings>(r#"{"host": "tcp://a:1", "at_once": 0}"#).is_err());
    }
}
