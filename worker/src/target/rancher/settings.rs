//! Where a Rancher is and who asks it, as the configuration says it.

use std::{fmt, num::NonZeroUsize, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};
use config::{Faults, Node, Secret};
use reqwest::header::HeaderValue;
use schemars::JsonSchema;
use serde::Deserialize;

use super::pin::Pin;
use crate::target::{web, wrong::Wrong};

/// Calls that one worker has under way at a Rancher at once, where the configuration does not say.
pub(super) const DEFAULT_AT_ONCE: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// A Rancher in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RancherSettings {
    /// Its address, as a browser has it: `https://rancher.example.com`.
    pub url: RancherUrl,
    /// The bearer token of an API key (`token-xxxxx:…`), made in Rancher under "API & Keys". One for a single cluster
    /// is enough, and can do less harm.
    #[serde(default)]
    pub token: Option<Secret>,
    /// The access key of an API key, where its two halves are kept apart (`token-xxxxx`).
    #[serde(default)]
    pub access_key: Option<String>,
    /// The secret key that belongs to it.
    #[serde(default)]
    pub secret_key: Option<Secret>,
    /// Path of a file with PEM certificates of the authorities that vouch for it; the machine's own without.
    #[serde(default)]
    #[schemars(rename = "ca_file")]
    pub ca: Option<String>,
    /// The SHA-256 of the authorities that Rancher shows under `/v3/settings/cacerts`, in hexadecimal digits: they are
    /// fetched once, compared with it, and then trusted.
    #[serde(default)]
    pub ca_sha256: Option<Pin>,
    /// Take any certificate. Whoever stands in between reads the key; `ca_sha256` is the better way.
    #[serde(default)]
    pub insecure_tls: Option<bool>,
    /// Most calls under way at once, 4 by default.
    #[serde(default)]
    pub at_once: Option<NonZeroUsize>,
}

/// The address of a Rancher, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("pattern" = "^https?://.+$"))]
pub struct RancherUrl(String);

/// Why a text is no address of a Rancher. It never repeats the text, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RancherUrlError {
    /// No address of a web server.
    #[error("this is no Rancher's address\nhint: write https://rancher.example.com")]
    Form,
    /// Somebody is to be logged in, which goes into keys of its own.
    #[error("the address takes no user or password\nhint: give `token_file`")]
    UserInfo,
}

/// How Rancher is told who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    /// For `Authorization`; marked as one that is never shown.
    pub(super) header: HeaderValue,
    /// What the key is called, which is no secret.
    pub(super) name: String,
}

const TOKEN: &[&str] = &["token_file", "token"];
const HALVES: &[&str] = &["secret_key_file", "secret_key", "access_key"];

impl RancherSettings {
    /// Adds a fault at whatever cannot be used.
    pub(crate) fn check(&self, node: &Node, faults: &mut Faults) {
        let told = [self.credentials().err(), self.tls_wrong()];
        told.into_iter().flatten().for_each(|wrong| wrong.tell(node, faults));
    }

    /// A bearer token is sent as one, two halves by the basic scheme: to Rancher it is the same.
    pub(super) fn credentials(&self) -> Result<Credentials, Wrong> {
        match (&self.token, &self.access_key, &self.secret_key) {
            (Some(token), None, None) => bearer(token.expose().trim()),
            (None, Some(access), Some(secret)) => basic(access.trim(), secret.expose().trim()),
            (Some(_), _, _) => Err(Wrong::new(
                HALVES,
                "a token, and the two halves of a key",
                "keep one of them: `token_file` holds both halves with a colon between them",
            )),
            (None, Some(_), None) => Err(Wrong::new(
                &["access_key"],
                "an `access_key` without its secret",
                "add `secret_key_file`",
            )),
            (None, None, Some(_)) => {
                Err(Wrong::new(HALVES, "a secret key without its `access_key`", "add `access_key`"))
            }
            (None, None, None) => Err(Wrong::new(
                &[],
                "no key is given",
                "add `token_file`; a key is made in Rancher under \"API & Keys\", best for one cluster",
            )),
        }
    }

    fn tls_wrong(&self) -> Option<Wrong> {
        let insecure = self.insecure_tls.unwrap_or_default();
        let trusts = self.ca.is_some() || self.ca_sha256.is_some();
        if trusts && insecure {
            return Some(Wrong::anyone_beside_authorities(&["insecure_tls"]));
        }
        if self.ca.is_some() && self.ca_sha256.is_some() {
            let hint = "keep `ca_file`: then nothing has to be fetched";
            return Some(Wrong::new(
                &["ca_sha256"],
                "authorities, and the digest of authorities to fetch",
                hint,
            ));
        }
        if (trusts || insecure) && !self.url.is_https() {
            return Some(Wrong::no_tls(&["ca_file", "ca", "ca_sha256", "insecure_tls"]));
        }
        let pem = self.ca.as_deref()?;
        (!web::holds_certificates(pem)).then(|| Wrong::no_authorities(&["ca_file", "ca"]))
    }
}

/// Names of newer keys begin in other ways than with `token-`: nothing but the one colon is sure.
fn bearer(token: &str) -> Result<Credentials, Wrong> {
    const HINT: &str = "copy the bearer token whole, as `token-xxxxx:` and some fifty characters";
    let (name, secret) =
        token.split_once(':').ok_or_else(|| Wrong::new(TOKEN, "the token has no colon", HINT))?;
    if name.contains(char::is_whitespace) || name.is_empty() || secret.is_empty() {
        return Err(Wrong::new(TOKEN, "this is more, or less, than the token", HINT));
    }
    if secret.contains(':') {
        return Err(Wrong::new(TOKEN, "the token has more than one colon", HINT));
    }
    credentials(format!("Bearer {token}"), name, TOKEN)
}

fn basic(access: &str, secret: &str) -> Result<Credentials, Wrong> {
    if access.contains(':') || secret.contains(':') {
        return Err(Wrong::new(
            HALVES,
            "a half of the key with a colon",
            "give the whole as `token_file` instead",
        ));
    }
    let pair = STANDARD.encode(format!("{access}:{secret}"));
    credentials(format!("Basic {pair}"), access, HALVES)
}

fn credentials(header: String, name: &str, keys: &'static [&'static str]) -> Result<Credentials, Wrong> {
    let mut header = HeaderValue::from_str(&header)
        .map_err(|_| Wrong::new(keys, "the key holds what no header can", "copy it once more"))?;
    header.set_sensitive(true);
    Ok(Credentials { header, name: name.to_owned() })
}

impl RancherUrl {
    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }
}

impl FromStr for RancherUrl {
    type Err = RancherUrlError;

    fn from_str(text: &str) -> Result<Self, RancherUrlError> {
        let mut whole = web::address(text).map_err(|wrong| match wrong {
            web::AddressError::Form => RancherUrlError::Form,
            web::AddressError::UserInfo => RancherUrlError::UserInfo,
        })?;
        // People copy the address from a browser, or from the API's own page, as well.
        for part in ["/dashboard/home", "/dashboard", "/g/clusters", "/v3"] {
            if let Some(before) = whole.strip_suffix(part) {
                whole = before.trim_end_matches('/').to_owned();
                break;
            }
        }
        Ok(RancherUrl(whole))
    }
}

impl TryFrom<String> for RancherUrl {
    type Error = RancherUrlError;

    fn try_from(text: String) -> Result<Self, RancherUrlError> {
        text.parse()
    }
}

impl fmt::Display for RancherUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RancherSettings, String> {
        let document = config::Document::parse("longshore.yaml", &format!("system: {text}")).unwrap();
        let mut faults = Faults::new();
        let node = document.root().get("system").unwrap();
        let settings = node.read::<RancherSettings>(&mut faults);
        if let Some(settings) = &settings {
            settings.check(node, &mut faults);
        }
        if faults.is_empty() { Ok(settings.unwrap()) } else { Err(faults.to_string()) }
    }

    #[test]
    fn addresses_are_read_and_a_password_in_them_is_never_repeated() {
        for (typed, meant) in [
            ("https://r.lan", "https://r.lan"),
            // A slash at the end would make `//v3`, which is sent elsewhere and loses its body there.
            ("https://r.lan//", "https://r.lan"),
            ("https://r.lan/v3/", "https://r.lan"),
            ("https://r.lan:8443/dashboard/home", "https://r.lan:8443"),
            ("https://tools.lan/rancher/g/clusters", "https://tools.lan/rancher"),
        ] {
            assert_eq!(typed.parse::<RancherUrl>().unwrap().as_str(), meant);
        }
        assert_eq!("r.lan".parse::<RancherUrl>(), Err(RancherUrlError::Form));
        let error = "https://u:sup3rs3cret@r.lan".parse::<RancherUrl>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("sup3r"));
    }

    #[test]
    fn a_key_is_sent_as_it_is_given_and_its_name_is_known() {
        let header = |text: &str| {
            let credentials = read(text).unwrap().credentials().unwrap();
            assert!(credentials.header.is_sensitive());
            (credentials.header.to_str().unwrap().to_owned(), credentials.name)
        };
        assert_eq!(
            header("{url: 'https://r', token: 'token-abcde:xyz '}"),
            ("Bearer token-abcde:xyz".to_owned(), "token-abcde".to_owned())
        );
        assert_eq!(
            header("{url: 'https://r', token: 'ext/token-abcde:xyz'}").1,
            "ext/token-abcde",
            "keys of newer versions are taken as they are"
        );
        assert_eq!(
            header("{url: 'https://r', access_key: token-abcde, secret_key: xyz}"),
            ("Basic dG9rZW4tYWJjZGU6eHl6".to_owned(), "token-abcde".to_owned())
        );
    }

    #[test]
    fn each_mistake_is_told_at_its_key() {
        let key = "token: 'token-a:b'";
        for (text, said) in [
            ("{url: 'https://r'}".to_owned(), "system: no key is given"),
            ("{url: 'https://r', token: abc}".to_owned(), "system.token: the token has no colon"),
            ("{url: 'https://r', token: 'a:b:c'}".to_owned(), "system.token: the token has more than one"),
            (
                "{url: 'https://r', token: 'Bearer token-a:b'}".to_owned(),
                "system.token: this is more, or less, than the token",
            ),
            ("{url: 'https://r', access_key: a}".to_owned(), "system.access_key: an `access_key` without"),
            ("{url: 'https://r', secret_key: a}".to_owned(), "system.secret_key: a secret key without its"),
            (
                format!("{{url: 'https://r', {key}, secret_key: a}}"),
                "system.secret_key: a token, and the two halves of a key",
            ),
            (format!("{{url: 'https://r', {key}, ca: x}}"), "system.ca: the authorities hold no certificate"),
            (
                format!("{{url: 'http://r', {key}, insecure_tls: true}}"),
                "system.insecure_tls: the address speaks no TLS",
            ),
            (
                format!("{{url: 'https://r', {key}, insecure_tls: true, ca: x}}"),
                "system.insecure_tls: authorities to trust, and every certificate is taken",
            ),
            (format!("{{url: 'https://r', {key}, ca_sha256: abc}}"), "system.ca_sha256: this is no SHA-256"),
            (format!("{{url: 'https://r', {key}, tokn: x}}"), "unknown key `tokn`"),
        ] {
            let told = read(&text).unwrap_err();
            assert!(told.contains(said), "{text}\n---\n{told}");
        }
    }
}
