//! A source of the kind `gitea`.

use config::Secret;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Names;

/// What a source of the kind `gitea` may say.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GiteaSource {
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
}
