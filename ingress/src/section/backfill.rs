//! What a source of the kind `github` asks for that it missed.

use config::{Secret, Span};
use schemars::JsonSchema;
use serde::Deserialize;

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
