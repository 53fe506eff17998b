//! Where a Portainer is and who asks it, as the configuration says it.

use std::{fmt, num::NonZeroUsize, str::FromStr, time::Duration};

use config::{Faults, Node, Secret, Span};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::target::{web, wrong::Wrong};

/// Calls that one worker has under way at a Portainer at once, where the configuration does not say. Portainer deploys
/// one stack at a time, whatever it is asked.
pub(super) const DEFAULT_AT_ONCE: NonZeroUsize = NonZeroUsize::new(2).unwrap();

/// How long a deploy may take where the configuration does not say: as long as the newest Portainers give one.
pub(super) const LONGEST_DEPLOY: Duration = Duration::from_secs(15 * 60);

/// A Portainer in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PortainerSettings {
    /// Its address, as a browser has it: `https://portainer.example.com:9443`.
    pub url: PortainerUrl,
    /// An access token of the user to act as (`ptr_…`), made in Portainer under "My account".
    #[serde(default)]
    pub api_key: Option<Secret>,
    /// Who logs in, where there is no access token.
    #[serde(default)]
    pub username: Option<String>,
    /// With what.
    #[serde(default)]
    pub password: Option<Secret>,
    /// The environment whose stacks are meant, by its name or its number; it may be left out where there is only one.
    #[serde(default)]
    pub environment: Option<String>,
    /// Path of a file with PEM certificates of the authorities that vouch for it; the machine's own without.
    #[serde(default)]
    #[schemars(rename = "ca_file")]
    pub ca: Option<String>,
    /// Take any certificate. Whoever stands in between reads the access token; `ca_file` is the better way.
    #[serde(default)]
    pub insecure_tls: Option<bool>,
    /// Most calls under way at once, 2 by default.
    #[serde(default)]
    pub at_once: Option<NonZeroUsize>,
    /// The longest that one deploy may take, the others that Portainer carries out before it counted; `15m` by default. A
    /// deploy that nobody answered is looked for as long, and only then asked for once more.
    #[serde(default)]
    pub longest_deploy: Option<Span>,
    /// How long the first login is tried where nobody answers: jobs end then, and at once where Portainer does not let this
    /// address log in. Without it they come again as after any other outage.
    #[serde(default)]
    pub login_within: Option<Span>,
}

/// The address of a Portainer, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("pattern" = "^https?://.+$"))]
pub struct PortainerUrl(String);

/// Why a text is no address of a Portainer. It never repeats the text, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PortainerUrlError {
    /// No address of a web server.
    #[error("this is no Portainer's address\nhint: write https://portainer.example.com:9443")]
    Form,
    /// Somebody is to be logged in, which goes into keys of its own.
    #[error(
        "the address takes no user or password\nhint: give `api_key_file`, or `username` and `password_file`"
    )]
    UserInfo,
}

/// How Portainer is told who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    ApiKey(Secret),
    Login { username: String, password: Secret },
}

impl PortainerSettings {
    /// Adds a fault at whatever cannot be used.
    pub(crate) fn check(&self, node: &Node, faults: &mut Faults) {
        let told = [self.credentials().err(), self.tls_wrong()];
        told.into_iter().flatten().for_each(|wrong| wrong.tell(node, faults));
    }

    /// Whether both are one Portainer, asked in the same way: they may share a login.
    pub(crate) fn is_same_portainer(&self, other: &PortainerSettings) -> bool {
        let without =
            |settings: &PortainerSettings| PortainerSettings { environment: None, ..settings.clone() };
        without(self) == without(other)
    }

    pub(super) fn credentials(&self) -> Result<Credentials, Wrong> {
        match (&self.api_key, &self.username, &self.password) {
            (Some(key), None, None) => Ok(Credentials::ApiKey(key.clone())),
            (None, Some(username), Some(password)) => {
                Ok(Credentials::Login { username: username.clone(), password: password.clone() })
            }
            (Some(_), _, _) => Err(Wrong::new(
                &["username", "password_file", "password"],
                "an access token and somebody who logs in",
                "keep `api_key_file` alone: it needs no login and outlives Portainer's restarts",
            )),
            (None, Some(_), None) => {
                Err(Wrong::new(&["username"], "a `username` without a password", "add `password_file`"))
            }
            (None, None, Some(_)) => Err(Wrong::new(
                &["password_file", "password"],
                "a password without a `username`",
                "add `username`",
            )),
            (None, None, None) => Err(Wrong::new(
                &[],
                "neither an access token nor somebody who logs in is given",
                "add `api_key_file`; an access token is made in Portainer under \"My account\"",
            )),
        }
    }

    fn tls_wrong(&self) -> Option<Wrong> {
        let insecure = self.insecure_tls.unwrap_or_default();
        match &self.ca {
            Some(_) if insecure => Some(Wrong::anyone_beside_authorities(&["insecure_tls"])),
            Some(_) | None if !self.url.is_https() && (insecure || self.ca.is_some()) => {
                Some(Wrong::no_tls(&["ca_file", "ca", "insecure_tls"]))
            }
            Some(pem) if !web::holds_certificates(pem) => Some(Wrong::no_authorities(&["ca_file", "ca"])),
            Some(_) | None => None,
        }
    }
}

impl PortainerUrl {
    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is asked over TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }
}

impl FromStr for PortainerUrl {
    type Err = PortainerUrlError;

    fn from_str(text: &str) -> Result<Self, PortainerUrlError> {
        let whole = web::address(text).map_err(|wrong| match wrong {
            web::AddressError::Form => PortainerUrlError::Form,
            web::AddressError::UserInfo => PortainerUrlError::UserInfo,
        })?;
        // People copy the address from the API's documentation as well.
        Ok(PortainerUrl(whole.strip_suffix("/api").unwrap_or(&whole).to_owned()))
    }
}

impl TryFrom<String> for PortainerUrl {
    type Error = PortainerUrlError;

    fn try_from(text: String) -> Result<Self, PortainerUrlError> {
        text.parse()
    }
}

impl fmt::Display for PortainerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        let document = config::Document::parse("longshore.yaml", &format!("system: {text}")).unwrap();
        let mut faults = Faults::new();
        let node = document.root().get("system").unwrap();
        if let Some(settings) = node.read::<PortainerSettings>(&mut faults) {
            settings.check(node, &mut faults);
        }
        faults.to_string()
    }

    #[test]
    fn addresses_are_read_and_a_password_in_them_is_never_repeated() {
        for (typed, meant) in [
            ("https://p.lan:9443", "https://p.lan:9443"),
            ("https://p.lan:9443/", "https://p.lan:9443"),
            ("http://10.0.0.1:9000/api/", "http://10.0.0.1:9000"),
            ("https://tools.lan/portainer", "https://tools.lan/portainer"),
        ] {
            assert_eq!(typed.parse::<PortainerUrl>().unwrap().as_str(), meant);
        }
        for typed in ["", "p.lan:9443", "tcp://p.lan", "https://", "https://p?x=1", "https://p/#/home"] {
            assert_eq!(typed.parse::<PortainerUrl>(), Err(PortainerUrlError::Form), "{typed}");
        }
        let error = "https://u:sup3rs3cret@p.lan".parse::<PortainerUrl>().unwrap_err();
        assert_eq!(error, PortainerUrlError::UserInfo);
        assert!(!format!("{error} {error:?}").contains("sup3r"));
    }

    #[test]
    fn each_mistake_is_told_at_its_key() {
        for (text, said) in [
            ("{url: 'https://p'}", "system: neither an access token nor somebody who logs in is given"),
            ("{url: 'https://p', username: a}", "system.username: a `username` without a password"),
            ("{url: 'https://p', password: a}", "system.password: a password without a `username`"),
            (
                "{url: 'https://p', api_key: k, username: a, password: b}",
                "system.username: an access token and somebody who logs in",
            ),
            (
                "{url: 'https://p', api_key: k, ca: x}",
                "system.ca: the authorities hold no certificate in PEM",
            ),
            (
                "{url: 'http://p', api_key: k, insecure_tls: true}",
                "system.insecure_tls: the address speaks no TLS",
            ),
            ("{url: 'https://p', api_key: k, environmet: x}", "unknown key `environmet`"),
            ("{url: 'https://p', api_key: k, at_once: 0}", "system.at_once"),
        ] {
            assert!(told(text).contains(said), "{text}\n---\n{}", told(text));
        }
        assert_eq!(told("{url: 'https://p', api_key: k, environment: 2, insecure_tls: true}"), "");
        assert_eq!(told("{url: 'https://p', username: a, password: b, environment: production}"), "");
    }
}
