//! The sections of the configuration that an ingress reads, as people type them.

mod access;
mod backfill;
mod limits;
mod sources;

use std::collections::BTreeMap;

use config::Span;
use proto::Follow;
use schemars::JsonSchema;
use serde::Deserialize;

pub use access::{
    AccessSection, IssuerKind, IssuerSection, Patterns, PublisherSection, RegistrationSection, RuleSection,
};
pub use backfill::BackfillSection;
pub use limits::{LimitsSection, RateSection};
pub use sources::{
    BuildSource, GiteaSource, GithubSource, PlainSource, PollSource, RegistrySource, RepositoriesSource,
    SignedBuildSource, SignedSource, SourceSection,
};

/// What an ingress reads of an entry of `targets`; the other keys are the workers'.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct TargetSection {
    /// The system it runs on, one of `systems`.
    pub at: String,
    /// The pushed images it takes: one, or several.
    #[serde(default)]
    pub follow: Option<Follows>,
    /// How long a job for it may take, from when it may run: `1h` by default, `24h` at most.
    #[serde(default)]
    pub deadline: Option<Span>,
    /// Somebody has to approve each deploy: `false` by default.
    #[serde(default)]
    pub approve: Option<bool>,
    /// The windows in which it may be deployed, by their names under `windows`.
    #[serde(default)]
    pub window: Option<Names>,
    /// How long after it was seen an image may be deployed at the earliest, at most `6d`.
    #[serde(default)]
    pub min_age: Option<Span>,
    /// How long a job waits for its window or an approval before it is given up: `7d` by default, `28d` at most.
    #[serde(default)]
    pub hold_for: Option<Span>,
}

/// One text, separated by commas where it says several things, or a list.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Names {
    /// One, or several with commas.
    One(String),
    /// Several.
    Several(Vec<String>),
}

/// An entry of `windows`: one part, or several that are one window.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(untagged)]
pub enum WindowSection {
    /// One part.
    One(PeriodSection),
    /// Several.
    Several(Vec<PeriodSection>),
}

/// A part of a window: hours of some days of the week, or days of the calendar.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PeriodSection {
    /// The days on which the hours begin, as in `mon-fri` or `sat,sun`; every day by default. Not beside dates.
    pub days: Option<Names>,
    /// A time of day (`20:00`), or the first day (`2026-12-20`); whole days without it.
    pub from: Option<String>,
    /// A time of day, of the next day where it is not after `from`; or the last day.
    pub to: Option<String>,
    /// The time zone by its IANA name, as in `Europe/Berlin`.
    pub zone: String,
    /// Nothing is deployed in it; else nothing outside.
    pub freeze: Option<bool>,
}

/// One follow or several.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Follows {
    /// One.
    One(Follow),
    /// Several, any of which takes the image.
    Several(Vec<Follow>),
}

/// The section `ingress`: how an ingress works.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IngressSection {
    /// How long after its deadline a job whose end nobody has told is given up: `10m` by default.
    pub overdue_after: Option<Span>,
    /// How long nothing may be told of a job that waits while workers of its pool are free, before it is handed to them once
    /// more; the second time after twice as long, and so on: `20m` by default.
    pub resend_after: Option<Span>,
    /// How long the same push is taken for a repetition where its sender gives it no name: `30s` by default, `0s` for
    /// never, `10m` at most.
    pub repeats_within: Option<Span>,
}

/// All sections an ingress reads, for the schema of the file.
#[derive(Debug, Clone, JsonSchema)]
pub struct Sections {
    /// Where the HTTP server listens: an address and a port, `127.0.0.1:8080` by default.
    pub listen: Option<String>,
    /// Where hooks alone are taken, for what comes from the internet: an address and a port; nowhere by default.
    pub hooks_listen: Option<String>,
    /// The URL under which others reach this server; printed in links.
    pub public_url: Option<String>,
    /// Who pushes images, by the name in the hook's path.
    pub sources: Option<BTreeMap<String, SourceSection>>,
    /// What is deployed, and the images it follows.
    pub targets: Option<BTreeMap<String, TargetSection>>,
    /// When targets may be deployed, by the names that they use.
    pub windows: Option<BTreeMap<String, WindowSection>>,
    /// Who may call the API.
    pub access: Option<AccessSection>,
    /// How an ingress works.
    pub ingress: Option<IngressSection>,
    /// How much callers may ask for.
    pub limits: Option<LimitsSection>,
}
