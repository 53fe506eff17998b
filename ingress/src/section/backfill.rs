//! A source of the kind `github`, which may ask for what it missed.

use config::{Secret, Span};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Names;

/// What a source of the kind `github` may say.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GithubSource {
    /// The key a sender must know: in the URL (`?key=…`, `/hooks/<source>/<key>`), as `X-Longshore-Key`, or as a
    /// bearer token. Several lines are several keys, any of which will do.
    pub key: Option<Secret>,
    /// The whole `Authorization` header a sender must send. Several lines are several, any of which will do.
    pub authorization: Option<Secret>,
    /// What the sender signs its messages with. Several lines are several secrets, any of which will do.
    pub secret: Option<Secret>,
    /// Takes requests without any secret.
    #[serde(default)]
    pub open: bool,
    /// Takes requests from the machine itself only.
    #[serde(default)]
    pub loopback_only: bool,
    /// The registry's host, with its port where it has one, instead of the one in the body.
    pub registry: Option<String>,
    /// The image that belongs to an event which names none, as in `ghcr.io/{owner}/{repo}:{tag}`.
    pub image: Option<String>,
    /// The branches whose events count: one with globs, or several. All of them by default.
    pub branches: Option<Names>,
    /// The workflows whose runs count, by name or file: one with globs, or several. All of them by default.
    pub workflows: Option<Names>,
    /// What may have started a run: `push`, `create`, `release`, `schedule`, `workflow_dispatch` and
    /// `repository_dispatch` by default.
    pub events: Option<Names>,
    /// Takes releases that are marked as pre-releases too.
    #[serde(default)]
    pub prereleases: bool,
    /// How deliveries are fetched that GitHub could not hand over; they are not without it.
    pub backfill: Option<BackfillSection>,
}

/// Where a hook's deliveries are listed, and with what token.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackfillSection {
    /// The repository whose hook it is, as `owner/name`; or `org`.
    pub repo: Option<String>,
    /// The organization whose hook it is; or `repo`.
    pub org: Option<String>,
    /// The number of the hook: the last part of the address of its page in the settings.
    pub hook: u64,
    /// A token of GitHub that may read webhooks, and needs nothing else.
    pub token: Option<Secret>,
    /// How often it is looked for missed deliveries: `10m` by default, from `1s` to `24h`.
    pub every: Option<Span>,
    /// How far back it is looked at first: `3d` by default, which is as long as GitHub keeps deliveries.
    pub since: Option<Span>,
    /// Where the API is: `https://api.github.com` by default, `https://HOST/api/v3` for a server of one's own.
    pub api: Option<String>,
    /// Path of a file with PEM certificates of the authorities that vouch for it; the machine's own without.
    #[schemars(rename = "ca_file")]
    pub ca: Option<String>,
}
