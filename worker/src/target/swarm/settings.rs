//! Where a swarm is, as the configuration says it.

use std::{fmt, num::NonZeroUsize, path::PathBuf, str::FromStr};

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
    /// Most calls under way at once, 16 by default. Watching a rollout takes none while it waits.
    #[serde(default)]
    pub at_once: Option<NonZeroUsize>,
}

/// How a manager's engine is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("pattern" = "^(unix:///.+|tcp://.+)$"))]
pub enum SwarmHost {
    /// A socket on this machine.
    Unix(PathBuf),
    /// Host and port of an engine that listens in the clear.
    Tcp(String),
}

/// Why a text is no host of a swarm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no engine's address\nhint: write unix:///var/run/docker.sock or tcp://host:2375")]
pub struct SwarmHostError(String);

impl FromStr for SwarmHost {
    type Err = SwarmHostError;

    fn from_str(text: &str) -> Result<Self, SwarmHostError> {
        let bad = || SwarmHostError(text.to_owned());
        if let Some(path) = text.strip_prefix("unix://") {
            return if path.starts_with('/') { Ok(SwarmHost::Unix(path.into())) } else { Err(bad()) };
        }
        let address = text.strip_prefix("tcp://").ok_or_else(bad)?.trim_end_matches('/');
        let url = reqwest::Url::parse(&format!("http://{address}")).map_err(|_| bad())?;
        let plain = url.username().is_empty() && url.password().is_none() && url.path() == "/";
        let host = url.host_str().filter(|host| plain && !host.is_empty()).ok_or_else(bad)?;
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
        for typed in
            ["", "docker.sock", "unix://docker.sock", "tcp://", "tcp://a:b@c", "tcp://a/b", "http://a"]
        {
            assert_eq!(typed.parse::<SwarmHost>(), Err(SwarmHostError(typed.to_owned())), "{typed}");
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
