//! The section `access`: who may come in, as people type it.

use std::{collections::BTreeMap, path::PathBuf};

use config::Secret;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Names;
use crate::access::role::Role;

/// The section `access`: who may call the API.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessSection {
    /// A bearer token that may do everything.
    pub admin_token: Option<Secret>,
    /// Where `longshore token` keeps tokens, as hashes: `tokens.yaml` in the data directory by default. It is read
    /// again when it changes.
    pub tokens_file: Option<PathBuf>,
    /// Where `longshore user` keeps users: `users.yaml` in the data directory by default. It is read again when it
    /// changes.
    pub users_file: Option<PathBuf>,
    /// What sessions of users are signed with, of 32 characters at least: made in the data directory by default.
    /// Several ingresses need the same.
    pub session_key: Option<Secret>,
    /// What somebody may do who registers by themselves; without it nobody can.
    pub registration: Option<RegistrationSection>,
    /// Whose pipelines come in by the identity that their CI gives them, by any name.
    pub oidc: Option<BTreeMap<String, IssuerSection>>,
    /// What users of the broker may ask for on the intake, by the names with which they log in there. Who is not
    /// among them may only tell of images.
    pub amqp: Option<BTreeMap<String, PublisherSection>>,
}

/// What somebody may do who registers by themselves.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegistrationSection {
    /// The role they get.
    pub role: Role,
    /// Their targets, with `*` and `?`: all by default.
    pub targets: Option<Vec<String>>,
}

/// An issuer of identities for pipelines.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IssuerSection {
    /// Whose tokens these are.
    pub kind: IssuerKind,
    /// The issuer's URL as it stands in tokens: that of github.com, gitlab.com or Google by default.
    pub issuer: Option<String>,
    /// Whom tokens have to be for, as in `https://deploy.example.com`: any text that is only meant for this Longshore.
    pub audience: String,
    /// Path of a file with PEM certificates of the authorities that vouch for it; the machine's own without.
    #[schemars(rename = "ca_file")]
    pub ca: Option<String>,
    /// What callers may do; those that fit several may do all of it.
    pub rules: Vec<RuleSection>,
}

/// Where identities come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IssuerKind {
    /// GitHub Actions.
    Github,
    /// GitLab CI.
    Gitlab,
    /// Google's service accounts, as those with which Pub/Sub pushes.
    Google,
    /// Another that speaks OpenID Connect.
    Other,
}

/// Who fits every claim may do this.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleSection {
    /// Claims by their names, each with a pattern (`*`, `?`) or several: one has to say whose pipelines these are.
    pub claims: BTreeMap<String, Patterns>,
    /// The targets, with `*` and `?`.
    #[serde(default)]
    pub targets: Vec<String>,
    /// What may be done to them; `*` is everything.
    #[serde(default)]
    pub operations: Vec<String>,
    /// Sources whose hooks may be called in place of their keys.
    #[serde(default)]
    pub sources: Vec<String>,
}

/// A pattern, or several of which one has to fit.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Patterns {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

/// What a user of the broker may ask for on the intake.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PublisherSection {
    /// Names of targets with `*` and `?`: `pool/name`, or `name` in the pool `default`; `*` alone is all of them.
    pub targets: Names,
    /// Operations by their names, as `set-image` and `restart`: `set-image` by default, `*` is all of them.
    pub operations: Option<Names>,
}
